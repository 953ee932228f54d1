"""Readers of a lane: bytes in as they arrive, whole items out (session 8.2, 8.3).

All readers have one shape. `receive` takes the next bytes, `receive_end` tells that the lane ended
cleanly, `take` returns the next item, or a `Pause` when there is none. Errors come out of `take`,
behind the items that were whole before them; after an error a reader gives nothing more. How the
bytes were cut plays no part.

A reader keeps at most one item that is not whole yet, within its limit, plus what one `receive`
brought.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from primegap.quantumlink.codec import MAX_U64
from primegap.quantumlink.rpc.errors import (
    LengthOverflowError,
    TrailingBytesError,
    TruncatedError,
    UnexpectedFrameKindError,
)
from primegap.quantumlink.rpc.framing import HEAD_SIZE, LENGTH_SIZE, PartTag, ProgressTag

ItemT_co = TypeVar("ItemT_co", covariant=True)


class Pause(Enum):
    """Why `take` has no item."""

    MORE = "more"
    "The next bytes of the lane are needed."
    END = "end"
    "Nothing will come any more: the lane ended and everything was taken, or an error was raised."


class LaneReader(ABC, Generic[ItemT_co]):
    """Cuts one lane into items of one kind."""

    __slots__ = ("_buffer", "_ended", "_over")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ended = False
        self._over = False

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the lane."""
        if not self._over:
            self._buffer += data

    def receive_end(self) -> None:
        """Note that the lane ended cleanly behind the bytes received so far."""
        self._ended = True

    def take(self) -> ItemT_co | Pause:
        """Return the next item or the reason why there is none.

        Raises:
            RpcError: what comes next is against the rules; from then on there is nothing to take.
        """
        if self._over:
            return Pause.END
        try:
            item = self._next()
        except Exception:
            self.stop()
            raise
        if item is Pause.END:
            self.stop()
        return item

    def stop(self) -> None:
        """Give nothing more, as after an error: the last item turned out to be a bad one."""
        self._over = True
        self._buffer.clear()

    @abstractmethod
    def _next(self) -> ItemT_co | Pause:
        """Return the next item of a reader that is not over."""

    def _cut(self, start: int, end: int) -> bytes:
        """Return buffer[start:end] and forget everything in front of `end`."""
        data = bytes(memoryview(self._buffer)[start:end])
        del self._buffer[:end]
        return data

    def _starved(self) -> Pause:
        """Return the pause of a reader whose next item is not whole."""
        if self._ended:
            raise TruncatedError("the lane ended inside an item")
        return Pause.MORE

    def _length_at(self, offset: int, limit: int) -> int:
        length = int.from_bytes(self._buffer[offset : offset + LENGTH_SIZE], "little")
        if length > limit:
            raise LengthOverflowError(f"at most {limit} bytes are accepted here")
        return length

    def _next_part(self, limit: int) -> bytes | None:
        """Return the value of the next part; None if it is not whole yet."""
        if len(self._buffer) < LENGTH_SIZE:
            return None
        end = LENGTH_SIZE + self._length_at(0, limit)
        if len(self._buffer) < end:
            return None
        return self._cut(LENGTH_SIZE, end)


class ValueReader(LaneReader[bytes]):
    """A lane that is one value, ended by the end of the lane."""

    __slots__ = ("_limit", "_taken")

    def __init__(self, limit: int) -> None:
        """Start a reader of a value of at most `limit` bytes; one more is refused at once."""
        super().__init__()
        self._limit = limit
        self._taken = False

    def _next(self) -> bytes | Pause:
        if self._taken:
            return Pause.END
        if len(self._buffer) > self._limit:
            raise LengthOverflowError(f"at most {self._limit} bytes are accepted here")
        if not self._ended:
            return Pause.MORE
        self._taken = True
        return self._cut(0, len(self._buffer))


class EventReader(LaneReader[bytes]):
    """A lane of parts, one event each."""

    __slots__ = ("_limit",)

    def __init__(self, limit: int) -> None:
        """Start a reader of events of at most `limit` bytes each."""
        super().__init__()
        self._limit = limit

    def _next(self) -> bytes | Pause:
        value = self._next_part(self._limit)
        if value is not None:
            return value
        if self._ended and not self._buffer:
            return Pause.END
        return self._starved()


