"""The judge of touches: taps, holds, pages, keys, and what must never count."""

from __future__ import annotations

import pytest

from primegap.keyos.ui.input import MIN_DISPLAY_S, ActionKind, TouchMachine, UiAction
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.parts import NEXT_PAGE, PREVIOUS_PAGE
from primegap.keyos.ui.screen import (
    Address,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Keypad,
    KeypadPurpose,
    Qr,
    Screen,
    Text,
    Toggle,
)

SIGN = Button("sign", "Hold to sign", ButtonStyle.PRIMARY, hold_ms=1000)
PAY = Button("pay", "Pay", ButtonStyle.PRIMARY)
REJECT = Button("reject", "Reject")
CONFIRM = Screen("confirm", "Sign?", (Text("What is signed."),), (REJECT, SIGN), confirm=True)
TAP_CONFIRM = Screen("confirm", "Share?", (Text("What is shared."),), (REJECT, PAY), confirm=True)
LONG = Screen(
    "long", "Sign?", tuple(Address("To", "a" * 64) for _ in range(3)), (REJECT, SIGN), confirm=True
)
MENU = Screen(
    "menu",
    "Menu",
    (
        Toggle("radio", "Bluetooth", on=True),
        ChoiceList((Choice("one", "One"), Choice("two", "Two"))),
    ),
    (Button("back", "Back"), Button("off", "Off", enabled=False)),
)
PIN = Screen(
    "pin",
    "PIN",
    (Keypad(KeypadPurpose.PIN, max_length=4, min_length=2),),
    (REJECT, Button("done", "Done", ButtonStyle.PRIMARY)),
)
HOLD_S = 1.0


class Hand:
    """A hand before a display, with a clock of its own."""

    def __init__(self, screen: Screen, *, wait_s: float = MIN_DISPLAY_S) -> None:
        self.now_s = 100.0
        self.machine = TouchMachine()
        self.ask = 1
        self.show(screen)
        self.now_s += wait_s

    def show(self, screen: Screen, *, new: bool = False) -> None:
        """Put a screen on the display: newer content, or another request."""
        self.ask += new
        self.screen = screen
        self.machine.show(layout(screen), ask=self.ask, now_s=self.now_s)

    def place(self, name: str) -> tuple[int, int]:
        """Return the middle of a target."""
        target = layout(self.screen).pages[self.machine.page].target(name)
        assert target is not None, name
        rect = target.rect
        return (rect.left + rect.right) // 2, (rect.top + rect.bottom) // 2

    def down(self, name: str) -> None:
        """Put a finger on a target."""
        self.machine.down(*self.place(name), now_s=self.now_s)

    def up(self, name: str) -> UiAction | None:
        """Lift the finger from a target."""
        return self.machine.up(*self.place(name), now_s=self.now_s)

    def tap(self, name: str, *, for_s: float = 0.08) -> UiAction | None:
        """Tap a target."""
        self.down(name)
        self.now_s += for_s
        return self.up(name)


def pressed(name: str) -> UiAction:
    """Return the action of a button."""
    return UiAction(ActionKind.PRESS, name)


# -- taps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["radio", "one", "two", "back"])
def test_a_tap_presses(name: str) -> None:
    hand = Hand(MENU, wait_s=0)
    assert hand.tap(name) == pressed(name)


def test_what_is_disabled_or_empty_does_nothing() -> None:
    hand = Hand(MENU)
    assert hand.tap("off") is None
    hand.machine.down(1, 1, now_s=hand.now_s)
    assert hand.machine.up(1, 1, now_s=hand.now_s) is None


def test_a_tap_ends_where_it_began() -> None:
    hand = Hand(MENU)
    hand.down("one")
    assert hand.up("two") is None
    hand.down("one")
    hand.machine.move(*hand.place("two"), now_s=hand.now_s)
    assert hand.machine.view(hand.now_s).pressed is None
    assert hand.up("one") is None


def test_lifting_without_touching_does_nothing() -> None:
    assert Hand(MENU).up("one") is None


def test_a_machine_without_a_screen_does_nothing() -> None:
    machine = TouchMachine()
    machine.down(240, 740, now_s=0)
    assert machine.up(240, 740, now_s=1) is None
    assert machine.next_timeout_s(1) is None


def test_the_view_shows_the_finger() -> None:
    hand = Hand(MENU)
    assert hand.machine.view(hand.now_s).pressed is None
    hand.down("one")
    assert hand.machine.view(hand.now_s).pressed == "one"


