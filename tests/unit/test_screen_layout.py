"""Layouts of particular screens: pages, buttons, grids, what is refused."""

from __future__ import annotations

import pytest

from primegap.bitcoin.networks import Network
from primegap.keyos.ui import theme
from primegap.keyos.ui.errors import LayoutError
from primegap.keyos.ui.fonts import BLEED, OVERSAMPLE, font
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.parts import (
    NEXT_PAGE,
    PREVIOUS_PAGE,
    ButtonPart,
    Page,
    QrPart,
    Target,
    TargetKind,
    TextPart,
)
from primegap.keyos.ui.screen import (
    Address,
    Amount,
    Banner,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Code,
    Icon,
    Item,
    Keypad,
    KeypadPurpose,
    Qr,
    Row,
    Screen,
    Spacer,
    Text,
    TextStyle,
    Toggle,
    Words,
    untrusted,
)
from primegap.keyos.ui.text import SHOWABLE
from primegap.keyos.ui.theme import Face, Ink

REJECT = Button("reject", "Reject")
SIGN = Button("sign", "Hold to sign", ButtonStyle.PRIMARY, hold_ms=1500)
OK = Button("ok", "OK", ButtonStyle.PRIMARY)
TAPROOT = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
LONG = Screen(
    "review",
    "Review payment",
    (
        Amount("You send", 1_234_567, Network.REGTEST, emphasised=True),
        Address("To", TAPROOT),
        *(Row(f"Fact {number}", "value") for number in range(20)),
    ),
    (REJECT, SIGN),
    confirm=True,
)


def only_page(*items: Item, buttons: tuple[Button, ...] = (OK,), title: str = "Title") -> Page:
    """Lay out a screen of one page."""
    placed = layout(Screen("test", title, items, buttons))
    assert len(placed.pages) == 1
    return placed.pages[0]


def texts(page: Page, item: int) -> list[TextPart]:
    """Return the texts of one item on a page."""
    return [part for e in page.elements if e.item == item for part in e.texts()]


def ids(page: Page) -> set[str]:
    """Return the ids of a page's targets."""
    return {target.id for target in page.targets}


def button(page: Page, name: str) -> Target:
    """Return a target that must be there."""
    target = page.target(name)
    assert target is not None
    return target


# -- pages -----------------------------------------------------------------------------------------


