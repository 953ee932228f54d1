"""BTP version 2: records over packets of 244 bytes (btp.md).

A record is cut into numbered packets and put together again. There is no acknowledgement, no
repetition, no checksum and no encryption here: the link layer below protects single packets and the
secure session above notices loss and damage. Time is an argument; nothing here waits.
"""

from __future__ import annotations

import enum
import struct
from typing import ClassVar, Final

PACKET_BYTES: Final = 244
"Size of every packet: the value of a Bluetooth write or notification at an ATT MTU of 247."
HEADER_BYTES: Final = 8
PAYLOAD_BYTES: Final = PACKET_BYTES - HEADER_BYTES
MAX_RECORD_BYTES: Final = 131_072
"Largest record, 556 packets. A security limit: the receiver allocates what a header claims."
MAX_OPEN_RECORDS: Final = 2
"Records put together at a time; with MAX_RECORD_BYTES this bounds the receiver's memory."
DEFAULT_TIMEOUT_S: Final = 5.0
"A partly received record that stays without a packet for this long is given up."

_TAG_V2: Final = 0xB2
_TAG_OFFSET: Final = 7
_SEQUENCES: Final = 1 << 16
_HALF_TURN: Final = _SEQUENCES // 2
_HEADER: Final = struct.Struct("<HHI")  # sequence, index, tag << 24 | record length


class BtpError(Exception):
    """Root of every error raised in this module."""

    code: ClassVar[str] = "btp"
    "Stable public code: JSON output, logs, documentation."
    hint: ClassVar[str] = "The Bluetooth link reported a problem."
    "A sentence for a person."


class LocalBtpError(BtpError):
    """Our own caller broke a rule, which is a bug."""

    code = "btp-misuse"
    hint = "The program used the Bluetooth link in a way that is not allowed."


class RecordSizeError(LocalBtpError):
    """A record to send is empty or larger than MAX_RECORD_BYTES."""

    code = "btp-record-size"


class RemoteBtpError(BtpError):
    """A packet from the air is not usable. It is dropped; the link goes on (btp.md section 5).

    Attributes:
        detail: the header numbers that led to the refusal, for counters and logs.
    """

    code = "btp-packet"
    hint = "A damaged Bluetooth packet was dropped."

    def __init__(self, **detail: int) -> None:
        super().__init__(", ".join(f"{name} {value}" for name, value in detail.items()))
        self.detail = detail


class HeaderTooSmallError(RemoteBtpError):
    """The packet is shorter than a header."""

    code = "btp-header-too-small"


class UnsupportedVersionError(RemoteBtpError):
    """The tag is not that of version 2. Detail: tag."""

    code = "btp-unsupported-version"


class RecordTooLargeError(RemoteBtpError):
    """The header claims a record above MAX_RECORD_BYTES. Detail: actual, maximum."""

    code = "btp-record-too-large"


class InvalidChunkIndexError(RemoteBtpError):
    """The index lies outside the record. Detail: index, total_chunks."""

    code = "btp-invalid-chunk-index"


class ChunkTooSmallError(RemoteBtpError):
    """The packet holds fewer payload bytes than its place needs. Detail: actual, expected."""

    code = "btp-chunk-too-small"


class StaleSequenceError(RemoteBtpError):
    """Both slots hold records and the packet's is not newer. Detail: actual, expected."""

    code = "btp-stale-sequence"


class LengthChangedError(RemoteBtpError):
    """The same record was announced with another length. Detail: actual, expected."""

    code = "btp-length-changed"


class BtpVersion(enum.Enum):
    """Version of a packet, read from its tag alone (btp.md section 8)."""

    V1 = 1
    V2 = 2


def packet_version(packet: bytes) -> BtpVersion | None:
    """Return the version of a packet, or None when the tag is unknown or missing."""
    if len(packet) < HEADER_BYTES:
        return None
    return {0: BtpVersion.V1, _TAG_V2: BtpVersion.V2}.get(packet[_TAG_OFFSET])


