"""What may be installed and what may start, pure: every refusal of A-5 and A-7 is made here."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from primegap.keyos.app_manager.errors import (
    AlteredError,
    BuiltInError,
    NameTakenError,
    NeededError,
    NotInstalledError,
    OlderVersionError,
    PermissionRefusedError,
    PublisherMismatchError,
    PublisherNotAcceptedError,
    RunningError,
    SystemTooOldError,
    TooManyAppsError,
)
from primegap.keyos.app_manager.registry import (
    MAX_APPS,
    MAX_PUBLISHERS,
    InstalledApp,
    Registry,
    role_of,
)
from primegap.keyos.bundle import Bundle, parse_certificate_untrusted, verify_bundle_untrusted
from primegap.keyos.bundle.errors import RemoteBundleError
from primegap.keyos.bundle.manifest import BundleManifest, version_number
from primegap.keyos.bundle.signed import CERTIFICATE
from primegap.keyos.errors import ManifestError
from primegap.keyos.manifest import PermissionTable
from primegap.keyos.manifest.schema import read_manifest_untrusted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from primegap.keyos.manifest import Manifest, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An installation that is allowed if the person wants it."""

    app: InstalledApp
    manifest: Manifest
    certificate: bytes
    "To be kept for the publisher: the one of its certificates that ends last."
    new_publisher: bool
    replaces: InstalledApp | None
    "The version that is installed now."
    users: tuple[Manifest, ...]
    "Other installed apps that work only with this one, in the order in which core takes them."


def core_manifest(bundle: BundleManifest) -> Manifest:
    """Return the manifest of an app as the system judges it.

    Raises:
        PermissionRefusedError: its servers or permissions are malformed.
    """
    table: dict[str, Any] = {
        "appId": f"0x{bundle.app_id.hex()}",
        "role": role_of(bundle.app_id),
        "name": bundle.name,
        "entry": bundle.entry,
        "profile": "app",
        "storage": bundle.storage,
        "servers": bundle.servers,
        "permissions": bundle.permissions,
    }
    try:
        return read_manifest_untrusted(table)
    except ManifestError as error:
        raise PermissionRefusedError(str(error)) from error


def judge_install(
    bundle: Bundle,
    registry: Registry,
    *,
    builtin: Iterable[Manifest],
    others: Iterable[Manifest],
    before: Manifest | None = None,
    running: Collection[bytes],
    system_version: str,
    now_s: float,
) -> Plan:
    """Return what installing a verified bundle would do.

    Args:
        bundle: verified, of any publisher.
        registry: of now.
        builtin: manifests of the image.
        others: manifests of the other installed apps.
        before: manifest of the version that is installed.
        running: app ids of apps that run.
        system_version: of this device.
        now_s: time of the device's clock; it counts as the latest ever seen if it is earlier.

    Raises:
        AppError: it may not be installed.
        CertificateDateError: the certificate is expired or not yet valid.
    """
    manifest, publisher = bundle.manifest, bundle.publisher
    builtin = list(builtin)
    if any(manifest.app_id == m.app_id or manifest.identifier == m.role for m in builtin):
        raise BuiltInError("the app claims the identity of a part of the system")
    installed = registry.apps.get(manifest.app_id)
    for app in registry.apps.values():
        if app.app_id == manifest.app_id and app.fingerprint == publisher.fingerprint:
            continue
        if app.identifier == manifest.identifier or app.app_id == manifest.app_id:
            raise PublisherMismatchError("the app is installed from another publisher")
        if _folded(app.name) == _folded(manifest.name):
            raise NameTakenError("another app has this name")
    if any(_folded(m.name) == _folded(manifest.name) for m in builtin):
        raise NameTakenError("a part of the system has this name")
    publisher.check_date(max(now_s, registry.last_seen_s))
    if manifest.app_id in running:
        raise RunningError("the app is running")
    if version_number(manifest.min_keyos_version) > version_number(system_version):
        raise SystemTooOldError(f"it needs version {manifest.min_keyos_version}")
    if installed is not None:
        if version_number(manifest.version) < version_number(installed.version):
            raise OlderVersionError(f"version {installed.version} is installed")
    elif len(registry.apps) >= MAX_APPS:
        raise TooManyAppsError("too many apps")
    new_publisher = publisher.fingerprint not in registry.publishers
    if new_publisher and len(registry.publishers) >= MAX_PUBLISHERS:
        raise TooManyAppsError("too many publishers")
    core = core_manifest(manifest)
    rows, users = judge_permissions(core, builtin, others, before=before)
    return Plan(
        app=InstalledApp(
            app_id=manifest.app_id,
            sha256=bundle.sha256,
            fingerprint=publisher.fingerprint,
            identifier=manifest.identifier,
            name=manifest.name,
            description=manifest.description,
            version=manifest.version,
            publisher=manifest.publisher,
            subgroups=tuple(sorted({row.group for row in rows if row.group is not None})),
        ),
        manifest=core,
        certificate=_later_certificate(bundle, registry),
        new_publisher=new_publisher,
        replaces=installed,
        users=users,
    )


