"""Messages and their codec: the examples of the specification, local misuse, declared limits."""

from __future__ import annotations

import dataclasses
import time

import pytest

from primegap.quantumlink.api import BITCOIN_APP, Empty, MessageCodec, cbor_codec
from primegap.quantumlink.api.app_store import AppVersion, ListAppsResponse
from primegap.quantumlink.api.backup import RestoreShardParams, SeedFingerprint
from primegap.quantumlink.api.bitcoin import (
    MAX_PSBT_VALUE_BYTES,
    ActiveSeedFingerprint,
    RequestSignPsbt,
    SignPsbtError,
    SignPsbtParams,
    SignPsbtRejected,
    SignPsbtResponse,
    SignPsbtSigned,
)
from primegap.quantumlink.api.clock import CurrentTimeResponse, TimezoneResponse
from primegap.quantumlink.api.debug import EchoParams
from primegap.quantumlink.api.firmware import (
    FirmwareUpdateAvailable,
    FirmwareUpdateCheckResponse,
    FirmwareUpdateFound,
    FirmwareUpdateNotAvailable,
)
from primegap.quantumlink.api.fx import ExchangeRate, PricePoint
from primegap.quantumlink.api.onboarding import OnboardingState
from primegap.quantumlink.api.security_check import (
    ChallengeProof,
    RunSecurityCheckInitiatorEvent,
    SecurityCheckAnswer,
)
from primegap.quantumlink.api.system import AppActivityEvent, AppOpened
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import BadValueError, ResetCode

EXAMPLES = [  # API 4.4
    (Empty, Empty(), "a0"),
    (
        SignPsbtParams,
        SignPsbtParams(account_id="acc", psbt=b"psbt\xff"),
        "a2 6a6163636f756e745f6964 63616363 6470736274 85 1870 1873 1862 1874 18ff",
    ),
    (SignPsbtResponse, SignPsbtRejected(), "68 52656a6563746564"),
    (
        SignPsbtResponse,
        SignPsbtSigned(b"\x01\x02\xff"),
        "a1 665369676e6564 a1 6470736274 83 01 02 18ff",
    ),
    (SignPsbtResponse, SignPsbtError("no"), "a1 654572726f72 a1 656572726f72 626e6f"),
    (
        FirmwareUpdateCheckResponse,
        FirmwareUpdateNotAvailable(),
        "6c 4e6f74417661696c61626c65",
    ),
    (
        FirmwareUpdateCheckResponse,
        FirmwareUpdateFound(
            FirmwareUpdateAvailable(
                version="1.3.0",
                changelog="fix",
                timestamp=1700000000,
                total_size=1048576,
                patch_count=2,
            )
        ),
        "a169417661696c61626c65a56776657273696f6e65312e332e30696368616e67656c6f67636669786974696d65"
        "7374616d701a6553f1006a746f74616c5f73697a651a001000006b70617463685f636f756e7402",
    ),
    (PricePoint, PricePoint(rate=1.5, timestamp=1), "a2 6472617465 f93e00 6974696d657374616d70 01"),
    (
        ExchangeRate,
        ExchangeRate(currency_code="USD", rate=65432.1015625, timestamp=1700000000),
        "a36d63757272656e63795f636f6465635553446472617465fa477f981a6974696d657374616d701a6553f100",
    ),
    (
        TimezoneResponse,
        TimezoneResponse(offset_minutes=-300, zone="America/New_York"),
        "a26e6f66667365745f6d696e7574657339012b647a6f6e6570416d65726963612f4e65775f596f726b",
    ),
    (
        CurrentTimeResponse,
        CurrentTimeResponse(server_time_millis=1700000000000),
        "a1727365727665725f74696d655f6d696c6c69731b0000018bcfe56800",
    ),
    (
        RestoreShardParams,
        RestoreShardParams(seed_fingerprint=SeedFingerprint(bytes(32))),
        "a2 70736565645f66696e6765727072696e74 9820" + "00" * 32 + "6974696d657374616d70 f6",
    ),
    (
        AppActivityEvent,
        AppOpened(BITCOIN_APP),
        "a1 664f70656e6564 90 1842 1869 1874 1863 186f 1869 186e 1820 1857 1861 186c 186c 1865 1874"
        " 00 00",
    ),
    (
        RunSecurityCheckInitiatorEvent,
        SecurityCheckAnswer(ChallengeProof(b"\x00\x18")),
        "a1714368616c6c656e6765526573706f6e7365a16753756363657373a1646461746182001818",
    ),
]


@pytest.mark.scenario("api", 1)
@pytest.mark.parametrize(("kind", "message", "encoding"), EXAMPLES)
def test_examples_of_the_specification(kind: type, message: object, encoding: str) -> None:
    codec: MessageCodec[object] = cbor_codec(kind)
    assert codec.encode(message) == bytes.fromhex(encoding)
    assert codec.decode_untrusted(bytes.fromhex(encoding)) == message


