"""`primegap message` and `primegap companion sign-message`: signed messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, BinaryIO

import click

from primegap.cli.networks import NETWORKS
from primegap.cli.output import command, emit, say

if TYPE_CHECKING:
    from primegap.bitcoin.message_requests import SignedMessage
    from primegap.cli.companion import Options


@click.group()
def message() -> None:
    """Signed messages: BIP-137 and BIP-322."""


@message.command()
@click.option("--network", type=click.Choice(NETWORKS), default="mainnet", show_default=True)
@click.option("--address", help="Who is said to have signed.")
@click.option("--signature", help="Base64, with the prefix of BIP-322 or without.")
@click.option("--text", help="The message.")
@click.argument("file", type=click.File("rb"), required=False)
@command
def verify(
    *,
    network: str,
    address: str | None,
    signature: str | None,
    text: str | None,
    file: BinaryIO | None,
    as_json: bool,
) -> None:
    """Verify a signed message; status 1 when it does not hold.

    Give an armoured FILE (`-` for standard input), or --address, --signature and --text.
    """
    from primegap.bitcoin.message_requests import (
        MAX_ARMOUR_BYTES,
        SignedMessage,
        parse_armour_untrusted,
    )
    from primegap.bitcoin.messages import verify_message
    from primegap.bitcoin.networks import Network

    if file is not None:
        data = file.read(MAX_ARMOUR_BYTES + 1)
        signed = parse_armour_untrusted(data.decode("utf-8", "replace"))
    elif address is not None and signature is not None and text is not None:
        signed = SignedMessage(text.encode(), address, signature)
    else:
        raise click.UsageError("Give a FILE, or --address, --signature and --text.")
    form = verify_message(signed.message, signed.address, signed.signature, Network(network))
    emit(
        {"valid": True, "form": form.value, "address": signed.address},
        f"Valid ({form.value}): signed by {signed.address}",
        as_json=as_json,
    )


@click.command("sign-message")
@click.argument("address")
@click.argument("text")
@click.option(
    "--form",
    type=click.Choice(["bip137", "bip322-simple", "bip322-full"]),
    help="Default: bip137, or bip322-simple for taproot addresses.",
)
@click.pass_obj
@command
def sign_message(
    options: Options, *, address: str, text: str, form: str | None, as_json: bool
) -> None:
    """Have the device sign TEXT with ADDRESS, which is one of the account's."""
    from primegap.cli.companion import opened

    async def run() -> SignedMessage:
        async with opened(options) as companion:
            say("Read the message on the device and sign it there.")
            return await companion.sign_message(address, text.encode(), form or "")

    signed = asyncio.run(run())
    emit(
        {"address": signed.address, "signature": signed.signature},
        signed.armoured().rstrip("\n"),
        as_json=as_json,
    )
