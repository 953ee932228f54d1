"""One account as a watch-only wallet: BDK descriptors, SQLite storage, a stock Electrum client.

All calls block; the companion runs them in a worker thread, one at a time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import bdkpython as bdk

from primegap.companion.errors import (
    AddressError,
    BroadcastRefusedError,
    InsufficientFundsError,
    PaymentError,
    ServerError,
    StateError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.networks import Network

STOP_GAP: Final = 20  # unused addresses after which a first scan ends
BATCH: Final = 10
TIMEOUT_S: Final = 15
RETRIES: Final = 2
FEE_TARGET_BLOCKS: Final = 3
MIN_FEE_RATE: Final = 1
MAX_FEE_RATE: Final = 25_000  # sat/vB; a larger one is a slip of the finger
DEFAULT_FEE_RATE: Final = 2  # when the server has no estimate, as on a fresh private chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Amounts in satoshi."""

    confirmed: int
    pending: int
    "Unconfirmed, from others and own change."
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One transaction of the account."""

    txid: str
    delta: int
    "Change of the balance in satoshi: negative for a payment, fee included."
    fee: int | None
    height: int | None
    "Block height, None while unconfirmed."
    confirmations: int
    time_s: int | None
    "Time in its block's header, seconds since 1970; None while unconfirmed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An unsigned payment."""

    psbt: bytes
    txid: str
    "Transaction id; for segwit inputs it does not change by signing."
    address: str
    amount: int
    fee: int
    fee_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveAddress:
    """An address to receive on."""

    index: int
    address: str


class AccountWallet:
    """BDK wallet of one account; its file is `<account id>.sqlite`."""

    def __init__(self, account: Account, folder: Path) -> None:
        """Open the wallet's file, or create it.

        Raises:
            StateError: the file is damaged or belongs to other descriptors.
        """
        self.account = account
        path = folder / f"{account.id}.sqlite"
        external = bdk.Descriptor(account.external, network_kind(account.network))
        internal = bdk.Descriptor(account.internal, network_kind(account.network))
        try:
            existed = path.exists()
            self._store = bdk.Persister.new_sqlite(str(path))
            if existed:
                self._wallet = bdk.Wallet.load(external, internal, self._store)
            else:
                self._wallet = bdk.Wallet(
                    external, internal, bdk_network(account.network), self._store
                )
                self._wallet.persist(self._store)
        except (
            bdk.LoadWithPersistError,
            bdk.CreateWithPersistError,
            bdk.PersistenceError,
        ) as error:
            raise StateError(f"cannot open the wallet of account {account.id}") from error

    # -- reading --------------------------------------------------------------------------------

    def balance(self) -> Balance:
        """Return the balance as of the last sync."""
        balance = self._wallet.balance()
        pending = balance.trusted_pending.to_sat() + balance.untrusted_pending.to_sat()
        return Balance(
            confirmed=balance.confirmed.to_sat(), pending=pending, total=balance.total.to_sat()
        )

    def height(self) -> int:
        """Return the height of the last block that was seen."""
        return int(self._wallet.latest_checkpoint().height)

    def history(self) -> list[HistoryEntry]:
        """Return all transactions, newest first."""
        tip = self.height()
        entries = [
            self._entry(item.transaction.compute_txid(), tip)
            for item in self._wallet.transactions()
        ]
        return sorted(
            entries, key=lambda entry: (entry.height is None, entry.height or 0), reverse=True
        )

    def _entry(self, txid: bdk.Txid, tip: int) -> HistoryEntry:
        details = self._wallet.tx_details(txid)
        assert details is not None
        height = time_s = None
        if details.chain_position.is_confirmed():
            block_time = details.chain_position.confirmation_block_time
            height, time_s = block_time.block_id.height, block_time.confirmation_time
        return HistoryEntry(
            txid=str(txid),
            delta=details.balance_delta,
            fee=None if details.fee is None else details.fee.to_sat(),
            height=height,
            confirmations=0 if height is None else tip - height + 1,
            time_s=time_s,
        )

    def find(self, txid: str) -> HistoryEntry | None:
        """Return one transaction, or None when the account does not know it."""
        return next((entry for entry in self.history() if entry.txid == txid), None)

    def receive_address(self) -> ReceiveAddress:
        """Return the next address that was not used yet."""
        info = self._wallet.next_unused_address(bdk.KeychainKind.EXTERNAL)
        self._wallet.persist(self._store)
        return ReceiveAddress(index=info.index, address=str(info.address))

    # -- chain ----------------------------------------------------------------------------------

    def fetch(self, electrum_url: str) -> Any:
        """Ask an Electrum server for what is new; the first time scan for used addresses.

        The wallet is not changed; hand the result to `apply`. The wallet may be used meanwhile.

        Raises:
            ServerError: the server cannot be reached or answers wrongly.
        """
        client = connect(electrum_url)
        try:
            if self._wallet.latest_checkpoint().height == 0:
                request = self._wallet.start_full_scan().build()
                return client.full_scan(request, STOP_GAP, BATCH, fetch_prev_txouts=True)
            sync_request = self._wallet.start_sync_with_revealed_spks().build()
            return client.sync(sync_request, BATCH, fetch_prev_txouts=True)
        except (bdk.ElectrumError, bdk.RequestBuilderError) as error:
            raise ServerError(f"sync with {electrum_url} failed") from error

    def apply(self, news: Any) -> None:
        """Take over what `fetch` returned, and store it.

        Raises:
            ServerError: it does not connect to the chain known here; the wallet is unchanged.
        """
        try:
            self._wallet.apply_update(news)
        except bdk.CannotConnectError as error:
            raise ServerError(
                "the server's chain does not connect to the one known here"
            ) from error
        self._wallet.persist(self._store)

    # -- paying ---------------------------------------------------------------------------------

    def compose(self, address: str, amount: int, fee_rate: int) -> Draft:
        """Compose a payment from confirmed coins; nothing is reserved until it is broadcast.

        Raises:
            AddressError: the address is malformed or of another network.
            InsufficientFundsError: not enough confirmed coins.
            PaymentError: amount below dust, or the fee rate is out of range.
        """
        if not MIN_FEE_RATE <= fee_rate <= MAX_FEE_RATE:
            raise PaymentError(f"the fee rate must be {MIN_FEE_RATE} to {MAX_FEE_RATE} sat/vB")
        if amount <= 0:
            raise PaymentError("the amount must be positive")
        script = self._script(address)
        builder = (
            bdk.TxBuilder()
            .add_recipient(script, bdk.Amount.from_sat(amount))
            .fee_rate(bdk.FeeRate.from_sat_per_vb(fee_rate))
            .exclude_unconfirmed()
        )
        try:
            psbt = builder.finish(self._wallet)
        except bdk.CreateTxError.CoinSelection as error:
            raise InsufficientFundsError("not enough confirmed coins") from error
        except bdk.CreateTxError.InsufficientFunds as error:
            raise InsufficientFundsError("not enough confirmed coins") from error
        except bdk.CreateTxError.OutputBelowDustLimit as error:
            raise PaymentError("the amount is below the dust limit") from error
        except bdk.CreateTxError as error:
            raise PaymentError(f"cannot compose the payment ({type(error).__name__})") from error
        self._wallet.persist(self._store)
        return Draft(
            psbt=decode_base64(psbt.serialize()),
            txid=str(psbt.extract_tx_unchecked_fee_rate().compute_txid()),
            address=address,
            amount=amount,
            fee=psbt.fee(),
            fee_rate=fee_rate,
        )

    def _script(self, address: str) -> bdk.Script:
        try:
            return bdk.Address(address, bdk_network(self.account.network)).script_pubkey()
        except bdk.AddressParseError as error:
            raise AddressError("the address is not valid on this network") from error

    def broadcast(self, transaction: bytes, electrum_url: str) -> str:
        """Broadcast a signed transaction; return its id. One that is on the chain is no failure.

        Raises:
            ServerError: the server cannot be reached; the payment can be broadcast again later.
            BroadcastRefusedError: the network refused it, with its reason.
        """
        tx = bdk.Transaction(transaction)
        txid = tx.compute_txid()
        client = connect(electrum_url)
        try:
            client.transaction_broadcast(tx)
        except bdk.ElectrumError.Protocol as error:
            # A companion that died before it noted the broadcast does it again; in a block by now,
            # the transaction is refused as one whose coins are spent.
            if not _is_known(client, txid):
                raise BroadcastRefusedError(refusal_reason(error)) from error
        except bdk.ElectrumError as error:
            raise ServerError(f"{electrum_url} did not take the transaction") from error
        return str(txid)

    def note_broadcast(self, transaction: bytes) -> None:
        """Count a transaction that was broadcast: its coins are spent, its change is pending."""
        seen = bdk.UnconfirmedTx(tx=bdk.Transaction(transaction), last_seen=int(time.time()))
        self._wallet.apply_unconfirmed_txs([seen])
        self._wallet.persist(self._store)


