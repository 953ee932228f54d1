"""TIME service: the device has no clock it could trust, so it asks (API 5.9). The device calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.quantumlink.api.codec import I32, U64, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import TIME_SERVICE
from primegap.quantumlink.rpc import RequestRoute, ServiceRouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TimezoneResponse:
    """Where the phone is."""

    offset_minutes: I32
    "East of Greenwich is positive."
    zone: str
    "IANA name."


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTimeResponse:
    """What time it is."""

    server_time_millis: U64
    "Unix milliseconds."


RequestTimezone: Final = RequestRoute(
    name="RequestTimezone",
    key=ServiceRouteKey(TIME_SERVICE, 1),
    request=cbor_codec(Empty),
    answer=cbor_codec(TimezoneResponse),
)
"Ask for the time zone."

RequestCurrentTime: Final = RequestRoute(
    name="RequestCurrentTime",
    key=ServiceRouteKey(TIME_SERVICE, 2),
    request=cbor_codec(Empty),
    answer=cbor_codec(CurrentTimeResponse),
)
"Ask for the time."
