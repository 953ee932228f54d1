"""Settings of a link (session section 2.4), and the bounds of what a peer can make us hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from primegap.quantumlink.codec import MAX_U32
from primegap.quantumlink.frames import OPEN_OVERHEAD
from primegap.quantumlink.records import MAX_RECORD_SIZE, MIN_RECORD_SIZE
from primegap.quantumlink.session.errors import ConfigError

TUNED_WINDOW: Final = 65_536
"""Our initial window and send buffer. Bluetooth moves up to 250 kB/s with round
trips of 50 to 250 ms (connection interval, chip queue): 64 KiB keep the air busy, 16 KiB do not."""
TUNED_MAX_WINDOW: Final = 262_144
"Largest window we grant on request, and largest send buffer: one second of the fastest link."
PACKET_PAYLOAD: Final = 236
"Bytes of a record in one Bluetooth packet: 244 without the header of BTP."
TUNED_ACK_DELAY_S: Final = 0.020
"""Our delay of an ACK: about one for each connection event of 30 ms. Every ACK
takes a whole packet of air, a millisecond; at the published 5 ms that is a sixth of the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Settings of a link. The defaults are the published ones; times in seconds, sizes in bytes.

    Raises:
        ConfigError: a value is outside its range.
    """

    accept_unknown_ik: bool = False
    "Whether an IK initiator that is not paired may connect and be bound, when nobody is bound."
    handshake_timeout_s: float = 5.0
    "For a whole attempt, both roles."
    record_max_size: int = MAX_RECORD_SIZE
    "Largest record we send, everything included."
    packet_payload: int = PACKET_PAYLOAD
    """Bytes of a record that one packet of the transport carries. A lost packet costs the whole
    record, so under loss records become smaller; 0 for a transport that does not cut records."""
    inbound_record_max_size: int = 16_384
    """Largest record we look at, twice what the published implementation sends. A record full of
    the smallest frames costs a microsecond or two per byte."""
    ack_delay_s: float = 0.005
    "Longest wait of a record for its acknowledgement."
    retransmit_timeout_s: float = 1.0
    "Time-out until the first round-trip sample; later 10 ms to 30 s."
    keepalive_interval_s: float = 10.0
    "Silence after which a ping is sent; 0 for never."
    peer_timeout_s: float = 30.0
    "Silence of the peer after which the session ends; 0 for never."
    stream_send_buffer_size: int = 16_384
    "Bytes written and not acknowledged, per stream."
    max_stream_send_buffer_size: int = 0
    """What that grows to, by doubling, when all of it is on its way and more could be: on a path
    with a long delay. No growth when it is not larger."""
    max_send_growth: int = 2_097_152
    """Bytes by which all send buffers together may grow, a dozen at the largest. Buffers keep what
    they have until their stream ends, so a peer that asks for much and acknowledges late is
    bounded by it."""
    initial_stream_receive_window: int = 16_384
    "Credit of every new stream, advertised in the handshake."
    max_stream_receive_window: int = 32_768
    "Most credit a peer may ask for."
    accepted_record_window: int = 4096
    "Record numbers the replay window reaches back."
    pending_ack_range_limit: int = 64
    "Ranges of record numbers waiting to be acknowledged."
    max_peer_streams: int = 64
    """Streams the peer may have open at once; further ones are reset with 6 (refused). One call of
    the RPC layer is one stream, and a companion runs a handful of calls."""
    max_header_size: int = 1024
    """Header of a stream the peer opens; a longer one is reset with 8 (limit). Route keys take at
    most 21 bytes (session 8.1)."""
    max_receive_memory: int = 8_388_608
    """Sum of the receive windows of all streams; beyond it the peer's streams are reset with 8
    (limit). 64 streams with our larger initial window take half of it."""

    def __post_init__(self) -> None:
        _require(self.record_max_size > MIN_RECORD_SIZE, "record_max_size")
        _require(self.packet_payload >= 0, "packet_payload")
        _require(self.inbound_record_max_size > MIN_RECORD_SIZE, "inbound_record_max_size")
        _require(self.handshake_timeout_s > 0, "handshake_timeout_s")
        _require(self.ack_delay_s >= 0, "ack_delay_s")
        _require(self.retransmit_timeout_s > 0, "retransmit_timeout_s")
        _require(self.keepalive_interval_s >= 0, "keepalive_interval_s")
        _require(self.peer_timeout_s >= 0, "peer_timeout_s")
        _require(self.stream_send_buffer_size >= 1, "stream_send_buffer_size")
        _require(self.max_stream_send_buffer_size >= 0, "max_stream_send_buffer_size")
        _require(self.max_send_growth >= 0, "max_send_growth")
        _require(self.initial_stream_receive_window >= 1, "initial_stream_receive_window")
        _require(
            self.initial_stream_receive_window <= self.max_stream_receive_window <= MAX_U32,
            "max_stream_receive_window",
        )
        _require(self.accepted_record_window >= 1, "accepted_record_window")
        _require(self.pending_ack_range_limit >= 1, "pending_ack_range_limit")
        _require(self.max_peer_streams >= 1, "max_peer_streams")
        _require(self.max_header_size >= 0, "max_header_size")
        _require(
            self.max_receive_memory >= self.initial_stream_receive_window, "max_receive_memory"
        )

    @classmethod
    def tuned(cls) -> Self:
        """Return the settings for Bluetooth: the published ones, but for windows and ACK delay.

        Neither changes the wire: a peer with the published settings learns our window in the
        handshake, and takes our ACKs whenever they come. For both suites.
        """
        return cls(
            stream_send_buffer_size=TUNED_WINDOW,
            max_stream_send_buffer_size=TUNED_MAX_WINDOW,
            initial_stream_receive_window=TUNED_WINDOW,
            max_stream_receive_window=TUNED_MAX_WINDOW,
            ack_delay_s=TUNED_ACK_DELAY_S,
        )

    @property
    def max_own_header_size(self) -> int:
        """Most header bytes of a stream we open, so that data still fits beside (session 6.1)."""
        return self.record_max_size - (MIN_RECORD_SIZE + 1 + OPEN_OVERHEAD) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Choices for one stream at the moment it is opened; None takes the configured value."""

    receive_window: int | None = None
    "Bytes the peer may send at first; cut to our initial and maximal window."
    requested_peer_receive_window: int | None = None
    "Bytes we would like to be allowed to send, 1 to 2^32 - 1; the peer decides."
    send_buffer_size: int | None = None
    "Bytes held until acknowledged, at least 1; a buffer of a given size does not grow."

    def __post_init__(self) -> None:
        for name in ("receive_window", "requested_peer_receive_window", "send_buffer_size"):
            value: int | None = getattr(self, name)
            _require(value is None or 1 <= value <= MAX_U32, name)


def _require(held: bool, name: str) -> None:
    if not held:
        raise ConfigError(f"{name} is out of range")