def packet_count(record_bytes: int) -> int:
    """Return how many packets carry a record of this many bytes."""
    return -(-record_bytes // PAYLOAD_BYTES)


def is_newer(a: int, b: int) -> bool:
    """Whether sequence `a` was sent after `b`; exactly half a turn away counts as no."""
    return 1 <= (a - b) % _SEQUENCES < _HALF_TURN


class Chunker:
    """Cuts records into packets; owns the sequence counter of one link (btp.md section 4)."""

    def __init__(self, sequence_start: int = 0) -> None:
        """Start counting at `sequence_start`; only its low 16 bits go on the wire."""
        self._sequence = sequence_start % _SEQUENCES

    @property
    def next_sequence(self) -> int:
        """Sequence number of the record to come, 0 to 65 535."""
        return self._sequence

    def chunk(self, record: bytes) -> list[bytes]:
        """Return the packets of a record, each exactly PACKET_BYTES long, in sending order.

        Raises:
            RecordSizeError: the record is empty or larger than MAX_RECORD_BYTES.
        """
        if not 1 <= len(record) <= MAX_RECORD_BYTES:
            raise RecordSizeError(f"a record has 1 to {MAX_RECORD_BYTES} bytes, not {len(record)}")
        sequence = self._sequence
        self._sequence = (sequence + 1) % _SEQUENCES
        word = _TAG_V2 << 24 | len(record)
        packets = [
            _HEADER.pack(sequence, index, word) + record[start : start + PAYLOAD_BYTES]
            for index, start in enumerate(range(0, len(record), PAYLOAD_BYTES))
        ]
        # Always padded: a writer below may cut one long buffer every 244 bytes (section 4).
        packets[-1] = packets[-1].ljust(PACKET_BYTES, b"\x00")
        return packets


class _Slot:
    """A record in the making."""

    __slots__ = ("buffer", "last_packet_s", "missing", "seen", "sequence")

    def __init__(self, sequence: int, length: int) -> None:
        self.sequence = sequence
        self.buffer = bytearray(length)
        self.missing = packet_count(length)
        self.seen = bytearray(self.missing)
        self.last_packet_s = 0.0


class Dechunker:
    """Puts records together from packets in any order (btp.md section 5).

    Holds at most MAX_OPEN_RECORDS records. It tolerates duplicates, except that a duplicate of a
    one-packet record is a record again: the layer above must refuse repeated records.
    """

    def __init__(self, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Give up a record `timeout_s` seconds after its last packet."""
        self._timeout_s = timeout_s
        self._slots: list[_Slot | None] = [None] * MAX_OPEN_RECORDS

    @property
    def open_records(self) -> int:
        """How many records are partly here."""
        return sum(slot is not None for slot in self._slots)

    def clear(self) -> None:
        """Forget partial records, as when the link went down."""
        self._slots = [None] * MAX_OPEN_RECORDS

    def receive(self, packet: bytes, *, now_s: float) -> bytes | None:
        """Take one packet; return the record that it completes, else None.

        Args:
            packet: value of one Bluetooth write or notification.
            now_s: a monotonic clock, in seconds.

        Raises:
            RemoteBtpError: the packet is dropped. The checks and their order are those of btp.md
                section 5, so two receivers always agree about the reason.
        """
        if len(packet) < HEADER_BYTES:
            raise HeaderTooSmallError
        sequence, index, word = _HEADER.unpack_from(packet)
        if word >> 24 != _TAG_V2:
            raise UnsupportedVersionError(tag=word >> 24)
        length = word & 0xFFFFFF
        if length > MAX_RECORD_BYTES:
            raise RecordTooLargeError(actual=length, maximum=MAX_RECORD_BYTES)
        count = packet_count(length)
        if index >= count:
            raise InvalidChunkIndexError(index=index, total_chunks=count)
        start = index * PAYLOAD_BYTES
        size = min(PAYLOAD_BYTES, length - start)
        if len(packet) - HEADER_BYTES < size:
            raise ChunkTooSmallError(actual=len(packet) - HEADER_BYTES, expected=size)

        place = self._choose_slot(sequence, now_s)
        slot = self._slots[place]
        if slot is None:
            slot = self._slots[place] = _Slot(sequence, length)
        elif len(slot.buffer) != length:
            raise LengthChangedError(actual=length, expected=len(slot.buffer))
        if not slot.seen[index]:
            slot.seen[index] = 1
            slot.missing -= 1
            slot.buffer[start : start + size] = packet[HEADER_BYTES : HEADER_BYTES + size]
        slot.last_packet_s = now_s
        if slot.missing:
            return None
        self._slots[place] = None
        return bytes(slot.buffer)

    def _choose_slot(self, sequence: int, now_s: float) -> int:
        """Return the place for a packet; empties slots whose time is over, or the older one."""
        for place, slot in enumerate(self._slots):
            if slot is not None and now_s - slot.last_packet_s >= self._timeout_s:
                self._slots[place] = None
        first, second = self._slots
        if first is not None and first.sequence == sequence:
            return 0
        if second is not None and second.sequence == sequence:
            return 1
        if first is None:
            return 0
        if second is None:
            return 1
        newer, older = (1, 0) if is_newer(second.sequence, first.sequence) else (0, 1)
        newest = (first, second)[newer].sequence
        if not is_newer(sequence, newest):
            raise StaleSequenceError(actual=sequence, expected=newest)
        self._slots[older] = None
        return older
