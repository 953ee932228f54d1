"""What may be installed and what may start: every refusal by name (A-5, A-6, A-7)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.bundle_kit import CODE, NOT_AFTER_S, NOT_BEFORE_S, NOW_S, publisher, signed_bundle

from primegap.keyos.app_manager import screens
from primegap.keyos.app_manager.errors import (
    AlteredError,
    AppError,
    BuiltInError,
    NameTakenError,
    NotInstalledError,
    OlderVersionError,
    PermissionRefusedError,
    PublisherMismatchError,
    PublisherNotAcceptedError,
    RunningError,
    SystemTooOldError,
    TooManyAppsError,
)
from primegap.keyos.app_manager.image import MIN_IMAGE_BYTES, code_image
from primegap.keyos.app_manager.policy import Plan, core_manifest, judge_install, verify_launch
from primegap.keyos.app_manager.registry import (
    MAX_APPS,
    MAX_PUBLISHERS,
    InstalledApp,
    Registry,
    role_of,
)
from primegap.keyos.app_manager.store import BundleStore
from primegap.keyos.bundle import CertificateDateError, verify_bundle_untrusted
from primegap.keyos.core.builtin import builtin_manifests
from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.storage.sealed import UnreadableError
from primegap.keyos.ui.canonical import encode_screen
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.screen import Screen, Text, shown

BUILTIN = builtin_manifests()
HELLO = signed_bundle()
OTHER = publisher(2, "Somebody Else")


def judge(
    data: bytes,
    registry: Registry | None = None,
    *,
    running: frozenset[bytes] = frozenset(),
    system_version: str = "0.1.0",
    now_s: float = NOW_S,
) -> Plan:
    return judge_install(
        verify_bundle_untrusted(data),
        registry or Registry(),
        builtin=BUILTIN,
        others=[],
        running=running,
        system_version=system_version,
        now_s=now_s,
    )


def installed(*bundles: bytes, registry: Registry | None = None) -> Registry:
    registry = registry or Registry()
    for data in bundles:
        plan = judge(data, registry)
        registry = registry.with_app(plan.app, plan.certificate)
    return registry


def test_a_first_installation() -> None:
    plan = judge(HELLO)
    assert plan.new_publisher
    assert plan.replaces is None
    assert plan.certificate == publisher().certificate
    assert plan.app.role == role_of(plan.app.app_id) == plan.manifest.role
    assert plan.manifest.app_id == plan.app.app_id
    assert plan.app.subgroups == ("ui-and-input.app-surface",)


def test_an_update_by_the_same_publisher() -> None:
    registry = installed(HELLO)
    plan = judge(signed_bundle(version="1.3.0"), registry)
    assert not plan.new_publisher
    assert plan.replaces == next(iter(registry.apps.values()))
    again = judge(HELLO, registry)
    assert again.app == again.replaces


def renamed(**changes: Any) -> Callable[[], bytes]:
    return lambda: signed_bundle(**changes)


Refusal = tuple[Callable[[], bytes], Registry, dict[str, Any], type[Exception]]
REFUSED: dict[str, Refusal] = {
    "another publisher": (
        lambda: signed_bundle(OTHER, version="9.0.0"),
        installed(HELLO),
        {},
        PublisherMismatchError,
    ),
    "a part of the system by its role": (
        renamed(identifier="bitcoin"),
        Registry(),
        {},
        BuiltInError,
    ),
    "the name of a part of the system": (
        renamed(appName={"en": "Bitcoin"}),
        Registry(),
        {},
        NameTakenError,
    ),
    "nearly the name of a part of the system": (
        renamed(appName={"en": "BIT COIN"}),
        Registry(),
        {},
        NameTakenError,
    ),
    "the name of another app": (
        lambda: signed_bundle(OTHER, identifier="other"),
        installed(HELLO),
        {},
        NameTakenError,
    ),
    "a running app": (
        renamed(version="1.3.0"),
        installed(HELLO),
        {"running": frozenset(installed(HELLO).apps)},
        RunningError,
    ),
    "a newer system needed": (renamed(minKeyosVersion="0.1.1"), Registry(), {}, SystemTooOldError),
    "a newer system needed than a preview": (
        renamed(minKeyosVersion="0.2.0"),
        Registry(),
        {"system_version": "0.2.0-beta.1"},
        SystemTooOldError,
    ),
    "an older version": (renamed(version="1.1.9"), installed(HELLO), {}, OlderVersionError),
    "an expired certificate": (
        renamed(),
        Registry(),
        {"now_s": NOT_AFTER_S + 1},
        CertificateDateError,
    ),
    "a certificate of tomorrow": (
        renamed(),
        Registry(),
        {"now_s": NOT_BEFORE_S - 1},
        CertificateDateError,
    ),
    "a clock set back behind the end": (
        renamed(),
        Registry(last_seen_s=NOT_AFTER_S + 1),
        {},
        CertificateDateError,
    ),
    "a message for built-in parts": (
        renamed(permissions={"os/calls": ["NextCall"]}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
    "a message between parts of the system": (
        renamed(permissions={"os/security": ["Login"]}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
    "a server that does not exist": (
        renamed(permissions={"os/nothing": ["Ask"]}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
    "a server of the system": (
        renamed(servers={"os/security": {"GetSeed": 1}}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
    "a server name that is taken": (
        renamed(servers={"os/hello": {"Greet": 1}}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
    "malformed permissions": (
        renamed(permissions={"os/ui": "Present"}),
        Registry(),
        {},
        PermissionRefusedError,
    ),
}


@pytest.mark.guarantee("A-5", tried="one bundle for each refusal")
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_refusals_by_name(case: Refusal) -> None:
    make, registry, facts, error = case
    with pytest.raises(error):
        judge(make(), registry, **facts)


def test_no_room() -> None:
    app = next(iter(installed(HELLO).apps.values()))
    many = {
        bytes([n]) * 16: replace(app, app_id=bytes([n]) * 16, identifier=f"a{n}", name=f"A {n}")
        for n in range(MAX_APPS)
    }
    with pytest.raises(TooManyAppsError):
        judge(HELLO, Registry(apps=many))
    with pytest.raises(TooManyAppsError):
        judge(HELLO, Registry(publishers={bytes([n]) * 32: b"" for n in range(MAX_PUBLISHERS)}))


# -- launch ---------------------------------------------------------------------------------------

APP_ID = next(iter(installed(HELLO).apps))


@pytest.mark.guarantee("A-6", tried="the bytes that are launched against those that were verified")
def test_what_is_launched_is_what_was_verified() -> None:
    bundle = verify_launch(APP_ID, HELLO, installed(HELLO), now_s=NOW_S)
    image = code_image(bundle)
    assert image == code_image(bundle)
    assert len(image) >= MIN_IMAGE_BYTES
    with zipfile.ZipFile(BytesIO(image)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == CODE


@pytest.mark.guarantee("A-6", "A-7", tried="launches of what was changed, withdrawn, expired")
def test_launches_that_are_refused() -> None:
    registry = installed(HELLO)
    fingerprint = next(iter(registry.publishers))
    update = signed_bundle(version="1.3.0")
    resigned = signed_bundle()  # the same content; its post-quantum signature is another one
    cases: list[tuple[bytes, bytes, Registry, float, type[Exception]]] = [
        (bytes(16), HELLO, registry, NOW_S, NotInstalledError),
        (APP_ID, update, registry, NOW_S, AlteredError),
        (APP_ID, resigned, registry, NOW_S, AlteredError),
        (APP_ID, HELLO[:-1] + b"x", registry, NOW_S, AlteredError),
        (APP_ID, b"", registry, NOW_S, AlteredError),
        (APP_ID, HELLO, registry.without_publisher(fingerprint), NOW_S, PublisherNotAcceptedError),
        (APP_ID, HELLO, registry, NOT_AFTER_S + 1, CertificateDateError),
        (APP_ID, HELLO, registry, NOT_BEFORE_S - 1, CertificateDateError),
        (APP_ID, HELLO, registry.seen(NOT_AFTER_S + 1), NOW_S, CertificateDateError),
    ]
    for app_id, stored, known, now_s, error in cases:
        with pytest.raises(error):
            verify_launch(app_id, stored, known, now_s=now_s)


def test_a_renewed_certificate_of_the_same_keys_keeps_installed_apps_running() -> None:
    later_s = NOT_AFTER_S + 1000
    renewed = publisher(not_after_s=later_s)
    registry = installed(HELLO)
    registry = installed(
        signed_bundle(renewed, identifier="other", appName={"en": "O"}), registry=registry
    )
    verify_launch(APP_ID, HELLO, registry, now_s=NOT_AFTER_S + 1)
    older = installed(signed_bundle(version="1.4.0"), registry=registry)
    assert older.publishers == registry.publishers
    with pytest.raises(CertificateDateError):
        verify_launch(APP_ID, HELLO, registry, now_s=later_s + 1)


# -- registry -------------------------------------------------------------------------------------


def test_the_registry_is_read_as_it_was_written() -> None:
    registry = installed(HELLO, signed_bundle(OTHER, identifier="two", appName={"en": "Two"}))
    registry = registry.with_developer(on=True).seen(NOW_S).removing(APP_ID)
    assert Registry.decode(registry.encode()) == registry
    assert registry.erasing == {APP_ID}
    assert registry.erased(APP_ID).erasing == frozenset()
    assert registry.seen(5).last_seen_s == int(NOW_S)
    assert Registry.decode(Registry().encode()) == Registry()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\x80", b"\x86\x02\x80\x80\x80\xf4\x00", b"\x86\x01\x81\x80\x80\x80\xf4\x00"],
)
def test_a_registry_that_makes_no_sense(data: bytes) -> None:
    with pytest.raises(UnreadableError):
        Registry.decode(data)


def test_the_store_keeps_what_the_registry_names(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "bundles")
    store.write(b"\x01" * 32, b"one")
    store.write(b"\x02" * 32, b"two")
    (tmp_path / "bundles" / "half.new").write_bytes(b"interrupted")
    store.keep_only([b"\x02" * 32])
    assert store.read(b"\x01" * 32) is None
    assert store.read(b"\x02" * 32) == b"two"
    assert len(list((tmp_path / "bundles").iterdir())) == 1


# -- screens --------------------------------------------------------------------------------------


def texts(screen: Screen) -> str:
    return "\n".join(shown(item.text) for item in screen.items if isinstance(item, Text))


def test_the_screen_of_an_installation_says_what_is_asked_for() -> None:
    screen = screens.install(judge(HELLO))
    assert "show its screens" in texts(screen)
    assert screen.confirm
    update = screens.install(
        judge(
            signed_bundle(
                version="2.0.0",
                permissions={"os/ui": ["Present"], "os/camera": ["NextCode"]},
            ),
            installed(HELLO),
        )
    )
    said = texts(update)
    assert (
        said.index("New") < said.index("camera") < said.index("As before") < said.index("screens")
    )
    nothing = screens.install(judge(signed_bundle(permissions={})))
    assert "asks for nothing" in texts(nothing)


def test_every_screen_fits_the_display() -> None:
    app: InstalledApp = judge(HELLO).app
    longest = replace(
        app, name="W" * 24, publisher="W" * 40, description="W" * 120, version="99999.99999.99999-b"
    )
    plan = replace(judge(HELLO), app=longest, replaces=longest)
    for screen in (
        screens.install(judge(HELLO)),
        screens.install(plan),
        screens.install(replace(plan, app=replace(longest, subgroups=tuple(CATALOGUE)))),
        screens.accept_publisher("W" * 40, bytes(32)),
        screens.remove(longest),
        screens.developer_mode(),
    ):
        layout(screen)
        assert encode_screen(screen)
        assert screen.approval is not None
        assert screen.approval.hold_ms


@pytest.mark.guarantee("P-5", "U-2", tried="manifests that claim parts of the system")
def test_core_is_told_nothing_that_makes_an_app_a_part_of_the_system() -> None:
    manifest = core_manifest(verify_bundle_untrusted(HELLO).manifest)
    assert (manifest.system, manifest.critical, manifest.first) == (False, False, False)
    assert manifest.profile == "app"


def test_every_refusal_has_a_code_of_its_own() -> None:
    kinds = AppError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) > 10
