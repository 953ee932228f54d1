"""Showing a signed payment as an animation, as dense and as fast as the person's reader likes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from primegap.airgap import DENSITIES, Animation, Density, TooLargeForQrError
from primegap.apps.bitcoin import screens

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.airgap import Dialect
    from primegap.apps.bitcoin.store import Memory
    from primegap.keyos.client import AppScreen
    from primegap.keyos.ui.screen import Screen


T = TypeVar("T")


def fitting(make: Callable[[Density], Animation], wanted: Density) -> tuple[Animation, Density]:
    """Return the animation at the density that is wanted, or at the next denser one that holds it.

    Raises:
        TooLargeForQrError: no density holds it.
    """
    *lighter, densest = DENSITIES[DENSITIES.index(wanted) :]
    for density in lighter:
        with contextlib.suppress(TooLargeForQrError):
            return make(density), density
    return make(densest), densest


async def show_signed(psbt: bytes, dialect: Dialect, memory: Memory, screen: AppScreen) -> bool:
    """Show a signed payment; whether the person wants it on the card instead.

    Raises:
        TooLargeForQrError: it does not fit codes.
    """

    def make(density: Density) -> Animation:
        return Animation.answer(dialect, psbt, density)

    return await show_code(make, memory, screen, "Signed", save=True) == screens.SAVE


async def show_code(
    make: Callable[[Density], Animation],
    memory: Memory,
    screen: AppScreen,
    title: str,
    *,
    save: bool = False,
) -> str:
    """Show frame after frame until the person is done; density and speed are remembered.

    Args:
        make: returns the frames at a density.
        memory: what is remembered.
        screen: the app's place on the trusted screen.
        title: of the screen.
        save: offer to write it to the card.

    Returns:
        What was pressed in the end.

    Raises:
        TooLargeForQrError: it does not fit codes.
    """
    while True:
        animation, density = fitting(make, memory.density)
        pressed = await _animate(animation, density, memory.period_ms, screen, title, save=save)
        if pressed != screens.ADJUST:
            return pressed
        while True:
            match await screen.present(screens.adjust_qr(density, memory.period_ms)):
                case screens.DOTS:
                    density = after(density, DENSITIES)
                    memory.density = density
                case screens.PERIOD:
                    memory.period_ms = after(memory.period_ms, tuple(screens.PERIODS))
                case _:
                    break
            memory.save()


def after(value: T, values: tuple[T, ...]) -> T:
    """Return what comes after a value; the first one after the last."""
    return values[(values.index(value) + 1) % len(values)]


async def _animate(
    animation: Animation,
    density: Density,
    period_ms: int,
    screen: AppScreen,
    title: str,
    *,
    save: bool,
) -> str:
    async def frame() -> Screen:
        part, count = animation.next_frame(), animation.frames_count
        return screens.shown_qr(title, part, count, density, save=save)

    if animation.frames_count == 1:
        return await screen.present(await frame())
    return await screen.present_live(frame, period_ms / 1000)
