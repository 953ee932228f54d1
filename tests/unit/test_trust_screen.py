"""Attacks on the trusted screen: by an app, by the link process, by a fast or slow hand."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import cbor2
import pytest
from tests.stored_seed import PIN, store_seed
from tests.trust_bench import Bench, bench, quick_pin

from primegap.keyos.api import link, security, ui
from primegap.keyos.api.panel import Touch
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.messages import Empty, Request
from primegap.keyos.process import Process
from primegap.keyos.ui.canonical import encode_screen, screen_digest
from primegap.keyos.ui.screen import (
    Banner,
    Button,
    ButtonStyle,
    Keypad,
    KeypadPurpose,
    Row,
    Screen,
    Text,
    Words,
)
from primegap.keyos.ui.service import MAX_CONFIRMATIONS, MAX_NOTICES, RESPITES_S

__all__ = ["quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin")

CONTENT: Final = bytes(range(32))
KEY: Final = security.KeyChoice("regtest", 0)
NO: Final = Button("reject", "Reject")
QUESTION: Final = Screen(
    id="question",
    title="Pay?",
    items=(Row("To", "a shop"),),
    buttons=(NO, Button("confirm", "Hold", style=ButtonStyle.PRIMARY, hold_ms=1000)),
    confirm=True,
)
PLAIN: Final = Screen(id="plain", title="Hello", buttons=(Button("ok", "OK"),))


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    """A device that was set up long ago, locked, with hostile app and link."""
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("bitcoin", "link")) as running:
        yield running
        assert running.alive, running.journal.text
        assert PIN not in running.journal.text


@pytest.fixture
async def app(device: Bench) -> Process:
    return await device.puppet("bitcoin")


def confirm(app: Process, screen: Screen = QUESTION, **changes: Any) -> asyncio.Task[ui.Decision]:
    request = ui.Confirm(encode_screen(screen), CONTENT, opens=None)
    return asyncio.create_task(app.call(dataclasses.replace(request, **changes), ui.Decision))


async def refusal(call: Any) -> Status:
    with pytest.raises(RequestError) as refused:
        await call
    return refused.value.status


async def drop(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# -- what an app may show ------------------------------------------------------------------------


FORBIDDEN: Final[tuple[dict[str, Any], ...]] = (
    {"app": "System"},
    {"app": "Bitcoin"},
    {"banner": Banner("DEVELOPMENT DEVICE")},
    {"items": (Keypad(KeypadPurpose.PIN),)},
    {"items": (Words(("abandon",)),)},
    {"buttons": ()},
    {"buttons": (Button("ok", "OK", enabled=False),)},
    {"buttons": (Button("ok", "OK", hold_ms=500),)},
)


@pytest.mark.guarantee("U-1", "U-2", "U-12", tried="screens that claim a name, a banner, a PIN pad")
async def test_an_app_shows_nothing_that_only_the_system_may(device: Bench, app: Process) -> None:
    await device.unlock()
    await device.press("app:bitcoin")
    for change in FORBIDDEN:
        data = encode_screen(dataclasses.replace(PLAIN, **change))
        for request in (ui.Present(data), ui.Notify(data), ui.Update(data)):
            assert await refusal(app.call(request)) is Status.MALFORMED
    question = encode_screen(QUESTION)
    for request in (ui.Present(question), ui.Notify(question), ui.Update(question)):
        assert await refusal(app.call(request)) is Status.MALFORMED
    assert device.shown()["id"] == "home"


SHORT: Final = Button("c", "Hold", style=ButtonStyle.PRIMARY, hold_ms=500)
NO_QUESTIONS: Final[tuple[dict[str, Any], ...]] = (
    {"screen": encode_screen(PLAIN)},
    {"screen": encode_screen(dataclasses.replace(QUESTION, banner=Banner("Signs nothing")))},
    {"screen": encode_screen(dataclasses.replace(QUESTION, app="System"))},
    {"screen": b""},
    {"content": b""},
    {"content": bytes(33)},
    {"opens": security.KeyChoice("", 0)},
    {"opens": security.KeyChoice("regtest\n", 0)},
    {"opens": security.KeyChoice("regtest", -1)},
    {"opens": security.KeyChoice("regtest", 1 << 31)},
    {
        "opens": KEY,
        "screen": encode_screen(dataclasses.replace(QUESTION, buttons=(NO, SHORT))),
    },
)


async def test_what_is_no_confirmation_is_never_shown(device: Bench, app: Process) -> None:
    await device.unlock()
    await device.wait("home")
    for change in NO_QUESTIONS:
        assert await refusal(confirm(app, **change)) is Status.MALFORMED
    assert device.shown()["id"] == "home"


@pytest.mark.guarantee("U-12", "U-10", tried="screens of an app, named by the system")
async def test_every_screen_of_another_process_carries_its_name(
    device: Bench, app: Process
) -> None:
    companion = await device.puppet("link")
    companion.serve()
    await device.unlock()
    for process, name in ((app, "Bitcoin"), (companion, "QuantumLink")):
        asked = confirm(process)
        shown = await device.wait("question")
        assert shown["app"] == name
        assert shown["banner"] is None
        await device.press("reject")
        assert not (await asked).approved
        await device.wait("home")


async def test_the_system_says_which_key_a_confirmation_opens(device: Bench, app: Process) -> None:
    await device.unlock()
    asked = confirm(app, opens=security.KeyChoice("mainnet", 6))
    shown = await device.wait("question")
    assert shown["banner"]["text"] == "Approving this opens a key: mainnet, account 7"
    await device.approve("question")
    decision = await asked
    assert decision.approved
    banner = Banner(shown["banner"]["text"], tone=Banner("x").tone.__class__.ACCENT)
    on_display = dataclasses.replace(QUESTION, app="Bitcoin", banner=banner)
    assert decision.digest == screen_digest(on_display)
    take = security.TakeAccountKey("regtest", 0, decision.confirmation, CONTENT)
    assert await refusal(app.call(take)) is Status.DENIED
    await app.call(dataclasses.replace(take, network="mainnet", account=6))


async def test_an_approval_that_opens_nothing_opens_nothing(device: Bench, app: Process) -> None:
    await device.unlock()
    asked = confirm(app)
    await device.approve("question")
    decision = await asked
    assert decision.approved
    assert decision.confirmation == b""
    for number in (b"", bytes(16), decision.digest[:16]):
        take = security.TakeAccountKey("regtest", 0, number, CONTENT)
        assert await refusal(app.call(take)) is Status.DENIED


@pytest.mark.guarantee("U-3", tried="screens of an app that was not opened or was left")
async def test_an_app_shows_screens_only_while_the_person_wants_them(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    present = ui.Present(encode_screen(PLAIN))
    assert await refusal(app.call(present)) is Status.DENIED
    await device.press("app:bitcoin")
    await app.call(ui.WaitOpened())
    shown = asyncio.create_task(app.call(present, ui.Pressed))
    await device.wait("plain")
    await device.press("ok")
    assert (await shown).action == "ok"
    # The app did not close; the person went on to something else.
    await device.press("app:settings")
    await device.wait("settings")
    assert await refusal(app.call(present)) is Status.DENIED
    await device.press("back")
    await device.press("lock")
    await device.wait("unlock")
    assert await refusal(app.call(present)) is Status.DENIED


# -- lock ----------------------------------------------------------------------------------------


@pytest.mark.guarantee("U-8", tried="screens, notices and questions while locked")
async def test_a_locked_device_shows_no_app_and_takes_no_confirmation(
    device: Bench, app: Process
) -> None:
    await device.wait("unlock")
    asked = confirm(app, opens=KEY)
    await app.call(ui.Notify(encode_screen(PLAIN)))
    for _ in range(10):
        assert device.shown()["id"] == "unlock"
        await asyncio.sleep(0.02)
    await device.unlock()
    await device.approve("question")
    assert (await asked).approved
    await device.press("ok")
    await device.press("lock")
    await device.wait("unlock")
    again = confirm(app, opens=KEY)
    await device.finger.type("000000")
    await device.finger.press("done")
    await device.finger.wait(screen="unlock", target=None, timeout_s=5)
    assert not again.done()
    await drop(again)


async def test_nothing_of_an_app_stands_before_the_first_seed(tmp_path: Path) -> None:
    async with bench(tmp_path, puppets=("bitcoin",)) as device:
        await device.wait("welcome")
        app = await device.puppet("bitcoin")
        asked = confirm(app)
        await app.call(ui.Notify(encode_screen(PLAIN)))
        words = await device.make_seed()  # would fail if anything covered the flow
        await device.wait("question")
        await device.press("reject")
        assert not (await asked).approved
        assert device.alive
        for word in words:
            assert f" {word} " not in device.journal.text


# -- order, replacement, exhaustion --------------------------------------------------------------


@pytest.mark.guarantee("U-1", "U-9", tried="notices and questions over a confirmation")
async def test_no_notice_and_no_later_question_covers_a_confirmation(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    first = confirm(app)
    await device.wait("question")
    later = confirm(app, dataclasses.replace(QUESTION, id="later"))
    await app.call(ui.Notify(encode_screen(PLAIN)))
    await asyncio.sleep(0.1)
    assert device.shown()["id"] == "question"
    await device.approve("question")
    assert (await first).approved
    assert not later.done()
    await device.wait("later")
    await device.press("reject")
    assert not (await later).approved
    await device.wait("plain")


@pytest.mark.guarantee("U-9", tried="a question that appears under the finger")
async def test_a_question_that_comes_under_the_finger_is_not_answered_by_it(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    first = confirm(app)
    await device.wait("question")
    target = device.panel.target("confirm")
    assert target is not None
    x, y = target.left + 20, target.top + 20
    await asyncio.sleep(0.7)
    device.panel.touch("down", x, y)
    await asyncio.sleep(0.5)
    first.cancel()  # the app takes the question back and asks another one
    second = confirm(app, dataclasses.replace(QUESTION, title="Pay more?"))
    await asyncio.sleep(1.9)  # the finger rests where the button of the new one is
    assert device.shown()["title"] == "Pay more?"
    assert not second.done()
    device.panel.touch("up", x, y)
    await drop(first, second)


@pytest.mark.guarantee("U-9", tried="a screen changed between two touches")
async def test_a_touch_on_what_was_there_before_is_not_one_on_what_came(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    await device.wait("home")
    assert device.panel.frame is not None
    before = device.panel.frame.number
    asked = confirm(app)
    await device.wait("question")
    target = device.panel.target("reject")
    assert target is not None
    x, y = target.left + 20, target.top + 20
    for phase in ("down", "up"):  # as they come out of the queue when this process was busy
        device.panel._touches.append(Touch(phase, x, y, before, time.monotonic()))
    device.panel._touch_ready.set()
    await asyncio.sleep(0.2)
    assert not asked.done()
    await device.press("reject")
    await asked


async def test_a_tap_never_becomes_a_hold_because_the_screen_is_busy(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    asked = confirm(app)
    await device.wait("question")
    target = device.panel.target("confirm")
    assert target is not None
    assert device.panel.frame is not None
    x, y = target.left + 20, target.top + 20
    await asyncio.sleep(0.7)
    taken = device.panel.touches
    device.panel.touch("down", x, y)
    down_s = time.monotonic()
    while device.panel.touches == taken:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    time.sleep(1.4)  # an expensive screen of somebody, say
    frame = device.panel.frame.number
    device.panel._touches.append(Touch("up", x, y, frame, down_s + 0.1))
    device.panel._touch_ready.set()
    await asyncio.sleep(0.5)
    assert not asked.done()
    await device.approve("question")
    assert (await asked).approved


async def test_a_panel_that_lies_about_time_stops_nothing(device: Bench, app: Process) -> None:
    await device.unlock()
    asked = confirm(app)
    await device.wait("question")
    for when_s in (float("nan"), float("inf"), -1.0, 1e300):
        for phase, x in (("down", 1 << 60), ("???", -(1 << 60)), ("up", 5)):
            device.panel._touches.append(Touch(phase, x, x, 1 << 60, when_s))
        device.panel._touch_ready.set()
        await asyncio.sleep(0.05)
    await device.approve("question")
    assert (await asked).approved


@pytest.mark.guarantee("U-5", "X-1", tried="the asker killed under its question")
async def test_a_process_that_dies_takes_its_question_with_it(device: Bench, app: Process) -> None:
    await device.unlock()
    asked = confirm(app, opens=KEY)
    await device.wait("question")
    device.kill("bitcoin")
    await device.wait("home")
    await asyncio.gather(asked, return_exceptions=True)
    await device.puppet("bitcoin")


async def test_questions_without_end_leave_time_to_get_away(device: Bench, app: Process) -> None:
    await device.unlock()
    asked = [confirm(app) for _ in range(MAX_CONFIRMATIONS + 3)]
    began = time.monotonic()
    for _ in range(3):
        await device.press("reject")
    await device.wait("home")  # within the respite
    assert time.monotonic() - began >= RESPITES_S[2]
    results = [task.exception() for task in asked if task.done()]
    busy = [e for e in results if isinstance(e, RequestError) and e.status is Status.BUSY]
    assert len(busy) == 3
    await drop(*asked)


async def test_notices_without_end_leave_the_home_screen_usable(
    device: Bench, app: Process
) -> None:
    await device.unlock()
    await device.wait("home")
    for _ in range(int(MAX_NOTICES) + 20):
        await app.call(ui.Notify(encode_screen(PLAIN)))
    await device.press("ok")
    await device.wait("home")
    await device.press("app:settings")
    await device.press("back")
    await device.press("lock")
    await device.wait("unlock")


@pytest.mark.guarantee("X-3", "X-6", tried="an app that draws without pause")
async def test_an_app_that_floods_the_screen_does_not_keep_the_person_out(
    device: Bench, app: Process
) -> None:
    """The dearest screens there are, from every task an app may have waiting."""
    await device.unlock()
    await device.wait("home")
    items = tuple(Text(("i " * 499) + "i") for _ in range(6))
    dear = encode_screen(dataclasses.replace(QUESTION, items=items))
    over = encode_screen(dataclasses.replace(QUESTION, items=(*items, Row("a", "b"))))

    async def flood(request: Request) -> None:
        while True:
            try:
                await app.call(request)
            except RequestError:
                await asyncio.sleep(0)

    requests = [ui.Update(dear), ui.Notify(over), ui.Present(dear), ui.Present(b"\xff" * 70000)]
    floods = [asyncio.create_task(flood(requests[n % 4])) for n in range(28)]
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await device.press("app:settings")
    await device.press("back")
    await device.press("lock")
    await device.wait("unlock")
    assert time.monotonic() - began < 6
    await drop(*floods)


@pytest.mark.guarantee("H-6", tried="hostile bytes to the trusted screen")
async def test_hostile_bytes_are_refused_one_by_one(device: Bench, app: Process) -> None:
    await device.unlock()
    await device.wait("home")
    connection = await app.connect("os/ui")
    screen = encode_screen(QUESTION)
    payloads = [
        b"",
        b"\xff",
        b"\x80",
        cbor2.dumps([screen]),
        cbor2.dumps([screen, CONTENT, None]),
        cbor2.dumps([screen, CONTENT, True, 0]),
        cbor2.dumps([screen, CONTENT, ["regtest"], 0]),
        cbor2.dumps([screen, CONTENT, ["regtest", 1 << 80], 0]),
        cbor2.dumps([screen, CONTENT, ["regtest", 0.0], 0]),
        cbor2.dumps([screen, CONTENT, None, 3600]),
        cbor2.dumps([screen, CONTENT, ["regtest", 0], -1]),
        cbor2.dumps([screen, CONTENT, ["regtest", 0], 59]),
        cbor2.dumps([screen, CONTENT, ["regtest", 0], 1 << 40]),
        cbor2.dumps([[]] * 1000),
        b"\x9a\x7f\xff\xff\xff",
        b"\x81" * 4000,
        b"\x80" * (1 << 20),
        cbor2.dumps([b"\x81" * 60000]),
        cbor2.dumps([cbor2.dumps({"id": "a"})]),
        cbor2.dumps([cbor2.dumps({**cbor2.loads(screen), "confirm": 1})]),
        cbor2.dumps([cbor2.dumps({**cbor2.loads(screen), "items": [{"type": "qr"}]})]),
        cbor2.dumps([cbor2.dumps({**cbor2.loads(screen), "title": "\u202etxet"})]),
    ]
    for message in range(8):
        for payload in payloads:
            waiting = asyncio.create_task(connection.call_raw(message, payload))
            done, _ = await asyncio.wait({waiting}, timeout=0.15)
            if done:
                assert isinstance(waiting.exception(), RequestError) or message in (4, 6)
            await drop(waiting)
    assert device.shown()["id"] == "home"


# -- the link process, taken over ----------------------------------------------------------------

STATE: Final = link.LinkState(1, "connected", True, "phone", True, "AAAA-BBBB", False)


class TakenOver:
    """The link process in other hands."""

    def __init__(self, process: Process, state: link.LinkState) -> None:
        self.state = state
        self.offer = "x"
        self._changed = asyncio.Event()
        process.handle(link.WaitState, self._wait)
        process.handle(link.StartPairing, self._pair)
        process.handle(link.StopPairing, self._fail)
        process.handle(link.Unpair, self._fail)
        process.serve()

    def change(self, **changes: Any) -> None:
        version = self.state.version + 1
        self.state = dataclasses.replace(self.state, version=version, **changes)
        self._changed.set()

    async def _wait(self, caller: Any, request: link.WaitState) -> link.LinkState:
        del caller
        while request.version == self.state.version:
            self._changed.clear()
            await self._changed.wait()
        return self.state

    async def _pair(self, caller: Any, request: link.StartPairing) -> link.PairingOffer:
        del caller, request
        return link.PairingOffer(self.offer)

    async def _fail(self, caller: Any, request: Any) -> Empty:
        del caller, request
        raise RequestError(Status.FAILED, "\u202e\n" + "lie " * 60)


async def test_no_state_of_the_link_stops_the_screen(device: Bench) -> None:
    taken = TakenOver(await device.puppet("link"), STATE)
    await device.unlock()
    await device.wait("home")
    for fingerprint, name in (
        ("AAAA-BBBB", ""),
        ("", "\n\u202e" * 500),
        ("\u202e", "n"),
        ("A" * 5000, "\x00"),
        (" ", "n"),
        ("AAAA-BBBB\n", "n" * 60000),
    ):
        taken.change(fingerprint=fingerprint, peer_name=name)
        await asyncio.sleep(0.1)
        await device.press("companion")
        await device.wait("companion")
        await device.press("ok")
        await device.wait("home")
    await device.press("companion", "unpair")
    await device.approve("confirm-unpair")
    told = await device.wait("message")  # the link refuses; its words are marked as such
    assert "untrusted" in str(told["items"])
    await device.press("ok")
    await device.wait("home")


async def test_no_pairing_code_of_the_link_stops_the_screen(device: Bench) -> None:
    taken = TakenOver(await device.puppet("link"), dataclasses.replace(STATE, paired=False))
    await device.unlock()
    for taken.offer in ("", "é", "a" * 2953, "a" * 3000, "\x00", "A" * 2900):
        await device.press("pair")
        await device.panel.wait_for(
            lambda frame: cbor2.loads(frame.tree)["id"] in ("message", "pairing"), 10
        )
        await device.press("ok" if device.shown()["id"] == "message" else "back")
        await device.wait("home")


async def test_a_link_that_dies_while_it_pairs_leaves_the_screen_whole(device: Bench) -> None:
    TakenOver(await device.puppet("link"), dataclasses.replace(STATE, paired=False))
    await device.unlock()
    await device.press("pair")
    await device.wait("pairing")
    device.kill("link")
    await asyncio.sleep(0.05)
    await device.press("back")
    TakenOver(await device.puppet("link"), STATE)
    await device.wait("home")


async def test_a_link_that_always_has_news_does_not_busy_the_screen(device: Bench) -> None:
    process = await device.puppet("link")
    asked = 0

    async def answer(caller: Any, request: link.WaitState) -> link.LinkState:
        nonlocal asked
        del caller
        asked += 1
        return dataclasses.replace(STATE, version=request.version + 1)

    process.handle(link.WaitState, answer)
    process.serve()
    await device.unlock()
    await device.wait("home")
    before = asked
    await asyncio.sleep(1)
    assert asked - before <= 25


# -- production ----------------------------------------------------------------------------------


@pytest.mark.guarantee("U-4", "M-3", tried="what the panel of an ordinary device learns")
async def test_an_ordinary_device_gives_the_panel_pixels_and_nothing_else(tmp_path: Path) -> None:
    async with bench(tmp_path, development=False) as device:
        await device.panel.wait_for(lambda frame: frame.number > 1, 20)
        frame = device.panel.frame
        assert frame is not None
        assert frame.tree == b""
        assert frame.targets == ()
        assert len(frame.rgb) == 480 * 800 * 3
