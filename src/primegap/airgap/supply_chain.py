"""The question of a server that knows which devices were made, and its answer (airgap.md 2.3, 15).

Pure. The server signs a random number; the device answers with four words that only who knows the
secret of its batch can tell, so that the person can compare them. A device that answered whatever
it is asked would give that secret's use to everybody: it answers only what the server signed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import ChallengeRefusedError, LocalAirgapError, RemoteAirgapError
from primegap.airgap.firmware_file import verify_digest
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.value import Tagged, encode_value, parse_value_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.airgap.ur.value import Value

REQUEST_TYPES: Final = ("crypto-request", "x-passport-request")
RESPONSE_TYPE: Final = "crypto-response"
WORD_COUNT: Final = 4
_WORD_BITS: Final = 11
_ID: Final = 37
_CHALLENGE, _MODEL, _VERSION = 710, 720, 770
_SOLUTION, _MODEL_ANSWER, _VERSION_ANSWER = 711, 721, 771
_HEX_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEX_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question that the server signed."""

    number: bytes
    "32 bytes, never the same again."
    transaction: bytes
    "16 bytes that go back with the answer; empty when it came as a plain code."


def parse_challenge_untrusted(text: str, server_key: bytes) -> Challenge:
    """Read the plain form, `hexid hexsignature`.

    Args:
        text: content of the code.
        server_key: 64 bytes, x and y.

    Raises:
        ChallengeRefusedError: malformed, or not signed by this server.
    """
    number, _, signature = text.strip().partition(" ")
    return _checked(number, signature, b"", server_key)


def parse_request_untrusted(ur: Ur, server_key: bytes) -> Challenge:
    """Read the form of the companion app, a `crypto-request`.

    Raises:
        ChallengeRefusedError: malformed, or not signed by this server.
    """
    if ur.ur_type not in REQUEST_TYPES:
        raise ChallengeRefusedError("a UR of another type")
    try:
        value = parse_value_untrusted(ur.cbor)
    except RemoteAirgapError as error:
        raise ChallengeRefusedError("malformed") from error
    found: dict[int, Value] = {}
    for item in value.values() if isinstance(value, dict) else ():
        if not isinstance(item, Tagged) or item.tag not in {_ID, _CHALLENGE, _MODEL, _VERSION}:
            raise ChallengeRefusedError("a part that is not known")
        found[item.tag] = item.value
    transaction, challenge = found.get(_ID), found.get(_CHALLENGE)
    if not isinstance(transaction, bytes) or len(transaction) != 16:
        raise ChallengeRefusedError("no transaction id")
    if not isinstance(challenge, dict):
        raise ChallengeRefusedError("no challenge")
    number, signature = challenge.get(1), challenge.get(2)
    if not isinstance(number, str) or not isinstance(signature, str):
        raise ChallengeRefusedError("no challenge")
    return _checked(number, signature, transaction, server_key)


def _checked(number: str, signature: str, transaction: bytes, server_key: bytes) -> Challenge:
    number, signature = number.lower(), signature.lower()
    if not _HEX_ID.fullmatch(number) or not _HEX_SIGNATURE.fullmatch(signature):
        raise ChallengeRefusedError("malformed")
    digest = hashlib.sha256(number.encode()).digest()
    if not verify_digest(server_key, bytes.fromhex(signature), digest):
        raise ChallengeRefusedError("not signed by the server")
    return Challenge(bytes.fromhex(number), transaction)


@dataclass(frozen=True, slots=True)
class Answer:
    """The four words, as numbers in the list of seed words."""

    numbers: tuple[int, ...] = field(repr=False)


def answer_challenge(challenge: Challenge, batch_secret: bytes) -> Answer:
    """Return the answer: HMAC-SHA-256, of which the first 44 bits select four words."""
    digest = hmac.digest(batch_secret, challenge.number, "sha256")
    return Answer(word_numbers(digest))


def word_numbers(response: bytes) -> tuple[int, ...]:
    """Return the numbers of four words in the first 44 bits."""
    bits = int.from_bytes(response[:6], "big") >> 4
    mask = (1 << _WORD_BITS) - 1
    return tuple(
        bits >> _WORD_BITS * (WORD_COUNT - 1 - place) & mask for place in range(WORD_COUNT)
    )


def response_ur(challenge: Challenge, words: Sequence[str], *, model: int, version: str) -> Ur:
    """Return the answer for the companion app; it reads the parts by their place.

    Args:
        challenge: with a transaction id.
        words: the four words.
        model: 1 or 2, the generations of the reference device.
        version: of the device's software.
    """
    if len(challenge.transaction) != 16 or len(words) != WORD_COUNT:
        raise LocalAirgapError("no transaction to answer, or not four words")
    solution: Value = dict(enumerate(words, 1))
    value: Value = {
        1: Tagged(_ID, challenge.transaction),
        2: Tagged(_SOLUTION, solution),
        3: Tagged(_MODEL_ANSWER, model),
        4: Tagged(_VERSION_ANSWER, version),
    }
    return Ur(RESPONSE_TYPE, encode_value(value))
