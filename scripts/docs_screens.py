"""Write docs/reference/screens.md, ids of screens and targets: `python -m scripts.docs_screens`.

Every function of the two modules that returns a screen is called with sample values, and its
targets are read from the layout, as the automation API does. With `--check` the page is only
compared.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from scripts.docs_page import cell, publish, summary

from primegap.apps.bitcoin import screens as bitcoin
from primegap.bitcoin.accounts import Account, Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.keys import account_key
from primegap.bitcoin.networks import Network
from primegap.bitcoin.review_values import ChangeOutput, ExternalOutput, Review
from primegap.bitcoin.scripts import ScriptType
from primegap.keyos.api.core import SystemInfo
from primegap.keyos.api.link import LinkState
from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.ui import screens as system
from primegap.keyos.ui.input import MIN_DISPLAY_S
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.parts import KEY, TargetKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from primegap.keyos.ui.parts import Target
    from primegap.keyos.ui.screen import Screen

HEAD: Final = f"""\
# Screens and their ids

A screen is data: an id, a title, items, buttons. The ids below, of screens and of what can be
touched on them, are a public interface; the [automation API](../how-to/automation.md) waits for the
first kind and presses the second. Titles and labels are for people and may change.

* A screen with more than one page has `page:next` and `page:prev`. Buttons that commit to something
  stand on the last page only.
* A keypad has a target for each key: `key:0` … `key:9` for a PIN, `key:1` … `key:6` for dice, and
  `key:delete`.
* *hold* is the time that a button asks to be held. *guarded* means that it counts only after its
  page has been visible for {MIN_DISPLAY_S} s.
* *confirmation* marks screens whose content is hashed into the decision; they never change while
  they are shown.
* A target in italics stands for several: `word:` is followed by a word, `app:` by the name of an
  app.
