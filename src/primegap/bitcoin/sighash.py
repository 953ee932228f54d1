"""What a signature covers: of old inputs, of segwit version 0 (BIP-143) and of taproot (BIP-341).

Computed from reviewed values only. What the inputs of a transaction share is hashed once and kept
apart for each kind, so a transaction that mixes them is hashed rightly (air-gap section 19.2).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.curve import is_ecdsa_signature, is_schnorr_signature, tagged_hash
from primegap.bitcoin.wire import encode_bytes, encode_count, sha256d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.bitcoin.amounts import Satoshi
    from primegap.bitcoin.transaction import Transaction, TxOutput

SIGHASH_DEFAULT: Final = 0  # taproot only (BIP-341)
SIGHASH_ALL: Final = 1
LEAF_VERSION: Final = 0xC0  # BIP-342, the only one with rules
_SCHNORR_BYTES: Final = 64


class SegwitHasher:
    """Digests of segwit version 0 inputs of one transaction; what they share is hashed once."""

    def __init__(self, transaction: Transaction) -> None:
        self._inputs = transaction.inputs
        self._lock_time = transaction.lock_time.to_bytes(4, "little")
        prevouts = b"".join(txin.outpoint.serialise() for txin in transaction.inputs)
        sequences = b"".join(txin.sequence.to_bytes(4, "little") for txin in transaction.inputs)
        version = transaction.version.to_bytes(4, "little")
        self._head = version + sha256d(prevouts) + sha256d(sequences)
        self._outputs = sha256d(b"".join(output.serialise() for output in transaction.outputs))

    def digest(self, index: int, script_code: bytes, amount: Satoshi) -> bytes:
        """Return the 32 bytes that a signature with SIGHASH_ALL covers.

        Args:
            index: which input.
            script_code: the witness script, or for P2WPKH what `p2wpkh_script_code` returns.
            amount: of the coin spent.
        """
        txin = self._inputs[index]
        return sha256d(
            self._head
            + txin.outpoint.serialise()
            + encode_bytes(script_code)
            + amount.to_bytes(8, "little")
            + txin.sequence.to_bytes(4, "little")
            + self._outputs
            + self._lock_time
            + SIGHASH_ALL.to_bytes(4, "little")
        )


class LegacyHasher:
    """Digests of inputs older than segwit; each hashes the whole transaction, by their rule."""

    def __init__(self, transaction: Transaction) -> None:
        count = len(transaction.inputs)
        self._inputs = transaction.inputs
        empty = [
            txin.outpoint.serialise() + b"\x00" + txin.sequence.to_bytes(4, "little")
            for txin in transaction.inputs
        ]
        self._head = transaction.version.to_bytes(4, "little") + encode_count(count)
        self._empty = b"".join(empty)
        self._size = len(empty[0]) if empty else 0
        self._tail = encode_count(len(transaction.outputs))
        self._tail += b"".join(output.serialise() for output in transaction.outputs)
        self._tail += transaction.lock_time.to_bytes(4, "little")
        self._tail += SIGHASH_ALL.to_bytes(4, "little")

    def digest(self, index: int, script_code: bytes) -> bytes:
        """Return the 32 bytes that a signature with SIGHASH_ALL covers.

        Args:
            index: which input.
            script_code: the script of the coin spent, or the redeem script.
        """
        txin = self._inputs[index]
        first = hashlib.sha256(self._head)
        first.update(self._empty[: index * self._size])
        first.update(txin.outpoint.serialise() + encode_bytes(script_code))
        first.update(txin.sequence.to_bytes(4, "little"))
        first.update(self._empty[(index + 1) * self._size :])
        first.update(self._tail)
        return hashlib.sha256(first.digest()).digest()


class TaprootHasher:
    """Digests of taproot inputs of one transaction; they cover the coins of all its inputs."""

    def __init__(self, transaction: Transaction, coins: Sequence[TxOutput]) -> None:
        def one(parts: list[bytes]) -> bytes:
            return hashlib.sha256(b"".join(parts)).digest()

        self._head = (
            transaction.version.to_bytes(4, "little")
            + transaction.lock_time.to_bytes(4, "little")
            + one([txin.outpoint.serialise() for txin in transaction.inputs])
            + one([coin.amount.to_bytes(8, "little") for coin in coins])
            + one([encode_bytes(coin.script) for coin in coins])
            + one([txin.sequence.to_bytes(4, "little") for txin in transaction.inputs])
            + one([output.serialise() for output in transaction.outputs])
        )

    def digest(self, index: int, sighash: int, leaf_hash: bytes | None = None) -> bytes:
        """Return the 32 bytes that a signature covers.

        Args:
            index: which input.
            sighash: DEFAULT or ALL; both cover everything.
            leaf_hash: of the script that is run (BIP-342); None when the key signs.
        """
        extension = leaf_hash is not None
        message = b"\x00" + bytes((sighash,)) + self._head + bytes((2 * extension,))
        message += index.to_bytes(4, "little")
        if leaf_hash is not None:
            message += leaf_hash + b"\x00" + b"\xff" * 4  # no OP_CODESEPARATOR was run
        return tagged_hash("TapSighash", message)


def p2wpkh_script_code(script: bytes) -> bytes:
    """Return the script code of a P2WPKH program: the P2PKH script of its hash."""
    return b"\x76\xa9\x14" + script[2:22] + b"\x88\xac"


def leaf_hash_of(script: bytes) -> bytes:
    """Return the hash of a tapscript leaf (BIP-341), 32 bytes."""
    return tagged_hash("TapLeaf", bytes((LEAF_VERSION,)) + encode_bytes(script))


def is_signature_of(signature: bytes, public_key: bytes, digest: bytes) -> bool:
    """Tell whether an ECDSA signature is one that the network accepts for SIGHASH_ALL.

    That is: strict DER with low numbers (BIP-66, BIP-146), the byte 01 behind it, and it verifies.

    Args:
        signature: as pushed to the witness, with its sighash byte.
        public_key: 33 bytes, compressed.
        digest: 32 bytes.
    """
    if signature[-1:] != bytes((SIGHASH_ALL,)):
        return False
    return is_ecdsa_signature(signature[:-1], public_key, digest)


def schnorr_sighash(signature: bytes) -> int | None:
    """Return what a taproot signature covers by its form: DEFAULT, ALL, or None for less."""
    if len(signature) == _SCHNORR_BYTES:
        return SIGHASH_DEFAULT
    if len(signature) == _SCHNORR_BYTES + 1 and signature[-1] == SIGHASH_ALL:
        return SIGHASH_ALL
    return None


def encode_schnorr(signature: bytes, sighash: int) -> bytes:
    """Return a taproot signature as it is pushed to the witness."""
    return signature if sighash == SIGHASH_DEFAULT else signature + bytes((sighash,))


def is_taproot_signature(
    signature: bytes,
    public_key: bytes,
    hasher: TaprootHasher,
    index: int,
    leaf_hash: bytes | None = None,
) -> bool:
    """Tell whether a taproot signature, as pushed to the witness, covers everything and verifies.

    Args:
        signature: 64 bytes, or 65 with ALL.
        public_key: 32 bytes: the output key, or the key in the leaf.
        hasher: of the transaction.
        index: which input.
        leaf_hash: of the script that the key stands in.
    """
    sighash = schnorr_sighash(signature)
    if sighash is None:
        return False
    digest = hasher.digest(index, sighash, leaf_hash)
    return is_schnorr_signature(signature[:_SCHNORR_BYTES], public_key, digest)
