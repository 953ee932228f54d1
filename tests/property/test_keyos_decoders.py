"""Frames and messages: total decoders, whatever arrives."""

from __future__ import annotations

import contextlib
import inspect
import pkgutil
from importlib import import_module

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import primegap.keyos.api as api_package
from primegap.keyos.errors import FrameError
from primegap.keyos.frame import (
    HEADER,
    MAX_INLINE_BYTES,
    Frame,
    Kind,
    encode_frame,
    parse_frame_untrusted,
)
from primegap.keyos.manifest import parse_manifest_untrusted
from primegap.keyos.messages import Message, decode_message_untrusted, encode_message

U64 = st.integers(0, 2**64 - 1)
FRAMES = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    message_id=st.integers(0, 2**32 - 1),
    correlation=U64,
    words=st.tuples(U64, U64, U64, U64),
    payload=st.binary(max_size=MAX_INLINE_BYTES),
)
MESSAGES = [
    member
    for module in pkgutil.iter_modules(api_package.__path__)
    for member in vars(import_module(f"primegap.keyos.api.{module.name}")).values()
    if inspect.isclass(member) and issubclass(member, Message)
]
EACH_KIND = settings(max_examples=25)
"""There are over a hundred kinds of messages, all decoded by the same code, so this is thousands of
examples; `make fuzz ONLY=keyos-messages` goes on for as long as one likes."""


@given(FRAMES)
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    assert parse_frame_untrusted(encode_frame(frame)) == frame


@pytest.mark.guarantee("H-6", "P-8", tried="random bytes as frames")
@given(st.binary(max_size=HEADER.size + 64))
def test_random_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert encode_frame(parse_frame_untrusted(data)) == data


@pytest.mark.guarantee("P-8", tried="every header byte changed")
@given(FRAMES, st.integers(0, HEADER.size - 1), st.integers(1, 255))
def test_a_changed_header_byte_never_gives_another_encoding(
    frame: Frame, at: int, change: int
) -> None:
    data = bytearray(encode_frame(frame))
    data[at] ^= change
    with contextlib.suppress(FrameError):
        assert encode_frame(parse_frame_untrusted(bytes(data))) == data


@pytest.mark.guarantee("H-6", tried="random bytes as messages of every type")
@EACH_KIND
@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.binary(max_size=64))
def test_random_bytes_are_a_message_or_a_frame_error(kind: type[Message], data: bytes) -> None:
    with contextlib.suppress(FrameError):
        decode_message_untrusted(kind, data)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@EACH_KIND
@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(value=JSON_LIKE)
def test_well_formed_values_of_another_shape_are_refused_or_round_trip(
    kind: type[Message], value: object
) -> None:
    data = cbor2.dumps(value)
    with contextlib.suppress(FrameError):
        assert decode_message_untrusted(
            kind, encode_message(decode_message_untrusted(kind, data))
        ) == decode_message_untrusted(kind, data)


@pytest.mark.guarantee("P-3", "H-6", tried="random manifests")
@given(st.text(max_size=200))
def test_random_text_is_no_manifest(text: str) -> None:
    from primegap.keyos.errors import ManifestError

    with contextlib.suppress(ManifestError):
        parse_manifest_untrusted(text.encode("utf-8", "surrogatepass"))
