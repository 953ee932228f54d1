"""What the two ends say to each other: typed messages, their codec, and all 34 routes.

Messages and routes are imported from the module of their app or service, so that a process loads
only what it speaks:

| module | device serves (app) | phone serves (service) |
|---|---|---|
| `api.system` | details, currency, app activity, permissions, bundles | |
| `api.onboarding` | set-up steps | |
| `api.backup` | magic backup on or off, restore result | shards, backup files |
| `api.firmware` | installation status | update check, patches |
| `api.bitcoin` | signing, accounts, active seed | broadcast |
| `api.debug` | echo, benchmark | echo, benchmark |
| `api.app_store` | | apps |
| `api.security_check` | | challenge and verdict |
| `api.fx` | | prices |
| `api.clock` | | time and time zone |

`api.index` has the table of all routes, `api.accounts` what is inside an account update.
"""

from __future__ import annotations

from primegap.quantumlink.api.codec import (
    F32,
    I32,
    U8,
    U32,
    U64,
    Choice,
    MessageCodec,
    Range,
    Single,
    Size,
    cbor_codec,
)
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import (
    APP_STORE_SERVICE,
    BACKUP_APP,
    BACKUP_SERVICE,
    BITCOIN_APP,
    BITCOIN_SERVICE,
    DEBUG_APP,
    DEBUG_SERVICE,
    FIRMWARE_SERVICE,
    FX_SERVICE,
    ONBOARDING_APP,
    SECURITY_CHECK_SERVICE,
    SYSTEM_APP,
    TIME_SERVICE,
    UPDATE_APP,
    WireAppId,
)

__all__ = [
    "APP_STORE_SERVICE",
    "BACKUP_APP",
    "BACKUP_SERVICE",
    "BITCOIN_APP",
    "BITCOIN_SERVICE",
    "DEBUG_APP",
    "DEBUG_SERVICE",
    "F32",
    "FIRMWARE_SERVICE",
    "FX_SERVICE",
    "I32",
    "ONBOARDING_APP",
    "SECURITY_CHECK_SERVICE",
    "SYSTEM_APP",
    "TIME_SERVICE",
    "U8",
    "U32",
    "U64",
    "UPDATE_APP",
    "Choice",
    "Empty",
    "MessageCodec",
    "Range",
    "Single",
    "Size",
    "WireAppId",
    "cbor_codec",
]
