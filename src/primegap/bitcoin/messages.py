"""Signed messages: BIP-137, BIP-322 simple and full; signing for an account, and verifying.

BIP-137 signs a hash of the text with a key and lets the verifier recover the key: for the addresses
of single keys, P2PKH, P2SH-P2WPKH and P2WPKH, each with header bytes of its own. BIP-322 signs a
transaction that cannot exist, by the rules of the address's own script, so it works for all of
them; Bitcoin Core's engine judges it. *Simple* is the witness alone (prefix `smp` in the newer text
of the BIP), *full* the whole transaction (`ful`).

A signature says that whoever holds the key agreed to the text, at some time; an address ownership
proof is a message that says so and names a challenge of who asks.
"""

from __future__ import annotations

import enum
import hashlib
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.bitcoin.accounts import AddressMatch, Keychain
from primegap.bitcoin.amounts import Satoshi
from primegap.bitcoin.curve import is_low_der, recover_public_key, tagged_hash
from primegap.bitcoin.derivation import script_of_address
from primegap.bitcoin.engine import wrongly_spent
from primegap.bitcoin.errors import (
    LocalError,
    RemoteError,
    SigningFaultError,
    TransactionFormatError,
)
from primegap.bitcoin.script_forms import nested_script, p2pkh_script, p2wpkh_script
from primegap.bitcoin.scripts import ScriptType, classify_script
from primegap.bitcoin.sighash import (
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    LegacyHasher,
    SegwitHasher,
    TaprootHasher,
    p2wpkh_script_code,
)
from primegap.bitcoin.transaction import (
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    parse_transaction_untrusted,
    parse_witness_untrusted,
)
from primegap.bitcoin.wire import encode_bytes, encode_count, sha256d

if TYPE_CHECKING:
    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.keys import AccountSigner
    from primegap.bitcoin.networks import Network

MAX_MESSAGE_BYTES: Final = 480
"Of a message that is signed: as hexadecimal digits it still fits one text of the screen."
MAX_SIGNATURE_CHARACTERS: Final = 16_384  # a full one of a large multisig script has 3 kB
_MAGIC: Final = b"\x18Bitcoin Signed Message:\n"
_TAG: Final = "BIP0322-signed-message"
_RECOVERABLE_BYTES: Final = 65
_HEADERS: Final = {ScriptType.P2PKH: 31, ScriptType.P2SH: 35, ScriptType.P2WPKH: 39}
"First header byte of each kind of address (BIP-137); 27 to 30 are keys in their long form."
_JUDGED: Final = frozenset(
    {ScriptType.P2PKH, ScriptType.P2SH, ScriptType.P2WPKH, ScriptType.P2WSH, ScriptType.P2TR}
)
_OP_RETURN: Final = b"\x6a"
_SIMPLE, _FULL = "smp", "ful"


class MessageForm(enum.StrEnum):
    """How a message is signed."""

    BIP137 = "bip137"
    SIMPLE = "bip322-simple"
    FULL = "bip322-full"


class MessageFormError(RemoteError):
    """An address cannot sign or be verified in this form."""

    code = "message-form"
    hint = "Messages cannot be signed in this form for this kind of address."


class MessageSignatureError(RemoteError):
    """A signature is not one of this address and this message."""

    code = "message-signature"
    hint = "The signature does not belong to this address and this message."


class MessageTextError(RemoteError):
    """A message cannot be signed."""

    code = "message-text"
    hint = f"A message to sign has 1 to {MAX_MESSAGE_BYTES} bytes."


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReview:
    """What is going to be signed: shown to the person as it is."""

    account_id: str
    address: str
    keychain: Keychain
    index: int
    form: MessageForm
    message: bytes
    digest: bytes
    "What a confirmation is bound to."

    @property
    def text(self) -> str | None:
        """The message, if the screen shows every byte of it as it is; None otherwise."""
        text = self.message.decode("ascii", "replace")
        plain = all(c == "\n" or " " <= c <= "~" for c in text)
        return text if plain and text == text.strip() and "    " not in text else None


def review_message(
    message: bytes, account: Account, place: AddressMatch, form: MessageForm | None
) -> MessageReview:
    """Check that a message can be signed with an address; say how.

    Args:
        message: the bytes.
        account: of one key.
        place: where in it the address is.
        form: None for the usual one: BIP-137, or BIP-322 simple for taproot (air-gap section 10.4).

    Raises:
        MessageTextError: it is empty or too long.
        MessageFormError: this kind of address cannot sign so.
    """
    if not 0 < len(message) <= MAX_MESSAGE_BYTES:
        raise MessageTextError("empty or too long")
    kind = account.script_type
    if not account.is_standard:
        raise MessageFormError("an address of several keys")
    if form is None:
        form = MessageForm.BIP137 if kind in _HEADERS else MessageForm.SIMPLE
    if (form is MessageForm.BIP137 and kind not in _HEADERS) or (
        form is MessageForm.SIMPLE and kind is ScriptType.P2PKH
    ):
        raise MessageFormError("another form for this kind of address")
    parts = (
        b"primegap/message/v1",
        account.descriptor_hash,
        bytes((place.keychain,)),
        place.index.to_bytes(4, "big"),
        form.value.encode(),
        message,
    )
    return MessageReview(
        account_id=account.id,
        address=account.address(place.keychain, place.index),
        keychain=place.keychain,
        index=place.index,
        form=form,
        message=message,
        digest=hashlib.sha256(b"".join(map(encode_bytes, parts))).digest(),
    )


