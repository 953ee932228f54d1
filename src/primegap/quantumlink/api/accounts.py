"""What is inside an account update: the public face of one account (companion section 8).

The protocol carries these bytes as an opaque field (`AccountUpdatedEvent.update`). They are one
CBOR map by the rules of the message codec. Only public descriptors may travel, and the companion
refuses an update that does not hold together: it decides which account coins are shown for.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from primegap.quantumlink.api.codec import U64, Size, cbor_codec
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import BadValueError

MAX_UPDATE_BYTES: Final = 32 * 1024
"Of an encoded update: seven descriptor pairs of the longest kind, names and some room to grow."
MAX_DESCRIPTORS: Final = 7
"Descriptor pairs of an account: one per address type."
MAX_DESCRIPTOR_CHARS: Final = 2048
"Of one descriptor: a 15-key multisig with origins and checksum."
MAX_ID_CHARS: Final = 128
"Of an account id."
MAX_NAME_CHARS: Final = 64
"Of an account's name, as shown in one line."
MAX_COLOR_CHARS: Final = 32
"Of a colour: a name, or `#rrggbb`."

_ID: Final = re.compile(r"[!-~]+")
_DESCRIPTOR: Final = re.compile(r"[ -~]+")
_PRIVATE_KEY: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[A-Za-z]prv[0-9A-Za-z]|[5KL9c][1-9A-HJ-NP-Za-km-z]{50,51}(?![0-9A-Za-z]))"
)
"An extended private key of any network, or a private key in wallet import format."


class AccountNetwork(Enum):
    """Bitcoin network of an account."""

    BITCOIN = "bitcoin"
    TESTNET = "testnet"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"


class AddressType(Enum):
    """Kind of the addresses of a descriptor pair, in the order used for `descriptor_hash`."""

    P2PKH = "P2PKH"
    P2SH = "P2SH"
    P2WPKH = "P2WPKH"
    P2WSH = "P2WSH"
    P2TR = "P2TR"
    P2SH_P2WPKH = "P2SH-P2WPKH"
    P2SH_P2WSH = "P2SH-P2WSH"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMetadata:
    """What a person chose for the account; nothing here touches coins."""

    name: str
    "1 to `MAX_NAME_CHARS` printable characters."
    color: str | None = None
    "At most `MAX_COLOR_CHARS` characters."
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorPair:
    """The two public descriptors of one address type."""

    internal: str
    "Change addresses."
    external: str
    "Receive addresses."
    address_type: AddressType


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteUpdate:
    """One account as the device sees it. Made with `make_remote_update`."""

    account_id: str
    network: AccountNetwork
    descriptor_hash: Annotated[bytes, Size(32)]
    "`descriptor_hash(descriptors)`: tells at once that an account is another one than before."
    sequence: U64
    "0 at the first exchange, then strictly increasing per account; older ones are ignored."
    metadata: AccountMetadata
    descriptors: tuple[DescriptorPair, ...]
    "1 to `MAX_DESCRIPTORS` pairs, at most one per address type."


def descriptor_hash(descriptors: tuple[DescriptorPair, ...]) -> bytes:
    """Return the SHA-256 over the descriptor texts, one after another.

    They are sorted by address type, internal before external.
    """
    order = list(AddressType)
    digest = hashlib.sha256()
    for pair in sorted(descriptors, key=lambda pair: order.index(pair.address_type)):
        digest.update(pair.internal.encode())
        digest.update(pair.external.encode())
    return digest.digest()


def make_remote_update(
    *,
    account_id: str,
    network: AccountNetwork,
    sequence: int,
    metadata: AccountMetadata,
    descriptors: tuple[DescriptorPair, ...],
) -> RemoteUpdate:
    """Build an update; the hash is computed.

    Raises:
        LocalError: it breaks a limit, or a descriptor holds a private key.
    """
    update = RemoteUpdate(
        account_id=account_id,
        network=network,
        descriptor_hash=descriptor_hash(descriptors),
        sequence=sequence,
        metadata=metadata,
        descriptors=descriptors,
    )
    fault = _fault(update)
    if fault is not None:
        raise LocalError(fault)
    return update


def encode_remote_update(update: RemoteUpdate) -> bytes:
    """Encode an update for `AccountUpdatedEvent.update`.

    Raises:
        LocalError: a field is out of range, or the whole is longer than `MAX_UPDATE_BYTES`.
    """
    data = cbor_codec(RemoteUpdate).encode(update)
    if len(data) > MAX_UPDATE_BYTES:
        raise LocalError(f"an account update holds at most {MAX_UPDATE_BYTES} bytes")
    return data


def parse_remote_update_untrusted(data: bytes) -> RemoteUpdate:
    """Parse `AccountUpdatedEvent.update` and check that it holds together.

    Whether the descriptors are well-formed, and which account this is, is for the caller to find
    out; here they are texts without a private key.

    Raises:
        BadValueError: it is not one whole update, breaks a limit, holds a private key, or its hash
            is not that of its descriptors.
    """
    if len(data) > MAX_UPDATE_BYTES:
        raise BadValueError(f"an account update holds at most {MAX_UPDATE_BYTES} bytes")
    update = cbor_codec(RemoteUpdate).decode_whole_untrusted(data)
    fault = _fault(update)
    if fault is not None:
        raise BadValueError(fault)
    return update


def _fault(update: RemoteUpdate) -> str | None:
    """Return what is wrong with an update, without quoting it."""
    name, color = update.metadata.name, update.metadata.color
    types = [pair.address_type for pair in update.descriptors]
    texts = [text for pair in update.descriptors for text in (pair.internal, pair.external)]
    checks = (
        (len(update.account_id) <= MAX_ID_CHARS, "an account id is too long"),
        (_ID.fullmatch(update.account_id), "an account id is empty or not printable"),
        (1 <= len(name) <= MAX_NAME_CHARS, "an account's name is empty or too long"),
        (name.isprintable(), "an account's name is not printable"),
        (color is None or len(color) <= MAX_COLOR_CHARS, "a colour is too long"),
        (color is None or color.isprintable(), "a colour is not printable"),
        (1 <= len(types) <= MAX_DESCRIPTORS, "an account has no or too many descriptors"),
        (len(set(types)) == len(types), "an address type is given twice"),
        (all(len(text) <= MAX_DESCRIPTOR_CHARS for text in texts), "a descriptor is too long"),
        (all(_DESCRIPTOR.fullmatch(text) for text in texts), "a descriptor is not printable"),
        (not any(_PRIVATE_KEY.search(text) for text in texts), "a descriptor is private"),
        (
            update.descriptor_hash == descriptor_hash(update.descriptors),
            "the hash is not that of the descriptors",
        ),
    )
    return next((fault for holds, fault in checks if not holds), None)
