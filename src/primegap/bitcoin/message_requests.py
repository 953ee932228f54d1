"""Requests to sign a message, and answers, as texts (air-gap section 10).

Codes hold `signmessage {path} ascii:{message}`. Files hold the message on the first line and, if
they like, a path on the second and a kind of address on the third (health checks). Answers are the
signature alone, by code, or an armoured text, in a file. Of armour both templates are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from primegap.bitcoin.errors import RemoteError
from primegap.bitcoin.paths import parse_path_untrusted

MAX_REQUEST_BYTES: Final = 1024
MAX_ARMOUR_BYTES: Final = 32_768  # a full signature of a large script, and a message
_CODE: Final = re.compile(r"signmessage (m[0-9hH'/]*) ascii:(.*)", re.ASCII | re.DOTALL)
_BEGIN: Final = "-----BEGIN BITCOIN SIGNED MESSAGE-----"
_SIGNATURE: Final = re.compile(r"-----BEGIN (?:BITCOIN )?SIGNATURE-----", re.ASCII)
_END: Final = re.compile(r"-----END BITCOIN (?:SIGNED MESSAGE|SIGNATURE)-----", re.ASCII)
_LABELS: Final = frozenset({"p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2tr"})


class MessageRequestError(RemoteError):
    """A text is not a request to sign a message, or not an armoured message."""

    code = "message-request"
    hint = "This is not a request to sign a message."


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """A message, and the path of the key that is to sign it."""

    message: bytes
    path: tuple[int, ...] | None
    "From the master key; None to let the device choose."


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message with its address and signature."""

    message: bytes
    address: str
    signature: str

    def armoured(self) -> str:
        """Return it as a text file (section 10.2)."""
        message = self.message.decode("utf-8", "replace")
        lines = (
            _BEGIN,
            message,
            "-----BEGIN SIGNATURE-----",
            self.address,
            self.signature,
            "-----END BITCOIN SIGNED MESSAGE-----",
        )
        return "\n".join(lines) + "\n"


def parse_code_untrusted(text: str) -> MessageRequest:
    """Read the request of a code.

    Raises:
        MessageRequestError: it is something else.
        AccountFormatError: its path is none.
    """
    match = _CODE.fullmatch(text) if len(text) <= MAX_REQUEST_BYTES else None
    if match is None or not match[2].isascii():
        raise MessageRequestError("not a request")
    return MessageRequest(match[2].encode(), parse_path_untrusted(match[1]))


def parse_file_untrusted(data: bytes) -> MessageRequest:
    """Read the request of a file or a health check: message, path, kind of address.

    Raises:
        MessageRequestError: it is something else.
        AccountFormatError: its path is none.
    """
    if not 2 <= len(data) <= MAX_REQUEST_BYTES or not data.isascii():
        raise MessageRequestError("not a request")
    text = data.decode("ascii").replace("\r\n", "\n").removesuffix("\n")
    message, *rest = text.split("\n")
    if not message or len(rest) > 2 or (len(rest) == 2 and rest[1] not in _LABELS):
        raise MessageRequestError("not a request")
    path = parse_path_untrusted(rest[0]) if rest else None
    return MessageRequest(message.encode(), path)


def parse_armour_untrusted(text: str) -> SignedMessage:
    """Read an armoured message of either template.

    Raises:
        MessageRequestError: it is something else.
    """
    lines = text.replace("\r\n", "\n").strip().split("\n")
    if len(text) > MAX_ARMOUR_BYTES or lines[0] != _BEGIN or _END.fullmatch(lines[-1]) is None:
        raise MessageRequestError("not an armoured message")
    marks = [at for at, line in enumerate(lines) if _SIGNATURE.fullmatch(line)]
    if not marks or marks[-1] != len(lines) - 4:
        raise MessageRequestError("not an armoured message")
    message = "\n".join(lines[1 : marks[-1]])
    return SignedMessage(message.encode(), lines[-3].strip(), lines[-2].strip())
