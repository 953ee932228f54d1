"""Certificates of publishers: the rules of section 4.4, one certificate for each broken one."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.bundle_kit import NOT_AFTER_S, NOT_BEFORE_S, NOW_S, publisher

from primegap.keyos.bundle import (
    BuildError,
    CertificateDateError,
    CertificateError,
    make_certificate,
    parse_certificate_untrusted,
    short_fingerprint,
)
from primegap.keyos.bundle.certificate import MAX_CERTIFICATE_BYTES

KEYS = publisher()
EC_KEY = KEYS.secp256k1
ALTERNATIVE = x509.ObjectIdentifier("2.5.29.72")
INFO = KEYS.ml_dsa.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
DIGITAL_SIGNATURE = {
    "digital_signature": True,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


def name(text: str = "Jane Doe") -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    *,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    key: ec.EllipticCurvePrivateKey = EC_KEY,
    signer: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None,
    algorithm: hashes.SHA256 | hashes.SHA384 | None = hashes.SHA256(),  # noqa: B008
    constraints: x509.BasicConstraints | None = x509.BasicConstraints(ca=False, path_length=None),  # noqa: B008
    usage: dict[str, bool] | None = DIGITAL_SIGNATURE,
    purposes: list[x509.ObjectIdentifier] | None = [ExtendedKeyUsageOID.CODE_SIGNING],  # noqa: B006
    info: bytes | None = INFO,
    extra: x509.ExtensionType | None = None,
    extra_critical: bool = False,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name() if subject is None else subject)
        .issuer_name(issuer or (name() if subject is None else subject))
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if purposes is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if info is not None:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ALTERNATIVE, info), critical=False
        )
    if extra is not None:
        builder = builder.add_extension(extra, critical=extra_critical)
    made = builder.sign(signer or key, algorithm)
    return made.public_bytes(serialization.Encoding.DER)


def test_what_a_certificate_says() -> None:
    found = parse_certificate_untrusted(KEYS.certificate)
    key = EC_KEY.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    assert found.name == "Jane Doe"
    assert found.secp256k1_key == key
    assert found.ml_dsa_key == KEYS.ml_dsa.public_key().public_bytes_raw()
    assert (found.not_before_s, found.not_after_s) == (NOT_BEFORE_S, NOT_AFTER_S)
    assert found.fingerprint == hashlib.sha256(key + found.ml_dsa_key).digest()
    short = short_fingerprint(found.fingerprint)
    assert short == f"{found.fingerprint.hex()[:8]} … {found.fingerprint.hex()[-8:]}"


def test_a_certificate_made_by_other_means_is_accepted() -> None:
    made = parse_certificate_untrusted(certificate())
    assert made.fingerprint == parse_certificate_untrusted(KEYS.certificate).fingerprint


def test_the_fingerprint_commits_to_both_keys() -> None:
    other = publisher(2)
    info = other.ml_dsa.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    fingerprints = {
        parse_certificate_untrusted(data).fingerprint
        for data in (certificate(), certificate(info=info), certificate(key=other.secp256k1))
    }
    assert len(fingerprints) == 3


NIST = ec.derive_private_key(5, ec.SECP256R1())
WEAK: dict[str, Callable[[], bytes]] = {
    "another curve": lambda: certificate(key=NIST),
    "signed by another key": lambda: certificate(signer=publisher(2).secp256k1),
    "signed by another kind of key": lambda: certificate(
        signer=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), algorithm=None
    ),
    "issued by somebody else": lambda: certificate(issuer=name("Root")),
    "signed over another hash": lambda: certificate(algorithm=hashes.SHA384()),
    "an authority": lambda: certificate(
        constraints=x509.BasicConstraints(ca=True, path_length=None)
    ),
    "no basic constraints": lambda: certificate(constraints=None),
    "no key usage": lambda: certificate(usage=None),
    "not for signatures": lambda: certificate(
        usage={**DIGITAL_SIGNATURE, "digital_signature": False, "content_commitment": True}
    ),
    "signs certificates": lambda: certificate(usage={**DIGITAL_SIGNATURE, "key_cert_sign": True}),
    "signs revocations": lambda: certificate(usage={**DIGITAL_SIGNATURE, "crl_sign": True}),
    "no purpose": lambda: certificate(purposes=None),
    "another purpose": lambda: certificate(purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
    "no second key": lambda: certificate(info=None),
    "second key cut off": lambda: certificate(info=INFO[:-1]),
    "second key of another kind": lambda: certificate(
        info=INFO.replace(bytes.fromhex("0312"), bytes.fromhex("0311"), 1)
    ),
    "second key with a tail": lambda: certificate(info=INFO + b"\0"),
    "unknown critical extension": lambda: certificate(
        extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"),
        extra_critical=True,
    ),
    "critical name constraints": lambda: certificate(
        extra=x509.NameConstraints([x509.DNSName("example")], None), extra_critical=True
    ),
    "no name": lambda: certificate(subject=x509.Name([])),
    "two names": lambda: certificate(
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, t) for t in ("A", "B")])
    ),
    "a name too long": lambda: certificate(subject=name("x" * 41)),
    "a name that turns the text": lambda: certificate(subject=name("Jane\u202eeoD")),
    "a name of two lines": lambda: certificate(subject=name("Jane\nDoe")),
    "a name with blanks around": lambda: certificate(subject=name(" Jane")),
    "too large": lambda: KEYS.certificate + bytes(MAX_CERTIFICATE_BYTES),
    "bytes behind it": lambda: KEYS.certificate + b"\0",
    "cut off": lambda: KEYS.certificate[:-1],
    "empty": lambda: b"",
    "PEM": lambda: x509.load_der_x509_certificate(KEYS.certificate).public_bytes(
        serialization.Encoding.PEM
    ),
}


@pytest.mark.guarantee("A-7", tried="certificates that break one rule each")
@pytest.mark.parametrize("make", WEAK.values(), ids=WEAK.keys())
def test_broken_rules(make: Callable[[], bytes]) -> None:
    data = make()
    with pytest.raises(CertificateError):
        parse_certificate_untrusted(data)


def test_an_extension_that_is_not_critical_may_be_there() -> None:
    parse_certificate_untrusted(
        certificate(extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"))
    )


@pytest.mark.guarantee("A-7", tried="the clock before, inside and after the window")
@pytest.mark.parametrize(
    ("now_s", "valid"),
    [
        (NOT_BEFORE_S - 1, False),
        (NOT_BEFORE_S, True),
        (NOW_S, True),
        (NOT_AFTER_S, True),
        (NOT_AFTER_S + 1, False),
        (0, False),
    ],
)
def test_the_time_of_validity(now_s: float, valid: bool) -> None:
    found = parse_certificate_untrusted(KEYS.certificate)
    if valid:
        found.check_date(now_s)
        return
    with pytest.raises(CertificateDateError):
        found.check_date(now_s)


@pytest.mark.parametrize("bad", ["", "x" * 41, "a\u200bb", " a"])
def test_names_that_no_certificate_is_made_for(bad: str) -> None:
    with pytest.raises(BuildError):
        make_certificate(bad, EC_KEY, KEYS.ml_dsa, not_before_s=0, not_after_s=1, serial=1)


@pytest.mark.guarantee("A-7", tried="every bit of a certificate flipped")
def test_no_bit_of_the_certificate_can_be_changed() -> None:
    """Its own signature holds it together; the signature of a bundle covers all of it again."""
    for at in range(len(KEYS.certificate)):
        changed = bytearray(KEYS.certificate)
        changed[at] ^= 1 << at % 8
        with pytest.raises(CertificateError):
            parse_certificate_untrusted(bytes(changed))
