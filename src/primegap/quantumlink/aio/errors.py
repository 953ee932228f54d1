"""What can end a call, a stream or an attempt to connect, as the programs at both ends see it."""

from __future__ import annotations

from typing import Final

from primegap.quantumlink.errors import LocalError, QuantumLinkError, RemoteError
from primegap.quantumlink.frames import ResetCode


class HandshakeTimeoutError(QuantumLinkError):
    """The paired peer did not answer an attempt to connect."""

    code = "link-no-answer"
    hint = (
        "The other device does not answer. Bring it near, switch it on and unlock it. "
        "If it goes on like this, remove the pairing on both sides and pair again."
    )


class AttemptReplacedError(QuantumLinkError):
    """Another attempt to connect or to pair was started and took the place of this one."""

    code = "link-attempt-replaced"
    hint = "Another attempt to connect was started."


class PairingTimeoutError(QuantumLinkError):
    """Nobody completed the pairing."""

    code = "link-pairing-no-answer"
    hint = (
        "Pairing was not completed. Show a new pairing code on the device and scan it again, "
        "with both devices near each other."
    )


class SessionEndedError(QuantumLinkError):
    """The session ended, or was replaced, while a stream was in use."""

    code = "link-session-ended"
    hint = "The connection ended before the exchange was over. Try again when it is back."


class DriverClosedError(LocalError):
    """The driver was closed."""

    code = "link-closed"
    hint = "The link was switched off."


class LocalResetError(LocalError):
    """A stream was used after this side had reset it."""

    code = "link-stream-reset"
    hint = "The exchange was cancelled here."

    def __init__(self, reset_code: int) -> None:
        super().__init__(f"the stream was reset here with code {reset_code}")
        self.reset_code = reset_code
        "A `ResetCode` or any other u64."


class PeerResetError(RemoteError):
    """The peer ended a stream by a reset; see the subclasses for the codes that tell more."""

    code = "rpc-reset"
    hint = "The other device cancelled the exchange."
    name = "Reset"

    def __init__(self, reset_code: int) -> None:
        super().__init__(f"the peer reset the stream with code {reset_code}")
        self.reset_code = reset_code
        "A `ResetCode` or any other u64."


class PeerFaultError(PeerResetError):
    """The peer had a fault of its own, or found one in what we sent (codes 3, 4, 5)."""

    code = "rpc-peer-fault"
    hint = "The other device could not handle the request. Update both devices."


class PeerRefusedError(PeerResetError):
    """The peer refuses what was asked (code 6)."""

    code = "rpc-refused"
    hint = "The other device does not allow this. Permissions are given on the device."


class PeerTimeoutError(PeerResetError):
    """We were too slow for the peer (code 7)."""

    code = "rpc-peer-timeout"
    hint = "The other device got tired of waiting. Try again."


class PeerLimitError(PeerResetError):
    """What we sent is too large, or too much at once, for the peer (code 8)."""

    code = "rpc-peer-limit"
    hint = "This is more than the other device accepts."


class UnknownRouteError(PeerResetError):
    """The peer does not know what was called (code 9)."""

    code = "rpc-unknown-route"
    hint = "The other device does not offer this. Update it, or open the app on it."


_BY_CODE: Final[dict[int, type[PeerResetError]]] = {
    ResetCode.INTERNAL: PeerFaultError,
    ResetCode.PROTOCOL: PeerFaultError,
    ResetCode.CODEC: PeerFaultError,
    ResetCode.REFUSED: PeerRefusedError,
    ResetCode.TIMEOUT: PeerTimeoutError,
    ResetCode.LIMIT: PeerLimitError,
    ResetCode.UNKNOWN_ROUTE: UnknownRouteError,
}


def peer_reset_error(reset_code: int) -> PeerResetError:
    """Return the error that says most about a reset of the peer."""
    return _BY_CODE.get(reset_code, PeerResetError)(reset_code)


class CallTimeoutError(QuantumLinkError):
    """The answer did not come in time; the call was reset with code 7."""

    code = "rpc-timeout"
    hint = "The other device took too long to answer. Try again."


class RefusedError(QuantumLinkError):
    """Raised by a handler to end its call with a reset code instead of an answer."""

    code = "rpc-handler-refused"
    hint = "The request was refused."

    def __init__(self, reset_code: int = ResetCode.REFUSED) -> None:
        super().__init__(f"refused with code {reset_code}")
        self.reset_code = reset_code
        "A `ResetCode` or any other u64."
