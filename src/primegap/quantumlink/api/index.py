"""All routes of the API in one table (API section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.quantumlink.api.app_store import DownloadApp, RequestListApps
from primegap.quantumlink.api.backup import (
    DownloadMagicBackup,
    RequestBackupShard,
    RequestPassportMagicBackupStatus,
    RequestRestoreShard,
    SubscribeMagicBackupRestoreCompleted,
    SubscribePassportMagicBackupEnabled,
    UploadMagicBackup,
)
from primegap.quantumlink.api.bitcoin import (
    RequestAuditLog,
    RequestBroadcastTransaction,
    RequestPassportActiveSeedFingerprint,
    RequestPolicies,
    RequestSetPolicy,
    RequestSignMessage,
    RequestSignPsbt,
    SubscribeAccountUpdated,
    SubscribePassportActiveSeedFingerprint,
)
from primegap.quantumlink.api.clock import RequestCurrentTime, RequestTimezone
from primegap.quantumlink.api.debug import (
    DownloadBenchmark,
    DownloadPassportBenchmark,
    RequestEcho,
    RequestPassportEcho,
)
from primegap.quantumlink.api.firmware import (
    DownloadFirmware,
    RequestCheckFirmwareUpdate,
    SubscribeFirmwareInstallStatus,
)
from primegap.quantumlink.api.fx import RequestExchangeRateHistory, SubscribeExchangeRate
from primegap.quantumlink.api.onboarding import SubscribeOnboardingStatus
from primegap.quantumlink.api.security_check import RunSecurityCheck
from primegap.quantumlink.api.system import (
    RequestInstallPeerBundles,
    RequestPassportDetails,
    RequestPassportFiatPreference,
    RequestPeerPermissions,
    SubscribeAppActivity,
    SubscribePassportDetails,
    SubscribePassportFiatPreference,
)

if TYPE_CHECKING:
    from primegap.quantumlink.rpc import Route

DEVICE_ROUTES: Final[tuple[Route, ...]] = (
    RequestPassportDetails,
    SubscribePassportDetails,
    RequestPassportFiatPreference,
    SubscribePassportFiatPreference,
    SubscribeAppActivity,
    RequestPeerPermissions,
    RequestInstallPeerBundles,
    SubscribeOnboardingStatus,
    SubscribePassportMagicBackupEnabled,
    SubscribeMagicBackupRestoreCompleted,
    SubscribeFirmwareInstallStatus,
    RequestSignPsbt,
    SubscribeAccountUpdated,
    RequestPassportActiveSeedFingerprint,
    SubscribePassportActiveSeedFingerprint,
    RequestPassportEcho,
    DownloadPassportBenchmark,
)
"Routes that apps of the device serve and the phone calls."

PHONE_ROUTES: Final[tuple[Route, ...]] = (
    RequestListApps,
    DownloadApp,
    RequestBackupShard,
    RequestRestoreShard,
    RequestPassportMagicBackupStatus,
    UploadMagicBackup,
    DownloadMagicBackup,
    RequestBroadcastTransaction,
    RequestEcho,
    DownloadBenchmark,
    RequestCheckFirmwareUpdate,
    DownloadFirmware,
    SubscribeExchangeRate,
    RequestExchangeRateHistory,
    RunSecurityCheck,
    RequestTimezone,
    RequestCurrentTime,
)
"Routes that services of the phone serve and the device calls."

EXTENSION_ROUTES: Final[tuple[Route, ...]] = (
    RequestSetPolicy,
    RequestPolicies,
    RequestAuditLog,
    RequestSignMessage,
)
"Routes of ours, which the API does not have; apps of the device serve them."

ALL_ROUTES: Final = DEVICE_ROUTES + PHONE_ROUTES
"The 34 routes of the API."
