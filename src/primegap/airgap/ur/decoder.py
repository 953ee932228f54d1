"""The reader of a stream of frames (uniform-resources.md section 7.3)."""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import (
    BytewordsError,
    CborError,
    CorruptSetError,
    OtherMessageError,
    RemoteAirgapError,
    UnexpectedUrTypeError,
    UrLimitError,
    UrPartError,
    UrTextError,
)
from primegap.airgap.ur.assembly import Assembly
from primegap.airgap.ur.bytewords import decode_bytewords_untrusted
from primegap.airgap.ur.message import Ur, ur_from_message_untrusted
from primegap.airgap.ur.part import Part, check_part_limits, parse_part_untrusted
from primegap.airgap.ur.text import UrText, parse_ur_text_untrusted

if TYPE_CHECKING:
    from collections.abc import Collection

FRAMES_TO_OFFER_RESTART: Final = 3
"Frames in a row that agree on another message before starting over is offered."

# In the single form nothing else guards the message, so the short checksum is taken only for
# types whose content is checked again.
_SHORT_CRC_TYPES: Final = frozenset({"bytes", "crypto-psbt", "psbt"})


class FrameVerdict(enum.Enum):
    """What became of one frame; `UrDecoder.last_error` says why for the last four."""

    NEW = "new"
    "It told something new."
    DUPLICATE = "duplicate"
    "It belongs to the message and told nothing new."
    FOREIGN = "foreign"
    "It belongs to another message than the one being read, and was ignored."
    UNREADABLE = "unreadable"
    "It is damaged or no UR."
    REFUSED = "refused"
    "It is readable, but its type is not asked for or its message is too large."
    CORRUPT = "corrupt"
    "The message it completes or contradicts is wrong; all that was collected was dropped."


@dataclass(frozen=True, slots=True)
class UrProgress:
    """How far a message has come, and what the frames were."""

    rank: int = 0
    "Independent parts so far."
    needed: int = 0
    "Parts that make the message complete, N; 0 before the first frame."
    message_bytes: int = 0
    "Length of the message; 0 before the first frame."
    frames: int = 0
    "Frames since the start, of every verdict."
    last: FrameVerdict | None = None
    "Verdict on the newest frame."

    @property
    def fraction(self) -> float:
        """Share of the message that is determined, 0.0 to 1.0."""
        return self.rank / self.needed if self.needed else 0.0


class UrDecoder:
    """Collects the frames of one UR, in any order and with any of them missing.

    The first good frame decides which message is read. Frames of others are ignored; when
    `offers_restart` becomes true a person may be asked whether to change over to the other one.
    """

    def __init__(self, expected_types: Collection[str] | None = None) -> None:
        """Start with nothing read.

        Args:
            expected_types: types to accept, such as `PSBT_UR_TYPES`; None accepts every type.
        """
        self._expected_types = None if expected_types is None else frozenset(expected_types)
        self._result: Ur | None = None
        self._last_error: RemoteAirgapError | None = None
        self._last_verdict: FrameVerdict | None = None
        self._frames = 0
        self._forget()

    def _forget(self) -> None:
        """Drop the message being read."""
        self._key: tuple[str, tuple[int, int, int, int]] | None = None
        self._assembly: Assembly | None = None
        self._result = None
        self._other_key: tuple[str, tuple[int, int, int, int]] | None = None
        self._other_count = 0
        self._other_text = ""

    @property
    def result(self) -> Ur | None:
        """The message, once it is complete and all its checks have passed."""
        return self._result

    @property
    def last_error(self) -> RemoteAirgapError | None:
        """Why the newest frame was not taken; None after NEW and DUPLICATE."""
        return self._last_error

    @property
    def progress(self) -> UrProgress:
        """How far the message has come."""
        rank = 0 if self._assembly is None else self._assembly.rank
        needed, message_bytes = (0, 0) if self._key is None else self._key[1][:2]
        return UrProgress(rank, needed, message_bytes, self._frames, self._last_verdict)

    @property
    def offers_restart(self) -> bool:
        """Whether the newest frames agree on another message than the one being read."""
        return self._other_count >= FRAMES_TO_OFFER_RESTART

    def start_over(self) -> None:
        """Drop everything; if another message is offered, it is the one to read now."""
        other = self._other_text if self.offers_restart else ""
        self._forget()
        self._frames = 0
        self._last_error = self._last_verdict = None
        if other:
            self.receive(other)

    def receive(self, text: str) -> FrameVerdict:
        """Take the text of one frame and return what became of it; never raises."""
        self._frames += 1
        self._last_error = None
        try:
            verdict = self._receive(text)
        except (UnexpectedUrTypeError, UrLimitError) as error:
            verdict, self._last_error = FrameVerdict.REFUSED, error
        except (UrTextError, BytewordsError, CborError, UrPartError) as error:
            verdict, self._last_error = FrameVerdict.UNREADABLE, error
        self._last_verdict = verdict
        return verdict

    def _receive(self, text: str) -> FrameVerdict:
        """Check in the order of section 7.3: what is cheap first, agreement before limits."""
        frame = parse_ur_text_untrusted(text)
        if self._expected_types is not None and frame.ur_type not in self._expected_types:
            raise UnexpectedUrTypeError("not a type asked for")
        part = _read_part(frame)
        key = (frame.ur_type, part.message_key)
        if self._key is not None and key != self._key:
            return self._note_foreign(key, text)
        self._other_count, self._other_text = 0, ""
        if self._result is not None:
            return FrameVerdict.DUPLICATE
        if self._assembly is None:
            if frame.numbers is not None:
                check_part_limits(part)
            self._key, self._assembly = key, Assembly(part)
        try:
            if not self._assembly.add(part):
                return FrameVerdict.DUPLICATE
            if self._assembly.is_complete:
                message = self._assembly.message()
                self._result = ur_from_message_untrusted(frame.ur_type, message)
        except (CorruptSetError, CborError) as error:
            self._forget()
            self._last_error = error
            return FrameVerdict.CORRUPT
        return FrameVerdict.NEW

    def _note_foreign(self, key: tuple[str, tuple[int, int, int, int]], text: str) -> FrameVerdict:
        """Count frames in a row that agree on one other message."""
        self._other_count = self._other_count + 1 if key == self._other_key else 1
        self._other_key, self._other_text = key, text
        self._last_error = OtherMessageError("another message is being read")
        return FrameVerdict.FOREIGN


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
