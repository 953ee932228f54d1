"""How a coin of the account is spent: which scripts, which of our keys, what is signed already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.curve import output_key, tagged_hash
from primegap.bitcoin.errors import BadSignatureError, ScriptFieldError, SighashError
from primegap.bitcoin.psbt_fields import InputField, read_sighash_type
from primegap.bitcoin.review_values import LeafToSign, SignatureToMake
from primegap.bitcoin.script_forms import hash160, p2wpkh_script
from primegap.bitcoin.scripts import ScriptType
from primegap.bitcoin.sighash import (
    LEAF_VERSION,
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    LegacyHasher,
    SegwitHasher,
    TaprootHasher,
    is_signature_of,
    is_taproot_signature,
    leaf_hash_of,
    p2wpkh_script_code,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from primegap.bitcoin.accounts import Account, AddressMatch
    from primegap.bitcoin.psbt import PsbtMap
    from primegap.bitcoin.transaction import Transaction, TxOutput

_MAX_LEAVES: Final = 32  # of one coin: more cannot be told apart by a person
_HASH_BYTES: Final = 32


class Digests:
    """What signatures of one transaction cover; each kind is prepared once, when it is needed."""

    def __init__(self, transaction: Transaction, coins: Sequence[TxOutput]) -> None:
        self._transaction = transaction
        self.coins = coins

    @cached_property
    def legacy(self) -> LegacyHasher:
        """Of inputs older than segwit."""
        return LegacyHasher(self._transaction)

    @cached_property
    def segwit(self) -> SegwitHasher:
        """Of segwit version 0."""
        return SegwitHasher(self._transaction)

    @cached_property
    def taproot(self) -> TaprootHasher:
        """Of taproot."""
        return TaprootHasher(self._transaction, self.coins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """How one coin of the account is spent; every script in it is proved by the coin's."""

    public_keys: tuple[bytes, ...]
    "At the places of the account's template, 33 bytes each."
    redeem_script: bytes | None = None
    witness_script: bytes | None = None
    merkle_root: bytes | None = None
    "Of a taproot coin; empty for a tree without leaves."
    leaves: tuple[LeafToSign, ...] = ()
    sighash: int = SIGHASH_ALL

    def ecdsa_digest(self, digests: Digests, position: int) -> bytes:
        """Return what an ECDSA signature of this coin covers."""
        coin = digests.coins[position]
        if self.witness_script is not None:
            return digests.segwit.digest(position, self.witness_script, coin.amount)
        program = coin.script if self.redeem_script is None else self.redeem_script
        if program[:1] == b"\x00":
            return digests.segwit.digest(position, p2wpkh_script_code(program), coin.amount)
        return digests.legacy.digest(position, program)


def spending_of(
    account: Account, place: AddressMatch, coin: TxOutput, part: PsbtMap, *, is_finished: bool
) -> Spending:
    """Return how a coin is spent whose place in the account is proved.

    Args:
        account: the account.
        place: where in it the coin's script was derived.
        coin: what is spent.
        part: the input, whose scripts are proved here.
        is_finished: it carries its final witness, so scripts may be left out.

    Raises:
        ScriptFieldError: a script is missing, wrong or given where none belongs.
    """
    keys = account.public_keys(place.keychain, place.index)
    redeem = part.value(InputField.REDEEM_SCRIPT)
    witness = part.value(InputField.WITNESS_SCRIPT)
    kind = account.script_type
    if kind is ScriptType.P2TR:
        _none(redeem, witness)
        return _taproot(account, keys, coin, part)
    if kind in {ScriptType.P2PKH, ScriptType.P2WPKH}:
        _none(redeem, witness)
        return Spending(public_keys=keys)
    if kind is ScriptType.P2SH and account.is_standard:
        expected = p2wpkh_script(keys[0])
        _none(witness)
        if redeem != expected and not (is_finished and redeem is None):
            raise ScriptFieldError("the redeem script is missing or another one")
        return Spending(public_keys=keys, redeem_script=expected)
    if is_finished and witness is None:
        return Spending(public_keys=keys)
    if witness is None:
        raise ScriptFieldError("the witness script is missing")
    program = b"\x00\x20" + hashlib.sha256(witness).digest()
    if kind is ScriptType.P2WSH:
        _none(redeem)
        if coin.script != program:
            raise ScriptFieldError("the witness script is another one")
        return Spending(public_keys=keys, witness_script=witness)
    if redeem != program or coin.script != b"\xa9\x14" + hash160(program) + b"\x87":
        raise ScriptFieldError("the redeem script or the witness script is another one")
    return Spending(public_keys=keys, redeem_script=program, witness_script=witness)


def _none(*scripts: bytes | None) -> None:
    if any(script is not None for script in scripts):
        raise ScriptFieldError("a script is given for a coin that has none")


# --- taproot ------------------------------------------------------------------------------------


def _taproot(account: Account, keys: tuple[bytes, ...], coin: TxOutput, part: PsbtMap) -> Spending:
    internal = keys[0][1:]  # the first place of every taproot template is its internal key
    given = part.value(InputField.TAP_INTERNAL_KEY)
    if given is not None and given != internal:
        raise ScriptFieldError("the internal key is another one")
    leaves = part.items(InputField.TAP_LEAF_SCRIPT)
    if len(leaves) > _MAX_LEAVES:
        raise ScriptFieldError("more leaves than are reviewed")
    proved = tuple(_leaf(internal, coin, control, value) for control, value in leaves)
    root = part.value(InputField.TAP_MERKLE_ROOT)
    if root is None:
        root = proved[0][1] if proved else b""
    if not account.is_standard and not root:
        raise ScriptFieldError("the root of the tree is missing")
    found = output_key(internal, root)
    if found is None or coin.script != b"\x51\x20" + found[0]:
        raise ScriptFieldError("the root of the tree is another one")
    sighash = read_sighash_type(part)
    return Spending(
        public_keys=keys,
        merkle_root=root,
        leaves=tuple(leaf for leaf, _ in proved),
        sighash=SIGHASH_DEFAULT if sighash is None else sighash,
    )


