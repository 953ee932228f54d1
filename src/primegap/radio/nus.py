"""What the chip shows over the air: the Nordic UART Service and its advertising (section 8)."""

from __future__ import annotations

from typing import Final

SERVICE_UUID: Final = "6E400001-B5A3-F393-E0A9-E50E24DCCA9E"
RX_UUID: Final = "6E400002-B5A3-F393-E0A9-E50E24DCCA9E"
"Phone to device: write without response."
TX_UUID: Final = "6E400003-B5A3-F393-E0A9-E50E24DCCA9E"
"Device to phone: notify."
RX_HANDLE: Final = 0x0010
TX_HANDLE: Final = 0x0012
TX_CONFIGURATION_HANDLE: Final = 0x0013

ATT_MTU: Final = 247
"Largest MTU that the chip grants; the packet size follows from it."
DEFAULT_ATT_MTU: Final = 23
"MTU of every connection until the phone asks for more."
ATT_HEADER_BYTES: Final = 3
"Operation code and handle before the value of a write or a notification."
LINK_LAYER_OCTETS: Final = 251
"Data length that carries a whole packet of ours in one radio packet."

ADVERTISING_INTERVAL_MS: Final = 46.875
SHORT_NAME: Final = "Passport"
MAX_SCAN_RESPONSE_BYTES: Final = 31

_FLAGS: Final = 0x01
_COMPLETE_128_BIT_SERVICES: Final = 0x07
_SHORT_NAME: Final = 0x08
_COMPLETE_NAME: Final = 0x09
_GENERAL_DISCOVERABLE_LE_ONLY: Final = 0x06


def _element(kind: int, value: bytes) -> bytes:
    return bytes([1 + len(value), kind]) + value


def advertising_data() -> bytes:
    """Return the 31 bytes of advertising data, always the same."""
    service = bytes.fromhex(SERVICE_UUID.replace("-", ""))[::-1]
    return (
        _element(_FLAGS, bytes([_GENERAL_DISCOVERABLE_LE_ONLY]))
        + _element(_COMPLETE_128_BIT_SERVICES, service)
        + _element(_SHORT_NAME, SHORT_NAME.encode())
    )


def scan_response(name: str) -> bytes:
    """Return the scan response with the device name.

    A name above 29 bytes does not fit and is shown shortened. The real application stops at such a
    name (section 7); ours stays up.
    """
    value = name.encode()
    room = MAX_SCAN_RESPONSE_BYTES - 2
    if len(value) <= room:
        return _element(_COMPLETE_NAME, value)
    shortened = value[:room].decode(errors="ignore").encode()
    return _element(_SHORT_NAME, shortened)
