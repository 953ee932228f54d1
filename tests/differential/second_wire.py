"""A second decoder of the wire, written from the specifications alone; it shares no code with ours.

It is plain and slow on purpose: values are tuples, errors carry the name the specification gives
them. The tests beside it compare it with the decoders of the program.
"""

from __future__ import annotations

from typing import Any

KEM = {"reference": (1568, 1568), "native": (1216, 1120)}  # public key, ciphertext


class RefusedError(Exception):
    """The input is not what it should be; the argument is the specification's name for it."""

    @property
    def name(self) -> str:
        return str(self.args[0])


def fixed(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise RefusedError("UnexpectedEof")
    return data[at : at + size], at + size


def varint(data: bytes, at: int, bits: int) -> tuple[int, int]:
    """Wire 2.2, by looking for the last byte first and judging the whole afterwards."""
    longest = {8: 2, 16: 3, 32: 5, 64: 10}[bits]
    value, shift = 0, 0
    for count in range(1, longest + 1):
        if at >= len(data):
            raise RefusedError("UnexpectedEof")
        byte = data[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if value >= 1 << bits:
            raise RefusedError("InvalidVarint")
        if not byte & 0x80:
            if count > 1 and byte == 0:
                raise RefusedError("InvalidVarint")
            return value, at
    raise RefusedError("InvalidVarint")


def byte_string(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = varint(data, at, 32)
    return fixed(data, at, size)


# --- records (wire 5, 6, 10) ----------------------------------------------------------------------


def record(data: bytes) -> tuple[Any, ...]:
    version, at = fixed(data, 0, 1)
    sender, at = fixed(data, at, 16)
    recipient, at = fixed(data, at, 16)
    kind, at = varint(data, at, 32)
    outside = (version[0], sender, recipient)
    if kind == 2:
        seq, at = varint(data, at, 64)
        tag, at = fixed(data, at, 16)
        return ("session", *outside, seq, tag, data[at:])
    if kind != 1:
        raise RefusedError("InvalidDiscriminant")
    number, at = varint(data, at, 32)
    if number not in range(1, 9):
        raise RefusedError("InvalidDiscriminant")
    handshake_id, _ = fixed(data, at, 4)
    return ("handshake", *outside, number, int.from_bytes(handshake_id, "little"), data[at:])


def message(number: int, data: bytes, suite: str) -> tuple[Any, ...]:
    """Wire 6.2: the fields in order; what runs to the end stands last."""
    key, ciphertext = KEM[suite]
    sealed = ciphertext + 16
    table: dict[int, list[int]] = {
        1: [4, 4, ciphertext, key],
        2: [4, 4, ciphertext, sealed],
        3: [4, 4, ciphertext, key],
        4: [4, 4, ciphertext, sealed],
        5: [4, 16, 4, key],
        6: [4, 4, ciphertext],
        7: [4, sealed],
        8: [4, sealed],
    }
    parts, at = [], 0
    for size in table[number]:
        part, at = fixed(data, at, size)
        parts.append(part)
    return (*parts, data[at:])


# --- frames (wire 11, 12) -------------------------------------------------------------------------


def ack_fields(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    largest, at = varint(data, at, 64)
    count, at = varint(data, at, 32)
    first, at = varint(data, at, 64)
    pairs = []
    for _ in range(count):
        gap, at = varint(data, at, 64)
        length, at = varint(data, at, 64)
        pairs.append((gap, length))
    if first > largest:
        raise RefusedError("InvalidRange")
    ranges = [(largest - first, largest)]
    for gap, length in pairs:
        previous = ranges[-1][0]
        if gap + 2 > previous or length > previous - gap - 2:
            raise RefusedError("InvalidRange")
        ranges.append((previous - gap - 2 - length, previous - gap - 2))
    return ranges, at


def frame(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    kind, at = varint(data, at, 32)
    if kind == 1:
        return ("ping",), at
    if kind == 2:
        ranges, at = ack_fields(data, at)
        return ("ack", tuple(ranges)), at
    if kind == 3:
        stream, at = varint(data, at, 64)
        offset, at = varint(data, at, 64)
        flags, at = fixed(data, at, 1)
        opening = None
        if flags[0] & 2:
            window, at = varint(data, at, 32)
            wanted, at = varint(data, at, 32)
            header, at = byte_string(data, at)
            opening = (window, wanted, header)
        payload, at = byte_string(data, at)
        return ("data", stream, offset, bool(flags[0] & 1), opening, payload), at
    if kind == 4:
        stream, at = varint(data, at, 64)
        maximum, at = varint(data, at, 64)
        return ("window", stream, maximum), at
    if kind == 5:
        stream, at = varint(data, at, 64)
        target, at = varint(data, at, 32)
        if target not in {1, 2, 3}:
            raise RefusedError("InvalidDiscriminant")
        code, at = varint(data, at, 64)
        return ("reset", stream, target, code), at
    if kind == 6:
        code, at = varint(data, at, 64)
        return ("close", code), at
    if kind == 7:
        return ("unpair",), at
    raise RefusedError("InvalidDiscriminant")


def frames(body: bytes) -> tuple[list[tuple[Any, ...]], str | None]:
    """Return the frames up to the first that does not decode, and that one's error."""
    found, at = [], 0
    try:
        while at < len(body):
            value, at = frame(body, at)
            found.append(value)
    except RefusedError as refused:
        return found, refused.name
    return found, None


# --- route keys (API 2) ---------------------------------------------------------------------------


def app_route(header: bytes) -> tuple[bytes, int]:
    app, at = fixed(header, 0, 16)
    route, at = varint(header, at, 32)
    if at != len(header):
        raise RefusedError("trailing")
    return app, route


def service_route(header: bytes) -> tuple[int, int]:
    service, at = varint(header, 0, 64)
    route, at = varint(header, at, 32)
    if at != len(header):
        raise RefusedError("trailing")
    return service, route


# --- BTP version 2 (btp 3 and 5) ------------------------------------------------------------------


class Receiver:
    """The receiver as a list of open records; slots 0 and 1 are dictionaries or None."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.timeout_s = timeout_s
        self.slots: list[dict[str, Any] | None] = [None, None]

    def receive(self, packet: bytes, now_s: float) -> bytes | None:
        if len(packet) < 8:
            raise RefusedError("header too small")
        sequence = int.from_bytes(packet[0:2], "little")
        index = int.from_bytes(packet[2:4], "little")
        length = int.from_bytes(packet[4:7], "little")
        if packet[7] != 0xB2:
            raise RefusedError("unsupported version")
        if length > 128 * 1024:
            raise RefusedError("record too large")
        total = (length + 235) // 236
        if index >= total:
            raise RefusedError("invalid chunk index")
        wanted = 236 if index < total - 1 else length - 236 * (total - 1)
        if len(packet) < 8 + wanted:
            raise RefusedError("chunk too small")
        for place in (0, 1):
            slot = self.slots[place]
            if slot is not None and now_s - slot["time"] >= self.timeout_s:
                self.slots[place] = None
        place = self._place(sequence)
        slot = self.slots[place]
        if slot is None:
            slot = self.slots[place] = {"sequence": sequence, "length": length, "chunks": {}}
        if slot["length"] != length:
            raise RefusedError("length changed")
        slot["chunks"].setdefault(index, packet[8 : 8 + wanted])
        slot["time"] = now_s
        if len(slot["chunks"]) < total:
            return None
        self.slots[place] = None
        return b"".join(slot["chunks"][number] for number in range(total))

    def _place(self, sequence: int) -> int:
        for place in (0, 1):
            slot = self.slots[place]
            if slot is not None and slot["sequence"] == sequence:
                return place
        for place in (0, 1):
            if self.slots[place] is None:
                return place
        first, second = (slot["sequence"] for slot in self.slots if slot is not None)
        newer = 1 if self._is_newer(second, first) else 0
        if not self._is_newer(sequence, (first, second)[newer]):
            raise RefusedError("stale sequence")
        older = 1 - newer
        self.slots[older] = None
        return older

    @staticmethod
    def _is_newer(a: int, b: int) -> bool:
        return 1 <= (a - b) % 65536 <= 32767
