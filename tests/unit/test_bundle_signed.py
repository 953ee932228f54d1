"""Bundles: built the same everywhere, signed twice, refused after any change (A-1, A-3, A-5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.bundle_kit import CODE, DESCRIPTION, SIGNED_S, publisher, signed_bundle

from primegap.cosign import Header, header_date, sign_image
from primegap.keyos.bundle import (
    BuildError,
    BundleManifestError,
    BundleSignatureError,
    RemoteBundleError,
    app_id_from_name,
    build_bundle,
    derive_app_id,
    pack,
    parse_certificate_untrusted,
    sign_bundle,
    unpack_untrusted,
    verify_bundle_untrusted,
)
from primegap.keyos.bundle.archive import MANIFEST, SIGNATURE
from primegap.keyos.bundle.manifest import (
    BundleManifest,
    parse_bundle_manifest_untrusted,
    version_number,
)
from primegap.keyos.bundle.signed import HEADER_BYTES, MAGIC, SIGNING_CONTEXT

KEYS = publisher()
OTHER = publisher(2, "Jane Doe")
SIGNED = signed_bundle()
FILES = unpack_untrusted(SIGNED)
Changes = dict[str, Any]


def table(files: dict[str, bytes] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files or FILES)[MANIFEST][HEADER_BYTES:])
    return found


def resigned(
    text: bytes,
    files: dict[str, bytes] | None = None,
    *,
    slots: tuple[object, ...] = (None, KEYS.secp256k1),
    version: str = "1.2.0",
    ml_dsa: object = KEYS.ml_dsa,
    context: bytes = SIGNING_CONTEXT,
) -> bytes:
    """A bundle around any manifest text, signed by somebody who follows no rule of the builder."""
    header = Header.unsigned(
        magic=MAGIC,
        header_bytes=HEADER_BYTES,
        timestamp_s=SIGNED_S,
        date="Apr. 9, 2026",
        version=version,
        size=len(text),
    )
    manifest = sign_image(header, text, slots)  # type: ignore[arg-type]
    signature = ml_dsa.sign(manifest, context)  # type: ignore[attr-defined]
    rest = {name: data for name, data in FILES.items() if name not in (MANIFEST, SIGNATURE)}
    rest = rest if files is None else files
    return pack({MANIFEST: manifest, SIGNATURE: signature, **rest})


def with_changes(**changes: Any) -> bytes:
    return resigned(json.dumps({**table(), **changes}).encode())


def test_a_signed_bundle_says_what_it_is() -> None:
    bundle = verify_bundle_untrusted(SIGNED)
    certificate = parse_certificate_untrusted(KEYS.certificate)
    assert bundle.publisher == certificate
    assert bundle.manifest == BundleManifest(
        app_id=derive_app_id(certificate.fingerprint, "hello"),
        identifier="hello",
        names={"en": "Hello", "de": "Hallo"},
        publisher="Jane Doe",
        description="Says hello.",
        version="1.2.0",
        min_keyos_version="0.1.0",
        entry="hello.app:main",
        storage=True,
        servers={},
        permissions=DESCRIPTION["permissions"],
        file_hashes={name: hashlib.sha256(data).digest() for name, data in bundle.files.items()},
    )
    assert bundle.files == {
        **{f"code/{name}": data for name, data in CODE.items()},
        "publisher.der": KEYS.certificate,
    }
    assert (bundle.signed_s, bundle.sha256) == (SIGNED_S, hashlib.sha256(SIGNED).digest())


def test_the_same_tree_gives_the_same_bytes() -> None:
    unsigned = build_bundle(DESCRIPTION, CODE)
    again = build_bundle(dict(reversed(DESCRIPTION.items())), dict(reversed(CODE.items())))
    assert unsigned == again
    # No compressor and no clock takes part, so the bytes are the same on every machine.
    assert hashlib.sha256(unsigned).hexdigest() == (
        "91c31de2057cad1b63c7b9a59e951979043d427e645a330f24a4a38c748f9a6f"
    )
    one, two = (unpack_untrusted(signed_bundle()) for _ in range(2))
    assert one[MANIFEST] == two[MANIFEST]
    assert one[SIGNATURE] != two[SIGNATURE]  # ML-DSA signs with fresh randomness


@pytest.mark.guarantee("A-1", "A-3", tried="every bit of a signed bundle flipped")
def test_every_flipped_bit_of_the_file_is_refused() -> None:
    for bit in range(0, len(SIGNED) * 8, 3):
        changed = bytearray(SIGNED)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteBundleError):
            verify_bundle_untrusted(bytes(changed))


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_inside_a_file_is_refused_without_help_of_checksums(name: str) -> None:
    data = FILES[name]
    bits = range(len(data) * 8)
    # A prime step through the large ones: every byte position class, and all bits of a byte.
    for bit in bits if len(data) < 200 else bits[:: 37 if name == MANIFEST else 97]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteBundleError):
            verify_bundle_untrusted(pack({**FILES, name: bytes(changed)}))


def without(*names: str) -> dict[str, bytes]:
    return {name: data for name, data in FILES.items() if name not in names}


REFUSED: dict[str, Callable[[], bytes]] = {
    "not signed": lambda: build_bundle(DESCRIPTION, CODE),
    "no post-quantum signature": lambda: pack(without(SIGNATURE)),
    "post-quantum signature cut off": lambda: pack({**FILES, SIGNATURE: FILES[SIGNATURE][:-1]}),
    "post-quantum signature of another bundle": lambda: pack(
        {**FILES, SIGNATURE: unpack_untrusted(signed_bundle(version="1.2.1"))[SIGNATURE]}
    ),
    "post-quantum signature of another publisher": lambda: resigned(
        FILES[MANIFEST][HEADER_BYTES:], ml_dsa=OTHER.ml_dsa
    ),
    "post-quantum signature for another purpose": lambda: resigned(
        FILES[MANIFEST][HEADER_BYTES:], context=b"primegap:other"
    ),
    "signed by another key than the certificate's": lambda: resigned(
        FILES[MANIFEST][HEADER_BYTES:], slots=(None, OTHER.secp256k1)
    ),
    "signed in the place of the system": lambda: resigned(
        FILES[MANIFEST][HEADER_BYTES:], slots=(KEYS.secp256k1,)
    ),
    "signed in both places": lambda: resigned(
        FILES[MANIFEST][HEADER_BYTES:], slots=(OTHER.secp256k1, KEYS.secp256k1)
    ),
    "signed by nobody": lambda: resigned(FILES[MANIFEST][HEADER_BYTES:], slots=()),
    "no certificate": lambda: pack(without("publisher.der")),
    "another publisher's certificate": lambda: pack({**FILES, "publisher.der": OTHER.certificate}),
    "no header": lambda: pack({**FILES, MANIFEST: FILES[MANIFEST][HEADER_BYTES:]}),
}


@pytest.mark.guarantee("A-1", "A-2", tried="signatures missing, exchanged, of others")
@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_signatures_that_do_not_hold(make: Callable[[], bytes]) -> None:
    with pytest.raises(BundleSignatureError):
        verify_bundle_untrusted(make())


@pytest.mark.guarantee("A-3", tried="files that are not listed, missing or exchanged")
def test_a_file_that_is_not_listed_or_not_there_or_another() -> None:
    for files in (
        {**FILES, "code/extra.py": b""},
        without("code/hello/app.py"),
        {**FILES, "code/hello/app.py": b"other"},
    ):
        with pytest.raises(BundleManifestError):
            verify_bundle_untrusted(pack(files))


@pytest.mark.parametrize(
    "changes",
    [
        {"appId": "0x" + "00" * 16},
        {"appId": "0x" + app_id_from_name("Bitcoin").hex()},
        {"appId": table()["appId"].upper()},
        {"appId": 5},
        {"publisher": "Somebody Else"},
        {"publisher": ""},
        {"version": "1.2.1"},
        {"version": "1.2"},
        {"version": "01.2.0"},
        {"manifestVersion": "1"},
        {"identifier": "other"},
        {"identifier": "Hello"},
        {"appName": {"de": "Hallo"}},
        {"appName": {"en": "x" * 25}},
        {"appName": {"en": "Hel\u202elo"}},
        {"appName": {"en": "Bitc\u043ein"}},
        {"appName": {"en": "Hello", "EN": "x"}},
        {"appName": "Hello"},
        {"description": "x" * 121},
        {"description": "two\nlines"},
        {"minKeyosVersion": None},
        {"entry": "hello"},
        {"entry": "hello.app:main:x"},
        {"entry": "../x:main"},
        {"storage": 1},
        {"servers": []},
        {"permissions": None},
        {"unknown": 1},
        {"system": True},
        {"fileHashes": []},
        {"fileHashes": {**table()["fileHashes"], "../x": "00" * 32}},
        {"fileHashes": {**table()["fileHashes"], "manifest.json": "00" * 32}},
        {"fileHashes": {**table()["fileHashes"], "code/more.py": "00" * 32}},
        {"fileHashes": {**table()["fileHashes"], "publisher.der": "00" * 32}},
        {"fileHashes": {**table()["fileHashes"], "publisher.der": "00"}},
        {"fileHashes": {**table()["fileHashes"], "publisher.der": 0}},
    ],
    ids=lambda changes: repr(changes)[:40],
)
def test_manifests_that_are_signed_and_still_refused(changes: Changes) -> None:
    with pytest.raises(BundleManifestError):
        verify_bundle_untrusted(with_changes(**changes))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"\xff",
        b"{",
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
        b'{"a": 1.5}',
        b'{"a": NaN}',
        b"{}" + b" " * (128 << 10),
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(12),
)
def test_texts_that_are_no_manifest(text: bytes) -> None:
    with pytest.raises(BundleManifestError):
        parse_bundle_manifest_untrusted(text)
    with pytest.raises(BundleManifestError):
        verify_bundle_untrusted(resigned(text))


@pytest.mark.guarantee("A-5", tried="an app id of another publisher")
def test_an_app_id_cannot_be_claimed_by_another_publisher() -> None:
    """The secrets of an app come from its id, so nobody else may have it."""
    mine, theirs = (verify_bundle_untrusted(signed_bundle(keys)).manifest for keys in (KEYS, OTHER))
    assert (mine.identifier, mine.publisher) == (theirs.identifier, theirs.publisher)
    assert mine.app_id != theirs.app_id


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ({**DESCRIPTION, "appId": "0x" + "00" * 16}, CODE),
        ({**DESCRIPTION, "storage": "yes"}, CODE),
        ({key: value for key, value in DESCRIPTION.items() if key != "version"}, CODE),
        (DESCRIPTION, {}),
        ({**DESCRIPTION, "entry": "hello.missing:main"}, CODE),
        (DESCRIPTION, {**CODE, "hello/na me.py": b""}),
        (DESCRIPTION, {**CODE, "hello/APP.py": b""}),
    ],
    ids=range(7),
)
def test_what_cannot_be_built(description: dict[str, Any], code: dict[str, bytes]) -> None:
    with pytest.raises(BuildError):
        build_bundle(description, code)


def test_what_cannot_be_signed() -> None:
    with pytest.raises(BuildError):
        sign_bundle(SIGNED, KEYS, timestamp_s=SIGNED_S)
    with pytest.raises(BuildError):
        sign_bundle(b"nothing", KEYS, timestamp_s=SIGNED_S)
    mixed = replace(KEYS, ml_dsa=OTHER.ml_dsa)
    with pytest.raises(BuildError):
        sign_bundle(build_bundle(DESCRIPTION, CODE), mixed, timestamp_s=SIGNED_S)
    mixed = replace(KEYS, secp256k1=OTHER.secp256k1)
    with pytest.raises(BuildError):
        sign_bundle(build_bundle(DESCRIPTION, CODE), mixed, timestamp_s=SIGNED_S)


def test_the_published_app_id() -> None:
    assert app_id_from_name("Example App").hex() == "e55e1b8b85734b4b43d618d76d966640"
    assert app_id_from_name("Example-App") == app_id_from_name("Example App")


def test_versions_sort_as_people_count() -> None:
    ordered = ["0.9.9", "0.10.0-beta.1", "0.10.0", "1.0.0", "10.0.0"]
    assert sorted(ordered, key=version_number) == ordered
    with pytest.raises(BundleManifestError):
        version_number("1")


@pytest.mark.parametrize(
    ("timestamp_s", "text"),
    [
        (4, "Jan. 1, 1970"),
        (1_775_692_800, "Apr. 9, 2026"),
        (1_778_284_800, "May 9, 2026"),
        (1_780_963_200, "June 9, 2026"),
        (1_783_555_200, "July 9, 2026"),
        (1_798_675_200, "Dec. 31, 2026"),
    ],
)
def test_the_date_text_of_a_header(timestamp_s: int, text: str) -> None:
    assert header_date(timestamp_s) == text
