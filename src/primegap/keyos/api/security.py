"""Messages of `os/security`: the owner of seed and PIN (keyos-model, section 6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from primegap.keyos.messages import Message, Request

SERVER = "os/security"


@dataclass(frozen=True, slots=True)
class SecurityState(Message):
    """Answer to GetState, Login and Logout."""

    onboarded: bool
    "A PIN and a seed are stored."
    unlocked: bool
    attempts_left: int
    fingerprint: str
    "BIP-32 fingerprint of the master key, 8 hex digits; empty while locked."
    version: int
    "Changes with every other field."


@dataclass(frozen=True, slots=True)
class GetState(Request):
    """What the lock screen has to show."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 1
    reply: ClassVar[type[Message]] = SecurityState
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class SeedWords(Message):
    """The words of a new seed, for the one screen that shows them."""

    words: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BeginSeed(Request):
    """Make a seed and keep it in memory until CommitSeed; a later one replaces it."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 2
    reply: ClassVar[type[Message]] = SeedWords

    word_count: int
    "12 or 24."
    dice: str = field(repr=False)
    "Digits 1 to 6 thrown by the person, mixed into the kernel's entropy; may be empty."


@dataclass(frozen=True, slots=True)
class CommitSeed(Request):
    """Store the seed under the PIN, once; the device is then onboarded and unlocked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 3
    reply: ClassVar[type[Message]] = SecurityState

    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login(Request):
    """Unlock. A wrong PIN uses up an attempt; the tenth wipes the seed."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 4
    reply: ClassVar[type[Message]] = SecurityState

    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Logout(Request):
    """Lock. With its answer the process that held the seed ends, and a new one takes its place."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 5
    reply: ClassVar[type[Message]] = SecurityState


@dataclass(frozen=True, slots=True)
class AppSeed(Message):
    """Answer to GetAppSeed."""

    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetAppSeed(Request):
    """The caller's own seed, HMAC-SHA-256(app id, entropy); waits while the device is locked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 6
    reply: ClassVar[type[Message]] = AppSeed
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class AccountXpub(Message):
    """Answer to GetAccountXpub."""

    fingerprint: str
    path: str
    xpub: str


@dataclass(frozen=True, slots=True)
class GetAccountXpub(Request):
    """Public key of an account (BIP-84 `m/84'/coin'/account'`)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 7
    reply: ClassVar[type[Message]] = AccountXpub
    repeats: ClassVar[bool] = True

    network: str
    account: int


@dataclass(frozen=True, slots=True)
class AccountKey(Message):
    """Answer to TakeAccountKey: an account-level key expression with its private key."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeAccountKey(Request):
    """The private key of one account, for one signature that the person confirmed.

    Granted once for a confirmation that the trusted screen reported as approved, to the very
    process that asked for it, for the very content that was shown and for the key that was named;
    refused otherwise.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 8
    reply: ClassVar[type[Message]] = AccountKey

    network: str
    account: int
    confirmation: bytes
    content: bytes
    "SHA-256 of what is to be signed, as given to the confirmation."


@dataclass(frozen=True, slots=True)
class KeyChoice(Message):
    """Which key a confirmation opens; the trusted screen names it in words of its own."""

    network: str
    account: int


@dataclass(frozen=True, slots=True)
class ReportConfirmation(Request):
    """From the trusted screen only: the person approved this confirmation."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 9

    confirmation: bytes
    "16 random bytes."
    instance: int
    "The process that asked, as core named it to the trusted screen."
    content: bytes
    "SHA-256 of the content the asking process bound to the screen."
    key: KeyChoice
    "The key that the screen said would be opened; no other one is."
    session_s: int
    "0: it opens the key once; otherwise, as the screen said, again and again for so long."


@dataclass(frozen=True, slots=True)
class WaitUnlocked(Request):
    """Answered as soon as the device is unlocked."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 10
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class WaitState(Request):
    """Answered when the state's version differs from the given one.

    Whoever gets an error instead knows that the process ended: the device is locked (X-2).
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 11
    reply: ClassVar[type[Message]] = SecurityState

    version: int


@dataclass(frozen=True, slots=True)
class ChangePin(Request):
    """Put a new PIN in the place of the old one, which is counted and judged as by Login."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 12
    reply: ClassVar[type[Message]] = SecurityState

    pin: str = field(repr=False)
    new_pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RevealWords(Request):
    """The words of the stored seed, for the one screen that shows them, against the PIN (U-11).

    A wrong PIN uses up an attempt and is answered with FAILED.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 13
    reply: ClassVar[type[Message]] = SeedWords

    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erase(Request):
    """Destroy the seed. Only after the person confirmed it on the trusted screen."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 14
    reply: ClassVar[type[Message]] = SecurityState


@dataclass(frozen=True, slots=True)
class StorageKey(Message):
    """Answer to GetStorageKey."""

    tag: bytes
    "8 bytes: another one for every seed and set-up; files under another tag can never be opened."
    key: bytes = field(repr=False)
    "32 bytes."


@dataclass(frozen=True, slots=True)
class GetStorageKey(Request):
    """The key of one app's files at rest; refused while the device is locked (F-6, F-7)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 15
    reply: ClassVar[type[Message]] = StorageKey
    repeats: ClassVar[bool] = True

    app_id: bytes


@dataclass(frozen=True, slots=True)
class SecurityWords(Message):
    """Two words that only this device shows for the beginning of a PIN."""

    words: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class GetSecurityWords(Request):
    """The two words for the beginning of a PIN (keyos-model, section 6.3).

    Whoever knows them notices a swapped device before the whole PIN is given away.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 19
    reply: ClassVar[type[Message]] = SecurityWords

    prefix: str = field(repr=False)
    "The first 4 characters."


