"""Payloads that are byte strings: `bytes` and the PSBT types (uniform-resources.md section 9.1)."""

from __future__ import annotations

from typing import Final

from primegap.airgap.errors import LocalAirgapError, UrPayloadError
from primegap.airgap.ur.cbor import encode_byte_string, parse_byte_string_untrusted
from primegap.airgap.ur.message import Ur

PSBT_MAGIC: Final = b"psbt\xff"
PSBT_UR_TYPES: Final = frozenset({"crypto-psbt", "psbt", "bytes"})
"Types that may hold a PSBT; answer in the type in which the request came."


def bytes_to_ur(data: bytes) -> Ur:
    """Return `data` (at most 1 MiB less 5 bytes) as a UR of type `bytes`.

    Raises:
        LocalAirgapError: too long.
    """
    return Ur("bytes", encode_byte_string(data))


def bytes_from_ur(ur: Ur) -> bytes:
    """Return the content of a UR of type `bytes`.

    Raises:
        UrPayloadError: another type.
        CborError: not a byte string.
    """
    if ur.ur_type != "bytes":
        raise UrPayloadError("not a UR of type bytes")
    return parse_byte_string_untrusted(ur.cbor)


def psbt_to_ur(psbt: bytes, ur_type: str = "crypto-psbt") -> Ur:
    """Return a binary PSBT as a UR.

    Args:
        psbt: begins with `psbt` and 0xff; at most 1 MiB less 5 bytes.
        ur_type: one of PSBT_UR_TYPES. The default is what nearly every wallet reads.

    Raises:
        LocalAirgapError: not a PSBT, too long, or another type.
    """
    if ur_type not in PSBT_UR_TYPES or not psbt.startswith(PSBT_MAGIC):
        raise LocalAirgapError("not a PSBT, or not a type for one")
    return Ur(ur_type, encode_byte_string(psbt))


def psbt_from_ur(ur: Ur) -> bytes:
    """Return the binary PSBT in `ur`; only its first bytes are looked at.

    Raises:
        UrPayloadError: another type, or no PSBT inside.
        CborError: not a byte string.
    """
    if ur.ur_type not in PSBT_UR_TYPES:
        raise UrPayloadError("not a type that holds a PSBT")
    psbt = parse_byte_string_untrusted(ur.cbor)
    if not psbt.startswith(PSBT_MAGIC):
        raise UrPayloadError("no PSBT inside")
    return psbt
