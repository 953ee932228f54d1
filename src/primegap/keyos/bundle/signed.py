"""Building, signing and verifying bundles (keyos-model, section 4.4; ADR bundles).

Two signatures of one publisher, and both must hold: cosign2 (ECDSA over secp256k1) in the header of
the manifest, in the place of third parties, and ML-DSA-65 over the manifest as it was signed by the
first, header included. The manifest carries the SHA-256 of every other file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.cosign import (
    Header,
    ImageError,
    Signers,
    header_date,
    parse_header_untrusted,
    sign_image,
    verify_image_untrusted,
)
from primegap.keyos.bundle.archive import MANIFEST, SIGNATURE, pack, unpack_untrusted
from primegap.keyos.bundle.certificate import (
    Publisher,
    parse_certificate_untrusted,
)
from primegap.keyos.bundle.errors import (
    BuildError,
    BundleManifestError,
    BundleSignatureError,
    RemoteBundleError,
)
from primegap.keyos.bundle.manifest import (
    DESCRIBING_KEYS,
    FORMAT,
    BundleManifest,
    check_description,
    derive_app_id,
    parse_bundle_manifest_untrusted,
    parse_json_untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

MAGIC: Final = b"PRM1"
HEADER_BYTES: Final = 2048
SIGNING_CONTEXT: Final = b"primegap:bundle:v1"
"Context string of the ML-DSA signature (FIPS 204): it is good for nothing else."
CERTIFICATE: Final = "publisher.der"
CODE: Final = "code/"
"Files below it are what runs."
SYSTEM_SIGNERS: Final = frozenset(
    bytes.fromhex(key)
    for key in (
        "03bf014e1a37a113089bea7b50ee9bd7733189ecd6afb7e051a6e95f99b97da5e9",
        "03040e47c1cde8978085bdc8b44df85e7c0b2e1ea586697b5d385e523d3f908bc3",
        "038de8dd1cbad8bf1da7ff64b8a9b4a375f0205eff41f7f9dca8e91c4cf0951daa",
        "03cb8e4219d3c8f269ab2ed3acb71a4b1722c76a0c348ea11fa79b4639bef45094",
    )
)
"Release keys of the original (section 4.2): no publisher signs with one of them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose signatures, certificate and hashes hold."""

    manifest: BundleManifest
    publisher: Publisher
    files: Mapping[str, bytes] = field(repr=False)
    "Every file but manifest and signature."
    sha256: bytes
    "Of the whole archive."
    signed_s: int
    "When the publisher says that it was signed, Unix time."


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The secrets and the certificate of a publisher."""

    secp256k1: EllipticCurvePrivateKey = field(repr=False)
    ml_dsa: MLDSA65PrivateKey = field(repr=False)
    certificate: bytes
    "DER, for the public halves of both keys."


def build_bundle(description: Mapping[str, Any], code: Mapping[str, bytes]) -> bytes:
    """Return an unsigned bundle: the same input gives the same bytes, anywhere.

    Args:
        description: exactly `DESCRIBING_KEYS`, as in the developer's `app.toml`.
        code: files of the app by their path below the source folder.

    Raises:
        BuildError: something of it cannot be in a bundle.
    """
    unknown = set(description) - DESCRIBING_KEYS
    if unknown:
        raise BuildError(f"{min(unknown)} is not known")
    try:
        check_description(description)
    except BundleManifestError as error:
        raise BuildError(str(error)) from error
    module = str(description["entry"]).partition(":")[0].replace(".", "/")
    if not {f"{module}.py", f"{module}/__init__.py"} & set(code):
        raise BuildError("there is no file for the module that `entry` names")
    files = {CODE + name: data for name, data in code.items()}
    return pack({MANIFEST: _manifest_json(description, files), **files})


def _manifest_json(table: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    full = {**table, "manifestVersion": FORMAT, "fileHashes": hashes}
    try:
        text = json.dumps(full, ensure_ascii=False, sort_keys=True, indent=1)
    except (TypeError, ValueError, RecursionError) as error:
        raise BuildError("the description has a value that no manifest can hold") from error
    return text.encode() + b"\n"


def sign_bundle(unsigned: bytes, keys: SigningKeys, *, timestamp_s: int) -> bytes:
    """Return the bundle that `build_bundle` made, signed with both keys of a publisher.

    The cosign2 signature is deterministic; the ML-DSA signature is different each time.

    Raises:
        BuildError: the input is not an unsigned bundle, or the result would be refused.
    """
    try:
        publisher = parse_certificate_untrusted(keys.certificate)
        files = unpack_untrusted(unsigned)
        table = parse_json_untrusted(files.pop(MANIFEST))
        if SIGNATURE in files or table.keys() - DESCRIBING_KEYS - {"manifestVersion", "fileHashes"}:
            raise BuildError("the bundle is signed already; sign the one that was built")
        check_description(table)
    except RemoteBundleError as error:
        raise BuildError(f"not an unsigned bundle: {error}") from error
    files[CERTIFICATE] = keys.certificate
    app_id = derive_app_id(publisher.fingerprint, table["identifier"])
    table |= {"appId": f"0x{app_id.hex()}", "publisher": publisher.name}
    binary = _manifest_json(table, files)
    header = Header.unsigned(
        magic=MAGIC,
        header_bytes=HEADER_BYTES,
        timestamp_s=timestamp_s,
        date=header_date(timestamp_s),
        version=table["version"],
        size=len(binary),
    )
    manifest = sign_image(header, binary, [None, keys.secp256k1])
    signature = keys.ml_dsa.sign(manifest, SIGNING_CONTEXT)
    signed = pack({MANIFEST: manifest, SIGNATURE: signature, **files})
    try:
        verify_bundle_untrusted(signed)
    except RemoteBundleError as error:
        raise BuildError(f"the signed bundle would be refused: {error}") from error
    return signed


def verify_bundle_untrusted(data: bytes) -> Bundle:
    """Check everything about a bundle that does not depend on the device; return what it holds.

    Not checked here: the dates of the certificate (`Publisher.check_date`), whether the person
    accepted the publisher, and what the permissions mean.

    Raises:
        RemoteBundleError: something is not as it must be; nothing else is raised.
    """
    files = unpack_untrusted(data)
    signed_manifest = files.pop(MANIFEST)
    signature = files.pop(SIGNATURE, None)
    if signature is None or CERTIFICATE not in files:
        raise BundleSignatureError("the bundle is not signed")
    header = _verify_cosign(signed_manifest)
    publisher = parse_certificate_untrusted(files[CERTIFICATE])
    if publisher.secp256k1_key != header.keys[1]:
        raise BundleSignatureError("the bundle is signed by another key than its publisher's")
    _verify_ml_dsa(publisher.ml_dsa_key, signed_manifest, signature)
    manifest = parse_bundle_manifest_untrusted(signed_manifest[HEADER_BYTES:])
    _check_files(manifest.file_hashes, files)
    if manifest.version != header.version:
        raise BundleManifestError("manifest and header name different versions")
    if manifest.publisher != publisher.name:
        raise BundleManifestError("manifest and certificate name different publishers")
    if manifest.app_id != derive_app_id(publisher.fingerprint, manifest.identifier):
        raise BundleManifestError("the app id does not belong to this publisher")
    return Bundle(
        manifest=manifest,
        publisher=publisher,
        files=files,
        sha256=hashlib.sha256(data).digest(),
        signed_s=header.timestamp_s,
    )


def _verify_cosign(image: bytes) -> Header:
    try:
        signers = verify_image_untrusted(
            image, known_keys=SYSTEM_SIGNERS, magic=MAGIC, header_bytes=HEADER_BYTES
        )
        if signers is not Signers.THIRD_PARTY:
            raise BundleSignatureError("the bundle is not signed as an app of a publisher")
        return parse_header_untrusted(image, magic=MAGIC, header_bytes=HEADER_BYTES)
    except ImageError as error:
        raise BundleSignatureError(f"the first signature does not hold: {error}") from error


def _verify_ml_dsa(key: bytes, signed_manifest: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

    try:
        public_key = MLDSA65PublicKey.from_public_bytes(key)
        public_key.verify(signature, signed_manifest, SIGNING_CONTEXT)
    except (InvalidSignature, ValueError) as error:
        raise BundleSignatureError("the post-quantum signature does not hold") from error


def _check_files(hashes: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    if set(hashes) != set(files):
        raise BundleManifestError("files are missing, or are there and not listed")
    for name, data in files.items():
        if hashlib.sha256(data).digest() != hashes[name]:
            raise BundleManifestError("a file is not the one that was signed")
