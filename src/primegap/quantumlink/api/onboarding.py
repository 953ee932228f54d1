"""ONBOARDING app: how far the device's set-up is (API 5.2). The phone calls."""

from __future__ import annotations

from enum import Enum
from typing import Final

from primegap.quantumlink.api.codec import cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import ONBOARDING_APP
from primegap.quantumlink.rpc import AppRouteKey, SubscriptionRoute


class OnboardingState(Enum):
    """A step of the set-up, in order; SECURING_DEVICE and DEVICE_SECURED are about the PIN."""

    FIRMWARE_UPDATE_SCREEN = "FirmwareUpdateScreen"
    SECURING_DEVICE = "SecuringDevice"
    DEVICE_SECURED = "DeviceSecured"
    WALLET_CREATION_SCREEN = "WalletCreationScreen"
    CREATING_WALLET = "CreatingWallet"
    WALLET_CREATED = "WalletCreated"
    MAGIC_BACKUP_SCREEN = "MagicBackupScreen"
    CREATING_MAGIC_BACKUP = "CreatingMagicBackup"
    MAGIC_BACKUP_CREATED = "MagicBackupCreated"
    CREATING_MANUAL_BACKUP = "CreatingManualBackup"
    CREATING_KEYCARD_BACKUP = "CreatingKeycardBackup"
    WRITING_DOWN_SEED_WORDS = "WritingDownSeedWords"
    COMPLETED = "Completed"


SubscribeOnboardingStatus: Final = SubscriptionRoute(
    name="SubscribeOnboardingStatus",
    key=AppRouteKey(ONBOARDING_APP, 1),
    request=cbor_codec(Empty),
    event=cbor_codec(OnboardingState),
)
"The step now and whenever it changes."
