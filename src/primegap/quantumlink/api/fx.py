"""FX service: what a bitcoin costs (API 5.8). The device calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primegap.quantumlink.api.codec import F32, U64, cbor_codec
from primegap.quantumlink.api.identifiers import FX_SERVICE
from primegap.quantumlink.rpc import RequestRoute, ServiceRouteKey, SubscriptionRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRateParams:
    """Which currency."""

    currency_code: str
    "ISO 4217."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """The price of one bitcoin."""

    currency_code: str
    rate: F32
    timestamp: U64
    "Unix seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRateHistoryParams:
    """Which currency."""

    currency_code: str
    "ISO 4217."


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePoint:
    """The price of one bitcoin at one time."""

    rate: F32
    timestamp: U64
    "Unix seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRateHistory:
    """Past prices."""

    history: tuple[PricePoint, ...]
    currency_code: str


SubscribeExchangeRate: Final = SubscriptionRoute(
    name="SubscribeExchangeRate",
    key=ServiceRouteKey(FX_SERVICE, 1),
    request=cbor_codec(ExchangeRateParams),
    event=cbor_codec(ExchangeRate),
)
"The price now, again every half minute or so, and whenever it changes."

RequestExchangeRateHistory: Final = RequestRoute(
    name="RequestExchangeRateHistory",
    key=ServiceRouteKey(FX_SERVICE, 2),
    request=cbor_codec(ExchangeRateHistoryParams),
    answer=cbor_codec(ExchangeRateHistory),
)
"Past prices."
