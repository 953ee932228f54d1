"""SCV service: is the device genuine? (API 5.7). The device calls.

The device starts, the phone brings a challenge of the vendor's server, the device proves, the phone
brings the verdict. The phone only carries the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.quantumlink.api.codec import Choice, cbor_codec
from primegap.quantumlink.api.identifiers import SECURITY_CHECK_SERVICE
from primegap.quantumlink.rpc import DuplexRoute, ServiceRouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeRequest:
    """A challenge of the server, 104 bytes."""

    data: bytes = field(repr=False)


class ChallengeResponseResult(Choice):
    """The device's answer to a challenge."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ChallengeProof(ChallengeResponseResult):
    """The proof, 189 bytes."""

    variant = "Success"
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChallengeError(ChallengeResponseResult):
    """The device could not answer."""

    variant = "Error"
    error: str


class VerificationResult(Choice):
    """The verdict."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DeviceGenuine(VerificationResult):
    """The device is genuine."""

    variant = "Success"


@dataclass(frozen=True, slots=True)
class VerificationError(VerificationResult):
    """The check could not be made, which says nothing about the device."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True)
class DeviceNotGenuine(VerificationResult):
    """The device is not genuine or was tampered with."""

    variant = "Failure"


class RunSecurityCheckInitiatorEvent(Choice):
    """What the device says."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SecurityCheckStart(RunSecurityCheckInitiatorEvent):
    """Begin."""

    variant = "Start"


@dataclass(frozen=True, slots=True)
class SecurityCheckAnswer(RunSecurityCheckInitiatorEvent):
    """The answer to the challenge."""

    variant = "ChallengeResponse"
    unnamed = True
    result: ChallengeResponseResult


class RunSecurityCheckResponderEvent(Choice):
    """What the phone says."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SecurityCheckChallenge(RunSecurityCheckResponderEvent):
    """The challenge."""

    variant = "ChallengeRequest"
    unnamed = True
    request: ChallengeRequest


@dataclass(frozen=True, slots=True)
class SecurityCheckVerdict(RunSecurityCheckResponderEvent):
    """The verdict."""

    variant = "VerificationResult"
    unnamed = True
    result: VerificationResult


RunSecurityCheck: Final = DuplexRoute(
    name="RunSecurityCheck",
    key=ServiceRouteKey(SECURITY_CHECK_SERVICE, 1),
    caller_event=cbor_codec(RunSecurityCheckInitiatorEvent),
    handler_event=cbor_codec(RunSecurityCheckResponderEvent),
)
"Challenge, proof, verdict."
