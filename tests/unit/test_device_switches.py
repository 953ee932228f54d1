"""Switches, air gap, PIN and seed words on the trusted screen; who may turn what."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.stored_seed import ENTROPY, PIN, store_seed
from tests.trust_bench import Bench, bench, quick_hand, quick_pin

from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.service import IMAGE, LENT
from primegap.keyos.api import core, security
from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.core.switches import CARRIERS, FILE, Switches
from primegap.keyos.errors import RequestError, Status
from primegap.keyos.manifest.schema import SWITCHES
from primegap.keyos.security.sealing import MAX_ATTEMPTS
from primegap.keyos.ui.preferences import AUTO_LOCK_CHOICES_S, Preferences, load_preferences

__all__ = ["quick_hand", "quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

NEW_PIN = "314159"


# -- the choice itself ---------------------------------------------------------------------------


@pytest.mark.guarantee("L-7", tried="every switch and the air gap, over a restart")
def test_what_was_chosen_holds_over_a_restart(tmp_path: Path) -> None:
    switches = Switches(tmp_path)
    assert all(switches.allows(name) for name in (*SWITCHES, None))
    switches.choose("nfc", on=False)
    switches.air_gap = True
    switches.write_down()
    again = Switches(tmp_path)
    assert again.air_gap
    assert [name for name in SWITCHES if again.allows(name)] == ["camera"]
    assert [name for name in SWITCHES if again.chosen(name)] == ["bluetooth", "usb", "camera"]
    again.air_gap = False
    assert [name for name in SWITCHES if again.allows(name)] == ["bluetooth", "usb", "camera"]
    assert not {"bluetooth", "nfc", "usb"} - CARRIERS


@pytest.mark.guarantee("L-7", tried="a damaged file of switches")
@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b'{"bluetooth": true}', b"null"])
def test_a_damaged_choice_means_that_everything_is_off(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    switches = Switches(tmp_path)
    assert switches.air_gap
    assert not [name for name in SWITCHES if switches.allows(name)]
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    assert Switches(tmp_path).air_gap


@pytest.mark.guarantee("L-8", tried="the holders of switches in every built-in manifest")
def test_only_the_trusted_screen_turns_switches() -> None:
    rows = [
        (role, set(names)) for role, server, names in builtin_table().rows() if server == "os/core"
    ]
    assert {role for role, names in rows if "SetAirGap" in names} == {"ui"}
    assert {role for role, names in rows if "SetSwitch" in names} <= {"ui", "settings"}
    manifests = builtin_table().manifests
    assert manifests["radio"].switch == "bluetooth"
    assert manifests["camera"].switch == "camera"
    assert {m.role for m in manifests.values() if m.profile == "radio"} == {"radio"}


# -- on a device ---------------------------------------------------------------------------------


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    store_seed(tmp_path)
    async with bench(tmp_path) as running:
        await running.unlock()
        await running.wait("home")
        yield running


def state(device: Bench, target: str) -> Any:
    return next(i["on"] for i in device.shown()["items"] if i.get("id") == target)


async def until(check: Any) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)


@pytest.mark.guarantee("L-7", tried="the air gap turned on and off on the screen, and a restart")
async def test_the_air_gap_ends_the_radio_and_holds(tmp_path: Path) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path) as device:
        await device.unlock()
        await device.press("security")
        await device.wait("security")
        assert not state(device, "air-gap")
        await until(lambda: "camera" in device.running)
        await device.press("air-gap")
        await until(lambda: device.shown()["id"] == "security" and state(device, "air-gap"))
        assert not device.switches.allows("bluetooth")
        assert json.loads((tmp_path / FILE).read_bytes())["air-gap"]
        # Its own switch is turned on behind the gap: nothing starts.
        device.radio.start = lambda: pytest.fail("the radio was started")  # type: ignore[method-assign]
        await device.press("switches")
        await device.wait("switches")
        assert not state(device, "switch:bluetooth")
        await device.press("switch:bluetooth", "switch:bluetooth", "switch:camera")
        await until(lambda: "camera" not in device.running)
    async with bench(tmp_path) as device:
        await device.unlock()
        await device.press("security")
        await device.wait("security")
        assert state(device, "air-gap")
        assert not device.switches.allows("bluetooth")
        assert "camera" not in device.running
        await device.press("air-gap")
        await device.wait("confirm-air-gap-off")
        await device.press("back")
        await device.wait("security")
        assert state(device, "air-gap")
        await device.press("air-gap")
        await device.approve("confirm-air-gap-off")
        await until(lambda: device.shown()["id"] == "security" and not state(device, "air-gap"))
        await device.press("switches", "switch:camera")
        await until(lambda: "camera" in device.running)


async def test_a_gap_that_cannot_be_written_down_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from primegap.files import StorageFullError

    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await device.puppet("ui")

        def full(path: Path, data: bytes) -> None:
            raise StorageFullError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr("primegap.keyos.core.switches.write_file", full)
            for request in (core.SetAirGap(on=True), core.SetAirGap(on=False)):
                with pytest.raises(RequestError) as refused:
                    await ui.call(request)
                assert refused.value.status is Status.FAILED
                assert device.switches.air_gap
        await ui.call(core.SetAirGap(on=False))
        assert not device.switches.air_gap
        with pytest.raises(RequestError) as refused:
            await ui.call(core.SetSwitch("all", on=True))
        assert refused.value.status is Status.MALFORMED


# -- PIN, words, erasing -------------------------------------------------------------------------


async def type_pin(device: Bench, pin: str) -> None:
    await device.finger.type(pin)
    await device.press("done")


@pytest.mark.guarantee("U-11", tried="seed words without the PIN, with a wrong and the right one")
async def test_the_words_are_shown_after_the_pin_only(device: Bench) -> None:
    from primegap.bitcoin.keys import entropy_to_words

    await device.press("security", "pin-and-seed", "show-words")
    await device.wait("warn-words")
    await device.press("ok")
    await device.wait("check-pin")
    await type_pin(device, "000000")
    await until(lambda: "9 tries left" in str(device.shown()))
    assert device.shown()["id"] == "check-pin"
    await type_pin(device, PIN)
    await device.wait("show-words")
    words = [word for item in device.shown()["items"] for word in item.get("words", ())]
    assert words == list(entropy_to_words(ENTROPY))
    await device.press("done")
    await device.wait("pin-and-seed")


@pytest.mark.guarantee("U-8", "U-11", tried="the device locked while the seed words are shown")
async def test_a_lock_takes_the_words_away_for_good(device: Bench) -> None:
    await device.press("security", "pin-and-seed", "show-words", "ok")
    await type_pin(device, PIN)
    await device.wait("show-words")
    device.kill("security")
    await device.unlock()
    await device.wait("home")


async def test_wrong_pins_for_the_words_end_as_at_the_lock(device: Bench, tmp_path: Path) -> None:
    await device.press("security", "pin-and-seed", "show-words", "ok")
    for left in range(MAX_ATTEMPTS - 1, 0, -1):
        await type_pin(device, "000000")
        await until(lambda left=left: f"{left} tr" in str(device.shown()))
    await type_pin(device, "000000")
    await device.wait("welcome")
    assert not (tmp_path / "security/vault").exists()


@pytest.mark.guarantee("S-6", tried="the PIN changed with a wrong and with the right old one")
async def test_the_pin_is_changed_with_the_old_one_only(device: Bench) -> None:
    await device.press("security", "pin-and-seed", "change-pin")
    for old, told in (("000000", "as before"), (PIN, "is changed")):
        await device.wait("check-pin")
        await type_pin(device, old)
        for _ in range(2):
            await device.wait("choose-pin")
            await type_pin(device, NEW_PIN)
        await device.wait("message")
        assert told in device.shown()["title"]
        await device.press("ok")
        await device.wait("pin-and-seed")
        if old != PIN:
            await device.press("change-pin")
    await device.press("back", "back", "lock")
    await device.unlock()
    await until(lambda: "9 tries left" in str(device.shown()))
    await device.unlock(NEW_PIN)
    await device.wait("home")


@pytest.mark.guarantee("S-9", tried="the device erased on its screen")
async def test_erasing_asks_twice_and_leaves_nothing(device: Bench, tmp_path: Path) -> None:
    await device.press("security", "pin-and-seed", "erase")
    await device.wait("warn-erase")
    await device.press("ok")
    await device.wait("confirm-erase")
    await device.press("back")
    await device.wait("pin-and-seed")
    assert (tmp_path / "security/vault").exists()
    await device.press("erase", "ok")
    await device.approve("confirm-erase")
    await device.wait("welcome")
    assert not (tmp_path / "security/vault").exists()
    assert not (tmp_path / "security/device.key").exists()


async def test_the_facts_name_what_was_measured(device: Bench) -> None:
    await device.press("security", "device-facts")
    await device.wait("device-facts")
    text = str(device.shown())
    for fact in ("Master fingerprint", "05D027A5", "Files and a counter", "whoever copies", "KiB"):
        assert fact in text


@pytest.mark.guarantee("U-8", tried="nobody touches the screen for the chosen time")
async def test_it_locks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "primegap.keyos.ui.service.load_preferences", lambda folder: Preferences(auto_lock_s=2)
    )
    store_seed(tmp_path)
    async with bench(tmp_path) as device:
        await device.unlock()
        await device.wait("home")
        began = time.monotonic()
        while time.monotonic() - began < 3:
            await device.press("security", "back")  # somebody is there
            assert device.shown()["id"] != "unlock"
        await device.press("security")
        await device.wait("unlock")
        await device.unlock()
        await device.wait("home")


async def test_the_time_to_lock_is_chosen_and_kept(device: Bench, tmp_path: Path) -> None:
    await device.press("security", "pin-and-seed", "auto-lock", "after:60")
    await device.wait("pin-and-seed")
    assert load_preferences(tmp_path / "ui") == Preferences(60)
    (tmp_path / "ui/preferences").write_text('{"auto_lock_s": 999999}')
    assert load_preferences(tmp_path / "ui").auto_lock_s in AUTO_LOCK_CHOICES_S


@pytest.mark.guarantee("U-10", tried="hostile names of files on the card")
async def test_the_card_is_looked_at_and_cleared(device: Bench, tmp_path: Path) -> None:
    await until((tmp_path / "airlock" / IMAGE).exists)
    fd = os.open(tmp_path / "airlock" / IMAGE, os.O_RDWR)
    card = Card(fd)
    card.make_folder("Exports")
    card.write("Exports/wallet.json", bytes(3000))
    card.write("\u202egpj.exe", b"x")
    os.close(fd)
    await device.press("security", "card")
    await device.wait("card")
    names = [c["label"]["untrusted"] for i in device.shown()["items"] for c in i.get("choices", ())]
    assert names == ["Exports", "□gpj.exe"]
    await device.press("entry:0")
    await until(lambda: "wallet.json" in str(device.shown()))
    assert "3 KiB" in str(device.shown())
    await device.press("entry:0")
    await device.wait("card-entry")
    await device.press("remove")
    await until(lambda: "Nothing is here" in str(device.shown()))
    await device.press("back")
    await until(lambda: "Exports" in str(device.shown()))
    await device.press("back")
    await device.wait("security")


@pytest.mark.guarantee(
    "F-8", tried="a card lent on the screen, taken back there and by the air gap"
)
async def test_the_card_is_lent_on_the_screen_alone(device: Bench, tmp_path: Path) -> None:
    lent = tmp_path / "airlock" / LENT
    await until((tmp_path / "airlock" / IMAGE).exists)
    await device.press("security", "card", "lend")
    await device.wait("card-lent")
    assert lent.exists()
    await device.press("take-back")
    await device.wait("card")
    assert not lent.exists()
    await device.press("lend")
    await device.wait("card-lent")
    await device.press("back", "air-gap")
    await until(lambda: not lent.exists())
    await device.press("card", "lend")
    await device.wait("message")
    assert not lent.exists()


@pytest.mark.guarantee("U-12", tried="the beginnings of two PINs typed at the lock")
async def test_the_lock_shows_words_that_only_this_device_knows(tmp_path: Path) -> None:
    store_seed(tmp_path)

    def shown(device: Bench) -> str:
        return str(device.shown()["items"][0]["text"]).partition(": ")[2]

    async with bench(tmp_path) as device:
        found = []
        for digits in ("271", "8", "28"):
            await device.finger.type(digits)
            if digits != "271":
                await until(lambda: shown(device))
            found.append(shown(device))
        assert found[0] == ""
        assert found[1] == found[2]
        assert len(found[1].split()) == 2
        for _ in range(6):
            await device.finger.press("key:delete")
        await until(lambda: not shown(device))
        await device.finger.type("1234")
        await until(lambda: shown(device))
        assert shown(device) != found[1]


async def test_the_words_are_refused_while_locked(tmp_path: Path) -> None:
    vault = store_seed(tmp_path)
    async with bench(tmp_path, puppets=("ui",)) as device:
        ui = await device.puppet("ui")
        for request in (security.RevealWords(PIN), security.ChangePin(PIN, NEW_PIN)):
            with pytest.raises(RequestError) as refused:
                await ui.call(request)
            assert refused.value.status is Status.LOCKED
        assert vault.state().attempts_left == MAX_ATTEMPTS
