"""Identities, bundles, secrets, errors and the public names of the package."""

from __future__ import annotations

import copy
import inspect
import pickle
import random

import pytest

import primegap.quantumlink as package
from primegap.quantumlink import (
    MAX_NAME_BYTES,
    NATIVE,
    REFERENCE,
    SUITES,
    Handshake,
    Identity,
    InvalidRemoteBundleError,
    InvalidVersionError,
    Invite,
    LocalError,
    PairingToken,
    Pattern,
    PeerBundle,
    QuantumLinkError,
    RemoteError,
    SecretBytes,
    SessionOpener,
    SessionSealer,
    Suite,
    TransportParams,
    derive_qid,
    suite_for_version,
)
from primegap.quantumlink import errors as errors_module
from primegap.quantumlink.symmetric import SymmetricState

every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: str(suite.name))


@every_suite
def test_identity_is_made_from_the_source_given(suite: Suite) -> None:
    drawn: list[int] = []

    def rng(size: int) -> bytes:
        drawn.append(size)
        return random.Random(5).randbytes(size)

    identity = Identity.generate(suite, "Küche", rng, capabilities=7)
    assert drawn == [suite.kem.seed_size]
    again = Identity.generate(suite, "Küche", rng, capabilities=7)
    assert again.bundle == identity.bundle
    assert identity.bundle.capabilities == 7
    assert identity.name == identity.bundle.name == "Küche"
    assert identity.qid == derive_qid(suite, identity.bundle.public_key)
    identity.bundle.validate()


@every_suite
def test_identity_survives_storage(suite: Suite) -> None:
    identity = Identity.generate(suite, "alice", random.Random(1).randbytes, capabilities=9)
    stored = identity.to_stored()
    again = Identity.from_stored(stored)
    assert again.suite is suite
    assert again.bundle == identity.bundle
    secret = suite.kem.encapsulate(identity.bundle.public_key)
    assert again.private_key.decapsulate(secret[0]) == secret[1]


@every_suite
def test_damaged_storage_is_refused(suite: Suite) -> None:
    stored = Identity.generate(suite, "alice", random.Random(1).randbytes).to_stored().reveal()
    for damaged in (stored[:-1], stored + b"\0", b"\x07" + stored[1:], stored[:1], stored[:40]):
        with pytest.raises(LocalError) as caught:
            Identity.from_stored(SecretBytes(damaged))
        assert caught.value.__cause__ is None


@every_suite
def test_names_are_bounded_text(suite: Suite) -> None:
    seed = bytes(suite.kem.seed_size)
    Identity.from_seed(suite, "n" * MAX_NAME_BYTES, seed)
    for name in ("n" * (MAX_NAME_BYTES + 1), "ü" * MAX_NAME_BYTES, "\ud800"):
        with pytest.raises(LocalError):
            Identity.from_seed(suite, name, seed)
    for size in (0, suite.kem.seed_size - 1, suite.kem.seed_size + 1):
        with pytest.raises(LocalError):
            Identity.from_seed(suite, "n", bytes(size))
    for capabilities in (-1, 2**32):
        with pytest.raises(LocalError):
            Identity.from_seed(suite, "n", seed, capabilities=capabilities)


def test_long_name_of_a_peer_is_refused() -> None:
    key = Identity.from_seed(NATIVE, "n", bytes(32)).bundle.public_key
    qid = derive_qid(NATIVE, key)
    PeerBundle(NATIVE, qid, key, "n" * MAX_NAME_BYTES).validate()
    encoded = PeerBundle(NATIVE, qid, key, "n" * (MAX_NAME_BYTES + 1)).encode()
    with pytest.raises(InvalidRemoteBundleError):
        PeerBundle.parse_untrusted(encoded, NATIVE).validate()


def test_bundles_of_two_suites_differ() -> None:
    one = Identity.from_seed(NATIVE, "n", bytes(32)).bundle
    other = Identity.from_seed(REFERENCE, "n", bytes(64)).bundle
    assert one != other
    assert len({one, other, one}) == 2
    for bundle in (one, other):
        assert copy.deepcopy(bundle) == pickle.loads(pickle.dumps(bundle)) == bundle


def test_unknown_version_has_no_suite() -> None:
    assert suite_for_version(0x82) is NATIVE
    assert suite_for_version(0x02) is REFERENCE
    for version in (0, 1, 3, 0x80, 0x81, 0x83, 255):
        with pytest.raises(InvalidVersionError):
            suite_for_version(version)


# --- secrets --------------------------------------------------------------------------------------


SECRET = bytes(range(0x40, 0x60))


def secret_objects() -> list[object]:
    identity = Identity.from_seed(NATIVE, "alice", SECRET)
    token = PairingToken(SECRET[:16])
    attempt, _ = Handshake.initiate(
        Pattern.XX,
        suite=NATIVE,
        identity=identity,
        remote=identity.qid,
        token=token,
        handshake_id=1,
        params=TransportParams(),
        rng=lambda size: SECRET[:size],
    )
    key = SecretBytes(SECRET)
    return [
        key,
        identity,
        identity.private_key,
        token,
        Invite(NATIVE, identity.qid, token),
        attempt,
        SymmetricState.start(NATIVE, Pattern.IK).mix_key(SECRET),
        SessionSealer(NATIVE, key, identity.qid, identity.qid),
        SessionOpener(REFERENCE, key, identity.qid, identity.qid),
    ]


def test_secrets_show_nothing_and_are_not_copied() -> None:
    for value in secret_objects():
        for text in (repr(value), str(value), f"{value!r}"):
            assert SECRET[:4].decode() not in text
            assert SECRET[:4].hex() not in text
        with pytest.raises(TypeError, match="never serialised"):
            pickle.dumps(value)
        with pytest.raises(TypeError, match="never serialised"):
            copy.deepcopy(value)


def test_secret_bytes_compare_and_wipe() -> None:
    key = SecretBytes(SECRET)
    assert key == SecretBytes(bytearray(SECRET))
    assert key != SecretBytes(bytes(32))
    assert key != SECRET
    assert len(key) == 32
    key.wipe()
    with pytest.raises(LocalError):
        key.reveal()


# --- public surface -------------------------------------------------------------------------------


def test_every_public_name_is_declared_and_documented() -> None:
    names = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(package.__all__) == names - {"annotations"}
    undocumented = [
        name
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) or inspect.isfunction(getattr(package, name))
        if not getattr(package, name).__doc__
    ]
    assert undocumented == []


def test_errors_have_codes_and_hints() -> None:
    classes = [
        value
        for value in vars(errors_module).values()
        if inspect.isclass(value) and issubclass(value, QuantumLinkError)
    ]
    concrete = [c for c in classes if issubclass(c, RemoteError)]
    assert len({c.name for c in concrete}) == len(concrete)
    assert len({c.code for c in concrete}) == len(concrete)
    for error in classes:
        assert error.code.startswith("quantumlink")
        assert error.hint.endswith(".")
    assert not any(issubclass(c, RemoteError) and issubclass(c, LocalError) for c in classes)
