"""Writing a trace file, at the edge of a link: facts of the engine and of the port it uses.

    with TraceFile(path) as trace:
        engine = LinkEngine(config, identity, rng=os.urandom, now_s=loop.time(), trace=trace)
        driver = LinkDriver(engine)
        driver.attach(TracedPort(port, trace, loop.time))

A link that is not traced runs none of this.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Final

from primegap.btp import Dechunker, RemoteBtpError, packet_count
from primegap.linktrace.facts import clean_fact
from primegap.quantumlink.aio.port import PortClosedError
from primegap.quantumlink.errors import RemoteError
from primegap.quantumlink.records import HandshakeRecord, parse_record_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from primegap.quantumlink.aio.port import PacketPort
    from primegap.quantumlink.session import Trace, TraceValue

FIRST_LINE: Final = {"primegap-link-trace": 1}
"Says what the file is, and the version of its form; `side` is added when it is told."
SIDES: Final = ("companion", "device")
MAX_FILE_BYTES: Final = 64 << 20
"A trace that was forgotten must not fill a disk: half a million facts, hours of full traffic."


class TraceFile:
    """A trace in the form of JSON lines; a sink for the engine and for `TracedPort`.

    Readable by its owner only. A disk that takes no more ends the trace, never the link: what was
    written stays, in whole lines, and the owner is told.

    Args:
        path: of a new file; an old one is replaced.
        side: whose trace it is, one of `SIDES`; pictures then name both.
        max_bytes: after which facts are dropped.
        on_end: called once if the trace ends before it is closed, with the reason in words.

    Raises:
        OSError: the file cannot be made, or does not take its first line.
    """

    def __init__(
        self,
        path: Path,
        *,
        side: str | None = None,
        max_bytes: int = MAX_FILE_BYTES,
        on_end: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        path.unlink(missing_ok=True)
        # One call of the system a line: nothing waits in a buffer when the program dies.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._room = max_bytes
        self._written = 0  # bytes of whole lines
        self._is_over = False
        self._on_end = on_end
        self.left_out = 0
        "Facts that the allow-list did not know, or for which there was no room."
        try:
            self._write(FIRST_LINE if side is None else {**FIRST_LINE, "side": side})
        except OSError:
            self.close()
            raise

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __call__(self, fact: str, /, *, now_s: float, **values: TraceValue) -> None:
        """Take one fact; see `Trace`."""
        cleaned = None if self._is_over else clean_fact(fact, now_s, values)
        if cleaned is None:
            self.left_out += 1
            return
        at_s = round(cleaned.at_s, 6)
        try:
            self._write({"t": at_s, "fact": cleaned.name, **dict(cleaned.values)})
            if self._room <= 0:
                self._write({"t": at_s, "fact": "file-full"})
                self._end("the file has its full size")
        except OSError as error:
            self._end(error.strerror or "the file cannot be written")

    def _end(self, reason: str) -> None:
        self._is_over = True
        self._on_end(reason)

    def close(self) -> None:
        """Close the file; facts that come later are dropped."""
        self._is_over = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, line: Mapping[str, object]) -> None:
        """Write a line, or as if nothing had been written.

        Raises:
            OSError: the file did not take it.
        """
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode("ascii")
        self._room -= len(data)
        if os.write(self._fd, data) < len(data):
            os.ftruncate(self._fd, self._written)  # a disk gave what it had left
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += len(data)


class TracedPort:
    """A port that tells a trace what passes, and changes nothing.

    It puts records together from packets on its own, in both directions, and tells what their
    headers show to everybody on the air: kind, version, numbers and sizes.

    Args:
        port: does the work.
        trace: takes the facts.
        clock: the one of the driver.
    """

    def __init__(self, port: PacketPort, trace: Trace, clock: Callable[[], float]) -> None:
        self.packet_size = port.packet_size
        self._port = port
        self._trace = trace
        self._clock = clock
        self._sent = Dechunker()
        self._received = Dechunker()
        self._is_open = True
        trace("port-opened", now_s=clock())

    async def send(self, packet: bytes) -> None:
        """Send a packet."""
        try:
            await self._port.send(packet)
        except PortClosedError:
            self._ended()
            raise
        self._note("wire-sent", self._sent, packet)

    async def receive(self) -> bytes:
        """Return the next packet."""
        try:
            packet = await self._port.receive()
        except PortClosedError:
            self._ended()
            raise
        self._note("wire-received", self._received, packet)
        return packet

    async def close(self) -> None:
        """Close the port."""
        self._ended()
        await self._port.close()

    def _ended(self) -> None:
        if self._is_open:
            self._is_open = False
            self._trace("port-closed", now_s=self._clock())

    def _note(self, fact: str, dechunker: Dechunker, packet: bytes) -> None:
        now_s = self._clock()
        try:
            data = dechunker.receive(packet, now_s=now_s)
        except RemoteBtpError as error:
            self._trace("packet-refused", now_s=now_s, reason=error.code)
            return
        if data is None:
            return
        size, packets = len(data), packet_count(len(data))
        try:
            record = parse_record_untrusted(data)
        except RemoteError as error:
            self._trace("wire-refused", now_s=now_s, reason=error.code, size=size)
            return
        shared: dict[str, TraceValue] = {
            "version": record.version,
            "size": size,
            "packets": packets,
        }
        if isinstance(record, HandshakeRecord):
            kind, number = record.kind.name, record.handshake_id
            self._trace(fact, now_s=now_s, kind=kind, handshake=number, **shared)
        else:
            self._trace(fact, now_s=now_s, kind="session", seq=record.seq, **shared)
