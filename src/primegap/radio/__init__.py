"""The radio: an untrusted Bluetooth chip as a process of its own, and both ends that use it.

Leaf modules, imported by those who run them: `chip_process` (the chip), `host` (the driver inside
the device), `central` (the companion's side) and `air` (the virtual air between them). The chip
knows neither BTP nor QuantumLink; payloads are opaque to it.
"""

from __future__ import annotations

from primegap.radio.errors import (
    AdapterMissingError,
    BleakMissingError,
    ConnectFailedError,
    DeviceNotFoundError,
    LocalRadioError,
    MessageError,
    MessageSizeError,
    RadioError,
    RemoteRadioError,
    SendRefusedError,
    TransportSpecError,
    UnexpectedAnswerError,
)
from primegap.radio.messages import (
    MAX_PACKET_BYTES,
    AnyMessage,
    Link,
    Plain,
    State,
    TxPower,
    encode_message,
    parse_message_untrusted,
)

__all__ = [
    "MAX_PACKET_BYTES",
    "AdapterMissingError",
    "AnyMessage",
    "BleakMissingError",
    "ConnectFailedError",
    "DeviceNotFoundError",
    "Link",
    "LocalRadioError",
    "MessageError",
    "MessageSizeError",
    "Plain",
    "RadioError",
    "RemoteRadioError",
    "SendRefusedError",
    "State",
    "TransportSpecError",
    "TxPower",
    "UnexpectedAnswerError",
    "encode_message",
    "parse_message_untrusted",
]
