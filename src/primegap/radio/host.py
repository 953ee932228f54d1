"""The host driver: the device's side of the chip, as a port for packets (radio.md section 12).

    radio = await open_radio(sock, RadioSettings(enabled=True, name="Passport Prime (12AB)"))
    while True:
        port = await radio.connection()   # one phone, one connection
        ...                               # send and receive packets until PortClosedError

A `RadioPort` lives as long as its chip process and moves packets whoever is connected; a
`ConnectionPort` ends with the connection. When the chip is gone or does not answer, every call of
both raises `PortClosedError`; whoever supervises the chip starts a new one and opens it anew.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio.chip_memory import SECRET_BYTES
from primegap.radio.errors import (
    ChipNotTrustedError,
    LocalRadioError,
    RemoteRadioError,
    SendRefusedError,
)
from primegap.radio.firmware import bundled_image
from primegap.radio.host_scheduler import (
    Booted,
    ChipDied,
    ChipNotTrusted,
    Done,
    Event,
    HostScheduler,
    PacketArrived,
    RadioStatus,
)
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import (
    MAX_PACKET_BYTES,
    AckBtAddress,
    AckDeviceId,
    AckFirmwareVersion,
    AnyMessage,
    DisableChannels,
    Link,
    Plain,
    SetDeviceName,
    SetTxPower,
    TxPower,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["ConnectionPort", "RadioPort", "RadioSettings", "RadioStatus", "open_radio"]

MAX_RECEIVED_PACKETS: Final = 64
"Packets kept for a link that does not take them; further ones stay in the chip, which drops them."
MAX_DATAGRAM_BYTES: Final = 512
"Above any message (270 bytes): a longer datagram is cut and then refused as malformed."
DATAGRAM_BURST: Final = 32
"Datagrams taken in one turn of the loop, so that a flooding chip cannot starve the process."


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSettings:
    """What the user wants of the radio; told to every new chip."""

    enabled: bool = True
    "Whether to be visible and connectable."
    name: str | None = None
    "Advertised name, at most 29 bytes to fit; None leaves the chip's own."
    tx_power: TxPower | None = None
    "Sending power; None leaves the chip's own."


class ConnectionPort:
    """Packets to and from one phone, for as long as its connection lasts (a `PacketPort`)."""

    packet_size = MAX_PACKET_BYTES

    def __init__(self, radio: RadioPort) -> None:
        """Made by `RadioPort.connection`."""
        self._radio = radio
        self._lost = False

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, as far as the chip has told."""
        return self._lost or self._radio.closed

    async def send(self, packet: bytes) -> None:
        """Send one packet to the phone; returns when the chip took it.

        Raises:
            PortClosedError: the connection or the chip is gone, or the phone took nothing for
                3.3 s. In the last case the radio stays connected, and `RadioPort.connection` gives
                a new port at once.
        """
        if not self.closed:
            try:
                await self._radio.send(packet)
            except SendRefusedError as error:
                self.lost()
                raise PortClosedError("the phone takes no data") from error
            return
        raise PortClosedError("the Bluetooth connection is gone")

    async def receive(self) -> bytes:
        """Return the next packet of the phone; what came before a loss still arrives.

        Raises:
            PortClosedError: the connection or the chip is gone and nothing is left.
        """
        return await self._radio.receive_while(lambda: not self.closed)

    async def close(self) -> None:
        """Disconnect the phone; the device stays visible."""
        if not self.closed:
            self.lost()
            await self._radio.disconnect()

    def lost(self) -> None:
        """The connection is gone."""
        self._lost = True
        self._radio.connection_lost(self)


