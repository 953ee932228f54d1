"""A central on the operating system's own Bluetooth, by the optional library bleak.

For a companion on a computer whose Bluetooth others use too: BlueZ, macOS and Windows share their
adapter, bumble takes it over. The system decides about connection interval and MTU, so both are
only waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

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
from primegap.radio.errors import (
    AdapterMissingError,
    BleakMissingError,
    ConnectFailedError,
    DeviceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

MTU_POLL_S: Final = 0.05
"The system tells nobody when the MTU was exchanged, so it is looked at that often."
MTU_TIMEOUT_S: Final = 2.0
"... and for that long: the exchange is the first thing that both sides do."
PUBLIC: Final = "public"
"What BlueZ calls an address that is not a random one."


class BleakPort(CentralPort):
    """A connection that the system holds. Whoever writes waits until the system took the packet."""

    def __init__(self) -> None:
        super().__init__()
        self._client: Any = None
        self._rx: Any = None

    def ready(self, client: Any, rx: Any) -> None:
        """Set where to write to; from now on packets may be sent."""
        self._client, self._rx = client, rx

    @override
    async def _write(self, packet: bytes) -> None:
        from bleak.exc import BleakError

        if self.closed:
            raise PortClosedError("the Bluetooth connection is gone")
        try:
            await self._client.write_gatt_char(self._rx, packet, response=False)
        except (BleakError, OSError, EOFError) as error:
            # The system takes packets of any connection that is there. When it is not sure of
            # one, neither are we.
            await self.close()
            raise PortClosedError("the Bluetooth connection is gone") from error

    @override
    async def close(self) -> None:
        if not self.closed:
            self.lost()
            await _disconnect(self._client)


class BleakCentral:
    """A `Central` on the operating system's Bluetooth.

    Args:
        adapter: which of several (Linux: "hci1"); None for the system's choice.
        scanner_backend, client_backend: classes of bleak to use instead of the system's.
    """

    def __init__(
        self,
        adapter: str | None = None,
        *,
        scanner_backend: type[Any] | None = None,
        client_backend: type[Any] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {} if adapter is None else {"bluez": {"adapter": adapter}}
        self._scanner_backend = scanner_backend
        self._client_backend = client_backend
        self._heard: dict[str, Any] = {}  # by address: how bleak knows the device
        self._ports: set[BleakPort] = set()

    async def __aenter__(self) -> Self:
        """Find out whether there is an adapter, by asking it to listen for a moment.

        Raises:
            AdapterMissingError: there is none, it is switched off, or we may not use it.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S), self._scanning(lambda _device, _data: None):
                return self
        except TimeoutError as error:
            raise AdapterMissingError("the system's Bluetooth does not answer") from error

    async def __aexit__(self, *exc: object) -> None:
        for port in list(self._ports):
            await port.close()

    @contextlib.asynccontextmanager
    async def _scanning(self, heard: Any) -> AsyncIterator[None]:
        from bleak import BleakScanner
        from bleak.exc import BleakError

        try:
            scanner = BleakScanner(
                heard,
                [nus.SERVICE_UUID],
                cb={"use_bdaddr": True},  # macOS shows numbers of its own else
                backend=self._scanner_backend,
                **self._options,
            )
            await scanner.start()
        except (BleakError, OSError, EOFError) as error:
            raise AdapterMissingError("the system's Bluetooth cannot be used") from error
        try:
            yield
        finally:
            with contextlib.suppress(BleakError, OSError, EOFError):
                await scanner.stop()

    async def find(
        self,
        *,
        name: str | None = None,
        address: str | None = None,
        timeout_s: float = FIND_TIMEOUT_S,
    ) -> FoundDevice:
        """Scan for the first device that offers our service and matches; see `Central.find`."""
        found: asyncio.Future[FoundDevice] = asyncio.get_running_loop().create_future()
        service = nus.SERVICE_UUID.lower()

        def heard(device: Any, data: Any) -> None:
            its_name, its_address = data.local_name or "", device.address.upper()
            matches = (
                service in (uuid.lower() for uuid in data.service_uuids)
                and (name is None or its_name == name)
                and (address is None or its_address == address.upper())
            )
            if matches and not found.done():
                self._heard = {its_address: device}  # of the last search, so it does not grow
                found.set_result(FoundDevice(its_address, its_name, data.rssi, _is_random(device)))

        async with self._scanning(heard):
            try:
                async with asyncio.timeout(timeout_s):
                    return await found
            except TimeoutError as error:
                raise DeviceNotFoundError("no matching device advertised") from error

    async def connect(
        self, device: FoundDevice, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> BleakPort:
        """Connect and wait until the link carries our packets; see `Central.connect`."""
        from bleak import BleakClient
        from bleak.exc import BleakBluetoothNotAvailableError, BleakError

        port = BleakPort()
        client = BleakClient(
            self._heard.get(device.address, device.address),
            disconnected_callback=lambda _client: self._disconnected(port),
            timeout=timeout_s,
            backend=self._client_backend,
            **self._options,
        )
        try:
            async with asyncio.timeout(timeout_s):
                await client.connect()
                await self._set_up(port, client)
        except BleakBluetoothNotAvailableError as error:
            raise AdapterMissingError("the system's Bluetooth cannot be used") from error
        except (BleakError, OSError, EOFError) as error:  # a TimeoutError is an OSError
            await _disconnect(client)
            raise ConnectFailedError("the device did not answer") from error
        except BaseException:
            await _disconnect(client)
            raise
        if port.closed:
            raise ConnectFailedError("the link was lost while it was set up")
        self._ports.add(port)
        return port

    async def _set_up(self, port: BleakPort, client: Any) -> None:
        """Find the service, wait for the large MTU, then switch notifications on (section 8.3)."""
        service = client.services.get_service(nus.SERVICE_UUID)
        rx = None if service is None else service.get_characteristic(nus.RX_UUID)
        tx = None if service is None else service.get_characteristic(nus.TX_UUID)
        if rx is None or tx is None:
            raise ConnectFailedError("the device does not offer our service")
        port.ready(client, rx)
        deadline_s = asyncio.get_running_loop().time() + MTU_TIMEOUT_S
        while rx.max_write_without_response_size < port.packet_size:
            if port.closed or asyncio.get_running_loop().time() >= deadline_s:
                raise ConnectFailedError("the link is too narrow for our packets")
            await asyncio.sleep(MTU_POLL_S)
        await client.start_notify(tx, lambda _tx, packet: port.notified(bytes(packet)))

    def _disconnected(self, port: BleakPort) -> None:
        self._ports.discard(port)
        port.lost()


async def _disconnect(client: Any) -> None:
    from bleak.exc import BleakError

    with contextlib.suppress(BleakError, OSError, EOFError):
        async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
            await client.disconnect()


def _is_random(device: Any) -> bool:
    """Tell whether the address is a random one, as the device's is; only BlueZ says."""
    details = device.details
    properties = details.get("props", {}) if isinstance(details, dict) else {}
    return bool(properties.get("AddressType") != PUBLIC)


@contextlib.asynccontextmanager
async def open_system(adapter: str | None) -> AsyncIterator[BleakCentral]:
    """Open the operating system's Bluetooth; see `open_central`."""
    try:
        import bleak  # noqa: F401 - whether it is there
    except ImportError as error:
        raise BleakMissingError("bleak is not installed") from error
    async with BleakCentral(adapter) as central:
        yield central
