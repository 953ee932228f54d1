"""BITCOIN: signing, accounts, broadcasting (API 5.5).

The phone calls the app's routes, the device calls the service's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.quantumlink.api.codec import U64, Choice, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import BITCOIN_APP, BITCOIN_SERVICE
from primegap.quantumlink.rpc import (
    AppRouteKey,
    RequestRoute,
    ServiceRouteKey,
    SubscriptionRoute,
)

MAX_PSBT_VALUE_BYTES: Final = (2 << 20) - 4096
"""Most bytes of a value with a PSBT. A byte of a PSBT takes up to two on the wire (API 4.3), so
this carries 1 MiB of the usual mixture; and it fits, with a page to spare for its envelope, the
largest message that processes of the device hand each other (2 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignPsbtParams:
    """A transaction for the user to review and the device to sign."""

    account_id: str
    "Of an account known from an account update."
    psbt: bytes = field(repr=False)
    "BIP 174, binary."


class SignPsbtResponse(Choice):
    """What became of it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SignPsbtSigned(SignPsbtResponse):
    """The device signed."""

    variant = "Signed"
    psbt: bytes = field(repr=False)
    "BIP 174, binary, with signatures."


@dataclass(frozen=True, slots=True)
class SignPsbtRejected(SignPsbtResponse):
    """The user refused on the device."""

    variant = "Rejected"


@dataclass(frozen=True, slots=True)
class SignPsbtError(SignPsbtResponse):
    """The device could not sign."""

    variant = "Error"
    error: str
    "Text of the device, for a person."


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUpdatedEvent:
    """An account was made or changed on the device."""

    account_id: str
    update: bytes = field(repr=False)
    "Opaque to the protocol; ours is in `primegap.quantumlink.api.accounts`."


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSeedFingerprint:
    """The seed, and passphrase, that is in use on the device now."""

    fingerprint: str
    has_passphrase: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastTransactionParams:
    """A signed transaction for the phone to send to the network."""

    account_id: str
    psbt: bytes = field(repr=False)
    "BIP 174, binary, with signatures."


class BroadcastTransactionResponse(Choice):
    """What became of it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TransactionBroadcast(BroadcastTransactionResponse):
    """The network took it."""

    variant = "Broadcast"
    txid: str
    "Hexadecimal, in the usual reversed order."


@dataclass(frozen=True, slots=True)
class BroadcastTransactionError(BroadcastTransactionResponse):
    """It was not sent, or the network refused it."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPolicyParams:
    """A policy for the user to read and to set."""

    account_id: str
    policy: bytes
    "As `primegap.bitcoin.policy` writes it."


class SetPolicyResponse(Choice):
    """What became of it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PolicySet(SetPolicyResponse):
    """The user set it: it is in force."""

    variant = "Set"


@dataclass(frozen=True, slots=True)
class PolicyRejected(SetPolicyResponse):
    """The user refused on the device."""

    variant = "Rejected"


@dataclass(frozen=True, slots=True)
class SetPolicyError(SetPolicyResponse):
    """It cannot be set."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """One policy that holds."""

    policy: bytes
    "As `primegap.bitcoin.policy` writes it."
    spent: U64
    "Satoshis of its window that are used up."
    session_left_s: U64
    "Seconds that a session of it goes on; 0 without one."
    session_left: U64
    "Satoshis that are left in it."


@dataclass(frozen=True, slots=True, kw_only=True)
class PoliciesInForce:
    """Answer to RequestPolicies."""

    policies: tuple[PolicyInForce, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogExport:
    """Answer to RequestAuditLog."""

    log: bytes = field(repr=False)
    "A text file: see `primegap.bitcoin.audit`."


@dataclass(frozen=True, slots=True, kw_only=True)
class SignMessageParams:
    """A message to sign with an address."""

    account_id: str
    address: str
    message: bytes
    form: str
    "`bip137`, `bip322-simple`, `bip322-full`; empty for the usual one of the address."


class SignMessageResponse(Choice):
    """What became of it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SignMessageSigned(SignMessageResponse):
    """The device signed."""

    variant = "Signed"
    signature: str
    "Base64."


@dataclass(frozen=True, slots=True)
class SignMessageRejected(SignMessageResponse):
    """The user refused on the device."""

    variant = "Rejected"


@dataclass(frozen=True, slots=True)
class SignMessageError(SignMessageResponse):
    """The device cannot sign it."""

    variant = "Error"
    error: str


RequestSignPsbt: Final = RequestRoute(
    name="RequestSignPsbt",
    key=AppRouteKey(BITCOIN_APP, 1),
    request=cbor_codec(SignPsbtParams),
    answer=cbor_codec(SignPsbtResponse),
    max_request_bytes=MAX_PSBT_VALUE_BYTES,
    max_answer_bytes=MAX_PSBT_VALUE_BYTES,
    timeout_s=None,
)
"Review and sign; open as long as the user takes."

SubscribeAccountUpdated: Final = SubscriptionRoute(
    name="SubscribeAccountUpdated",
    key=AppRouteKey(BITCOIN_APP, 2),
    request=cbor_codec(Empty),
    event=cbor_codec(AccountUpdatedEvent),
)
"The accounts now and whenever one changes."

RequestPassportActiveSeedFingerprint: Final = RequestRoute(
    name="RequestPassportActiveSeedFingerprint",
    key=AppRouteKey(BITCOIN_APP, 3),
    request=cbor_codec(Empty),
    answer=cbor_codec(ActiveSeedFingerprint),
)
"Read once which seed is active."

SubscribePassportActiveSeedFingerprint: Final = SubscriptionRoute(
    name="SubscribePassportActiveSeedFingerprint",
    key=AppRouteKey(BITCOIN_APP, 4),
    request=cbor_codec(Empty),
    event=cbor_codec(ActiveSeedFingerprint),
)
"Which seed is active, now and whenever it changes."

RequestSetPolicy: Final = RequestRoute(
    name="RequestSetPolicy",
    key=AppRouteKey(BITCOIN_APP, 0x8001),
    request=cbor_codec(SetPolicyParams),
    answer=cbor_codec(SetPolicyResponse),
    timeout_s=None,
)
"Propose a policy; the user sets it on the device, or not. Ours, like all routes from 0x8000 on."

RequestPolicies: Final = RequestRoute(
    name="RequestPolicies",
    key=AppRouteKey(BITCOIN_APP, 0x8002),
    request=cbor_codec(Empty),
    answer=cbor_codec(PoliciesInForce),
)
"Which policies hold for this phone's payments."

RequestAuditLog: Final = RequestRoute(
    name="RequestAuditLog",
    key=AppRouteKey(BITCOIN_APP, 0x8003),
    request=cbor_codec(Empty),
    answer=cbor_codec(AuditLogExport),
    max_answer_bytes=1 << 20,
)
"The signed audit log."

RequestSignMessage: Final = RequestRoute(
    name="RequestSignMessage",
    key=AppRouteKey(BITCOIN_APP, 0x8004),
    request=cbor_codec(SignMessageParams),
    answer=cbor_codec(SignMessageResponse),
    timeout_s=None,
)
"Show a message and sign it with an address of an account."

RequestBroadcastTransaction: Final = RequestRoute(
    name="RequestBroadcastTransaction",
    key=ServiceRouteKey(BITCOIN_SERVICE, 1),
    request=cbor_codec(BroadcastTransactionParams),
    answer=cbor_codec(BroadcastTransactionResponse),
    max_request_bytes=MAX_PSBT_VALUE_BYTES,
    timeout_s=30.0,  # the phone asks a server, which asks the network
)
"Send a transaction to the network."