def sign_message(review: MessageReview, account: Account, signer: AccountSigner) -> str:
    """Sign a message that the person approved; the signature is verified before it is returned.

    Returns:
        Base64; BIP-322 without a prefix, which every verifier reads.

    Raises:
        SigningFaultError: what was made does not verify.
        LocalError: review, account and signer do not belong together.
    """
    if signer.key != account.own_key or review.account_id != account.id:
        raise LocalError("the key is not the one of the account that was reviewed")
    place = AddressMatch(review.keychain, review.index)
    if review_message(review.message, account, place, review.form) != review:
        raise LocalError("the message is not the one that was reviewed")
    if review.form is MessageForm.BIP137:
        digest = message_hash(review.message)
        raw = signer.sign_recoverable(review.keychain, review.index, digest)
        made = bytes((_HEADERS[account.script_type] + raw[64],)) + raw[:64]
    else:
        signed = _sign_transaction(review, account, signer)
        made = _witness(signed) if review.form is MessageForm.SIMPLE else signed.serialise()
    signature = b64encode(made).decode()
    try:
        verify_message(review.message, review.address, signature, account.network)
    except RemoteError as error:
        raise SigningFaultError("a new signature does not verify") from error
    return signature


def _sign_transaction(
    review: MessageReview, account: Account, signer: AccountSigner
) -> Transaction:
    place = review.keychain, review.index
    script = account.script(*place)
    key = account.public_keys(*place)[0]
    unsigned = to_sign(review.message, script)
    coin = TxOutput(Satoshi(0), script)
    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()
    kind = account.script_type
    if kind is ScriptType.P2TR:
        digest = TaprootHasher(unsigned, (coin,)).digest(0, SIGHASH_DEFAULT)
        witness = (signer.sign_schnorr(*place, digest, merkle_root=b""),)
    elif kind is ScriptType.P2PKH:
        digest = LegacyHasher(unsigned).digest(0, script)
        made = signer.sign_ecdsa(*place, digest) + bytes((SIGHASH_ALL,))
        script_sig = encode_bytes(made) + encode_bytes(key)
    else:
        program = p2wpkh_script(key)
        digest = SegwitHasher(unsigned).digest(0, p2wpkh_script_code(program), coin.amount)
        witness = (signer.sign_ecdsa(*place, digest) + bytes((SIGHASH_ALL,)), key)
        script_sig = encode_bytes(program) if kind is ScriptType.P2SH else b""
    return _with(unsigned, script_sig, witness)


def verify_message(message: bytes, address: str, signature: str, network: Network) -> MessageForm:
    """Verify a signature of a message.

    Args:
        message: the bytes, as they were signed.
        address: whose holder is said to have signed.
        signature: base64, with the prefix of BIP-322 or without.
        network: of the address.

    Returns:
        The form of the signature.

    Raises:
        MessageSignatureError: it does not hold.
        AddressFormatError: it is not an address of the network.
    """
    script = script_of_address(address, network)
    prefix, raw = _decode(signature)
    if not prefix and len(raw) == _RECOVERABLE_BYTES and 27 <= raw[0] <= 42:
        try:
            _verify_recoverable(message, script, raw)
        except MessageSignatureError:
            if classify_script(script) is not ScriptType.P2TR:
                raise
        else:
            return MessageForm.BIP137
    if prefix != _FULL:
        try:
            witness = parse_witness_untrusted(raw)
        except TransactionFormatError as error:
            if prefix:
                raise MessageSignatureError("not a witness") from error
        else:
            _judge(to_sign(message, script), script, _script_sig_for(script, witness), witness)
            return MessageForm.SIMPLE
    _verify_full(message, script, raw)
    return MessageForm.FULL


def message_hash(message: bytes) -> bytes:
    """Return what a BIP-137 signature covers."""
    return sha256d(_MAGIC + encode_count(len(message)) + message)


def to_spend(message: bytes, script: bytes) -> Transaction:
    """Return the transaction of BIP-322 whose output is spent by a signature."""
    commitment = b"\x00\x20" + tagged_hash(_TAG, message)
    outpoint = OutPoint(bytes(32), 0xFFFF_FFFF)
    txin = TxInput(outpoint, commitment, 0)
    return Transaction(0, (txin,), (TxOutput(Satoshi(0), script),), 0)


