"""Draw sample screens of the device into build/screens, as PNG files and one overview.

    python scripts/render_screens.py [FOLDER]

The samples show every kind of item and every state of a button; their texts are examples.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from PIL import Image

from primegap.apps.authenticator import screens as authenticator
from primegap.apps.authenticator.otp import Account, OtpKind
from primegap.apps.settings import screens as settings
from primegap.bitcoin.networks import Network
from primegap.keyos.api.permissions import Grant
from primegap.keyos.manifest import CATALOGUE
from primegap.keyos.ui.layout import layout
from primegap.keyos.ui.render import frame_to_png, render
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
    Keypad,
    KeypadPurpose,
    Progress,
    Qr,
    Row,
    Screen,
    Text,
    TextStyle,
    Toggle,
    Tone,
    Words,
    untrusted,
)
from primegap.keyos.ui.screens import ask_permission
from primegap.keyos.ui.view import BluetoothState, StatusBar, ViewState

PRIMARY, SECONDARY = ButtonStyle.PRIMARY, ButtonStyle.SECONDARY
DANGER, QUIET = ButtonStyle.DANGER, ButtonStyle.QUIET
MUTED: Final = TextStyle.MUTED
STATUS: Final = StatusBar(
    bluetooth=BluetoothState.CONNECTED, clock="14:05", battery_percent=84, development=False
)
OFFLINE: Final = StatusBar(bluetooth=BluetoothState.OFF, clock="14:05", battery_percent=84)
NETWORK: Final = Network.REGTEST
TAPROOT: Final = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"
SEGWIT: Final = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
# Seeds of the vectors of BIP-39, entropy 7f7f…
_REPEATED: Final = ("legal", "winner", "thank", "year", "wave", "sausage", "worth", "useful")
WORDS_12: Final = (*_REPEATED, "legal", "winner", "thank", "yellow")
WORDS_24: Final = (*_REPEATED, *_REPEATED, *_REPEATED[:7], "title")
BACK: Final = Button("back", "Back", SECONDARY)
TEST_BANNER: Final = Banner("Regtest – coins without value")


@dataclass(frozen=True)
class Sample:
    """A screen and how it is looked at."""

    name: str
    screen: Screen
    view: ViewState = field(default_factory=ViewState)
    status: StatusBar = STATUS


def setup_samples() -> list[Sample]:
    """First start."""
    pin = Screen(
        "choose-pin",
        "Choose a PIN",
        (
            Text("At least 6 digits. You need it each time.", MUTED),
            Keypad(KeypadPurpose.PIN, None, 6),
        ),
        (BACK, Button("done", "Continue", PRIMARY)),
    )
    words = (BACK, Button("done", "Written down", PRIMARY))
    paper = Text("On paper, in this order. Whoever has them has your coins.", MUTED)
    quiz = ChoiceList(
        tuple(Choice(f"word:{word}", word) for word in ("thank", "legal", "wave", "yellow")),
        secret=True,
    )
    return [
        Sample(
            "01-welcome",
            Screen(
                "welcome",
                "Welcome",
                (
                    Icon("shield"),
                    Text("This device keeps your bitcoin keys, and asks you before it uses them."),
                    Text("Setting up takes five minutes, a pen and a sheet of paper.", MUTED),
                ),
                (Button("start", "Set up", PRIMARY), Button("restore", "I have a seed", SECONDARY)),
            ),
            status=StatusBar(bluetooth=BluetoothState.OFF),
        ),
        Sample("02-choose-pin", pin),
        Sample("03-pin-typed", pin, ViewState(typed_length=7, pressed="key:5")),
        Sample(
            "04-seed-length",
            Screen(
                "seed-length",
                "New seed",
                (
                    Text("How many words shall your seed have?"),
                    ChoiceList(
                        (
                            Choice("words-12", "12 words", "Enough for everybody", selected=True),
                            Choice("words-24", "24 words", "More to write down"),
                        )
                    ),
                ),
                (BACK,),
            ),
        ),
        Sample(
            "05-words-12",
            Screen("seed-words", "Your words", (paper, Words(WORDS_12)), words),
        ),
        Sample("06-words-24", Screen("seed-words", "Your words", (Words(WORDS_24),), words)),
        Sample(
            "07-words-24-paged",
            Screen("seed-words", "Your words", (Words(WORDS_24), paper), words),
            ViewState(page=1),
        ),
        Sample(
            "08-quiz",
            Screen(
                "quiz", "Check your words", (Text("Which one is word 5?", TextStyle.HEADING), quiz)
            ),
            ViewState(pressed="word:wave"),
        ),
        Sample(
            "09-dice",
            Screen(
                "dice",
                "Throw a die",
                (Text("50 throws carry as much as 12 words."), Keypad(KeypadPurpose.DICE, None, 0)),
                (Button("back", "Skip", SECONDARY), Button("done", "Done", PRIMARY)),
            ),
            ViewState(typed_length=37),
        ),
        Sample(
            "10-restore-word",
            Screen(
                "restore-word",
                "Word 3 of 12",
                (Text("Type the first letters."), Keypad(KeypadPurpose.WORDS, None, 3)),
                (BACK, Button("done", "Next word", PRIMARY)),
            ),
            ViewState(typed_length=4, typed_text="yell"),
        ),
        Sample(
            "11-ready",
            Screen(
                "message",
                "Your device is ready",
                (
                    Icon("check"),
                    Text("Keep the words where only you find them."),
                    Row("Master fingerprint", "73C5 DA0A"),
                ),
                (Button("ok", "OK", PRIMARY),),
            ),
        ),
    ]


def pairing_samples() -> list[Sample]:
    """Pairing and accounts."""
    offer = "UR:QL-PAIRING/" + "HDCXLKAHSSQZWFVSLOFZOXWKREWNGOTKTBMWJKWD" * 6
    return [
        Sample(
            "20-pairing",
            Screen(
                "pairing",
                "Pair companion",
                (
                    Qr(offer, "Scan this with the companion"),
                    Text("Works once, for five minutes.", MUTED),
                ),
                (Button("back", "Cancel", SECONDARY),),
            ),
        ),
        Sample(
            "21-confirm-pairing",
            Screen(
                "confirm-pairing",
                "Pair this companion?",
                (
                    Row("Calls itself", untrusted("Maria’s phone")),
                    Code("Both screens must show", "7F3A 91C2 0B44 E8D5"),
                    Text(
                        "It may then ask for addresses and signatures. Each needs you, here.", MUTED
                    ),
                ),
                (
                    Button("reject", "Reject", SECONDARY),
                    Button("confirm", "Hold to pair", PRIMARY, hold_ms=1200),
                ),
                confirm=True,
            ),
        ),
        Sample(
            "22-share-account",
            Screen(
                "share-account",
                "Share account?",
                (
                    Row("With", untrusted("Maria’s phone")),
                    Row("Account", "Primary"),
                    Row("Type", "Taproot"),
                    Row("Path", "m/86'/1'/0'"),
                    Text(
                        "The companion can then see all addresses and amounts of this account. "
                        "It cannot spend.",
                        TextStyle.WARNING,
                    ),
                ),
                (Button("no", "Do not share", SECONDARY), Button("yes", "Share", PRIMARY)),
                app="Bitcoin",
                confirm=True,
            ),
        ),
        Sample(
            "23-companion",
            Screen(
                "companion",
                "Companion",
                (
                    Row("Name", untrusted("Maria’s phone")),
                    Row("Link", "Connected", Tone.SUCCESS),
                    Row("Paired", "12 May 2026"),
                    Code("Session", "7F3A 91C2 0B44 E8D5"),
                ),
                (Button("unpair", "Unpair", DANGER), Button("ok", "OK", PRIMARY)),
            ),
        ),
    ]


def home_samples() -> list[Sample]:
    """Home, settings, lock, messages."""
    home = Screen(
        "home",
        "Home",
        (
            ChoiceList(
                (
                    Choice("app:bitcoin", "Bitcoin", "Receive, check, sign", icon="coin"),
                    Choice("companion", "Companion", "Connected", icon="phone"),
                    Choice("scan", "Scan", "QR code", icon="qr"),
                    Choice("settings", "Settings", "Bluetooth, about", icon="settings"),
                ),
                tiles=True,
            ),
        ),
        (Button("lock", "Lock", SECONDARY),),
    )
    return [
        Sample("30-home", home),
        Sample(
            "31-settings",
            Screen(
                "settings",
                "Settings",
                (
                    Toggle("bluetooth", "Bluetooth", on=True, detail="Connected"),
                    Text(
                        "Off stops the Bluetooth chip. The device then signs by QR code only.",
                        MUTED,
                    ),
                    ChoiceList(
                        (
                            Choice("pin", "Change PIN", icon="key"),
                            Choice("about", "About this device", "Version 0.1.0", icon="shield"),
                        )
                    ),
                ),
                (BACK,),
            ),
        ),
        Sample(
            "32-settings-off",
            Screen(
                "settings",
                "Settings",
                (
                    Toggle("bluetooth", "Bluetooth", on=False, detail="The chip has no power"),
                    Text(
                        "Off stops the Bluetooth chip. The device then signs by QR code only.",
                        MUTED,
                    ),
                ),
                (BACK,),
            ),
            status=OFFLINE,
        ),
        Sample(
            "33-locked",
            Screen(
                "unlock",
                "Locked",
                (
                    Text("Wrong PIN. 8 tries left.", TextStyle.WARNING),
                    Keypad(KeypadPurpose.PIN, None, 6),
                ),
                (Button("done", "Unlock", PRIMARY),),
            ),
            ViewState(typed_length=3),
            StatusBar(bluetooth=BluetoothState.OFF, locked=True, clock="14:05", battery_percent=12),
        ),
        Sample(
            "34-error",
            Screen(
                "message",
                "This payment was refused",
                (
                    Icon("cross", Tone.DANGER),
                    Text("It spends a coin that does not belong to this device."),
                    Text("Nothing was signed.", MUTED),
                ),
                (Button("ok", "OK", PRIMARY),),
                app="Bitcoin",
            ),
        ),
        Sample(
            "35-working",
            Screen("working", "Securing the seed", (Icon("lock"), Progress("One moment", None))),
            ViewState(phase=0.6),
        ),
        Sample(
            "36-progress",
            Screen(
                "receiving",
                "Scan the payment",
                (
                    Icon("qr"),
                    Text("Hold the moving code before the camera."),
                    Progress("7 of 18 parts", 7 / 18),
                ),
                (Button("cancel", "Cancel", SECONDARY),),
                app="Bitcoin",
            ),
            status=OFFLINE,
        ),
        Sample(
            "37-development",
            home,
            status=StatusBar(
                bluetooth=BluetoothState.ON, clock="14:05", battery_percent=84, development=True
            ),
        ),
    ]


def payment_samples() -> list[Sample]:
    """Receiving and paying."""
    review = Screen(
        "review-payment",
        "Review payment",
        (
            Amount("You send", 1_234_567, NETWORK, emphasised=True),
            Address("To", TAPROOT),
            Amount("Fee", 282, NETWORK),
            Row("Fee rate", "2.00 sat/vB"),
            Amount("Back to you", 98_765_151, NETWORK),
            Row("Note", untrusted("Rent for May, thank you!\u202e gpj.exe")),
            Text("The fee is 23 % of the amount. Usual is less than 1 %.", TextStyle.WARNING),
        ),
        (
            Button("reject", "Reject", SECONDARY),
            Button("sign", "Hold to sign", PRIMARY, hold_ms=1500),
        ),
        app="Bitcoin",
        confirm=True,
    )
    pages = len(layout(review).pages)
    reviews = [
        Sample(f"42-review-{page + 1}", review, ViewState(page=page)) for page in range(pages)
    ]
    signed = "UR:CRYPTO-PSBT/1-5/LPADAHCFADBBCYLKAECNCPHDVY" + "HKADCFAOJOJKIDJYZMADAEJSAO" * 10
    return [
        Sample(
            "40-receive",
            Screen(
                "receive",
                "Receive",
                (
                    Address("Address 7 of Primary", TAPROOT),
                    Text("This address belongs to this device.", TextStyle.SUCCESS),
                    Text("Compare it with what the companion shows.", MUTED),
                ),
                (Button("qr", "Show as QR", SECONDARY), Button("ok", "Done", PRIMARY)),
                app="Bitcoin",
                banner=TEST_BANNER,
            ),
        ),
        Sample(
            "41-receive-qr",
            Screen(
                "receive-qr",
                "Receive",
                (Qr(SEGWIT.upper()), Address("Address 7 of Primary", SEGWIT)),
                (Button("ok", "Done", PRIMARY),),
                app="Bitcoin",
            ),
        ),
        *reviews,
        Sample("43-review-unarmed", review, ViewState(page=pages - 1, armed=False)),
        Sample(
            "44-holding",
            review,
            ViewState(page=pages - 1, pressed="sign", hold_fraction=0.55),
        ),
        Sample(
            "45-signed",
            Screen(
                "signed",
                "Signed",
                (Qr(signed, "Show this to the companion"),),
                (Button("ok", "Done", PRIMARY),),
                app="Bitcoin",
            ),
            status=OFFLINE,
        ),
        Sample(
            "46-large-amount",
            Screen(
                "amounts",
                "Amounts",
                (
                    Amount("All there is", 20_999_999_97690000, Network.MAINNET, emphasised=True),
                    Amount("Ten and a bit", 10_00_012_345, Network.MAINNET, emphasised=True),
                    Amount("Fee", 20_999_999_97690000, Network.MAINNET),
                    Amount("Nothing", 0, Network.MAINNET),
                ),
                (Button("ok", "OK", PRIMARY),),
                app="Bitcoin",
            ),
        ),
        Sample(
            "47-danger",
            Screen(
                "erase",
                "Erase this device?",
                (
                    Icon("warning", Tone.DANGER),
                    Text("All keys are destroyed. Only your written words bring them back."),
                ),
                (
                    Button("erase", "Hold to erase", DANGER, hold_ms=3000),
                    Button("back", "Keep everything", SECONDARY),
                ),
                confirm=True,
            ),
            ViewState(pressed="erase", hold_fraction=0.3),
        ),
    ]


def app_samples() -> list[Sample]:
    """The apps that ship, and a first-use prompt, as their own functions draw them."""
    mail = Account(OtpKind.TOTP, "Example Mail", "me@example.org", b"1" * 20)
    forge = Account(OtpKind.TOTP, "Forge", "satoshi", b"2" * 20, digits=8)
    server = Account(OtpKind.TOTP, "", "server-login", b"3" * 20, period_s=60)
    bank = Account(OtpKind.HOTP, "Old Bank", "12345", b"4" * 20)
    grant = Grant(bytes(16), "Guest app", "peripherals.camera-use", True)
    system = {
        "50-ask-permission": ask_permission("Guest app", CATALOGUE[grant.subgroup]),
    }
    codes = {
        "51-codes": authenticator.codes([mail, forge, server, bank], 1_700_000_013_000),
        "52-codes-late": authenticator.codes([mail, forge], 1_700_000_008_000),
        "53-codes-none": authenticator.codes([], 0),
        "54-account": authenticator.account(bank, 0, "123456"),
        "55-keep": authenticator.keep(mail),
        "56-delete": authenticator.confirm_delete(mail),
    }
    shown = {
        "57-time": settings.set_time(1_700_000_003_000, 60, -3600),
        "58-clock": settings.set_clock(1_700_000_003_000, 60, -3600),
        "59-grants": settings.grants([grant]),
        "60-grant": settings.one_grant(grant),
    }
    return [
        *(Sample(name, screen) for name, screen in system.items()),
        *(Sample(name, replace(screen, app="Authenticator")) for name, screen in codes.items()),
        *(Sample(name, replace(screen, app="Settings")) for name, screen in shown.items()),
    ]


def overview(pictures: list[bytes]) -> Image.Image:
    """Return all pictures on one sheet, half size."""
    columns = 7
    across, down = 240 + 16, 400 + 16
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * across + 16, rows * down + 16), (90, 90, 96))
    for number, data in enumerate(pictures):
        picture = Image.open(io.BytesIO(data)).resize((240, 400), Image.Resampling.LANCZOS)
        row, column = divmod(number, columns)
        sheet.paste(picture, (16 + column * across, 16 + row * down))
    return sheet


def main() -> None:
    """Draw everything and say how long each frame took."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/screens")
    folder.mkdir(parents=True, exist_ok=True)
    samples = [*setup_samples(), *pairing_samples(), *home_samples(), *payment_samples()]
    samples += app_samples()
    pictures = []
    for sample in samples:
        layout.cache_clear()
        start_s = time.perf_counter()
        frame = render(sample.screen, sample.view, sample.status)
        first_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        render(sample.screen, sample.view, sample.status)
        again_s = time.perf_counter() - start_s
        pictures.append(frame_to_png(frame))
        (folder / f"{sample.name}.png").write_bytes(pictures[-1])
        print(f"{sample.name:20} first {first_s * 1e3:6.1f} ms, again {again_s * 1e3:5.1f} ms")
    overview(pictures).save(folder / "overview.png")
    print(f"{len(samples)} screens in {folder}")


if __name__ == "__main__":
    main()
