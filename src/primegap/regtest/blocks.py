"""Block assembly: coinbase, merkle trees, witness commitment and regtest proof of work.

This is what a miner adds to transactions; no Python library offers it. Everything here is pure.
The engine judges the result, so a fault in this module shows as a refused block.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from primegap.regtest.primitives import (
    NULL_HASH,
    NULL_VOUT,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    encode_count,
    sha256d,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INITIAL_SUBSIDY_SAT: Final = 50 * 100_000_000
HALVING_INTERVAL_BLOCKS: Final = 150  # regtest
COINBASE_MATURITY_BLOCKS: Final = 100
BLOCK_VERSION: Final = 0x20000000  # BIP-9, no deployment signalled
MEDIAN_TIME_SPAN: Final = 11  # BIP-113: the median is over the last eleven blocks
WITNESS_COMMITMENT_TAG: Final = bytes.fromhex("6a24aa21a9ed")  # BIP-141
_WITNESS_RESERVED_VALUE: Final = bytes(32)
_COINBASE_MARK: Final = b"\x00"  # keeps the script at two bytes for heights 1 to 16


def subsidy_sat(height: int) -> int:
    """Return the new coins of the block at `height`, in satoshi."""
    halvings = height // HALVING_INTERVAL_BLOCKS
    return INITIAL_SUBSIDY_SAT >> halvings if halvings < 64 else 0


def push_height(height: int) -> bytes:
    """Return the script push of a block height, 0 or more, as BIP-34 asks (shortest form)."""
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes((0x50 + height,))
    # Script numbers are signed: one more bit than the value needs, rounded up to bytes.
    size = height.bit_length() // 8 + 1
    return bytes((size,)) + height.to_bytes(size, "little")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over 32-byte leaves (at least one), the odd last one paired with itself."""
    return merkle_branch(leaves, 0)[1]


def merkle_branch(leaves: Sequence[bytes], position: int) -> tuple[list[bytes], bytes]:
    """Return the sibling hashes that lead from the leaf at `position` to the root, and the root."""
    branch: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        branch.append(level[position ^ 1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
        position //= 2
    return branch, level[0]


def build_coinbase(
    height: int, script: bytes, amount_sat: int, transactions: Sequence[Transaction]
) -> Transaction:
    """Build the reward transaction of a block.

    Args:
        height: height of the block (BIP-34 puts it into the input).
        script: where the reward goes.
        amount_sat: subsidy plus fees.
        transactions: the rest of the block, for the witness commitment (BIP-141).
    """
    root = merkle_root([NULL_HASH, *(transaction.wtxid for transaction in transactions)])
    commitment = sha256d(root + _WITNESS_RESERVED_VALUE)
    return Transaction(
        version=2,
        inputs=(
            TxIn(
                prevout=OutPoint(NULL_HASH, NULL_VOUT),
                script_sig=push_height(height) + _COINBASE_MARK,
                witness=(_WITNESS_RESERVED_VALUE,),
            ),
        ),
        outputs=(
            TxOut(amount_sat=amount_sat, script=script),
            TxOut(amount_sat=0, script=WITNESS_COMMITMENT_TAG + commitment),
        ),
        lock_time=0,
    )


def target_of_bits(bits: int) -> int:
    """Expand the compact difficulty of a header to the largest hash value that is enough work."""
    exponent, mantissa = bits >> 24, bits & 0x7FFFFF
    shift = 8 * (exponent - 3)
    return mantissa << shift if shift >= 0 else mantissa >> -shift


def build_block(
    *, previous_hash: bytes, time_s: int, bits: int, transactions: Sequence[Transaction]
) -> bytes:
    """Assemble a block, find its proof of work and serialise it.

    On regtest every second header is enough work, so the search takes a few tries.

    Args:
        previous_hash: hash of the block before, 32 bytes, internal byte order.
        time_s: header time, seconds since 1970.
        bits: compact difficulty, copied from the block before (regtest never adjusts it).
        transactions: the coinbase first, then the others with parents before children.
    """
    root = merkle_root([transaction.txid for transaction in transactions])
    target = target_of_bits(bits)
    fixed = struct.pack("<i32s32sII", BLOCK_VERSION, previous_hash, root, time_s, bits)
    nonce = 0
    while int.from_bytes(sha256d(header := fixed + struct.pack("<I", nonce)), "little") > target:
        nonce += 1
    body = b"".join(transaction.raw for transaction in transactions)
    return header + encode_count(len(transactions)) + body


def median_time_past_s(headers: Sequence[bytes]) -> int:
    """Return the median time of up to eleven headers (80 bytes each), in seconds (BIP-113)."""
    times = sorted(header_time_s(header) for header in headers[-MEDIAN_TIME_SPAN:])
    return times[len(times) // 2]


def header_time_s(header: bytes) -> int:
    """Return the time field of a header, in seconds since 1970."""
    return int.from_bytes(header[68:72], "little")


def header_bits(header: bytes) -> int:
    """Return the compact difficulty field of a header."""
    return int.from_bytes(header[72:76], "little")
