"""Bundles under random use: one spelling for each set of files, and typed errors for the rest."""

from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle_kit import publisher, signed_bundle

from primegap.cosign import Header, ImageError, parse_header_untrusted, verify_image_untrusted
from primegap.keyos.bundle import (
    ArchiveError,
    BuildError,
    BundleManifestError,
    CertificateError,
    RemoteBundleError,
    pack,
    parse_certificate_untrusted,
    unpack_untrusted,
    verify_bundle_untrusted,
)
from primegap.keyos.bundle.archive import gunzip_stored_untrusted, gzip_stored
from primegap.keyos.bundle.manifest import parse_bundle_manifest_untrusted

PART = st.text("abcXYZ019_-.~ é", min_size=1, max_size=6)
NAME = st.lists(PART, min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(NAME, st.binary(max_size=1200), max_size=6)
SIGNED = signed_bundle()
TAR = gunzip_stored_untrusted(SIGNED)


@given(files=FILES)
def test_what_can_be_packed_unpacks_to_the_same_and_other_tools_agree(
    files: dict[str, bytes],
) -> None:
    files = {**files, "manifest.json": b"{}"}
    try:
        packed = pack(files)
    except BuildError:
        return
    assert unpack_untrusted(packed) == files
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert sorted(tar.getnames()) == sorted(files)


@given(data=st.binary(max_size=2000))
def test_whatever_unpacks_has_no_other_spelling(data: bytes) -> None:
    for candidate in (data, gzip_stored(data)):
        with contextlib.suppress(ArchiveError):
            assert pack(unpack_untrusted(candidate)) == candidate


@pytest.mark.guarantee("A-3", tried="random patches of a bundle")
@given(at=st.integers(0, len(TAR) - 1), patch=st.binary(min_size=1, max_size=600))
def test_a_patched_bundle_is_refused(at: int, patch: bytes) -> None:
    changed = TAR[:at] + patch + TAR[at + len(patch) :]
    if changed == TAR:
        return
    try:
        verify_bundle_untrusted(gzip_stored(changed))
    except RemoteBundleError:
        return
    raise AssertionError("a changed bundle was accepted")


@pytest.mark.guarantee("A-3", tried="bundles cut off")
@given(cut=st.integers(0, len(SIGNED) - 1))
@settings(max_examples=50)
def test_a_bundle_cut_off_is_refused(cut: int) -> None:
    try:
        verify_bundle_untrusted(SIGNED[:cut])
    except ArchiveError:
        return
    raise AssertionError("half a bundle was accepted")


@given(data=st.binary(max_size=400), at=st.integers(0, 2000), patch=st.binary(max_size=8))
def test_certificates_fail_with_one_error(data: bytes, at: int, patch: bytes) -> None:
    certificate = publisher().certificate
    for candidate in (data, certificate[:at] + patch + certificate[at + len(patch) :]):
        with contextlib.suppress(CertificateError):
            parse_certificate_untrusted(candidate)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(data=st.binary(max_size=300) | JSON.map(lambda value: repr(value).encode()))
def test_manifests_fail_with_one_error(data: bytes) -> None:
    with contextlib.suppress(BundleManifestError):
        parse_bundle_manifest_untrusted(data)


@given(data=st.binary(max_size=300), size=st.integers(200, 300))
def test_headers_fail_with_one_error_and_encode_to_themselves(data: bytes, size: int) -> None:
    image = b"PRM1" + data
    with contextlib.suppress(ImageError):
        header = parse_header_untrusted(image, magic=b"PRM1", header_bytes=size)
        assert isinstance(header, Header)
        assert header.encode() == image[:size]
    with contextlib.suppress(ImageError):
        verify_image_untrusted(image, known_keys=(), magic=b"PRM1", header_bytes=size)
