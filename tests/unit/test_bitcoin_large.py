"""Large work: a previous transaction of 2 MB and 2,000 outputs, in linear time and small memory."""

from __future__ import annotations

import tracemalloc

from tests.bitcoin_kit import make_wallet

from primegap.bitcoin.accounts import Keychain
from primegap.bitcoin.psbt import PsbtMap, build_psbt
from primegap.bitcoin.psbt_fields import InputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.review_values import ExternalOutput
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import parse_transaction_untrusted
from primegap.bitcoin.wire import encode_bytes, encode_count

WALLET = make_wallet()
ACCOUNT = WALLET.account
OUTPUTS = 2000
PREVIOUS_OUTPUTS = 200
LONG_SCRIPT = b"\x6a" + bytes(9_999)


def output(amount: int, script: bytes) -> bytes:
    return amount.to_bytes(8, "little") + encode_bytes(script)


def stranger(number: int) -> bytes:
    return b"\x00\x14" + number.to_bytes(20, "big")


def large_psbt() -> bytes:
    own = ACCOUNT.script(Keychain.EXTERNAL, 0)
    previous = (
        b"\x02\0\0\0\x01"
        + bytes(range(32))
        + b"\0\0\0\0\0\xff\xff\xff\xff"
        + encode_count(PREVIOUS_OUTPUTS + 1)
        + output(OUTPUTS * 1000 + 80_000, own)
        + output(0, LONG_SCRIPT) * PREVIOUS_OUTPUTS
        + bytes(4)
    )
    unsigned = (
        b"\x02\0\0\0\x01"
        + parse_transaction_untrusted(previous).txid
        + b"\0\0\0\0\0\xfd\xff\xff\xff"
        + encode_count(OUTPUTS)
        + b"".join(output(1000, stranger(number)) for number in range(OUTPUTS))
        + bytes(4)
    )
    (key,) = ACCOUNT.public_keys(Keychain.EXTERNAL, 0)
    origin = bytes.fromhex(ACCOUNT.own_key.fingerprint)
    origin += b"".join(step.to_bytes(4, "little") for step in (*ACCOUNT.own_key.steps, 0, 0))
    part = PsbtMap(
        (
            (bytes((InputField.NON_WITNESS_UTXO,)), previous),
            (bytes((InputField.DERIVATION,)) + key, origin),
        )
    )
    return build_psbt(unsigned, (part,), (PsbtMap(),) * OUTPUTS)


def test_large_work_is_done_in_bounded_memory_and_tells_of_its_progress() -> None:
    psbt = large_psbt()
    assert len(psbt) > 2_000_000
    steps: list[int] = []
    tracemalloc.start()
    review = review_psbt(psbt, ACCOUNT, progress=lambda: steps.append(1))
    signed = sign_psbt(
        psbt, review, review.digest, ACCOUNT, WALLET.signer, progress=lambda: steps.append(2)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert steps == [1, 2, 2]
    assert sum(isinstance(item, ExternalOutput) for item in review.outputs) == OUTPUTS
    assert len(signed) > len(psbt)
    assert peak < 10 * len(psbt)
