"""Every kind of account: BDK prepares, we and `embit` sign, BDK finishes, Core's engine judges."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from functools import cache
from typing import Any

import bdkpython as bdk
import pytest
from tests.bitcoin_kit import (
    OUR_ENTROPY,
    THEIR_ENTROPY,
    Wallet,
    edit_input,
    edit_output,
    engine_accepts,
    wallet_of,
    with_field,
)

from primegap.bitcoin.accounts import Account, Keychain
from primegap.bitcoin.errors import (
    AccountFormatError,
    AlreadySignedError,
    BadSignatureError,
    NothingToSignError,
    ScriptFieldError,
    SighashError,
    SigningFaultError,
)
from primegap.bitcoin.finish import finalise, merge_signed
from primegap.bitcoin.keys import AccountSigner, key_at, private_key_at
from primegap.bitcoin.networks import Network
from primegap.bitcoin.paths import account_path
from primegap.bitcoin.psbt import PsbtMap, build_psbt, parse_psbt_untrusted
from primegap.bitcoin.psbt_fields import InputField, OutputField
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.review_values import ChangeOutput, ForeignInput, OwnInput
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.transaction import TxInput, TxOutput
from primegap.bitcoin.wallet_policy import parse_template_untrusted

NETWORK = Network.REGTEST
SEEDS = (OUR_ENTROPY, THEIR_ENTROPY, bytes(range(64, 96)))
MULTISIG = {
    "wsh sorted": "wsh(sortedmulti(2,@0/**,@1/**,@2/**))",
    "wsh": "wsh(multi(2,@0/**,@1/**,@2/**))",
    "sh-wsh sorted": "sh(wsh(sortedmulti(2,@0/**,@1/**,@2/**)))",
}
MINISCRIPT = {
    "and": "wsh(and_v(v:pk(@0/**),pk(@1/**)))",
    "hashed key": "wsh(and_v(v:pkh(@0/**),pk(@1/**)))",
    "thresh": "wsh(thresh(2,pk(@0/**),s:pk(@1/**),s:pk(@2/**)))",
    "tapscript": "tr(@2/**,and_v(v:pk(@0/**),pk(@1/**)))",
    "tapscript multi_a": "tr(@2/**,multi_a(2,@0/**,@1/**))",
}


def signer_of(seed: int, path: str) -> AccountSigner:
    return AccountSigner.from_private_key(private_key_at(SEEDS[seed], NETWORK, path), NETWORK)


def renumbered(template: str) -> str:
    """Our key is `@1` where the tree has another one in front."""
    return template.replace("@2", "@9").replace("@1", "@2").replace("@0", "@1").replace("@9", "@0")


@cache
def shared(template: str, own: int) -> Account:
    """The wallet of a template as the device with one of the seeds sees it."""
    text = renumbered(template) if template.startswith("tr") else template
    path = account_path(NETWORK, 0, 48)
    parsed = parse_template_untrusted(text)
    keys = tuple(key_at(SEEDS[number], NETWORK, path) for number in range(3))
    if text.startswith("tr"):
        keys = (keys[2], keys[0], keys[1])
        own = (own + 1) % 3
    return Account.from_policy(parsed, keys[: parsed.key_count], NETWORK, name="Test", own=own)


def prepared(account: Account, signer: AccountSigner) -> tuple[Wallet, bytes]:
    wallet = wallet_of(signer, account)
    wallet.fund(60_000)
    wallet.fund(70_000, keychain=bdk.KeychainKind.INTERNAL)

    def on_path(builder: Any) -> Any:
        for kind in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL):
            policy = wallet.bdk_wallet.policies(kind)
            if policy is not None and policy.requires_path():
                builder = builder.policy_path({policy.id(): [1]}, kind)
        return builder

    return wallet, wallet.pay(100_000, build=on_path)


def sign(psbt: bytes, account: Account, signer: AccountSigner) -> bytes:
    review = review_psbt(psbt, account)
    return sign_psbt(psbt, review, review.digest, account, signer)


def coins_of(psbt: bytes) -> list[tuple[int, bytes]]:
    """Amount and script of each coin, as embit reads them."""
    from embit.psbt import PSBT

    coins = []
    for part in PSBT.parse(psbt).inputs:
        output = part.utxo
        coins.append((output.value, output.script_pubkey.data))
    return coins


def by_embit(psbt: bytes, seed: int) -> bytes:
    """Sign with embit, which shares no code with us."""
    from embit import bip32, bip39
    from embit.psbt import PSBT

    words = bip39.mnemonic_from_bytes(SEEDS[seed])
    root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(words))
    parsed = PSBT.parse(psbt)
    assert parsed.sign_with(root) > 0
    signed: bytes = parsed.serialize()
    return signed


# --- one key ------------------------------------------------------------------------------------


@cache
def single(purpose: int) -> tuple[Account, AccountSigner, bytes]:
    signer = signer_of(0, account_path(NETWORK, 0, purpose))
    account = Account.from_key(signer.key, NETWORK)
    _, psbt = prepared(account, signer)
    return account, signer, psbt


@pytest.mark.parametrize("purpose", [44, 49, 84, 86])
def test_accounts_with_one_key(purpose: int) -> None:
    account, signer, psbt = single(purpose)
    review = review_psbt(psbt, account)
    assert [type(item) for item in review.inputs] == [OwnInput, OwnInput]
    assert any(isinstance(item, ChangeOutput) for item in review.outputs)
    signed = sign(psbt, account, signer)
    finished = finalise(merge_signed(psbt, signed))
    assert engine_accepts(finished.raw, coins_of(psbt))
    assert abs(review.vsize_vb - finished.vsize_vb) <= 2 * len(review.inputs)
    with pytest.raises(AlreadySignedError):
        review_psbt(signed, account)
    assert sign(psbt, account, signer) == signed  # the same bytes each time


@pytest.mark.parametrize("purpose", [44, 49, 84])
def test_embit_makes_the_same_signatures(purpose: int) -> None:
    account, signer, psbt = single(purpose)
    ours = parse_psbt_untrusted(sign(psbt, account, signer))
    theirs = parse_psbt_untrusted(by_embit(psbt, 0))
    for mine, other in zip(ours.inputs, theirs.inputs, strict=True):
        assert mine.items(InputField.PARTIAL_SIG) == other.items(InputField.PARTIAL_SIG)


def test_embits_taproot_signature_is_taken() -> None:
    _, _, psbt = single(86)
    signed = by_embit(psbt, 0)
    finished = finalise(merge_signed(psbt, signed))
    assert engine_accepts(finished.raw, coins_of(psbt))


def test_taproot_signs_what_is_asked_for_as_long_as_it_is_everything() -> None:
    account, signer, psbt = single(86)
    everything = edit_input(psbt, 0, InputField.SIGHASH_TYPE, b"\x01\0\0\0")
    signed = parse_psbt_untrusted(sign(everything, account, signer))
    sizes = [len(part.value(InputField.TAP_KEY_SIG) or b"") for part in signed.inputs]
    assert sizes == [65, 64]
    assert engine_accepts(finalise(signed.serialise()).raw, coins_of(psbt))
    for sighash in (b"\x02", b"\x03", b"\x81", b"\x83"):
        with pytest.raises(SighashError):
            review_psbt(edit_input(psbt, 0, InputField.SIGHASH_TYPE, sighash + b"\0\0\0"), account)


@pytest.mark.parametrize("purpose", [44, 49, 86])
def test_forged_signatures_and_scripts_of_one_key(purpose: int) -> None:
    account, signer, psbt = single(purpose)
    signed = parse_psbt_untrusted(sign(psbt, account, signer))
    field = InputField.TAP_KEY_SIG if purpose == 86 else InputField.PARTIAL_SIG
    ((data, value),) = signed.inputs[0].items(field)
    damaged = value[:12] + bytes((value[12] ^ 1,)) + value[13:]
    with pytest.raises(BadSignatureError):
        review_psbt(edit_input(psbt, 0, field, damaged, data), account)
    with pytest.raises(BadSignatureError):
        review_psbt(edit_input(psbt, 1, field, value, data), account)
    for name in (InputField.REDEEM_SCRIPT, InputField.WITNESS_SCRIPT):
        with pytest.raises(ScriptFieldError):
            review_psbt(edit_input(psbt, 0, name, b"\x51"), account)
    if purpose == 49:
        with pytest.raises(ScriptFieldError):
            review_psbt(edit_input(psbt, 0, InputField.REDEEM_SCRIPT, None), account)
    if purpose == 86:
        for name in (InputField.TAP_INTERNAL_KEY, InputField.TAP_MERKLE_ROOT):
            with pytest.raises(ScriptFieldError):
                review_psbt(edit_input(psbt, 0, name, bytes(32)), account)


@pytest.mark.parametrize("purpose", [44, 49, 84, 86])
def test_finished_inputs_are_judged_by_the_engine(purpose: int) -> None:
    """An input of ours that says it is finished is run, not believed."""
    account, signer, psbt = single(purpose)
    raw = finalise(sign(psbt, account, signer)).raw
    done = bdk.Transaction(raw).input()[0]
    witness = bytes((len(done.witness),)) + b"".join(
        bytes((len(item),)) + item for item in done.witness
    )
    script = done.script_sig.to_bytes()
    half = psbt
    if done.witness:
        half = edit_input(half, 0, InputField.FINAL_SCRIPT_WITNESS, witness)
    if script:
        half = edit_input(half, 0, InputField.FINAL_SCRIPT_SIG, script)
    review = review_psbt(half, account)
    assert [item.needs_signature for item in review.own_inputs] == [False, True]
    at = 20
    field = InputField.FINAL_SCRIPT_WITNESS if done.witness else InputField.FINAL_SCRIPT_SIG
    value = witness if done.witness else script
    wrong = value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]
    with pytest.raises(BadSignatureError):
        review_psbt(edit_input(half, 0, field, wrong), account)


# --- several keys -------------------------------------------------------------------------------


@cache
def joint(name: str) -> tuple[Account, Account, bytes]:
    template = {**MULTISIG, **MINISCRIPT}[name]
    first, second = shared(template, 0), shared(template, 1)
    _, psbt = prepared(first, signer_of(0, account_path(NETWORK, 0, 48)))
    return first, second, psbt


@pytest.mark.parametrize("name", [*MULTISIG, *MINISCRIPT])
def test_two_devices_sign_one_after_the_other(name: str) -> None:
    first, second, psbt = joint(name)
    path = account_path(NETWORK, 0, 48)
    review = review_psbt(psbt, first)
    assert all(isinstance(item, OwnInput) for item in review.inputs)
    assert any(isinstance(item, ChangeOutput) for item in review.outputs)
    half = sign(psbt, first, signer_of(0, path))
    with pytest.raises(NothingToSignError):
        review_psbt(half, first)
    signed = sign(half, second, signer_of(1, path))
    finished = finalise(merge_signed(psbt, signed))
    assert engine_accepts(finished.raw, coins_of(psbt))
    assert finished.vsize_vb <= review.vsize_vb
    with pytest.raises(AccountFormatError):
        Account.from_policy(first.template, first.keys[:1], NETWORK)


@pytest.mark.parametrize("name", [*MULTISIG, "and", "hashed key"])
def test_we_and_embit_make_one_transaction(name: str) -> None:
    first, _, psbt = joint(name)
    ours = sign(psbt, first, signer_of(0, account_path(NETWORK, 0, 48)))
    merged = merge_signed(merge_signed(psbt, by_embit(psbt, 1)), ours)
    assert engine_accepts(finalise(merged).raw, coins_of(psbt))


@pytest.mark.parametrize("name", [*MULTISIG, *MINISCRIPT])
def test_descriptors_of_shared_wallets_are_read_back(name: str) -> None:
    first, _, _ = joint(name)
    own = first.own_key.fingerprint
    assert Account.parse_untrusted(
        first.external, first.internal, NETWORK, name="Test", own=own
    ) == (first)
    other = bdk.Descriptor(first.internal, bdk.NetworkKind.TEST)
    for index in (0, 7):
        address = other.derive_address(index, bdk.Network.REGTEST)
        assert first.address(Keychain.INTERNAL, index) == str(address)


@pytest.mark.parametrize("name", ["wsh sorted", "sh-wsh sorted", "and"])
def test_forged_scripts_and_keys_of_shared_wallets(name: str) -> None:
    first, _, psbt = joint(name)
    for value in (None, b"\x51"):
        with pytest.raises(ScriptFieldError):
            review_psbt(edit_input(psbt, 0, InputField.WITNESS_SCRIPT, value), first)
    position = next(
        item.position for item in review_psbt(psbt, first).outputs if isinstance(item, ChangeOutput)
    )
    claims = parse_psbt_untrusted(psbt).outputs[position].items(OutputField.DERIVATION)
    forged = psbt
    for key, _ in claims:  # change that nobody claims is a payment
        forged = edit_output(forged, position, OutputField.DERIVATION, None, key)
    assert not any(isinstance(item, ChangeOutput) for item in review_psbt(forged, first).outputs)


@pytest.mark.parametrize("name", ["tapscript", "tapscript multi_a"])
def test_forged_leaves(name: str) -> None:
    first, _, psbt = joint(name)
    parsed = parse_psbt_untrusted(psbt)
    ((control, script),) = parsed.inputs[0].items(InputField.TAP_LEAF_SCRIPT)
    without = edit_input(psbt, 0, InputField.TAP_LEAF_SCRIPT, None, control)
    for evil in (
        edit_input(psbt, 0, InputField.TAP_LEAF_SCRIPT, b"\x51\xc0", control),
        edit_input(psbt, 0, InputField.TAP_LEAF_SCRIPT, script[:-1] + b"\xc2", control),
        edit_input(without, 0, InputField.TAP_LEAF_SCRIPT, script, control + bytes(32)),
        edit_input(
            without, 0, InputField.TAP_LEAF_SCRIPT, script, bytes((control[0] ^ 1,)) + control[1:]
        ),
    ):
        with pytest.raises(ScriptFieldError):
            review_psbt(evil, first)


# --- several wallets ----------------------------------------------------------------------------


def test_a_transaction_of_several_wallets_and_kinds() -> None:
    """Like a coinjoin: each signs only its own, and what is signed holds for all."""
    purposes = (44, 49, 84, 86)
    parts = [single(purpose) for purpose in purposes]
    inputs: list[TxInput] = []
    outputs: list[TxOutput] = []
    maps_in: list[PsbtMap] = []
    maps_out: list[PsbtMap] = []
    for purpose, (_, _, psbt) in zip(purposes, parts, strict=True):
        parsed = parse_psbt_untrusted(psbt)
        inputs += parsed.transaction.inputs
        outputs += parsed.transaction.outputs
        maps_in += [_with_previous(part, purpose) for part in parsed.inputs]
        maps_out += parsed.outputs
    base = parse_psbt_untrusted(parts[0][2]).transaction
    joined = build_psbt(
        replace(base, inputs=tuple(inputs), outputs=tuple(outputs)).serialise(),
        tuple(maps_in),
        tuple(maps_out),
    )
    signed = joined
    for number, (account, signer, _) in enumerate(parts):
        # Each device knows its seed's other accounts only as claims of strangers.
        theirs = parse_psbt_untrusted(joined)
        stripped = theirs.with_inputs(
            tuple(
                part if 2 * number <= position < 2 * number + 2 else _without_claims(part)
                for position, part in enumerate(theirs.inputs)
            )
        )
        review = review_psbt(stripped.serialise(), account)
        assert sum(isinstance(item, ForeignInput) for item in review.inputs) == 6
        signed = merge_signed(signed, sign(stripped.serialise(), account, signer))
    assert engine_accepts(finalise(signed).raw, coins_of(joined))


def _with_previous(part: PsbtMap, purpose: int) -> PsbtMap:
    """BDK leaves the previous transaction of a taproot coin out; others want it all the same."""
    if purpose != 86:
        return part
    account, signer, _ = single(86)
    wallet, _ = prepared(account, signer)
    coin = part.value(InputField.WITNESS_UTXO)
    assert coin is not None
    (raw,) = [
        tx.transaction.serialize()
        for tx in wallet.bdk_wallet.transactions()
        if coin in tx.transaction.serialize()
    ]
    return with_field(part, InputField.NON_WITNESS_UTXO, raw)


def _without_claims(part: PsbtMap) -> PsbtMap:
    for field in (InputField.DERIVATION, InputField.TAP_DERIVATION):
        for data, _ in part.items(field):
            part = with_field(part, field, None, data)
    return part


class WrongKey(AccountSigner):
    """Signs rightly, but with the key of another address."""

    __slots__ = ("_inner",)

    def __init__(self, inner: AccountSigner) -> None:
        self._inner = inner
        self._key = inner.key

    def sign_ecdsa(self, chain: int, index: int, digest: bytes) -> bytes:
        return self._inner.sign_ecdsa(chain, index + 1, digest)

    def sign_schnorr(
        self, chain: int, index: int, digest: bytes, *, merkle_root: bytes | None = None
    ) -> bytes:
        return self._inner.sign_schnorr(chain, index + 1, digest, merkle_root=merkle_root)


@pytest.mark.parametrize("purpose", [44, 49, 84, 86])
def test_a_wrong_signature_of_any_kind_stays_inside(purpose: int) -> None:
    account, signer, psbt = single(purpose)
    review = review_psbt(psbt, account)
    with pytest.raises(SigningFaultError):
        sign_psbt(psbt, review, review.digest, account, WrongKey(signer))


def test_bdk_reads_what_we_sign() -> None:
    for purpose in (44, 49, 84, 86):
        account, signer, psbt = single(purpose)
        text = b64encode(sign(psbt, account, signer)).decode()
        assert b64decode(bdk.Psbt(text).serialize())
