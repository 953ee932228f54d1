"""Wallets with coins for the tests of the bitcoin room, and Bitcoin Core's engine as the judge."""

from __future__ import annotations

import atexit
import hashlib
from base64 import b64decode
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import bdkpython as bdk

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.derivation import bdk_network, bdk_network_kind
from primegap.bitcoin.keys import AccountSigner
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import MAGIC, PsbtMap, parse_psbt_untrusted
from primegap.bitcoin.transaction import Transaction, TxInput, parse_transaction_untrusted
from primegap.bitcoin.wire import encode_bytes, encode_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OUR_ENTROPY = bytes(range(16))
THEIR_ENTROPY = bytes(range(32, 48))
STRANGER = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
"The P2WPKH script of BIP-173's example key."


@dataclass
class Wallet:
    """A BDK wallet of an account, with coins out of nowhere."""

    signer: AccountSigner
    account: Account
    bdk_wallet: Any
    coins: int = field(default=0)

    def close(self) -> None:
        """Let BDK's objects go."""
        self.signer.close()
        self.bdk_wallet = None

    def fund(self, *amounts: int, keychain: Any = None) -> None:
        """Give the wallet a transaction with an output for each amount."""
        chain = bdk.KeychainKind.EXTERNAL if keychain is None else keychain
        outputs = b""
        for amount in amounts:
            address = self.bdk_wallet.reveal_next_address(chain).address
            outputs += amount.to_bytes(8, "little") + encode_bytes(
                address.script_pubkey().to_bytes()
            )
        self.coins += 1
        source = hashlib.sha256(
            self.account.external.encode() + self.coins.to_bytes(4, "big")
        ).digest()
        raw = b"\x02\0\0\0\x01" + source + b"\0\0\0\0\0\xfd\xff\xff\xff"
        raw += encode_count(len(amounts)) + outputs + b"\0\0\0\0"
        self.bdk_wallet.apply_unconfirmed_txs(
            [bdk.UnconfirmedTx(tx=bdk.Transaction(raw), last_seen=1)]
        )

    def pay(
        self,
        amount: int,
        script: bytes = STRANGER,
        *,
        fee_rate: int = 3,
        build: Callable[[Any], Any] = lambda builder: builder,
    ) -> bytes:
        """Return the PSBT of a payment."""
        builder = bdk.TxBuilder().add_recipient(bdk.Script(script), bdk.Amount.from_sat(amount))
        builder = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(fee_rate))
        builder = builder.ordering(bdk.TxOrdering.UNTOUCHED)
        builder = builder.coin_selection(bdk.CoinSelectionAlgorithm.LARGEST_FIRST)
        return b64decode(build(builder).finish(self.bdk_wallet).serialize())


def make_wallet(
    entropy: bytes = OUR_ENTROPY, network: Network = Network.REGTEST, account: int = 0
) -> Wallet:
    """Return an empty wallet of an account."""
    signer = AccountSigner.from_entropy(entropy, network, account)
    return wallet_of(signer, Account.from_key(signer.key, network))


def wallet_of(signer: AccountSigner, account: Account) -> Wallet:
    """Return an empty wallet of any account."""
    external, internal = (
        bdk.Descriptor(text, bdk_network_kind(account.network))
        for text in (account.external, account.internal)
    )
    wallet = bdk.Wallet(
        external, internal, bdk_network(account.network), bdk.Persister.new_in_memory(), lookahead=5
    )
    made = Wallet(signer, account, wallet)
    # BDK's objects must not outlive its module at the end of the interpreter.
    atexit.register(made.close)
    return made


def funded_wallet(entropy: bytes = OUR_ENTROPY, account: int = 0) -> Wallet:
    """Return a wallet with coins of 100 000, 150 000 and 100 000 satoshis, each of its own."""
    wallet = make_wallet(entropy, account=account)
    for amount in (100_000, 150_000, 100_000):
        wallet.fund(amount)
    return wallet


