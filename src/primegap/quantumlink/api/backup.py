"""BACKUP: shards of the seed and the encrypted magic backup (API 5.3).

The phone calls the app's routes, the device calls the service's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, NewType

from primegap.quantumlink.api.codec import U32, U64, Choice, Size, cbor_codec
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.identifiers import BACKUP_APP, BACKUP_SERVICE
from primegap.quantumlink.rpc import (
    AppRouteKey,
    DownloadRoute,
    RequestRoute,
    ServiceRouteKey,
    SubscriptionRoute,
    UploadRoute,
)

Shard = NewType("Shard", bytes)
"One share of the seed; its contents are between the device and its key cards."

SeedFingerprint = NewType("SeedFingerprint", Annotated[bytes, Size(32)])
"Names a seed, 32 bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportMagicBackupEnabled:
    """Whether the user wants the magic backup of a seed."""

    enabled: bool
    seed_fingerprint: SeedFingerprint


class MagicBackupRestoreResult(Choice):
    """How a restore on the device went."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class MagicBackupRestored(MagicBackupRestoreResult):
    """The backup is in place."""

    variant = "Success"


@dataclass(frozen=True, slots=True)
class MagicBackupRestoreError(MagicBackupRestoreResult):
    """The backup could not be restored."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupShardParams:
    """A share for the phone to keep."""

    shard: Shard = field(repr=False)


class BackupShardResponse(Choice):
    """Whether the phone keeps the share."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BackupShardStored(BackupShardResponse):
    """It does."""

    variant = "Success"


@dataclass(frozen=True, slots=True)
class BackupShardError(BackupShardResponse):
    """It does not."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreShardParams:
    """Which share the device wants back."""

    seed_fingerprint: SeedFingerprint
    timestamp: U32 | None = None
    "Picks one stored version; absent means the latest."


class RestoreShardResponse(Choice):
    """The share, or why there is none."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RestoreShardFound(RestoreShardResponse):
    """The share."""

    variant = "Success"
    shard: Shard = field(repr=False)


@dataclass(frozen=True, slots=True)
class RestoreShardError(RestoreShardResponse):
    """The phone could not look."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True)
class RestoreShardNotFound(RestoreShardResponse):
    """The phone keeps no such share."""

    variant = "NotFound"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportMagicBackupStatusParams:
    """Which share the device asks about."""

    seed_fingerprint: SeedFingerprint
    timestamp: U32 | None = None
    "Picks one stored version; absent means the latest."


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportMagicBackupStatusResponse:
    """Whether the phone keeps it."""

    shard_backup_found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadMagicBackupParams:
    """Announces an encrypted backup file, which follows as one part."""

    seed_fingerprint: SeedFingerprint
    total_size: U64 | None = None
    "Bytes to come, for progress only."
    hash: Annotated[bytes, Size(32)]
    "SHA-256 of the file; a receiver refuses another one."


@dataclass(frozen=True, slots=True)
class UploadMagicBackupPartHeader:
    """No fields so far."""


class UploadMagicBackupResponse(Choice):
    """Whether the phone keeps the file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class UploadMagicBackupStored(UploadMagicBackupResponse):
    """It does."""

    variant = "Success"


@dataclass(frozen=True, slots=True)
class UploadMagicBackupError(UploadMagicBackupResponse):
    """It does not."""

    variant = "Error"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadMagicBackupParams:
    """Which backup the device wants back."""

    seed_fingerprint: SeedFingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupMetadata:
    """What is known about a stored backup."""

    total_size: U64 | None = None
    "Bytes to come, for progress only."


class DownloadMagicBackupHeader(Choice):
    """Whether the file follows, as one part."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DownloadMagicBackupFound(DownloadMagicBackupHeader):
    """It does."""

    variant = "Found"
    unnamed = True
    metadata: BackupMetadata


@dataclass(frozen=True, slots=True)
class DownloadMagicBackupNotFound(DownloadMagicBackupHeader):
    """The phone keeps no such backup; no part follows."""

    variant = "NotFound"


@dataclass(frozen=True, slots=True)
class DownloadMagicBackupError(DownloadMagicBackupHeader):
    """The phone could not look; no part follows."""

    variant = "Error"
    error: str


SubscribePassportMagicBackupEnabled: Final = SubscriptionRoute(
    name="SubscribePassportMagicBackupEnabled",
    key=AppRouteKey(BACKUP_APP, 1),
    request=cbor_codec(Empty),
    event=cbor_codec(PassportMagicBackupEnabled),
)
"The user's choice now and whenever it changes."

SubscribeMagicBackupRestoreCompleted: Final = SubscriptionRoute(
    name="SubscribeMagicBackupRestoreCompleted",
    key=AppRouteKey(BACKUP_APP, 2),
    request=cbor_codec(Empty),
    event=cbor_codec(MagicBackupRestoreResult),
)
"The outcome of each restore."

RequestBackupShard: Final = RequestRoute(
    name="RequestBackupShard",
    key=ServiceRouteKey(BACKUP_SERVICE, 1),
    request=cbor_codec(BackupShardParams),
    answer=cbor_codec(BackupShardResponse),
)
"Give a share to the phone."

RequestRestoreShard: Final = RequestRoute(
    name="RequestRestoreShard",
    key=ServiceRouteKey(BACKUP_SERVICE, 2),
    request=cbor_codec(RestoreShardParams),
    answer=cbor_codec(RestoreShardResponse),
)
"Get a share back from the phone."

RequestPassportMagicBackupStatus: Final = RequestRoute(
    name="RequestPassportMagicBackupStatus",
    key=ServiceRouteKey(BACKUP_SERVICE, 3),
    request=cbor_codec(PassportMagicBackupStatusParams),
    answer=cbor_codec(PassportMagicBackupStatusResponse),
)
"Ask whether the phone keeps a share."

UploadMagicBackup: Final = UploadRoute(
    name="UploadMagicBackup",
    key=ServiceRouteKey(BACKUP_SERVICE, 4),
    request=cbor_codec(UploadMagicBackupParams),
    part_header=cbor_codec(UploadMagicBackupPartHeader),
    answer=cbor_codec(UploadMagicBackupResponse),
)
"Give the encrypted backup file to the phone."

DownloadMagicBackup: Final = DownloadRoute(
    name="DownloadMagicBackup",
    key=ServiceRouteKey(BACKUP_SERVICE, 5),
    request=cbor_codec(DownloadMagicBackupParams),
    header=cbor_codec(DownloadMagicBackupHeader),
    part_header=cbor_codec(Empty),
)
"Get the encrypted backup file back from the phone."
