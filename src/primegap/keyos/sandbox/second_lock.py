"""The second lock: permissions in the kernel, as classic BPF filters of sockets (keyos-model, 15).

The router judges each request; the kernel has judged it before. Core's end of every connection has
a filter with the message ids that its holder may send. A request with any other id is cut to the
first bytes of its header while the kernel queues it: its payload exists nowhere that the router
could forward, and what is left tells core enough to answer with an error. A silent drop would leave
the sender waiting. Only core holds that end, so only core can replace the filter: it does when a
permission changes.

The receiving end of a service has a filter for good, locked (SO_LOCK_FILTER) before the service
starts: it passes only the ids that the service's manifest offers, whoever sends what.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING, Final

from primegap.keyos.frame import CALLER, FRAME_VERSION, HEADER, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

STUB_BYTES: Final = 16
"What is left of a frame that the filter does not pass: version, kind, flags, id, correlation."
MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS of the kernel

_SO_ATTACH_FILTER: Final = 26
_SO_LOCK_FILTER: Final = 44

_LD_LENGTH: Final = 0x80
_LD_WORD: Final = 0x20
_LD_BYTE: Final = 0x30
_JEQ: Final = 0x15
_JGT: Final = 0x25
_JGE: Final = 0x35
_RET: Final = 0x06

_PASS: Final = 0xFFFFFFFF  # all bytes
_DROP: Final = 0
_OFF_VERSION: Final = 0
_OFF_KIND: Final = 1
_OFF_MESSAGE_ID: Final = 4


def _instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def ranges_of(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return message ids as the fewest inclusive ranges, in order."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(ids)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = ranges[-1][0], number
        else:
            ranges.append((number, number))
    return ranges


def connection_filter(ids: Iterable[int]) -> bytes:
    """Return the program of core's end of a connection: passes requests with these ids, whole.

    Cancels pass too, and datagrams shorter than a header, which the router refuses. Everything
    else is cut to STUB_BYTES.
    """
    return _program(ids, base=0, other=STUB_BYTES, short=_PASS)


def service_filter(ids: Iterable[int]) -> bytes:
    """Return the program of a service's own end: requests with these ids, and cancels."""
    return _program(ids, base=CALLER.size, other=_DROP, short=_DROP)


def _program(ids: Iterable[int], *, base: int, other: int, short: int) -> bytes:
    refuse, allow = _instruction(_RET, other), _instruction(_RET, _PASS)
    out = [
        _instruction(_LD_LENGTH, 0),
        _instruction(_JGE, base + HEADER.size, 1, 0),
        _instruction(_RET, short),
        _instruction(_LD_BYTE, base + _OFF_VERSION),
        _instruction(_JEQ, FRAME_VERSION, 1, 0),
        refuse,
        _instruction(_LD_BYTE, base + _OFF_KIND),
        _instruction(_JEQ, Kind.CANCEL, 0, 1),
        allow,
        _instruction(_JEQ, Kind.REQUEST, 1, 0),
        refuse,
        _instruction(_LD_WORD, base + _OFF_MESSAGE_ID),
    ]
    for low, high in ranges_of(ids):
        if low == high:
            out += [_instruction(_JEQ, low, 0, 1), allow]
        else:
            out += [_instruction(_JGE, low, 0, 2), _instruction(_JGT, high, 1, 0), allow]
    out.append(refuse)
    if len(out) > MAX_INSTRUCTIONS:
        raise ValueError("more message ids than a filter can hold")
    return b"".join(out)


def attach(sock: socket.socket, program: bytes, *, lock: bool = False) -> None:
    """Put a filter on a socket's receiving side, in place of any other; `lock` makes it stay."""
    code = ctypes.create_string_buffer(program, len(program))
    argument = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
    if lock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)


def parse_stub_untrusted(data: bytes) -> tuple[int, int, int] | None:
    """Return (kind, message id, correlation) of a cut frame; None when this is none."""
    if len(data) != STUB_BYTES:
        return None
    version, kind, _, message_id, correlation = struct.unpack(">BBHIQ", data)
    return None if version != FRAME_VERSION else (kind, message_id, correlation)
