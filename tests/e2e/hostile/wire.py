"""Channels without the client library: any bytes, any descriptors, blocking, with a time limit."""

from __future__ import annotations

import array
import os
import socket
from typing import TYPE_CHECKING, Final

from primegap.keyos.frame import HEADER, Frame, Kind, encode_frame, parse_frame_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.process import Process

Reply = tuple[Frame, list[int]]
PATIENCE_S: Final = 5.0
SILENCE_S: Final = 0.15  # long enough to say that nothing comes


class Wire:
    """One channel end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE_S)

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], rights)

    def receive(self, patience_s: float = PATIENCE_S) -> Reply | None:
        """Return the next frame, or None when the channel is closed; raise TimeoutError."""
        self.sock.settimeout(patience_s)
        try:
            data, ancillary, _, _ = self.sock.recvmsg(8192, socket.CMSG_SPACE(16))
        except (ConnectionResetError, BrokenPipeError):
            return None
        finally:
            self.sock.settimeout(PATIENCE_S)
        fds: list[int] = []
        for _, _, value in ancillary:
            fds += array.array("i", value)
        return (parse_frame_untrusted(data), fds) if data else None

    def outcome(self, patience_s: float = SILENCE_S) -> str:
        """Say what comes next: `KIND status`, `silence` or `closed`."""
        try:
            reply = self.receive(patience_s)
        except TimeoutError:
            return "silence"
        if reply is None:
            return "closed"
        frame, fds = reply
        for descriptor in fds:
            os.close(descriptor)
        return f"{frame.kind.name} {frame.words[0]}" if frame.kind is Kind.ERROR else "REPLY"

    def request(
        self, message_id: int, correlation: int, payload: bytes = b"\x80", fds: Sequence[int] = ()
    ) -> None:
        frame = Frame(
            kind=Kind.REQUEST,
            message_id=message_id,
            correlation=correlation,
            payload=b"" if fds else payload,
            objects=len(fds),
        )
        self.send(encode_frame(frame), fds)

    def call(self, message_id: int, correlation: int, payload: bytes = b"\x80") -> Frame | None:
        self.request(message_id, correlation, payload)
        while True:
            reply = self.receive()
            if reply is None:
                return None
            if reply[0].correlation == correlation:
                return reply[0]

    def close(self) -> None:
        self.sock.close()


class Control(Wire):
    """The control channel of this process, taken over from the client library."""

    def __init__(self, process: Process) -> None:
        super().__init__(socket.socket(fileno=os.dup(process._fds["control"])))
        self._correlation = 1 << 32

    def connect(self, server: str | bytes) -> Wire | str:
        """Return a connection, or what came instead."""
        name = server.encode() if isinstance(server, str) else server
        self._correlation += 1
        self.send(
            encode_frame(Frame(kind=Kind.CONNECT, correlation=self._correlation, payload=name))
        )
        try:
            reply = self.receive(1.0)
        except TimeoutError:
            return "silence"
        if reply is None:
            return "closed"
        frame, fds = reply
        if frame.kind is Kind.CONNECTED and len(fds) == 1:
            return Wire(socket.socket(fileno=fds[0]))
        return f"{frame.kind.name} {frame.words[0]}"

    def must_connect(self, server: str) -> Wire:
        wire = self.connect(server)
        assert isinstance(wire, Wire), wire
        return wire


def header(**changes: int | bytes) -> bytes:
    """Return the bytes of a Ping request with some header fields changed."""
    fields: dict[str, int | bytes] = {
        "version": 1,
        "kind": Kind.REQUEST,
        "flags": 0,
        "message_id": 1,
        "correlation": 1,
        "w0": 0,
        "w1": 0,
        "w2": 0,
        "w3": 0,
        "length": 1,
        "objects": 0,
        "rest": bytes(11),
    }
    fields.update(changes)
    return HEADER.pack(*fields.values()) + b"\x80"
