"""BIP-322's own vectors: hashes, signatures that hold, and signatures that do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from primegap.bitcoin.curve import tagged_hash
from primegap.bitcoin.derivation import script_of_address
from primegap.bitcoin.messages import (
    MessageForm,
    MessageSignatureError,
    to_sign,
    to_spend,
    verify_message,
)
from primegap.bitcoin.networks import Network
from primegap.bitcoin.transaction import display_hash

FILE: Final = Path(__file__).parents[1] / "vectors" / "bitcoin-bip322.json"
VECTORS: Final = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", VECTORS["tx_hashes"], ids=lambda case: case["message"][:8])
def test_transactions_of_a_message(case: dict[str, Any]) -> None:
    message = case["message"].encode()
    script = script_of_address(case["address"], Network.MAINNET)
    assert tagged_hash("BIP0322-signed-message", message).hex() == case["message_hash"]
    assert display_hash(to_spend(message, script).txid) == case["to_spend_tx_hash"]
    assert display_hash(to_sign(message, script).txid) == case["to_sign_tx_hash"]


@pytest.mark.parametrize("case", VECTORS["simple"], ids=lambda case: case["type"])
def test_signatures_that_hold(case: dict[str, Any]) -> None:
    message, address = case["message"].encode(), case["address"]
    for signature in case["bip322_signatures"]:
        for text in (signature, signature.removeprefix("smp")):
            form = verify_message(message, address, text, Network.MAINNET)
            assert form is MessageForm.SIMPLE
        with pytest.raises(MessageSignatureError):
            verify_message(message + b".", address, signature, Network.MAINNET)


@pytest.mark.parametrize("case", VECTORS["error"], ids=lambda case: case["description"][:40])
def test_signatures_that_do_not_hold(case: dict[str, Any]) -> None:
    with pytest.raises(MessageSignatureError):
        verify_message(
            case["message"].encode(), case["address"], case["signature"], Network.MAINNET
        )
