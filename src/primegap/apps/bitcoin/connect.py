"""Telling another wallet about an account: by code or by card (airgap.md section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.airgap.card_names import WALLET_CONFIGS
from primegap.apps.bitcoin import screens
from primegap.apps.bitcoin.showing import show_code
from primegap.bitcoin.exports.keys import ExportKeys, Slot
from primegap.bitcoin.exports.wallets import BY_ID, Code, Export, export_wallet
from primegap.keyos.api import security
from primegap.keyos.card import save_to_card

if TYPE_CHECKING:
    from primegap.airgap import Animation, Density, Ur
    from primegap.apps.bitcoin.store import Memory
    from primegap.bitcoin.exports.formats import DeviceIdentity
    from primegap.bitcoin.exports.wallets import Wallet
    from primegap.bitcoin.networks import Network
    from primegap.keyos.client import AppScreen, Process

CARD: Final = "card"
CODE: Final = "code"


async def wallet_keys(process: Process, network: Network, account: int) -> ExportKeys:
    """Return the public keys that wallets know.

    Raises:
        RequestError: the device is locked.
    """
    request = security.GetWalletKeys(network.value, account)
    found = await process.call(request, security.WalletKeys)
    xpubs = dict(zip(Slot, found.xpubs, strict=True))
    return ExportKeys(network, account, found.fingerprint, found.master, xpubs)


async def connect_wallet(
    process: Process, screen: AppScreen, memory: Memory, keys: ExportKeys, name: str
) -> Wallet | None:
    """Have a wallet chosen and tell it; return it when it was told.

    Raises:
        RequestError: the card cannot be used.
        AirgapError: it fits no code, or the card has no name left.
    """
    choice = await screen.present(screens.choose_wallet())
    wallet = BY_ID.get(choice)
    if wallet is None:
        return None
    multisig = wallet.single is None
    if wallet.single is not None and wallet.multisig is not None:
        match await screen.present(screens.single_or_multisig(wallet.title)):
            case screens.MULTISIG:
                multisig = True
            case screens.SINGLE:
                pass
            case _:
                return None
    slot = wallet.slots[0]
    if len(wallet.slots) > 1 and not multisig:
        picked = await screen.present(screens.choose_kind(wallet.slots))
        if picked not in {slot.value for slot in wallet.slots}:
            return None
        slot = Slot(picked)
    device = await _identity(process)
    export = export_wallet(wallet, keys, device, account_name=name, multisig=multisig, slot=slot)
    medium = CARD if wallet.code is None else CODE
    if wallet.code is not None and wallet.file:
        medium = await screen.present(screens.choose_medium(wallet.title))
    if medium == CARD:
        content = export.text.encode()
        path = await save_to_card(process, WALLET_CONFIGS, export.file_name, content)
        await screen.present(screens.saved([path]))
        return wallet
    if medium != CODE:
        return None
    title = f"Scan with {wallet.title}"
    await show_code(lambda density: animation_of(export, keys, density), memory, screen, title)
    return wallet


async def _identity(process: Process) -> DeviceIdentity:
    from primegap.bitcoin.exports.formats import DeviceIdentity

    facts = await process.call(security.GetDeviceFacts(), security.DeviceFacts)
    return DeviceIdentity(process.config["version"], facts.device_id.upper())


def animation_of(export: Export, keys: ExportKeys, density: Density) -> Animation:
    """Return what a wallet is told as the symbols that it reads.

    Raises:
        TooLargeForQrError: it needs denser ones.
    """
    from primegap.airgap import Animation, bytes_to_ur

    match export.wallet.code:
        case Code.PLAIN:
            return Animation.of_text(export.text)
        case Code.HDKEY:
            return Animation.of_ur(_master_ur(keys), density)
        case Code.ACCOUNT:
            return Animation.of_ur(_account_ur(export.text, keys), density)
        case _:
            return Animation.of_ur(bytes_to_ur(export.text.encode()), density)


def _master_ur(keys: ExportKeys) -> Ur:
    """Return the master key as Casa reads it (airgap.md section 2.2)."""
    from primegap.airgap.ur.registry import CoinInfo, Generation, HdKey, Keypath, hdkey_to_ur
    from primegap.bitcoin.xpub import parse_xpub_untrusted

    raw = parse_xpub_untrusted(keys.master_xpub, keys.network).raw
    key = HdKey(
        key=raw[45:],
        chain_code=raw[13:45],
        coin=CoinInfo(network=int(keys.network.is_test)),
        origin=Keypath(fingerprint=int(keys.fingerprint, 16), depth=0),
    )
    return hdkey_to_ur(key, Generation.V2)


def _account_ur(text: str, keys: ExportKeys) -> Ur:
    from primegap.airgap.ur.registry import (
        AccountDescriptors,
        account_to_ur,
        descriptor_from_text,
    )

    # The first generation knows no `<0;1>`: a key without steps below it stands for both chains.
    lines = [line.partition("#")[0].replace("/<0;1>/*", "") for line in text.splitlines()]
    members = tuple(descriptor_from_text(line) for line in lines)
    return account_to_ur(AccountDescriptors(int(keys.fingerprint, 16), members))
