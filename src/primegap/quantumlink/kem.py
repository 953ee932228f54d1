"""The two key encapsulation mechanisms: ML-KEM-1024 and X-Wing (wire section 3, suites page).

Key generation takes its seed as an argument; encapsulation draws its randomness inside the
`cryptography` library, which does not offer it any other way. Public keys and ciphertexts of peers
are checked by the library (length, FIPS 203 modulus check, low-order X25519 points).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Protocol

from primegap.quantumlink.errors import InvalidPayloadError, LocalError
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import (
        MLKEM768PrivateKey,
        MLKEM1024PrivateKey,
    )
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


class KemPrivateKey(Protocol):
    """A private key ready to use; how it is held is the business of its KEM."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte secret of a ciphertext.

        A ciphertext for another key gives another secret, not an error.

        Raises:
            InvalidPayloadError: the ciphertext has another length, or (X-Wing) its X25519 half is
                a low-order point.
        """


class Kem(Protocol):
    """A key encapsulation mechanism and its sizes in bytes."""

    @property
    def seed_size(self) -> int:
        """Bytes of the seed of a key pair, which is also how a private key is stored."""

    @property
    def public_key_size(self) -> int:
        """Bytes of a public key."""

    @property
    def ciphertext_size(self) -> int:
        """Bytes of a ciphertext."""

    def keygen(self, seed: bytes) -> tuple[KemPrivateKey, bytes]:
        """Return the private key and the public key that belong to a seed.

        Raises:
            LocalError: the seed has another length.
        """

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a fresh ciphertext and its 32-byte secret.

        Raises:
            InvalidPayloadError: not a public key (length, modulus check, low-order point).
        """

    def check_public_key(self, public_key: bytes) -> None:
        """Return if `encapsulate` would accept this public key.

        Raises:
            InvalidPayloadError: not a public key (length, modulus check, low-order point).
        """


def _check_seed(seed: bytes, size: int) -> None:
    if len(seed) != size:
        raise LocalError(f"a key pair is made from {size} bytes")


class _MlKem1024PrivateKey(NeverSerialised):
    __slots__ = ("_key",)

    def __init__(self, key: MLKEM1024PrivateKey) -> None:
        self._key = key

    def decapsulate(self, ciphertext: bytes) -> bytes:
        try:
            return self._key.decapsulate(ciphertext)
        except ValueError:
            raise InvalidPayloadError("not an ML-KEM-1024 ciphertext") from None


class MlKem1024:
    """ML-KEM-1024 as in FIPS 203; the seed is `d ‖ z`."""

    seed_size: Final = 64
    public_key_size: Final = 1568
    ciphertext_size: Final = 1568

    def keygen(self, seed: bytes) -> tuple[KemPrivateKey, bytes]:
        """Return the key pair of a 64-byte seed."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey

        _check_seed(seed, self.seed_size)
        key = MLKEM1024PrivateKey.from_seed_bytes(seed)
        return _MlKem1024PrivateKey(key), key.public_key().public_bytes_raw()

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a fresh 1568-byte ciphertext and its 32-byte secret."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey

        try:
            secret, ciphertext = MLKEM1024PublicKey.from_public_bytes(public_key).encapsulate()
        except ValueError:
            raise InvalidPayloadError("not an ML-KEM-1024 public key") from None
        return ciphertext, secret

    def check_public_key(self, public_key: bytes) -> None:
        """Return if this is an encapsulation key by FIPS 203, section 7.2."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey

        try:
            MLKEM1024PublicKey.from_public_bytes(public_key)
        except ValueError:
            raise InvalidPayloadError("not an ML-KEM-1024 public key") from None


_XWING_LABEL: Final = rb"\.//^" + b"\\"
"The six bytes 5c 2e 2f 2f 5e 5c that end the combiner's input."
_ML_KEM_768_PUBLIC: Final = 1184
_ML_KEM_768_CIPHERTEXT: Final = 1088
_X25519: Final = 32


def combine_xwing(
    ml_kem_secret: bytes, x25519_secret: bytes, x25519_ciphertext: bytes, x25519_public: bytes
) -> bytes:
    """Return the X-Wing secret of its two halves (draft-connolly-cfrg-xwing-kem, section 5.3)."""
    parts = (ml_kem_secret, x25519_secret, x25519_ciphertext, x25519_public, _XWING_LABEL)
    return hashlib.sha3_256(b"".join(parts)).digest()


class _XWingPrivateKey(NeverSerialised):
    __slots__ = ("_ml_kem", "_x25519", "_x25519_public")

    def __init__(
        self, ml_kem: MLKEM768PrivateKey, x25519: X25519PrivateKey, x25519_public: bytes
    ) -> None:
        self._ml_kem = ml_kem
        self._x25519 = x25519
        self._x25519_public = x25519_public

    def decapsulate(self, ciphertext: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        x25519_ciphertext = ciphertext[_ML_KEM_768_CIPHERTEXT:]
        try:
            ml_kem_secret = self._ml_kem.decapsulate(ciphertext[:_ML_KEM_768_CIPHERTEXT])
            x25519_secret = self._x25519.exchange(
                X25519PublicKey.from_public_bytes(x25519_ciphertext)
            )
        except ValueError:
            raise InvalidPayloadError("not an X-Wing ciphertext") from None
        return combine_xwing(ml_kem_secret, x25519_secret, x25519_ciphertext, self._x25519_public)


class XWing:
    """X-Wing: ML-KEM-768 and X25519 behind one SHA3-256 combiner (draft-connolly-cfrg-xwing-kem).

    The secret is safe as long as one of the two halves is.
    """

    seed_size: Final = 32
    public_key_size: Final = _ML_KEM_768_PUBLIC + _X25519
    ciphertext_size: Final = _ML_KEM_768_CIPHERTEXT + _X25519

    def keygen(self, seed: bytes) -> tuple[KemPrivateKey, bytes]:
        """Return the key pair of a 32-byte seed, which SHAKE256 stretches to both halves."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        _check_seed(seed, self.seed_size)
        expanded = hashlib.shake_256(seed).digest(96)
        ml_kem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        x25519_public = x25519.public_key().public_bytes_raw()
        public_key = ml_kem.public_key().public_bytes_raw() + x25519_public
        return _XWingPrivateKey(ml_kem, x25519, x25519_public), public_key

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a fresh 1120-byte ciphertext and its 32-byte secret."""
        from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import (
            X25519PrivateKey,
            X25519PublicKey,
        )

        x25519_public = public_key[_ML_KEM_768_PUBLIC:]
        ephemeral = X25519PrivateKey.generate()
        try:
            ml_kem_secret, ml_kem_ciphertext = MLKEM768PublicKey.from_public_bytes(
                public_key[:_ML_KEM_768_PUBLIC]
            ).encapsulate()
            x25519_secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(x25519_public))
        except ValueError:
            raise InvalidPayloadError("not an X-Wing public key") from None
        x25519_ciphertext = ephemeral.public_key().public_bytes_raw()
        secret = combine_xwing(ml_kem_secret, x25519_secret, x25519_ciphertext, x25519_public)
        return ml_kem_ciphertext + x25519_ciphertext, secret

    def check_public_key(self, public_key: bytes) -> None:
        """Return if both halves are usable: FIPS 203 section 7.2, and no low-order point."""
        # A low-order point shows itself only in an exchange, whatever the private key. Public keys
        # arrive a handful of times per pairing, so a whole encapsulation is cheap enough.
        self.encapsulate(public_key)
