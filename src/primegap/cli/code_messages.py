"""Messages for `primegap ur`, `bbqr` and `qr`: taken from files and pictures, shown to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

import click

from primegap.cli.output import emit, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from primegap.airgap import Animation, CodeReader, Density

MAX_INPUT_BYTES: Final = 4 << 20
"What no series of codes can hold."
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".gif")


class CodeInputError(Exception):
    """What was given on the command line or in a file cannot be used."""

    code = "code-input"
    hint = "Give a PSBT, a text or CBOR as the help of this command says."


class IncompleteError(Exception):
    """The codes do not make a whole message."""

    code = "code-incomplete"
    hint = "Codes are missing. Give all of them, in any order."


# -- reading what to encode -----------------------------------------------------------------------


def content_of(source: BinaryIO) -> bytes:
    """Return what a file holds; it must be something, and not too much."""
    data = source.read(MAX_INPUT_BYTES + 1)
    if not data:
        raise CodeInputError("there is nothing to encode")
    if len(data) > MAX_INPUT_BYTES:
        raise CodeInputError(f"more than {MAX_INPUT_BYTES} bytes")
    return data


def psbt_in(data: bytes) -> bytes | None:
    """Return the binary PSBT in a file that holds one, as bytes, hex or base64."""
    from primegap.airgap.dialect import psbt_from_text
    from primegap.airgap.ur.payload import PSBT_MAGIC

    if data.startswith(PSBT_MAGIC):
        return data
    found = psbt_from_text(data.decode("latin-1"))
    return None if found is None else found[1]


def animation_of(data: bytes, ur_type: str, density: Density) -> Animation:
    """Return the codes of a file's content as a UR of some type."""
    from primegap.airgap import PSBT_UR_TYPES, Animation, Ur, bytes_to_ur, psbt_to_ur
    from primegap.airgap.ur.registry import Generation, descriptor_from_text, descriptor_to_ur

    psbt = psbt_in(data)
    if ur_type == "auto":
        ur_type = "bytes" if psbt is None else "crypto-psbt"
    if ur_type == "bytes":
        ur = bytes_to_ur(data if psbt is None else psbt)
    elif ur_type in PSBT_UR_TYPES:
        if psbt is None:
            raise CodeInputError("this is not a PSBT")
        ur = psbt_to_ur(psbt, ur_type)
    elif ur_type in {"crypto-output", "output-descriptor"}:
        descriptor = descriptor_from_text(data.decode("ascii", "replace"))
        ur = descriptor_to_ur(descriptor, Generation.of(ur_type))
    else:
        ur = Ur(ur_type, data)
    return Animation.of_ur(ur, density)


# -- showing a message that was read --------------------------------------------------------------


def present(reader: CodeReader, output: Path | None, *, as_json: bool) -> None:
    """Print what was read, or write it into a file: a PSBT in base64, text as it is."""
    import base64

    from primegap.airgap.ur.payload import PSBT_MAGIC

    received = reader.result
    progress = reader.progress
    if received is None:
        missing = progress.needed - progress.rank
        if not progress.needed:
            raise reader.last_error or IncompleteError("no code that can be read")
        raise IncompleteError(f"{missing} of {progress.needed} codes are missing")
    content = received.content
    meaning = _meaning(str(received.dialect), content)
    if output is not None:
        output.write_bytes(content)
        say(f"{received.dialect}: {len(content)} bytes in {output}")
    elif not as_json:
        if meaning is not None:
            click.echo(meaning)
        elif content.startswith(PSBT_MAGIC) or not is_text(content):
            click.echo(base64.b64encode(content).decode())
        else:
            click.echo(content.decode())
    if as_json:
        value = {
            "dialect": str(received.dialect),
            "bytes": len(content),
            "codes": progress.frames,
            "content": base64.b64encode(content).decode(),
        }
        emit(value | ({} if meaning is None else {"meaning": meaning}), "", as_json=True)


def is_text(content: bytes) -> bool:
    """Tell whether some bytes are text that a terminal may show."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def _meaning(dialect: str, content: bytes) -> str | None:
    """Return what a typed UR says, for the types that have a text; no secrets."""
    from primegap.airgap import Ur
    from primegap.airgap.ur import registry

    container, _, ur_type = dialect.partition(":")
    if container != "ur" or ur_type in {"bytes", "psbt", "crypto-psbt"}:
        return None
    ur = Ur(ur_type, content)
    if ur_type in {"crypto-output", "output-descriptor"}:
        return str(registry.descriptor_from_ur(ur))
    if ur_type in {"crypto-account", "account-descriptor"}:
        account = registry.account_from_ur(ur)
        return "\n".join(str(descriptor) for descriptor in account.descriptors)
    if ur_type in {"crypto-hdkey", "hdkey"}:
        return registry.hdkey_from_ur(ur).expression()
    return None


def read_lines(source: BinaryIO, expect: str) -> CodeReader:
    """Take the texts of codes, a line each, until they make a message."""
    from primegap.airgap import CodeReader, Expect

    reader = CodeReader(Expect(expect))
    for line in source:
        text = line.strip()
        if not text:
            continue
        reader.receive(text.decode("utf-8", "replace"), text)
        if reader.result is not None:
            break
    return reader


def read_pictures(pictures: tuple[Path, ...], seen: Callable[[str, bytes], bool]) -> int:
    """Give every code in some pictures and folders to `seen` until it is content."""
    from primegap.airgap.qr import scan_animation

    count = 0
    files = [
        file
        for path in pictures
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if file.suffix.lower() in PICTURE_SUFFIXES or not path.is_dir()
    ]
    for file in files:
        for codes in scan_animation(file.read_bytes()):
            count += 1
            for code in codes:
                if seen(code.text, code.raw):
                    return count
    return count
