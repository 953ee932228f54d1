"""Readers of lanes: what they hand out, what they refuse, whatever way the bytes are cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from primegap.quantumlink.codec import MAX_U64
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import (
    PART_END,
    AppId,
    AppRouteKey,
    EventReader,
    FinalResponse,
    LaneReader,
    LengthOverflowError,
    MultipartReader,
    PartBody,
    PartEnd,
    PartStart,
    PartTag,
    Pause,
    Preamble,
    ProgressReader,
    ProgressTag,
    ProgressValue,
    ResetCode,
    RpcError,
    ServiceId,
    ServiceRouteKey,
    TrailingBytesError,
    TruncatedError,
    UnexpectedFrameKindError,
    ValueReader,
    encode_part,
    encode_tagged_part,
)

Outcome = list[object]


def joined(items: Outcome) -> Outcome:
    """Put neighbouring body pieces together: their boundaries carry no meaning."""
    out: Outcome = []
    for item in items:
        if isinstance(item, PartBody) and out and isinstance(out[-1], PartBody):
            out[-1] = PartBody(out[-1].data + item.data)
        else:
            out.append(item)
    return out


def outcome(reader: LaneReader[object], data: bytes, *, piece: int, end: bool = True) -> Outcome:
    """Feed `data` in pieces; return the items, then the error class or the last pause."""
    items: Outcome = []
    item: object = None
    pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
    for index in range(len(pieces) + 1):
        if index < len(pieces):
            reader.receive(pieces[index])
        elif end:
            reader.receive_end()
        while True:
            try:
                item = reader.take()
            except RpcError as error:
                assert reader.take() is Pause.END
                return [*joined(items), type(error)]
            if isinstance(item, Pause):
                break
            items.append(item)
    return [*joined(items), item]


def parts() -> MultipartReader:
    return MultipartReader(preamble_limit=100, header_limit=10)


HEADER = encode_tagged_part(PartTag.HEADER, b"head")
WHOLE = (
    encode_part(b"pre")
    + encode_tagged_part(PartTag.BODY, b"")
    + HEADER
    + encode_tagged_part(PartTag.BODY, b"abc")
    + encode_tagged_part(PartTag.BODY, b"def")
    + PART_END
    + encode_tagged_part(PartTag.HEADER, b"")
    + PART_END
)
PRE = encode_part(b"pre")
PROGRESS = encode_tagged_part(ProgressTag.PROGRESS, b"10%")
RESPONSE = encode_tagged_part(ProgressTag.RESPONSE, b"done")
Make = Callable[[], LaneReader[object]]

CASES: list[tuple[str, Make, bytes, Outcome]] = [
    ("value", lambda: ValueReader(5), b"hello", [b"hello", Pause.END]),
    ("empty value", lambda: ValueReader(0), b"", [b"", Pause.END]),
    ("value too long", lambda: ValueReader(4), b"hello", [LengthOverflowError]),
    ("no events", lambda: EventReader(9), b"", [Pause.END]),
    (
        "events",
        lambda: EventReader(5),
        encode_part(b"one") + encode_part(b"") + encode_part(b"three"),
        [b"one", b"", b"three", Pause.END],
    ),
    (
        "event too long",
        lambda: EventReader(5),
        encode_part(b"one") + encode_part(b"sixsix"),
        [b"one", LengthOverflowError],
    ),
    (
        "event cut",
        lambda: EventReader(5),
        encode_part(b"one") + encode_part(b"two")[:-1],
        [b"one", TruncatedError],
    ),
    ("event length cut", lambda: EventReader(5), bytes(7), [TruncatedError]),
    (
        "progress",
        lambda: ProgressReader(9),
        PROGRESS + PROGRESS + RESPONSE,
        [ProgressValue(b"10%"), ProgressValue(b"10%"), FinalResponse(b"done"), Pause.END],
    ),
    ("no response", lambda: ProgressReader(9), PROGRESS, [ProgressValue(b"10%"), TruncatedError]),
    ("no frame", lambda: ProgressReader(9), b"", [TruncatedError]),
    (
        "after response",
        lambda: ProgressReader(9),
        RESPONSE + b"\0",
        [FinalResponse(b"done"), TrailingBytesError],
    ),
    ("progress tag", lambda: ProgressReader(9), b"\x03" + bytes(8), [UnexpectedFrameKindError]),
    ("progress too long", lambda: ProgressReader(2), PROGRESS, [LengthOverflowError]),
    (
        "parts",
        parts,
        WHOLE,
        [
            Preamble(b"pre"),
            PartStart(b"head"),
            PartBody(b"abcdef"),
            PartEnd(),
            PartStart(b""),
            PartEnd(),
            Pause.END,
        ],
    ),
    ("no preamble", parts, b"", [TruncatedError]),
    ("no parts", parts, PRE, [Preamble(b"pre"), Pause.END]),
    ("preamble too long", parts, encode_part(bytes(101)), [LengthOverflowError]),
    (
        "header too long",
        parts,
        PRE + encode_tagged_part(PartTag.HEADER, bytes(11)),
        [Preamble(b"pre"), LengthOverflowError],
    ),
    ("end outside", parts, PRE + PART_END, [Preamble(b"pre"), UnexpectedFrameKindError]),
    (
        "body outside",
        parts,
        PRE + encode_tagged_part(PartTag.BODY, b"x"),
        [Preamble(b"pre"), UnexpectedFrameKindError],
    ),
    (
        "header inside",
        parts,
        PRE + HEADER + HEADER,
        [Preamble(b"pre"), PartStart(b"head"), UnexpectedFrameKindError],
    ),
    (
        "end with bytes",
        parts,
        PRE + HEADER + encode_tagged_part(PartTag.END, b"x"),
        [Preamble(b"pre"), PartStart(b"head"), TrailingBytesError],
    ),
    ("tag 9", parts, PRE + b"\x09" + bytes(8), [Preamble(b"pre"), UnexpectedFrameKindError]),
    (
        "ended in part",
        parts,
        PRE + HEADER + encode_tagged_part(PartTag.BODY, b"xy"),
        [Preamble(b"pre"), PartStart(b"head"), PartBody(b"xy"), TruncatedError],
    ),
    (
        "ended in chunk",
        parts,
        PRE + HEADER + encode_tagged_part(PartTag.BODY, b"xyz")[:-1],
        [Preamble(b"pre"), PartStart(b"head"), PartBody(b"xy"), TruncatedError],
    ),
    ("ended in head", parts, PRE + HEADER[:5], [Preamble(b"pre"), TruncatedError]),
]


@pytest.mark.scenario("session", 86)
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 8, 9, 16, 1000])
@pytest.mark.parametrize(("name", "make", "data", "expected"), CASES, ids=[c[0] for c in CASES])
def test_items_come_out_whatever_the_cut(
    name: str, make: Make, data: bytes, expected: Outcome, piece: int
) -> None:
    assert outcome(make(), data, piece=piece) == expected, name


@pytest.mark.scenario("session", 85)
@pytest.mark.parametrize(
    ("make", "data", "expected"),
    [
        (lambda: ValueReader(9), b"hel", [Pause.MORE]),
        (lambda: ValueReader(4), b"hello", [LengthOverflowError]),
        (lambda: EventReader(9), encode_part(b"one") + b"\5", [b"one", Pause.MORE]),
        (lambda: EventReader(10), b"\x0b" + bytes(7), [LengthOverflowError]),
        (lambda: EventReader(MAX_U64), b"\xff" * 8 + b"abc", [Pause.MORE]),
        (lambda: ProgressReader(9), RESPONSE, [FinalResponse(b"done"), Pause.MORE]),
        (lambda: ProgressReader(9), b"\3\5" + bytes(7), [Pause.MORE]),
        (parts, PRE, [Preamble(b"pre"), Pause.MORE]),
        (parts, PRE + b"\x09" + bytes(7), [Preamble(b"pre"), Pause.MORE]),
        (parts, PRE + b"\x09" + bytes(8), [Preamble(b"pre"), UnexpectedFrameKindError]),
        (
            parts,
            PRE + HEADER + b"\2" + b"\xff" * 8 + b"ab",
            [Preamble(b"pre"), PartStart(b"head"), PartBody(b"ab"), Pause.MORE],
        ),
    ],
)
@pytest.mark.parametrize("piece", [1, 4, 1000])
def test_items_and_errors_come_as_early_as_they_can(
    make: Make, data: bytes, expected: Outcome, piece: int
) -> None:
    assert outcome(make(), data, piece=piece, end=False) == expected


def test_nothing_is_kept_after_an_error() -> None:
    reader = EventReader(1)
    reader.receive(encode_part(b"xx"))
    with pytest.raises(LengthOverflowError):
        reader.take()
    reader.receive(bytes(1000))
    assert reader.take() is Pause.END


def test_errors_know_their_reset_code() -> None:
    assert TruncatedError.reset_code is ResetCode.PROTOCOL
    assert TrailingBytesError.reset_code is ResetCode.PROTOCOL
    assert LengthOverflowError.reset_code is ResetCode.LIMIT
    assert UnexpectedFrameKindError(9).kind == 9


def test_framing_examples_of_the_specification() -> None:  # API 3.3
    assert encode_part(b"iCompleted").hex() == "0a00000000000000" + b"iCompleted".hex()
    assert encode_tagged_part(PartTag.HEADER, b"\xa0").hex() == "010100000000000000a0"
    assert encode_tagged_part(PartTag.BODY, b"hello").hex() == "02050000000000000068656c6c6f"
    assert PART_END.hex() == "030000000000000000"


def test_route_keys_are_checked_when_they_are_made() -> None:
    for make in (
        lambda: AppRouteKey(AppId(bytes(15)), 1),
        lambda: AppRouteKey(AppId(bytes(16)), 2**32),
        lambda: ServiceRouteKey(ServiceId(2**64), 1),
        lambda: ServiceRouteKey(ServiceId(-1), 1),
        lambda: ServiceRouteKey(ServiceId(1), -1),
    ):
        with pytest.raises(LocalError):
            make()


def test_the_scope_of_a_key_is_what_permissions_are_given_for() -> None:
    assert AppRouteKey(AppId(b"Bitcoin Wallet\0\0"), 1).scope == b"Bitcoin Wallet\0\0"
    assert ServiceRouteKey(ServiceId(3), 1).scope == 3
