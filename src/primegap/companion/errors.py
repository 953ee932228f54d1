"""Errors of the companion, each with the sentence for the person."""

from __future__ import annotations

from typing import ClassVar


class CompanionError(Exception):
    """Root of everything the companion raises."""

    code: ClassVar[str] = "companion"
    hint: ClassVar[str] = "The companion could not do this."


class StateError(CompanionError):
    """The companion's own files cannot be used."""

    code = "companion-state"
    hint = "Check free space and permissions of the companion's data directory (--data-dir)."


class StateBusyError(StateError):
    """Another companion uses the data directory."""

    code = "companion-busy"
    hint = "A companion already runs on this data directory. Stop it, or use its page instead."


class NotPairedError(CompanionError):
    """No device is paired."""

    code = "not-paired"
    hint = "Pair a device first: primegap companion pair."


class AlreadyPairedError(CompanionError):
    """A device is paired already."""

    code = "already-paired"
    hint = "This companion is paired. Forget the device first: primegap companion unpair."


class PairingCodeError(CompanionError):
    """The picture or text is not a pairing code."""

    code = "pairing-code"
    hint = "This is not a pairing code. On the device, open Companion and scan what it shows."


class PairingRefusedError(CompanionError):
    """The device did not answer the pairing code."""

    code = "pairing-refused"
    hint = (
        "The device did not accept this pairing code. It may be used up or expired, or the device "
        "is paired with another companion. Show a fresh code on the device and scan it again."
    )


class PairingRejectedError(CompanionError):
    """The person said no on the device, or nothing for too long."""

    code = "pairing-rejected"
    hint = "The pairing was not confirmed on the device. Nothing was shared."


class PairingLostError(CompanionError):
    """The link went down before the person had decided, or before the answer came."""

    code = "pairing-lost"
    hint = (
        "The link to the device was lost during the pairing. If the device shows a companion now, "
        "unpair it there. Then show a fresh code on the device and scan it again."
    )


class DeviceNotFoundError(CompanionError):
    """No device advertises, or its Bluetooth is off."""

    code = "device-not-found"
    hint = "No device was found. Is it on, unlocked, close by, and its Bluetooth switched on?"


class NoAdapterError(CompanionError):
    """No Bluetooth adapter can be used."""

    code = "no-adapter"
    hint = (
        "No Bluetooth adapter is there. With the virtual one, start the device first "
        "(primegap device run) with the same --data-dir; or name an adapter (--bluetooth)."
    )


class LinkLostError(CompanionError):
    """The link to the device went down."""

    code = "link-lost"
    hint = "The link to the device was lost. It comes back by itself when the device is in reach."


class RejectedError(CompanionError):
    """The person rejected the request on the device."""

    code = "rejected"
    hint = "Rejected on the device. Nothing was signed."


class DeviceRefusedError(CompanionError):
    """The device answered with an error."""

    code = "device-refused"
    hint = "The device refused this."


class DeviceFailedError(DeviceRefusedError):
    """The device gave the call up without a reason: its app was restarted, or it is busy."""

    code = "device-failed"
    hint = "The device did not finish this. Try again."


class NoAccountError(CompanionError):
    """No account of the device is known."""

    code = "no-account"
    hint = "The device shared no account yet: primegap companion accounts."


class ServerError(CompanionError):
    """The Electrum server cannot be reached or answers wrongly."""

    code = "server"
    hint = "The Electrum server does not answer. Is it running? Check its address (--electrum)."


class BroadcastRefusedError(ServerError):
    """The server refused the transaction."""

    code = "broadcast-refused"
    hint = "The network refused the transaction."


class TraceFileError(CompanionError):
    """The trace of the link cannot be written."""

    code = "trace-file"
    hint = "Give --trace a file in a folder that you can write to."


class PaymentError(CompanionError):
    """The payment cannot be made as asked."""

    code = "payment"
    hint = "This payment cannot be made."


class InsufficientFundsError(PaymentError):
    """Not enough coins for amount and fee."""

    code = "insufficient-funds"
    hint = "There are not enough confirmed coins for this amount and its fee."


class AddressError(PaymentError):
    """The recipient's address is not valid here."""

    code = "address"
    hint = "This address is not valid on this network."


class NotSignedError(PaymentError):
    """What came back carries no complete set of signatures."""

    code = "not-signed"
    hint = (
        "This is the payment, but it is not signed. Approve it on the device, "
        "then scan the code that the device shows."
    )


class SignedElsewhereError(PaymentError):
    """The signed transaction is not the one that was composed."""

    code = "signed-mismatch"
    hint = "What came back is not the payment that was sent to the device. It was not broadcast."
