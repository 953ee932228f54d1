"""Who a peer is: QIDs, identities with their private key, and public bundles (wire section 4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NewType, Self

from primegap.quantumlink.codec import MAX_U32, Reader, put_text, put_u16, put_u32
from primegap.quantumlink.errors import (
    InvalidDataError,
    InvalidPayloadError,
    InvalidRemoteBundleError,
    LocalError,
    RemoteError,
)
from primegap.quantumlink.secret import SecretBytes
from primegap.quantumlink.suite import Suite, suite_for_version
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from primegap.quantumlink.kem import KemPrivateKey

Rng = Callable[[int], bytes]
"Source of randomness: returns that many uniformly random bytes, of cryptographic quality."

Qid = NewType("Qid", bytes)
"""Identifier of a peer: 16 bytes, derived from its public key (wire 4.1)."""

QID_SIZE: Final = 16
BUNDLE_VERSION: Final = 1
MAX_NAME_BYTES: Final = 248
"""Longest name in UTF-8. The published format sets none; this is the longest name a Bluetooth
device can have, and keeps handshake records far below the 8192 bytes that routers let through
(wire 13)."""

_QID_PREFIX: Final = b"quantum-link qid v1"
_QID_TEXT: Final = re.compile(r"[0-9a-f]{32}")


def _is_text(name: str) -> bool:
    """Tell whether a name can be written as UTF-8 (half a surrogate pair cannot)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def derive_qid(suite: Suite, public_key: bytes) -> Qid:
    """Return the QID of a public key; name and capabilities play no part (wire 4.1)."""
    return Qid(hashlib.sha256(_QID_PREFIX + suite.qid_tag + public_key).digest()[:QID_SIZE])


def qid_text(qid: Qid) -> str:
    """Return the text form, 32 lower-case hexadecimal digits."""
    return qid.hex()


def parse_qid_text_untrusted(text: str) -> Qid:
    """Read the text form; only the 32 lower-case digits are accepted.

    Raises:
        InvalidDataError: anything else.
    """
    if not _QID_TEXT.fullmatch(text):
        raise InvalidDataError("a QID is 32 lower-case hexadecimal digits")
    return Qid(bytes.fromhex(text))


@dataclass(frozen=True, slots=True)
class PeerBundle:
    """The public face of an identity, exchanged and authenticated in handshakes (wire 4.3).

    Two bundles are equal when every field is: a peer that changes its name or capabilities no
    longer matches the stored one.
    """

    suite: Suite
    "The suite the key belongs to; not part of the encoding."
    qid: Qid
    public_key: bytes = field(repr=False)
    name: str
    "Up to `MAX_NAME_BYTES` of UTF-8, chosen by the peer: not to be trusted by a person."
    capabilities: int = 0
    "32 bits, none of them assigned at this layer."
    version: int = BUNDLE_VERSION

    def encode(self) -> bytes:
        """Encode the bundle: version, QID, capabilities, public key, name."""
        return b"".join(
            (
                put_u16(self.version),
                self.qid,
                put_u32(self.capabilities),
                self.public_key,
                put_text(self.name),
            )
        )

    @classmethod
    def parse_untrusted(cls, data: bytes, suite: Suite) -> Self:
        """Decode a bundle; bytes behind the name are ignored. Does not validate: call `validate`.

        Raises:
            CodecError: not the encoding of a bundle of this suite.
        """
        reader = Reader(data)
        version = reader.u16()
        qid = Qid(reader.take(QID_SIZE))
        capabilities = reader.u32()
        public_key = reader.take(suite.public_key_size)
        return cls(suite, qid, public_key, reader.text(), capabilities, version)

    def validate(self) -> None:
        """Return if version, QID, key and name hold together.

        Raises:
            InvalidRemoteBundleError: they do not.
        """
        self.validate_but_key()
        try:
            self.suite.kem.check_public_key(self.public_key)
        except InvalidPayloadError as error:
            raise InvalidRemoteBundleError("the public key is not one") from error

    def validate_but_key(self) -> None:
        """Do the same without the key: for whoever encapsulates to it next, which checks it too.

        Raises:
            InvalidRemoteBundleError: they do not hold together.
        """
        if self.version != BUNDLE_VERSION:
            raise InvalidRemoteBundleError("unknown bundle version")
        if self.qid != derive_qid(self.suite, self.public_key):
            raise InvalidRemoteBundleError("the QID is not that of the key")
        if len(self.name.encode()) > MAX_NAME_BYTES:
            raise InvalidRemoteBundleError("the name is too long")


