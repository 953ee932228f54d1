"""The driver of a link: owns an engine, its timer and the port that carries its packets.

The driver decides nothing. After every call into the engine, `_settle` does the same three things:
publish events, wake the sender, arm the timer.
"""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from primegap.btp import Chunker
from primegap.quantumlink.aio.errors import (
    AttemptReplacedError,
    DriverClosedError,
    HandshakeTimeoutError,
    PairingTimeoutError,
)
from primegap.quantumlink.aio.events import (
    Connected,
    Disconnected,
    Feed,
    Paired,
    PortAttached,
    PortLost,
    Unpaired,
)
from primegap.quantumlink.aio.pump import PortPump
from primegap.quantumlink.aio.streams import LinkStream, StreamCore
from primegap.quantumlink.errors import LocalError, RemoteError
from primegap.quantumlink.frames import CloseCode, ResetCode
from primegap.quantumlink.records import SessionRecord, parse_record_untrusted
from primegap.quantumlink.session import (
    Halves,
    LinkEvent,
    MissingStreamError,
    NewPeer,
    NoSessionError,
    OutgoingRecord,
    PeerStatus,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
    StreamOpened,
    StreamOptions,
)
from primegap.quantumlink.session import Unpaired as UnpairedEvent
from primegap.quantumlink.suite import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from primegap.btp import RemoteBtpError
    from primegap.quantumlink.aio.events import Notice
    from primegap.quantumlink.aio.port import PacketPort
    from primegap.quantumlink.identity import PeerBundle
    from primegap.quantumlink.pairing import Invite, PairingToken
    from primegap.quantumlink.session import LinkEngine

KK_TIMEOUT_S: Final = 2.5
"""Wait for the answer to KK before IK is tried. A handshake takes two flights of a dozen packets, a
quarter of a second on a slow connection; a peer that cannot do KK does not answer at all."""
FLUSH_TIMEOUT_S: Final = 1.0
"Wait for the last records when a driver is closed."
OVERDUE_TIMER_S: Final = 0.02
"Wait when a deadline of the engine has passed but only a busy port could meet it."
IDLE_TIMER_S: Final = 1.0
"The same without a port."


@dataclass(slots=True)
class LinkCounters:
    """What was dropped; never a reason to give up a connection (btp section 5)."""

    bad_packets: int = 0
    "Packets that BTP refused."
    bad_records: int = 0
    "Records the engine refused."
    last_refusal: str = ""
    "Code of the last error of either kind."


