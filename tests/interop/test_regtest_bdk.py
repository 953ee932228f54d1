"""BDK's stock wallet and Electrum client against the private chain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from primegap.regtest import RegtestNode, TransactionRefusedError
from primegap.regtest.primitives import Transaction, parse_transaction_untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

bdk = pytest.importorskip("bdkpython")

MNEMONIC = "abandon " * 11 + "about"
ELSEWHERE = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
STOP_GAP = 20
BATCH = 10
KINDS = ["bip44", "bip49", "bip84", "bip86"]


class Wallet:
    """A BDK wallet with its own connection; everything in it blocks, so call it in a thread."""

    def __init__(self, url: str, kind: str = "bip84") -> None:
        key = bdk.DescriptorSecretKey(
            bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(MNEMONIC), None
        )
        make = getattr(bdk.Descriptor, f"new_{kind}")
        descriptors = [
            make(key, keychain, bdk.NetworkKind.TEST)
            for keychain in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
        ]
        self.wallet = bdk.Wallet(*descriptors, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
        self.client = bdk.ElectrumClient(url, timeout=10)

    def address(self) -> str:
        info = self.wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL)
        return str(info.address)

    def full_scan(self) -> None:
        request = self.wallet.start_full_scan().build()
        self.wallet.apply_update(self.client.full_scan(request, STOP_GAP, BATCH, True))

    def sync(self) -> None:
        request = self.wallet.start_sync_with_revealed_spks().build()
        self.wallet.apply_update(self.client.sync(request, BATCH, True))

    def confirmed_sat(self) -> int:
        amount: int = self.wallet.balance().confirmed.to_sat()
        return amount

    def total_sat(self) -> int:
        amount: int = self.wallet.balance().total.to_sat()
        return amount

    def pay(self, amount_sat: int, rate_sat_per_kwu: int = 500, to: str = ELSEWHERE) -> Any:
        script = bdk.Address(to, bdk.Network.REGTEST).script_pubkey()
        builder = (
            bdk.TxBuilder()
            .add_recipient(script, bdk.Amount.from_sat(amount_sat))
            .fee_rate(bdk.FeeRate.from_sat_per_kwu(rate_sat_per_kwu))
        )
        psbt = builder.finish(self.wallet)
        assert self.wallet.sign(psbt, None)
        return psbt.extract_tx()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[RegtestNode]:
    async with RegtestNode(tmp_path) as running:
        yield running


async def funded(node: RegtestNode, kind: str = "bip84", amount_sat: int = 1_000_000) -> Wallet:
    wallet = await asyncio.to_thread(Wallet, node.electrum_url, kind)
    await node.faucet(await asyncio.to_thread(wallet.address), amount_sat)
    await node.mine()
    await asyncio.to_thread(wallet.full_scan)
    return wallet


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wallet_receives_pays_and_sees_it_confirmed(node: RegtestNode, kind: str) -> None:
    wallet = await asyncio.to_thread(Wallet, node.electrum_url, kind)
    await node.faucet(await asyncio.to_thread(wallet.address), 1_000_000)
    await asyncio.to_thread(wallet.full_scan)
    assert (wallet.total_sat(), wallet.confirmed_sat()) == (1_000_000, 0)
    await node.mine()
    await asyncio.to_thread(wallet.sync)
    assert wallet.confirmed_sat() == 1_000_000

    signed = await asyncio.to_thread(wallet.pay, 300_000)
    txid = await asyncio.to_thread(wallet.client.transaction_broadcast, signed)
    (block,) = await node.mine()
    assert str(txid) in block.txids
    await asyncio.to_thread(wallet.sync)
    assert 690_000 < wallet.confirmed_sat() < 700_000
    assert wallet.confirmed_sat() == wallet.total_sat()


async def test_a_full_scan_finds_coins_far_out(node: RegtestNode) -> None:
    first = await asyncio.to_thread(Wallet, node.electrum_url)
    addresses = [await asyncio.to_thread(first.address) for _ in range(60)]
    for index in (0, 15, 30, 45, 59):
        await node.faucet(addresses[index], 100_000)
    await node.mine()
    second = await asyncio.to_thread(Wallet, node.electrum_url)
    await asyncio.to_thread(second.full_scan)
    assert second.confirmed_sat() == 500_000


async def test_the_clients_other_questions_are_answered(node: RegtestNode) -> None:
    wallet = await funded(node)

    def ask() -> None:
        client = wallet.client
        client.ping()
        assert client.estimate_fee(6) == client.relay_fee() == 0.00001
        assert client.server_features().protocol_max == "1.4.2"
        assert client.block_headers_subscribe().height == 121
        assert client.block_header(0).time == 1_296_688_602
        (tx,) = wallet.wallet.transactions()
        txid = tx.transaction.compute_txid()
        assert client.fetch_tx(txid).serialize() == client.transaction_get_raw(txid)

    await asyncio.to_thread(ask)
    await node.mine()

    def wait_for_notice() -> int:
        for _ in range(100):
            wallet.client.ping()  # the client reads notices while it waits for an answer
            notice = wallet.client.block_headers_pop()
            if notice is not None:
                height: int = notice.height
                return height
        return -1

    assert await asyncio.to_thread(wait_for_notice) == 122


async def test_a_payment_at_the_relay_fee_is_taken_and_one_below_is_not(
    node: RegtestNode,
) -> None:
    wallet = await funded(node)
    below = await asyncio.to_thread(wallet.pay, 300_000, 240)
    with pytest.raises(bdk.ElectrumError, match="min relay fee not met"):
        await asyncio.to_thread(wallet.client.transaction_broadcast, below)
    at_it = await asyncio.to_thread(wallet.pay, 300_000, 250)
    await asyncio.to_thread(wallet.client.transaction_broadcast, at_it)
    assert len((await node.mine())[0].txids) == 2


async def test_a_fee_bump_replaces_the_payment(node: RegtestNode) -> None:
    wallet = await funded(node)
    first = await asyncio.to_thread(wallet.pay, 300_000)
    await asyncio.to_thread(wallet.client.transaction_broadcast, first)

    def bump() -> Any:
        wallet.sync()
        psbt = bdk.BumpFeeTxBuilder(first.compute_txid(), bdk.FeeRate.from_sat_per_vb(10)).finish(
            wallet.wallet
        )
        assert wallet.wallet.sign(psbt, None)
        return psbt.extract_tx()

    second = await asyncio.to_thread(bump)
    txid = await asyncio.to_thread(wallet.client.transaction_broadcast, second)
    (block,) = await node.mine()
    assert block.txids[1:] == (str(txid),)


async def test_the_same_coin_is_not_spent_twice(node: RegtestNode) -> None:
    wallet = await funded(node)
    first = await asyncio.to_thread(wallet.pay, 300_000)
    second = await asyncio.to_thread(wallet.pay, 400_000)
    await asyncio.to_thread(wallet.client.transaction_broadcast, first)
    with pytest.raises(bdk.ElectrumError, match="insufficient fee"):
        await asyncio.to_thread(wallet.client.transaction_broadcast, second)
    (block,) = await node.mine()
    assert block.txids[1:] == (str(first.compute_txid()),)
    with pytest.raises(bdk.ElectrumError, match="bad-txns-inputs-missingorspent"):
        await asyncio.to_thread(wallet.client.transaction_broadcast, second)
    assert len((await node.mine())[0].txids) == 1


async def test_a_wallet_spends_its_reward_once_it_is_mature(node: RegtestNode) -> None:
    wallet = await asyncio.to_thread(Wallet, node.electrum_url)
    await node.mine(1, await asyncio.to_thread(wallet.address))
    await asyncio.to_thread(wallet.full_scan)
    assert wallet.wallet.balance().immature.to_sat() == 5_000_000_000
    await node.mine(99)
    await asyncio.to_thread(wallet.sync)
    assert wallet.confirmed_sat() == 5_000_000_000
    signed = await asyncio.to_thread(wallet.pay, 300_000)
    await asyncio.to_thread(wallet.client.transaction_broadcast, signed)
    assert len((await node.mine())[0].txids) == 2


# --- signatures --------------------------------------------------------------------------------


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 1,)) + data[position + 1 :]


def spoil_witness(transaction: Transaction, item: int, position: int) -> Transaction:
    tx_in = transaction.inputs[0]
    witness = list(tx_in.witness)
    witness[item] = flip(witness[item], position)
    return replace(transaction, inputs=(replace(tx_in, witness=tuple(witness)),))


def spoil_script_sig(transaction: Transaction) -> Transaction:
    tx_in = transaction.inputs[0]
    spoilt = replace(tx_in, script_sig=flip(tx_in.script_sig, 20))
    return replace(transaction, inputs=(spoilt,))


SPOILERS: list[tuple[str, Callable[[Transaction], Transaction]]] = [
    ("bip44", spoil_script_sig),
    ("bip49", lambda tx: spoil_witness(tx, 0, 20)),
    ("bip84", lambda tx: spoil_witness(tx, 0, 20)),
    ("bip84", lambda tx: spoil_witness(tx, 1, 20)),
    ("bip84", lambda tx: replace(tx, lock_time=0)),
    (
        "bip84",
        lambda tx: replace(
            tx,
            outputs=(
                replace(tx.outputs[0], amount_sat=tx.outputs[0].amount_sat - 1),
                *tx.outputs[1:],
            ),
        ),
    ),
    ("bip86", lambda tx: spoil_witness(tx, 0, 40)),
    ("bip86", lambda tx: replace(tx, inputs=(replace(tx.inputs[0], witness=()),))),
]


@pytest.mark.parametrize(("kind", "spoil"), SPOILERS)
async def test_a_bad_signature_is_refused_by_the_engine_and_never_mined(
    node: RegtestNode, kind: str, spoil: Callable[[Transaction], Transaction]
) -> None:
    wallet = await funded(node, kind)
    signed = await asyncio.to_thread(wallet.pay, 300_000)
    good = parse_transaction_untrusted(signed.serialize())
    bad = spoil(good)
    assert bad.raw != good.raw
    with pytest.raises(TransactionRefusedError) as caught:
        await node.broadcast(bad.raw)
    assert caught.value.reason == "mandatory-script-verify-flag-failed"
    with pytest.raises(bdk.ElectrumError, match="mandatory-script-verify-flag-failed"):
        await asyncio.to_thread(wallet.client.transaction_broadcast, bdk.Transaction(bad.raw))
    assert len((await node.mine())[0].txids) == 1
    await node.broadcast(good.raw)
    assert len((await node.mine())[0].txids) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_sizes_and_ids_agree_with_bdk(node: RegtestNode, kind: str) -> None:
    wallet = await funded(node, kind)
    signed = await asyncio.to_thread(wallet.pay, 300_000)
    parsed = parse_transaction_untrusted(signed.serialize())
    assert parsed.raw == signed.serialize()
    assert parsed.txid[::-1].hex() == str(signed.compute_txid())
    assert parsed.wtxid[::-1].hex() == str(signed.compute_wtxid())
    assert (parsed.weight, parsed.vsize_vb) == (signed.weight(), signed.vsize())
    assert [tx_out.script for tx_out in parsed.outputs] == [
        tx_out.script_pubkey.to_bytes() for tx_out in signed.output()
    ]
