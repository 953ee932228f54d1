"""The attribute table of the chip (section 8.1) and its answer to pairing (section 8.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from bumble import att, gatt
from bumble.pairing import PairingConfig, PairingDelegate
from typing_extensions import override

from primegap.radio import nus

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_INTERVAL_MS: Final = 7.5
MAX_INTERVAL_MS: Final = 50.0
"""Connection interval asked for. The real chip asks for 5 ms at least, which is below Bluetooth's
minimum, so that a phone may refuse its whole request; we ask for the smallest legal value."""
SUPERVISION_TIMEOUT_MS: Final = 5000.0

_READ: Final = gatt.Characteristic.Properties.READ
_READABLE: Final = att.Attribute.READABLE
_CLOSED: Final = att.Attribute.Permissions(0)


def _refuse_read(_connection: object) -> bytes:
    raise att.ATT_Error(error_code=att.ATT_READ_NOT_PERMITTED_ERROR)


def _refuse_write(_connection: object, _value: bytes) -> None:
    raise att.ATT_Error(error_code=att.ATT_WRITE_NOT_PERMITTED_ERROR)


def _readable(kind: Any, read: Callable[[], bytes]) -> Any:
    value = att.AttributeValue(read=lambda _: read(), write=_refuse_write)
    return gatt.Characteristic(kind, _READ, _READABLE, value)


def _closed(uuid: str | Any, properties: Any) -> Any:
    """A characteristic that can be neither read nor written with a request."""
    value = att.AttributeValue(read=_refuse_read, write=_refuse_write)
    return gatt.Characteristic(uuid, properties, _CLOSED, value)


def build_services(name: Callable[[], str]) -> tuple[list[Any], Any]:
    """Return the services and, of these, the TX characteristic.

    Their order gives the handles of the real chip, which tools for its traffic rely on. A server
    that holds anything else in front gets other handles.

    Args:
        name: tells the device name at the time of reading.
    """
    parameters = struct.pack(
        "<HHHH",
        int(MIN_INTERVAL_MS / 1.25),
        int(MAX_INTERVAL_MS / 1.25),
        0,
        int(SUPERVISION_TIMEOUT_MS / 10),
    )
    access = gatt.Service(
        gatt.GATT_GENERIC_ACCESS_SERVICE,
        [
            _readable(gatt.GATT_DEVICE_NAME_CHARACTERISTIC, lambda: name().encode()),
            _readable(gatt.GATT_APPEARANCE_CHARACTERISTIC, lambda: bytes(2)),
            _readable(
                gatt.GATT_PERIPHERAL_PREFERRED_CONNECTION_PARAMETERS_CHARACTERISTIC,
                lambda: parameters,
            ),
            _readable(gatt.GATT_CENTRAL_ADDRESS_RESOLUTION__CHARACTERISTIC, lambda: bytes(1)),
        ],
    )
    attribute = gatt.Service(
        gatt.GATT_GENERIC_ATTRIBUTE_SERVICE,
        [
            _closed(
                gatt.GATT_SERVICE_CHANGED_CHARACTERISTIC, gatt.Characteristic.Properties.INDICATE
            )
        ],
    )
    receive = _closed(nus.RX_UUID, gatt.Characteristic.Properties.WRITE_WITHOUT_RESPONSE)
    send = _closed(nus.TX_UUID, gatt.Characteristic.Properties.NOTIFY)
    uart = gatt.Service(nus.SERVICE_UUID, [receive, send])
    return [access, attribute, uart], send


class _JustWorks(PairingDelegate):  # type: ignore[misc]  # bumble's classes are untyped for mypy
    """Pairing as the chip does it: accepted without questions, and worth nothing.

    Nothing relies on the link's own security. Whatever needs a person is refused.
    """

    @override
    async def accept(self) -> bool:
        return True

    @override
    async def confirm(self, auto: bool = False) -> bool:
        return True  # the one question of "Just Works"

    @override
    async def compare_numbers(self, number: int, digits: int) -> bool:
        return False

    @override
    async def get_number(self) -> int | None:
        return None

    @override
    async def get_string(self, max_length: int) -> str | None:
        return None


def pairing_config(_connection: object) -> Any:
    """Return how a pairing that a phone starts is answered: "Just Works", no bond, no keys kept."""
    nothing = PairingDelegate.KeyDistribution(0)
    delegate = _JustWorks(
        local_initiator_key_distribution=nothing, local_responder_key_distribution=nothing
    )
    return PairingConfig(sc=True, mitm=False, bonding=False, delegate=delegate)
