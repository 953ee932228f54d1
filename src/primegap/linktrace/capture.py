"""The story of a btsnoop capture: from HCI packets to the records of the link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.btp import (
    DEFAULT_TIMEOUT_S,
    BtpVersion,
    Dechunker,
    RemoteBtpError,
    packet_version,
)
from primegap.linktrace import att
from primegap.linktrace.att import (
    MAX_CONNECTIONS,
    Advertising,
    AttOperation,
    AttReader,
    Happening,
    LinkChanged,
    LinkDown,
    LinkUp,
)
from primegap.linktrace.btsnoop import packets_untrusted
from primegap.linktrace.headers import read_header_untrusted
from primegap.linktrace.story import Lane, Level, Note, Story
from primegap.quantumlink.errors import RemoteError
from primegap.radio import nus

COMPANION: Final = Lane.LEFT
DEVICE: Final = Lane.RIGHT
_REASONS: Final = {
    0x08: "the link was lost",
    0x13: "closed by the other side",
    0x15: "the other side was switched off",
    0x16: "closed by this side",
    0x3E: "the connection failed to be established",
}
_MAX_UNDER_WAY: Final = 8
"Records whose packets are counted at once: more than BTP puts together."


@dataclass(slots=True)
class _UnderWay:
    first_s: float
    last_s: float
    packets: int = 0


class _Direction:
    """Records on their way from one side."""

    def __init__(self, sender: Lane) -> None:
        self.sender = sender
        self._dechunker = Dechunker()
        self._under_way: dict[int, _UnderWay] = {}

    def receive(self, packet: bytes, at_s: float, story: Story) -> None:
        version = packet_version(packet)
        if version is BtpVersion.V1:
            story.add(
                Note(at_s=at_s, lane=self.sender, text="packet of BTP version 1", level=Level.BAD)
            )
            return
        try:
            record = self._dechunker.receive(packet, now_s=at_s)
        except RemoteBtpError as error:
            self._refused("packet", error.code, at_s, story)
            return
        sequence = int.from_bytes(packet[:2], "little")
        counted = self._count(sequence, at_s)
        if record is None:
            return
        del self._under_way[sequence]
        try:
            story.add(
                read_header_untrusted(
                    record,
                    at_s=at_s,
                    sender=self.sender,
                    packets=counted.packets,
                    took_s=at_s - counted.first_s,
                )
            )
        except RemoteError as error:
            self._refused(f"record of {len(record)} bytes", error.code, at_s, story)

    def _count(self, sequence: int, at_s: float) -> _UnderWay:
        counted = self._under_way.get(sequence)
        if counted is None or at_s - counted.last_s >= DEFAULT_TIMEOUT_S:
            if len(self._under_way) >= _MAX_UNDER_WAY:
                self._under_way.pop(next(iter(self._under_way)))
            counted = self._under_way[sequence] = _UnderWay(at_s, at_s)
        counted.packets += 1
        counted.last_s = at_s
        return counted

    def _refused(self, what: str, code: str, at_s: float, story: Story) -> None:
        text = f"{what} refused: {code}"
        story.add(Note(at_s=at_s, lane=self.sender.other, text=text, level=Level.BAD))

    def end(self, at_s: float, story: Story) -> None:
        """Tell what never became whole, and forget it."""
        if self._dechunker.open_records:
            text = f"unfinished records: {self._dechunker.open_records}"
            story.add(Note(at_s=at_s, lane=self.sender, text=text, level=Level.BAD))
        self._dechunker.clear()
        self._under_way.clear()


class _Connection:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self.to_device = _Direction(COMPANION)
        self.to_companion = _Direction(DEVICE)

    def operate(self, operation: AttOperation, at_s: float, story: Story) -> None:
        attribute, value = operation.attribute, operation.value
        if operation.opcode in {att.WRITE_COMMAND, att.WRITE_REQUEST}:
            if attribute == nus.RX_HANDLE:
                self.to_device.receive(value, at_s, story)
            elif attribute == nus.TX_CONFIGURATION_HANDLE:
                state = "on" if value[:1] == b"\x01" else "off"
                story.add(Note(at_s=at_s, lane=COMPANION, text=f"notifications {state}"))
        elif operation.opcode == att.NOTIFICATION and attribute == nus.TX_HANDLE:
            self.to_companion.receive(value, at_s, story)
        elif operation.opcode == att.MTU_REQUEST:
            story.add(Note(at_s=at_s, lane=COMPANION, text=f"asks for an MTU of {attribute}"))
        elif operation.opcode == att.MTU_RESPONSE:
            story.add(Note(at_s=at_s, lane=DEVICE, text=f"grants an MTU of {attribute}"))

    def end(self, at_s: float, story: Story) -> None:
        self.to_device.end(at_s, story)
        self.to_companion.end(at_s, story)


def read_capture_untrusted(data: bytes) -> Story:
    """Return the story of a capture.

    Records are recognised by the handles of our own service (btp section 9). Time counts from the
    first packet. What is damaged becomes a note; only a file that is no capture is refused.

    Raises:
        RemoteTraceError: not a capture, or of a kind that is not known.
    """
    story = Story("capture", ("Companion", "Device"))
    reader = AttReader()
    connections: dict[int, _Connection] = {}
    first_us: int | None = None
    at_s = 0.0
    is_cut = False
    for packet in packets_untrusted(data):
        if packet is None:
            is_cut = True
            break
        if first_us is None:
            first_us = packet.at_us
        at_s = max(at_s, (packet.at_us - first_us) / 1e6)  # a clock may be set back meanwhile
        for happening in reader.read(packet):
            _tell(happening, at_s, story, connections)
        if story.is_cut:
            break
    for connection in connections.values():
        connection.end(at_s, story)
    if reader.skipped:
        text = f"packets that could not be read: {reader.skipped}"
        story.add(Note(at_s=at_s, lane=None, text=text, level=Level.BAD))
    if is_cut:
        text = "the file ends in the middle of a packet"
        story.add(Note(at_s=at_s, lane=None, text=text, level=Level.BAD))
    return story


def _tell(
    happening: Happening, at_s: float, story: Story, connections: dict[int, _Connection]
) -> None:
    match happening:
        case Advertising(is_on):
            text = "advertises" if is_on else "stops advertising"
            story.add(Note(at_s=at_s, lane=DEVICE, text=text))
        case LinkUp(handle, interval_ms):
            connections[handle] = _Connection()
            text = f"Bluetooth connected, interval {interval_ms:g} ms"
            story.add(Note(at_s=at_s, lane=None, text=text, level=Level.GOOD))
        case LinkChanged(_, interval_ms):
            text = f"interval {interval_ms:g} ms"
            story.add(Note(at_s=at_s, lane=None, text=text))
        case LinkDown(handle, reason):
            connection = connections.pop(handle, None)
            if connection is not None:
                connection.end(at_s, story)
            why = _REASONS.get(reason, f"reason 0x{reason:02x}")
            text = f"Bluetooth disconnected: {why}"
            story.add(Note(at_s=at_s, lane=None, text=text))
        case AttOperation(handle):
            if handle not in connections and len(connections) < MAX_CONNECTIONS:
                connections[handle] = _Connection()  # made before the capture began
            connection = connections.get(handle)
            if connection is not None:
                connection.operate(happening, at_s, story)