# -- holds -----------------------------------------------------------------------------------------


def test_holding_long_enough_approves_once() -> None:
    hand = Hand(CONFIRM)
    hand.down("sign")
    assert hand.machine.holding
    hand.now_s += HOLD_S - 0.01
    assert hand.machine.tick(now_s=hand.now_s) is None
    assert hand.machine.view(hand.now_s).hold_fraction == pytest.approx(0.99)
    hand.now_s += 0.02
    assert hand.machine.tick(now_s=hand.now_s) == pressed("sign")
    hand.now_s += 5 * HOLD_S
    assert hand.machine.tick(now_s=hand.now_s) is None
    assert hand.up("sign") is None


def test_a_driver_that_comes_late_still_sees_the_hold() -> None:
    hand = Hand(CONFIRM)
    assert hand.tap("sign", for_s=HOLD_S + 0.1) == pressed("sign")


def test_a_tap_on_a_button_to_hold_does_nothing() -> None:
    hand = Hand(CONFIRM)
    assert hand.tap("sign") is None
    hand.now_s += HOLD_S
    assert hand.tap("sign") is None


def test_the_machine_says_when_the_hold_is_complete() -> None:
    hand = Hand(CONFIRM)
    assert hand.machine.next_timeout_s(hand.now_s) is None
    hand.down("sign")
    due_s = hand.machine.next_timeout_s(hand.now_s)
    assert due_s == hand.now_s + HOLD_S
    assert hand.machine.tick(now_s=due_s) == pressed("sign")


def spoil_by_leaving(hand: Hand) -> None:
    hand.machine.move(*hand.place("reject"), now_s=hand.now_s)
    hand.machine.move(*hand.place("sign"), now_s=hand.now_s)


def spoil_by_second_touch(hand: Hand) -> None:
    hand.down("sign")


def spoil_by_lost_focus(hand: Hand) -> None:
    hand.machine.cancel()


def spoil_by_new_request(hand: Hand) -> None:
    hand.show(CONFIRM, new=True)


def spoil_by_new_content(hand: Hand) -> None:
    hand.show(Screen("confirm", "Sign!", CONFIRM.items, CONFIRM.buttons, confirm=True))


@pytest.mark.guarantee("U-9", tried="holds spoilt by leaving, losing, changing")
@pytest.mark.parametrize(
    "spoil",
    [
        spoil_by_leaving,
        spoil_by_second_touch,
        spoil_by_lost_focus,
        spoil_by_new_request,
        spoil_by_new_content,
    ],
)
def test_a_spoilt_hold_starts_over_with_a_new_touch(spoil: object) -> None:
    assert callable(spoil)
    hand = Hand(CONFIRM)
    hand.down("sign")
    hand.now_s += 0.9 * HOLD_S
    assert hand.machine.tick(now_s=hand.now_s) is None
    spoil(hand)
    assert hand.machine.view(hand.now_s).hold_fraction == 0
    hand.now_s += 3 * HOLD_S
    assert hand.machine.tick(now_s=hand.now_s) is None
    assert hand.up("sign") is None
    hand.down("sign")
    hand.now_s += HOLD_S
    assert hand.machine.tick(now_s=hand.now_s) == pressed("sign")


# -- minimum display time --------------------------------------------------------------------------


def test_a_hold_counts_from_when_the_page_was_visible_long_enough() -> None:
    hand = Hand(CONFIRM, wait_s=0.1)
    assert not hand.machine.armed(hand.now_s)
    assert hand.machine.next_timeout_s(hand.now_s) == 100 + MIN_DISPLAY_S
    hand.down("sign")
    hand.now_s = 100 + MIN_DISPLAY_S
    assert hand.machine.view(hand.now_s).hold_fraction == 0
    hand.now_s += HOLD_S - 0.01
    assert hand.machine.tick(now_s=hand.now_s) is None
    hand.now_s += 0.02
    assert hand.machine.tick(now_s=hand.now_s) == pressed("sign")


@pytest.mark.guarantee("U-9", tried="a tap before the minimum time")
def test_a_tap_that_begins_before_the_minimum_time_confirms_nothing() -> None:
    hand = Hand(TAP_CONFIRM, wait_s=MIN_DISPLAY_S - 0.01)
    assert hand.tap("pay", for_s=2) is None
    assert hand.tap("pay") == pressed("pay")


