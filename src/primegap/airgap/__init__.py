"""The air gap: messages as QR codes.

Everything re-exported here is pure and light. Drawing and reading of symbols, which load native
libraries, are in `primegap.airgap.qr`.
"""

from __future__ import annotations

from primegap.airgap.density import (
    DEFAULT_DENSITY,
    DEFAULT_FRAME_PERIOD_MS,
    DENSITIES,
    MAX_FRAME_PERIOD_MS,
    MIN_FRAME_PERIOD_MS,
    QUIET_ZONE_MODULES,
    SCREEN_WIDTH_PX,
    Density,
)
from primegap.airgap.errors import (
    AirgapError,
    BytewordsError,
    CborError,
    CorruptSetError,
    LegacyUrError,
    LocalAirgapError,
    OtherMessageError,
    PictureTooLargeError,
    QrError,
    RemoteAirgapError,
    TooLargeForQrError,
    UnexpectedUrTypeError,
    UrLimitError,
    UrPartError,
    UrPayloadError,
    UrTextError,
)
from primegap.airgap.ur import (
    PSBT_UR_TYPES,
    FrameVerdict,
    Ur,
    UrDecoder,
    UrEncoder,
    UrProgress,
    bytes_from_ur,
    bytes_to_ur,
    is_ur_text,
    psbt_from_ur,
    psbt_to_ur,
)

__all__ = [
    "DEFAULT_DENSITY",
    "DEFAULT_FRAME_PERIOD_MS",
    "DENSITIES",
    "MAX_FRAME_PERIOD_MS",
    "MIN_FRAME_PERIOD_MS",
    "PSBT_UR_TYPES",
    "QUIET_ZONE_MODULES",
    "SCREEN_WIDTH_PX",
    "AirgapError",
    "BytewordsError",
    "CborError",
    "CorruptSetError",
    "Density",
    "FrameVerdict",
    "LegacyUrError",
    "LocalAirgapError",
    "OtherMessageError",
    "PictureTooLargeError",
    "QrError",
    "RemoteAirgapError",
    "TooLargeForQrError",
    "UnexpectedUrTypeError",
    "Ur",
    "UrDecoder",
    "UrEncoder",
    "UrLimitError",
    "UrPartError",
    "UrPayloadError",
    "UrProgress",
    "UrTextError",
    "bytes_from_ur",
    "bytes_to_ur",
    "is_ur_text",
    "psbt_from_ur",
    "psbt_to_ur",
]
