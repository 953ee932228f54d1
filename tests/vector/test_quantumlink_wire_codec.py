"""Codec, derivations, layouts, frames and ACKs against the recorded wire vectors."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from primegap.quantumlink import (
    DATA_OVERHEAD,
    DEFAULT_STREAM_WINDOW,
    MIN_RECORD_SIZE,
    OPEN_OVERHEAD,
    REFERENCE,
    Ack,
    AckBuilder,
    AckRangesError,
    Close,
    CloseCode,
    Frame,
    Identity,
    InvalidDataError,
    PairingToken,
    PeerBundle,
    Ping,
    Qid,
    RemoteError,
    ResetCode,
    ResetTarget,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    Unpair,
    derive_qid,
    encode_frame,
    parse_frames_untrusted,
    parse_qid_text_untrusted,
    parse_record_untrusted,
    qid_text,
)
from primegap.quantumlink.acks import encode_ack_fields
from primegap.quantumlink.codec import (
    Reader,
    put_byte_string,
    put_text,
    put_u16,
    put_u32,
    put_u64,
    put_varint,
    varint_size,
)
from primegap.quantumlink.errors import (
    InvalidDiscriminantError,
    InvalidRangeError,
    UnexpectedEofError,
)
from primegap.quantumlink.identity import BUNDLE_VERSION
from primegap.quantumlink.messages import (
    HandshakeMessage,
    KnownFirst,
    KnownSecond,
    PairingFirst,
    PairingFourth,
    PairingSecond,
    PairingThird,
    parse_message_untrusted,
)
from primegap.quantumlink.pairing import PairingId
from primegap.quantumlink.records import (
    HEADER_SIZE,
    HandshakeKind,
    HandshakeRecord,
    encode_handshake_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "quantumlink-v2-wire-vectors.json").read_text()
)


def of(*path: str) -> list[dict[str, Any]]:
    """Return a list of cases of the vector file."""
    value: Any = VECTORS
    for key in path:
        value = value[key]
    assert isinstance(value, list)
    assert value
    return value


def test_constants_are_those_of_the_reference() -> None:
    constants = VECTORS["constants"]
    assert constants["version"] == REFERENCE.version
    assert constants["bundle_version"] == BUNDLE_VERSION
    assert constants["header"] == HEADER_SIZE
    assert constants["min_capacity"] == MIN_RECORD_SIZE
    assert constants["default_window"] == DEFAULT_STREAM_WINDOW
    assert constants["data_overhead"] == DATA_OVERHEAD
    assert constants["data_open_overhead"] == OPEN_OVERHEAD
    assert constants["reset_codes"] == [code.value for code in ResetCode]
    assert constants["close_codes"] == [code.value for code in CloseCode]


# --- varints and the positional codec ------------------------------------------------------------


@pytest.mark.parametrize("case", of("varint", "encode"))
def test_varint_encodes(case: dict[str, Any]) -> None:
    value = int(case["value"])
    assert put_varint(value).hex() == case["bytes"]
    assert varint_size(value) == len(case["bytes"]) // 2
    reader = Reader(bytes.fromhex(case["bytes"]))
    assert reader.varint(case["bits"]) == value
    assert reader.remaining == 0


@pytest.mark.parametrize("case", of("varint", "decode"))
def test_varint_decodes_or_is_refused(case: dict[str, Any]) -> None:
    reader = Reader(bytes.fromhex(case["input"]))
    if "error" in case:
        with pytest.raises(RemoteError) as caught:
            reader.varint(case["bits"])
        assert caught.value.name == case["error"]
    else:
        assert reader.varint(case["bits"]) == int(case["value"])
        assert reader.position == case["consumed"]


# The recorded codec cases use example types, several of them evolvable. Nothing in this program
# sends such types (messages above the wire are CBOR), so their composition rules (wire 2.1, 2.3)
# are spelled out here, on top of the primitives the wire layer uses.


@dataclass(frozen=True)
class Codec:
    """How a value is read, written and defaulted; no default means that the field is required."""

    read: Callable[[Reader], Any]
    write: Callable[[Any], bytes]
    default: Callable[[], Any] | None = None


def discriminant(reader: Reader, known: int) -> int:
    value = reader.u8()
    if value >= known:
        raise InvalidDiscriminantError("unknown option byte")
    return value


def fixed(size: int, *, signed: bool) -> Codec:
    return Codec(
        lambda reader: int.from_bytes(reader.take(size), "little", signed=signed),
        lambda value: int(value).to_bytes(size, "little", signed=signed),
        lambda: 0,
    )


def nonzero(reader: Reader) -> int:
    value = reader.u8()
    if not value:
        raise InvalidDataError("zero in a non-zero number")
    return value


def read_duration(reader: Reader) -> list[int]:
    seconds, nanos = reader.u64(), reader.u32()
    if nanos >= 1_000_000_000:
        raise InvalidRangeError("more than a second of nanoseconds")
    return [seconds, nanos]


def read_time(reader: Reader) -> list[int]:
    since_epoch = read_duration(reader)
    if since_epoch[0] >= 2**63:
        raise InvalidRangeError("a time that cannot be represented")
    return since_epoch


def list_of(item: Codec) -> Codec:
    return Codec(
        lambda reader: [item.read(reader) for _ in range(reader.varint(32))],
        lambda value: put_varint(len(value)) + b"".join(map(item.write, value)),
        list,
    )


def sequence(*items: Codec) -> Codec:
    defaults = [item.default for item in items]
    return Codec(
        lambda reader: [item.read(reader) for item in items],
        lambda value: b"".join(item.write(part) for item, part in zip(items, value, strict=True)),
        (lambda: [default() for default in defaults if default]) if all(defaults) else None,
    )


def option(item: Codec) -> Codec:
    return Codec(
        lambda reader: item.read(reader) if discriminant(reader, 2) else None,
        lambda value: b"\0" if value is None else b"\1" + item.write(value),
        lambda: None,
    )


def result(value: Codec, error: Codec) -> Codec:
    return Codec(
        lambda reader: (
            {"err": error.read(reader)} if discriminant(reader, 2) else {"ok": value.read(reader)}
        ),
        lambda got: (
            b"\0" + value.write(got["ok"]) if "ok" in got else b"\1" + error.write(got["err"])
        ),
    )


def read_fields(fields: Mapping[str, Codec], area: Reader) -> dict[str, Any]:
    """Read the field area of an evolvable type; missing fields take their defaults."""
    values: dict[str, Any] = {}
    for name, codec in fields.items():
        if area.remaining:
            values[name] = codec.read(area)
        elif codec.default is None:
            raise UnexpectedEofError("a field without default is missing")
        else:
            values[name] = codec.default()
    return values


def write_fields(fields: Mapping[str, Codec], value: Mapping[str, Any]) -> bytes:
    return b"".join(codec.write(value[name]) for name, codec in fields.items())


def struct(**fields: Codec) -> Codec:
    defaults = {name: codec.default for name, codec in fields.items()}
    return Codec(
        lambda reader: read_fields(fields, Reader(reader.byte_string())),
        lambda value: put_byte_string(write_fields(fields, value)),
        (lambda: {name: make() for name, make in defaults.items() if make})
        if all(defaults.values())
        else None,
    )


Variants = dict[int, tuple[str, dict[str, Codec]]]


def enum(variants: Variants, *, unknown: str | None = None, frozen: bool = False) -> Codec:
    def read(reader: Reader) -> dict[str, Any]:
        number = reader.varint(32)
        area = reader if frozen else Reader(reader.byte_string())
        if number not in variants:
            if unknown is None:
                raise InvalidDiscriminantError("unknown variant")
            return {unknown: {}}
        name, fields = variants[number]
        if frozen:
            return {name: {field: codec.read(area) for field, codec in fields.items()}}
        return {name: read_fields(fields, area)}

    def write(value: dict[str, Any]) -> bytes:
        ((name, got),) = value.items()
        number, fields = next((n, f) for n, (v, f) in variants.items() if v == name)
        area = write_fields(fields, got)
        return put_varint(number) + (area if frozen else put_byte_string(area))

    return Codec(read, write, None if unknown is None else lambda: {unknown: {}})


U8, U16, U32, U64 = (fixed(size, signed=False) for size in (1, 2, 4, 8))
TEXT = Codec(Reader.text, put_text, str)
BYTES = Codec(lambda r: r.byte_string().hex(), lambda v: put_byte_string(bytes.fromhex(v)), str)
BOOL = Codec(lambda r: bool(discriminant(r, 2)), lambda v: bytes((v,)), lambda: False)
DURATION = Codec(read_duration, lambda v: put_u64(v[0]) + put_u32(v[1]), lambda: [0, 0])
BOX_A = struct(label=TEXT, level=U8)
BOX_B = struct(label=TEXT, level=U8, note=option(TEXT), flag=BOOL, blob=BYTES, when=DURATION)
EV_A = enum({0: ("Start", {}), 1: ("Stop", {"code": U16}), 2: ("Other", {})}, unknown="Other")
EV_B = enum(
    {
        0: ("Start", {"speed": U32}),
        1: ("Stop", {"code": U16, "text": TEXT}),
        2: ("Other", {}),
        200: ("Pause", {}),
        201: ("Jump", {"0": U8, "1": U8}),
    },
    unknown="Other",
)
TYPES: dict[str, Codec] = {
    "u32": U32,
    "u64": U64,
    "i8": fixed(1, signed=True),
    "i16": fixed(2, signed=True),
    "i64": fixed(8, signed=True),
    "size": Codec(lambda r: r.varint(64), put_varint),
    "bool": BOOL,
    "nonzero_u8": Codec(nonzero, lambda v: bytes((v,))),
    "text": TEXT,
    "bytes": BYTES,
    "list_u16": list_of(U16),
    "list_text": list_of(TEXT),
    "list_bytes": list_of(BYTES),
    "array3_u16": sequence(U16, U16, U16),
    "array4_bytes": Codec(lambda r: r.take(4).hex(), bytes.fromhex),
    "tuple_bytes_bool_u32": sequence(BYTES, BOOL, U32),
    "tuple_u8_text": sequence(U8, TEXT),
    "option_u8": option(U8),
    "result_u8_u16": result(U8, U16),
    "duration": DURATION,
    "time": Codec(read_time, DURATION.write),
    "BoxA": BOX_A,
    "BoxB": BOX_B,
    "EvA": EV_A,
    "EvB": EV_B,
    "OuterA": struct(inner=BOX_A, events=list_of(EV_A), end=U32),
    "OuterB": struct(
        inner=BOX_B, events=list_of(EV_B), end=U32, more=list_of(TEXT), last=EV_B, tail=BOX_A
    ),
    "Fz": enum(
        {3: ("A", {}), 130: ("B", {"0": U16, "1": BOOL}), 16384: ("C", {"text": TEXT})},
        frozen=True,
    ),
    "NoDefault": struct(first=U8, nz=Codec(nonzero, lambda v: bytes((v,)))),
    "Unit": struct(),
}


@pytest.mark.parametrize("case", of("codec", "cases"))
def test_codec_reads_and_writes_the_example_types(case: dict[str, Any]) -> None:
    codec = TYPES[case["type"]]
    reader = Reader(bytes.fromhex(case["input"]))
    if "error" in case:
        with pytest.raises(RemoteError) as caught:
            codec.read(reader)
        assert caught.value.name == case["error"]
        return
    value = codec.read(reader)
    assert value == case["value"]
    assert reader.position == case["consumed"]
    assert codec.write(value).hex() == case["reencoded"]


def test_fixed_integers_are_little_endian() -> None:
    data = put_u16(0x0102) + put_u32(0x03040506) + put_u64(0x0708090A0B0C0D0E)
    assert data.hex() == "0201" + "06050403" + "0e0d0c0b0a090807"
    reader = Reader(data)
    assert (reader.u16(), reader.u32(), reader.u64()) == (0x0102, 0x03040506, 0x0708090A0B0C0D0E)


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", of("derivations", "qid"))
def test_qid_is_derived_from_the_key(case: dict[str, Any]) -> None:
    assert derive_qid(REFERENCE, bytes.fromhex(case["public_key_fill"]) * 1568).hex() == case["qid"]


@pytest.mark.parametrize("case", of("derivations", "token"))
def test_token_gives_pairing_id_and_key(case: dict[str, Any]) -> None:
    token = PairingToken(bytes.fromhex(case["token"]))
    assert token.pairing_id.hex() == case["pairing_id"]
    assert token.derive_psk().hex() == case["pairing_psk"]


@pytest.mark.parametrize("case", of("qid_text"))
def test_only_the_canonical_qid_text_is_read(case: dict[str, Any]) -> None:
    text = case["text"]
    # The reference reads any hexadecimal number; readers should take the strict form only.
    if "error" not in case and len(text) == 32 and text == text.lower():
        assert parse_qid_text_untrusted(text) == bytes.fromhex(case["qid"])
        assert qid_text(Qid(bytes.fromhex(case["qid"]))) == text
    else:
        with pytest.raises(InvalidDataError):
            parse_qid_text_untrusted(text)


@pytest.mark.parametrize("case", of("identities"), ids=lambda case: str(case["id"]))
def test_identity_from_its_seed(case: dict[str, Any]) -> None:
    identity = Identity.from_seed(
        REFERENCE, case["name"], bytes.fromhex(case["seed"]), capabilities=case["capabilities"]
    )
    assert case["seed"].startswith(hashlib.sha256(case["stream"].encode() + bytes(8)).hexdigest())
    assert identity.qid.hex() == case["qid"]
    assert identity.bundle.public_key.hex() == case["public"]
    assert identity.bundle_bytes.hex() == case["bundle"]
    assert len(identity.bundle_bytes) == case["bundle_length"]
    parsed = PeerBundle.parse_untrusted(identity.bundle_bytes, REFERENCE)
    parsed.validate()
    assert parsed == identity.bundle


@pytest.mark.scenario("wire", 1)
@pytest.mark.parametrize("case", of("bundles"), ids=lambda case: str(case["id"]))
def test_bundle_is_read_and_validated(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["bundle"])
    if "error" in case:
        with pytest.raises(RemoteError) as caught:
            PeerBundle.parse_untrusted(data, REFERENCE)
        assert caught.value.name == case["error"]
        return
    bundle = PeerBundle.parse_untrusted(data, REFERENCE)
    assert bundle.version == case["version"]
    assert bundle.qid.hex() == case["qid"]
    assert bundle.capabilities == case["capabilities"]
    assert bundle.name == case["name"]
    assert bundle.encode() == data[: case["used_bytes"]]
    if case["validation"] == "ok":
        bundle.validate()
    else:
        with pytest.raises(RemoteError) as caught:
            bundle.validate()
        assert caught.value.name == case["validation"]


# --- record layout --------------------------------------------------------------------------------


def filled(value: int | str) -> bytes:
    """Expand `07 repeated 1568`, or plain hex."""
    text = str(value)
    if " repeated " not in text:
        return bytes.fromhex(text)
    fill, count = text.split(" repeated ")
    return bytes.fromhex(fill) * int(count)


def build_message(kind: HandshakeKind, fields: Mapping[str, Any]) -> HandshakeMessage:
    hid = fields["hid"]
    window = fields.get("window", 0)
    part = {name: filled(value) for name, value in fields.items() if name not in ("hid", "window")}
    match kind:
        case HandshakeKind.IK1 | HandshakeKind.KK1:
            return KnownFirst(hid, window, part["ct"], part["epk"], part.get("eb"))
        case HandshakeKind.IK2 | HandshakeKind.KK2:
            return KnownSecond(hid, window, part["ct"], part["ect"])
        case HandshakeKind.XX1:
            return PairingFirst(hid, PairingId(part["pid"]), window, part["epk"])
        case HandshakeKind.XX2:
            return PairingSecond(hid, window, part["ct"], part["eb"])
        case HandshakeKind.XX3:
            return PairingThird(hid, part["ect"], part["eb"])
        case HandshakeKind.XX4:
            return PairingFourth(hid, part["ect"])


@pytest.mark.scenario("wire", 2)
@pytest.mark.parametrize("case", of("record_layout"), ids=lambda case: str(case["id"]))
def test_handshake_record_layout(case: dict[str, Any]) -> None:
    kind = HandshakeKind(case["kind"])
    message = build_message(kind, case["fields"])
    sender, recipient = Qid(bytes.fromhex(case["sender"])), Qid(bytes.fromhex(case["recipient"]))
    data = encode_handshake_record(REFERENCE.version, sender, recipient, kind, message.encode())
    assert len(data) == case["length"]
    assert hashlib.sha256(data).hexdigest() == case["sha256"]
    assert data.hex().startswith(case["starts"])

    record = parse_record_untrusted(data)
    assert isinstance(record, HandshakeRecord)
    assert (record.version, record.sender, record.recipient) == (2, sender, recipient)
    assert (record.kind, record.handshake_id) == (kind, case["fields"]["hid"])
    assert parse_message_untrusted(record, REFERENCE) == message
    if record.is_first:
        assert record.peek_ephemeral_public(REFERENCE) == filled(case["fields"]["epk"])
    if kind is HandshakeKind.XX1:
        assert record.peek_pairing_id() == filled(case["fields"]["pid"])


# --- frames and ACKs ------------------------------------------------------------------------------


def build_frame(fields: Mapping[str, Any]) -> Frame:
    match fields["k"]:
        case "ping":
            return Ping()
        case "unpair":
            return Unpair()
        case "ack":
            return Ack(tuple((low, high) for low, high in fields["ranges"]))
        case "window":
            return StreamWindow(fields["id"], fields["max"])
        case "reset":
            return StreamReset(fields["id"], ResetTarget(fields["target"]), fields["code"])
        case "close":
            return Close(fields["code"])
        case "data":
            opening = fields["open"]
            return StreamData(
                fields["id"],
                fields["off"],
                fields["fin"],
                opening
                and StreamOpening(opening["rw"], opening["rq"], bytes.fromhex(opening["header"])),
                bytes.fromhex(fields["bytes"]),
            )
    raise AssertionError(fields)


@pytest.mark.parametrize("case", of("frames"), ids=lambda case: str(case["body"]) or "empty")
def test_frames_in_front_of_an_error_are_read(case: dict[str, Any]) -> None:
    body = bytes.fromhex(case["body"])
    expected = [build_frame(fields) for fields in case["frames"]]
    frames: list[Frame] = []
    error = None
    reading = parse_frames_untrusted(body)
    try:
        for frame in reading:
            frames.append(frame)  # noqa: PERF402  # frames in front of the error must survive it
    except RemoteError as caught:
        error = caught.name
    assert (frames, error) == (expected, case["error"])
    # Flags beyond the known ones, and openings elsewhere than at 0, are read but never written.
    if error is None and "note" not in case:
        assert b"".join(map(encode_frame, frames)) == body


def encode_within(ranges: Sequence[Sequence[int]], budget: int | None) -> tuple[bytes, list[bool]]:
    builder = AckBuilder(budget)
    accepted = [builder.add(low, high) for low, high in ranges]
    return builder.encode(), accepted


@pytest.mark.parametrize("case", of("acks"), ids=range(len(of("acks"))))
def test_ack_fields(case: dict[str, Any]) -> None:
    ranges = [(low, high) for low, high in case["ranges"]]
    budget = case.get("budget")
    if "error" in case:
        with pytest.raises(AckRangesError) as caught:
            encode_within(ranges, budget)
        assert caught.value.name == case["error"]
        if budget is None:
            with pytest.raises(AckRangesError) as caught:
                encode_ack_fields(ranges)
            assert caught.value.name == case["error"]
        return
    fields, accepted = encode_within(ranges, budget)
    assert fields.hex() == case["fields"]
    assert accepted == case.get("accepted", [True] * len(ranges))
    kept = [pair for pair, ok in zip(ranges, accepted, strict=True) if ok]
    assert encode_ack_fields(kept) == fields
    assert list(parse_frames_untrusted(b"\x02" + fields)) == [Ack(tuple(kept))]
    assert len(fields) <= (math.inf if budget is None else budget)
