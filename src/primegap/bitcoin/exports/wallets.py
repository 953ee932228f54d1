"""Which wallet reads which format, and under which name it looks for it (airgap.md section 7.2)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.errors import LocalError
from primegap.bitcoin.exports import formats
from primegap.bitcoin.exports.keys import Slot

if TYPE_CHECKING:
    from primegap.bitcoin.exports.formats import DeviceIdentity
    from primegap.bitcoin.exports.keys import ExportKeys


class Format(enum.Enum):
    """How a wallet is told."""

    GENERIC = "generic"
    MULTISIG = "multisig"
    ELECTRUM_HARDWARE = "electrum-hardware"
    ELECTRUM = "electrum"
    COMPANION = "companion"
    VAULT = "vault"
    BITCOIN_CORE = "bitcoin-core"
    CASA = "casa"
    "The master key: as a UR of type `hdkey`, in a file as the public summary."
    DESCRIPTORS = "descriptors"
    "One descriptor a line; as a UR of type `crypto-account`."


class Code(enum.Enum):
    """How it stands in a QR code."""

    UR_BYTES = "ur:bytes"
    PLAIN = "plain"
    HDKEY = "ur:hdkey"
    ACCOUNT = "ur:crypto-account"


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet and what it reads."""

    id: str
    "Stable name, and the middle of its file names."
    title: str
    single: Format | None
    multisig: Format | None
    code: Code | None
    "None: it takes files only."
    file: bool
    "It takes files."
    suffix: str = "json"
    versioned: bool = False
    "It wants to know the version of the device's software."
    slots: tuple[Slot, ...] = (Slot.P2WPKH,)
    "Kinds of account among which the person chooses, where the format holds just one."


def _generic(name: str, title: str, *, versioned: bool = False) -> Wallet:
    form = (Format.GENERIC, Format.MULTISIG)
    return Wallet(name, title, *form, Code.UR_BYTES, file=True, versioned=versioned)


WALLETS: Final = (
    Wallet("envoy", "Envoy", Format.COMPANION, None, Code.UR_BYTES, file=False),
    _generic("sparrow", "Sparrow"),
    _generic("nunchuk", "Nunchuk"),
    Wallet(
        "bluewallet",
        "BlueWallet",
        Format.ELECTRUM_HARDWARE,
        Format.MULTISIG,
        Code.UR_BYTES,
        file=True,
    ),
    Wallet(
        "electrum",
        "Electrum",
        Format.ELECTRUM,
        None,
        None,
        file=True,
        slots=(Slot.P2WPKH, Slot.P2SH_P2WPKH, Slot.P2PKH),
    ),
    Wallet(
        "specter", "Specter", Format.ELECTRUM_HARDWARE, Format.MULTISIG, Code.UR_BYTES, file=True
    ),
    Wallet(
        "bitcoin-core", "Bitcoin Core", Format.BITCOIN_CORE, None, None, file=True, suffix="txt"
    ),
    _generic("keeper", "Bitcoin Keeper"),
    Wallet("btcpay", "BTCPay", Format.VAULT, None, Code.PLAIN, file=True),
    Wallet("casa", "Casa", None, Format.CASA, Code.HDKEY, file=True, suffix="txt"),
    Wallet("coinbits", "Coinbits", Format.COMPANION, None, Code.UR_BYTES, file=True),
    _generic("fullynoded", "Fully Noded"),
    Wallet("simple", "Simple Bitcoin Wallet", Format.GENERIC, None, Code.UR_BYTES, file=False),
    _generic("theya", "Theya", versioned=True),
    Wallet("zeus", "Zeus", Format.ELECTRUM_HARDWARE, None, Code.UR_BYTES, file=False),
    Wallet(
        "descriptors",
        "Any other wallet",
        Format.DESCRIPTORS,
        None,
        Code.ACCOUNT,
        file=True,
        suffix="txt",
    ),
)
BY_ID: Final = {wallet.id: wallet for wallet in WALLETS}


@dataclass(frozen=True, slots=True)
class Export:
    """What leaves for a wallet."""

    wallet: Wallet
    text: str = field(repr=False)
    "Content of the file, and of the code where that is text."
    file_name: str
    "Without the number that tells several apart."


def export_wallet(
    wallet: Wallet,
    keys: ExportKeys,
    device: DeviceIdentity,
    *,
    account_name: str,
    multisig: bool = False,
    slot: Slot = Slot.P2WPKH,
) -> Export:
    """Return what a wallet is to be told about an account.

    Args:
        wallet: one of `WALLETS`.
        keys: of the account.
        device: what some formats say about the device.
        account_name: what some formats call the account.
        multisig: the form for a wallet of several keys.
        slot: kind of account, one of `wallet.slots`.

    Raises:
        LocalError: the wallet has no such form.
    """
    form = wallet.multisig if multisig else wallet.single
    if form is None or slot not in wallet.slots:
        raise LocalError("the wallet has no such form")
    version = device.version if wallet.versioned else ""
    match form:
        case Format.GENERIC:
            text = formats.generic_json(keys, version=version)
        case Format.MULTISIG:
            text = formats.multisig_json(keys, version=version)
        case Format.ELECTRUM_HARDWARE:
            text = formats.electrum_hardware_json(keys)
        case Format.ELECTRUM:
            text = formats.electrum_watch_json(keys, slot)
        case Format.COMPANION:
            text = formats.companion_json(keys, account_name, device)
        case Format.VAULT:
            text = formats.vault_json(keys, device)
        case Format.BITCOIN_CORE:
            text = formats.bitcoin_core_text(keys)
        case Format.CASA:
            text = formats.public_summary(keys)
        case _:
            text = formats.descriptor_text(keys)
    kind = "-multisig" if multisig and form is Format.MULTISIG else ""
    return Export(wallet, text, f"{keys.fingerprint}-{wallet.id}{kind}.{wallet.suffix}")
