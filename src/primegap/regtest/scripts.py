"""Scripts of the private chain: kinds of output, dust, Electrum hashes, and the faucet's own coin.

The faucet's coins need no key. They sit on the witness script `OP_TRUE` (P2WSH), which anyone can
spend; on a chain that exists on one machine that is enough, and there is no secret to keep.
"""

from __future__ import annotations

import hashlib
from typing import Final

from primegap.regtest.errors import AddressError, EngineMissingError

_OP_0: Final = 0x00
_OP_PUSHDATA1: Final = 0x4C
_OP_PUSHDATA4: Final = 0x4E
_OP_1: Final = 0x51
_OP_16: Final = 0x60
_OP_RETURN: Final = 0x6A

TRUE_WITNESS_SCRIPT: Final = bytes((_OP_1,))
FAUCET_SCRIPT: Final = b"\x00\x20" + hashlib.sha256(TRUE_WITNESS_SCRIPT).digest()
"Where the faucet keeps its coins: P2WSH of `OP_TRUE`."

MAX_SCRIPT_BYTES: Final = 10_000  # consensus; a longer output can never be spent
DUST_RATE_SAT_PER_KVB: Final = 3_000  # Bitcoin Core's -dustrelayfee
MAX_ADDRESS_CHARACTERS: Final = 100  # bech32 ends at 90


def script_hash(script: bytes) -> bytes:
    """Return the SHA-256 of a script, by which the Electrum protocol names it (there reversed)."""
    return hashlib.sha256(script).digest()


def witness_version(script: bytes) -> int | None:
    """Return the witness version of a script (BIP-141), or None if it is not a witness program."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == _OP_0:
        return 0
    return script[0] - 0x50 if _OP_1 <= script[0] <= _OP_16 else None


def is_push_only(script: bytes) -> bool:
    """Return whether a script only pushes data."""
    position = 0
    while position < len(script):
        opcode = script[position]
        position += 1
        if opcode > _OP_16:
            return False
        if opcode < _OP_PUSHDATA1:
            size = opcode
        elif opcode <= _OP_PUSHDATA4:
            width = 1 << (opcode - _OP_PUSHDATA1)
            if position + width > len(script):
                return False
            size = int.from_bytes(script[position : position + width], "little")
            position += width
        else:
            size = 0
        position += size
    return position == len(script)


def is_unspendable(script: bytes) -> bool:
    """Return whether an output can provably never be spent (the coin set leaves it out)."""
    return script[:1] == bytes((_OP_RETURN,)) or len(script) > MAX_SCRIPT_BYTES


def is_spendable_kind(script: bytes) -> bool:
    """Return whether a coin of this script is of a kind that has rules to spend it.

    These are P2PK, P2PKH, P2SH, P2WPKH, P2WSH, P2TR and P2A. Other witness programs are left out:
    anyone could spend them, and a later soft fork will mean something else by them.
    """
    size = len(script)
    return (
        (size == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac")
        or (size == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87")
        or (size == 35 and script[0] == 33 and script[1] in {2, 3} and script[34] == 0xAC)
        or (size == 67 and script[0] == 65 and script[1] == 4 and script[66] == 0xAC)
        or (size in {22, 34} and script[0] == _OP_0 and script[1] == size - 2)
        or (size == 34 and script[:2] == b"\x51\x20")
        or script == b"\x51\x02\x4e\x73"
    )


def is_standard_output(script: bytes) -> bool:
    """Return whether the mempool takes an output with this script.

    Bare multisignature is refused, as by Bitcoin Core with `-permitbaremultisig=0`.
    """
    if script[:1] == bytes((_OP_RETURN,)):
        return is_push_only(script[1:])
    return is_spendable_kind(script) or witness_version(script) not in {None, 0}


def dust_limit_sat(script: bytes) -> int:
    """Return the least amount that is worth spending from this script, in satoshi.

    It is three times what the later input costs at 1 sat/vB: 294 for P2WPKH, 330 for P2TR.
    """
    if is_unspendable(script):
        return 0
    length_bytes = 1 if len(script) < 0xFD else 3
    output_bytes = 8 + length_bytes + len(script)
    input_bytes = 67 if witness_version(script) is not None else 148
    return (output_bytes + input_bytes) * DUST_RATE_SAT_PER_KVB // 1000


def script_of_address(address: str) -> bytes:
    """Return the script of a regtest address.

    Raises:
        AddressError: not an address, or of another network.
        EngineMissingError: BDK, which reads addresses, is not installed.
    """
    try:
        from bdkpython import Address, AddressParseError, Network
    except ImportError as error:
        raise EngineMissingError("bdkpython cannot be imported") from error
    if not 1 <= len(address) <= MAX_ADDRESS_CHARACTERS:
        raise AddressError("not an address of this network")
    try:
        script: bytes = bytes(Address(address, Network.REGTEST).script_pubkey().to_bytes())
    except AddressParseError as error:
        raise AddressError("not an address of this network") from error
    return script
