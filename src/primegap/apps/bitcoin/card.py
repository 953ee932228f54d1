"""Payments in files: taken from the card, signed, and written beside (airgap.md section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.airgap.card_names import (
    PSBT_SUFFIX,
    TRANSACTIONS,
    PsbtFile,
    base_of_untrusted,
)
from primegap.apps.bitcoin import screens
from primegap.bitcoin.errors import BitcoinError
from primegap.keyos.card import (
    chosen_file,
    find_on_card,
    read_from_card,
    save_to_card,
    shred_on_card,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from primegap.keyos.client import AppScreen, Process

SIGNED: Final = "-signed"
PART: Final = "-part"
FROM_QR: Final = "QR"
"What a payment that came as a code is called."


async def sign_from_card(
    process: Process, screen: AppScreen, sign: Callable[[bytes], Awaitable[bytes]]
) -> None:
    """Have a file chosen, sign it, write the answer, and remove what was asked.

    The request goes only once the answer stands on the card: cut in between, both are there.

    Args:
        process: of this app.
        screen: its place on the trusted screen.
        sign: reviews, asks and signs; returns the signed PSBT.

    Raises:
        NotAPsbtError: the file is something else.
        RequestError: the card cannot be used.
        BitcoinError, KeyosError: what `sign` raises.
    """
    files = await find_on_card(process, (TRANSACTIONS, ""), PSBT_SUFFIX, without=(SIGNED,))
    if not files:
        await screen.present(
            screens.problem("No payment found", "The card holds no file that ends in .psbt.")
        )
        return
    choice = await screen.present(screens.choose_file("Sign from the card", files))
    file = chosen_file(files, choice)
    if file is None:
        return
    request = PsbtFile.parse_untrusted(await read_from_card(process, file.path))
    signed = await sign(request.psbt)
    base = base_of_untrusted(file.name, PART)
    paths = await write_signed(process, base, signed, request.written)
    await shred_on_card(process, file.path)
    await screen.present(screens.saved(paths))


async def write_signed(
    process: Process, base: str, signed: bytes, write: Callable[[bytes], bytes]
) -> list[str]:
    """Write a signed payment to the card; with the transaction to broadcast, if it is complete.

    Args:
        process: of this app.
        base: what its files are called.
        signed: the PSBT.
        write: gives the PSBT the form of its file.

    Returns:
        The paths of the files.

    Raises:
        RequestError: the card cannot be written.
        CardNamesUsedUpError: no number is left.
    """
    from primegap.bitcoin.finish import finalise

    try:
        final = finalise(signed)
    except BitcoinError:  # signatures of others are missing
        name = f"{base}{PART}{PSBT_SUFFIX}"
        return [await save_to_card(process, TRANSACTIONS, name, write(signed))]
    name = f"{base}{SIGNED}{PSBT_SUFFIX}"
    first = await save_to_card(process, TRANSACTIONS, name, write(signed))
    transaction = final.raw.hex().encode() + b"\r\n"
    second = await save_to_card(process, TRANSACTIONS, f"{base}-final.txn", transaction)
    return [first, second]


async def save_from_qr(process: Process, signed: bytes) -> list[str]:
    """Write a payment that came as a code: `QR-signed-001.psbt`, in hex."""
    return await write_signed(process, FROM_QR, signed, lambda psbt: psbt.hex().encode() + b"\r\n")