def to_sign(message: bytes, script: bytes) -> Transaction:
    """Return the unsigned transaction of BIP-322 that spends it."""
    outpoint = OutPoint(to_spend(message, script).txid, 0)
    return Transaction(0, (TxInput(outpoint, b"", 0),), (TxOutput(Satoshi(0), _OP_RETURN),), 0)


def _with(unsigned: Transaction, script_sig: bytes, witness: tuple[bytes, ...]) -> Transaction:
    from primegap.bitcoin.engine import signed_transaction

    return signed_transaction(unsigned, {0: (script_sig, witness)})


def _witness(signed: Transaction) -> bytes:
    items = signed.inputs[0].witness
    return encode_count(len(items)) + b"".join(map(encode_bytes, items))


def _script_sig_for(script: bytes, witness: tuple[bytes, ...]) -> bytes:
    """Return what a simple signature leaves out: the redeem script of a nested address."""
    if classify_script(script) is not ScriptType.P2SH or not witness:
        return b""
    last = witness[-1]
    wsh = b"\x00\x20" + hashlib.sha256(last).digest()
    program = next((p for p in (p2wpkh_script(last), wsh) if nested_script(p) == script), b"")
    return encode_bytes(program) if program else b""


def _verify_full(message: bytes, script: bytes, raw: bytes) -> None:
    try:
        signed = parse_transaction_untrusted(raw)
    except TransactionFormatError as error:
        raise MessageSignatureError("not a signature") from error
    first = signed.inputs[0] if len(signed.inputs) == 1 else None
    expected = to_sign(message, script)
    if (
        first is None
        or signed.version not in {0, 2}
        or first.outpoint != expected.inputs[0].outpoint
        or signed.outputs != expected.outputs
    ):
        raise MessageSignatureError("another transaction than the message makes")
    bare = Transaction(
        signed.version,
        (TxInput(first.outpoint, b"", first.sequence),),
        signed.outputs,
        signed.lock_time,
    )
    if (signed.lock_time, first.sequence) != (0, 0):
        # Whether a lock is over depends on the chain, of which nothing is known here.
        raise MessageSignatureError("the signature is good from a set time on only")
    _judge(bare, script, first.script_sig, first.witness)


def _judge(
    unsigned: Transaction, script: bytes, script_sig: bytes, witness: tuple[bytes, ...]
) -> None:
    """Have Bitcoin Core's engine run the script; require signatures that cover everything."""
    coin = TxOutput(Satoshi(0), script)
    if (
        classify_script(script) not in _JUDGED
        or not (script_sig or witness)
        or wrongly_spent(unsigned, (coin,), {0: (script_sig, witness)}) is not None
    ):
        raise MessageSignatureError("the script is not satisfied")
    if not _covers_everything(script, script_sig, witness):
        raise MessageSignatureError("a signature does not cover everything")


def _covers_everything(script: bytes, script_sig: bytes, witness: tuple[bytes, ...]) -> bool:
    """Tell whether what looks like a signature is as BIP-322 requires: SIGHASH_ALL, low, strict.

    Scripts in a taproot tree are not judged: which items are signatures is not known.
    """
    if classify_script(script) is ScriptType.P2TR:
        size = [len(item) for item in witness]
        return size == [64] or (size == [65] and witness[0][64] == SIGHASH_ALL)
    items = witness[:-1] if witness else (script_sig[1 : 1 + script_sig[0]],)
    signatures = [item for item in items if 8 < len(item) <= 73 and item[0] == 0x30]
    return all(item[-1] == SIGHASH_ALL and is_low_der(item[:-1]) for item in signatures)


def _verify_recoverable(message: bytes, script: bytes, raw: bytes) -> None:
    number = raw[0] - 27
    key = recover_public_key(
        raw[1:] + bytes((number & 3,)), message_hash(message), compressed=number >= 4
    )
    if key is None:
        raise MessageSignatureError("not a signature")
    # Many wallets write the header of P2PKH for every kind of address: the key is what counts.
    forms = [p2pkh_script(key)]
    if number >= 4:
        forms += [nested_script(p2wpkh_script(key)), p2wpkh_script(key)]
    allowed = {0: forms[:1], 1: forms, 2: forms[1:2], 3: forms[2:]}[number // 4]
    if script not in allowed:
        raise MessageSignatureError("another address signed")


def _decode(signature: str) -> tuple[str, bytes]:
    text = signature.strip()
    if not 0 < len(text) <= MAX_SIGNATURE_CHARACTERS or not text.isascii():
        raise MessageSignatureError("not base64")
    for prefix in (_SIMPLE, _FULL):
        # Every prefix is base64 too: only what goes on as a whole number of groups has one.
        if text.startswith(prefix) and len(text) % 4 == len(prefix):
            return prefix, _base64(text[len(prefix) :])
    return "", _base64(text)


def _base64(text: str) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        raise MessageSignatureError("not base64") from None