def _is_known(client: bdk.ElectrumClient, txid: bdk.Txid) -> bool:
    try:
        return str(client.fetch_tx(txid).compute_txid()) == str(txid)
    except bdk.ElectrumError:
        return False


def estimate_fee_rate(electrum_url: str) -> int:
    """Return a fee rate in sat/vB for confirmation within a few blocks.

    Raises:
        ServerError: the server cannot be reached.
    """
    client = connect(electrum_url)
    try:
        per_kvb = client.estimate_fee(FEE_TARGET_BLOCKS)
    except bdk.ElectrumError as error:
        raise ServerError(f"{electrum_url} gave no fee estimate") from error
    if per_kvb <= 0:
        return DEFAULT_FEE_RATE
    # BTC/kvB arrives as a float; whole satoshis per kvB are exact in it.
    rate = -(-round(float(per_kvb) * 1e8) // 1000)
    return min(MAX_FEE_RATE, max(MIN_FEE_RATE, rate))


def refusal_reason(error: bdk.ElectrumError.Protocol) -> str:
    """Return the server's own words, bounded and printable."""
    text = "".join(c for c in str(error.error_message) if c.isprintable())
    return f"the network refused the transaction: {text[:200]}"


def connect(electrum_url: str) -> bdk.ElectrumClient:
    """Connect to an Electrum server.

    Raises:
        ServerError: it cannot be reached.
    """
    try:
        return bdk.ElectrumClient(electrum_url, timeout=TIMEOUT_S, retry=RETRIES)
    except (bdk.ElectrumError, bdk.CannotConnectError) as error:
        raise ServerError(f"cannot connect to {electrum_url}") from error


def bdk_network(network: Network) -> bdk.Network:
    """Return BDK's name of a network."""
    return bdk.Network[{"mainnet": "BITCOIN"}.get(network.value, network.value.upper())]


def network_kind(network: Network) -> bdk.NetworkKind:
    """Return BDK's kind of a network."""
    return bdk.NetworkKind.MAIN if network.value == "mainnet" else bdk.NetworkKind.TEST


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 PSBT that BDK wrote."""
    import base64

    return base64.b64decode(text)
