"""Who serves what: app ids of the device and service ids of the phone (API 2.3, 2.4)."""

from __future__ import annotations

from typing import Annotated, Final

from primegap.quantumlink.api.codec import Size
from primegap.quantumlink.rpc import APP_ID_SIZE, AppId, ServiceId

WireAppId = Annotated[AppId, Size(APP_ID_SIZE)]
"An app id inside a message."

SYSTEM_APP: Final = AppId(bytes(16))
ONBOARDING_APP: Final = AppId(bytes.fromhex("dac5321775d449c11bc9c90f38067f8f"))
BACKUP_APP: Final = AppId(bytes.fromhex("e19f16fcd9610bca7d026b4673f1cb06"))
UPDATE_APP: Final = AppId(b"os/update".ljust(16, b"\0"))
BITCOIN_APP: Final = AppId(b"Bitcoin Wallet".ljust(16, b"\0"))
DEBUG_APP: Final = AppId(bytes.fromhex("8ec0b4ea99704f9f973f5d7b7a3294b2"))

APP_STORE_SERVICE: Final = ServiceId(1)
BACKUP_SERVICE: Final = ServiceId(2)
BITCOIN_SERVICE: Final = ServiceId(3)
DEBUG_SERVICE: Final = ServiceId(4)
FIRMWARE_SERVICE: Final = ServiceId(5)
FX_SERVICE: Final = ServiceId(6)
SECURITY_CHECK_SERVICE: Final = ServiceId(7)
TIME_SERVICE: Final = ServiceId(8)
