"""Channels: sequenced-packet sockets that core makes and hands out, and sealed memory objects.

A channel end is a `socket.socketpair(AF_UNIX, SOCK_SEQPACKET)` end. There are no path or abstract
names, so a process can reach only what core gave it (ID-3). A payload larger than a page travels as
a memory object with all seals set; the receiver checks the seals and copies the bytes before it
looks at them (U-6, X-4, X-5).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import ChannelClosedError, FrameError
from primegap.keyos.frame import MAX_FRAME_BYTES, MAX_INLINE_BYTES, MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
_SEAL_WRITE_GROW_SHRINK_SEAL: Final = 0x0008 | 0x0004 | 0x0002 | 0x0001
_SEAL_EXEC: Final = 0x0020  # the kernel's own, with MFD_NOEXEC_SEAL
_MFD_NOEXEC_SEAL: Final = 0x0008


def _create_object() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("primegap", flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: a kernel before Linux 6.3
            raise
        return os.memfd_create("primegap", flags)


def _all_seals() -> int:
    """Return the seals that this kernel has, found by trying."""
    fd = _create_object()
    try:
        return _SEAL_WRITE_GROW_SHRINK_SEAL | fcntl.fcntl(fd, F_GET_SEALS)
    finally:
        os.close(fd)


ALL_SEALS: Final = _all_seals()
"""Seals of every object on its way: nobody, its maker included, can change its bytes, its size, its
seals or, from Linux 6.3, make it a program."""
MAX_QUEUED_FRAMES: Final = 256  # frames waiting in user space for a slow reader: then it is cut off
MAX_RECEIVED_FDS: Final = 4  # room in the ancillary buffer; more than one is refused and closed
_READ_BURST: Final = 32  # frames taken in one turn of the loop, so that no channel starves another


def seal_object(payload: bytes) -> int:
    """Return a descriptor of a sealed memory object with these bytes; the caller closes it."""
    if len(payload) > MAX_OBJECT_BYTES:
        raise FrameError("payload is larger than an object may be")
    fd = _create_object()
    try:
        view = memoryview(payload)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, F_ADD_SEALS, _SEAL_WRITE_GROW_SHRINK_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_object(fd: int, limit: int = MAX_OBJECT_BYTES) -> int:
    """Return the size of a received memory object; raise FrameError unless it is fully sealed."""
    try:
        if fcntl.fcntl(fd, F_GET_SEALS) & ALL_SEALS != ALL_SEALS:
            raise FrameError("memory object is not sealed")
        found = os.fstat(fd)
        if ALL_SEALS & _SEAL_EXEC and found.st_mode & 0o111:
            raise FrameError("memory object is a program")
        size = found.st_size
    except OSError as error:
        raise FrameError("descriptor is not a memory object") from error
    if size > limit:
        raise FrameError("memory object is too large")
    return size


def read_object(fd: int, limit: int = MAX_OBJECT_BYTES) -> bytes:
    """Return a private copy of a sealed object's bytes; raise FrameError when it is not sealed.

    The object is read, never mapped: whatever it is, its maker cannot make the reader fault.
    """
    size = check_object(fd, limit)
    chunks = bytearray()
    while len(chunks) < size:
        chunk = os.pread(fd, size - len(chunks), len(chunks))
        if not chunk:
            raise FrameError("memory object is shorter than its size")
        chunks += chunk
    return bytes(chunks)


def split_payload(payload: bytes) -> tuple[bytes, int | None]:
    """Return (inline bytes, object descriptor or None) for a payload of any allowed size."""
    if len(payload) <= MAX_INLINE_BYTES:
        return payload, None
    return b"", seal_object(payload)


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def close_fds(fds: list[int]) -> None:
    """Close descriptors and empty the list; those that are gone are ignored."""
    while fds:
        with contextlib.suppress(OSError):
            os.close(fds.pop())


class Channel:
    """One channel end on the running loop: whole datagrams in, whole datagrams out, in order.

    `on_datagram(data, fds)` owns the descriptors it is given. `on_closed()` is called once.
    With `pause_when_unread`, nothing more is taken from a peer that does not read what it was sent:
    for clients, whose answers would pile up. Only one end of a channel may do so.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_datagram: Callable[[bytes, list[int]], None],
        on_closed: Callable[[], None],
        pause_when_unread: bool = False,
    ) -> None:
        self._sock = sock
        self._pause_when_unread = pause_when_unread
        self._on_datagram = on_datagram
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[bytes, int | None]] = deque()
        self._closed = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def sock(self) -> socket.socket:
        """The socket of this end, for options; it belongs to the channel."""
        return self._sock

    @property
    def closed(self) -> bool:
        """Whether this end is closed."""
        return self._closed

    def send(self, data: bytes, fd: int | None = None) -> None:
        """Send a datagram, with at most one descriptor, which this call takes and closes.

        Raises:
            ChannelClosedError: the channel is closed, or its reader lets the queue grow too long.
        """
        if self._closed:
            if fd is not None:
                os.close(fd)
            raise ChannelClosedError("channel is closed")
        if self._queue or not self._try_send(data, fd):
            if len(self._queue) >= MAX_QUEUED_FRAMES:
                if fd is not None:
                    os.close(fd)
                self.close()
                raise ChannelClosedError("the reader of the channel does not read")
            if not self._queue:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                if self._pause_when_unread:
                    self._loop.remove_reader(self._sock.fileno())
            self._queue.append((data, fd))
        elif fd is not None:
            os.close(fd)

    def _try_send(self, data: bytes, fd: int | None) -> bool:
        ancillary = (
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            if fd is not None
            else []
        )
        try:
            self._sock.sendmsg([data], ancillary)
        except BlockingIOError:
            return False
        except OSError as error:
            # When the peer died, its hang-up is read next and reported once, there. For any other
            # reason (the peer lets no descriptor through, the kernel has no room) a datagram is
            # lost, and the channel ends.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                self.close()
        return True

    def _writable(self) -> None:
        while self._queue:
            data, fd = self._queue[0]
            if not self._try_send(data, fd) or self._closed:
                return
            self._queue.popleft()
            if fd is not None:
                os.close(fd)
        self._loop.remove_writer(self._sock.fileno())
        if self._pause_when_unread:
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_READ_BURST):
            if self._closed or (self._pause_when_unread and self._queue):
                return
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    MAX_FRAME_BYTES + 1,
                    socket.CMSG_SPACE(MAX_RECEIVED_FDS * 4),
                    socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                return
            except OSError:
                data, ancillary, flags = b"", [], 0
            fds: list[int] = []
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    received = array.array("i")
                    received.frombytes(value[: len(value) - len(value) % received.itemsize])
                    fds += received
            if not data:  # hang-up; an empty datagram is not legal and is treated alike
                close_fds(fds)
                self.close()
                return
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(data) > MAX_FRAME_BYTES:
                close_fds(fds)
                self.close()
                return
            self._on_datagram(data, fds)

    def close(self) -> None:
        """Close this end; `on_closed` is called once, after this returns."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock.fileno())
        if self._queue:
            self._loop.remove_writer(self._sock.fileno())
        for _, fd in self._queue:
            if fd is not None:
                os.close(fd)
        self._queue.clear()
        self._sock.close()
        self._loop.call_soon(self._on_closed)
