"""The permission catalogue: what the messages that apps may be granted are called for people.

Grants are given, stored and taken back per *subgroup* (keyos-model, section 3.3). A message without
a subgroup is between built-in processes and can never be obtained by an installed app (P-5). The
texts here, and the verified name of the app, are all that a first-use prompt is made of (R-3).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

MAX_TITLE: Final = 40  # fits a row of the settings app


class Signature(enum.Enum):
    """Whose signature a manifest must carry to name a message."""

    THIRD_PARTY = "thirdParty"
    "Any publisher that the person accepted."
    FOUNDATION = "foundation"
    "The root of the device's own image: built-in parts only."


class Approval(enum.Enum):
    """How an installed app obtains a message that its manifest names."""

    AUTO_ALLOW = "autoAllow"
    "With the installation."
    GRANT_ON_FIRST_USE = "grantOnFirstUse"
    "The person is asked when the app first sends it."
    NOT_USER_GRANTABLE = "notUserGrantable"
    "Never."


@dataclass(frozen=True, slots=True)
class Access:
    """What the owner of a server says about one of its messages."""

    group: str | None
    "Subgroup of the catalogue, `group.subgroup`; None for a message between built-in processes."
    signature: Signature
    approval: Approval


PRIVATE: Final = Access(None, Signature.FOUNDATION, Approval.NOT_USER_GRANTABLE)
"A message about which its owner says nothing."


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One thing that can be granted."""

    title: str
    "Completes `The app wants to …` in a prompt, and names the grant in the settings."
    detail: str
    "One or two sentences: what the app can do with it, and what it cannot."


CATALOGUE: Final[dict[str, Subgroup]] = {
    "app-management.app-channels": Subgroup(
        "exchange messages with other apps",
        "Signed and encrypted between the two apps, where both manifests name the message.",
    ),
    "device-secrets.app-scoped-seed": Subgroup(
        "use a secret made from your seed",
        "Each app gets its own. It cannot learn your seed, your coins’ keys or another app’s "
        "secret from it.",
    ),
    "device-secrets.general-status": Subgroup(
        "see whether the device is unlocked", "It learns no secret."
    ),
    "file-system.airlock-files": Subgroup(
        "read and write files on the microSD card",
        "All files on the card, also those that other apps left there.",
    ),
    "file-system.own-files": Subgroup(
        "keep files of its own", "Encrypted, up to a limit, and out of reach for other apps."
    ),
    "network-and-pairing.wallet-sync": Subgroup(
        "answer the companion app", "Calls of the paired companion. Each signature is asked for."
    ),
    "peripherals.camera-use": Subgroup(
        "read codes with the camera",
        "It gets the text of a code that you hold up, never the picture.",
    ),
    "settings.device-configuration": Subgroup(
        "change the settings of the device", "Only the settings app may."
    ),
    "settings.ui-essentials": Subgroup("read time and time zone", "It cannot change them."),
    "ui-and-input.app-surface": Subgroup(
        "show its screens when you open it", "Each screen carries the name of the app."
    ),
}
