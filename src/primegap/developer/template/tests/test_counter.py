"""Plain tests: no device is needed."""

from __future__ import annotations

import pytest
from my_app.counter import MOST, Counter
from my_app.screens import COUNT, RESET, counting

from primegap.keyos.ui.layout import layout


def test_it_counts_up_to_the_end() -> None:
    assert Counter().up().up() == Counter(2)
    assert Counter(MOST).up() == Counter(MOST)


@pytest.mark.parametrize("value", [0, 7, MOST])
def test_what_is_stored_comes_back(value: int) -> None:
    assert Counter.decode(Counter(value).encode()) == Counter(value)


@pytest.mark.parametrize("stored", [None, b"", b"-1", b"many", b"\xff", b"9" * 50])
def test_anything_else_is_a_new_beginning(stored: bytes | None) -> None:
    assert Counter.decode(stored) == Counter()


def test_the_screen_fits_and_offers_what_makes_sense() -> None:
    screen = counting(Counter())
    layout(screen)
    assert [button.id for button in screen.buttons if button.enabled] == ["leave", COUNT]
    assert RESET in [button.id for button in counting(Counter(1)).buttons if button.enabled]
