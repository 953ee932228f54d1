"""Errors of the radio: one root; remote faults (chip, air, phone) apart from our own."""

from __future__ import annotations

from typing import ClassVar


class RadioError(Exception):
    """Root of every error raised in `primegap.radio`."""

    code: ClassVar[str] = "radio"
    "Stable public code: JSON output, logs, documentation."
    hint: ClassVar[str] = "The Bluetooth part reported a problem."
    "A sentence for a person."


class LocalRadioError(RadioError):
    """Our own caller broke a rule, which is a bug."""

    code = "radio-misuse"
    hint = "The program used Bluetooth in a way that is not allowed."


class MessageSizeError(LocalRadioError):
    """A message to encode does not keep the limits of its fields (radio.md section 6)."""

    code = "radio-message-size"


class TransportSpecError(LocalRadioError):
    """A transport string is not understood."""

    code = "radio-transport-spec"
    hint = "The Bluetooth adapter is named in a way that is not understood."


class RemoteRadioError(RadioError):
    """The chip, the air or the other side did something; expected, and counted."""

    code = "radio-remote"


class MessageError(RemoteRadioError):
    """Bytes from the other end of the host link are not a message (radio.md sections 5 and 6)."""

    code = "radio-message"
    hint = "The Bluetooth chip sent something that is not understood."


class ChipNotTrustedError(RemoteRadioError):
    """The chip does not know the secret it was given (radio.md section 10)."""

    code = "radio-chip-not-trusted"
    hint = (
        "The Bluetooth chip did not prove that it is the one this device was made with. "
        "Bluetooth stays off; QR codes still work. The home screen says what can be done."
    )


class ChipUpdateError(RemoteRadioError):
    """The chip does not take or does not start the firmware this device carries."""

    code = "radio-chip-update"
    hint = "The Bluetooth chip could not be given its firmware."


class UnexpectedAnswerError(RemoteRadioError):
    """The chip answered a command with something that is no answer to it."""

    code = "radio-unexpected-answer"
    hint = "The Bluetooth chip gave an answer that does not fit the question."


class SendRefusedError(RemoteRadioError):
    """The chip had no room for a packet during the whole time of section 12; the link stays."""

    code = "radio-send-refused"
    hint = "The phone is not connected or does not take data at the moment."


class AdapterMissingError(RemoteRadioError):
    """No Bluetooth adapter answers at the given transport."""

    code = "radio-adapter-missing"
    hint = "No Bluetooth adapter was found; check that it is plugged in and free."


class BleakMissingError(AdapterMissingError):
    """The library that reaches the operating system's Bluetooth is not installed."""

    code = "radio-bleak-missing"
    hint = (
        "The Bluetooth of this computer is reached through the library bleak, which is not "
        "installed: pip install 'primegap[bleak]'. Or name an adapter otherwise, such as usb:0."
    )


class DeviceNotFoundError(RemoteRadioError):
    """No matching device advertised itself within the time given."""

    code = "radio-device-not-found"
    hint = "The device was not found; check that its Bluetooth is on and that it is near."


class ConnectFailedError(RemoteRadioError):
    """The device was seen but no usable connection to it could be made."""

    code = "radio-connect-failed"
    hint = "The device did not accept the Bluetooth connection; it may be busy with another phone."