@dataclass(frozen=True, slots=True)
class DeviceFacts(Message):
    """Answer to GetDeviceFacts."""

    device_id: str
    "16 hex digits; empty before the first seed."
    sealing: str
    "What keeps the seed: `software`, `tpm2`."
    limits: str
    "What that cannot do, as a sentence; empty if nothing."
    memory: str
    "How the seed is kept in memory: `secret`, `locked` or `plain`; empty while locked."
    resets: int
    "How often a seed was erased."


@dataclass(frozen=True, slots=True)
class GetDeviceFacts(Request):
    """For system information."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 17
    reply: ClassVar[type[Message]] = DeviceFacts
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Genuineness(Message):
    """Answer to ProveGenuine."""

    proof: bytes
    "189 bytes (keyos-model, section 6.5)."


@dataclass(frozen=True, slots=True)
class ProveGenuine(Request):
    """Answer a challenge of the vendor's server, 104 bytes; refused when it is not signed by it."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 18
    reply: ClassVar[type[Message]] = Genuineness

    challenge: bytes


@dataclass(frozen=True, slots=True)
class ChannelCertificate(Message):
    """Answer to CertifyChannelKey."""

    certificate: bytes
    authority: bytes
    "Ed25519 public key by which certificates are checked, 32 bytes; new at each start."


@dataclass(frozen=True, slots=True)
class CertifyChannelKey(Request):
    """Say whose a signing key is, for one end of one channel between apps.

    The app and its start are what core says of the caller, whatever the request contains (ID-1).
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 16
    reply: ClassVar[type[Message]] = ChannelCertificate

    side: int
    "1: the caller's end, 2: the callee's."
    app_server: str
    "`app/…`, at whose channel the key will speak."
    key: bytes
    "Ed25519 public key, 32 bytes, made for this one channel."


@dataclass(frozen=True, slots=True)
class StateAnchor(Message):
    """Answer to GetAnchor."""

    life: bytes
    "16 bytes, new with each set-up of the device: state of another life does not count."
    number: int
    "Of the newest state that the caller has named; 0 when it named none."
    digest: bytes
    "SHA-256 of it."


@dataclass(frozen=True, slots=True)
class GetAnchor(Request):
    """The newest state of the caller: a file with an older one was put back.

    Answered with FAILED when what is kept of it was lost or altered.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 20
    reply: ClassVar[type[Message]] = StateAnchor
    repeats: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class SetAnchor(Request):
    """Name a newer state of the caller, after it was stored; refused when it is not newer."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 21

    number: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class EndSession(Request):
    """Give a confirmation up that opens a key again and again."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 22
    repeats: ClassVar[bool] = True

    confirmation: bytes


@dataclass(frozen=True, slots=True)
class WalletKeys(Message):
    """Answer to GetWalletKeys: public keys, which show everything and cannot spend."""

    fingerprint: str
    master: str
    "Extended public key of the seed itself."
    xpubs: tuple[str, ...]
    "In the order of `primegap.bitcoin.exports.keys.Slot`."


@dataclass(frozen=True, slots=True)
class GetWalletKeys(Request):
    """The public keys of an account at all paths that other wallets know (airgap.md section 7)."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 23
    reply: ClassVar[type[Message]] = WalletKeys
    repeats: ClassVar[bool] = True

    network: str
    account: int


@dataclass(frozen=True, slots=True)
class CardBackup(Message):
    """Answer to MakeCardBackup."""

    archive: bytes = field(repr=False)
    "Encrypted: may stand on a card that everybody reads."
    code: str = field(repr=False)
    "Opens it; for the one screen that shows it."


@dataclass(frozen=True, slots=True)
class MakeCardBackup(Request):
    """Encrypt the seed for a card, against the PIN (airgap.md section 14).

    A wrong PIN uses up an attempt and is answered with FAILED.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 24
    reply: ClassVar[type[Message]] = CardBackup

    pin: str = field(repr=False)
    network: str
    "Whose form the keys have that stand beside the seed."


@dataclass(frozen=True, slots=True)
class SeedBegun(Message):
    """Answer to RestoreCardBackup and ImportSeed."""

    fingerprint: str
    "Of the master key, 8 hex digits."


@dataclass(frozen=True, slots=True)
class RestoreCardBackup(Request):
    """Open a backup and keep its seed in memory until CommitSeed."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 25
    reply: ClassVar[type[Message]] = SeedBegun

    archive: bytes = field(repr=False)
    "Untrusted."
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImportSeed(Request):
    """Keep a seed that the person brought in memory until CommitSeed."""

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 26
    reply: ClassVar[type[Message]] = SeedBegun

    entropy: bytes = field(repr=False)
    "16 or 32 bytes."


@dataclass(frozen=True, slots=True)
class SupplyChainWords(Message):
    """Answer to AnswerSupplyChain."""

    words: tuple[str, ...]
    "Four, which the person compares with what the server says."


@dataclass(frozen=True, slots=True)
class AnswerSupplyChain(Request):
    """Answer a plain question of the server that knows which devices were made (airgap.md 15).

    Refused unless the server signed it. NOT_FOUND on a device that was never made known to one.
    """

    server: ClassVar[str] = SERVER
    message_id: ClassVar[int] = 27
    reply: ClassVar[type[Message]] = SupplyChainWords

    question: str
    "`hexid hexsignature`. Untrusted."
