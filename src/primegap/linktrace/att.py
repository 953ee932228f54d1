"""From HCI packets to what matters here: the life of a connection, and attribute operations."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.linktrace.btsnoop import ACL, COMMAND, EVENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.linktrace.btsnoop import HciPacket

WRITE_REQUEST: Final = 0x12
WRITE_COMMAND: Final = 0x52
NOTIFICATION: Final = 0x1B
MTU_REQUEST: Final = 0x02
MTU_RESPONSE: Final = 0x03

MAX_CONNECTIONS: Final = 64
"Connections with data half put together; a capture of ours has one, an invented one any number."

_ATT_CHANNEL: Final = 0x0004
_ACL_HEADER: Final = struct.Struct("<HH")
_L2CAP_HEADER: Final = struct.Struct("<HH")
_CONTINUES: Final = 0b01
_SET_ADVERTISING: Final = 0x200A
_DISCONNECTED: Final = 0x05
_LE_META: Final = 0x3E
_CONNECTED: Final = (0x01, 0x0A)
"Connection complete, and its enhanced form."
_INTERVAL_OFFSETS: Final = {0x01: 12, 0x0A: 24}
_UPDATED: Final = 0x03
_INTERVAL_MS: Final = 1.25


@dataclass(frozen=True, slots=True)
class Advertising:
    """A host asked to be found, or not any longer."""

    is_on: bool


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A connection was made."""

    handle: int
    interval_ms: float


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A connection got other timing."""

    handle: int
    interval_ms: float


@dataclass(frozen=True, slots=True)
class LinkDown:
    """A connection ended."""

    handle: int
    reason: int
    "Error code of Bluetooth: 0x08 lost, 0x13 the other side, 0x16 this side."


@dataclass(frozen=True, slots=True)
class AttOperation:
    """One PDU of the attribute protocol."""

    handle: int
    "Of the connection."
    opcode: int
    attribute: int
    "Handle of the attribute; the MTU for the two operations about it."
    value: bytes


Happening = Advertising | LinkUp | LinkChanged | LinkDown | AttOperation


class AttReader:
    """Puts PDUs together from ACL packets and reads the events of connections.

    Damaged packets are skipped: a capture is drawn as far as it can be understood.
    """

    def __init__(self) -> None:
        self._partial: dict[tuple[int, bool], bytearray] = {}
        self.skipped = 0
        "Packets that made no sense."

    def read(self, packet: HciPacket) -> Iterator[Happening]:
        """Return what a packet tells."""
        if not packet.is_whole:
            self.skipped += 1
        elif packet.type == ACL:
            yield from self._read_acl(packet)
        elif packet.type == EVENT:
            yield from self._read_event(packet.body)
        elif packet.type == COMMAND and len(packet.body) == 4:
            opcode, length, is_on = struct.unpack("<HBB", packet.body)
            if opcode == _SET_ADVERTISING and length == 1:
                yield Advertising(is_on == 1)

    def _read_event(self, body: bytes) -> Iterator[Happening]:
        if len(body) < 2 or len(body) != body[1] + 2:
            self.skipped += 1
            return
        code, values = body[0], body[2:]
        if code == _DISCONNECTED and len(values) == 4 and values[0] == 0:
            handle = int.from_bytes(values[1:3], "little") & 0x0FFF
            self._partial.pop((handle, False), None)
            self._partial.pop((handle, True), None)
            yield LinkDown(handle, values[3])
        if code != _LE_META or len(values) < 9 or values[1] != 0:
            return
        kind, handle = values[0], int.from_bytes(values[2:4], "little") & 0x0FFF
        if kind in _CONNECTED:
            at = _INTERVAL_OFFSETS[kind]
            if len(values) >= at + 2:
                interval = int.from_bytes(values[at : at + 2], "little")
                yield LinkUp(handle, interval * _INTERVAL_MS)
        elif kind == _UPDATED:
            yield LinkChanged(handle, int.from_bytes(values[4:6], "little") * _INTERVAL_MS)

    def _read_acl(self, packet: HciPacket) -> Iterator[Happening]:
        body = packet.body
        if len(body) < _ACL_HEADER.size:
            self.skipped += 1
            return
        word, length = _ACL_HEADER.unpack_from(body)
        data = body[_ACL_HEADER.size :]
        key = (word & 0x0FFF, packet.from_controller)
        if length != len(data):
            self.skipped += 1
            return
        if word >> 12 & 0b11 == _CONTINUES:
            if key not in self._partial:
                self.skipped += 1
                return
            self._partial[key] += data
        else:
            if len(self._partial) >= MAX_CONNECTIONS:
                self._partial.clear()
            self._partial[key] = bytearray(data)
        whole = self._partial[key]
        if len(whole) < _L2CAP_HEADER.size:
            return
        size, channel = _L2CAP_HEADER.unpack_from(whole)
        if len(whole) < _L2CAP_HEADER.size + size:
            return
        del self._partial[key]
        if len(whole) > _L2CAP_HEADER.size + size:
            self.skipped += 1
        elif channel == _ATT_CHANNEL:
            yield from self._read_pdu(key[0], bytes(whole[_L2CAP_HEADER.size :]))

    def _read_pdu(self, handle: int, pdu: bytes) -> Iterator[Happening]:
        if len(pdu) < 3:
            return  # operations of no interest
        attribute = int.from_bytes(pdu[1:3], "little")
        yield AttOperation(handle, pdu[0], attribute, pdu[3:])
