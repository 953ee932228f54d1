"""APP_STORE service: apps for the device (API 5.6, a draft upstream). The device calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from primegap.quantumlink.api.codec import U32, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import APP_STORE_SERVICE
from primegap.quantumlink.rpc import DownloadRoute, RequestRoute, ServiceRouteKey


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDetails:
    """One app on offer."""

    name: str
    icon: str = field(repr=False)
    developer_id: bytes
    app_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAppsResponse:
    """All apps on offer."""

    apps: tuple[AppDetails, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadAppParams:
    """Asks for an app, or for one version of it."""

    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadAppHeader:
    """The version that follows, as one part: a tar file."""

    version: str


@dataclass(frozen=True, slots=True)
class DownloadAppPartHeader:
    """No fields so far."""


class AppVersion(NamedTuple):
    """Version of an app; declared upstream, used by no route yet."""

    major: U32
    minor: U32
    patch: U32


RequestListApps: Final = RequestRoute(
    name="RequestListApps",
    key=ServiceRouteKey(APP_STORE_SERVICE, 1),
    request=cbor_codec(Empty),
    answer=cbor_codec(ListAppsResponse),
)
"List the apps on offer."

DownloadApp: Final = DownloadRoute(
    name="DownloadApp",
    key=ServiceRouteKey(APP_STORE_SERVICE, 2),
    request=cbor_codec(DownloadAppParams),
    header=cbor_codec(DownloadAppHeader),
    part_header=cbor_codec(DownloadAppPartHeader),
)
"Get an app."
