"""What a signature of a segwit version 0 input covers (BIP-143), and whether it verifies.

Computed here from reviewed values and checked with `cryptography` (OpenSSL), so that the answer of
the library that signs is judged by an independent one: a signature leaves the device only if it
covers exactly what was reviewed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.bitcoin.wire import encode_bytes, sha256d

if TYPE_CHECKING:
    from primegap.bitcoin.amounts import Satoshi
    from primegap.bitcoin.transaction import Transaction

SIGHASH_DEFAULT: Final = 0  # taproot only (BIP-341)
SIGHASH_ALL: Final = 1
_CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class SegwitHasher:
    """Digests of one transaction; what all inputs share is hashed once."""

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
            script_code: for P2WPKH what `p2wpkh_script_code` returns.
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


def p2wpkh_script_code(script: bytes) -> bytes:
    """Return the script code of a P2WPKH output script: the P2PKH script of its hash."""
    return b"\x76\xa9\x14" + script[2:22] + b"\x88\xac"


def is_signature_of(signature: bytes, public_key: bytes, digest: bytes) -> bool:
    """Tell whether a signature is one that the network accepts for SIGHASH_ALL.

    That is: strict DER with low numbers (BIP-66, BIP-146), the byte 01 behind it, and it verifies.

    Args:
        signature: as pushed to the witness, with its sighash byte.
        public_key: 33 bytes, compressed.
        digest: 32 bytes.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    der, sighash = signature[:-1], signature[-1:]
    if sighash != bytes((SIGHASH_ALL,)):
        return False
    try:
        r, s = utils.decode_dss_signature(der)
        if s > _CURVE_ORDER // 2 or utils.encode_dss_signature(r, s) != der:
            return False
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
        key.verify(der, digest, ec.ECDSA(utils.Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True