# --- forging ------------------------------------------------------------------------------------


def with_field(part: PsbtMap, kind: int, value: bytes | None, key_data: bytes = b"") -> PsbtMap:
    """Return a map with a field set, or without it."""
    key = encode_count(kind) + key_data
    entries = tuple(entry for entry in part.entries if entry[0] != key)
    return PsbtMap(entries if value is None else (*entries, (key, value)))


def edit_input(
    psbt: bytes, position: int, kind: int, value: bytes | None, key_data: bytes = b""
) -> bytes:
    """Return a PSBT with a field of an input set, or without it."""
    parsed = parse_psbt_untrusted(psbt)
    inputs = list(parsed.inputs)
    inputs[position] = with_field(inputs[position], kind, value, key_data)
    return parsed.with_inputs(tuple(inputs)).serialise()


def edit_output(
    psbt: bytes, position: int, kind: int, value: bytes | None, key_data: bytes = b""
) -> bytes:
    """Return a PSBT with a field of an output set, or without it."""
    parsed = parse_psbt_untrusted(psbt)
    outputs = list(parsed.outputs)
    outputs[position] = with_field(outputs[position], kind, value, key_data)
    return replace(parsed, outputs=tuple(outputs)).serialise()


def edit_global(psbt: bytes, kind: int, value: bytes | None, key_data: bytes = b"") -> bytes:
    """Return a PSBT with a field of the header set, or without it."""
    parsed = parse_psbt_untrusted(psbt)
    return replace(parsed, globals=with_field(parsed.globals, kind, value, key_data)).serialise()


def edit_transaction(psbt: bytes, edit: Callable[[Transaction], Transaction]) -> bytes:
    """Return a PSBT around another unsigned transaction of the same shape."""
    parsed = parse_psbt_untrusted(psbt)
    raw = edit(parsed.transaction).serialise()
    return edit_global(psbt, 0, raw)


def raw_psbt(unsigned: bytes, *maps: bytes) -> bytes:
    """Return a PSBT from the bytes of its parts."""
    return MAGIC + b"\x01\x00" + encode_bytes(unsigned) + b"\x00" + b"".join(maps)


# --- judging ------------------------------------------------------------------------------------


def spent_coins(psbt: bytes) -> list[tuple[int, bytes]]:
    """Return amount and script of every coin a PSBT spends, read by BDK."""
    parsed = bdk.Psbt(_text(psbt))
    return [
        (part.witness_utxo.value.to_sat(), part.witness_utxo.script_pubkey.to_bytes())
        for part in parsed.input()
    ]


def _text(psbt: bytes) -> str:
    from base64 import b64encode

    return b64encode(psbt).decode()


def engine_accepts(raw: bytes, coins: Sequence[tuple[int, bytes]]) -> bool:
    """Ask Bitcoin Core's engine whether every input of a transaction is spent rightly."""
    import pbk
    from pbk.script import PrecomputedTransactionData

    transaction = pbk.Transaction(raw)
    scripts = [pbk.ScriptPubkey(script) for _, script in coins]
    outputs = [
        pbk.TransactionOutput(script, amount)
        for script, (amount, _) in zip(scripts, coins, strict=True)
    ]
    shared = PrecomputedTransactionData(transaction, outputs)
    try:
        return all(
            script.verify(amount, transaction, shared, position, pbk.ScriptVerificationFlags.ALL)
            for position, (script, (amount, _)) in enumerate(zip(scripts, coins, strict=True))
        )
    except pbk.ScriptVerifyException:
        return False


def unsigned_of(raw: bytes) -> Transaction:
    """Return a transaction without its signatures."""
    transaction = parse_transaction_untrusted(raw)
    inputs = tuple(TxInput(txin.outpoint, b"", txin.sequence) for txin in transaction.inputs)
    return Transaction(transaction.version, inputs, transaction.outputs, transaction.lock_time)
