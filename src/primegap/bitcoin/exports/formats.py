"""The formats in which wallets take public keys in, byte for byte (airgap.md section 7).

JSON is written as the reference writes it: keys in a fixed order, `", "` and `": "` between.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from primegap.bitcoin.descriptor_checksum import descriptor_checksum
from primegap.bitcoin.exports.keys import ExportKeys, Slot

_GENERIC: Final = (
    Slot.P2PKH,
    Slot.P2SH_P2WPKH,
    Slot.P2WPKH,
    Slot.P2SH_P2WSH,
    Slot.P2WSH,
    Slot.P2TR,
)
_CORE_RANGE: Final = 1000
_CORE_ADDRESSES: Final = 3
_SUMMARY_ADDRESSES: Final = 5
SOURCE: Final = "Passport"
"By this name wallets know the formats of this family of devices."


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What some formats say about the device."""

    version: str
    "Without a `v`."
    serial: str
    name: str = ""
    hardware: float = 1.2
    "1 or 1.2: the generations of the reference device."


def generic_json(keys: ExportKeys, *, version: str = "") -> str:
    """Return all kinds of accounts in one (7.3); `version` only for wallets that ask for it."""
    found: dict[str, Any] = {
        "chain": "TBTC" if keys.network.is_test else "BTC",
        "xpub": keys.master_xpub,
        "xfp": keys.xfp,
        "account": keys.account,
    }
    for slot in _GENERIC:
        entry = {
            "deriv": keys.path(slot),
            "xpub": keys.xpubs[slot],
            "xfp": keys.node_fingerprint(slot),
            "first": None if slot.is_multisig else keys.address(slot, 0),
            "name": slot.script_name,
        }
        if slot is not Slot.P2PKH:
            entry["_pub"] = keys.slip132(slot)
        found[slot.value] = entry
    if version:
        found["fw_version"] = version
    return json.dumps(found)


def multisig_json(keys: ExportKeys, *, version: str = "") -> str:
    """Return the keys for multisig (7.4)."""
    lines = []
    for name, slot in (
        ("p2sh", Slot.P2SH),
        ("p2wsh_p2sh", Slot.P2SH_P2WSH),
        ("p2wsh", Slot.P2WSH),
    ):
        lines.append(f'  "{name}_deriv": "{keys.path(slot)}"')
        lines.append(f'  "{name}": "{keys.slip132(slot)}"')
    if version:
        lines.append(f'  "fw_version": {json.dumps(version)}')
    lines.append(f'  "xfp": "{keys.xfp}"')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _label(keys: ExportKeys) -> str:
    account = f" Acct. #{keys.account}" if keys.account else ""
    return f"{SOURCE}{account} ({keys.xfp})"


def electrum_hardware_json(keys: ExportKeys) -> str:
    """Return the native segwit account as Electrum stores one of a hardware device (7.5)."""
    slot = Slot.P2WPKH
    return _electrum(
        {
            "ckcc_xfp": keys.xfp_number,
            "ckcc_xpub": keys.xpubs[slot],
            "hw_type": "passport",
            "type": "hardware",
            "label": _label(keys),
            "derivation": keys.path(slot),
            "xpub": keys.slip132(slot),
        }
    )


def electrum_watch_json(keys: ExportKeys, slot: Slot) -> str:
    """Return a watch-only wallet file for Electrum itself (7.5)."""
    return _electrum(
        {
            "type": "bip32",
            "xpub": keys.slip132(slot),
            "xprv": None,
            "derivation": keys.path(slot),
            "root_fingerprint": keys.fingerprint,
            "label": _label(keys),
        }
    )


def _electrum(keystore: dict[str, Any]) -> str:
    return json.dumps(
        {
            "seed_version": 17,
            "use_encryption": False,
            "wallet_type": "standard",
            "keystore": keystore,
        }
    )


