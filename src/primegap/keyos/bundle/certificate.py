"""Certificates of publishers: who signs an app, in a form that other tools read.

X.509 v3 for a secp256k1 key, as the original has it (keyos-model, section 4.4), self-signed, with
the publisher's ML-DSA-65 key beside it as `subjectAltPublicKeyInfo` (X.509 2019, 2.5.29.72). The
identity in it is an unverified claim. What a person compares is the **fingerprint**: it commits to
both keys, so that nobody who can compute one key from its public half can pass for the other.
"""

from __future__ import annotations

import datetime
import hashlib
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.keyos.bundle.errors import BuildError, CertificateDateError, CertificateError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

MAX_CERTIFICATE_BYTES: Final = 16 << 10
MAX_PUBLISHER: Final = 40  # characters, so that it fits a row of the screen
ML_DSA_KEY_BYTES: Final = 1952
_ALTERNATIVE_KEY: Final = "2.5.29.72"
_ML_DSA_65_INFO: Final = bytes.fromhex("308207b2300b0609608648016503040312038207a100")
"DER in front of the 1952 bytes of an ML-DSA-65 key in a SubjectPublicKeyInfo (RFC 9881)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """What a certificate says, its rules checked; its dates only when `check_date` is asked."""

    name: str
    "Claimed, not verified by anybody."
    secp256k1_key: bytes
    "Compressed, 33 bytes."
    ml_dsa_key: bytes = field(repr=False)
    "1952 bytes."
    not_before_s: int
    not_after_s: int
    "Unix time; both ends belong to the time of validity."

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 over both keys, 32 bytes: the identity of the publisher."""
        return publisher_fingerprint(self.secp256k1_key, self.ml_dsa_key)

    def check_date(self, now_s: float) -> None:
        """Return if the certificate is valid at this time; raise CertificateDateError."""
        if now_s < self.not_before_s:
            raise CertificateDateError("the certificate is not valid yet")
        if now_s > self.not_after_s:
            raise CertificateDateError("the certificate is expired")


def publisher_fingerprint(secp256k1_key: bytes, ml_dsa_key: bytes) -> bytes:
    """Return the identity of the owner of two public keys, 32 bytes."""
    return hashlib.sha256(secp256k1_key + ml_dsa_key).digest()


def short_fingerprint(fingerprint: bytes) -> str:
    """Return the short form: first and last 4 bytes, as on the original's screens."""
    return f"{fingerprint[:4].hex()} … {fingerprint[-4:].hex()}"


def check_publisher_name(name: str) -> None:
    """Return if a publisher may be called so; raise CertificateError."""
    if not 1 <= len(name) <= MAX_PUBLISHER or not name.isprintable() or name != name.strip():
        raise CertificateError(f"a publisher has a name of 1 to {MAX_PUBLISHER} plain characters")


def make_certificate(
    name: str,
    secp256k1_key: EllipticCurvePrivateKey,
    ml_dsa_key: MLDSA65PrivateKey,
    *,
    not_before_s: int,
    not_after_s: int,
    serial: int,
) -> bytes:
    """Return the DER of a self-signed certificate for both keys.

    Args:
        name: what the publisher wants to be called.
        secp256k1_key: signs the certificate.
        ml_dsa_key: its public half goes into it.
        not_before_s: Unix time in whole seconds.
        not_after_s: Unix time in whole seconds.
        serial: a random number of at most 159 bits.

    Raises:
        BuildError: the name or the dates cannot be in a certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    try:
        check_publisher_name(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(secp256k1_key.public_key())
            .serial_number(serial)
            .not_valid_before(datetime.datetime.fromtimestamp(not_before_s, datetime.UTC))
            .not_valid_after(datetime.datetime.fromtimestamp(not_after_s, datetime.UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.UnrecognizedExtension(
                    x509.ObjectIdentifier(_ALTERNATIVE_KEY),
                    _ML_DSA_65_INFO + ml_dsa_key.public_key().public_bytes_raw(),
                ),
                critical=False,
            )
        )
        certificate = builder.sign(secp256k1_key, hashes.SHA256(), ecdsa_deterministic=True)
    except (CertificateError, ValueError, OverflowError) as error:
        raise BuildError(str(error)) from error
    return certificate.public_bytes(serialization.Encoding.DER)


def parse_certificate_untrusted(data: bytes) -> Publisher:
    """Check a certificate against every rule but its dates; raise only CertificateError."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    if len(data) > MAX_CERTIFICATE_BYTES:
        raise CertificateError("the certificate is too large")
    try:
        # What the library only warns about, such as a negative serial number, is refused too.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _read(x509.load_der_x509_certificate(data))
    except (
        ValueError,
        TypeError,
        OverflowError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        Warning,
    ) as error:
        raise CertificateError("the certificate is malformed or not a publisher's") from error


def _read(certificate: x509.Certificate) -> Publisher:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256K1):
        raise CertificateError("the certificate is not for a secp256k1 key")
    if certificate.version is not x509.Version.v3:
        raise CertificateError("the certificate is not of version 3")
    if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256):
        raise CertificateError("the certificate is not signed over SHA-256")
    certificate.verify_directly_issued_by(certificate)
    known: tuple[type[x509.ExtensionType], ...] = (
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
    )
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, known):
            raise CertificateError("the certificate has a critical extension that is not known")
    if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise CertificateError("the certificate is one of an authority")
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise CertificateError("the certificate is not for signatures alone")
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise CertificateError("the certificate is not for signing code")
    return Publisher(
        name=_name(certificate),
        secp256k1_key=key.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        ),
        ml_dsa_key=_ml_dsa_key(certificate),
        not_before_s=int(certificate.not_valid_before_utc.timestamp()),
        not_after_s=int(certificate.not_valid_after_utc.timestamp()),
    )


def _name(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise CertificateError("the certificate has no name or several")
    check_publisher_name(names[0].value)
    return names[0].value


def _ml_dsa_key(certificate: x509.Certificate) -> bytes:
    from cryptography import x509

    oid = x509.ObjectIdentifier(_ALTERNATIVE_KEY)
    extension = certificate.extensions.get_extension_for_oid(oid).value
    info = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    key = info.removeprefix(_ML_DSA_65_INFO)
    if len(info) != len(_ML_DSA_65_INFO) + ML_DSA_KEY_BYTES or len(key) != ML_DSA_KEY_BYTES:
        raise CertificateError("the certificate has no ML-DSA-65 key")
    return key