@pytest.mark.scenario("api", 2)
def test_a_request_without_fields_is_not_an_empty_body() -> None:
    assert cbor_codec(Empty).decode_untrusted(b"\xa0") == Empty()
    with pytest.raises(BadValueError) as caught:
        cbor_codec(Empty).decode_untrusted(b"")
    assert caught.value.reset_code is ResetCode.CODEC


@pytest.mark.scenario("session", 88)
@pytest.mark.scenario("api", 3)
def test_an_old_message_lacks_the_optional_field_and_a_new_one_has_another() -> None:
    codec = cbor_codec(RestoreShardParams)
    fingerprint = bytes.fromhex("70736565645f66696e6765727072696e74" + "5820") + bytes(32)
    assert codec.decode_untrusted(b"\xa1" + fingerprint).timestamp is None
    newer = b"\xa2" + fingerprint + b"\x64newf\x83\x01\x02\x03"
    assert codec.decode_untrusted(newer).timestamp is None


def test_numbers_are_rounded_to_what_travels() -> None:
    codec = cbor_codec(ExchangeRate)
    rounded = codec.encode(ExchangeRate(currency_code="USD", rate=65432.1015625, timestamp=1))
    assert codec.encode(ExchangeRate(currency_code="USD", rate=65432.1, timestamp=1)) == rounded
    assert codec.encode(ExchangeRate(currency_code="USD", rate=1e39, timestamp=1)) == codec.encode(
        ExchangeRate(currency_code="USD", rate=float("inf"), timestamp=1)
    )


def test_a_type_has_one_codec() -> None:
    assert cbor_codec(EchoParams) is cbor_codec(EchoParams)
    assert repr(cbor_codec(EchoParams)) == "<MessageCodec EchoParams>"


def test_bytes_behind_a_message_are_ignored_unless_it_must_be_whole() -> None:
    codec = cbor_codec(Empty)
    assert codec.decode_untrusted(b"\xa0\x00") == Empty()
    assert codec.decode_whole_untrusted(b"\xa0") == Empty()
    with pytest.raises(BadValueError):
        codec.decode_whole_untrusted(b"\xa0\x00")


def test_values_out_of_range_are_a_local_fault() -> None:
    with pytest.raises(LocalError):
        cbor_codec(CurrentTimeResponse).encode(CurrentTimeResponse(server_time_millis=-1))
    with pytest.raises(LocalError):
        cbor_codec(CurrentTimeResponse).encode(CurrentTimeResponse(server_time_millis=2**64))
    short = SeedFingerprint(bytes(31))
    with pytest.raises(LocalError):
        cbor_codec(RestoreShardParams).encode(RestoreShardParams(seed_fingerprint=short))
    with pytest.raises(LocalError):
        cbor_codec(EchoParams).encode(EchoParams(message="\ud800"))
    with pytest.raises(LocalError):
        cbor_codec(AppVersion).encode(AppVersion(1, 2, 2**32))


def test_a_variant_of_another_enum_is_a_local_fault() -> None:
    codec: object = cbor_codec(SignPsbtResponse)
    with pytest.raises(LocalError):
        codec.encode(AppOpened(BITCOIN_APP))  # type: ignore[attr-defined]


def test_peer_bytes_do_not_show_in_errors() -> None:
    with pytest.raises(BadValueError) as caught:
        cbor_codec(EchoParams).decode_untrusted(b"\xa1\x67message\x64\xff\xfebc")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_sensitive_fields_stay_out_of_repr() -> None:
    assert "ff" not in repr(SignPsbtParams(account_id="a", psbt=b"\xff"))


def test_a_psbt_of_a_mebibyte_passes_and_quickly() -> None:
    psbt = b"psbt\xff" + bytes(range(256)) * 4095
    codec = cbor_codec(SignPsbtParams)
    started_s = time.process_time()
    data = codec.encode(SignPsbtParams(account_id="acc", psbt=psbt))
    assert codec.decode_untrusted(data).psbt == psbt
    assert time.process_time() - started_s < 2
    assert len(data) <= MAX_PSBT_VALUE_BYTES == RequestSignPsbt.max_request_bytes


def test_claimed_lengths_reserve_nothing() -> None:
    for head in ("5b", "7b", "9b", "bb"):
        data = b"\xa2\x61x" + bytes.fromhex(head) + b"\x7f" + b"\xff" * 7
        with pytest.raises(BadValueError):
            cbor_codec(EchoParams).decode_untrusted(data)


