"""A signed payment as an animation: denser, slower, remembered, and read by somebody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from primegap.airgap import (
    DEFAULT_DENSITY,
    DENSITIES,
    Animation,
    CodeReader,
    Container,
    Dialect,
    Expect,
    TooLargeForQrError,
)
from primegap.apps.bitcoin import screens
from primegap.apps.bitcoin.showing import fitting, show_signed
from primegap.apps.bitcoin.store import Memory
from primegap.keyos.client import AppScreen, SealedFile
from primegap.keyos.ui.screen import Qr, Screen

PSBT = b"psbt\xff" + bytes(range(256)) * 8 + b"\0"
UR = Dialect(Container.UR, "crypto-psbt")


class Person(AppScreen):
    """Presses buttons in order: the next one once a screen was on the display for a while."""

    def __init__(self, *presses: str, frames: int = 3) -> None:
        self.presses = list(presses)
        self.shown: list[Screen] = []
        self.frames = frames
        self._seen = asyncio.Event()
        self._left = 0

    async def present(self, screen: Screen) -> str:
        self.shown.append(screen)
        self._left = self.frames if screen.id == "signed-qr" else 0
        self._seen.clear()
        if self._left:
            await self._seen.wait()
        return self.presses.pop(0)

    async def update(self, screen: Screen) -> None:
        self.shown.append(screen)
        self._left -= 1
        if self._left <= 0:
            self._seen.set()


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(SealedFile(tmp_path, "state", bytes(32)), period_ms=125)


def texts(shown: list[Screen]) -> list[str]:
    return [item.text for screen in shown for item in screen.items if isinstance(item, Qr)]


async def test_it_is_shown_until_the_person_is_done(memory: Memory) -> None:
    person = Person("done", frames=12)
    await show_signed(PSBT, UR, memory, person)
    reader = CodeReader(Expect.PSBT)
    for text in texts(person.shown):
        reader.receive(text)
    assert reader.result is not None
    assert reader.result.psbt() == PSBT
    sizes = {item.min_version for s in person.shown for item in s.items if isinstance(item, Qr)}
    assert sizes == {DEFAULT_DENSITY.qr_version}


async def test_dots_and_time_are_changed_and_remembered(memory: Memory) -> None:
    person = Person("adjust", "dots", "dots", "period", "back", "done")
    await show_signed(PSBT, UR, memory, person)
    assert person.presses == []
    again = Memory.load(memory.file)
    assert again.density == memory.density == DENSITIES[4]
    assert again.period_ms == memory.period_ms == 250
    last = next(item for item in person.shown[-1].items if isinstance(item, Qr))
    assert last.min_version == DENSITIES[4].qr_version
    adjusted = [screen for screen in person.shown if screen.id == "adjust-qr"]
    assert len(adjusted) == 4


async def test_choices_go_round(memory: Memory) -> None:
    presses = ["dots"] * len(DENSITIES) + ["period"] * len(screens.PERIODS)
    person = Person("adjust", *presses, "back", "done")
    await show_signed(PSBT, UR, memory, person)
    assert (memory.density, memory.period_ms) == (DEFAULT_DENSITY, 125)


async def test_one_symbol_has_nothing_to_adjust(memory: Memory) -> None:
    person = Person("done")
    plain = Dialect(Container.PLAIN, "base64")
    person.frames = 0
    await show_signed(b"psbt\xff\0", plain, memory, person)
    (screen,) = person.shown
    assert [button.id for button in screen.buttons] == ["save", "done"]


def test_a_payment_too_large_for_the_wish_is_shown_denser() -> None:
    large = PSBT + bytes(100_000)
    animation, density = fitting(lambda d: Animation.answer(UR, large, d), DENSITIES[0])
    assert DENSITIES[0] != density
    assert animation.frames_count <= 1024
    with pytest.raises(TooLargeForQrError):
        fitting(lambda d: Animation.answer(UR, PSBT + bytes(1_000_000), d), DENSITIES[0])
