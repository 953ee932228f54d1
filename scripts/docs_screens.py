"""Write docs/reference/screens.md, ids of screens and targets: `python -m scripts.docs_screens`.

Every function of the two modules that returns a screen is called with sample values, and its
targets are read from the layout, as the automation API does. With `--check` the page is only
compared.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from scripts.docs_page import cell, publish, summary

from primegap.airgap import DEFAULT_DENSITY
from primegap.airgap.firmware_file import FirmwareFile
from primegap.apps.authenticator import screens as authenticator
from primegap.apps.authenticator.otp import Account as Login
from primegap.apps.authenticator.otp import OtpKind
from primegap.apps.bitcoin import screens as bitcoin
from primegap.apps.bitcoin import screens_limits as limits
from primegap.apps.bitcoin import screens_messages as messages
from primegap.apps.settings import screens as settings
from primegap.bitcoin.accounts import Account, AddressMatch, Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.exports.wallets import BY_ID
from primegap.bitcoin.keys import account_key
from primegap.bitcoin.message_requests import SignedMessage
from primegap.bitcoin.messages import review_message
from primegap.bitcoin.networks import Network
from primegap.bitcoin.policy import Policies, Policy, Scope, Session, SetPolicy, Unattended
from primegap.bitcoin.review_values import ChangeOutput, ExternalOutput, Review
from primegap.bitcoin.scripts import ScriptType
from primegap.keyos.api.airlock import CardEntry, FolderContent
from primegap.keyos.api.apps import AppInfo, AppList, PublisherInfo, PublisherList
from primegap.keyos.api.core import SwitchInfo, SystemInfo
from primegap.keyos.api.link import LinkState
from primegap.keyos.api.permissions import Grant
from primegap.keyos.api.security import DeviceFacts
from primegap.keyos.app_manager import screens as app_manager
from primegap.keyos.app_manager.policy import Plan
from primegap.keyos.app_manager.registry import InstalledApp
from primegap.keyos.card import FILE, FoundFile
from primegap.keyos.core.builtin import builtin_manifests
from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.manifest.schema import SWITCHES as SWITCH_NAMES
from primegap.keyos.ui import screens as system
from primegap.keyos.ui import screens_card as card
from primegap.keyos.ui import screens_device as device
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
        "Home and pairing",
        "`home` → `pairing` → `confirm-pairing` when a companion answers the code → `companion` → "
        "`home`. With a companion paired, `home` offers `companion` in place of `pair`.",
        system,
        (
            "home",
            "core_home",
            "pairing",
            "confirm_pairing",
            "companion",
            "confirm_unpair",
            "chip_distrusted",
            "confirm_adopt_chip",
        ),
    ),
    (
        "Security",
        "Opened with `security` on `home`. `show-words`, `change-pin` and `erase` are the trusted "
        "screen's own: the PIN is asked with `check-pin`, and no app takes part.",
        device,
        (
            "security",
            "switches",
            "pin_and_seed",
            "card",
            "card_entry",
            "card_app",
            "card_lent",
            "auto_lock",
            "check_pin",
            "warn_words",
            "show_words",
            "confirm_air_gap_off",
            "warn_erase",
            "confirm_erase",
            "facts",
        ),
    ),
    (
        "Card, backup, and the check of a device",
        "`back-up` on `pin-and-seed`, `firmware-files` on `security`; at the first start with "
        "`restore` or `scan-seed` on "
        "`seed-length`, and on a device of the model core with `check-device` on `welcome`. "
        "`file:` is followed by the number of a file in the list, from 0.",
        card,
        (
            "offer_backup",
            "show_code",
            "enter_code",
            "choose_file",
            "confirm_seed",
            "scanning",
            "firmware",
            "supply_chain_words",
        ),
    ),
    (
        "Installed apps",
        "`home` → `apps` → `installed-app`, `publishers`. An app that a computer offers, while "
        "developer mode is on, is asked for wherever the person is on the unlocked device: "
        "`accept-publisher` for a publisher not seen before, then `install-app` or `update-app`. "
        "`app:app-…` on `home` opens an installed app.",
        system,
        ("apps", "installed_app", "publishers", "publisher"),
    ),
    (
        "Changing what is installed",
        "The questions that the app manager asks. Each is a confirmation.",
        app_manager,
        ("developer_mode", "accept_publisher", "install", "remove"),
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
        "Settings app",
        "Opened with `app:settings` on `home`. `grants` lists what was allowed to installed apps; "
        "a `one-grant` can be taken back.",
        settings,
        ("menu", "set_time", "set_clock", "choose_zone", "grants", "one_grant", "about", "problem"),
    ),
    (
        "Authenticator",
        "Opened with `app:authenticator` on `home`. `account:` is followed by the number of an "
        "account in the list, from 0.",
        authenticator,
        ("codes", "account", "scanning", "keep", "confirm_delete", "problem"),
    ),
    (
        "Bitcoin app",
        "Opened with `app:bitcoin` on `home`. `share-account` and `review` come when the companion "
        "asks, wherever the person is on the unlocked device; `review` also after a payment was "
        "scanned, and then `signed-qr`. `connect` leads by the `choose-…` screens to a code or a "
        "file, `sign-card` to `choose-payment`.",
        bitcoin,
        (
            "menu",
            "sign_more",
            "receive",
            "scanning",
            "address_ours",
            "address_foreign",
            "problem",
            "share_account",
            "review_payment",
            "shown_qr",
            "adjust_qr",
            "saved",
            "choose_file",
            "choose_wallet",
            "single_or_multisig",
            "choose_kind",
            "choose_medium",
            "offer_check",
        ),
    ),
    (
        "Bitcoin app: limits and log",
        "Opened with `limits` on `bitcoin`; in a list, `policy-` is followed by the position of a "
        "policy. `policy-proposed` and `second-question` come when the companion asks.",
        limits,
        (
            "limits",
            "policy_details",
            "policy_proposed",
            "remove_policy",
            "begin_session",
            "second_question",
            "log",
            "log_code",
            "renew_record",
        ),
    ),
    (
        "Bitcoin app: messages",
        "Opened with `message` on `bitcoin`; `review-message` also comes when the companion asks.",
        messages,
        ("sources", "scanning", "review_message", "signature"),
    ),
)


PATTERNS: Final = (FILE, settings.GRANT, settings.OFFSET, authenticator.ACCOUNT)
PREFIXES: Final = {
    card: "card.",
    settings: "settings.",
    authenticator: "authenticator.",
    messages: "messages.",
}
"Before the names of samples, where two apps call a screen the same."
SWITCHES: Final = tuple(
    SwitchInfo(name, present=True, chosen=True, on=True) for name in SWITCH_NAMES
)
FACTS: Final = DeviceFacts("0" * 16, "software", "", "secret", 0)


def samples() -> dict[str, Screen]:
    """Return a screen of each kind by the name of the function that makes it."""
    paired = LinkState(1, "connected", True, "Companion", True, "0123-4567", False)
    alone = LinkState(1, "waiting", False, "", False, "", False)
    info = SystemInfo((), SWITCHES, False, 1, (), simulator=False)
    grant = Grant(bytes(16), "An app", "peripherals.camera-use", True)
    login = Login(OtpKind.TOTP, "Mail", "me@example.org", bytes(20))
    counted = Login(OtpKind.HOTP, "Bank", "me", bytes(20))
    account = Account.from_key(account_key(bytes(16), Network.REGTEST, 0), Network.REGTEST)
    address = account.address(Keychain.EXTERNAL, 0)
    quick = Unattended(session_s=3600, max_payment=1, max_total=1)
    held = SetPolicy(account.id, "", Policy(Scope.COMPANION, allowed=(address,), unattended=quick))
    files = [FoundFile("a.psbt", "a.psbt", 1)]
    firmware = FirmwareFile("colour", 1, "Jan. 01, 2021", "2.3.7", (0, 1))
    app = InstalledApp(
        app_id=bytes(16),
        sha256=bytes(32),
        fingerprint=bytes(32),
        identifier="sample",
        name="Sample",
        description="Does something.",
        version="1.0.0",
        publisher="Publisher",
        subgroups=("ui-and-input.app-surface",),
    )
    plan = Plan(
        app=app,
        manifest=builtin_manifests()[0],
        certificate=b"",
        new_publisher=True,
        replaces=None,
        users=(),
    )
    installed = AppList(
        1,
        False,
        (AppInfo(bytes(16), "app-sample", "Sample", "", "1.0.0", "Publisher", bytes(32)),),
    )
    publishers = PublisherList((PublisherInfo(bytes(32), "Publisher", 0, 1),))
    return {
        "welcome": system.welcome(core_model=True),
        "pin_entry": system.pin_entry("Choose a PIN", "At least 6 digits."),
        "unlock": system.unlock(""),
        "seed_length": system.seed_length(),
        "offer_dice": system.offer_dice(),
        "dice_entry": system.dice_entry(),
        "seed_words": system.seed_words(["abandon"] * 12),
        "quiz": system.quiz(0, ["abandon", "ability", "able", "about"]),
        "working": system.working("Working"),
        "message": system.message("Title", "Text", good=True),
        "home": system.home(alone, installed),
        "home, paired": system.home(paired, installed),
        "apps": system.apps(installed),
        "installed_app": system.installed_app(installed.apps[0]),
        "publishers": system.publishers(publishers),
        "publisher": system.publisher(publishers.publishers[0]),
        "accept_publisher": app_manager.accept_publisher("Publisher", bytes(32)),
        "install": app_manager.install(plan),
        "install, update": app_manager.install(replace(plan, replaces=plan.app)),
        "remove": app_manager.remove(plan.app),
        "developer_mode": app_manager.developer_mode(),
        "ask_permission": system.ask_permission("An app", CATALOGUE["peripherals.camera-use"]),
        "pairing": system.pairing("primegap:pair?i=SAMPLE"),
        "confirm_pairing": system.confirm_pairing("Companion", "0123-4567"),
        "companion": system.companion(paired),
        "confirm_unpair": system.confirm_unpair("Companion"),
        "chip_distrusted": system.chip_distrusted(),
        "confirm_adopt_chip": system.confirm_adopt_chip(),
        "security": device.security(SWITCHES, air_gap=False),
        "switches": device.switches(SWITCHES, air_gap=False),
        "pin_and_seed": device.pin_and_seed(300),
        "card_app": device.card_app(CardEntry("hello.app", False, 9000)),
        "card_lent": device.card_lent(),
        "card": device.card(FolderContent((CardEntry("a.psbt", False, 1),), False), "", "15 MiB"),
        "card_entry": device.card_entry(CardEntry("a.psbt", False, 1)),
        "auto_lock": device.auto_lock(300),
        "check_pin": device.check_pin("Enter it to see the seed words."),
        "warn_words": device.warn_words(),
        "show_words": device.show_words(["abandon"] * 12),
        "confirm_air_gap_off": device.confirm_air_gap_off(),
        "warn_erase": device.warn_erase(),
        "confirm_erase": device.confirm_erase("00000000"),
        "facts": device.facts("0.1.0", "00000000", info, FACTS, "Trusted", "0 KiB of 0 apps", ""),
        "menu": bitcoin.menu(account),
        "sign_more": bitcoin.sign_more(),
        "receive": bitcoin.receive(account, address, 0),
        "scanning": bitcoin.scanning("Scan", "Hold the code up.", 0.5),
        "address_ours": bitcoin.address_ours(account, address, "receive", 0),
        "address_foreign": bitcoin.address_foreign(address),
        "problem": bitcoin.problem("Title", "Text"),
        "share_account": bitcoin.share_account(account, "01234567"),
        "review_payment": bitcoin.review_payment(_review(account), account),
        "shown_qr": bitcoin.shown_qr("Title", "UR:SAMPLE", 2, DEFAULT_DENSITY, save=True),
        "saved": bitcoin.saved(["transactions/a-signed-001.psbt"]),
        "choose_file": bitcoin.choose_file("Title", files),
        "choose_wallet": bitcoin.choose_wallet(),
        "single_or_multisig": bitcoin.single_or_multisig("Sparrow"),
        "choose_kind": bitcoin.choose_kind(BY_ID["electrum"].slots),
        "choose_medium": bitcoin.choose_medium("Sparrow"),
        "offer_check": bitcoin.offer_check("Sparrow"),
        "core_home": system.core_home(),
        "card.offer_backup": card.offer_backup(),
        "card.show_code": card.show_code("1234-5678-9012-3456-7890"),
        "card.enter_code": card.enter_code("Text"),
        "card.choose_file": card.choose_file("Title", files),
        "card.confirm_seed": card.confirm_seed("00000000"),
        "card.scanning": card.scanning("Title", "Text"),
        "card.firmware": card.firmware([(files[0], firmware)]),
        "card.supply_chain_words": card.supply_chain_words(["abandon"] * 4),
        "adjust_qr": bitcoin.adjust_qr(DEFAULT_DENSITY, 250),
        "messages.sources": messages.sources("message.txt"),
        "messages.scanning": messages.scanning(),
        "messages.review_message": messages.review_message(
            review_message(b"Text", account, AddressMatch(Keychain.EXTERNAL, 0), None), account
        ),
        "messages.signature": messages.signature(SignedMessage(b"Text", address, "AAAA")),
        "limits": limits.limits(Policies((held,))),
        "policy_details": limits.policy_details(held, 0, None, 0),
        "policy_details,session": limits.policy_details(held, 0, Session(held, 0, 1), 60),
        "policy_proposed": limits.policy_proposed(held.policy, account, "01234567"),
        "remove_policy": limits.remove_policy(held),
        "begin_session": limits.begin_session(held),
        "second_question": limits.second_question(1, account),
        "log": limits.log(bytes(32), 1, 1),
        "log_code": limits.log_code("UR:BYTES/SAMPLE", 7),
        "renew_record": limits.renew_record(),
        "settings.menu": settings.menu(info, "2026-01-01 12:00"),
        "settings.set_time": settings.set_time(0, 0, 60),
        "settings.set_clock": settings.set_clock(0, 0, 60),
        "settings.choose_zone": settings.choose_zone(0),
        "settings.grants": settings.grants((grant,)),
        "settings.one_grant": settings.one_grant(grant),
        "settings.about": settings.about("00000000", info, development=False),
        "settings.problem": settings.problem("Text"),
        "authenticator.codes": authenticator.codes((login, counted), 0),
        "authenticator.account": authenticator.account(counted, 0),
        "authenticator.scanning": authenticator.scanning(),
        "authenticator.keep": authenticator.keep(login),
        "authenticator.confirm_delete": authenticator.confirm_delete(login),
        "authenticator.problem": authenticator.problem("Text"),
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
    for module in {section[2] for section in SECTIONS}:
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
            key = f"{PREFIXES.get(module, '')}{name}"
            others = [screen for other, screen in screens.items() if other.startswith(f"{key},")]
            parts.append(_row([screens[key], *others], getattr(module, name)))
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
                elif target.id.startswith(PATTERNS):
                    stem = target.id.partition(":")[0]
                    found.setdefault(stem, f"*`{stem}:`*")
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
