"""Pairing: the secret token, the invite handed over out of band, and the link a QR code shows.

Wire section 4.5 fixes token and invite; the text form of the invite is our own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NewType, Self

from primegap.quantumlink.codec import Reader
from primegap.quantumlink.errors import InvalidDataError, LocalError
from primegap.quantumlink.identity import MAX_NAME_BYTES, QID_SIZE, Qid, Rng
from primegap.quantumlink.secret import SecretBytes
from primegap.quantumlink.suite import Suite, suite_for_invite_version
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_SIZE: Final = 16
INVITE_SIZE: Final = 1 + QID_SIZE + TOKEN_SIZE

PairingId = NewType("PairingId", bytes)
"""Visible name of a token, 16 bytes, derived from it; sent in XX1 (wire 4.5)."""


class PairingToken(NeverSerialised):
    """The 16 secret bytes that both sides of a pairing know."""

    __slots__ = ("_pairing_id", "_secret")
    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __init__(self, token: bytes) -> None:
        if len(token) != TOKEN_SIZE:
            raise LocalError(f"a pairing token has {TOKEN_SIZE} bytes")
        self._secret = SecretBytes(token)
        digest = hashlib.sha256(b"ql-wire:pairing-id:v1" + token).digest()
        self._pairing_id = PairingId(digest[:16])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PairingToken) and self._secret == other._secret

    @classmethod
    def generate(cls, rng: Rng) -> Self:
        """Make a token from fresh randomness."""
        return cls(rng(TOKEN_SIZE))

    @property
    def pairing_id(self) -> PairingId:
        """The visible name of this token."""
        return self._pairing_id

    def reveal(self) -> bytes:
        """Return the 16 bytes, to be shown out of band only."""
        return self._secret.reveal()

    def derive_psk(self) -> bytes:
        """Return the 32-byte key that XX mixes in; it never travels."""
        return hashlib.sha256(b"ql-wire:pairing-psk:v1" + self._secret.reveal()).digest()


@dataclass(frozen=True, slots=True)
class Invite:
    """What the initiator of a pairing must have: 33 bytes handed over out of band.

    The version byte in front of them tells the suite.
    """

    suite: Suite
    qid: Qid
    "The responder's."
    token: PairingToken

    def encode(self) -> bytes:
        """Encode as version, QID, token. The result contains the secret token."""
        return bytes((self.suite.invite_version,)) + self.qid + self.token.reveal()

    @classmethod
    def parse_untrusted(cls, data: bytes) -> Self:
        """Read exactly 33 bytes.

        Raises:
            InvalidVersionError: no suite has this invite version.
            UnexpectedEofError: too short.
            InvalidDataError: too long.
        """
        reader = Reader(data)
        suite = suite_for_invite_version(reader.u8())
        invite = cls(suite, Qid(reader.take(QID_SIZE)), PairingToken(reader.take(TOKEN_SIZE)))
        if reader.remaining:
            raise InvalidDataError("bytes behind an invitation")
        return invite


LINK_SCHEME: Final = "primegap:pair?"
MAX_LINK_CHARS: Final = 1024
"A link with the longest name, every byte of it escaped, has 843; the rest is for later keys."

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f]{12}")
_KEY: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
_BASE32: Final = re.compile(r"[A-Z2-7]{53}")
_ESCAPED: Final = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class PairingLink:
    """The invite as a text for a QR code: `primegap:pair?i=…&p=…&n=…`."""

    invite: Invite
    bluetooth_address: bytes | None = None
    "Six bytes, most significant first, or None when the scanner has to look around."
    name: str | None = None
    "Name of the device that shows the code, to be shown while connecting."

    def encode(self) -> str:
        """Return the text. It contains the secret token.

        Raises:
            LocalError: the address has not six bytes, or the name is too long.
        """
        from urllib.parse import quote

        text = base64.b32encode(self.invite.encode()).decode().rstrip("=")
        parts = [f"i={text}"]
        if self.bluetooth_address is not None:
            if len(self.bluetooth_address) != 6:
                raise LocalError("a Bluetooth address has 6 bytes")
            parts.append(f"p={self.bluetooth_address.hex()}")
        if self.name is not None:
            if len(self.name.encode()) > MAX_NAME_BYTES:
                raise LocalError(f"a name holds at most {MAX_NAME_BYTES} bytes")
            parts.append(f"n={quote(self.name, safe='')}")
        return LINK_SCHEME + "&".join(parts)

    @classmethod
    def parse_untrusted(cls, text: str) -> Self:
        """Read a scanned text. Unknown keys are ignored, repeated keys are refused.

        Raises:
            InvalidVersionError: the invite is of a version that is not run here.
            InvalidDataError: not a pairing link.
        """
        if len(text) > MAX_LINK_CHARS or not text.startswith(LINK_SCHEME):
            raise InvalidDataError("not a pairing link")
        values: dict[str, str] = {}
        for key, value in _parse_query(text.removeprefix(LINK_SCHEME)):
            if key in values:
                raise InvalidDataError("a pairing link repeats a key")
            values[key] = value
        if "i" not in values:
            raise InvalidDataError("a pairing link lacks the invitation")
        address, name = values.get("p"), values.get("n")
        return cls(
            _parse_invite(values["i"]),
            None if address is None else _parse_address(address),
            None if name is None else _parse_name(name),
        )


def _parse_query(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&"):
        key, separator, value = part.partition("=")
        if not separator or not _KEY.fullmatch(key) or not _ESCAPED.fullmatch(value):
            raise InvalidDataError("a pairing link is malformed")
        yield key, value


def _parse_invite(text: str) -> Invite:
    if not _BASE32.fullmatch(text):
        raise InvalidDataError("the invitation is not 33 bytes in base32")
    data = base64.b32decode(text + "===")
    if base64.b32encode(data).decode().rstrip("=") != text:
        raise InvalidDataError("the invitation is not in canonical base32")  # spare bits were set
    return Invite.parse_untrusted(data)


def _parse_address(text: str) -> bytes:
    if not _ADDRESS.fullmatch(text):
        raise InvalidDataError("a Bluetooth address is 12 hexadecimal digits")
    return bytes.fromhex(text)


def _parse_name(text: str) -> str:
    from urllib.parse import unquote_to_bytes

    raw = unquote_to_bytes(text)
    if len(raw) > MAX_NAME_BYTES:
        raise InvalidDataError("the name in a pairing link is too long")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidDataError("the name in a pairing link is not text") from None
