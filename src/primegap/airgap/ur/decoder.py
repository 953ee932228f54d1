"""The reader of a stream of frames (uniform-resources.md section 7.3)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from primegap.airgap.errors import UnexpectedUrTypeError, UrPartError
from primegap.airgap.reader import Format, Frame, FrameReader
from primegap.airgap.ur.assembly import Assembly
from primegap.airgap.ur.bytewords import decode_bytewords_untrusted
from primegap.airgap.ur.message import Ur, ur_from_message_untrusted
from primegap.airgap.ur.part import Part, check_part_limits, parse_part_untrusted
from primegap.airgap.ur.text import UrText, parse_ur_text_untrusted

if TYPE_CHECKING:
    from collections.abc import Collection

# In the single form nothing else guards the message, so the short checksum is taken only for
# types whose content is checked again.
_SHORT_CRC_TYPES: Final = frozenset({"bytes", "crypto-psbt", "psbt"})


@dataclass(frozen=True, slots=True)
class _UrPart:
    ur_type: str
    is_single: bool
    part: Part


class UrFormat(Format[_UrPart, Ur]):
    """The parts of one UR of the types that are expected; None expects every type."""

    def __init__(self, expected_types: Collection[str] | None) -> None:
        self._expected_types = None if expected_types is None else frozenset(expected_types)
        self._ur_type = ""
        self._assembly: Assembly | None = None

    @override
    def parse(self, text: str, raw: bytes) -> Frame[_UrPart]:
        frame = parse_ur_text_untrusted(text)
        if self._expected_types is not None and frame.ur_type not in self._expected_types:
            raise UnexpectedUrTypeError("not a type asked for")
        part = _read_part(frame)
        key = (frame.ur_type, part.message_key)
        return Frame(key, _UrPart(frame.ur_type, frame.numbers is None, part))

    @override
    def begin(self, part: _UrPart) -> None:
        if not part.is_single:
            check_part_limits(part.part)
        self._ur_type, self._assembly = part.ur_type, Assembly(part.part)

    @override
    def take(self, part: _UrPart) -> bool:
        assert self._assembly is not None
        return self._assembly.add(part.part)

    @override
    def complete(self) -> Ur | None:
        assert self._assembly is not None
        if not self._assembly.is_complete:
            return None
        return ur_from_message_untrusted(self._ur_type, self._assembly.message())

    @override
    def size(self) -> tuple[int, int, int]:
        assert self._assembly is not None
        return self._assembly.rank, self._assembly.seq_len, self._assembly.message_bytes


class UrDecoder(FrameReader[_UrPart, Ur]):
    """Collects the frames of one UR, in any order and with any of them missing."""

    def __init__(self, expected_types: Collection[str] | None = None) -> None:
        """Start with nothing read.

        Args:
            expected_types: types to accept, such as `PSBT_UR_TYPES`; None accepts every type.
        """
        super().__init__(UrFormat(expected_types))


def _read_part(frame: UrText) -> Part:
    """Decode the body of a frame; the single form is read as part 1 of 1."""
    short = frame.numbers is not None or frame.ur_type in _SHORT_CRC_TYPES
    body = decode_bytewords_untrusted(frame.body, allow_short_crc=short)
    if frame.numbers is None:
        return Part(1, 1, len(body), zlib.crc32(body), body)
    part = parse_part_untrusted(body)
    if (part.seq_num, part.seq_len) != frame.numbers:
        raise UrPartError("text and CBOR disagree about the sequence numbers")
    return part