def _leaf(
    internal: bytes, coin: TxOutput, control: bytes, value: bytes
) -> tuple[LeafToSign, bytes]:
    """Prove that a leaf is one of a coin; return it and the root of its tree (BIP-341)."""
    script, version = value[:-1], value[-1]
    if version != LEAF_VERSION or control[0] & 0xFE != LEAF_VERSION:
        raise ScriptFieldError("a leaf of a version without rules")
    leaf_hash = root = leaf_hash_of(script)
    for start in range(33, len(control), _HASH_BYTES):
        step = control[start : start + _HASH_BYTES]
        root = tagged_hash("TapBranch", min(root, step) + max(root, step))
    found = output_key(internal, root)
    if control[1:33] != internal or found is None:
        raise ScriptFieldError("a leaf of another key")
    if coin.script != b"\x51\x20" + found[0] or control[0] & 1 != found[1]:
        raise ScriptFieldError("a leaf of another tree")
    return LeafToSign(script=script, control_block=control, leaf_hash=leaf_hash), root


# --- signatures ---------------------------------------------------------------------------------


def signatures_to_make(
    account: Account, spending: Spending, part: PsbtMap
) -> tuple[SignatureToMake, ...]:
    """Return the signatures that this device can add to an input and that are not there yet."""
    made: list[SignatureToMake] = []
    uses = account.template.uses
    own = [
        (use, key)
        for use, key in zip(uses, spending.public_keys, strict=True)
        if use.key == account.own
    ]
    if spending.merkle_root is None:
        script = spending.witness_script
        signed = {key for key, _ in part.items(InputField.PARTIAL_SIG)}
        for use, key in own:
            if (script is None or _names(script, key)) and key not in signed:
                made.append(SignatureToMake(chains=use.chains, public_key=key))
        return tuple(made)
    if uses[0].key == account.own and not part.has(InputField.TAP_KEY_SIG):
        made.append(SignatureToMake(chains=uses[0].chains, public_key=spending.public_keys[0]))
    signed = {key for key, _ in part.items(InputField.TAP_SCRIPT_SIG)}
    for leaf in spending.leaves:
        for use, key in own:
            if _names(leaf.script, key[1:]) and key[1:] + leaf.leaf_hash not in signed:
                made.append(SignatureToMake(chains=use.chains, public_key=key, leaf=leaf))
    return tuple(made)


def _names(script: bytes, key: bytes) -> bool:
    """Whether a script, which is one of the account's, asks for a key or for one with its hash."""
    return bytes((len(key),)) + key in script or b"\x14" + hash160(key) in script


def check_signatures(spending: Spending, part: PsbtMap, digests: Digests, position: int) -> None:
    """Verify the signatures that an input of ours carries already.

    Raises:
        BadSignatureError: one does not verify, or is of a key that the coin does not name.
        SighashError: one covers less than everything.
    """
    partial = part.items(InputField.PARTIAL_SIG)
    key_signature = part.value(InputField.TAP_KEY_SIG)
    script_signatures = part.items(InputField.TAP_SCRIPT_SIG)
    if spending.merkle_root is None:
        if key_signature is not None or script_signatures:
            raise BadSignatureError("a taproot signature for another kind of coin")
        _check_ecdsa(spending, partial, digests, position)
        return
    if partial:
        raise BadSignatureError("an ECDSA signature for a taproot coin")
    if key_signature is not None:
        key = digests.coins[position].script[2:]
        if not is_taproot_signature(key_signature, key, digests.taproot, position):
            raise BadSignatureError("a signature does not verify")
    leaves = {leaf.leaf_hash for leaf in spending.leaves}
    keys = {key[1:] for key in spending.public_keys}
    for named, signature in script_signatures:
        key, leaf = named[:_HASH_BYTES], named[_HASH_BYTES:]
        if key not in keys or leaf not in leaves:
            raise BadSignatureError("a signature of a key that the coin does not name")
        if not is_taproot_signature(signature, key, digests.taproot, position, leaf):
            raise BadSignatureError("a signature does not verify")


def _check_ecdsa(
    spending: Spending,
    partial: Iterable[tuple[bytes, bytes]],
    digests: Digests,
    position: int,
) -> None:
    for key, signature in partial:
        if key not in spending.public_keys:
            raise BadSignatureError("a signature of a key that the coin does not name")
        digest = spending.ecdsa_digest(digests, position)
        if not is_signature_of(signature, key, digest):
            raise BadSignatureError("a signature does not verify")


def check_finished(witness: tuple[bytes, ...], script_sig: bytes) -> None:
    """Raise SighashError if what looks like a signature of a finished input covers too little."""
    for item in (*witness, *_pushes(script_sig)):
        is_der = 9 <= len(item) <= 73 and item[0] == 0x30 and item[1] == len(item) - 3
        if (
            (is_der or len(item) == 65)
            and item[-1] != SIGHASH_ALL
            and item[:1]
            not in {
                b"\x04",
                b"\xc0",
                b"\xc1",
            }
        ):
            raise SighashError("a signature that does not cover everything")


def _pushes(script: bytes) -> Iterable[bytes]:
    position = 0
    while position < len(script) and 0 < script[position] < 0x4C:
        size = script[position]
        yield script[position + 1 : position + 1 + size]
        position += 1 + size
