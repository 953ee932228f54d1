"""A backend of bleak on an emulated adapter: its public classes run as on any system below them.

Bleak lets a program bring its own backend. This one drives the Bluetooth stack of bumble on the
virtual air, where bleak's own would ask BlueZ, macOS or Windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("bleak")

from bleak import AdvertisementData
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.scanner import BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError
from bumble import core, hci
from bumble.core import AdvertisingData
from bumble.device import Peer


def backends(
    phone: Any, *, mtu: int = 247, hide: str = "", options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return both backend classes on a phone of bumble.

    Args:
        phone: the stack, switched on.
        mtu: what the system asks for.
        hide: UUID of a characteristic that the system does not show.
        options: takes the keyword arguments of scanners and clients.
    """
    seen: dict[str, Any] = {} if options is None else options

    class Scanner(BaseBleakScanner):  # type: ignore[misc]  # untyped for mypy
        def __init__(
            self, heard: Any, services: list[str] | None, _mode: str, **kwargs: Any
        ) -> None:
            super().__init__(heard, services)
            seen["scanner"] = kwargs

        async def start(self) -> None:
            phone.on("advertisement", self._heard)
            await phone.start_scanning(active=True)

        async def stop(self) -> None:
            phone.remove_listener("advertisement", self._heard)
            await phone.stop_scanning()

        def _heard(self, one: Any) -> None:
            uuids = one.data.get(AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS)
            name = one.data.get(AdvertisingData.COMPLETE_LOCAL_NAME)
            services = [str(uuid).lower() for uuid in uuids or ()]
            address = one.address.to_string(False)
            data = AdvertisementData(name, {}, {}, services, None, one.rssi, ())
            kind = "public" if one.address.is_public else "random"
            details = {"props": {"AddressType": kind}}
            device = self.create_or_update_device(address, address, name, details, data)
            if self.is_allowed_uuid(services):
                self.call_detection_callbacks(device, data)

    class Client(BaseBleakClient):  # type: ignore[misc]
        def __init__(self, device: Any, **kwargs: Any) -> None:
            super().__init__(
                device,
                disconnected_callback=kwargs.pop("disconnected_callback"),
                timeout=kwargs.pop("timeout"),
            )
            self._connection: Any = None
            self._gone = True
            seen["client"] = kwargs

        @property
        def mtu_size(self) -> int:
            return int(self._connection.att_mtu)

        @property
        def is_connected(self) -> bool:
            return not self._gone

        async def connect(self, pair: bool, **kwargs: Any) -> None:
            try:
                self._connection = await phone.connect(self.address, timeout=self._timeout)
                self._gone = False
                self._connection.on("disconnection", self._disconnected)
                peer = Peer(self._connection)
                await peer.request_mtu(mtu)
                await peer.discover_all()
            except (core.BaseBumbleError, hci.HCI_Error) as error:
                raise BleakError("not connected") from error
            self._peer = peer
            self.services = self._known_services(peer)

        def _known_services(self, peer: Any) -> Any:
            known = BleakGATTServiceCollection()
            for service in peer.services:
                ours = BleakGATTService(service, service.handle, str(service.uuid).lower())
                known.add_service(ours)
                for one in service.characteristics:
                    if str(one.uuid).lower() != hide.lower():
                        known.add_characteristic(
                            BleakGATTCharacteristic(
                                one,
                                one.handle,
                                str(one.uuid).lower(),
                                [],
                                lambda: self.mtu_size - 3,
                                ours,
                            )
                        )
            return known

        def _disconnected(self, _reason: object) -> None:
            self._gone = True
            if self._disconnected_callback is not None:
                self._disconnected_callback()

        async def disconnect(self) -> None:
            if not self._gone:
                await self._connection.disconnect()

        async def write_gatt_char(self, characteristic: Any, data: Any, response: bool) -> None:
            if self._gone:
                raise BleakError("not connected")
            await characteristic.obj.write_value(bytes(data), with_response=response)

        async def start_notify(
            self, characteristic: Any, callback: Callable[[bytearray], None], **kwargs: Any
        ) -> None:
            await characteristic.obj.subscribe(lambda value: callback(bytearray(value)))

        async def stop_notify(self, characteristic: Any) -> None:
            raise NotImplementedError

        async def pair(self, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError

        async def unpair(self) -> None:
            raise NotImplementedError

        async def read_gatt_char(
            self, characteristic: Any, *, use_cached: bool = False, **kwargs: Any
        ) -> bytearray:
            raise NotImplementedError

        async def read_gatt_descriptor(
            self, descriptor: Any, *, use_cached: bool = False, **kwargs: Any
        ) -> bytearray:
            raise NotImplementedError

        async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
            raise NotImplementedError

    return {"scanner_backend": Scanner, "client_backend": Client}