def test_a_confirmation_can_be_approved_on_the_last_page_only() -> None:
    pages = layout(LONG).pages
    assert len(pages) >= 3
    assert [SIGN.id in ids(page) for page in pages] == [False] * (len(pages) - 1) + [True]
    assert [NEXT_PAGE in ids(page) for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [PREVIOUS_PAGE in ids(page) for page in pages] == [False] + [True] * (len(pages) - 1)
    assert all(REJECT.id in ids(page) for page in pages)


def test_the_next_button_stands_where_the_approval_will_be() -> None:
    first, *_, last = layout(LONG).pages
    assert button(first, NEXT_PAGE).rect == button(last, SIGN.id).rect
    assert button(first, REJECT.id).rect == button(last, REJECT.id).rect


def test_every_page_says_which_it_is_and_shows_title_and_banner() -> None:
    screen = Screen("a", "A title", LONG.items, (OK,), banner=Banner("Regtest"))
    pages = layout(screen).pages
    for number, page in enumerate(pages):
        lines = page.text().split("\n")
        assert {f"{number + 1} of {len(pages)}", "A title", "Regtest"} <= set(lines)


def test_a_label_is_not_parted_from_its_value() -> None:
    rows = tuple(Row("a rather long label of a row", "v" * 120) for _ in range(12))
    for page in layout(Screen("a", "b", rows)).pages:
        for element in page.elements:
            if element.item is not None:
                assert len(element.texts()) > 1


def test_a_heading_stays_with_what_it_heads() -> None:
    items = (
        Text("word " * 60),
        Text("word " * 40),
        Text("Heading", TextStyle.HEADING),
        Address("To", TAPROOT),
    )
    pages = layout(Screen("a", "b", items, (OK,))).pages
    assert len(pages) > 1
    where = [n for n, page in enumerate(pages) for e in page.elements if e.item in {2, 3}]
    assert len(set(where)) == 1


def test_a_long_box_is_a_box_on_every_page() -> None:
    pages = layout(Screen("a", "b", (Text("warning " * 120, TextStyle.WARNING),), (OK,))).pages
    assert len(pages) > 1
    for page in pages:
        (element,) = [e for e in page.elements if e.item == 0]
        assert element.parts[0].rect == element.rect


def test_equal_screens_have_equal_layouts() -> None:
    first = layout(LONG)
    layout(Screen("a", "b"))
    assert layout(LONG) == first


# -- buttons ---------------------------------------------------------------------------------------


def test_two_short_buttons_share_a_line_and_what_commits_is_at_the_right() -> None:
    page = only_page(Text("x"), buttons=(OK, REJECT))
    ok, reject = button(page, "ok").rect, button(page, "reject").rect
    assert ok.top == reject.top
    assert reject.right < ok.left


def test_a_button_to_hold_has_a_line_for_itself() -> None:
    page = only_page(Text("x"), buttons=(REJECT, SIGN))
    sign, reject = button(page, "sign").rect, button(page, "reject").rect
    assert sign.width == reject.width == theme.CONTENT
    assert sign.bottom < reject.top


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_buttons_are_large_and_at_the_bottom(count: int) -> None:
    page = only_page(buttons=tuple(Button(c, c * 24) for c in "wxyz"[:count]))
    rects = [target.rect for target in page.targets]
    assert len(rects) == count
    assert all(rect.height >= 72 for rect in rects)
    assert max(rect.bottom for rect in rects) == theme.HEIGHT - theme.MARGIN


def test_the_widest_label_is_whole() -> None:
    page = only_page(buttons=(Button("a", "W" * 24),))
    (part,) = [p for e in page.elements for p in e.parts if isinstance(p, ButtonPart)]
    assert "".join(line.text for line in part.lines) == "W" * 24


def test_what_commits_is_guarded_in_confirmations_and_where_pages_turn() -> None:
    plain = only_page(Text("x"), buttons=(REJECT, OK))
    assert not button(plain, "ok").guarded
    confirm = layout(Screen("a", "b", (), (REJECT, OK), confirm=True)).pages[-1]
    assert button(confirm, "ok").guarded
    assert not button(confirm, "reject").guarded
    long = layout(Screen("a", "b", LONG.items, (REJECT, OK))).pages[-1]
    assert button(long, "ok").guarded
    danger = only_page(buttons=(Button("erase", "Erase", ButtonStyle.DANGER), REJECT))
    assert button(danger, "erase").guarded


def test_a_committing_button_waits_for_the_entry() -> None:
    page = only_page(Keypad(KeypadPurpose.PIN, min_length=6), buttons=(REJECT, OK))
    assert button(page, "ok").min_typed == 6
    assert button(page, "reject").min_typed == 0


# -- items -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sat", "number", "sats"),
    [
        (0, "0.00000000", "0 sats"),
        (1, "0.00000001", "1 sat"),
        (1_234_567, "0.01234567", "1 234 567 sats"),
        (10**8, "1.00000000", "100 000 000 sats"),
        (20_999_999_97690000, "20999999.97690000", "2 099 999 997 690 000 sats"),
    ],
)
def test_amounts_are_exact(sat: int, number: str, sats: str) -> None:
    for network, unit in ((Network.MAINNET, "BTC"), (Network.REGTEST, "tBTC")):
        large, small = (Amount("Send", sat, network, emphasised=e) for e in (True, False))
        page = only_page(large, small)
        shown = [part.text for part in texts(page, 0)]
        pill = [] if network is Network.MAINNET else ["Regtest"]
        assert shown[: len(pill) + 1] == [*pill, "Send"]
        assert "".join(shown[len(pill) + 1 : -2]) == number
        assert shown[-2:] == [unit, sats]
        assert all(part.face.size >= 40 for part in texts(page, 0)[len(pill) + 1 : -2])
        assert [t.text.replace(" ", "") for t in texts(page, 1)] == [
            "Send",
            number + unit,
            sats.replace(" ", ""),
        ]


def test_an_address_is_grouped_and_its_ends_stand_out() -> None:
    _, *groups = texts(only_page(Address("To", TAPROOT)), 0)
    assert "".join(part.text for part in groups) == TAPROOT
    assert {len(part.text) for part in groups} == {4}
    assert [part.ink is Ink.ACCENT for part in groups] == [True] + [False] * 14 + [True]
    assert len({part.rect.left for part in groups}) == 4
    assert {part.face.family for part in groups} == {"mono"}


def test_codes_break_at_their_spaces_or_every_four() -> None:
    page = only_page(Code("", "7F3A91C2"), Code("", "123 456"), Code("", "alpha bravo charlie"))
    assert [t.text for t in texts(page, 0)] == ["7F3A", "91C2"]
    assert [t.text for t in texts(page, 1)] == ["123", "456"]
    assert " ".join(t.text for t in texts(page, 2)) == "alpha bravo charlie"


