"""The Bitcoin app in other hands: asks for seeds of others, then crashes with its own."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

import cbor2
from tests.e2e.hostile.raw import wait_for_file, write_report
from tests.e2e.hostile.wire import Control

from primegap.keyos.frame import Frame, Kind, encode_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

GET_APP_SEED = 6


async def main(process: Process) -> None:
    """Wait for the unlocking, try, report, crash when told."""
    process.serve()
    process._loop.remove_reader(process._fds["control"])
    await wait_for_file("go-steal")
    write_report({"answers": steal(Control(process), process.config["others"])}, "stolen")
    await wait_for_file("go-crash")
    ctypes.string_at(0)


def steal(control: Control, others: list[str]) -> dict[str, Any]:
    """Put the ids of others into every field that there is."""
    wire = control.must_connect("os/security")
    answers: dict[str, Any] = {}
    correlation = 0
    for other in others:
        identifier = bytes.fromhex(other)
        words = (*struct.unpack(">QQ", identifier), *struct.unpack(">QQ", identifier))
        for name, payload in {
            "empty": b"\x80",
            "id": cbor2.dumps([identifier]),
            "id and role": cbor2.dumps([identifier, "security"]),
            "map": cbor2.dumps({"app_id": identifier}),
            "raw": identifier,
            "caller header": identifier + bytes(16) + b"\x80",
        }.items():
            correlation += 1
            frame = Frame(
                kind=Kind.REQUEST,
                message_id=GET_APP_SEED,
                correlation=correlation,
                words=words,
                payload=payload,
            )
            wire.send(encode_frame(frame))
            reply = wire.receive(10)
            assert reply is not None
            answers[f"{other} {name}"] = (
                cbor2.loads(reply[0].payload)[0].hex() if reply[0].kind is Kind.REPLY else "refused"
            )
    return answers
