"""BIP-85: children of a seed, by the published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bdkpython
import pytest

from primegap.bitcoin import child_seeds
from primegap.bitcoin.errors import LocalError
from primegap.bitcoin.keys import master_key
from primegap.bitcoin.mnemonic import words_to_entropy

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parents[1] / "vectors" / "bitcoin-bip85.json"
BIP85 = json.loads(VECTORS.read_text(encoding="utf-8"))
MASTER = bdkpython.DescriptorSecretKey.from_string(BIP85["setup"]["master"])
MAKE: dict[str, Callable[[int, int], str]] = {
    "words": lambda size, index: " ".join(child_seeds.child_words(MASTER, size, index)),
    "wif": lambda _, index: child_seeds.child_wif(MASTER, index),
    "xprv": lambda _, index: child_seeds.child_xprv(MASTER, index),
    "hex": lambda size, index: child_seeds.child_hex(MASTER, size, index),
    "base64": lambda size, index: child_seeds.child_password(MASTER, size, index),
    "base85": lambda size, index: child_seeds.child_password(MASTER, size, index, base85=True),
}


@pytest.mark.parametrize("case", BIP85["cases"], ids=lambda case: f"{case['kind']}{case['size']}")
def test_children_of_bip85(case: dict[str, Any]) -> None:
    made = MAKE[case["kind"]](case["size"], case["index"])
    assert made == case["out"]
    assert MAKE[case["kind"]](case["size"], 1) != made


@pytest.mark.parametrize(
    ("kind", "size", "index"),
    [
        ("words", 15, 0),
        ("words", 12, -1),
        ("words", 12, 1 << 31),
        ("wif", 0, 1 << 31),
        ("hex", 15, 0),
        ("hex", 65, 0),
        ("base64", 19, 0),
        ("base64", 87, 0),
        ("base85", 9, 0),
        ("base85", 81, 0),
    ],
)
def test_sizes_out_of_range(kind: str, size: int, index: int) -> None:
    with pytest.raises(LocalError):
        MAKE[kind](size, index)


def test_a_passphrase_has_other_children_and_networks_have_the_same() -> None:
    entropy = bytes(16)
    plain = child_seeds.child_words(master_key(entropy, "", is_test=False), 12, 0)
    assert child_seeds.child_words(master_key(entropy, "", is_test=True), 12, 0) == plain
    assert child_seeds.child_words(master_key(entropy, "x", is_test=False), 12, 0) != plain
    assert len(words_to_entropy(plain)) == 16
