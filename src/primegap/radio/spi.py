"""The wires between host and chip, transaction by transaction (radio section 4.1); pure.

The chip is the slave: while select is low the host clocks bytes out, and as many come back. A
command is one span for the request and one for the answer. The first byte that comes back tells who
listens; an answer has its length in front, and a length of zero says that it is not there yet.

    slave = SpiSlave(chip.receive_request, lambda: APPLICATION)
    answer = run_on(slave, exchange(request), wait=time.sleep)
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from primegap.radio.errors import UnexpectedAnswerError
from primegap.radio.messages import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

APPLICATION: Final = 0x51
"First byte from the application when it is ready for a command."
BOOTLOADER: Final = 0x69
"The same from the bootloader."
NOT_READY: Final = 0x00
ANSWER_FILLER: Final = 0xAA
"What the host clocks out while it reads an answer."
BOOTLOADER_REQUEST_BYTES: Final = 512
APPLICATION_REQUEST_BYTES: Final = MAX_MESSAGE_BYTES
LENGTH_BYTES: Final = 2
LISTENING: Final = (bytes([APPLICATION]), bytes([BOOTLOADER]))
LISTENING_LENGTHS: Final = (0x5151, 0x6969)
"Lengths that are none: the chip listens, and has taken the two zero bytes for a request."
SPINS: Final = 500
"Tries at once; after them the host waits 1, 2, 3 … ms between tries."
FIRST_WAIT_S: Final = 0.001


class SpiSlave:
    """The chip's end.

    Args:
        answer: takes a request, returns the encoded answer or None for no answer at all.
        listener: returns the byte that tells who listens now.
    """

    def __init__(
        self, answer: Callable[[bytes], bytes | None], listener: Callable[[], int]
    ) -> None:
        self._answer = answer
        self._listener = listener
        self._reply: bytes | None = None
        "Length and message that wait to be fetched."
        self._request = bytearray()
        self._position = 0
        self._is_selected = False
        self._is_ready = True
        self.busy_spans = 0
        "Spans in which the chip is not in a transfer yet; for tests and the bench."

    def select(self) -> None:
        """Begin a span."""
        self._is_selected = True
        self._is_ready = self.busy_spans == 0
        self.busy_spans = max(0, self.busy_spans - 1)
        self._request.clear()
        self._position = 0

    def clock(self, mosi: bytes) -> bytes:
        """Take bytes of the host and return as many."""
        if not self._is_selected or not self._is_ready:
            return bytes([NOT_READY]) * len(mosi)
        start = self._position
        self._position += len(mosi)
        if self._reply is None:
            room = self._capacity() - len(self._request)
            self._request += mosi[:room]
            return bytes([self._listener()]) * len(mosi)
        return self._reply[start : self._position].ljust(len(mosi), b"\x00")

    def deselect(self) -> None:
        """End a span: a request that came is carried out, an answer that was clocked is gone."""
        self._is_selected = False
        if not self._is_ready or not self._position:
            return
        if self._reply is not None:
            self._reply = None
            return
        answer = self._answer(bytes(self._request))
        if answer is not None:
            self._reply = len(answer).to_bytes(LENGTH_BYTES) + answer

    def _capacity(self) -> int:
        is_bootloader = self._listener() == BOOTLOADER
        return BOOTLOADER_REQUEST_BYTES if is_bootloader else APPLICATION_REQUEST_BYTES


class Select(enum.Enum):
    """What the host does with the select line."""

    LOW = "low"
    HIGH = "high"


Step = Select | bytes | float
"Move the select line; clock bytes out; or let seconds pass."
Steps = Generator[Step, bytes, bytes | None]
"Is sent what came back for bytes that were clocked out, anything for the rest."


def exchange(request: bytes, *, has_answer: bool = True, tries: int = SPINS + 40) -> Steps:
    """Send a request and return its answer, step by step; None when it has none (Reset).

    Args:
        request: encoded message.
        has_answer: False for Reset.
        tries: before the chip is given up; each behind `SPINS` waits a millisecond longer.

    Raises:
        UnexpectedAnswerError: the chip took no request, or had no answer.
    """
    for attempt in range(tries):
        yield Select.LOW
        returned = yield request
        yield Select.HIGH
        if returned[:1] in LISTENING:
            break
        yield from _pause(attempt)
    else:
        raise UnexpectedAnswerError("the chip takes no request")
    if not has_answer:
        return None
    for attempt in range(tries):
        yield Select.LOW
        length = int.from_bytes((yield bytes(LENGTH_BYTES)))
        message = None
        if length and length not in LISTENING_LENGTHS:
            message = yield bytes([ANSWER_FILLER]) * min(length, MAX_MESSAGE_BYTES)
        yield Select.HIGH
        if message is not None:
            return message
        yield from _pause(attempt)
    raise UnexpectedAnswerError("the chip does not answer")


def _pause(attempt: int) -> Generator[Step, bytes, None]:
    if attempt >= SPINS:
        yield (attempt - SPINS + 1) * FIRST_WAIT_S


def run_on(slave: SpiSlave, steps: Steps, *, wait: Callable[[float], None]) -> bytes | None:
    """Carry steps out on a chip in the same process; return their result."""
    returned = b""
    while True:
        try:
            step = steps.send(returned) if returned else next(steps)
        except StopIteration as done:
            answer: bytes | None = done.value
            return answer
        returned = b""
        if step is Select.LOW:
            slave.select()
        elif step is Select.HIGH:
            slave.deselect()
        elif isinstance(step, bytes):
            returned = slave.clock(step)
        else:
            wait(step)
