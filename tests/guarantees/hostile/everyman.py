"""Any role of the device, replaced: notes what reaches its service and sends every message.

In the service it decides nothing: whatever core lets through is written down and answered. As a
caller it speaks the wire: on a connection to every server, on its control channel, and on the
channel of its own service, where only answers belong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.hostile.raw import wait_for_file, write_report
from tests.e2e.hostile.wire import Control, Wire

from primegap.keyos.channel import close_fds
from primegap.keyos.frame import CALLER, Frame, Kind, encode_frame, parse_caller
from primegap.keyos.frame import parse_frame_untrusted as parse_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

IDS: Final = (*range(256), 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1)
WINDOW: Final = 16  # requests on the way at once: fewer than core lets wait
NOT_A_PAYLOAD: Final = b"\xff"
CORE: Final = "os/core"


async def main(process: Process) -> None:
    """Serve, sweep when told to, report, and stay."""
    seen: Counter[tuple[str, str, int]] = Counter()

    def note(data: bytes, fds: list[int]) -> None:
        close_fds(fds)
        caller, frame = parse_caller(data), parse_frame(data[CALLER.size :])
        seen[caller.app_id.hex(), frame.kind.name, frame.message_id] += 1
        process._reply(Frame(kind=Kind.REPLY, correlation=frame.correlation), None)

    process._receive_request = note  # type: ignore[method-assign]
    own_service = process._fds.get("service")
    process.serve()
    process._loop.remove_reader(process._fds["control"])  # the sweep reads it, in a thread
    await wait_for_file("go-sweep")
    servers: dict[str, list[int]] = process.config["servers"]
    write_report({"swept": await asyncio.to_thread(sweep, process, servers, own_service)}, "swept")
    await wait_for_file("go-report")
    write_report({"seen": [[*key, count] for key, count in seen.items()]}, "seen")
    await wait_for_file("go-last")
    # What ends this process too, if it is allowed.
    control = Control(process)
    answer = await asyncio.to_thread(last, control, process.config["last"])
    write_report({"answer": answer}, "last")
    await asyncio.Event().wait()


def sweep(process: Process, servers: dict[str, list[int]], service: int | None) -> dict[str, Any]:
    """Send every id to every server; return server -> answer -> ids, or why there is no way."""
    control = Control(process)
    found: dict[str, Any] = {}
    for server, left_out in servers.items():
        wire = control.connect(server)
        if not isinstance(wire, Wire):
            found[server] = wire
            continue
        answers: dict[str, list[int]] = {}
        # What core itself does is real: its messages get a payload that it refuses to read.
        payload = NOT_A_PAYLOAD if server == CORE else b"\x80"
        ids = [number for number in IDS if number not in left_out]
        for start in range(0, len(ids), WINDOW):
            window = ids[start : start + WINDOW]
            for number in window:
                wire.request(number, number, payload)
            waiting = set(window)
            with contextlib.suppress(TimeoutError):
                while waiting:
                    reply = wire.receive()
                    assert reply is not None, f"{server} hung up"
                    frame, fds = reply
                    close_fds(fds)
                    waiting.remove(frame.correlation)
                    kind = f"ERROR {frame.words[0]}" if frame.kind is Kind.ERROR else "REPLY"
                    answers.setdefault(kind, []).append(frame.correlation)
            if waiting:
                answers.setdefault("silence", []).extend(waiting)
        found[server] = answers
        wire.close()
    for channel in (control.sock.fileno(), service):
        if channel is not None:
            for number in IDS:
                frame = Frame(kind=Kind.REQUEST, message_id=number, correlation=number)
                with contextlib.suppress(OSError):
                    os.write(channel, encode_frame(frame))
    return found


def last(control: Control, messages: dict[str, list[int]]) -> dict[str, str]:
    """Send what was left out of the sweep."""
    answers = {}
    for server, numbers in messages.items():
        wire = control.connect(server)
        for number in numbers:
            if isinstance(wire, Wire):
                wire.request(number, number)
                answers[f"{server} {number}"] = wire.outcome(2.0)
            else:
                answers[f"{server} {number}"] = wire
    return answers
