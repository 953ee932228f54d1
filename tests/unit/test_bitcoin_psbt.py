"""The form of PSBTs and transactions: one byte string for each value, bounds on everything."""

from __future__ import annotations

from base64 import b64encode

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import edit_global, edit_input, edit_output, funded_wallet, raw_psbt

from primegap.bitcoin import psbt as psbt_module
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.errors import (
    DerivationFieldError,
    KeyFieldError,
    MapCountError,
    PsbtDuplicateKeyError,
    PsbtFormatError,
    PsbtMagicError,
    PsbtRefusedError,
    PsbtTrailingBytesError,
    PsbtVersionError,
    TooComplexError,
    TransactionFormatError,
    UnsignedTransactionError,
)
from primegap.bitcoin.psbt import MAX_PSBT_BYTES, PsbtMap, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import (
    InputField,
    OutputField,
    read_derivations,
    read_final_witness,
    read_tap_derivations,
    read_witness_utxo,
)
from primegap.bitcoin.scripts import (
    ScriptType,
    classify_script,
    decode_op_return,
    dust_limit,
)
from primegap.bitcoin.transaction import TxOutput, parse_transaction_untrusted
from primegap.bitcoin.wire import Cursor, encode_bytes, encode_count

PSBT = funded_wallet().pay(160_000)
UNSIGNED = parse_psbt_untrusted(PSBT).unsigned_bytes


def test_what_is_parsed_is_given_back() -> None:
    assert parse_psbt_untrusted(PSBT).serialise() == PSBT


def test_every_cut_is_refused() -> None:
    for size in range(len(PSBT)):
        with pytest.raises(PsbtRefusedError):
            parse_psbt_untrusted(PSBT[:size])


@pytest.mark.parametrize("tail", [b"\0", b"\xff", PSBT, b"\0" * 100])
def test_bytes_behind_the_end_are_refused_though_bdk_accepts_them(tail: bytes) -> None:
    bdk.Psbt(b64encode(PSBT + tail).decode())
    with pytest.raises(PsbtTrailingBytesError):
        parse_psbt_untrusted(PSBT + tail)


@pytest.mark.parametrize(
    "data", [b"", b"psbt", b"psbt\xfe", b"PSBT\xff", UNSIGNED, b64encode(PSBT)]
)
def test_other_beginnings(data: bytes) -> None:
    with pytest.raises(PsbtMagicError):
        parse_psbt_untrusted(data)


def test_only_versions_zero_and_two() -> None:
    parse_psbt_untrusted(edit_global(PSBT, 0xFB, bytes(4)))
    for version in (1, 3, 0xFFFF_FFFF):
        with pytest.raises(PsbtVersionError):
            parse_psbt_untrusted(edit_global(PSBT, 0xFB, version.to_bytes(4, "little")))
    with pytest.raises(PsbtFormatError):
        parse_psbt_untrusted(edit_global(PSBT, 0xFB, bytes(3)))


# --- maps ---------------------------------------------------------------------------------------


def test_the_same_key_twice() -> None:
    field = b"\x01\x0a" + b"\x01\x00"
    with pytest.raises(PsbtDuplicateKeyError):
        parse_psbt_untrusted(raw_psbt(UNSIGNED, field + field + b"\0"))


def test_types_and_lengths_have_one_form() -> None:
    long_type = b"\x04\xfd\x06\x00\x02" + b"\x01\x00"
    long_length = b"\xfd\x02\x00\x06\x02" + b"\x01\x00"
    for field in (long_type, long_length):
        with pytest.raises(PsbtFormatError):
            parse_psbt_untrusted(raw_psbt(UNSIGNED, field + b"\0", b"\0", b"\0"))


def test_long_types_pass_through() -> None:
    field = encode_bytes(encode_count(0x1234) + b"key") + encode_bytes(b"value")
    data = raw_psbt(UNSIGNED, field + b"\0", b"\0", b"\0", b"\0")
    parsed = parse_psbt_untrusted(data)
    assert parsed.inputs[0].items(0x1234) == ((b"key", b"value"),)
    assert parsed.serialise() == data