@pytest.mark.parametrize("count", [1, 12, 15, 18, 20, 24, 33])
def test_words_are_numbered_and_read_downwards(count: int) -> None:
    words = tuple(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(count))
    placed = layout(Screen("a", "Your words", (Words(words),), (REJECT, OK)))
    parts = [part for page in placed.pages for part in texts(page, 0)]
    assert [(int(n.text), w.text) for n, w in zip(parts[::2], parts[1::2], strict=True)] == list(
        enumerate(words, 1)
    )
    if count in {12, 24}:
        assert len(placed.pages) == 1
        half = count // 2
        assert parts[1].rect.left == parts[2 * half - 1].rect.left < parts[2 * half + 1].rect.left


def test_words_that_need_two_pages_are_parted_at_twelve() -> None:
    items = (Words(("abandon",) * 24), Text("word " * 30))
    first, second = layout(Screen("a", "b", items, (OK,))).pages
    assert texts(first, 0)[-2].text == "12"
    assert texts(second, 0)[0].text == "13"


@pytest.mark.parametrize(
    ("purpose", "keys"),
    [
        (KeypadPurpose.PIN, "0123456789"),
        (KeypadPurpose.DICE, "123456"),
        (KeypadPurpose.WORDS, "abcdefghijklmnopqrstuvwxyz"),
    ],
)
def test_keypads_have_their_keys_and_one_to_delete(purpose: KeypadPurpose, keys: str) -> None:
    page = only_page(Text("Note"), Keypad(purpose), buttons=(REJECT, OK))
    found = {t.id: t.label for t in page.targets if t.kind is TargetKind.KEY}
    assert found == {**{f"key:{key}": key for key in keys}, "key:delete": "Delete"}


def test_choices_and_switches_can_be_pressed_over_their_whole_width() -> None:
    page = only_page(
        Toggle("radio", "Bluetooth", on=True),
        ChoiceList((Choice("a", "A"), Choice("b", "B", "more " * 20, selected=True))),
    )
    assert [(t.id, t.kind) for t in page.targets] == [
        ("radio", TargetKind.TOGGLE),
        ("a", TargetKind.CHOICE),
        ("b", TargetKind.CHOICE),
        ("ok", TargetKind.BUTTON),
    ]
    assert {t.rect.width for t in page.targets} == {theme.CONTENT}
    assert page.target_at(240, button(page, "b").rect.top) == page.target("b")
    assert page.target_at(2, 2) is None


def test_tiles_stand_two_by_two() -> None:
    choices = tuple(Choice(c, c, icon="key") for c in "abc")
    page = only_page(ChoiceList(choices, tiles=True))
    a, b, c = (button(page, name).rect for name in "abc")
    assert a.top == b.top < c.top
    assert a.left == c.left < b.left


def test_an_illustration_at_the_head_centres_the_screen() -> None:
    page = only_page(Icon("shield"), Text("One line."), title="Welcome")
    for part in (part for e in page.elements for part in e.texts()):
        assert abs(part.rect.left + part.rect.right - theme.WIDTH) <= 1


def test_items_stand_on_the_grid_and_keep_their_distance() -> None:
    page = only_page(Text("one"), Text("two"), Code("", "1234"), Row("a", "b"), Row("c", "d"))
    one, two, code, a, c = (e.rect for e in page.elements if e.item is not None)
    assert two.top - one.bottom == theme.GAP
    assert code.top - two.bottom == a.top - code.bottom == theme.WIDE_GAP
    assert c.top == a.bottom
    assert {rect.left for rect in (one, two, code, a, c)} == {theme.MARGIN}


def test_a_filling_spacer_pushes_the_rest_down() -> None:
    page = only_page(Text("above"), Spacer(None), Text("below"))
    assert texts(page, 1) == []
    below = texts(page, 2)[0].rect.bottom
    assert button(page, "ok").rect.top - below == theme.GAP


@pytest.mark.guarantee("U-10", tried="text from outside in every place")
def test_text_from_outside_is_marked_wherever_it_stands() -> None:
    evil = untrusted("evil")
    page = only_page(
        Text(evil),
        Row("plain", evil),
        Row(evil, "plain"),
        Amount(evil, 1, Network.MAINNET),
        Toggle("t", evil, on=True),
        ChoiceList((Choice("a", evil, evil),)),
    )
    parts = [part for e in page.elements for part in e.texts()]
    assert sum(part.untrusted for part in parts) == 7
    assert all(part.untrusted == (part.text == "“evil”") for part in parts)