class RadioPort:
    """Packets to and from the phone, and the radio's switches. Made by `open_radio`."""

    packet_size = MAX_PACKET_BYTES

    def __init__(
        self,
        sock: socket.socket,
        on_status: Callable[[RadioStatus], None] | None = None,
        *,
        bond: ChipBond | None = None,
        image: bytes | None = None,
    ) -> None:
        """Take over a connected SOCK_SEQPACKET socket; see `open_radio`."""
        self._sock = sock
        self._distrust: ChipNotTrustedError | None = None
        self._on_status = on_status
        self._loop = asyncio.get_running_loop()
        self._scheduler = HostScheduler(
            bond or ChipBond(os.urandom(SECRET_BYTES), sent=False),
            image or bundled_image(),
            rng=os.urandom,
            now_s=self._loop.time(),
        )
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[int, asyncio.Future[AnyMessage]] = {}
        self._received: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._closed = asyncio.Event()
        self._booted: asyncio.Future[None] = self._loop.create_future()
        self._connection: ConnectionPort | None = None
        self._status_changed = asyncio.Event()
        self.overflows = 0
        "How often the chip reported that it lost packets of the phone."
        sock.setblocking(False)
        self._loop.add_reader(sock, self._readable)
        self._settle([])

    # -- packets ----------------------------------------------------------------------------------

    @property
    def status(self) -> RadioStatus:
        """What the chip last said about the air."""
        return self._scheduler.status

    @property
    def closed(self) -> bool:
        """Whether the chip is gone."""
        return self._closed.is_set()

    @property
    def trusted(self) -> bool:
        """Whether the chip has passed every challenge so far; one that failed is not used."""
        return self._distrust is None

    async def wait_closed(self) -> None:
        """Wait until the chip is gone."""
        await self._closed.wait()

    async def send(self, packet: bytes) -> None:
        """Send one packet to the phone; returns when the chip took it.

        Raises:
            SendRefusedError: the chip had no room for 3.3 s, or nobody is connected. Every packet
                that waited behind this one failed, too; the port stays usable.
            PortClosedError: the chip is gone.
        """
        if len(packet) > self.packet_size:
            raise LocalRadioError(f"a packet has at most {self.packet_size} bytes")
        self._check_open()
        await self._finish(self._scheduler.send(packet, now_s=self._loop.time()))

    async def receive(self) -> bytes:
        """Return the next packet of the phone.

        Raises:
            PortClosedError: the chip is gone and nothing is left.
        """
        return await self.receive_while(lambda: not self.closed)

    async def receive_while(self, going_on: Callable[[], bool]) -> bytes:
        """Return the next packet; raise PortClosedError when none is left and nothing goes on."""
        while not self._received:
            if not going_on():
                raise PortClosedError("the Bluetooth connection is gone")
            self._arrived.clear()
            await self._arrived.wait()
        packet = self._received.popleft()
        if len(self._received) == MAX_RECEIVED_PACKETS // 2 and not self.closed:
            self._scheduler.set_room(True, now_s=self._loop.time())
            self._settle([])
        return packet

    async def close(self) -> None:
        """Let go of the chip, which ends it."""
        self._end()

    async def connection(self) -> ConnectionPort:
        """Wait for a phone and return the port of its connection; the same while it lasts.

        Raises:
            PortClosedError: the chip is gone.
            ChipNotTrustedError: it failed a challenge.
        """
        while True:
            self._check_open()
            if self.status.link is Link.CONNECTED:
                if self._connection is None:
                    self._connection = ConnectionPort(self)
                return self._connection
            self._status_changed.clear()
            await self._status_changed.wait()

    def connection_lost(self, connection: ConnectionPort) -> None:
        """Forget a connection and wake whoever waits for its packets."""
        if connection is self._connection:
            self._connection = None
        self._arrived.set()

    # -- switches ---------------------------------------------------------------------------------

    async def booted(self) -> None:
        """Wait until the chip has passed its checks and its application runs.

        Raises:
            ChipNotTrustedError: it failed its challenge and was not started.
            PortClosedError: it never came so far.
        """
        await asyncio.shield(self._booted)

    async def apply(self, settings: RadioSettings) -> None:
        """Tell the chip what the user wants; the name first, so that it is never wrong."""
        if settings.name is not None:
            await self.set_name(settings.name)
        if settings.tx_power is not None:
            await self._command(SetTxPower(settings.tx_power))
        await (self.enable() if settings.enabled else self.disable())

    async def enable(self) -> None:
        """Become visible and connectable."""
        await self._command(Plain.ENABLE)

    async def disable(self) -> None:
        """Close the connection, if any, and become invisible."""
        await self._command(Plain.DISABLE)

    async def disconnect(self) -> None:
        """Close the connection, if any; the device stays visible."""
        await self._command(Plain.DISCONNECT)

    async def set_name(self, name: str) -> None:
        """Choose the advertised name, at most 31 bytes, of which 29 are shown."""
        await self._command(SetDeviceName(name))

    async def disable_channels(self, channels: int) -> bool:
        """Switch advertising channels off; see `messages.ALL_CHANNELS_OFF`.

        Returns:
            Whether the chip did so; it refuses to switch off all three.
        """
        return await self._command(DisableChannels(channels)) is Plain.ACK_DISABLE_CHANNELS

    async def address(self) -> str:
        """Return the Bluetooth address in upper-case hex with colons, as the QR code shows it."""
        answer = await self._command(Plain.GET_BT_ADDRESS)
        assert isinstance(answer, AckBtAddress)
        return answer.address.hex(":").upper()

    async def device_id(self) -> bytes:
        """Return the chip's factory id, 8 bytes."""
        answer = await self._command(Plain.GET_DEVICE_ID)
        assert isinstance(answer, AckDeviceId)
        return answer.device_id

    async def firmware_version(self) -> str:
        """Return the version text of the chip's application."""
        answer = await self._command(Plain.GET_FIRMWARE_VERSION)
        assert isinstance(answer, AckFirmwareVersion)
        return answer.version

    # -- the pipe ---------------------------------------------------------------------------------

    async def _command(self, message: AnyMessage) -> AnyMessage:
        self._check_open()
        return await self._finish(self._scheduler.command(message, now_s=self._loop.time()))

    async def _finish(self, ticket: int) -> AnyMessage:
        future: asyncio.Future[AnyMessage] = self._loop.create_future()
        self._waiting[ticket] = future
        self._settle([])
        try:
            return await future
        finally:
            if self._waiting.pop(ticket, None) is not None:
                self._scheduler.cancel(ticket)

    def _check_open(self) -> None:
        if self.closed:
            raise PortClosedError("the Bluetooth chip is gone")
        if self._distrust is not None:
            raise ChipNotTrustedError(str(self._distrust))

    def _readable(self) -> None:
        for _ in range(DATAGRAM_BURST):
            if self.closed:
                return
            try:
                datagram = self._sock.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                datagram = b""
            if not datagram:
                self._end()
                return
            self._settle(self._scheduler.receive(datagram, now_s=self._loop.time()))

    def _timed_out(self) -> None:
        self._settle(self._scheduler.on_timeout(now_s=self._loop.time()))

    def _settle(self, events: list[Event]) -> None:
        """After every call into the scheduler: publish events, send, arm the one timer."""
        for event in events:
            self._publish(event)
        if self.closed:
            return
        for request in self._scheduler.take_requests():
            self._transmit(request)
        if self._timer is not None:
            self._timer.cancel()
        due_s = self._scheduler.next_timeout_s()
        self._timer = None if due_s is None else self._loop.call_at(due_s, self._timed_out)

    def _transmit(self, request: bytes) -> None:
        try:
            self._sock.send(request)
        except BlockingIOError:
            # One small request at a time fits any socket buffer, unless the chip does not read:
            # the scheduler's time-out then finds it dead.
            return
        except OSError:
            self._end()

    def _publish(self, event: Event) -> None:
        match event:
            case PacketArrived():
                self._received.append(event.packet)
                self._arrived.set()
                if len(self._received) >= MAX_RECEIVED_PACKETS:
                    self._scheduler.set_room(False, now_s=self._loop.time())
            case RadioStatus():
                self.overflows += event.overflow
                self._status_changed.set()
                if event.link is not Link.CONNECTED and self._connection is not None:
                    self._connection.lost()
                if self._on_status is not None:
                    self._on_status(event)
            case Done():
                self._done(event)
            case Booted():
                self._booted.set_result(None)
            case ChipDied():
                self._end()
            case ChipNotTrusted():
                self._refuse_chip(event.error)

    def _refuse_chip(self, error: ChipNotTrustedError) -> None:
        """Use the chip no more, but keep it: a new life would only fail again."""
        self._distrust = error
        self._received.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ChipNotTrustedError(str(error)))
        if not self._booted.done():
            self._booted.set_exception(ChipNotTrustedError(str(error)))
            self._booted.exception()  # marks it as seen: nobody has to be waiting for it

    def _done(self, event: Done) -> None:
        future = self._waiting.pop(event.ticket, None)
        if future is None or future.done():
            return
        if isinstance(event.answer, RemoteRadioError):
            future.set_exception(event.answer)
        else:
            future.set_result(event.answer)

    def _end(self) -> None:
        if self.closed:
            return
        self._closed.set()
        self._arrived.set()
        self._status_changed.set()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._timer is not None:
            self._timer.cancel()
        gone = PortClosedError("the Bluetooth chip is gone")
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(gone)
        if not self._booted.done():
            self._booted.set_exception(gone)
            self._booted.exception()  # marks it as seen: nobody has to be waiting for it


async def open_radio(
    sock: socket.socket,
    settings: RadioSettings,
    *,
    on_status: Callable[[RadioStatus], None] | None = None,
    bond: ChipBond | None = None,
    image: bytes | None = None,
) -> RadioPort:
    """Bring a chip that was just reset into its application, and set it up.

    A chip that fails its challenge is not started; the port that is returned then is not `trusted`,
    and lets nothing through. It keeps the chip in its bootloader until it is closed.

    Args:
        sock: connected SOCK_SEQPACKET socket to the chip process; the port owns it from now on.
        settings: what the user wants.
        on_status: called on every change of the air's state, before the packets that follow it.
        bond: what this host keeps about its chip; without it, the chip must be one that was never
            given a secret.
        image: header and application that the chip is to run; by default the bundled one.

    Raises:
        PortClosedError: the chip ended, did not answer or could not be started.
    """
    port = RadioPort(sock, on_status, bond=bond, image=image)
    try:
        await port.booted()
        await port.apply(settings)
    except ChipNotTrustedError:
        return port
    except BaseException:
        await port.close()
        raise
    return port