class LinkDriver:
    """Runs one link. Must be made inside a running event loop.

        driver = LinkDriver(LinkEngine(config, identity, rng=os.urandom, now_s=loop.time()))
        driver.attach(port)
        await driver.connect()

    Args:
        engine: to be driven by nobody else.
        clock: monotonic time in seconds, the one the engine was made with; the event loop's if
            none is given.
    """

    def __init__(self, engine: LinkEngine, *, clock: Callable[[], float] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time if clock is None else clock
        self._engine = engine
        self._pump: PortPump | None = None
        self._chunker = Chunker()
        self._timer: asyncio.TimerHandle | None = None
        self._settling = False
        self._closed = False
        self._last_record: bytes | None = None
        self._streams: dict[int, StreamCore] = {}
        self._stream_handler: Callable[[LinkStream], None] | None = None
        self._attempt: asyncio.Future[bool] | None = None
        self._sign_of_life: asyncio.Future[None] | None = None
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._stopping: set[asyncio.Task[None]] = set()
        self.counters = LinkCounters()
        "What was dropped so far."

    async def __aenter__(self) -> LinkDriver:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # --- what it is ---------------------------------------------------------------------------

    @property
    def peer(self) -> PeerBundle | None:
        """The paired peer."""
        return self._engine.peer

    @property
    def is_connected(self) -> bool:
        """True while a session is up."""
        return self._engine.status is PeerStatus.CONNECTED

    @property
    def has_port(self) -> bool:
        """True while packets can flow."""
        return self._pump is not None

    @property
    def handshake_hash(self) -> bytes | None:
        """Transcript hash of the session, equal on both sides; None without one."""
        return self._engine.handshake_hash

    def events(self) -> Feed:
        """Return a feed of all notices from now on."""
        feed = Feed()
        if self._closed:
            feed.close()
        self._feeds.add(feed)
        return feed

    def tell(self, notice: Notice) -> None:
        """Put a notice into all feeds."""
        for feed in list(self._feeds):
            feed.put(notice)

    # --- ports --------------------------------------------------------------------------------

    def attach(self, port: PacketPort) -> None:
        """Use a port from now on; one that was in use is closed.

        Raises:
            LocalError: its packets are too small.
            DriverClosedError: after `aclose`.
        """
        if self._closed:
            raise DriverClosedError("the driver was closed")
        pump = PortPump(port, self, self._chunker, self._clock)
        self.detach()
        self._pump = pump
        pump.start()
        self.tell(PortAttached())
        self._settle()

    def detach(self) -> None:
        """Close the port in use, if any. A session outlives it until the peer time-out."""
        pump, self._pump = self._pump, None
        if pump is None:
            return
        stopping = self._loop.create_task(pump.stop())
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        self.tell(PortLost())
        self._arm_timer()

    def pump_ended(self, pump: PortPump) -> None:
        """Take note of the loss of a port; see `PumpOwner`."""
        if pump is self._pump:
            self.detach()

    def next_record(self) -> OutgoingRecord | None:
        """Return the next record to be sent; see `PumpOwner`."""
        if self._last_record is not None:
            record, self._last_record = self._last_record, None
            return OutgoingRecord(record, None)
        outgoing = self._engine.take_write(now_s=self._clock())
        self._arm_timer(is_stuck=outgoing is None)  # taking a record has moved deadlines
        return outgoing

    def record_sent(self, outgoing: OutgoingRecord, *, ok: bool) -> None:
        """Report the fate of a record; see `PumpOwner`."""
        if outgoing.write_id is not None:
            self._engine.complete_write(outgoing.write_id, ok=ok, now_s=self._clock())
            self._settle()

    def record_received(self, record: bytes) -> None:
        """Hand a record of the peer to the engine; see `PumpOwner`."""
        try:
            processed = self._engine.receive(record, now_s=self._clock())
        except RemoteError as error:
            self.counters.bad_records += 1
            self.counters.last_refusal = error.code
            processed = False
        if processed:
            self._note_sign_of_life(record)
        self._settle()

    def packet_refused(self, error: RemoteBtpError) -> None:
        """Count a packet that was dropped; see `PumpOwner`."""
        self.counters.bad_packets += 1
        self.counters.last_refusal = error.code

    # --- after every call into the engine -----------------------------------------------------

    def _settle(self) -> None:
        if self._settling:
            return  # what an event led to: the loop below goes on
        self._settling = True
        try:
            while events := self._engine.take_events():
                for event in events:
                    self._publish(event)
        finally:
            self._settling = False
        if self._pump is not None:
            self._pump.wake()
        self._arm_timer()

    def _arm_timer(self, *, is_stuck: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._engine.next_timeout_s()
        if due_s is not None and not self._closed:
            wait_s = due_s - self._clock()
            if wait_s <= 0 and is_stuck:
                wait_s = OVERDUE_TIMER_S if self.has_port else IDLE_TIMER_S
            self._timer = self._loop.call_later(max(wait_s, 0.0), self._on_timer)

    def _on_timer(self) -> None:
        self._engine.on_timeout(now_s=self._clock())
        self._settle()
        # What is due still, an ACK perhaps, has to wait until the port takes records again.
        self._arm_timer(is_stuck=True)

    def _publish(self, event: LinkEvent) -> None:
        match event:
            case NewPeer(bundle):
                self.tell(Paired(bundle))
            case PeerStatusChanged(status):
                self._publish_status(status)
            case SessionDropped():
                self._end_streams()
                self.tell(Disconnected(None))
            case SessionClosed(code, record):
                self._last_record = record
                self._end_streams()
                self.tell(Disconnected(code))
            case UnpairedEvent(last_record):
                self._last_record = last_record or self._last_record
                self._end_streams()
                self.tell(Unpaired())
            case StreamOpened(stream_id, header):
                self._accept(stream_id, header)
            case _:
                core = self._streams.get(event.stream_id)
                if core is not None:
                    core.receive_event(event)

    def _publish_status(self, status: PeerStatus) -> None:
        peer, handshake_hash = self._engine.peer, self._engine.handshake_hash
        if status is PeerStatus.CONNECTED and peer is not None and handshake_hash is not None:
            self.tell(Connected(peer, handshake_hash))
        attempt = self._attempt
        if status is not PeerStatus.INITIATOR and attempt is not None and not attempt.done():
            attempt.set_result(status is PeerStatus.CONNECTED)

    # --- sessions -----------------------------------------------------------------------------

    def bind_peer(self, peer: PeerBundle) -> None:
        """Bind a stored peer; see `LinkEngine.bind_peer`."""
        self._engine.bind_peer(peer)
        self._settle()

    def arm_pairing(self, token: PairingToken) -> None:
        """Accept one pairing with this token; `Paired` tells when it was made."""
        self._engine.arm_pairing(token)

    def disarm_pairing(self) -> None:
        """Accept no pairing any more."""
        self._engine.disarm_pairing()
        self._settle()

    async def pair(self, invite: Invite) -> PeerBundle:
        """Pair with whoever showed the invitation, and connect.

        Raises:
            PairingTimeoutError: it was not completed in time.
            AttemptReplacedError: another attempt took its place.
            LocalError: the invitation is for another suite than our identity.
        """
        start = partial(self._engine.connect_xx, invite, now_s=self._clock())
        if not await self._run_attempt(start, None):
            raise PairingTimeoutError("the pairing was not completed")
        if self.peer is None:
            raise PairingTimeoutError("the pairing was undone")
        return self.peer

    async def connect(self, *, patterns: Iterable[Pattern] = (Pattern.KK, Pattern.IK)) -> None:
        """Connect to the paired peer, trying handshakes one after another.

        KK gets `KK_TIMEOUT_S`, the last pattern the time of the engine's configuration.

        Raises:
            HandshakeTimeoutError: no attempt was answered.
            AttemptReplacedError: another attempt took its place.
            NoPeerError: nobody is paired.
        """
        for pattern in patterns:
            is_kk = pattern is Pattern.KK
            connect = self._engine.connect_kk if is_kk else self._engine.connect_ik
            start = partial(connect, now_s=self._clock())
            if await self._run_attempt(start, KK_TIMEOUT_S if is_kk else None):
                return
        raise HandshakeTimeoutError("no attempt to connect was answered")

    async def _run_attempt(self, start: Callable[[], None], timeout_s: float | None) -> bool:
        if self._closed:
            raise DriverClosedError("the driver was closed")
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_exception(AttemptReplacedError("another attempt was started"))
        attempt: asyncio.Future[bool] = self._loop.create_future()
        self._attempt = attempt
        try:
            start()
            self._settle()
            async with asyncio.timeout(timeout_s):
                return await attempt
        except TimeoutError:
            return False
        finally:
            if self._attempt is attempt:
                self._attempt = None

    async def probe(self, timeout_s: float) -> bool:
        """Ask the peer for a sign of life; tell whether its session still answers here.

        For a new port under an old session: when both sides have kept it, calls just go on.
        """
        if not self.is_connected:
            return False
        self._engine.queue_ping()
        sign = self._sign_of_life = self._loop.create_future()
        self._settle()
        try:
            async with asyncio.timeout(timeout_s):
                await sign
        except TimeoutError:
            return False
        finally:
            self._sign_of_life = None
        return self.is_connected

    def _note_sign_of_life(self, record: bytes) -> None:
        sign = self._sign_of_life
        if sign is None or sign.done():
            return
        # A first message of a handshake proves nothing: anybody can write one.
        if isinstance(parse_record_untrusted(record), SessionRecord):
            sign.set_result(None)

    def close_session(self, close_code: int = CloseCode.CANCELLED) -> None:
        """End the session, telling the peer; nothing happens without one."""
        self._engine.close_session(close_code, now_s=self._clock())
        self._settle()

    def unpair(self) -> None:
        """Forget the peer, telling it if there is a session."""
        self._engine.unpair(now_s=self._clock())
        self._settle()

    async def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until everything that can be sent now was taken by the port; False if it was not."""
        if self._pump is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._pump.wait_idle()
        except TimeoutError:
            return False
        return self.has_port

    async def aclose(self) -> None:
        """Close the session, the port and all feeds; streams fail. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self.close_session()
        await self.flush()
        self.detach()
        self._arm_timer()
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_exception(DriverClosedError("the driver was closed"))
        for feed in list(self._feeds):
            feed.close()
        await asyncio.gather(*self._stopping, return_exceptions=True)

    # --- streams --------------------------------------------------------------------------------

    def open_stream(self, header: bytes, options: StreamOptions | None = None) -> LinkStream:
        """Open a stream. The peer hears of it with the first byte or the end.

        Raises:
            NoSessionError: not connected.
            HeaderTooLargeError: the header leaves no room for data.
            StreamLimitError: no memory is left for the answers.
        """
        stream_id = self._engine.open_stream(header, options or StreamOptions())
        return LinkStream(self._new_core(stream_id, header))

    def on_stream(self, handler: Callable[[LinkStream], None] | None) -> None:
        """Set who takes the streams of the peer; without anybody they are reset with 9."""
        self._stream_handler = handler

    def _accept(self, stream_id: int, header: bytes) -> None:
        try:
            self._engine.inbound_state(stream_id)
        except (MissingStreamError, NoSessionError):
            return  # over already: the peer took it back, or ended the session with the same record
        if self._stream_handler is None:
            self._engine.reset(stream_id, Halves.BOTH, ResetCode.UNKNOWN_ROUTE)
        else:
            self._stream_handler(LinkStream(self._new_core(stream_id, header)))

    def _new_core(self, stream_id: int, header: bytes) -> StreamCore:
        peer = self._engine.peer
        if peer is None:
            raise LocalError("a session has a peer")
        core = StreamCore(
            self._engine,
            self._settle,
            self._forget_stream,
            stream_id=stream_id,
            header=header,
            peer=peer,
        )
        self._streams[stream_id] = core
        return core

    def _forget_stream(self, stream_id: int) -> None:
        self._streams.pop(stream_id, None)

    def _end_streams(self) -> None:
        streams, self._streams = self._streams, {}
        for core in streams.values():
            core.end()