"""

SECTIONS: Final[tuple[tuple[str, str, ModuleType, tuple[str, ...]], ...]] = (
    (
        "First start",
        "`welcome` → `choose-pin` twice → `seed-length` → `offer-dice` → `dice` if wanted → "
        "`seed-words` → `quiz` three times → `working` → `message` → `home`. A wrong word in the "
        "quiz shows a `message` and goes back to `seed-words`.",
        system,
        (
            "welcome",
            "pin_entry",
            "seed_length",
            "offer_dice",
            "dice_entry",
            "seed_words",
            "quiz",
        ),
    ),
    (
        "Lock",
        "`unlock` lies above everything else while the device is locked. The tenth wrong PIN in a "
        "row erases the seed.",
        system,
        ("unlock",),
    ),
    (
        "Home, pairing and settings",
        "`home` → `pairing` → `confirm-pairing` when a companion answers the code → `companion` → "
        "`home`. With a companion paired, `home` offers `companion` in place of `pair`.",
        system,
        (
            "home",
            "pairing",
            "confirm_pairing",
            "companion",
            "confirm_unpair",
            "settings",
            "about",
        ),
    ),
    (
        "Permissions",
        "`ask-permission` comes when an installed app first does something that has to be granted. "
        "It waits its turn among the confirmations, and never shows on a locked device.",
        system,
        ("ask_permission",),
    ),
    (
        "Everywhere",
        "`working` has nothing to touch: wait for what comes after it. A `message` waits until it "
        "was read.",
        system,
        ("working", "message"),
    ),
    (
        "Bitcoin app",
        "Opened with `app:bitcoin` on `home`. `share-account` and `review` come when the companion "
        "asks, wherever the person is on the unlocked device; `review` also after a payment was "
        "scanned, and then `signed-qr`.",
        bitcoin,
        (
            "menu",
            "receive",
            "scanning",
            "address_ours",
            "address_foreign",
            "problem",
            "share_account",
            "review_payment",
            "signed_qr",
        ),
    ),
)


def samples() -> dict[str, Screen]:
    """Return a screen of each kind by the name of the function that makes it."""
    paired = LinkState(1, "connected", True, "Companion", True, "0123-4567", False)
    alone = LinkState(1, "waiting", False, "", False, "", False)
    info = SystemInfo((), True, True, 1, (), simulator=False)
    account = Account.from_key(account_key(bytes(16), Network.REGTEST, 0), Network.REGTEST)
    address = account.address(Keychain.EXTERNAL, 0)
    return {
        "welcome": system.welcome(),
        "pin_entry": system.pin_entry("Choose a PIN", "At least 6 digits."),
        "unlock": system.unlock(""),
        "seed_length": system.seed_length(),
        "offer_dice": system.offer_dice(),
        "dice_entry": system.dice_entry(),
        "seed_words": system.seed_words(["abandon"] * 12),
        "quiz": system.quiz(0, ["abandon", "ability", "able", "about"]),
        "working": system.working("Working"),
        "message": system.message("Title", "Text", good=True),
        "home": system.home(alone),
        "home, paired": system.home(paired),
        "ask_permission": system.ask_permission("An app", CATALOGUE["peripherals.camera-use"]),
        "pairing": system.pairing("primegap:pair?i=SAMPLE"),
        "confirm_pairing": system.confirm_pairing("Companion", "0123-4567"),
        "companion": system.companion(paired),
        "confirm_unpair": system.confirm_unpair("Companion"),
        "settings": system.settings(radio_on=True, radio=True),
        "about": system.about("00000000", info),
        "menu": bitcoin.menu(account),
        "receive": bitcoin.receive(account, address, 0),
        "scanning": bitcoin.scanning("Scan", "Hold the code up.", 0.5),
        "address_ours": bitcoin.address_ours(account, address, "receive", 0),
        "address_foreign": bitcoin.address_foreign(address),
        "problem": bitcoin.problem("Title", "Text"),
        "share_account": bitcoin.share_account(account, "01234567"),
        "review_payment": bitcoin.review_payment(_review(account), account),
        "signed_qr": bitcoin.signed_qr("UR:CRYPTO-PSBT/SAMPLE", "Scan this"),
    }


def _review(account: Account) -> Review:
    amount = Satoshi(100_000)
    paid = ExternalOutput(
        position=0,
        amount=amount,
        script=b"",
        script_type=ScriptType.P2WPKH,
        address=account.address(Keychain.EXTERNAL, 1),
    )
    change = ChangeOutput(
        position=1,
        amount=amount,
        script=b"",
        address=account.address(Keychain.INTERNAL, 0),
        index=0,
    )
    return Review(
        network=account.network,
        account_id=account.id,
        txid="0" * 64,
        inputs=(),
        outputs=(paid, change),
        fee=Satoshi(423),
        vsize_vb=141,
        fee_rate_sat_per_kvb=3_000,
        sent=amount,
        returned=amount,
        leaving=Satoshi(100_423),
        lock_time=None,
        replaceable=True,
        warnings=(),
        digest=bytes(32),
    )


def check_complete() -> None:
    """Raise SystemExit when a function that returns a screen is in no section."""
    listed = {(module, name) for _, _, module, names in SECTIONS for name in names}
    for module in (system, bitcoin):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            ours = function.__module__ == module.__name__ and not name.startswith("_")
            if ours and inspect.signature(function).return_annotation == "Screen":
                if (module, name) not in listed:
                    raise SystemExit(f"scripts/docs_screens.py lacks {module.__name__}.{name}")
                listed.discard((module, name))
    if listed:
        raise SystemExit(f"scripts/docs_screens.py lists what is gone: {listed}")


def page() -> str:
    """Return the page."""
    check_complete()
    screens = samples()
    parts = [HEAD]
    for title, flow, module, names in SECTIONS:
        parts += [f"## {title}\n", f"{flow}\n"]
        parts.append("| Screen | What it is | Targets |\n| --- | --- | --- |")
        for name in names:
            others = [screen for key, screen in screens.items() if key.startswith(f"{name},")]
            parts.append(_row([screens[name], *others], getattr(module, name)))
        parts.append("")
    return "\n".join(parts)


def _row(shown: list[Screen], function: Callable[..., Screen]) -> str:
    what = summary(function) + (" *confirmation*" if shown[0].confirm else "")
    return f"| `{shown[0].id}` | {cell(what)} | {cell(_targets(shown)) or '–'} |"


def _targets(shown: list[Screen]) -> str:
    found: dict[str, str] = {}
    for screen in shown:
        for one_page in layout(screen).pages:
            for target in one_page.targets:
                if target.kind is TargetKind.PAGE:
                    continue
                if target.id.startswith(KEY):
                    found.setdefault(KEY, "the keypad")
                elif target.id.startswith("word:"):
                    found.setdefault("word:", "*`word:`*")
                elif target.id.startswith(system.APP):
                    found.setdefault(system.APP, f"*`app:`* (`{target.id}`)")
                else:
                    found.setdefault(target.id, _target(target))
    return ", ".join(found.values())


def _target(target: Target) -> str:
    notes = []
    if target.hold_ms:
        notes.append(f"hold {target.hold_ms / 1000:g} s")
    if target.guarded:
        notes.append("guarded")
    if target.min_typed:
        notes.append(f"after {target.min_typed} digit{'s' * (target.min_typed > 1)}")
    return f"`{target.id}`" + (f" ({', '.join(notes)})" if notes else "")


if __name__ == "__main__":
    publish("reference/screens.md", "docs_screens", page())
