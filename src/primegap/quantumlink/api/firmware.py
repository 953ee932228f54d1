"""UPDATE app and FIRMWARE service: updates of the device (API 5.4).

The phone calls the app's route, the device calls the service's. Nothing said here makes firmware
trusted: the device checks its signatures itself (API section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from primegap.quantumlink.api.codec import U8, U32, U64, Choice, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import FIRMWARE_SERVICE, UPDATE_APP
from primegap.quantumlink.rpc import (
    AppRouteKey,
    DownloadRoute,
    RequestRoute,
    ServiceRouteKey,
    SubscriptionRoute,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareUpdateAvailable:
    """An update: a chain of patches from the version the device runs."""

    version: str
    "Version after the last patch."
    changelog: str
    "Of all patches, newest first."
    timestamp: U32
    "Unix seconds."
    total_size: U32
    "Bytes of all patches together."
    patch_count: U8


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareUpdateCheckParams:
    """Asks for updates."""

    current_version: str


class FirmwareUpdateCheckResponse(Choice):
    """Whether there is an update."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FirmwareUpdateFound(FirmwareUpdateCheckResponse):
    """There is one."""

    variant = "Available"
    unnamed = True
    update: FirmwareUpdateAvailable


@dataclass(frozen=True, slots=True)
class FirmwareUpdateNotAvailable(FirmwareUpdateCheckResponse):
    """The device is up to date."""

    variant = "NotAvailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFirmwareParams:
    """Asks for the patches."""

    current_version: str


class DownloadFirmwareHeader(Choice):
    """Whether patches follow, one part each, in the order in which they are applied."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DownloadFirmwareFound(DownloadFirmwareHeader):
    """They do, `patch_count` of them."""

    variant = "Available"
    unnamed = True
    update: FirmwareUpdateAvailable


@dataclass(frozen=True, slots=True)
class DownloadFirmwareNotAvailable(DownloadFirmwareHeader):
    """The device is up to date; no part follows."""

    variant = "NotAvailable"


@dataclass(frozen=True, slots=True)
class DownloadFirmwareError(DownloadFirmwareHeader):
    """The phone could not get them; no part follows."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadFirmwarePartHeader:
    """Names one patch."""

    patch_name: str
    size_bytes: U64


class InstallErrorStage(Enum):
    """Where an installation failed."""

    DOWNLOAD = "Download"
    VERIFY = "Verify"
    INSTALL = "Install"


class FirmwareInstallEvent(Choice):
    """How an installation on the device goes."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FirmwareInstalling(FirmwareInstallEvent):
    """It runs."""

    variant = "Installing"


@dataclass(frozen=True, slots=True)
class FirmwareRebooting(FirmwareInstallEvent):
    """The device restarts into the new version."""

    variant = "Rebooting"


@dataclass(frozen=True, slots=True)
class FirmwareInstalled(FirmwareInstallEvent):
    """The new version runs."""

    variant = "Success"
    installed_version: str


@dataclass(frozen=True, slots=True)
class FirmwareInstallError(FirmwareInstallEvent):
    """It failed."""

    variant = "Error"
    error: str
    stage: InstallErrorStage


SubscribeFirmwareInstallStatus: Final = SubscriptionRoute(
    name="SubscribeFirmwareInstallStatus",
    key=AppRouteKey(UPDATE_APP, 1),
    request=cbor_codec(Empty),
    event=cbor_codec(FirmwareInstallEvent),
)
"The steps of an installation."

RequestCheckFirmwareUpdate: Final = RequestRoute(
    name="RequestCheckFirmwareUpdate",
    key=ServiceRouteKey(FIRMWARE_SERVICE, 1),
    request=cbor_codec(FirmwareUpdateCheckParams),
    answer=cbor_codec(FirmwareUpdateCheckResponse),
)
"Ask whether there is an update."

DownloadFirmware: Final = DownloadRoute(
    name="DownloadFirmware",
    key=ServiceRouteKey(FIRMWARE_SERVICE, 2),
    request=cbor_codec(DownloadFirmwareParams),
    header=cbor_codec(DownloadFirmwareHeader),
    part_header=cbor_codec(DownloadFirmwarePartHeader),
)
"Get the patches."
