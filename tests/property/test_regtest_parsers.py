"""Parsers of the private chain against arbitrary bytes, with Bitcoin Core's engine as the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from primegap.regtest import jsonrpc
from primegap.regtest.blocks import merkle_branch, merkle_root
from primegap.regtest.errors import RequestError, TransactionFormatError
from primegap.regtest.primitives import (
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    encode_count,
    parse_block_untrusted,
    parse_transaction_untrusted,
    sha256d,
)
from primegap.regtest.scripts import is_push_only, is_standard_output

if TYPE_CHECKING:
    from collections.abc import Sequence

U32 = st.integers(0, 2**32 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
SCRIPTS = st.binary(max_size=40)


def inputs() -> st.SearchStrategy[TxIn]:
    return st.builds(
        TxIn,
        prevout=st.builds(OutPoint, st.binary(min_size=32, max_size=32), U32),
        script_sig=SCRIPTS,
        sequence=U32,
        witness=st.lists(st.binary(max_size=300), max_size=3).map(tuple),
    )


TRANSACTIONS = st.builds(
    Transaction,
    version=U32,
    inputs=st.lists(inputs(), min_size=1, max_size=3).map(tuple),
    outputs=st.lists(st.builds(TxOut, amount_sat=I64, script=SCRIPTS), max_size=3).map(tuple),
    lock_time=U32,
)


def ours(raw: bytes) -> Transaction | None:
    try:
        return parse_transaction_untrusted(raw)
    except TransactionFormatError:
        return None


def engines(raw: bytes) -> bytes | None:
    """Return the id that the engine gives, None if it cannot read it or writes it otherwise."""
    import pbk

    try:
        transaction = pbk.Transaction(raw)
    except RuntimeError:
        return None
    return bytes(transaction.txid) if bytes(transaction) == raw else None


@given(TRANSACTIONS)
def test_the_engine_reads_what_we_write(transaction: Transaction) -> None:
    import pbk

    read = pbk.Transaction(transaction.raw)
    assert bytes(read) == transaction.raw
    assert bytes(read.txid) == transaction.txid
    assert read.locktime == transaction.lock_time
    assert [i.sequence for i in read.inputs] == [i.sequence for i in transaction.inputs]
    assert [(o.amount, bytes(o.script_pubkey)) for o in read.outputs] == [
        (o.amount_sat, o.script) for o in transaction.outputs
    ]
    assert parse_transaction_untrusted(transaction.raw) == transaction


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_judged_as_the_engine_does(raw: bytes) -> None:
    parsed = ours(raw)
    assert (parsed.txid if parsed else None) == engines(raw)


@given(TRANSACTIONS, st.data())
def test_spoilt_transactions_are_judged_as_the_engine_does(
    transaction: Transaction, data: st.DataObject
) -> None:
    raw = bytearray(transaction.raw)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if action == "set":
            raw[position] = data.draw(st.sampled_from([0, 1, 2, 0xFC, 0xFD, 0xFE, 0xFF]))
        elif action == "cut" and len(raw) > 1:
            del raw[position]
        else:
            raw.insert(position, data.draw(st.integers(0, 255)))
    parsed = ours(bytes(raw))
    assert (parsed.txid if parsed else None) == engines(bytes(raw))


@given(st.binary(max_size=300))
def test_arbitrary_blocks_raise_only_the_format_error(raw: bytes) -> None:
    try:
        block = parse_block_untrusted(raw)
    except TransactionFormatError:
        return
    body = b"".join(transaction.raw for transaction in block.transactions)
    assert block.header + encode_count(len(block.transactions)) + body == raw


@given(st.integers(0, 2**64 - 1))
def test_counts_are_written_in_their_shortest_form(value: int) -> None:
    encoded = encode_count(value)
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}.get(encoded[0], 0)
    assert len(encoded) == 1 + size
    assert (int.from_bytes(encoded[1:], "little") if size else encoded[0]) == value
    assert not size or value >= {2: 0xFD, 4: 0x10000, 8: 0x100000000}[size]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_every_branch_leads_to_the_root(leaves: Sequence[bytes], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(leaves) - 1))
    branch, root = merkle_branch(leaves, position)
    value = leaves[position]
    for sibling in branch:
        value = sha256d(sibling + value if position & 1 else value + sibling)
        position >>= 1
    assert value == root == merkle_root(leaves)


@given(st.binary(max_size=200))
def test_any_script_can_be_classified(script: bytes) -> None:
    assert is_push_only(script) in {True, False}
    assert is_standard_output(script) in {True, False}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_arbitrary_lines_raise_only_the_request_error(line: bytes) -> None:
    try:
        value = jsonrpc.decode_line_untrusted(line)
        request = jsonrpc.parse_request_untrusted(value)
    except RequestError:
        return
    assert isinstance(request.method, str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "c"]), unique=True), st.integers(0, 3))
def test_arbitrary_parameters_are_bound_or_refused(
    value: jsonrpc.Json, names: list[str], required: int
) -> None:
    if not isinstance(value, (list, dict)):
        return
    required = min(required, len(names))
    try:
        bound = jsonrpc.bind_params(value, names, required)
    except RequestError:
        return
    assert len(bound) == len(names)
