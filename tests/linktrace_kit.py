"""Captures made by hand, for tests of the recordings of a link."""

from __future__ import annotations

import struct

from primegap.btp import Chunker
from primegap.radio import nus

EPOCH_US = 0x00DCDDB30F2F8000
HANDLE = 0x0040
COMMAND, ACL, EVENT = 1, 2, 4
WRITE, NOTIFY = 0x52, 0x1B


class CaptureMaker:
    """Builds a btsnoop file packet by packet, as seen at the device's controller."""

    def __init__(self, link: int = 1002) -> None:
        self.link = link
        self.parts = [b"btsnoop\x00" + struct.pack(">II", 1, link)]
        self.now_s = 0.0

    def packet(self, kind: int, body: bytes, *, from_controller: bool, cut: int = 0) -> None:
        flags = int(from_controller) | (0 if kind == ACL else 2)
        data = bytes([kind]) + body if self.link == 1002 else body
        kept = data[: len(data) - cut]
        stamp = EPOCH_US + round(self.now_s * 1e6)
        self.parts.append(struct.pack(">IIIIQ", len(data), len(kept), flags, 0, stamp) + kept)

    def connected(self) -> None:
        body = struct.pack("<BBHBB6sHHHB", 1, 0, HANDLE, 1, 1, bytes(6), 40, 0, 500, 0)
        self.packet(EVENT, bytes([0x3E, len(body)]) + body, from_controller=True)

    def disconnected(self, reason: int = 0x13) -> None:
        body = struct.pack("<BHB", 0, HANDLE, reason)
        self.packet(EVENT, bytes([0x05, len(body)]) + body, from_controller=True)

    def pdu(self, pdu: bytes, *, from_controller: bool, pieces: int = 1) -> None:
        whole = struct.pack("<HH", len(pdu), 4) + pdu
        size = -(-len(whole) // pieces)
        for start in range(0, len(whole), size):
            piece = whole[start : start + size]
            flags = (2 if from_controller else 0) if start == 0 else 1
            header = struct.pack("<HH", HANDLE | flags << 12, len(piece))
            self.packet(ACL, header + piece, from_controller=from_controller)

    def value(self, value: bytes, *, to_device: bool, pieces: int = 1) -> None:
        opcode, handle = (WRITE, nus.RX_HANDLE) if to_device else (NOTIFY, nus.TX_HANDLE)
        pdu = struct.pack("<BH", opcode, handle) + value
        self.pdu(pdu, from_controller=to_device, pieces=pieces)

    def record(self, record: bytes, sequence: int, *, to_device: bool, pieces: int = 1) -> None:
        for packet in Chunker(sequence).chunk(record):
            self.value(packet, to_device=to_device, pieces=pieces)
            self.now_s += 0.001

    def build(self) -> bytes:
        return b"".join(self.parts)
