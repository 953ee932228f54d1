"""Uniform Resources, version 2: messages as endless series of short texts for QR symbols.

Pure: texts and bytes go in, texts and values come out (uniform-resources.md sections 2 to 9).
"""

from __future__ import annotations

from primegap.airgap.ur.bytewords import (
    BytewordsStyle,
    decode_bytewords_untrusted,
    encode_bytewords,
)
from primegap.airgap.ur.decoder import UrDecoder
from primegap.airgap.ur.encoder import UrEncoder
from primegap.airgap.ur.fragments import MIN_FRAGMENT_BYTES
from primegap.airgap.ur.legacy import LegacyUrReader, encode_legacy_ur
from primegap.airgap.ur.limits import (
    MAX_FRAGMENT_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_READ_FRAGMENTS,
    MAX_TYPE_CHARACTERS,
    MAX_WRITTEN_FRAGMENTS,
)
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.payload import (
    PSBT_UR_TYPES,
    bytes_from_ur,
    bytes_to_ur,
    psbt_from_ur,
    psbt_to_ur,
)
from primegap.airgap.ur.text import is_ur_text

__all__ = [
    "MAX_FRAGMENT_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_READ_FRAGMENTS",
    "MAX_TYPE_CHARACTERS",
    "MAX_WRITTEN_FRAGMENTS",
    "MIN_FRAGMENT_BYTES",
    "PSBT_UR_TYPES",
    "BytewordsStyle",
    "LegacyUrReader",
    "Ur",
    "UrDecoder",
    "UrEncoder",
    "bytes_from_ur",
    "bytes_to_ur",
    "decode_bytewords_untrusted",
    "encode_bytewords",
    "encode_legacy_ur",
    "is_ur_text",
    "psbt_from_ur",
    "psbt_to_ur",
]
