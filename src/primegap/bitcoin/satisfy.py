"""From signatures to what an input holds in the end: its script and its witness.

The common forms are put together here; miniscript is satisfied by BDK (rust-miniscript). Either way
Bitcoin Core's engine has the last word (`engine.py`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.psbt import PsbtMap, build_psbt, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField, read_final_witness
from primegap.bitcoin.scripts import ScriptType
from primegap.bitcoin.wire import encode_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.engine import Satisfaction
    from primegap.bitcoin.transaction import Transaction

_PUSHED_DIRECTLY: Final = 0x4B


def satisfy(
    account: Account, unsigned: Transaction, parts: Mapping[int, PsbtMap]
) -> dict[int, Satisfaction]:
    """Return script and witness of every input that has all the signatures it needs.

    Args:
        account: whose coins they are.
        unsigned: the transaction.
        parts: maps of inputs by their number, made from reviewed values and verified signatures.
    """
    if not account.is_standard and account.template.multisig is None:
        return _by_bdk(unsigned, parts)
    found: dict[int, Satisfaction] = {}
    for position, part in parts.items():
        result = _common(account, part)
        if result is not None:
            found[position] = result
    return found


def _common(account: Account, part: PsbtMap) -> Satisfaction | None:
    signatures = dict(part.items(InputField.PARTIAL_SIG))
    redeem = part.value(InputField.REDEEM_SCRIPT)
    script_sig = b"" if redeem is None else _push(redeem)
    multisig = account.template.multisig
    if multisig is not None:
        script = part.value(InputField.WITNESS_SCRIPT) or b""
        keys = [script[start : start + 33] for start in range(2, len(script) - 2, 34)]
        chosen = [signatures[key] for key in keys if key in signatures][: multisig.threshold]
        if len(chosen) < multisig.threshold:
            return None
        return script_sig, (b"", *chosen, script)
    if account.script_type is ScriptType.P2TR:
        signature = part.value(InputField.TAP_KEY_SIG)
        return None if signature is None else (b"", (signature,))
    for key, signature in signatures.items():
        if account.script_type is ScriptType.P2PKH:
            return _push(signature) + _push(key), ()
        return script_sig, (signature, key)
    return None


def _push(data: bytes) -> bytes:
    assert len(data) <= _PUSHED_DIRECTLY
    return encode_bytes(data)


def _by_bdk(unsigned: Transaction, parts: Mapping[int, PsbtMap]) -> dict[int, Satisfaction]:
    import bdkpython

    inputs = tuple(parts.get(position, PsbtMap()) for position in range(len(unsigned.inputs)))
    outputs = tuple(PsbtMap() for _ in unsigned.outputs)
    raw = build_psbt(unsigned.serialise(), inputs, outputs)
    result = bdkpython.Psbt(b64encode(raw).decode()).finalize()
    finished = parse_psbt_untrusted(b64decode(result.psbt.serialize()))
    found: dict[int, Satisfaction] = {}
    for position, part in enumerate(finished.inputs):
        witness = read_final_witness(part)
        if witness is not None:
            found[position] = part.value(InputField.FINAL_SCRIPT_SIG) or b"", witness
    return found
