"""The system's own screens, as data.

Their ids and the ids of their buttons are a public interface: automation and tests use them
(docs/reference/screens.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.keyos.api.link import UNTRUSTED
from primegap.keyos.ui.screen import (
    MAX_APP_NAME_CHARS,
    Button,
    ButtonStyle,
    Choice,
    ChoiceList,
    Code,
    Icon,
    Keypad,
    KeypadPurpose,
    Progress,
    Qr,
    Row,
    Screen,
    Text,
    TextStyle,
    Toggle,
    Words,
    untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.keyos.api.apps import AppInfo, AppList, PublisherInfo, PublisherList
    from primegap.keyos.api.link import LinkState
    from primegap.keyos.manifest import Subgroup
    from primegap.keyos.ui.screen import Item, Label

START: Final = "start"
CHECK_DEVICE: Final = "check-device"
RESTORE: Final = "restore"
SCAN_SEED: Final = "scan-seed"
DONE: Final = "done"
BACK: Final = "back"
OK: Final = "ok"
CONFIRM: Final = "confirm"
REJECT: Final = "reject"
DICE: Final = "dice"
NO_DICE: Final = "no-dice"
PAIR: Final = "pair"
COMPANION: Final = "companion"
SECURITY: Final = "security"
APPS: Final = "apps"
PUBLISHERS: Final = "publishers"
DEVELOPER: Final = "developer"
REMOVE: Final = "remove"
INSTALLED: Final = "installed:"
PUBLISHER: Final = "publisher:"
LOCK: Final = "lock"
UNPAIR: Final = "unpair"
ADOPT: Final = "adopt-chip"
ALWAYS: Final = "always"
NOT_NOW: Final = "not-now"
NEVER: Final = "never"
APP: Final = "app:"
SEED_LENGTHS: Final = {"words-12": 12, "words-24": 24}
HOLD_MS: Final = 1200
MIN_PIN: Final = 6
CHIP_DISTRUSTED: Final = "Bluetooth chip not trusted"


def muted(text: str) -> Text:
    """Return a text that says less than the others."""
    return Text(text, style=TextStyle.MUTED)


def back(label: str = "Back") -> Button:
    """Return the button that leaves a screen."""
    return Button(BACK, label, style=ButtonStyle.SECONDARY)


def welcome(*, core_model: bool = False) -> Screen:
    """First screen of a new device; one without a radio can be checked by codes."""
    check = (Button(CHECK_DEVICE, "Check it", style=ButtonStyle.SECONDARY),) if core_model else ()
    return Screen(
        id="welcome",
        title="Welcome",
        items=(
            Icon("shield"),
            Text("This device keeps your bitcoin keys.", style=TextStyle.HEADING),
            Text("Choose a PIN, then write down the words of a new seed. It takes five minutes."),
            muted("Nothing is stored before you have proved that you wrote the words down."),
        ),
        buttons=(*check, Button(START, "Set up", style=ButtonStyle.PRIMARY)),
    )


def pin_entry(title: str, note: str) -> Screen:
    """Enter a new PIN."""
    return Screen(
        id="choose-pin",
        title=title,
        items=(Text(note), Keypad(KeypadPurpose.PIN, min_length=MIN_PIN)),
        buttons=(back(), Button(DONE, "Continue", style=ButtonStyle.PRIMARY)),
    )


def unlock(note: str, words: Sequence[str] = ()) -> Screen:
    """Lock screen; after some digits with the two words that only this device shows for them."""
    text = Text(note, style=TextStyle.WARNING) if note else Text("Enter your PIN.")
    if words:
        text = Text(f"Go on only if these are yours: {' '.join(words)}")
    return Screen(
        id="unlock",
        title="Locked",
        items=(text, Keypad(KeypadPurpose.PIN, min_length=MIN_PIN)),
        buttons=(Button(DONE, "Unlock", style=ButtonStyle.PRIMARY),),
    )


def seed_length() -> Screen:
    """12 or 24 words."""
    return Screen(
        id="seed-length",
        title="New seed",
        items=(
            Text("How many words shall your seed have?"),
            ChoiceList(
                (
                    Choice("words-12", "12 words", "128 bits: enough for everybody"),
                    Choice("words-24", "24 words", "256 bits: more to write down"),
                )
            ),
            Text("Or bring a seed that you have."),
            ChoiceList(
                (
                    Choice(RESTORE, "Restore a backup", "From the microSD card"),
                    Choice(SCAN_SEED, "Scan a SeedQR", "Plain or compact"),
                )
            ),
        ),
        buttons=(back(),),
    )


def offer_dice() -> Screen:
    """Whether to add dice."""
    return Screen(
        id="offer-dice",
        title="Add dice?",
        items=(
            Text("The device draws the seed from this machine’s random generator."),
            Text(
                "If you like, throw a die and add the numbers. They are mixed in: the seed "
                "can only get better."
            ),
        ),
        buttons=(
            Button(DICE, "Throw dice", style=ButtonStyle.SECONDARY),
            Button(NO_DICE, "Without dice", style=ButtonStyle.PRIMARY),
        ),
    )


def dice_entry() -> Screen:
    """Enter dice."""
    return Screen(
        id="dice",
        title="Throw a die",
        items=(
            Text("Enter each throw. 50 throws carry as much as a 12-word seed."),
            Keypad(KeypadPurpose.DICE),
        ),
        buttons=(back("Skip"), Button(DONE, "Done", style=ButtonStyle.PRIMARY)),
    )


def seed_words(words: Sequence[str]) -> Screen:
    """The words, to be written down."""
    return Screen(
        id="seed-words",
        title="Write these words down",
        items=(
            Words(tuple(words)),
            muted("On paper, in this order. Whoever has them has your coins."),
        ),
        buttons=(back("Start over"), Button(DONE, "Written down", style=ButtonStyle.PRIMARY)),
    )


def word_choice(word: str) -> str:
    """Id of a word in the quiz."""
    return f"word:{word}"


def quiz(position: int, choices: Sequence[str]) -> Screen:
    """Ask for one word."""
    return Screen(
        id="quiz",
        title="Check your words",
        items=(
            Text(f"Which one is word {position + 1}?", style=TextStyle.HEADING),
            ChoiceList(tuple(Choice(word_choice(word), word) for word in choices), secret=True),
        ),
        buttons=(),
    )


def working(text: str) -> Screen:
    """Something that takes a moment."""
    return Screen(id="working", title=text, items=(Progress("One moment", None),), buttons=())


def message(title: str, text: Label, *, good: bool) -> Screen:
    """A message to read."""
    return Screen(
        id="message",
        title=title,
        items=(Icon("check" if good else "cross"), Text(text)),
        buttons=(Button(OK, "OK", style=ButtonStyle.PRIMARY),),
    )


def _link_words(link: LinkState) -> str:
    if link.radio == UNTRUSTED:
        return CHIP_DISTRUSTED
    return "Connected" if link.connected else "Not connected"


def home(link: LinkState, installed: AppList) -> Screen:
    """Home: the system's own apps, those that were installed, and what belongs to the device."""
    if link.paired:
        companion_tile = Choice(COMPANION, "Companion", _link_words(link), icon="phone")
    else:
        detail = CHIP_DISTRUSTED if link.radio == UNTRUSTED else "Pair one"
        companion_tile = Choice(PAIR, "Companion", detail, icon="phone")
    return Screen(
        id="home",
        title="Home",
        items=(
            ChoiceList(
                (
                    Choice(APP + "bitcoin", "Bitcoin", "Receive, sign", icon="coin"),
                    companion_tile,
                    Choice(APP + "authenticator", "Authenticator", "Login codes", icon="key"),
                    Choice(SECURITY, "Security", "PIN, switches", icon="shield"),
                    Choice(APP + "settings", "Settings", "Time, grants", icon="settings"),
                    Choice(APPS, "Apps", "Installed apps", icon="qr"),
                    *(_tile(app) for app in installed.apps),
                ),
                tiles=True,
            ),
        ),
        buttons=(Button(LOCK, "Lock", style=ButtonStyle.SECONDARY),),
    )


