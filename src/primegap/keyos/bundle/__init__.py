"""Bundles of installed apps: one file with code, hashes, certificate and signatures; pure."""

from __future__ import annotations

from primegap.keyos.bundle.archive import MAX_BUNDLE_BYTES, pack, unpack_untrusted
from primegap.keyos.bundle.certificate import (
    Publisher,
    make_certificate,
    parse_certificate_untrusted,
    short_fingerprint,
)
from primegap.keyos.bundle.errors import (
    ArchiveError,
    BuildError,
    BundleError,
    BundleManifestError,
    BundleSignatureError,
    CertificateDateError,
    CertificateError,
    RemoteBundleError,
)
from primegap.keyos.bundle.manifest import BundleManifest, app_id_from_name, derive_app_id
from primegap.keyos.bundle.signed import (
    Bundle,
    SigningKeys,
    build_bundle,
    sign_bundle,
    verify_bundle_untrusted,
)

__all__ = [
    "MAX_BUNDLE_BYTES",
    "ArchiveError",
    "BuildError",
    "Bundle",
    "BundleError",
    "BundleManifest",
    "BundleManifestError",
    "BundleSignatureError",
    "CertificateDateError",
    "CertificateError",
    "Publisher",
    "RemoteBundleError",
    "SigningKeys",
    "app_id_from_name",
    "build_bundle",
    "derive_app_id",
    "make_certificate",
    "pack",
    "parse_certificate_untrusted",
    "short_fingerprint",
    "sign_bundle",
    "unpack_untrusted",
    "verify_bundle_untrusted",
]
