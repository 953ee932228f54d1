"""Nothing gets into a trace but what the list allows; no file breaks the reader."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.linktrace_kit import CaptureMaker

from primegap.linktrace import RemoteTraceError, TraceFile, read_recording_untrusted
from primegap.linktrace.facts import FACTS, Whole, clean_fact
from primegap.linktrace.page import render_page
from primegap.linktrace.terminal import draw

FIELDS = sorted({field for fields in FACTS.values() for field in fields})
anything = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(0, 255), max_size=5),
)
names = st.sampled_from(sorted(FACTS)) | st.text(max_size=20)
values = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=10), anything, max_size=8)
WORDS = {
    *FACTS,
    *FIELDS,
    *("native", "reference", "ik", "kk", "xx"),
    *("session", "cancelled", "protocol", "timeout", "other"),
    *(f"{pattern}{number}" for pattern in ("IK", "KK", "XX") for number in range(1, 5)),
}


@settings(max_examples=300, deadline=None)
@given(name=names, now_s=st.floats(), given_values=values)
def test_only_listed_types_get_through(
    name: str, now_s: float, given_values: dict[str, object]
) -> None:
    fact = clean_fact(name, now_s, given_values)
    if fact is None:
        return
    assert fact.name in FACTS
    for field, value in fact.values:
        kind = FACTS[fact.name][field]
        if isinstance(value, str):
            assert value in WORDS or value.startswith(("quantumlink", "btp", "link-"))
        elif isinstance(value, int) and not isinstance(value, bool):
            assert isinstance(kind, Whole)
            assert 0 <= value <= kind.maximum
        else:
            assert isinstance(value, bool)


@pytest.mark.guarantee("H-2", tried="secrets in every field of a trace")
@settings(max_examples=50, deadline=None)
@given(secret=st.binary(min_size=8, max_size=40), name=st.sampled_from(sorted(FACTS)))
def test_a_secret_in_any_field_does_not_reach_the_file(secret: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        with TraceFile(path) as trace:
            for shape in (secret, secret.hex(), secret.decode("latin-1"), list(secret)):
                everywhere = dict.fromkeys(FIELDS, shape)
                trace(name, now_s=1.0, **everywhere)  # type: ignore[arg-type]  # that is the point
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            # What is left is the fact alone.
            assert json.loads(line) == {"t": 1.0, "fact": name}


def _capture() -> bytes:
    maker = CaptureMaker()
    maker.connected()
    record = b"\x82" + bytes(32) + b"\x02\x00" + bytes(400)
    maker.record(record, 0, to_device=True)
    maker.record(record, 0, to_device=False, pieces=3)
    maker.pdu(b"\x02\xf7\x00", from_controller=True)
    maker.disconnected()
    return maker.build()


CAPTURE = _capture()
TRACE = (
    b'{"primegap-link-trace":1}\n'
    b'{"t":1,"fact":"wire-sent","kind":"XX1","version":130,"handshake":1,"size":9,"packets":1}\n'
    b'{"t":2,"fact":"wire-received","kind":"session","version":130,"seq":1,"size":9,"packets":1}\n'
    b'{"t":3,"fact":"session-closed","code":"other"}\n'
)


@st.composite
def damaged(draw_from: st.DrawFn) -> bytes:
    data = bytearray(draw_from(st.sampled_from([CAPTURE, TRACE])))
    for _ in range(draw_from(st.integers(0, 6))):
        at = draw_from(st.integers(0, len(data) - 1))
        match draw_from(st.integers(0, 2)):
            case 0:
                data[at] = draw_from(st.integers(0, 255))
            case 1:
                del data[at : at + draw_from(st.integers(1, 40))]
            case _:
                data[at:at] = draw_from(st.binary(max_size=40))
        if not data:
            break
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(data=damaged() | st.binary(max_size=200))
def test_no_file_breaks_the_reader_or_the_pictures(data: bytes) -> None:
    try:
        story = read_recording_untrusted(data)
    except RemoteTraceError:
        return
    json.dumps(story.to_json(), allow_nan=False)
    render_page(story, title="x", look="")
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        draw(story, Console(file=nowhere, width=80))
