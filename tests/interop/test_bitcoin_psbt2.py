"""PSBT version 2 (BIP-370): embit writes, we review and sign, embit reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.bitcoin_kit import (
    edit_global,
    edit_input,
    edit_output,
    engine_accepts,
    funded_wallet,
    spent_coins,
)

from primegap.bitcoin.errors import (
    MapCountError,
    PsbtFormatError,
    PsbtRefusedError,
    TooComplexError,
    UnsignedTransactionError,
)
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.psbt import Psbt, PsbtMap, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import GlobalField, InputField, OutputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt

WALLET = funded_wallet()
VERSION_0 = WALLET.pay(180_000)


def by_embit(psbt: bytes) -> bytes:
    """Write a PSBT again in version 2."""
    from embit.psbt import PSBT

    parsed = PSBT.parse(psbt)
    parsed.version = 2
    written: bytes = parsed.serialize()
    return written


VERSION_2 = by_embit(VERSION_0)


def signed(psbt: bytes) -> bytes:
    review = review_psbt(psbt, WALLET.account)
    return sign_psbt(psbt, review, review.digest, WALLET.account, WALLET.signer)


def test_both_versions_are_one_transaction() -> None:
    old, new = parse_psbt_untrusted(VERSION_0), parse_psbt_untrusted(VERSION_2)
    assert (old.version, new.version) == (0, 2)
    assert new.transaction == old.transaction
    assert new.unsigned_bytes == old.unsigned_bytes
    assert new.serialise() == VERSION_2
    assert review_psbt(VERSION_2, WALLET.account) == review_psbt(VERSION_0, WALLET.account)
    assert parse_psbt_untrusted(new.as_version_0().serialise()).transaction == old.transaction


def test_what_is_signed_stays_version_2_and_can_be_finished() -> None:
    from embit.psbt import PSBT

    result = signed(VERSION_2)
    assert PSBT.parse(result).version == 2
    one, other = parse_psbt_untrusted(result), parse_psbt_untrusted(signed(VERSION_0))
    for mine, theirs in zip(one.inputs, other.inputs, strict=True):
        assert mine.items(InputField.PARTIAL_SIG) == theirs.items(InputField.PARTIAL_SIG)
    raw = finalise(merge_signed(VERSION_2, result)).raw
    assert engine_accepts(raw, spent_coins(VERSION_0))


def test_nothing_may_be_added_to_what_we_signed() -> None:
    for before, after in ((3, 0), (7, 4), (0, 0)):
        open_ = edit_global(VERSION_2, GlobalField.TX_MODIFIABLE, bytes((before,)))
        header = parse_psbt_untrusted(signed(open_)).globals
        assert header.value(GlobalField.TX_MODIFIABLE) == bytes((after,))


def with_locks(*locks: tuple[int, int]) -> Psbt:
    """Ask for a time and a height on each input; 0 asks for none."""
    psbt = VERSION_2
    for position, (time, height) in enumerate(locks):
        for field, value in (
            (InputField.REQUIRED_TIME, time),
            (InputField.REQUIRED_HEIGHT, height),
        ):
            if value:
                psbt = edit_input(psbt, position, field, value.to_bytes(4, "little"))
    return parse_psbt_untrusted(psbt)


T, U = 500_000_000, 500_000_009


def test_lock_times_follow_the_inputs() -> None:
    assert (
        with_locks().transaction.lock_time == parse_psbt_untrusted(VERSION_0).transaction.lock_time
    )
    fallback = edit_global(VERSION_2, GlobalField.FALLBACK_LOCK_TIME, bytes((9, 0, 0, 0)))
    assert parse_psbt_untrusted(fallback).transaction.lock_time == 9
    for locks, expected in (
        (((0, 5), (0, 7)), 7),
        (((T, 5), (U, 7)), 7),
        (((T, 5), (U, 0)), U),
        (((0, 0), (T, 0)), T),
    ):
        assert with_locks(*locks).transaction.lock_time == expected
    with pytest.raises(UnsignedTransactionError):
        with_locks((0, 5), (T, 0))


@pytest.mark.parametrize(
    "field",
    [GlobalField.TX_VERSION, GlobalField.INPUT_COUNT, GlobalField.OUTPUT_COUNT],
)
def test_fields_of_the_header_that_are_needed(field: GlobalField) -> None:
    parsed = parse_psbt_untrusted(VERSION_2)
    key = bytes((field,))
    header = PsbtMap(tuple(entry for entry in parsed.globals.entries if entry[0] != key))
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(replace(parsed, globals=header).serialise())


@pytest.mark.parametrize("field", [InputField.PREVIOUS_TXID, InputField.OUTPUT_INDEX])
def test_fields_of_inputs_that_are_needed(field: InputField) -> None:
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(edit_input(VERSION_2, 0, field, None))


@pytest.mark.parametrize("field", [OutputField.AMOUNT, OutputField.SCRIPT])
def test_fields_of_outputs_that_are_needed(field: OutputField) -> None:
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(edit_output(VERSION_2, 0, field, None))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (InputField.PREVIOUS_TXID, bytes(31)),
        (InputField.OUTPUT_INDEX, bytes(5)),
        (InputField.SEQUENCE, bytes(3)),
        (InputField.REQUIRED_TIME, (499_999_999).to_bytes(4, "little")),
        (InputField.REQUIRED_HEIGHT, bytes(4)),
        (InputField.REQUIRED_HEIGHT, T.to_bytes(4, "little")),
    ],
)
def test_fields_of_inputs_have_their_form(field: InputField, value: bytes) -> None:
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(edit_input(VERSION_2, 0, field, value))


def test_the_two_versions_do_not_mix() -> None:
    header = parse_psbt_untrusted(VERSION_0)
    for field in range(GlobalField.TX_VERSION, GlobalField.TX_MODIFIABLE + 1):
        with pytest.raises(PsbtFormatError):
            parse_psbt_untrusted(edit_global(VERSION_0, field, bytes(4)))
    for number in range(InputField.PREVIOUS_TXID, InputField.REQUIRED_HEIGHT + 1):
        with pytest.raises(PsbtFormatError):
            parse_psbt_untrusted(edit_input(VERSION_0, 0, number, bytes(4)))
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(edit_global(VERSION_2, 0, header.unsigned_bytes))


def test_counts_that_lie() -> None:
    for field, count, error in (
        (GlobalField.INPUT_COUNT, b"\x09", PsbtRefusedError),
        (GlobalField.OUTPUT_COUNT, b"\x63", MapCountError),
        (GlobalField.INPUT_COUNT, b"\xfe\xff\xff\xff\xff", TooComplexError),
        (GlobalField.INPUT_COUNT, b"\x01\x00", PsbtFormatError),
    ):
        with pytest.raises(error):
            parse_psbt_untrusted(edit_global(VERSION_2, field, count))


def test_amounts_are_within_all_the_bitcoin_there_is() -> None:
    with pytest.raises(UnsignedTransactionError):
        parse_psbt_untrusted(edit_output(VERSION_2, 0, OutputField.AMOUNT, b"\xff" * 8))


def test_every_cut_is_refused() -> None:
    for size in range(0, len(VERSION_2), 7):
        with pytest.raises(PsbtRefusedError):
            parse_psbt_untrusted(VERSION_2[:size])