def test_too_many_fields() -> None:
    def maps(count: int) -> bytes:
        fields = (b"\x03\xf0" + n.to_bytes(2, "big") + b"\x00" for n in range(count))
        return raw_psbt(UNSIGNED, b"".join(fields) + b"\0", b"\0", b"\0", b"\0")

    parse_psbt_untrusted(maps(psbt_module.MAX_FIELDS))
    with pytest.raises(TooComplexError):
        parse_psbt_untrusted(maps(psbt_module.MAX_FIELDS + 1))


def test_too_many_bytes() -> None:
    with pytest.raises(TooComplexError):
        parse_psbt_untrusted(PSBT + bytes(MAX_PSBT_BYTES))


def transaction_of(inputs: int, outputs: int) -> bytes:
    one_input = b"\x11" * 32 + bytes(4) + b"\0" + b"\xff" * 4
    one_output = (1000).to_bytes(8, "little") + encode_bytes(b"\x00\x14" + bytes(20))
    return (
        b"\x02\0\0\0"
        + encode_count(inputs)
        + one_input * inputs
        + encode_count(outputs)
        + one_output * outputs
        + bytes(4)
    )


@pytest.mark.parametrize(("inputs", "outputs"), [(1025, 1), (1, 2049)])
def test_too_many_inputs_or_outputs(inputs: int, outputs: int) -> None:
    unsigned = transaction_of(inputs, outputs)
    with pytest.raises(TooComplexError):
        parse_psbt_untrusted(raw_psbt(unsigned, b"\0" * (inputs + outputs)))


def test_a_map_for_each_input_and_output() -> None:
    count = len(parse_psbt_untrusted(PSBT).inputs) + 2
    parse_psbt_untrusted(raw_psbt(UNSIGNED, b"\0" * count))
    with pytest.raises(MapCountError):
        parse_psbt_untrusted(raw_psbt(UNSIGNED, b"\0" * (count - 1)))
    with pytest.raises(PsbtTrailingBytesError):
        parse_psbt_untrusted(raw_psbt(UNSIGNED, b"\0" * (count + 1)))


def test_a_count_that_lies_costs_nothing() -> None:
    unsigned = b"\x02\0\0\0" + b"\xff" + b"\xff" * 8
    with pytest.raises(UnsignedTransactionError):
        parse_psbt_untrusted(raw_psbt(unsigned))


@pytest.mark.parametrize(
    "unsigned",
    [
        b"",
        UNSIGNED[:-1],
        UNSIGNED + b"\0",
        UNSIGNED[:4] + b"\0\x01" + UNSIGNED[4:],
        UNSIGNED[:4] + b"\xfd\x02\x00" + UNSIGNED[5:],
    ],
    ids=["empty", "short", "long", "witness form", "long count"],
)
def test_bad_unsigned_transactions(unsigned: bytes) -> None:
    with pytest.raises(UnsignedTransactionError):
        parse_psbt_untrusted(raw_psbt(unsigned, b"\0" * 4))


# --- fields -------------------------------------------------------------------------------------

KEY = b"\x02" + b"\x11" * 32


