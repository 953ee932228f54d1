"""SYSTEM app: details of the device, preferences, permissions (API 5.1). The phone calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NewType

from primegap.quantumlink.api.codec import Choice, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import SYSTEM_APP, WireAppId
from primegap.quantumlink.rpc import AppRouteKey, RequestRoute, SubscriptionRoute


class PassportModel(Enum):
    """Hardware generation."""

    GEN1 = "Gen1"
    GEN2 = "Gen2"
    PRIME = "Prime"


class PassportColor(Enum):
    """Colour of the case."""

    LIGHT = "Light"
    DARK = "Dark"


PassportFirmwareVersion = NewType("PassportFirmwareVersion", str)
"Version of the firmware, for example `1.2.1`."

PassportSerial = NewType("PassportSerial", str)
"Serial number."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportDetailsResponse:
    """What the device is."""

    device_name: str
    model: PassportModel
    firmware_version: PassportFirmwareVersion
    serial: PassportSerial
    color: PassportColor
    onboarding_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportFiatPreferenceResponse:
    """The currency chosen on the device."""

    currency_code: str
    "ISO 4217."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportFiatPreferenceEvent:
    """Another currency was chosen on the device."""

    currency_code: str
    "ISO 4217."


class AppActivityEvent(Choice):
    """The user opened or left an app of the device."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class AppOpened(AppActivityEvent):
    """The app is on the screen now."""

    variant = "Opened"
    unnamed = True
    app_id: WireAppId


@dataclass(frozen=True, slots=True)
class AppClosed(AppActivityEvent):
    """The user left the app."""

    variant = "Closed"
    unnamed = True
    app_id: WireAppId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPermissions:
    """The apps a peer may open streams towards (API 2.6)."""

    app_ids: tuple[WireAppId, ...]


PeerPermissionsParams = NewType("PeerPermissionsParams", PeerPermissions)
"The whole new list the phone asks for."


class PeerPermissionsResponse(Enum):
    """What the user decided on the device."""

    UPDATED = "Updated"
    DENIED = "Denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPeerBundlesParams:
    """Bundles of a relay router and of the peers behind it; opaque here."""

    router: bytes = field(repr=False)
    peers: tuple[bytes, ...] = field(repr=False)


class InstallPeerBundlesResponse(Enum):
    """Whether the bundles were taken over."""

    INSTALLED = "Installed"
    REJECTED = "Rejected"


RequestPassportDetails: Final = RequestRoute(
    name="RequestPassportDetails",
    key=AppRouteKey(SYSTEM_APP, 1),
    request=cbor_codec(Empty),
    answer=cbor_codec(PassportDetailsResponse),
)
"Read the details once."

SubscribePassportDetails: Final = SubscriptionRoute(
    name="SubscribePassportDetails",
    key=AppRouteKey(SYSTEM_APP, 2),
    request=cbor_codec(Empty),
    event=cbor_codec(PassportDetailsResponse),
)
"The details now and whenever they change."

RequestPassportFiatPreference: Final = RequestRoute(
    name="RequestPassportFiatPreference",
    key=AppRouteKey(SYSTEM_APP, 3),
    request=cbor_codec(Empty),
    answer=cbor_codec(PassportFiatPreferenceResponse),
)
"Read the currency once."

SubscribePassportFiatPreference: Final = SubscriptionRoute(
    name="SubscribePassportFiatPreference",
    key=AppRouteKey(SYSTEM_APP, 4),
    request=cbor_codec(Empty),
    event=cbor_codec(PassportFiatPreferenceEvent),
)
"The currency now and whenever it changes."

SubscribeAppActivity: Final = SubscriptionRoute(
    name="SubscribeAppActivity",
    key=AppRouteKey(SYSTEM_APP, 5),
    request=cbor_codec(Empty),
    event=cbor_codec(AppActivityEvent),
)
"Which app the user opens or leaves."

RequestPeerPermissions: Final = RequestRoute(
    name="RequestPeerPermissions",
    key=AppRouteKey(SYSTEM_APP, 6),
    request=cbor_codec(PeerPermissionsParams),
    answer=cbor_codec(PeerPermissionsResponse),
    timeout_s=None,
)
"Ask the user for another list of permissions."

RequestInstallPeerBundles: Final = RequestRoute(
    name="RequestInstallPeerBundles",
    key=AppRouteKey(SYSTEM_APP, 7),
    request=cbor_codec(InstallPeerBundlesParams),
    answer=cbor_codec(InstallPeerBundlesResponse),
    timeout_s=None,
)
"Hand over the bundles of a relay router and its peers."
