"""Our decoder of API messages against a second one: the same value, or both refuse."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import random
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.differential import second_cbor as second
from tests.differential.second_wire import RefusedError

from primegap.quantumlink.api import cbor_codec
from primegap.quantumlink.api.codec import Choice, MessageCodec
from primegap.quantumlink.rpc import BadValueError

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "quantumlink-v2-api-vectors.json").read_text()
)
MODULES: Final = [
    importlib.import_module(f"primegap.quantumlink.api.{name}")
    for name in ("backup", "bitcoin", "clock", "debug", "fx")
]


def our_type(name: str) -> type:
    kind: type = next(getattr(module, name) for module in MODULES if hasattr(module, name))
    return kind


CODECS: Final[dict[str, MessageCodec[Any]]] = {
    name: cbor_codec(our_type(name)) for name in second.MESSAGES
}
CASES: Final = [
    (case["type"], bytes.fromhex(case["cbor"]))
    for case in VECTORS["encode"] + VECTORS["decode"]
    if case["type"] in second.MESSAGES
]


def plain(value: object) -> object:
    """Return a message of ours in the second decoder's words."""
    if isinstance(value, Choice):
        return value.variant, fields(value) or None
    if isinstance(value, Enum):
        return value.value, None
    if dataclasses.is_dataclass(value):
        return fields(value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def fields(value: object) -> dict[str, object]:
    assert dataclasses.is_dataclass(value)
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def check(name: str, data: bytes) -> bool:
    try:
        theirs = second.decode(second.MESSAGES[name], data)
    except RefusedError:
        with pytest.raises(BadValueError):
            CODECS[name].decode_untrusted(data)
        return False
    try:
        ours = plain(CODECS[name].decode_untrusted(data))
    except BadValueError as error:
        raise AssertionError(f"{name} {data.hex()}: only ours refuses ({error})") from error
    assert same(ours, theirs)
    return True


def test_vectors() -> None:
    assert len(CASES) > 150
    accepted = [check(name, data) for name, data in CASES]
    assert 0 < sum(accepted) < len(CASES)


def test_mutated_vectors() -> None:
    chance = random.Random(8949)
    heads = bytes([0x00, 0x1F, 0x40, 0x5F, 0x60, 0x7F, 0x80, 0x9F, 0xA0, 0xA1, 0xBF, 0xC0, 0xC2])
    heads += bytes([0xD9, 0xF4, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFF])
    accepted = refused = 0
    for name, seed in CASES:
        if len(seed) > 2000:
            continue
        for _ in range(40):
            data = bytearray(seed)
            for _ in range(chance.randint(1, 2)):
                at = chance.randrange(len(data) + 1)
                match chance.randrange(4):
                    case 0 if at < len(data):
                        data[at] ^= 1 << chance.randrange(8)
                    case 1:
                        del data[at : at + chance.randint(1, 3)]
                    case 2:
                        data.insert(at, chance.choice(heads))
                    case _ if at < len(data):
                        data[at] = chance.choice(heads)
            if check(name, bytes(data)):
                accepted += 1
            else:
                refused += 1
    assert accepted > 200
    assert refused > 2000


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(second.MESSAGES)), data=st.binary(max_size=60))
def test_random_bytes(name: str, data: bytes) -> None:
    check(name, data)
