"""What stands in a backup on a card, and the code that opens it (airgap.md section 14).

Pure, and secret: a backup holds the seed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.airgap.errors import ArchiveError, LocalAirgapError
from primegap.airgap.sevenzip import read_archive_untrusted, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILE_NAME: Final = "passport-backup.txt"
MAX_TEXT_BYTES: Final = 10_000
SECRET_BYTES: Final = 72
CODE_DIGITS: Final = 20
ENTROPY_BYTES: Final = (16, 32)
_GROUP: Final = 4
_MARKER: Final = {16: 0x80, 32: 0x82}
_END: Final = "# EOF"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup as it was read."""

    entropy: bytes = field(repr=False)
    "Of the seed words, 16 or 32 bytes."
    words: str = field(repr=False)
    "As they stand there, one blank between; empty when they do not."
    settings: Mapping[str, Any] = field(repr=False)
    "Values behind `setting.`, as another device kept them."


def padded_secret(entropy: bytes) -> bytes:
    """Return a seed as the reference device keeps it: a mark, the entropy, zeros (section 12)."""
    if len(entropy) not in ENTROPY_BYTES:
        raise LocalAirgapError("entropy has 16 or 32 bytes")
    return (bytes((_MARKER[len(entropy)],)) + entropy).ljust(SECRET_BYTES, b"\0")


def backup_code(device_hash: bytes, entropy: bytes) -> str:
    """Return the code of a seed on a device, always the same: `dddd-dddd-dddd-dddd-dddd`."""
    digest = hashlib.sha256(device_hash + padded_secret(entropy)).digest()
    digits = ""
    for group in range(CODE_DIGITS // _GROUP):
        number = int.from_bytes(digest[4 * group : 4 * group + 4], "big")
        for _ in range(_GROUP):
            number, digit = divmod(number, 10)
            digits = str(digit) + digits
    return format_code(digits)


def format_code(digits: str) -> str:
    """Return twenty digits in groups of four, as the code is used."""
    return "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))


def write_backup(
    entropy: bytes,
    code: str,
    *,
    words: str,
    chain: str,
    fingerprint: str,
    xprv: str,
    xpub: str,
    version: str,
    settings: Mapping[str, Any],
    rng: Callable[[int], bytes],
) -> bytes:
    """Return the archive.

    Args:
        entropy: of the seed words.
        code: `backup_code`.
        words: the seed words with blanks between.
        chain: `BTC` or `TBTC`.
        fingerprint: of the master key, 8 hex digits.
        xprv: the master key.
        xpub: its public side.
        version: of the device's software, for people.
        settings: what else is to be restored; anything that JSON holds.
        rng: random bytes.

    Raises:
        LocalAirgapError: it is more than a backup holds.
    """
    raw = padded_secret(entropy).hex().rstrip("0")
    values = {
        "mnemonic": words,
        "chain": chain,
        "xfp": fingerprint.upper(),
        "xprv": xprv,
        "xpub": xpub,
        "raw_secret": raw,
        "fw_version": version,
        **{f"setting.{name}": value for name, value in sorted(settings.items())},
    }
    lines = ["# Backup of a signing device. It holds the seed: whoever has it can spend.", ""]
    lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    text = "\n".join([*lines, "", _END, ""]).encode()
    if len(text) > MAX_TEXT_BYTES:
        raise LocalAirgapError("more than a backup holds")
    return write_archive(FILE_NAME, text, code, rng=rng)


def read_backup_untrusted(archive: bytes, code: str) -> Backup:
    """Return what a backup holds.

    Raises:
        ArchiveError: it is no backup, is damaged, or is of a kind of seed that has no words.
        ArchiveCodeError: it does not open with this code.
    """
    content = read_archive_untrusted(archive, code).content
    if len(content) > MAX_TEXT_BYTES:
        raise ArchiveError("more than a backup holds")
    try:
        lines = content.decode().splitlines()
        values: dict[str, Any] = {}
        for line in lines:
            name, equals, value = line.partition(" = ")
            if equals and not line.startswith("#"):
                if name in values:
                    raise ArchiveError("a value stands there twice")
                values[name.strip()] = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ArchiveError("the text of the backup is damaged") from error
    if _END not in (line.strip() for line in lines):
        raise ArchiveError("the text of the backup ends early")
    words = values.get("mnemonic", "")
    if not isinstance(words, str):
        raise ArchiveError("the text of the backup is damaged")
    return Backup(
        _entropy(values.get("raw_secret")),
        " ".join(words.lower().split()),
        {
            name.removeprefix("setting."): value
            for name, value in values.items()
            if name.startswith("setting.")
        },
    )


def _entropy(raw: object) -> bytes:
    if not isinstance(raw, str) or len(raw) > 2 * SECRET_BYTES:
        raise ArchiveError("no seed in the backup")
    try:
        secret = bytes.fromhex(raw + "0" * (len(raw) % 2)).ljust(SECRET_BYTES, b"\0")
    except ValueError as error:
        raise ArchiveError("no seed in the backup") from error
    for size, marker in _MARKER.items():
        if secret[0] == marker and not any(secret[1 + size :]):
            return secret[1 : 1 + size]
    raise ArchiveError("a kind of seed that has no words")