# -- symbols ---------------------------------------------------------------------------------------


def symbol(page: Page) -> QrPart:
    """Return the symbol of a page."""
    (part,) = [p for e in page.elements for p in e.parts if isinstance(p, QrPart)]
    return part


def test_a_symbol_is_as_large_as_the_page_allows_in_whole_pixels() -> None:
    part = symbol(only_page(Qr("A" * 300)))
    modules = len(part.rows) + 8
    assert part.rect.width == part.rect.height == modules * part.scale
    assert modules * (part.scale + 1) > 464


def test_a_symbol_gets_smaller_to_share_its_page() -> None:
    alone = symbol(only_page(Qr("A" * 50)))
    shared = symbol(only_page(Qr("A" * 50), Address("To", TAPROOT)))
    assert 5 <= shared.scale < alone.scale


def test_frames_of_an_animation_keep_one_size() -> None:
    sizes = {symbol(only_page(Qr("A" * n, min_version=10))).rect for n in (10, 100, 200)}
    assert len(sizes) == 1


def test_a_symbol_too_fine_for_a_camera_is_refused() -> None:
    buttons = tuple(Button(c, "W" * 24) for c in "abcd")
    with pytest.raises(LayoutError):
        layout(Screen("a", "b", (Qr("a" * 2953),), buttons))


# -- what is refused -------------------------------------------------------------------------------


def test_a_name_of_an_app_that_the_status_bar_cannot_hold_is_refused() -> None:
    layout(Screen("a", "b", app="A name of 24 characters."))
    with pytest.raises(LayoutError):
        layout(Screen("a", "b", app="W" * 24))


def test_endless_screens_are_refused() -> None:
    with pytest.raises(LayoutError):
        layout(Screen("a", "b", tuple(Address("To", "a" * 128) for _ in range(46)), (OK,)))


# -- theme -----------------------------------------------------------------------------------------

FACES = [value for value in vars(theme).values() if isinstance(value, Face)]
ASCII = frozenset(chr(code) for code in range(0x20, 0x7F))
ALPHABETS = {
    **{face: SHOWABLE if face.family == "sans" else ASCII for face in FACES},
    **dict.fromkeys((*theme.AMOUNTS, theme.SATS), frozenset("0123456789.sat ")),
}


@pytest.mark.parametrize(
    "face", ALPHABETS, ids=lambda f: f"{f.family}-{f.size}-{f.weight}-{f.line}"
)
def test_every_character_has_a_glyph_of_its_own_that_is_drawn_whole(face: Face) -> None:
    opened = font(face)
    missing = bytes(opened.getmask("\U0010ffff"))
    bounds = (
        -BLEED * OVERSAMPLE,
        -(face.baseline + BLEED) * OVERSAMPLE,
        (face.line - face.baseline + BLEED) * OVERSAMPLE,
    )
    for char in sorted(ALPHABETS[face] - {" "}):
        mask = opened.getmask(char)
        assert mask.getbbox() is not None, f"{char!r} is invisible"
        assert bytes(mask) != missing, f"{char!r} has no glyph"
        left, top, right, bottom = opened.getbbox(char, anchor="ls")
        room = opened.getlength(char) + BLEED * OVERSAMPLE
        fits = bounds[0] <= left and bounds[1] <= top and right <= room and bottom <= bounds[2]
        assert fits, f"{char!r} is cut"


def luminance(ink: Ink) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [value / 255 for value in ink.value]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *(
            (ink, ground)
            for ink in (Ink.TEXT, Ink.MUTED, Ink.ACCENT, Ink.WARNING, Ink.DANGER)
            for ground in (Ink.BACKGROUND, Ink.SURFACE, Ink.RAISED)
        ),
        (Ink.ON_ACCENT, Ink.ACCENT),
        (Ink.ON_ACCENT, Ink.ACCENT_PRESSED),
        (Ink.ACCENT, Ink.ACCENT_SURFACE),
        (Ink.WARNING, Ink.WARNING_SURFACE),
        (Ink.DANGER, Ink.DANGER_SURFACE),
        (Ink.ON_DANGER, Ink.DANGER_STRONG),
        (Ink.PRINT, Ink.WARNING),
    ],
)
def test_texts_stand_out_from_their_ground(ink: Ink, ground: Ink) -> None:
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, level AA
