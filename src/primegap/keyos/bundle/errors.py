"""Errors of app bundles: what is wrong with a file that came from outside, and what with ours."""

from __future__ import annotations

from primegap.keyos.errors import KeyosError


class BundleError(KeyosError):
    """Root of what can be wrong with an app bundle."""

    code = "bundle"
    hint = "The app cannot be used."


class RemoteBundleError(BundleError):
    """The bundle is not what it must be; nothing of it is used."""

    code = "bundle-invalid"
    hint = "The file is not an app that this device can use."


class ArchiveError(RemoteBundleError):
    """The file is not an archive in the one form that is accepted (keyos-model, section 4.4)."""

    code = "bundle-archive"
    hint = "The file is damaged, or was not made by `primegap app build`."


class BundleManifestError(RemoteBundleError):
    """The manifest of a bundle is malformed, or does not describe the files beside it."""

    code = "bundle-manifest"
    hint = "The app does not say correctly what it is. Its publisher has to build it again."


class BundleSignatureError(RemoteBundleError):
    """The signatures do not fit the bundle and its publisher."""

    code = "bundle-signature"
    hint = "The app was changed after its publisher signed it, or was never signed."


class CertificateError(RemoteBundleError):
    """A publisher's certificate breaks a rule of section 4.4."""

    code = "publisher-certificate"
    hint = "The certificate of the app's publisher cannot be used."


class CertificateDateError(CertificateError):
    """A publisher's certificate is expired or not yet valid."""

    code = "publisher-certificate-date"
    hint = (
        "The certificate of the app's publisher is expired or not yet valid. If the date of the "
        "device is right, ask the publisher for a newer version."
    )


class BuildError(BundleError):
    """The source of an app cannot be made into a bundle."""

    code = "bundle-build"
    hint = "Correct the app's folder and build again; `primegap app check` says what is wrong."