# RFC 8949, appendix A: items a reader must be able to skip. Two unassigned simple values of that
# list stand below: API 4.2 accepts known simple values only.
WELL_FORMED = """
00 01 0a 17 1818 1819 1864 1903e8 1a000f4240 1b000000e8d4a51000 1bffffffffffffffff
c249010000000000000000 3bffffffffffffffff c349010000000000000000 20 29 3863 3903e7
f90000 f98000 f93c00 fb3ff199999999999a f93e00 f97bff fa47c35000 fa7f7fffff fb7e37e43c8800759c
f90001 f90400 f9c400 fbc010666666666666 f97c00 f97e00 f9fc00 fa7f800000 fa7fc00000 faff800000
fb7ff0000000000000 fb7ff8000000000000 fbfff0000000000000 f4 f5 f6 f7
c074323031332d30332d32315432303a30343a30305a c11a514b67b0 c1fb41d452d9ec200000 d74401020304
d818456449455446 d82076687474703a2f2f7777772e6578616d706c652e636f6d
40 4401020304 60 6161 6449455446 62225c 62c3bc 63e6b0b4 64f0908591
80 83010203 8301820203820405 98190102030405060708090a0b0c0d0e0f101112131415161718181819
a0 a201020304 a26161016162820203 826161a161626163
a56161614161626142616361436164614461656145
5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f018202039f0405ffff 9f01820203820405ff
83018202039f0405ff 83019f0203ff820405
9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff
bf61610161629f0203ffff 826161bf61626163ff bf6346756ef563416d7421ff
"""

# RFC 8949, appendix F: items that are not well-formed, each for a reason of its own.
NOT_WELL_FORMED = """
18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000
41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203
81 818181818181818181 8200 a1 a20102 a100 a2000000 c0
5f4100 7f6100 9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff
1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe
f800 f801 f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff
5f5f4100ffff 7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff
9f829f819f9fffffffff bf00ff bf000000ff 1f 3f df f0 f8ff
"""


@pytest.mark.parametrize("item", WELL_FORMED.split())
def test_unknown_fields_may_hold_any_item(item: str) -> None:
    skipped = b"\xa2\x63new" + bytes.fromhex(item) + b"\x67message\x62hi"
    assert cbor_codec(EchoParams).decode_untrusted(skipped) == EchoParams(message="hi")
    nested = b"\xa2\x63new\x9f" + bytes.fromhex(item) * 2 + b"\xff\x67message\x62hi"
    assert cbor_codec(EchoParams).decode_untrusted(nested) == EchoParams(message="hi")


@pytest.mark.parametrize("item", NOT_WELL_FORMED.split())
def test_unknown_fields_must_be_well_formed(item: str) -> None:
    with pytest.raises(BadValueError):
        cbor_codec(EchoParams).decode_untrusted(
            b"\xa2\x67message\x62hi\x63new" + bytes.fromhex(item)
        )


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xa2\x64psbt\x9a\x00\x0f\x42\x40" + b"\xc1\x05" * 1_000_000,
        b"\xa2\x64psbt\x9f" + b"\x05" * 2_000_000 + b"\xff",
        b"\xbf" + b"\x60\x00" * 1_000_000 + b"\xff",
        b"\xa2\x60\x9f" + b"\x00" * 2_000_000 + b"\xff",
        b"\xc1" * 2_000_000 + b"\xa0",
        b"\xa2\x6aaccount_id\x7f" + b"\x61a" * 1_000_000 + b"\xff",
    ],
    ids=["tagged-items", "indefinite-items", "empty-keys", "skipped-items", "tags", "text-pieces"],
)
def test_messages_made_to_take_long_are_refused(hostile: bytes) -> None:
    with pytest.raises(BadValueError, match="more than 131072 items"):
        cbor_codec(SignPsbtParams).decode_untrusted(hostile)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (EchoParams, EchoParams(message=b"bytes")),  # type: ignore[arg-type]
        (EchoParams, TimezoneResponse(offset_minutes=0, zone="UTC")),
        (SignPsbtParams, SignPsbtParams(account_id="a", psbt="text")),  # type: ignore[arg-type]
        (PricePoint, PricePoint(rate="1", timestamp=1)),  # type: ignore[arg-type]
        (ActiveSeedFingerprint, ActiveSeedFingerprint(fingerprint="f", has_passphrase=1)),  # type: ignore[arg-type]
        (ListAppsResponse, ListAppsResponse(apps=[])),  # type: ignore[arg-type]
        (AppVersion, (1, 2, 3)),
        (OnboardingState, "Completed"),
    ],
)
def test_values_of_another_type_are_a_local_fault(kind: type, wrong: object) -> None:
    codec: MessageCodec[object] = cbor_codec(kind)
    with pytest.raises(LocalError):
        codec.encode(wrong)


@pytest.mark.parametrize("kind", [complex, dict[str, int], int | str, int])
def test_messages_are_declared_with_known_types(kind: object) -> None:
    @dataclasses.dataclass(frozen=True)
    class Odd:
        field: object

    Odd.__annotations__["field"] = kind
    codec: MessageCodec[Odd] = MessageCodec(Odd)
    with pytest.raises(LocalError):
        codec.encode(Odd(1))