class Identity(NeverSerialised):
    """An own identity of one suite: the seed of its key pair, and what follows from it.

    Made with `generate`, `from_seed` or `from_stored`. Immutable.
    """

    __slots__ = ("_bundle", "_bundle_bytes", "_private_key", "_seed")

    def __init__(
        self, bundle: PeerBundle, *, seed: SecretBytes, private_key: KemPrivateKey
    ) -> None:
        self._bundle = bundle
        self._bundle_bytes = bundle.encode()
        self._seed = seed
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"<Identity {self.suite.name} {self.qid.hex()}>"

    @classmethod
    def generate(cls, suite: Suite, name: str, rng: Rng, *, capabilities: int = 0) -> Self:
        """Make a new identity from fresh randomness.

        Raises:
            LocalError: the name is too long, or `rng` returned too few bytes.
        """
        return cls.from_seed(suite, name, rng(suite.kem.seed_size), capabilities=capabilities)

    @classmethod
    def from_seed(cls, suite: Suite, name: str, seed: bytes, *, capabilities: int = 0) -> Self:
        """Rebuild an identity from the seed of its key pair.

        Raises:
            LocalError: the seed has another length, the name is too long, or the capabilities
                are not 32 bits.
        """
        if not 0 <= capabilities <= MAX_U32:
            raise LocalError("capabilities are 32 bits")
        if not _is_text(name) or len(name.encode()) > MAX_NAME_BYTES:
            raise LocalError(f"a name is text of at most {MAX_NAME_BYTES} bytes")
        private_key, public_key = suite.kem.keygen(seed)
        bundle = PeerBundle(suite, derive_qid(suite, public_key), public_key, name, capabilities)
        return cls(bundle, seed=SecretBytes(seed), private_key=private_key)

    def to_stored(self) -> SecretBytes:
        """Encode for storage: suite version, seed, capabilities, name. To be sealed, not as is."""
        return SecretBytes(
            bytes((self.suite.version,))
            + self._seed.reveal()
            + put_u32(self._bundle.capabilities)
            + put_text(self._bundle.name)
        )

    @classmethod
    def from_stored(cls, stored: SecretBytes) -> Self:
        """Rebuild an identity from `to_stored`.

        Raises:
            LocalError: not a stored identity.
        """
        reader = Reader(stored.reveal())
        try:
            suite = suite_for_version(reader.u8())
            seed = reader.take(suite.kem.seed_size)
            capabilities = reader.u32()
            name = reader.text()
        except RemoteError:
            # Not chained: what is in hand here is a secret of ours.
            raise LocalError("not a stored identity") from None
        if reader.remaining:
            raise LocalError("not a stored identity")
        return cls.from_seed(suite, name, seed, capabilities=capabilities)

    @property
    def suite(self) -> Suite:
        """The suite of the key pair."""
        return self._bundle.suite

    @property
    def qid(self) -> Qid:
        """Our identifier."""
        return self._bundle.qid

    @property
    def name(self) -> str:
        """Our name, as peers see it."""
        return self._bundle.name

    @property
    def bundle(self) -> PeerBundle:
        """What peers get to know."""
        return self._bundle

    @property
    def bundle_bytes(self) -> bytes:
        """The encoded bundle."""
        return self._bundle_bytes

    @property
    def private_key(self) -> KemPrivateKey:
        """The private key, for decapsulation only."""
        return self._private_key
