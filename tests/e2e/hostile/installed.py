"""An installed app that speaks the wire itself: what it may ask, and what becomes of it."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.hostile.raw import DATA, attempt, wait_for_file, write_report
from tests.e2e.hostile.vault_api import MESSAGES
from tests.e2e.hostile.wire import Control, Wire

if TYPE_CHECKING:
    from primegap.keyos.process import Process

PARK_S: Final = 15.0


async def main(process: Process, mark: str, file: str) -> None:
    """Say who this is and try."""
    process.serve()
    if mark != "first":
        write_report({"mark": mark}, f"life-{mark}")
        await wait_for_file("go-on-for-ever")
    control = Control(process)
    wire = control.must_connect("os/vault")
    found: dict[str, Any] = {"mark": mark, "file": file, "uid": os.getuid()}
    found["write to the image"] = attempt(lambda: os.open(file, os.O_RDWR))
    found["replace the image"] = attempt(lambda: os.rename(DATA / "x", file))
    found["ping"] = ping(wire, 1)
    found["not declared"] = ping(wire, 2, MESSAGES["Take"])
    found["for parts of the image"] = ping(wire, 3, MESSAGES["Secret"])
    found["other servers"] = [
        control.connect(name) for name in ("os/core", "os/other", "app/thing", "hw/panel")
    ]
    write_report(found, "first")

    # Parked until it is granted, then held by the service until the grant is taken back.
    wire.request(MESSAGES["Hold"], 10)
    began = time.monotonic()
    held = {"taken back": wire.outcome(PARK_S), "after_s": time.monotonic() - began}
    wire.request(MESSAGES["Hold"], 11)
    held["denied"] = wire.outcome(PARK_S)
    answers: Counter[str] = Counter()
    for number in range(200):
        wire.request(MESSAGES["Hold"], 100 + number, payload=b"\x80" + bytes(1000))
        answers[wire.outcome(PARK_S)] += 1
    held["denied again"] = dict(answers)
    held["ping"] = ping(wire, 5)
    write_report(held, "held")
    await wait_for_file("go-on-for-ever")


def ping(wire: Wire, number: int, message_id: int = MESSAGES["Ping"]) -> str:
    """Return how a call ends."""
    wire.request(message_id, number)
    outcome: str = wire.outcome(PARK_S)
    return outcome
