"""The genuineness check: the device answers a signed challenge of its vendor (keyos-model, 6.5).

The key and the secret are made at the first start and outlive every seed: they name the device, not
its owner. A vendor that hands devices out takes down both at that moment; nobody else can tell a
genuine proof from another, and nobody learns anything about seed or PIN from one.

    challenge (104) = number 32 | deadline 8 | signature 64 over SHA-256 of the 40 bytes before
    proof (189)     = number 32 | deadline 8 | device key 33 | nonce 32 | software 20 | signature 64

The signatures are ECDSA over P-256, r and s of 32 bytes each; that of the proof covers the 125
bytes before it. Then the first 32 bytes are XORed with the secret, so that a proof says which
challenge it answers only to whoever knows the secret. The deadline is the vendor's to judge: the
device has no clock that could be trusted for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.files import StorageError, read_file, write_file
from primegap.keyos.errors import KeyosError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

CHALLENGE_BYTES: Final = 104
SOFTWARE_BYTES: Final = 20
VENDOR_KEYS: Final = (
    bytes.fromhex("0356C31C74AD5CFA2481C12CB2BDD86EE2B1AF423FD1720D6F7FE1D55448B66183"),
)
"Compressed P-256 keys whose challenges are answered."
_SIGNATURE_BYTES: Final = 64
_KEY_BYTES: Final = 32


class ChallengeError(KeyosError):
    """A challenge has the wrong form or no vendor signed it; it is not answered."""

    code = "challenge-refused"
    hint = "The challenge does not come from the vendor of this device."


class DeviceCheck:
    """The device's key for the check; made when it is first needed."""

    def __init__(
        self,
        directory: Path,
        *,
        rng: Callable[[int], bytes],
        vendor_keys: tuple[bytes, ...] = VENDOR_KEYS,
        software: str = "",
    ) -> None:
        self._file = directory / "check.key"
        self._rng = rng
        self._vendor_keys = vendor_keys
        self._software = software.encode()[:SOFTWARE_BYTES].ljust(SOFTWARE_BYTES, b"\0")

    def identity(self) -> tuple[bytes, bytes]:
        """Return the compressed public key and the secret, for whoever makes the device.

        Raises:
            StorageError: they cannot be read or written.
        """
        key, secret = self._load()
        return _public(key), secret

    def prove(self, challenge: bytes) -> bytes:
        """Answer a challenge.

        Raises:
            ChallengeError: it is malformed or not signed by a vendor; nothing was signed.
            StorageError: the key cannot be read or written.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        if len(challenge) != CHALLENGE_BYTES:
            raise ChallengeError("a challenge has another length")
        signed, signature = challenge[:-_SIGNATURE_BYTES], challenge[-_SIGNATURE_BYTES:]
        if not any(_is_signed(signed, signature, key) for key in self._vendor_keys):
            raise ChallengeError("a challenge is not signed by a vendor")
        key, secret = self._load()
        body = signed + _public(key) + self._rng(_KEY_BYTES) + self._software
        r, s = decode_dss_signature(key.sign(body, ECDSA(SHA256())))
        proof = body + r.to_bytes(_KEY_BYTES, "big") + s.to_bytes(_KEY_BYTES, "big")
        masked = bytes(a ^ b for a, b in zip(proof, secret, strict=False))
        return masked + proof[len(masked) :]

    def _load(self) -> tuple[EllipticCurvePrivateKey, bytes]:
        from cryptography.hazmat.primitives.asymmetric import ec

        data = read_file(self._file)
        if data is None:
            made = ec.generate_private_key(ec.SECP256R1())
            scalar = made.private_numbers().private_value.to_bytes(_KEY_BYTES, "big")
            data = scalar + self._rng(_KEY_BYTES)
            write_file(self._file, data)
        try:
            if len(data) != 2 * _KEY_BYTES:
                raise ValueError("length")
            number = int.from_bytes(data[:_KEY_BYTES], "big")
            return ec.derive_private_key(number, ec.SECP256R1()), data[_KEY_BYTES:]
        except ValueError:
            raise StorageError("the key of the genuineness check is damaged") from None


def _public(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _is_signed(data: bytes, signature: bytes, key: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    r, s = (int.from_bytes(signature[i : i + _KEY_BYTES], "big") for i in (0, _KEY_BYTES))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
    try:
        public.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
