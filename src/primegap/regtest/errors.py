"""Errors of the private chain: ours on one side, what a peer sent on the other.

`code` is stable and machine-readable; `hint` is a sentence for a person that says what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class RegtestError(Exception):
    """Root of everything this package raises."""

    code: ClassVar[str] = "regtest"
    hint: ClassVar[str] = "The private test chain met an unexpected fault."


# --- local: this machine, this directory, our caller -------------------------------------------


class EngineMissingError(RegtestError):
    """A package that the private chain is built on is not installed."""

    code = "engine-missing"
    hint = "Install what the private chain needs: pip install 'primegap[regtest,bitcoin]'."


class EngineFaultError(RegtestError):
    """The engine itself failed (not: it judged something invalid)."""

    code = "engine-fault"
    hint = "Stop the private chain and start it again; if it fails again, start it with --rebuild."


class DataDirLockedError(RegtestError):
    """Another process holds the data directory."""

    code = "data-dir-locked"
    hint = (
        "Another private chain runs in this directory: use that one, stop it, or choose another "
        "directory."
    )


class DataDirUnusableError(RegtestError):
    """The data directory cannot be created, read or written, or is from a newer release."""

    code = "data-dir-unusable"
    hint = "Choose a directory that you may write to and that this release made."


class DataDirDamagedError(RegtestError):
    """The files in the data directory do not form a chain any more."""

    code = "data-dir-damaged"
    hint = (
        "Start once with --rebuild to restore the chain from what is intact; if that fails too, "
        "delete the directory. The coins in it are test coins."
    )


class DiskFullError(RegtestError):
    """No room to write the next block."""

    code = "disk-full"
    hint = "Free at least 100 MB on the disk that holds the data directory, then start again."


class ClockError(RegtestError):
    """The chain's time has run too far ahead of the clock to make another block."""

    code = "chain-ahead-of-clock"
    hint = "Check this machine's clock, or wait: blocks may be at most two hours in the future."


class PortInUseError(RegtestError):
    """The Electrum port is taken by another program."""

    code = "port-in-use"
    hint = "Choose another port with --electrum-port, or 0 to take any free one."


class NotRunningError(RegtestError):
    """Nobody answers on the control socket of the data directory."""

    code = "regtest-not-running"
    hint = "Start the private chain first: python -m primegap.regtest --data-dir DIRECTORY."


class StoppedError(RegtestError):
    """The node was asked for something before start or after stop."""

    code = "regtest-stopped"
    hint = "The private chain is not started in this process."


class AddressError(RegtestError):
    """Not an address of the private chain."""

    code = "bad-address"
    hint = "Give a regtest address; most begin with bcrt1."


class AmountError(RegtestError):
    """An amount or count outside the allowed range."""

    code = "bad-amount"
    hint = "Give a whole number inside the range that the message names."


class FaucetEmptyError(RegtestError):
    """The faucet has no mature coins left for this amount."""

    code = "faucet-empty"
    hint = "Mine more blocks (a reward can be spent after 100 blocks), or ask for less."


class EventsLostError(RegtestError):
    """A reader of events was too slow and lost some."""

    code = "events-lost"
    hint = "Subscribe again and read the current status first."


# --- remote: what came from a peer -------------------------------------------------------------


class RemoteError(RegtestError):
    """Something a client sent is wrong; expected, answered, never fatal."""

    code = "refused"
    hint = "The private chain refused a request."


class TransactionFormatError(RemoteError):
    """The bytes are not one transaction in its only serialisation."""

    code = "tx-decode-failed"
    hint = "The bytes are not a whole transaction."


class TransactionRefusedError(RemoteError):
    """A transaction was judged and refused.

    Attributes:
        reason: the reject reason in Bitcoin Core's words, for example
            `bad-txns-inputs-missingorspent`.
        detail: numbers that explain it, or empty.
    """

    code = "tx-refused"
    hint = "The private chain refused this transaction; the reason is in the message."

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}, {detail}" if detail else reason)


class BlockRefusedError(RemoteError):
    """The engine judged a block invalid.

    Attributes:
        reason: the engine's reject reason, for example `bad-cb-amount`.
    """

    code = "block-refused"
    hint = "Bitcoin Core's engine refused this block; the reason is in the message."

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class RequestError(RemoteError):
    """A JSON-RPC request is answered with an error.

    Attributes:
        rpc_code: the number in the JSON-RPC error object.
    """

    code = "bad-request"
    hint = "The private chain did not understand a request."

    def __init__(self, rpc_code: int, message: str) -> None:
        self.rpc_code = rpc_code
        super().__init__(message)
