"""Bytes as digits of any base, big endian; each leading zero byte is one leading zero digit.

Base58 and base43 are this with their alphabets. Time grows with the square of the length: callers
bound it. Pure.
"""

from __future__ import annotations


def encode_digits(data: bytes, alphabet: str) -> str:
    """Return `data` in the digits of `alphabet`."""
    digits: list[str] = []
    number = int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return alphabet[0] * zeros + "".join(reversed(digits))


def decode_digits(text: str, alphabet: str) -> bytes | None:
    """Return the bytes of `text`, or None when a character is not in `alphabet`."""
    number = 0
    for character in text:
        digit = alphabet.find(character)
        if digit < 0:
            return None
        number = number * len(alphabet) + digit
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
