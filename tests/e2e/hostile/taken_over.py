"""The Bitcoin app in other hands: own code in its sandbox, raw frames on its channels."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

import cbor2
from tests.e2e.hostile.raw import wait_for_file, write_report
from tests.e2e.hostile.wire import Control, Wire

from primegap.keyos.channel import seal_object
from primegap.keyos.frame import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.keyos.process import Process

SECURITY: Final = {
    "GetAppSeed": 6,
    "GetAccountXpub": 7,
    "TakeAccountKey": 8,
    "WaitUnlocked": 10,
    "GetDeviceFacts": 17,
    "GetAnchor": 20,
    "SetAnchor": 21,
    "EndSession": 22,
    "GetWalletKeys": 23,
}
"What the manifest allows the app; everything else is tried too."
UI: Final = {"Present": 1, "Confirm": 2, "Update": 3, "WaitOpened": 4, "Notify": 5, "Close": 6}
CONTENT: Final = bytes(range(32))
FLOOD_S: Final = 4.0
ANSWER_S: Final = 15.0  # something always comes; a busy machine takes its time


async def main(process: Process) -> None:
    """Carry out the attacks that the test orders, one after another."""
    process.serve()
    control = Control(process)
    for name in ("locked", "forged", "asks", "floods"):
        await wait_for_file(f"go-{name}")
        write_report({"result": ATTACKS[name](control)}, name)
    await asyncio.Event().wait()


def question(**changes: Any) -> bytes:
    """Return a confirmation, canonically encoded, with some of its fields changed."""
    button = {"style": "secondary", "hold_ms": 0, "enabled": True}
    plain = {
        "id": "question",
        "title": "Update the device?",
        "items": [],
        "buttons": [
            {"id": "reject", "label": "Later", **button},
            {"id": "confirm", "label": "Hold", **button, "style": "primary", "hold_ms": 1000},
        ],
        "app": None,
        "banner": None,
        "confirm": True,
    }
    return cbor2.dumps({**plain, **changes}, canonical=True)


def ask(wire: Wire, server_message: int, *fields: Any) -> str:
    wire.request(server_message, 1, cbor2.dumps(list(fields)))
    return wire.outcome(ANSWER_S)


def locked(control: Control) -> Any:
    """What a device that was not unlocked gives away."""
    security, ui = control.must_connect("os/security"), control.must_connect("os/ui")
    found = {
        "xpub": ask(security, SECURITY["GetAccountXpub"], "regtest", 0),
        "key": ask(security, SECURITY["TakeAccountKey"], "regtest", 0, bytes(16), CONTENT),
        "wallets": ask(security, SECURITY["GetWalletKeys"], "regtest", 0),
    }
    waiting = control.must_connect("os/security")
    waiting.request(SECURITY["GetAppSeed"], 1)
    found["seed"] = waiting.outcome(0.3)
    ui.request(UI["Confirm"], 1, cbor2.dumps([question(), CONTENT, None, 0]))
    found["question"] = ui.outcome(0.5)
    ui.sock.close()
    return found


def forged(control: Control) -> Any:
    """Keys without a confirmation, and screens that only the system may show."""
    security, ui = control.must_connect("os/security"), control.must_connect("os/ui")
    take = SECURITY["TakeAccountKey"]
    found = {
        f"key {number.hex()[:4]}": ask(security, take, "regtest", 0, number, CONTENT)
        for number in (b"", bytes(16), os.urandom(16), CONTENT[:16])
    }
    for message in range(64):
        if message not in SECURITY.values():
            found[f"security {message}"] = ask(security, message, "000000")
    screens = {
        "names itself": question(app="System"),
        "has a banner": question(banner={"text": "Nothing is signed", "tone": "success"}),
        "asks for a PIN": question(
            items=[{"type": "keypad", "purpose": "pin", "max_length": None, "min_length": 6}],
            confirm=False,
        ),
        "has no way out": question(buttons=[], confirm=False),
    }
    for name, screen in screens.items():
        found[f"confirm {name}"] = ask(ui, UI["Confirm"], screen, CONTENT, None, 0)
        found[f"notify {name}"] = ask(ui, UI["Notify"], screen)
    for session_s in (-1, 59, 1 << 40):
        choice = ["regtest", 0]
        found[f"confirm {session_s} s"] = ask(
            ui, UI["Confirm"], question(), CONTENT, choice, session_s
        )
    found["confirm no key"] = ask(ui, UI["Confirm"], question(), CONTENT, None, 3600)
    return found


def asks(control: Control) -> Any:
    """Ask for a key in words of its own; then use the answer for all that it is not good for."""
    security, ui = control.must_connect("os/security"), control.must_connect("os/ui")
    ui.sock.settimeout(30)
    ui.request(UI["Confirm"], 1, cbor2.dumps([question(), CONTENT, ["regtest", 0], 0]))
    reply = ui.receive(30)
    assert reply is not None
    approved, number, _ = cbor2.loads(reply[0].payload)
    take = SECURITY["TakeAccountKey"]
    return {
        "approved": approved,
        "other network": ask(security, take, "mainnet", 0, number, CONTENT),
        "other account": ask(security, take, "regtest", 1, number, CONTENT),
        "other content": ask(security, take, "regtest", 0, number, bytes(32)),
        "other connection": ask(
            control.must_connect("os/security"), take, "regtest", 0, number, CONTENT
        ),
        "again": ask(security, take, "regtest", 0, number, CONTENT),
    }


def floods(control: Control) -> Any:
    """Everything dear at once, for a while."""
    text = {"type": "text", "text": "i " * 499 + "i", "style": "body"}
    dear = question(items=[text] * 6)
    wires = [control.must_connect("os/ui") for _ in range(8)]
    security = control.must_connect("os/security")
    answers = 0
    number = 10
    end = time.monotonic() + FLOOD_S
    bomb = b"\x80" * (2 << 20)
    while time.monotonic() < end:
        for wire in wires:
            number += 1
            throw(wire, UI["Confirm"], number, cbor2.dumps([dear, CONTENT, None, 0]))
            throw(wire, UI["Notify"], number + 1_000_000, bomb)
        throw(security, SECURITY["GetAccountXpub"], number, bomb)
        for wire in (*wires, security):
            while True:
                try:
                    reply = wire.receive(0.001)
                except TimeoutError:
                    break
                answers += reply is not None and reply[0].kind is Kind.ERROR
                if reply is None:
                    break
    for wire in wires:
        wire.sock.close()
    return answers


def throw(wire: Wire, message: int, number: int, payload: bytes) -> None:
    """Send a request whose payload is a memory object; a device that does not read it is right."""
    descriptor = seal_object(payload)
    try:
        with contextlib.suppress(OSError):  # TimeoutError among them
            wire.request(message, number, b"", [descriptor])
    finally:
        os.close(descriptor)


ATTACKS: Final[dict[str, Callable[[Control], Any]]] = {
    "locked": locked,
    "forged": forged,
    "asks": asks,
    "floods": floods,
}