def test_refusing_is_always_possible() -> None:
    assert Hand(TAP_CONFIRM, wait_s=0).tap("reject") == pressed("reject")
    assert Hand(CONFIRM, wait_s=0).tap("reject") == pressed("reject")


@pytest.mark.guarantee("U-5", "U-9", tried="an equal question put in place of the first")
def test_an_equal_confirmation_of_another_request_starts_over() -> None:
    hand = Hand(TAP_CONFIRM)
    hand.show(TAP_CONFIRM, new=True)
    assert hand.tap("pay") is None
    hand.now_s += MIN_DISPLAY_S
    assert hand.tap("pay") == pressed("pay")


def test_a_screen_that_slips_under_the_finger_is_not_pressed() -> None:
    hand = Hand(MENU)
    hand.down("back")
    hand.show(TAP_CONFIRM, new=True)
    hand.now_s += 2 * MIN_DISPLAY_S
    for name in ("reject", "pay"):
        assert hand.up(name) is None


@pytest.mark.guarantee("U-9", tried="pages turned too fast")
def test_each_page_must_be_visible_for_the_minimum_time() -> None:
    hand = Hand(LONG)
    pages = len(layout(LONG).pages)
    assert pages > 1
    for _ in range(pages - 1):
        assert hand.tap(NEXT_PAGE) == UiAction(ActionKind.PAGE, NEXT_PAGE)
    assert hand.machine.page == pages - 1
    turned_s = hand.now_s
    hand.down("sign")
    hand.now_s += HOLD_S + 0.1
    assert hand.machine.tick(now_s=hand.now_s) is None
    hand.now_s = turned_s + MIN_DISPLAY_S + HOLD_S
    assert hand.machine.tick(now_s=hand.now_s) == pressed("sign")


def test_pages_turn_back() -> None:
    hand = Hand(LONG)
    hand.tap(NEXT_PAGE)
    assert hand.tap(PREVIOUS_PAGE) == UiAction(ActionKind.PAGE, PREVIOUS_PAGE)
    assert hand.machine.page == 0


# -- newer content ---------------------------------------------------------------------------------


def symbol(number: int) -> Screen:
    """Return a frame of an animation."""
    return Screen("signed", "Signed", (Qr(f"PART{number}"),), (Button("done", "Done"), REJECT))


def test_a_tap_survives_the_next_frame_of_an_animation() -> None:
    hand = Hand(symbol(1))
    hand.down("done")
    hand.show(symbol(2))
    assert hand.up("done") == pressed("done")


def test_a_tap_does_not_survive_a_button_that_changes() -> None:
    hand = Hand(symbol(1))
    hand.down("done")
    hand.show(Screen("signed", "Signed", (Qr("PART2"),), (Button("done", "Sign more"), REJECT)))
    assert hand.up("done") is None


def test_newer_content_keeps_the_page_as_far_as_there_is_one() -> None:
    long = Screen("a", "b", tuple(Address("To", "a" * 64) for _ in range(6)), (REJECT,))
    hand = Hand(long)
    hand.tap(NEXT_PAGE)
    hand.tap(NEXT_PAGE)
    assert hand.machine.page == 2
    hand.show(Screen("a", "b", (*long.items[:-1], Text("changed")), (REJECT,)))
    assert hand.machine.page == 2
    hand.show(Screen("a", "b", (Text("short"),), (REJECT,)))
    assert hand.machine.page == 0


# -- keys ------------------------------------------------------------------------------------------


def test_keys_type_delete_and_open_the_way() -> None:
    hand = Hand(PIN)
    assert hand.tap("key:delete") is None
    assert hand.tap("done") is None
    assert hand.tap("key:7") == UiAction(ActionKind.KEY, "key:7", "7")
    assert hand.tap("done") is None
    assert hand.tap("key:0") == UiAction(ActionKind.KEY, "key:0", "0")
    assert hand.tap("done") == pressed("done")
    assert hand.tap("key:delete") == UiAction(ActionKind.DELETE, "key:delete")
    assert hand.tap("done") is None
    assert hand.machine.view(hand.now_s).typed_length == 1


def test_no_more_is_typed_than_the_keypad_takes() -> None:
    hand = Hand(PIN)
    assert [hand.tap("key:1") is not None for _ in range(5)] == [True] * 4 + [False]


def test_the_driver_may_set_what_is_typed() -> None:
    hand = Hand(PIN)
    hand.machine.set_typed(2)
    assert hand.tap("done") == pressed("done")
    hand.show(PIN, new=True)
    assert hand.tap("done") is None
