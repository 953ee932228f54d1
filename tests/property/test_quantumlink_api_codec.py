"""The message codec against an independent CBOR library and against noise."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from primegap.quantumlink.api import cbor_codec
from primegap.quantumlink.api.app_store import AppDetails, ListAppsResponse
from primegap.quantumlink.api.bitcoin import SignPsbtParams, SignPsbtResponse, SignPsbtSigned
from primegap.quantumlink.api.clock import CurrentTimeResponse, TimezoneResponse
from primegap.quantumlink.api.debug import EchoParams
from primegap.quantumlink.api.firmware import FirmwareInstallEvent
from primegap.quantumlink.api.fx import PricePoint
from primegap.quantumlink.api.system import PassportDetailsResponse
from primegap.quantumlink.rpc import BadValueError

texts = st.text(st.characters(exclude_categories=["Cs"]))
singles = st.floats(width=32, allow_nan=False)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(account=texts, psbt=st.binary(max_size=700))
def test_another_library_reads_what_is_written(account: str, psbt: bytes) -> None:
    data = cbor_codec(SignPsbtParams).encode(SignPsbtParams(account_id=account, psbt=psbt))
    assert cbor2.loads(data) == {"account_id": account, "psbt": list(psbt)}


@given(psbt=st.binary(max_size=700), as_string=st.booleans())
def test_what_another_library_writes_is_read(psbt: bytes, *, as_string: bool) -> None:
    data = cbor2.dumps({"Signed": {"psbt": psbt if as_string else list(psbt)}})
    assert cbor_codec(SignPsbtResponse).decode_untrusted(data) == SignPsbtSigned(psbt)


@given(rate=singles, timestamp=st.integers(0, 2**64 - 1))
def test_floats_agree_with_the_canonical_form_of_another_library(
    rate: float, timestamp: int
) -> None:
    codec = cbor_codec(PricePoint)
    data = codec.encode(PricePoint(rate=rate, timestamp=timestamp))
    head, tail = b"\xa2" + cbor2.dumps("rate"), cbor2.dumps("timestamp") + cbor2.dumps(timestamp)
    assert data == head + cbor2.dumps(rate, canonical=True) + tail
    assert codec.decode_untrusted(data) == PricePoint(rate=rate, timestamp=timestamp)


@given(bits=st.integers(0, 2**64 - 1))
def test_doubles_are_rounded_like_the_machine_does(bits: int) -> None:
    wide: float = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    data = b"\xa2" + cbor2.dumps("rate") + b"\xfb" + bits.to_bytes(8, "big")
    rate = cbor_codec(PricePoint).decode_untrusted(data + cbor2.dumps("timestamp") + b"\0").rate
    if math.isnan(wide):
        assert math.isnan(rate)
        return
    try:
        (expected,) = struct.unpack(">f", struct.pack(">f", wide))
    except OverflowError:
        expected = math.copysign(math.inf, wide)
    assert rate == expected


@given(message=texts, extra=st.dictionaries(texts, anything, max_size=4))
def test_unknown_fields_are_skipped_whatever_they_hold(message: str, extra: dict[str, Any]) -> None:
    extra.pop("message", None)
    data = cbor2.dumps(extra | {"message": message})
    assert cbor_codec(EchoParams).decode_untrusted(data) == EchoParams(message=message)


@given(value=st.integers(-(2**70), 2**70))
def test_integers_are_taken_within_their_range_only(value: int) -> None:
    """Those beyond 64 bits arrive as bignums."""
    for codec, name, low, high in (
        (cbor_codec(CurrentTimeResponse), "server_time_millis", 0, 2**64 - 1),
        (cbor_codec(TimezoneResponse), "offset_minutes", -(2**31), 2**31 - 1),
    ):
        data = cbor2.dumps({name: value, "zone": "UTC"})
        try:
            message = codec.decode_untrusted(data)
        except BadValueError:
            assert not low <= value <= high
        else:
            assert getattr(message, name) == value


@given(
    apps=st.lists(
        st.builds(
            AppDetails,
            name=texts,
            icon=texts,
            developer_id=st.binary(max_size=40),
            app_id=st.binary(max_size=40),
        ),
        max_size=4,
    )
)
def test_lists_of_structs_come_back(apps: list[AppDetails]) -> None:
    codec = cbor_codec(ListAppsResponse)
    message = ListAppsResponse(apps=tuple(apps))
    data = codec.encode(message)
    assert codec.decode_untrusted(data) == message
    assert [app["name"] for app in cbor2.loads(data)["apps"]] == [app.name for app in apps]


@given(data=st.binary(max_size=200) | anything.map(cbor2.dumps))
def test_noise_raises_only_the_remote_error(data: bytes) -> None:
    for kind in (PassportDetailsResponse, SignPsbtResponse, FirmwareInstallEvent, PricePoint):
        with contextlib.suppress(BadValueError):
            cbor_codec(kind).decode_untrusted(data)


@given(data=st.data(), message=texts, extra=anything)
def test_a_message_cut_short_is_refused(data: st.DataObject, message: str, extra: object) -> None:
    whole = cbor2.dumps({"extra": extra, "message": message})
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        cbor_codec(EchoParams).decode_untrusted(whole[:cut])
    except BadValueError:
        return
    raise AssertionError("accepted")
