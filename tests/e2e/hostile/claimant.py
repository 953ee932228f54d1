"""An app of a device without walls that says it is another: in words, in the payload, in front."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.e2e.hostile.vault_api import MESSAGES, SERVER, Log
from tests.e2e.hostile.wire import Control

from primegap.keyos.frame import Caller, Frame, Kind, Trust, encode_caller, encode_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

OTHER = b"os/security\x00\x00\x00\x00\x00"


async def main(process: Process) -> None:
    """Claim, and report whom the service saw."""
    process.serve()
    wire = Control(process).must_connect(SERVER)
    words = (int.from_bytes(OTHER[:8], "big"), int.from_bytes(OTHER[8:], "big"), 1, 1)
    frame = Frame(
        kind=Kind.REQUEST,
        message_id=MESSAGES["Ping"],
        correlation=1,
        words=words,
        payload=b"\x80",
    )
    wire.send(encode_frame(frame))
    answers = [wire.outcome(5.0)]
    wire.send(encode_caller(Caller(OTHER, 1, Trust.SYSTEM)) + encode_frame(frame))
    answers.append(wire.outcome(0.3))
    log = json.loads((await process.call(Log())).value)
    report = {"answers": answers, "seen": log["seen"]}
    (process.data / "report.new").write_text(json.dumps(report))
    (process.data / "report.new").rename(process.data / "report.json")
    await asyncio.Event().wait()
