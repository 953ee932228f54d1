"""DEBUG: echo and benchmark, in both directions (API 5.10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.quantumlink.api.codec import U64, cbor_codec
from primegap.quantumlink.api.identifiers import DEBUG_APP, DEBUG_SERVICE
from primegap.quantumlink.rpc import AppRouteKey, DownloadRoute, RequestRoute, ServiceRouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoParams:
    """Something to say."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoResponse:
    """The same again."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadBenchmarkParams:
    """How much to send."""

    length: U64
    "Bytes of body wanted."


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadBenchmarkHeader:
    """What is to come, as one part."""

    hash: bytes
    "SHA-256 of the body."


@dataclass(frozen=True, slots=True)
class DownloadBenchmarkPartHeader:
    """No fields so far."""


RequestPassportEcho: Final = RequestRoute(
    name="RequestPassportEcho",
    key=AppRouteKey(DEBUG_APP, 1),
    request=cbor_codec(EchoParams),
    answer=cbor_codec(EchoResponse),
)
"The phone asks, the device repeats."

DownloadPassportBenchmark: Final = DownloadRoute(
    name="DownloadPassportBenchmark",
    key=AppRouteKey(DEBUG_APP, 2),
    request=cbor_codec(DownloadBenchmarkParams),
    header=cbor_codec(DownloadBenchmarkHeader),
    part_header=cbor_codec(DownloadBenchmarkPartHeader),
)
"The phone asks for bytes of the device."

RequestEcho: Final = RequestRoute(
    name="RequestEcho",
    key=ServiceRouteKey(DEBUG_SERVICE, 1),
    request=cbor_codec(EchoParams),
    answer=cbor_codec(EchoResponse),
)
"The device asks, the phone repeats."

DownloadBenchmark: Final = DownloadRoute(
    name="DownloadBenchmark",
    key=ServiceRouteKey(DEBUG_SERVICE, 3),
    request=cbor_codec(DownloadBenchmarkParams),
    header=cbor_codec(DownloadBenchmarkHeader),
    part_header=cbor_codec(DownloadBenchmarkPartHeader),
)
"The device asks for bytes of the phone."