def core_home() -> Screen:
    """Home of a device that has no radio: one app, and what belongs to the device."""
    return Screen(
        id="home",
        title="Home",
        items=(
            ChoiceList(
                (
                    Choice(APP + "bitcoin", "Bitcoin", "Receive, sign", icon="coin"),
                    Choice(SECURITY, "Security", "PIN, card, backup", icon="shield"),
                ),
                tiles=True,
            ),
        ),
        buttons=(Button(LOCK, "Lock", style=ButtonStyle.SECONDARY),),
    )


def _tile(app: AppInfo) -> Choice:
    """A tile of an installed app: name and publisher are its publisher's words."""
    return Choice(
        APP + app.role, untrusted(app.name, MAX_APP_NAME_CHARS), untrusted(f"by {app.publisher}")
    )


def apps(installed: AppList) -> Screen:
    """What is installed, and whether a computer may offer more."""
    items: list[Item] = []
    if installed.apps:
        items.append(
            ChoiceList(
                tuple(
                    Choice(
                        INSTALLED + app.role,
                        untrusted(app.name, MAX_APP_NAME_CHARS),
                        untrusted(f"{app.version} by {app.publisher}"),
                    )
                    for app in installed.apps
                )
            )
        )
    else:
        items.append(Text("No apps are installed."))
    items += [
        ChoiceList((Choice(PUBLISHERS, "Publishers", "Whose apps may run here"),)),
        Toggle(DEVELOPER, "Developer mode", on=installed.developer),
        muted("A connected computer may then offer apps. Each one is asked for on this screen."),
    ]
    return Screen(id="apps", title="Apps", items=tuple(items), buttons=(back(),))


