"""`primegap app key`: the keys that a publisher signs apps with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from primegap.cli.output import Settings, command, emit, say

if TYPE_CHECKING:
    from primegap.keyos.bundle import Publisher, SigningKeys

MIN_PASSPHRASE: Final = 8
MAX_PASSPHRASE: Final = 1024

passphrase_option = click.option(
    "--passphrase-stdin",
    is_flag=True,
    help="Read the passphrase from standard input instead of asking for it.",
)


def key_folder(settings: Settings) -> Path:
    """Return where the publisher's key is unless a command says otherwise."""
    return settings.data_dir / "publisher"


def open_keys(folder: Path, *, from_stdin: bool) -> SigningKeys:
    """Return the keys in a folder, asking for the passphrase if they have one.

    Raises:
        KeyFileError: there are none, or they do not open.
    """
    from primegap.developer.keys import load_keys, needs_passphrase

    passphrase = None
    if needs_passphrase(folder):
        passphrase = _passphrase("Passphrase of the publisher's key", from_stdin=from_stdin)
    return load_keys(folder, passphrase)


def _passphrase(prompt: str, *, from_stdin: bool, twice: bool = False) -> bytes:
    if from_stdin:
        return sys.stdin.buffer.readline(MAX_PASSPHRASE + 1).rstrip(b"\r\n")
    typed: str = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    return typed.encode()


@click.group()
def key() -> None:
    """Make and show the keys that a publisher signs apps with."""


@key.command("new")
@click.option("--name", required=True, help="What you want to be called, at most 40 characters.")
@click.option("--years", type=click.IntRange(1, 20), default=5, show_default=True)
@click.option("--key", "folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--no-passphrase", is_flag=True, help="Leave the key unencrypted: whoever copies it signs."
)
@passphrase_option
@click.pass_obj
@command
def key_new(
    settings: Settings,
    *,
    name: str,
    years: int,
    folder: Path | None,
    no_passphrase: bool,
    passphrase_stdin: bool,
    as_json: bool,
) -> None:
    """Draw a new publisher's key: secp256k1 and ML-DSA-65, with a certificate for both."""
    from primegap.developer.errors import PassphraseError
    from primegap.developer.keys import make_keys
    from primegap.keyos.bundle import parse_certificate_untrusted

    passphrase = None
    if not no_passphrase:
        passphrase = _passphrase("New passphrase", from_stdin=passphrase_stdin, twice=True)
        if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
            raise PassphraseError(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    target = folder or key_folder(settings)
    made = make_keys(target, name, years=years, passphrase=passphrase)
    _emit(target, parse_certificate_untrusted(made.certificate), as_json=as_json)
    say("Keep a copy of this folder in a safe place: without it, your apps cannot be updated.")


@key.command("show")
@click.option("--key", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
@command
def key_show(settings: Settings, *, folder: Path | None, as_json: bool) -> None:
    """Print the publisher's fingerprint. Publish it where people trust you."""
    from primegap.developer.keys import load_certificate
    from primegap.keyos.bundle import parse_certificate_untrusted

    target = folder or key_folder(settings)
    _emit(target, parse_certificate_untrusted(load_certificate(target)), as_json=as_json)


def _emit(folder: Path, publisher: Publisher, *, as_json: bool) -> None:
    import datetime

    end = datetime.datetime.fromtimestamp(publisher.not_after_s, datetime.UTC).date()
    fingerprint = publisher.fingerprint.hex()
    emit(
        {
            "folder": str(folder),
            "name": publisher.name,
            "fingerprint": fingerprint,
            "not_after": end.isoformat(),
        },
        f"Publisher:   {publisher.name}\nFingerprint: {fingerprint}\nValid until: {end}\n"
        f"Folder:      {folder}",
        as_json=as_json,
    )