def companion_json(keys: ExportKeys, name: str, device: DeviceIdentity) -> str:
    """Return what the companion app takes in (7.6)."""
    found: dict[str, Any] = {
        "acct_name": name,
        "acct_num": keys.account,
        "hw_version": device.hardware,
        "fw_version": f"v{device.version}",
        "serial": device.serial,
        "device_name": device.name,
    }
    for slot in (Slot.P2WPKH, Slot.P2TR):
        found[slot.value] = {
            "derivation": keys.path(slot),
            "xfp": keys.xfp_number,
            "xpub": keys.xpubs[slot],
        }
    return json.dumps(found)


def vault_json(keys: ExportKeys, device: DeviceIdentity) -> str:
    """Return the native segwit account for BTCPay (7.7)."""
    slot = Slot.P2WPKH
    return json.dumps(
        {
            "ExtPubKey": keys.xpubs[slot],
            "MasterFingerprint": keys.xfp,
            "AccountKeyPath": keys.path(slot).removeprefix("m/"),
            "FirmwareVersion": device.version,
            "Source": SOURCE,
        }
    )


def bitcoin_core_text(keys: ExportKeys) -> str:
    """Return commands for Bitcoin Core's console, for old wallets and for those of today (7.8)."""
    slot = Slot.P2WPKH
    shared = {"timestamp": "now", "range": [0, _CORE_RANGE]}
    legacy, today = [], []
    for internal in (False, True):
        # Inside the quotes of a command no other quote may stand.
        body = keys.descriptor(slot, str(int(internal))).partition("#")[0].replace("'", "h")
        descriptor = f"{body}#{descriptor_checksum(body)}"
        legacy.append(
            {
                "desc": descriptor,
                **shared,
                "internal": internal,
                "keypool": True,
                "watchonly": True,
            }
        )
        today.append({"desc": descriptor, **shared, "internal": internal, "active": True})
    addresses = [
        f"{keys.path(slot)}/0/{index} => {keys.address(slot, index)}"
        for index in range(_CORE_ADDRESSES)
    ]
    return "\n".join(
        [
            f"# Bitcoin Core: watch-only wallet of {SOURCE} {keys.xfp}",
            f"# Chain: {'TBTC' if keys.network.is_test else 'BTC'}",
            "",
            "# A descriptor wallet (all of today):",
            f"importdescriptors '{json.dumps(today)}'",
            "",
            "# An old wallet, before descriptors:",
            f"importmulti '{json.dumps(legacy)}'",
            "",
            "# The first addresses, to compare:",
            *(f"# {line}" for line in addresses),
            "",
        ]
    )


def descriptor_text(keys: ExportKeys) -> str:
    """Return one descriptor a line for every kind of account, both chains in each (BIP-389)."""
    slots = (Slot.P2WPKH, Slot.P2TR, Slot.P2SH_P2WPKH, Slot.P2PKH)
    return "".join(f"{keys.descriptor(slot, '<0;1>')}\n" for slot in slots)


def public_summary(keys: ExportKeys) -> str:
    """Return everything public about a seed for a person to read: `public.txt` (6.2)."""
    lines = [
        f"# {SOURCE} public summary",
        "",
        f"Master fingerprint: {keys.xfp}",
        f"Chain: {'TBTC' if keys.network.is_test else 'BTC'}",
        f"Master extended public key: {keys.master_xpub}",
        "",
        "Do not send coins to these addresses before a wallet of yours works that shows them too.",
    ]
    for slot in (Slot.P2PKH, Slot.P2SH_P2WPKH, Slot.P2WPKH, Slot.P2TR):
        lines += ["", f"## {slot.script_name}: {keys.path(slot)}", "", keys.xpubs[slot]]
        if keys.slip132(slot) != keys.xpubs[slot]:
            lines.append(keys.slip132(slot))
        lines += [
            f"{keys.path(slot)}/0/{index} => {keys.address(slot, index)}"
            for index in range(_SUMMARY_ADDRESSES)
        ]
    return "\n".join([*lines, ""])
