"""Output scripts: their kinds, what an OP_RETURN carries, dust, and the size of spending them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.amounts import Satoshi

if TYPE_CHECKING:
    from primegap.bitcoin.transaction import TxOutput

OP_RETURN: Final = 0x6A
_OP_PUSHDATA1: Final = 0x4C
_PUSHDATA_LENGTHS: Final = {0x4C: 1, 0x4D: 2, 0x4E: 4}
_OP_1NEGATE: Final = 0x4F
_OP_1: Final = 0x51
_OP_16: Final = 0x60


class ScriptType(enum.StrEnum):
    """Kinds of output scripts."""

    P2PKH = "p2pkh"
    P2SH = "p2sh"
    P2WPKH = "p2wpkh"
    P2WSH = "p2wsh"
    P2TR = "p2tr"
    WITNESS_UNKNOWN = "witness-unknown"
    "A witness version or length that has no rules yet: anyone may be able to spend it."
    OP_RETURN = "op-return"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class OpReturnData:
    """What an OP_RETURN output carries."""

    pushes: tuple[bytes, ...]
    "The pieces pushed, in order; empty when the script holds anything but pushes."
    raw: bytes
    "Everything behind the OP_RETURN byte."

    @property
    def text(self) -> str | None:
        """The content as text when all of it is printable UTF-8, else None."""
        if not self.pushes:
            return None
        try:
            text = b" ".join(self.pushes).decode()
        except UnicodeDecodeError:
            return None
        # isprintable refuses controls, line breaks and marks that reverse the writing direction.
        return text if text.isprintable() and text.strip() else None


def classify_script(script: bytes) -> ScriptType:
    """Return the kind of an output script by its exact form."""
    size = len(script)
    if size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return ScriptType.P2PKH
    if size == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return ScriptType.P2SH
    if script[:1] == bytes((OP_RETURN,)):
        return ScriptType.OP_RETURN
    if _is_witness_program(script):
        return _WITNESS_TYPES.get((script[0], size), _unknown_witness(script[0]))
    return ScriptType.OTHER


def _is_witness_program(script: bytes) -> bool:
    """BIP-141: a version opcode and one direct push of 2 to 40 bytes."""
    return (
        4 <= len(script) <= 42
        and (script[0] == 0 or _OP_1 <= script[0] <= _OP_16)
        and script[1] == len(script) - 2
    )


def _unknown_witness(version_opcode: int) -> ScriptType:
    # Version 0 of another length can never be spent and has no address.
    return ScriptType.WITNESS_UNKNOWN if version_opcode else ScriptType.OTHER


_WITNESS_TYPES: Final = {
    (0, 22): ScriptType.P2WPKH,
    (0, 34): ScriptType.P2WSH,
    (_OP_1, 34): ScriptType.P2TR,
}


def decode_op_return(script: bytes) -> OpReturnData:
    """Decode the data of an OP_RETURN script, in every form of push (air-gap section 19.9)."""
    raw = script[1:]
    pushes: list[bytes] = []
    position = 0
    while position < len(raw):
        opcode = raw[position]
        position += 1
        if opcode < _OP_PUSHDATA1:
            size = opcode
        elif opcode in _PUSHDATA_LENGTHS:
            width = _PUSHDATA_LENGTHS[opcode]
            if position + width > len(raw):
                return OpReturnData((), raw)
            size = int.from_bytes(raw[position : position + width], "little")
            position += width
        elif opcode == _OP_1NEGATE:
            pushes.append(b"\x81")
            continue
        elif _OP_1 <= opcode <= _OP_16:
            pushes.append(bytes((opcode - _OP_1 + 1,)))
            continue
        else:
            return OpReturnData((), raw)
        if position + size > len(raw):
            return OpReturnData((), raw)
        pushes.append(raw[position : position + size])
        position += size
    return OpReturnData(tuple(pushes), raw)


def dust_limit(output: TxOutput) -> Satoshi:
    """Return the least amount that nodes relay for such an output.

    It is Bitcoin Core's rule: three satoshis for each virtual byte of the output and of the input
    that will spend it. 294 for P2WPKH, 546 for P2PKH, nothing for OP_RETURN.
    """
    kind = classify_script(output.script)
    if kind is ScriptType.OP_RETURN:
        return Satoshi(0)
    spending_vb = 67 if _is_witness_program(output.script) else 148
    return Satoshi(3 * (len(output.serialise()) + spending_vb))


_OUTPOINT_AND_SEQUENCE_WEIGHT: Final = 4 * (36 + 4)
# Signatures have at most 71 bytes: their numbers are kept low on making them.
_P2WPKH_WITNESS_BYTES: Final = 1 + 1 + 71 + 1 + 33
_SPENDING_WEIGHT: Final = {
    ScriptType.P2WPKH: 4 + _P2WPKH_WITNESS_BYTES,
    ScriptType.P2PKH: 4 * (1 + 1 + 72 + 1 + 33) + 1,
    ScriptType.P2SH: 4 * 24 + _P2WPKH_WITNESS_BYTES,  # nested P2WPKH, the usual case
    ScriptType.P2WSH: 4 + 2 + 2 * 73 + 1 + 1 + 105,  # two of three, the usual case
    ScriptType.P2TR: 4 + 1 + 1 + 64,
}


def spending_weight(kind: ScriptType) -> int:
    """Return the weight of an input that spends a script of this kind, signature included.

    Never below what our own signatures weigh (P2WPKH); for the inputs of others, of which only the
    script is known, it is what the usual case weighs.
    """
    return _OUTPOINT_AND_SEQUENCE_WEIGHT + _SPENDING_WEIGHT.get(kind, 4 + 1)