@pytest.mark.parametrize(
    ("kind", "key_data", "value", "error"),
    [
        (InputField.WITNESS_UTXO, b"\0", b"", PsbtFormatError),
        (InputField.SIGHASH_TYPE, b"", bytes(3), PsbtFormatError),
        (InputField.SIGHASH_TYPE, b"", bytes(5), PsbtFormatError),
        (InputField.PARTIAL_SIG, KEY[:-1], bytes(71), KeyFieldError),
        (InputField.PARTIAL_SIG, b"\x04" + bytes(32), bytes(71), KeyFieldError),
        (InputField.PARTIAL_SIG, b"\x02" + bytes(64), bytes(71), KeyFieldError),
        (InputField.PARTIAL_SIG, b"", bytes(71), KeyFieldError),
        (InputField.PARTIAL_SIG, KEY, bytes(8), PsbtFormatError),
        (InputField.PARTIAL_SIG, KEY, bytes(74), PsbtFormatError),
        (InputField.DERIVATION, KEY[1:], bytes(8), KeyFieldError),
        (0x0A, bytes(32), b"", PsbtFormatError),
        (0x0E, b"", bytes(32), PsbtFormatError),
        (0x10, b"", bytes(4), PsbtFormatError),
        (InputField.TAP_KEY_SIG, b"", bytes(63), PsbtFormatError),
        (InputField.TAP_LEAF_SCRIPT, bytes(34), b"\xc0", PsbtFormatError),
        (InputField.TAP_LEAF_SCRIPT, bytes(33), b"", PsbtFormatError),
    ],
)
def test_fields_of_inputs_have_their_form(
    kind: int, key_data: bytes, value: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parse_psbt_untrusted(edit_input(PSBT, 0, kind, value, key_data))


@pytest.mark.parametrize(
    ("kind", "key_data", "value", "error"),
    [
        (OutputField.DERIVATION, KEY[1:], bytes(8), KeyFieldError),
        (0x03, b"", bytes(8), PsbtFormatError),
        (0x04, b"", b"\x6a", PsbtFormatError),
        (OutputField.TAP_INTERNAL_KEY, b"", bytes(33), PsbtFormatError),
        (OutputField.TAP_DERIVATION, KEY, bytes(8), PsbtFormatError),
    ],
)
def test_fields_of_outputs_have_their_form(
    kind: int, key_data: bytes, value: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        parse_psbt_untrusted(edit_output(PSBT, 0, kind, value, key_data))


def one(kind: int, key_data: bytes, value: bytes) -> PsbtMap:
    return PsbtMap(((encode_count(kind) + key_data, value),))


def test_derivations() -> None:
    origin = bytes.fromhex("73c5da0a") + (84 | 1 << 31).to_bytes(4, "little") + bytes(4)
    (claim,) = read_derivations(one(6, KEY, origin), InputField.DERIVATION)
    assert (claim.public_key, claim.fingerprint) == (KEY, "73c5da0a")
    assert claim.path == (84 | 1 << 31, 0)


@pytest.mark.parametrize("size", [0, 3, 4, 7, 9, 4 + 4 * 13])
def test_bad_derivations(size: int) -> None:
    with pytest.raises(DerivationFieldError):
        read_derivations(one(6, KEY, bytes(size)), InputField.DERIVATION)


def test_taproot_derivations() -> None:
    leaf = b"\x01" + b"\x22" * 32
    for value, depth in (
        (b"\0" + bytes(4), 0),
        (b"\0" + bytes(8), 1),
        (leaf + bytes(8), 1),
    ):
        (claim,) = read_tap_derivations(one(0x16, KEY[1:], value), InputField.TAP_DERIVATION)
        assert len(claim.path) == depth
    for value in (b"", leaf + bytes(4), leaf[:-1], b"\xff" * 9, b"\0" + bytes(3)):
        with pytest.raises(DerivationFieldError):
            read_tap_derivations(one(0x16, KEY[1:], value), InputField.TAP_DERIVATION)


def test_values_that_are_parsed_on_use() -> None:
    for value in (b"", bytes(8), bytes(8) + b"\x01", b"\xff" * 8 + b"\0", bytes(9) + b"\0"):
        with pytest.raises(PsbtFormatError):
            read_witness_utxo(one(InputField.WITNESS_UTXO, b"", value))
    for value in (b"", b"\x01", b"\x01\x02\x00", b"\x00\x00"):
        with pytest.raises(PsbtFormatError):
            read_final_witness(one(InputField.FINAL_SCRIPT_WITNESS, b"", value))
    assert read_final_witness(one(8, b"", b"\x02\x01a\x00")) == (b"a", b"")
    assert read_final_witness(PsbtMap()) is None


# --- transactions -------------------------------------------------------------------------------

SEGWIT = bytes.fromhex(
    "01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000017160014"
    "79091972186c449eb1ded22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a"
    "45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02"
    "473044022047ac8e878352d3ebbde1c94ce3a10d057c24175747116f8288e5d794d12d482f0220217f36a485cae903"
    "c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e89212f0b92c74d23bb710c00662ad14701"
    "98ac48c43f7d6f93a2a2687392040000"
)
"The signed P2SH-P2WPKH example of BIP-143."


def test_transactions_are_what_bdk_says() -> None:
    transaction, other = parse_transaction_untrusted(SEGWIT), bdk.Transaction(SEGWIT)
    assert transaction.serialise() == SEGWIT
    assert transaction.txid == other.compute_txid().serialize()
    assert transaction.vsize_vb == other.vsize()
    assert str(transaction.inputs[0].outpoint) == (
        f"{other.input()[0].previous_output.txid}:{other.input()[0].previous_output.vout}"
    )


def test_every_cut_of_a_transaction_is_refused() -> None:
    for size in range(len(SEGWIT)):
        with pytest.raises(TransactionFormatError):
            parse_transaction_untrusted(SEGWIT[:size])


def test_transactions_have_one_form() -> None:
    empty_witness = transaction_of(1, 1)
    empty_witness = empty_witness[:4] + b"\0\1" + empty_witness[4:-4] + b"\0" + empty_witness[-4:]
    wrong_flag = SEGWIT[:5] + b"\x02" + SEGWIT[6:]
    too_much = transaction_of(1, 1).replace(
        (1000).to_bytes(8, "little"), (21_000_000 * 10**8 + 1).to_bytes(8, "little")
    )
    for data in (SEGWIT + b"\0", empty_witness, wrong_flag, too_much):
        with pytest.raises(TransactionFormatError):
            parse_transaction_untrusted(data)


@pytest.mark.parametrize("value", [0, 0xFC, 0xFD, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 1 << 32])
def test_counts(value: int) -> None:
    data = encode_count(value)
    assert Cursor(data).count() == value
    if len(data) > 1:
        for size, first in ((2, b"\xfd"), (4, b"\xfe"), (8, b"\xff")):
            if size > len(data) - 1:
                with pytest.raises(TransactionFormatError):
                    Cursor(first + value.to_bytes(size, "little")).count()


# --- scripts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "kind", "dust"),
    [
        ("76a914" + "11" * 20 + "88ac", ScriptType.P2PKH, 546),
        ("a914" + "11" * 20 + "87", ScriptType.P2SH, 540),
        ("0014" + "11" * 20, ScriptType.P2WPKH, 294),
        ("0020" + "11" * 32, ScriptType.P2WSH, 330),
        ("5120" + "11" * 32, ScriptType.P2TR, 330),
        ("51024e73", ScriptType.WITNESS_UNKNOWN, 240),
        ("5220" + "11" * 32, ScriptType.WITNESS_UNKNOWN, 330),
        ("0013" + "11" * 19, ScriptType.OTHER, 291),
        ("6a0401020304", ScriptType.OP_RETURN, 0),
        ("21" + "02" * 33 + "ac", ScriptType.OTHER, None),
        ("", ScriptType.OTHER, None),
        ("51", ScriptType.OTHER, None),
    ],
)
def test_kinds_of_scripts_and_core_s_dust_limits(
    script: str, kind: ScriptType, dust: int | None
) -> None:
    raw = bytes.fromhex(script)
    assert classify_script(raw) is kind
    if dust is not None:
        assert dust_limit(TxOutput(Satoshi(0), raw)) == dust


@pytest.mark.parametrize(
    ("script", "pushes", "text"),
    [
        ("6a", [], None),
        ("6a0568656c6c6f", [b"hello"], "hello"),
        ("6a4c0568656c6c6f", [b"hello"], "hello"),
        ("6a4d050068656c6c6f", [b"hello"], "hello"),
        ("6a4e0500000068656c6c6f", [b"hello"], "hello"),
        ("6a02686902796f", [b"hi", b"yo"], "hi yo"),
        ("6a00", [b""], None),
        ("6a4f51605f", [b"\x81", b"\x01", b"\x10", b"\x0f"], None),
        ("6a02ff00", [b"\xff\x00"], None),
        ("6a03e280ae", [b"\xe2\x80\xae"], None),
        ("6a02610a", [b"a\n"], None),
        ("6a0568", [], None),
        ("6a4c", [], None),
        ("6a4d05", [], None),
        ("6aac", [], None),
        ("6a0161ac", [], None),
    ],
)
def test_every_form_of_data_output(script: str, pushes: list[bytes], text: str | None) -> None:
    raw = bytes.fromhex(script)
    data = decode_op_return(raw)
    assert list(data.pushes) == pushes
    assert data.text == text
    assert data.raw == raw[1:]
