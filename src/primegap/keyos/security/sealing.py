"""What keeps the seed while the device is off: one interface for every kind of hardware.

A backend keeps one secret of at most MAX_SECRET_BYTES under a PIN, counts the PINs that are tried,
*before* it judges them, and destroys the secret for good when they are used up or when it is told
to. It also keeps a key of its own, from which `tag` derives values that only this device can make.
Secure elements, TPM 2.0 (a sealed object with an authorisation value and the dictionary-attack
lockout, an NV counter, an HMAC key) and the files of `vault` all have this shape; the service knows
no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from primegap.keyos.errors import KeyosError

if TYPE_CHECKING:
    from primegap.keyos.security.anchors import Anchor
    from primegap.keyos.security.memory import SecretBuffer

MAX_ATTEMPTS: Final = 10
MIN_PIN_LENGTH: Final = 6
MAX_PIN_LENGTH: Final = 64
MAX_SECRET_BYTES: Final = 128  # what a TPM seals in one object
TAG_BYTES: Final = 32


class VaultError(KeyosError):
    """Root of what can go wrong between a person and the vault."""

    code = "vault"


class WrongPinError(VaultError):
    """The PIN is wrong; an attempt is used up."""

    code = "wrong-pin"
    hint = "Wrong PIN."


class WipedError(VaultError):
    """That was the last attempt: the seed is gone."""

    code = "wiped"
    hint = "Too many wrong PINs. The seed was erased from this device."


class DamagedError(VaultError):
    """The vault or its key is not what was once written; nothing can be opened."""

    code = "vault-damaged"
    hint = "The stored seed is damaged and cannot be opened."


class PinFormatError(VaultError):
    """The PIN is too short or too long; no attempt is used."""

    code: ClassVar[str] = "pin-format"
    hint = f"A PIN has {MIN_PIN_LENGTH} to {MAX_PIN_LENGTH} characters."


def check_pin(pin: str) -> None:
    """Raise PinFormatError unless the text can be a PIN."""
    if not MIN_PIN_LENGTH <= len(pin) <= MAX_PIN_LENGTH or not pin.isprintable():
        raise PinFormatError("PIN is too short or too long")


@dataclass(frozen=True, slots=True)
class SealState:
    """What may be known without the PIN."""

    sealed: bool
    "A secret is stored."
    attempts_left: int
    "PINs that may still be tried."
    resets: int
    "How often a secret was destroyed since the device was made."


class SealingHardware(Protocol):
    """A keeper of one secret under a PIN. Every method may block; none holds a secret afterwards.

    All of them raise `StorageError` when the medium cannot be read or written.
    """

    kind: ClassVar[str]
    "Short name for system information: `software`, `tpm2`."
    limits: ClassVar[str]
    "What it cannot do, as a sentence for a person; empty if nothing."

    def recover(self) -> None:
        """Complete what a power cut left half done. Called once, before anything else."""
        ...

    def state(self) -> SealState:
        """Return what may be known without the PIN."""
        ...

    def seal(self, pin: str, secret: bytes | bytearray | memoryview) -> None:
        """Store a secret of 1 to MAX_SECRET_BYTES bytes; refused while one is stored.

        Raises:
            PinFormatError: not a PIN.
            VaultError: a secret is stored.
        """
        ...

    def unseal(self, pin: str) -> SecretBuffer:
        """Return the secret. The attempt is counted for good before the PIN is looked at (S-4).

        Raises:
            PinFormatError: not a PIN; nothing was counted.
            WrongPinError: an attempt was used up.
            WipedError: it was the last one.
            DamagedError: what is stored cannot be read; an attempt was used up.
        """
        ...

    def reseal(self, pin: str, new_pin: str) -> None:
        """Change the PIN in one step: at every moment exactly one of the two opens.

        Raises:
            VaultError: as `unseal` does for the old one; PinFormatError for the new one.
        """
        ...

    def wipe(self) -> None:
        """Destroy the secret: first what wraps it, then itself (S-9)."""
        ...

    def tag(self, label: bytes, data: bytes) -> bytes:
        """Return TAG_BYTES that only this device can make, different for every label.

        The key behind it is made with the first secret and destroyed by `wipe`.
        """
        ...

    def anchor(self, app_id: bytes) -> tuple[bytes, Anchor]:
        """Return the life of this set-up, and the newest state that an app has named.

        Raises:
            StorageError: what is kept is missing or was altered.
        """
        ...

    def set_anchor(self, app_id: bytes, anchor: Anchor) -> bool:
        """Move an app's anchor on; False when that would be no step forward.

        When what is kept was lost or altered, it begins anew with another life.
        """
        ...
