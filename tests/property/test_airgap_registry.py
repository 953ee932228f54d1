"""Typed UR values: what is read encodes to itself; only the room's error comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primegap.airgap import CborError, LocalAirgapError, RemoteAirgapError, Ur, UrPayloadError
from primegap.airgap.ur.registry import (
    AccountDescriptors,
    Branch,
    CoinInfo,
    Generation,
    HdKey,
    Keypath,
    OutputDescriptor,
    Step,
    account_from_ur,
    account_to_ur,
    address_from_ur,
    descriptor_from_text,
    descriptor_from_ur,
    descriptor_to_ur,
    eckey_from_ur,
    hdkey_from_ur,
    hdkey_to_ur,
    key_from_expression,
    seed_from_ur,
    sskr_from_ur,
    words_from_ur,
)
from primegap.airgap.ur.value import Tagged, Value, encode_value, parse_value_untrusted

READERS: Final[dict[str, Callable[[Ur], Any]]] = {
    "crypto-hdkey": hdkey_from_ur,
    "hdkey": hdkey_from_ur,
    "crypto-eckey": eckey_from_ur,
    "crypto-address": address_from_ur,
    "crypto-output": descriptor_from_ur,
    "output-descriptor": descriptor_from_ur,
    "crypto-account": account_from_ur,
    "account-descriptor": account_from_ur,
    "crypto-seed": seed_from_ur,
    "crypto-bip39": words_from_ur,
    "crypto-sskr": sskr_from_ur,
}

TAGS: Final = st.sampled_from(
    [1, 100, 303, 304, 305, 306, 308, 40303, 40304, 40308, *range(400, 411)]
)
LEAVES: Final = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([0, 1 << 31, (1 << 32) - 1, 1 << 32]),
    st.booleans(),
    st.none(),
    st.text(max_size=4),
    st.sampled_from([16, 20, 32, 33, 65]).map(bytes),
    st.sampled_from([b"\x02" + bytes(32), b"\x04" + bytes(64), b"x"]),
)
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.integers(0, 11), inner, max_size=5),
        st.builds(Tagged, TAGS, inner),
    ),
    max_leaves=14,
)
STEPS: Final = st.builds(
    Step, st.one_of(st.none(), st.integers(0, (1 << 31) - 1)), hardened=st.booleans()
)
INDEXES: Final = st.builds(Step, st.integers(0, (1 << 31) - 1), hardened=st.booleans())
PATHS: Final = st.lists(INDEXES, min_size=1, max_size=6).map(tuple)
BELOW: Final = st.lists(
    st.one_of(STEPS, st.builds(Branch, INDEXES, INDEXES)), min_size=1, max_size=3
).map(tuple)
KEYS: Final = st.builds(
    HdKey,
    st.binary(min_size=32, max_size=32).map(lambda data: b"\x02" + data),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([None, CoinInfo(network=1)]),
    st.builds(
        lambda items, fingerprint: Keypath(items, fingerprint, len(items)),
        PATHS,
        st.integers(0, (1 << 32) - 1),
    ),
    st.builds(Keypath, BELOW),
    st.integers(1, (1 << 32) - 1),
)


def descriptors() -> st.SearchStrategy[OutputDescriptor]:
    single = st.builds(
        OutputDescriptor,
        st.sampled_from(["wpkh(@0)", "pkh(@0)", "sh(wpkh(@0))", "tr(@0)", "sh(wsh(pk(@0)))"]),
        st.tuples(KEYS),
    )

    def multi(keys: list[HdKey], name: str, threshold: int) -> OutputDescriptor:
        places = ",".join(f"@{at}" for at in range(len(keys)))
        source = f"{name}({min(threshold, len(keys))},{places})"
        return OutputDescriptor(f"wsh({source})", tuple(keys))

    several = st.builds(
        multi,
        st.lists(KEYS, min_size=1, max_size=5, unique=True),
        st.sampled_from(["multi", "sortedmulti"]),
        st.integers(1, 5),
    )
    return st.one_of(single, several)


@given(VALUES)
def test_values_round_trip(value: Value) -> None:
    assert parse_value_untrusted(encode_value(value)) == value


@given(st.sampled_from(sorted(READERS)), VALUES)
def test_readers_raise_their_own_error_only(ur_type: str, value: Value) -> None:
    with contextlib.suppress(RemoteAirgapError):
        READERS[ur_type](Ur(ur_type, encode_value(value)))


@given(st.binary(max_size=60))
def test_no_bytes_make_the_value_reader_fail(data: bytes) -> None:
    with contextlib.suppress(CborError):
        value = parse_value_untrusted(data)
        assert parse_value_untrusted(encode_value(value)) == value


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(KEYS, st.sampled_from(Generation))
def test_keys_round_trip_as_ur_and_as_text(key: HdKey, generation: Generation) -> None:
    assert hdkey_from_ur(hdkey_to_ur(key, generation)) == key
    assert key_from_expression(key.expression()) == key
    bare = key_from_expression(key.xpub())
    assert isinstance(bare, HdKey)
    assert bare.expression() == key.xpub()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(descriptors(), st.sampled_from(Generation))
def test_descriptors_round_trip(descriptor: OutputDescriptor, generation: Generation) -> None:
    assert descriptor_from_ur(descriptor_to_ur(descriptor, generation)) == descriptor
    text = str(descriptor)
    assert str(descriptor_from_text(f"{text}#xxxxxxxx")) == text


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(descriptors(), max_size=3).map(tuple), st.sampled_from(Generation))
def test_accounts_round_trip(members: tuple[OutputDescriptor, ...], generation: Generation) -> None:
    account = AccountDescriptors(0x12345678, members)
    assert account_from_ur(account_to_ur(account, generation)) == account


XPUB: Final = (
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJ"
    "Y47LJhkJ8UB7WEGuduB"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wpkh()",
        "addr(bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4)",
        "wpkh(xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi)",
        "wpkh(KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn)",
        f"wpkh([00000000/0']{XPUB[:-1]}1/0/*)",
        f"wpkh({XPUB}/2147483648/*)",
        f"wpkh([d34db33f/84'/0'/0']{XPUB}/0/*)",
        f"wsh(multi(2,{XPUB}/<0;1;2>/*))",
    ],
)
def test_texts_that_are_no_public_descriptor(text: str) -> None:
    with pytest.raises(LocalAirgapError):
        descriptor_from_text(text)


def test_miniscript_needs_the_second_generation() -> None:
    descriptor = descriptor_from_text(f"wsh(and_v(v:pk({XPUB}/<0;1>/*),older(144)))", "Vault")
    with pytest.raises(LocalAirgapError):
        descriptor_to_ur(descriptor)
    assert descriptor_from_ur(descriptor_to_ur(descriptor, Generation.V2)) == descriptor


KEY: Final = b"\x02" + bytes(32)


@pytest.mark.parametrize(
    "value",
    [
        {1: "wpkh(@0)", 2: []},
        {1: "wpkh(@1)", 2: [Tagged(40303, {3: KEY})]},
        {1: "wpkh(@0)@", 2: [Tagged(40303, {3: KEY})]},
        {1: "wpkh(@0)\n", 2: [Tagged(40303, {3: KEY})]},
        {1: "wpkh(@0)", 2: [Tagged(40303, {3: KEY})], 5: "new"},
        {1: "wpkh(@0)", 2: [Tagged(40303, {3: KEY, 11: 1})]},
        {1: "wpkh(@0)", 2: [Tagged(40303, {3: KEY, 6: Tagged(304, {1: [44]})})]},
        {1: "wpkh(@0)", 2: [Tagged(40303, {3: KEY, 6: Tagged(304, {1: [[5, 4], True]})})]},
        {1: "wpkh(@0)", 2: [Tagged(40303, {3: KEY, 6: Tagged(304, {1: [1 << 31, True]})})]},
        {1: "wpkh(@0)", 2: [{3: KEY}]},
        {1: "x" * 5000, 2: [Tagged(40303, {3: KEY})]},
        Tagged(406, {1: 2, 2: [Tagged(306, {3: KEY})]}),
        Tagged(400, Tagged(400, Tagged(400, Tagged(403, Tagged(306, {3: KEY}))))),
        Tagged(408, b"raw"),
        Tagged(401, 7),
    ],
    ids=str,
)
def test_descriptors_with_something_that_is_not_understood(value: Value) -> None:
    with pytest.raises(UrPayloadError):
        descriptor_from_ur(Ur("crypto-output", encode_value(value)))
