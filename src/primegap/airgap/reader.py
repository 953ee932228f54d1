"""What every reader of codes shares: one message out of many frames, whatever else comes by.

The first good frame decides which message is read. Frames of others are ignored, and when they
keep coming a person may be asked whether to change over (airgap.md section 4.2). Pure.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from primegap.airgap.errors import (
    CorruptSetError,
    OtherMessageError,
    RefusedCodeError,
    RemoteAirgapError,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

PartT = TypeVar("PartT")
ResultT = TypeVar("ResultT")

FRAMES_TO_OFFER_RESTART: Final = 3
"Frames in a row that agree on another message before starting over is offered."


class FrameVerdict(enum.Enum):
    """What became of one frame; `FrameReader.last_error` says why for the last four."""

    NEW = "new"
    "It told something new."
    DUPLICATE = "duplicate"
    "It belongs to the message and told nothing new."
    FOREIGN = "foreign"
    "It belongs to another message than the one being read, and was ignored."
    UNREADABLE = "unreadable"
    "It is damaged, or not of a kind that is read here."
    REFUSED = "refused"
    "It is readable, but its type is not asked for or its message is too large."
    CORRUPT = "corrupt"
    "The message it completes or contradicts is wrong; all that was collected was dropped."


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How far a message has come, and what the frames were."""

    rank: int = 0
    "Independent parts so far."
    needed: int = 0
    "Parts that make the message complete, N; 0 before the first frame."
    message_bytes: int = 0
    "Length of the message; 0 before the first frame and where it is not known before the end."
    frames: int = 0
    "Frames since the start, of every verdict."
    last: FrameVerdict | None = None
    "Verdict on the newest frame."

    @property
    def fraction(self) -> float:
        """Share of the message that is determined, 0.0 to 1.0."""
        return self.rank / self.needed if self.needed else 0.0


@dataclass(frozen=True, slots=True)
class Frame(Generic[PartT]):
    """A frame that was taken apart."""

    key: Hashable
    "What all frames of one message have in common."
    part: PartT


class Format(ABC, Generic[PartT, ResultT]):
    """One format of codes: how a frame is taken apart, and how parts make a message.

    It holds the message being put together. What else comes by is the reader's business.
    """

    @abstractmethod
    def parse(self, text: str, raw: bytes) -> Frame[PartT]:
        """Take a frame apart, whatever message is being read; raises RemoteAirgapError."""

    @abstractmethod
    def begin(self, part: PartT) -> None:
        """Get ready for the message of its first part, and drop any other.

        Raises:
            RefusedCodeError: it is more than is read.
            RemoteAirgapError: its numbers contradict each other.
        """

    @abstractmethod
    def take(self, part: PartT) -> bool:
        """Take a part in; return whether it told anything new.

        Raises:
            CorruptSetError: it contradicts the parts before it.
        """

    @abstractmethod
    def complete(self) -> ResultT | None:
        """Return the message if the parts so far make it complete.

        Raises:
            RemoteAirgapError: it is complete and wrong.
        """

    @abstractmethod
    def size(self) -> tuple[int, int, int]:
        """Return rank, needed and length of the message that is being read."""


class FrameReader(Generic[PartT, ResultT]):
    """Collects the frames of one message, in any order and with any of them missing."""

    def __init__(self, of: Format[PartT, ResultT]) -> None:
        self._format = of
        self._last_error: RemoteAirgapError | None = None
        self._last_verdict: FrameVerdict | None = None
        self._frames = 0
        self._forget()

    def _forget(self) -> None:
        """Drop the message being read."""
        self._key: Hashable | None = None
        self._result: ResultT | None = None
        self._other_key: Hashable | None = None
        self._other_count = 0
        self._other_code = ("", b"")

    @property
    def result(self) -> ResultT | None:
        """The message, once it is complete and all its checks have passed."""
        return self._result

    @property
    def last_error(self) -> RemoteAirgapError | None:
        """Why the newest frame was not taken; None after NEW and DUPLICATE."""
        return self._last_error

    @property
    def progress(self) -> ReadProgress:
        """How far the message has come."""
        rank, needed, message_bytes = (0, 0, 0) if self._key is None else self._format.size()
        return ReadProgress(rank, needed, message_bytes, self._frames, self._last_verdict)

    @property
    def offers_restart(self) -> bool:
        """Whether the newest frames agree on another message than the one being read."""
        return self._other_count >= FRAMES_TO_OFFER_RESTART

    def start_over(self) -> None:
        """Drop everything; if another message is offered, it is the one to read now."""
        other = self._other_code if self.offers_restart else None
        self._forget()
        self._frames = 0
        self._last_error = self._last_verdict = None
        if other is not None:
            self.receive(*other)

    def receive(self, text: str, raw: bytes = b"") -> FrameVerdict:
        """Take one frame and return what became of it; never raises.

        Args:
            text: content of the symbol as text.
            raw: its content as it stands in the symbol; without it, formats of bare bytes are not
                recognised.
        """
        self._frames += 1
        self._last_error = None
        try:
            verdict = self._receive(text, raw)
        except RefusedCodeError as error:
            verdict, self._last_error = FrameVerdict.REFUSED, error
        except RemoteAirgapError as error:
            verdict, self._last_error = FrameVerdict.UNREADABLE, error
        self._last_verdict = verdict
        return verdict

    def _receive(self, text: str, raw: bytes) -> FrameVerdict:
        """Check what is cheap first, agreement with the message before its limits."""
        frame = self._format.parse(text, raw)
        if self._key is not None and frame.key != self._key:
            self._other_count = self._other_count + 1 if frame.key == self._other_key else 1
            self._other_key, self._other_code = frame.key, (text, raw)
            self._last_error = OtherMessageError("another message is being read")
            return FrameVerdict.FOREIGN
        self._other_count, self._other_code = 0, ("", b"")
        if self._result is not None:
            return FrameVerdict.DUPLICATE
        if self._key is None:
            self._format.begin(frame.part)
            self._key = frame.key
        try:
            if not self._format.take(frame.part):
                return FrameVerdict.DUPLICATE
            self._result = self._format.complete()
        except RemoteAirgapError as error:
            self._forget()
            self._last_error = error
            return FrameVerdict.CORRUPT
        return FrameVerdict.NEW


class Pieces:
    """The numbered pieces of a message that needs all of them.

    Args:
        count: number of pieces, 1 or more.
        max_characters: most characters of all pieces together.
    """

    def __init__(self, count: int, max_characters: int) -> None:
        self._count = count
        self._left = max_characters
        self._pieces: dict[int, str] = {}

    @property
    def rank(self) -> int:
        """Number of different pieces so far."""
        return len(self._pieces)

    @property
    def count(self) -> int:
        """Number of pieces in all."""
        return self._count

    def add(self, index: int, piece: str) -> bool:
        """Take piece `index`, from 0; return whether it is new.

        Raises:
            CorruptSetError: it differs from an earlier one of this number, or it is too much.
        """
        known = self._pieces.get(index)
        if known is not None:
            if known != piece:
                raise CorruptSetError("two different pieces of one number")
            return False
        self._left -= len(piece)
        if self._left < 0:
            raise CorruptSetError("more than is read from codes")
        self._pieces[index] = piece
        return True

    def joined(self) -> list[str] | None:
        """Return all pieces in order, or None while some are missing."""
        if len(self._pieces) < self._count:
            return None
        return [self._pieces[index] for index in range(self._count)]