def installed_app(app: AppInfo) -> Screen:
    """One installed app."""
    items: list[Item] = [
        Row("App", untrusted(app.name, MAX_APP_NAME_CHARS)),
        Row("Version", app.version),
        Row("Publisher", untrusted(app.publisher)),
        Code("Fingerprint", app.fingerprint.hex()),
    ]
    if app.description:
        items.append(Text(untrusted(app.description), style=TextStyle.MUTED))
    return Screen(
        id="installed-app",
        title="Installed app",
        items=tuple(items),
        buttons=(back(), Button(REMOVE, "Remove", style=ButtonStyle.DANGER)),
    )


def publishers(listed: PublisherList) -> Screen:
    """Publishers that were accepted."""
    choices = tuple(
        Choice(
            PUBLISHER + publisher.fingerprint.hex()[:32],
            untrusted(publisher.name),
            f"{publisher.fingerprint.hex()[:8]}…, {publisher.apps} installed",
        )
        for publisher in listed.publishers
    )
    item = ChoiceList(choices) if choices else Text("No publisher was accepted yet.")
    return Screen(id="publishers", title="Publishers", items=(item,), buttons=(back(),))


def publisher(one: PublisherInfo) -> Screen:
    """One publisher."""
    return Screen(
        id="publisher",
        title="Publisher",
        items=(
            Row("Calls itself", untrusted(one.name)),
            Code("Fingerprint", one.fingerprint.hex()),
            Text("Removed, its apps stay with their data, and do not start any more."),
        ),
        buttons=(back(), Button(REMOVE, "Remove", style=ButtonStyle.DANGER)),
    )


