"""A publisher's keys on disk: one file with both secrets, one with the certificate.

`publisher.key` holds two PKCS #8 blocks (PEM), for secp256k1 and for ML-DSA-65, encrypted under a
passphrase unless the developer does without. `publisher.der` is the certificate; it is public.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, Final

from primegap.developer.errors import (
    KeyExistsError,
    KeyFileError,
    KeyFileModeError,
    PassphraseError,
)
from primegap.files import StorageError, read_file, write_file
from primegap.keyos.bundle import (
    CertificateError,
    SigningKeys,
    make_certificate,
    parse_certificate_untrusted,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE: Final = "publisher.key"
CERTIFICATE_FILE: Final = "publisher.der"
_DAY_S: Final = 86_400
_YEAR_S: Final = 365 * _DAY_S
_SEPARATOR: Final = b"-----BEGIN"


def make_keys(folder: Path, name: str, *, years: int, passphrase: bytes | None) -> SigningKeys:
    """Draw a publisher's keys, write them into a folder and return them.

    The certificate is valid from the day before, since the clocks of devices differ.

    Raises:
        KeyExistsError: the folder has keys.
        BuildError: the name cannot be in a certificate.
        StorageError: the folder cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    if (folder / KEY_FILE).exists() or (folder / CERTIFICATE_FILE).exists():
        raise KeyExistsError(f"{folder} has a publisher's key")
    secp256k1, ml_dsa = ec.generate_private_key(ec.SECP256K1()), MLDSA65PrivateKey.generate()
    now_s = int(time.time())
    certificate = make_certificate(
        name,
        secp256k1,
        ml_dsa,
        not_before_s=now_s - _DAY_S,
        not_after_s=now_s + years * _YEAR_S,
        serial=1 + secrets.randbits(128),
    )
    encryption: serialization.KeySerializationEncryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase)
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    blocks = [key.private_bytes(pem, pkcs8, encryption) for key in (secp256k1, ml_dsa)]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.from_os(f"cannot make {folder}", error) from error
    write_file(folder / KEY_FILE, b"".join(blocks))
    write_file(folder / CERTIFICATE_FILE, certificate)
    return SigningKeys(secp256k1, ml_dsa, certificate)


def needs_passphrase(folder: Path) -> bool:
    """Whether the keys in a folder are encrypted."""
    return b"ENCRYPTED" in _read_private(folder)


def load_keys(folder: Path, passphrase: bytes | None) -> SigningKeys:
    """Return the keys in a folder.

    Raises:
        KeyFileError: there are none, others can read them, or the passphrase is wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

    blocks = [_SEPARATOR + part for part in _read_private(folder).split(_SEPARATOR)[1:]]
    certificate = _read(folder, CERTIFICATE_FILE)
    try:
        keys = [serialization.load_pem_private_key(block, passphrase) for block in blocks]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Wrong or missing passphrases and damaged files are told apart by nothing that is stable.
        raise PassphraseError(f"{folder / KEY_FILE} does not open") from error
    match keys:
        case [ec.EllipticCurvePrivateKey() as secp256k1, MLDSA65PrivateKey() as ml_dsa]:
            loaded = SigningKeys(secp256k1, ml_dsa, certificate)
        case _:
            raise KeyFileError(f"{folder / KEY_FILE} does not hold a publisher's keys")
    _check_match(loaded, folder)
    return loaded


def load_certificate(folder: Path) -> bytes:
    """Return the certificate in a folder; raise KeyFileError."""
    return _read(folder, CERTIFICATE_FILE)


def _check_match(keys: SigningKeys, folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    try:
        publisher = parse_certificate_untrusted(keys.certificate)
    except CertificateError as error:
        raise KeyFileError(f"{folder / CERTIFICATE_FILE}: {error}") from error
    compressed = keys.secp256k1.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    if (publisher.secp256k1_key, publisher.ml_dsa_key) != (
        compressed,
        keys.ml_dsa.public_key().public_bytes_raw(),
    ):
        raise KeyFileError(f"{folder}: key and certificate do not belong together")


def _read_private(folder: Path) -> bytes:
    path = folder / KEY_FILE
    data = _read(folder, KEY_FILE)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise KeyFileError(f"cannot read {path}") from error
    if mode & 0o077:
        raise KeyFileModeError(f"{path} can be read by others")
    return data


def _read(folder: Path, name: str) -> bytes:
    try:
        data = read_file(folder / name)
    except StorageError as error:
        raise KeyFileError(str(error)) from error
    if data is None:
        raise KeyFileError(f"there is no {folder / name}")
    return data
