"""Messages and their codec: the examples of the specification, local misuse, declared limits."""

from __future__ import annotations

import time

import pytest

from primegap.quantumlink.api import BITCOIN_APP, Empty, MessageCodec, cbor_codec
from primegap.quantumlink.api.app_store import AppVersion
from primegap.quantumlink.api.backup import RestoreShardParams, SeedFingerprint
from primegap.quantumlink.api.bitcoin import (
    MAX_PSBT_VALUE_BYTES,
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


@pytest.mark.parametrize(("kind", "message", "encoding"), EXAMPLES)
def test_examples_of_the_specification(kind: type, message: object, encoding: str) -> None:
    codec: MessageCodec[object] = cbor_codec(kind)
    assert codec.encode(message) == bytes.fromhex(encoding)
    assert codec.decode_untrusted(bytes.fromhex(encoding)) == message


def test_a_request_without_fields_is_not_an_empty_body() -> None:
    assert cbor_codec(Empty).decode_untrusted(b"\xa0") == Empty()
    with pytest.raises(BadValueError) as caught:
        cbor_codec(Empty).decode_untrusted(b"")
    assert caught.value.reset_code is ResetCode.CODEC


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
    started_s = time.perf_counter()
    data = codec.encode(SignPsbtParams(account_id="acc", psbt=psbt))
    assert codec.decode_untrusted(data).psbt == psbt
    assert time.perf_counter() - started_s < 2
    assert len(data) <= MAX_PSBT_VALUE_BYTES == RequestSignPsbt.max_request_bytes


def test_claimed_lengths_reserve_nothing() -> None:
    for head in ("5b", "7b", "9b", "bb"):
        data = b"\xa2\x61x" + bytes.fromhex(head) + b"\x7f" + b"\xff" * 7
        with pytest.raises(BadValueError):
            cbor_codec(EchoParams).decode_untrusted(data)