@dataclass(frozen=True, slots=True)
class ProgressValue:
    """One report on the way."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """The answer, which comes once and last."""

    value: bytes = field(repr=False)


class ProgressReader(LaneReader[ProgressValue | FinalResponse]):
    """The answer of a progress call: reports, then one response, then the end.

    A response counts only when the end follows it: take once more after it.
    """

    __slots__ = ("_is_answered", "_limit")

    def __init__(self, limit: int) -> None:
        """Start a reader of values of at most `limit` bytes each."""
        super().__init__()
        self._limit = limit
        self._is_answered = False

    def _next(self) -> ProgressValue | FinalResponse | Pause:
        if not self._is_answered:
            return self._next_frame()
        if self._buffer:
            raise TrailingBytesError("bytes follow the final response")
        return Pause.END if self._ended else Pause.MORE

    def _next_frame(self) -> ProgressValue | FinalResponse | Pause:
        if len(self._buffer) < HEAD_SIZE:
            return self._starved()
        tag = self._buffer[0]
        end = HEAD_SIZE + self._length_at(1, self._limit)
        if len(self._buffer) < end:
            return self._starved()  # the tag is judged when the whole frame is there (session 8.2)
        if tag == ProgressTag.PROGRESS:
            return ProgressValue(self._cut(HEAD_SIZE, end))
        if tag == ProgressTag.RESPONSE:
            self._is_answered = True
            return FinalResponse(self._cut(HEAD_SIZE, end))
        raise UnexpectedFrameKindError(tag)


@dataclass(frozen=True, slots=True)
class Preamble:
    """The part in front of all others: response header of a download, request of an upload."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins."""

    header: bytes = field(repr=False)
    "Encoded part header."


@dataclass(frozen=True, slots=True)
class PartBody:
    """The next bytes of the part; their boundaries carry no meaning. Never empty."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


MultipartItem = Preamble | PartStart | PartBody | PartEnd
"Item of a download's answer or an upload's request."


class MultipartReader(LaneReader[MultipartItem]):
    """One preamble, then any number of parts (API 3.1)."""

    __slots__ = ("_body_left", "_header_limit", "_in_part", "_preamble_due", "_preamble_limit")

    def __init__(self, *, preamble_limit: int, header_limit: int) -> None:
        """Start a reader; the limits count the bytes of values, bodies have none."""
        super().__init__()
        self._preamble_limit = preamble_limit
        self._header_limit = header_limit
        self._preamble_due = True
        self._in_part = False
        self._body_left = 0

    def _next(self) -> MultipartItem | Pause:
        if self._preamble_due:
            value = self._next_part(self._preamble_limit)
            if value is None:
                return self._starved()
            self._preamble_due = False
            return Preamble(value)
        while not self._body_left:
            if not self._buffer and self._ended and not self._in_part:
                return Pause.END
            if len(self._buffer) < HEAD_SIZE:
                return self._starved()
            item = self._judge_head()
            if item is not None:
                return item
        if not self._buffer:
            return self._starved()
        data = self._cut(0, min(self._body_left, len(self._buffer)))
        self._body_left -= len(data)
        return PartBody(data)

    def _judge_head(self) -> PartStart | PartEnd | Pause | None:
        """Take the next head, whose 9 bytes are there; None when a body (maybe empty) follows."""
        tag = self._buffer[0]
        if tag == PartTag.HEADER and not self._in_part:
            end = HEAD_SIZE + self._length_at(1, self._header_limit)
            if len(self._buffer) < end:
                return self._starved()
            self._in_part = True
            return PartStart(self._cut(HEAD_SIZE, end))
        length = self._length_at(
            1, MAX_U64
        )  # a body is handed on as it arrives, never collected here
        if tag == PartTag.BODY and (self._in_part or not length):
            del self._buffer[:HEAD_SIZE]
            self._body_left = length
            return None
        if tag == PartTag.END and self._in_part:
            if length:
                raise TrailingBytesError("an end of part is not empty")
            del self._buffer[:HEAD_SIZE]
            self._in_part = False
            return PartEnd()
        raise UnexpectedFrameKindError(tag)
