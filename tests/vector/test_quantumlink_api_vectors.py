"""The published API vectors: route headers, every message type, accepted and refused encodings."""

from __future__ import annotations

import dataclasses
import importlib
import json
import struct
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest

from primegap.quantumlink.api import Choice, MessageCodec, cbor_codec
from primegap.quantumlink.api.index import ALL_ROUTES
from primegap.quantumlink.rpc import (
    AppId,
    AppRouteKey,
    BadValueError,
    InvalidRouteKeyError,
    Route,
    ServiceId,
    ServiceRouteKey,
)

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "quantumlink-v2-api-vectors.json").read_text()
)
MODULES: Final = [
    importlib.import_module(f"primegap.quantumlink.api.{name}")
    for name in (
        "app_store",
        "backup",
        "bitcoin",
        "clock",
        "debug",
        "empty",
        "firmware",
        "fx",
        "onboarding",
        "security_check",
        "system",
    )
]

REFUSED_HERE: Final = {
    # API 4.2, "known looseness of the reference, which a new reader should refuse instead".
    "appid_17": "a fixed-size field with an item too many",
    "fixed32_string_33": "a fixed-size field with a byte too many",
    "fixed32_array_indef_33": "a fixed-size field with an item too many",
    "fixed32_33_last": "a fixed-size field with an item too many",
    "fixed32_str33_then_key": "a fixed-size field with a byte too many",
    "tuple_4": "a fixed-size field with an item too many",
    "tuple_indef4": "a fixed-size field with an item too many",
    "enum_data_array_two": "an array of fields with an item too many",
    "enum_unit_map": "data of a variant that has none",
    "enum_unit_map_empty": "data of a variant that has none",
    "enum_unit_map_undef": "data of a variant that has none",
    "enum_unit_map_last": "data of a variant that has none",
    "enum_text_then_map": "a variant whose data follows as another item",
    "enum_text_then_map_inner": "a variant whose data follows as another item",
}


def message_type(name: str) -> type:
    found = [getattr(module, name) for module in MODULES if hasattr(module, name)]
    assert found, name
    kind: type = found[0]
    return kind


def route_named(name: str) -> Route:
    return next(route for route in ALL_ROUTES if route.name == name)


def as_json(value: object) -> object:
    """Return a message in the JSON shape of the vectors."""
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, Choice):
        fields = _fields(value)
        if not fields:
            return value.variant
        return {value.variant: next(iter(fields.values())) if value.unnamed else fields}
    if dataclasses.is_dataclass(value):
        return _fields(value)
    return value


def _fields(value: object) -> dict[str, object]:
    assert dataclasses.is_dataclass(value)
    return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}


def with_floats_rounded(value: Any) -> Any:
    """Return a JSON value whose floats are what a 32-bit float makes of them."""
    if isinstance(value, float):
        return struct.unpack(">f", struct.pack(">f", value))[0]
    if isinstance(value, dict):
        return {key: with_floats_rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_floats_rounded(item) for item in value]
    return value


@pytest.mark.scenario("api", 1)
@pytest.mark.parametrize("case", VECTORS["encode"], ids=lambda case: case["name"])
def test_message_decodes_and_encodes(case: dict[str, Any]) -> None:
    codec: MessageCodec[object] = cbor_codec(message_type(case["type"]))
    data = bytes.fromhex(case["cbor"])
    message = codec.decode_untrusted(data)
    # Compared as text: the order of the fields counts too.
    assert json.dumps(as_json(message)) == json.dumps(with_floats_rounded(case["value"]))
    assert codec.encode(message) == data


@pytest.mark.scenario("api", 4, 5)
@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["name"])
def test_encoding_is_accepted_or_refused(case: dict[str, Any]) -> None:
    codec: MessageCodec[object] = cbor_codec(message_type(case["type"]))
    data = bytes.fromhex(case["cbor"])
    if case["accept"] and case["name"] not in REFUSED_HERE:
        message = codec.decode_untrusted(data)
        assert codec.encode(message).hex() == case["as"]
    else:
        with pytest.raises(BadValueError):
            codec.decode_untrusted(data)


def test_the_refused_looseness_is_in_the_vectors() -> None:
    accepted = {case["name"] for case in VECTORS["decode"] if case["accept"]}
    assert accepted >= REFUSED_HERE.keys()


@pytest.mark.parametrize("case", VECTORS["routes"], ids=lambda case: case["route"])
def test_route(case: dict[str, Any]) -> None:
    route = route_named(case["route"])
    assert route.modality.value == case["modality"]
    assert route.key.encode().hex() == case["header"]
    assert type(route.key).parse_untrusted(bytes.fromhex(case["header"])) == route.key
    names = {
        "request": "request",
        "response": "answer",
        "event": "event",
        "response_header": "header",
        "part_header": "part_header",
        "initiator_event": "caller_event",
        "responder_event": "handler_event",
    }
    for name, field in names.items():
        if name in case:
            assert getattr(route, field) is cbor_codec(message_type(case[name]))


def test_all_routes_are_in_the_table() -> None:
    assert {r.name for r in ALL_ROUTES} == {case["route"] for case in VECTORS["routes"]}
    assert len({r.key for r in ALL_ROUTES}) == len(ALL_ROUTES) == 34


@pytest.mark.scenario("api", 6)
@pytest.mark.parametrize(
    "case",
    VECTORS["route_keys"],
    ids=[f"{i}-{c['name']}" for i, c in enumerate(VECTORS["route_keys"])],
)
def test_route_key(case: dict[str, Any]) -> None:
    header = bytes.fromhex(case["header"])
    kind = AppRouteKey if case["kind"] == "app" else ServiceRouteKey
    if not case["accept"]:
        with pytest.raises(InvalidRouteKeyError):
            kind.parse_untrusted(header)
        return
    key = (
        AppRouteKey(AppId(bytes.fromhex(case["app_id"])), case["route_id"])
        if case["kind"] == "app"
        else ServiceRouteKey(ServiceId(case["service_id"]), case["route_id"])
    )
    assert key.encode() == header
    assert kind.parse_untrusted(header) == key