def verify_launch(app_id: bytes, stored: bytes, registry: Registry, *, now_s: float) -> Bundle:
    """Check everything about a stored app again and return what is to run (A-6, A-7).

    Raises:
        NotInstalledError: the registry does not name the app.
        AlteredError: these are not the bytes that were installed.
        PublisherNotAcceptedError: its publisher was removed.
        CertificateDateError: the publisher's certificate is expired or not yet valid.
    """
    app = registry.apps.get(app_id)
    if app is None:
        raise NotInstalledError("not installed")
    try:
        bundle = verify_bundle_untrusted(stored)
    except RemoteBundleError as error:
        raise AlteredError(str(error)) from error
    if bundle.sha256 != app.sha256 or bundle.manifest.app_id != app_id:
        raise AlteredError("not the bundle that was installed")
    certificate = registry.publishers.get(bundle.publisher.fingerprint)
    if certificate is None:
        raise PublisherNotAcceptedError("the publisher is not accepted")
    parse_certificate_untrusted(certificate).check_date(max(now_s, registry.last_seen_s))
    return bundle


def _folded(name: str) -> str:
    """Return a name in a form in which names that look alike to a hurried eye are equal."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _later_certificate(bundle: Bundle, registry: Registry) -> bytes:
    new = bundle.files[CERTIFICATE]
    known = registry.publishers.get(bundle.publisher.fingerprint)
    if known is None:
        return new
    kept = parse_certificate_untrusted(known)
    return new if bundle.publisher.not_after_s >= kept.not_after_s else known


def judge_permissions(
    manifest: Manifest,
    builtin: Iterable[Manifest],
    others: Iterable[Manifest],
    *,
    before: Manifest | None = None,
) -> tuple[list[Row], tuple[Manifest, ...]]:
    """Return what an installed app may send, and the other apps that work only with it.

    The first says for each message whether the person is asked; the second is in the order in which
    core takes them.

    Raises:
        PermissionRefusedError: it names something that an installed app cannot have.
        NeededError: another app works with what this version does not offer any more.
    """
    table = PermissionTable(builtin)
    users = _install_all(table, others)[1]
    try:
        table.install(manifest)
    except ManifestError as error:
        raise PermissionRefusedError(str(error)) from error
    taken, left = _install_all(table, users)
    for user in left:
        if before is not None and not user.permissions.keys().isdisjoint(before.servers):
            raise NeededError(f"{user.role} needs what this version does not offer")
    return [row for row in table.effective() if row.role == manifest.role], tuple(taken)


def _install_all(
    table: PermissionTable, manifests: Iterable[Manifest]
) -> tuple[list[Manifest], list[Manifest]]:
    """Install what can be, each after those whose servers it names; return it, and the rest."""
    taken: list[Manifest] = []
    left = list(manifests)
    while True:
        before = len(taken)
        for manifest in list(left):
            with contextlib.suppress(ManifestError):
                table.install(manifest)
                taken.append(manifest)
                left.remove(manifest)
        if len(taken) == before:
            return taken, left
