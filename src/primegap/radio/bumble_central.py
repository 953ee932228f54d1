"""A central on bumble's own host stack: needs nothing of the operating system but HCI packets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import override

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio import nus
from primegap.radio.central import (
    CONNECT_TIMEOUT_S,
    DISCONNECT_TIMEOUT_S,
    FIND_TIMEOUT_S,
    OPEN_TIMEOUT_S,
    CentralPort,
    FoundDevice,
)
from primegap.radio.errors import AdapterMissingError, ConnectFailedError, DeviceNotFoundError
from primegap.radio.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

T = TypeVar("T")

_WRITE_COMMAND: Final = 0x52
_NOTIFICATION: Final = 0x1B


class _InterruptedError(Exception):
    """Work was ended by something else; never leaves this module."""


class BumblePort(CentralPort):
    """A connection that writes ATT packets itself, as fast as the controller takes them."""

    def __init__(self, owner: BumbleCentral, connection: Any) -> None:
        super().__init__()
        self._owner = owner
        self._connection = connection
        self._rx_handle = 0

    @override
    async def _write(self, packet: bytes) -> None:
        await self._owner.wait_for_room(self)
        if self.closed:
            raise PortClosedError("the Bluetooth connection is gone")
        pdu = bytes([_WRITE_COMMAND]) + self._rx_handle.to_bytes(2, "little") + packet
        self._owner.send_att(self._connection.handle, pdu)

    @override
    async def close(self) -> None:
        if not self.closed:
            await self._owner.disconnect(self._connection)
            self.lost()

    def ready(self, rx_handle: int) -> None:
        """Set where to write to; from now on packets may be sent."""
        self._rx_handle = rx_handle

    @override
    def lost(self) -> None:
        super().lost()
        self._owner.flow.set()


class BumbleCentral:
    """A `Central` on bumble's host stack."""

    def __init__(self, transport: Any) -> None:
        """Take an open transport of bumble; `open_bumble` does this."""
        from bumble import att, hci
        from bumble import device as bumble_device

        logging.getLogger("bumble").setLevel(logging.CRITICAL)  # a device must not fill the log
        self._att_channel = att.ATT_CID
        self._loop = asyncio.get_running_loop()
        config = bumble_device.DeviceConfiguration(
            name="primegap", address=hci.Address.generate_static_address()
        )
        self._device: Any = bumble_device.Device.from_config_with_hci(
            config, transport.source, transport.sink
        )
        self._device.l2cap_channel_manager.register_fixed_channel(
            self._att_channel, self._att_received
        )
        self._ports: dict[int, tuple[BumblePort, int]] = {}
        self.flow = asyncio.Event()
        "Set when the controller took packets, or a connection was lost."
        self._device.on("connection", self._connected)
        self._connecting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()
        transport.source.terminated.add_done_callback(lambda _: self._adapter_lost())

    async def power_on(self) -> None:
        """Start the controller."""
        await self._device.power_on()
        self._queue = self._device.host.le_acl_packet_queue
        self._queue.on("flow", self.flow.set)

    async def find(
        self,
        *,
        name: str | None = None,
        address: str | None = None,
        timeout_s: float = FIND_TIMEOUT_S,
    ) -> FoundDevice:
        """Scan for the first device that offers our service and matches; see `Central.find`."""
        from bumble import core, hci
        from bumble.core import AdvertisingData

        service = core.UUID(nus.SERVICE_UUID)
        found: asyncio.Future[FoundDevice] = self._loop.create_future()

        def heard(advertisement: Any) -> None:
            data = advertisement.data
            services = data.get(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS)
            its_name = data.get(AdvertisingData.COMPLETE_LOCAL_NAME) or ""
            its_address = advertisement.address.to_string(False)
            matches = (
                service in (services or ())
                and (name is None or its_name == name)
                and (address is None or its_address == address.upper())
            )
            if matches and not found.done():
                random = advertisement.address.address_type != hci.Address.PUBLIC_DEVICE_ADDRESS
                found.set_result(FoundDevice(its_address, its_name, advertisement.rssi, random))

        async def scan() -> FoundDevice:
            await self._device.start_scanning(active=True)
            async with asyncio.timeout(timeout_s):
                return await found

        self._device.on("advertisement", heard)
        try:
            return await self._unless_adapter_lost(scan())
        except TimeoutError as error:
            raise DeviceNotFoundError("no matching device advertised") from error
        finally:
            self._device.remove_listener("advertisement", heard)
            if not self._lost.is_set():
                with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error, TimeoutError):
                    await self._device.stop_scanning()

    async def connect(
        self, device: FoundDevice, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> BumblePort:
        """Connect and make the link carry our packets; see `Central.connect`."""
        from bumble import core, hci

        address = hci.Address(
            device.address,
            hci.Address.RANDOM_DEVICE_ADDRESS
            if device.random
            else hci.Address.PUBLIC_DEVICE_ADDRESS,
        )
        deadline_s = self._loop.time() + timeout_s
        self._connecting = True
        try:
            connection = await self._unless_adapter_lost(
                self._device.connect(address, timeout=timeout_s)
            )
        except (core.BaseBumbleError, hci.HCI_Error, TimeoutError) as error:
            raise ConnectFailedError("the device did not answer") from error
        except asyncio.CancelledError:
            self._spawn(self._give_up_connecting())
            raise
        finally:
            self._connecting = False
        port = BumblePort(self, connection)
        if self._device.lookup_connection(connection.handle) is not connection:
            # Another central was faster; the loss was reported together with the connection.
            raise ConnectFailedError("the device is busy with another phone")
        connection.on("disconnection", lambda _reason: self._disconnected(connection.handle, port))
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._unless(port.wait_closed(), self._set_up(port, connection))
        except (_InterruptedError, TimeoutError) as error:
            await port.close()
            raise ConnectFailedError("the link was lost while it was set up") from error
        except BaseException:
            await port.close()
            raise
        return port

    async def _unless_adapter_lost(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await self._unless(self._lost.wait(), work)
        except _InterruptedError as error:
            raise AdapterMissingError("the adapter is gone") from error

    async def _unless(self, end: Coroutine[Any, Any, object], work: Coroutine[Any, Any, T]) -> T:
        """Do some work unless something ends it, or bumble cancels it from within."""
        working, ending = self._loop.create_task(work), self._loop.create_task(end)
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done() or working.cancelled():
                raise _InterruptedError
            return working.result()
        finally:
            await end_tasks(working, ending)

    async def _give_up_connecting(self) -> None:
        from bumble import core, hci

        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error, TimeoutError):
            await self._device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())

    def _connected(self, connection: Any) -> None:
        if not self._connecting:  # it came after we had given up, and would block the device
            self._spawn(self.disconnect(connection))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _set_up(self, port: BumblePort, connection: Any) -> None:
        """Make the MTU large, then find the service and switch notifications on.

        In this order the device's first notification already has room (section 8.3).
        """
        from bumble import att, core
        from bumble.device import Peer

        try:
            peer = Peer(connection)
            if await peer.request_mtu(nus.ATT_MTU) < nus.ATT_MTU:
                raise ConnectFailedError("the link is too narrow for our packets")
            services = await peer.discover_service(core.UUID(nus.SERVICE_UUID))
            if not services:
                raise ConnectFailedError("the device does not offer our service")
            uuids = [core.UUID(nus.RX_UUID), core.UUID(nus.TX_UUID)]
            found = {
                str(one.uuid): one for one in await services[0].discover_characteristics(uuids)
            }
            receive, transmit = (found.get(str(uuid)) for uuid in uuids)
            if receive is None or transmit is None:
                raise ConnectFailedError("the device does not offer our service")
            self._ports[connection.handle] = (port, transmit.handle)
            port.ready(receive.handle)
            await transmit.subscribe()
        except (core.BaseBumbleError, att.ATT_Error) as error:
            raise ConnectFailedError("the device's answers do not make sense") from error

    async def wait_for_room(self, port: BumblePort) -> None:
        """Wait until the controller takes another packet, or the connection is lost."""
        while not port.closed and self._queue.pending >= self._queue.max_in_flight:
            self.flow.clear()
            await self.flow.wait()

    def send_att(self, handle: int, pdu: bytes) -> None:
        """Send an ATT packet on a connection."""
        self._device.send_l2cap_pdu(handle, self._att_channel, pdu)

    async def disconnect(self, connection: Any) -> None:
        """Close a connection."""
        from bumble import core, hci

        with contextlib.suppress(core.BaseBumbleError, hci.HCI_Error, TimeoutError):
            async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
                await connection.disconnect()

    async def close(self) -> None:
        """Close all connections."""
        for port, _ in list(self._ports.values()):
            await port.close()
        await end_tasks(*self._tasks)

    def _disconnected(self, handle: int, port: BumblePort) -> None:
        self._ports.pop(handle, None)
        port.lost()

    def _adapter_lost(self) -> None:
        self._lost.set()
        for port, _ in list(self._ports.values()):
            port.lost()
        self._ports.clear()

    def _att_received(self, handle: int, pdu: bytes) -> None:
        known = self._ports.get(handle)
        if (
            known is not None
            and len(pdu) >= nus.ATT_HEADER_BYTES
            and pdu[0] == _NOTIFICATION
            and int.from_bytes(pdu[1:3], "little") == known[1]
        ):
            known[0].notified(pdu[nus.ATT_HEADER_BYTES :])
        else:
            self._device.on_gatt_pdu(handle, pdu)


@contextlib.asynccontextmanager
async def open_bumble(transport: str) -> AsyncIterator[BumbleCentral]:
    """Open an adapter at a transport string of bumble; see `open_central`."""
    from bumble.transport import open_transport

    opened: Any = None
    try:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                opened = await open_transport(transport)
                central = BumbleCentral(opened)
                await central.power_on()
        except Exception as error:
            scheme = transport.partition(":")[0]
            raise AdapterMissingError(f"no adapter answers at the {scheme} transport") from error
        yield central
        await central.close()
    finally:
        if opened is not None:
            await opened.close()