def ask_permission(name: str, permission: Subgroup) -> Screen:
    """Ask at the first use whether an app may do something; the words are the catalogue's."""
    return Screen(
        id="ask-permission",
        title="Allow this?",
        items=(
            Row("App", untrusted(name, MAX_APP_NAME_CHARS)),
            Text(f"It wants to {permission.title}.", style=TextStyle.HEADING),
            Text(permission.detail),
            muted("“Not now” holds until the app starts again. Settings can take back the rest."),
        ),
        buttons=(
            Button(ALWAYS, "Hold to allow", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
            Button(NOT_NOW, "Not now", style=ButtonStyle.SECONDARY),
            Button(NEVER, "Never", style=ButtonStyle.QUIET),
        ),
        confirm=True,
    )


def pairing(offer: str) -> Screen:
    """The pairing code."""
    return Screen(
        id="pairing",
        title="Pair companion",
        items=(
            Qr(offer, "Scan this with the companion"),
            muted("The code works once, for five minutes. Show it only to your companion."),
        ),
        buttons=(Button(BACK, "Cancel", style=ButtonStyle.SECONDARY),),
    )


def confirm_pairing(peer_name: str, fingerprint: str) -> Screen:
    """Ask before a companion is paired."""
    return Screen(
        id="confirm-pairing",
        title="Pair this companion?",
        items=(
            Row("Calls itself", untrusted(peer_name)),
            Code("Both screens must show", fingerprint.replace("-", " ")),
            muted("It may then ask for addresses and signatures. Each needs your touch here."),
        ),
        buttons=(
            Button(REJECT, "Reject", style=ButtonStyle.SECONDARY),
            Button(CONFIRM, "Hold to pair", style=ButtonStyle.PRIMARY, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def companion(link: LinkState) -> Screen:
    """The paired companion."""
    items: list[Row | Code | Text] = [
        Row("Companion", untrusted(link.peer_name) if link.paired else "None"),
        Row("Link", _link_words(link)),
    ]
    if link.fingerprint:
        items.append(Code("Session", link.fingerprint.replace("-", " ")))
    return Screen(
        id="companion",
        title="Companion",
        items=tuple(items),
        buttons=(
            Button(UNPAIR, "Unpair", style=ButtonStyle.DANGER),
            Button(OK, "OK", style=ButtonStyle.PRIMARY),
        ),
    )


def confirm_unpair(peer_name: str) -> Screen:
    """Ask before the companion is forgotten."""
    return Screen(
        id="confirm-unpair",
        title="Forget the companion?",
        items=(
            Row("Companion", untrusted(peer_name)),
            Text("It can no longer reach this device. Your keys are not touched."),
        ),
        buttons=(
            back(),
            Button(CONFIRM, "Hold to forget", style=ButtonStyle.DANGER, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )


def chip_distrusted() -> Screen:
    """What it means that the Bluetooth chip failed its challenge, and what can be done."""
    return Screen(
        id="chip-distrusted",
        title="Bluetooth chip",
        items=(
            Text(CHIP_DISTRUSTED, style=TextStyle.HEADING),
            Text("The chip did not prove that it belongs to this device, so it is not used."),
            Text("Your keys are safe. The device signs by QR code."),
            muted("If you have replaced it, you can use the new one."),
            muted("If not, somebody else may have: have the device looked at."),
        ),
        buttons=(
            back(),
            Button(ADOPT, "Use this chip", style=ButtonStyle.DANGER),
        ),
    )


def confirm_adopt_chip() -> Screen:
    """Ask before another Bluetooth chip becomes this device's."""
    return Screen(
        id="confirm-adopt-chip",
        title="Use this chip?",
        items=(
            Text("Say yes only if you have replaced the Bluetooth chip, or erased its memory."),
            Text("It learns no key and sees no message. A bad chip can disturb and follow you."),
        ),
        buttons=(
            back(),
            Button(CONFIRM, "Hold to use it", style=ButtonStyle.DANGER, hold_ms=HOLD_MS),
        ),
        confirm=True,
    )
