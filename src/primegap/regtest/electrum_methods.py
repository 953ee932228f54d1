"""Answers to Electrum protocol requests (1.4 to 1.4.2) out of the ledger.

Synchronous; runs on the ledger's thread. What belongs to a connection (subscriptions, the version
handshake) is in `electrum.py`. In this protocol hashes are written reversed, in hexadecimal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.regtest.blocks import merkle_branch
from primegap.regtest.errors import RequestError, TransactionFormatError, TransactionRefusedError
from primegap.regtest.jsonrpc import (
    BAD_REQUEST,
    EXCESSIVE_USE,
    REFUSED,
    Json,
    boolean,
    hexadecimal,
    integer,
)
from primegap.regtest.policy import MIN_RELAY_SAT_PER_KVB
from primegap.regtest.primitives import OutPoint, display_hash
from primegap.regtest.scripts import script_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from primegap.regtest.ledger import Ledger
    from primegap.regtest.mempool import MempoolEntry

PROTOCOL_MIN: Final = (1, 4)
PROTOCOL_MAX: Final = (1, 4, 2)
MAX_HEIGHT: Final = 2**31 - 1
MAX_HEADERS: Final = 2_016  # in one answer; the protocol's own limit
MAX_HISTORY: Final = 20_000  # entries in one answer, about 100 bytes each
MAX_FEE_TARGET_BLOCKS: Final = 1_008  # a week, as in Bitcoin Core
BLOCK_VSIZE_VB: Final = 1_000_000
SAT_PER_BTC: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Method:
    """How a request is answered."""

    answer: Callable[[Ledger, list[Json]], Json]
    names: tuple[str, ...] = ()
    required: int = 0


def version_text(version: tuple[int, ...]) -> str:
    """Write a protocol version."""
    return ".".join(map(str, version))


def server_software() -> str:
    """Return the name and version of this server."""
    from importlib import metadata  # slow to load, and asked for once a connection

    return f"primegap-regtest {metadata.version('primegap')}"


# --- headers -----------------------------------------------------------------------------------


def tip(ledger: Ledger) -> dict[str, Json]:
    """Return height and header of the tip, as `blockchain.headers.subscribe` gives them."""
    height = ledger.chain.height
    return {"height": height, "hex": _header(ledger, height).hex()}


def _header(ledger: Ledger, height: int) -> bytes:
    header = ledger.chain.header(height)
    if header is None:
        raise RequestError(BAD_REQUEST, f"height {height:,} out of range")
    return header


def _checkpoint_proof(ledger: Ledger, height: int, cp_height: int) -> dict[str, Json]:
    """Prove the header at `height` under the root over all headers up to `cp_height`."""
    if not height <= cp_height <= ledger.chain.height:
        raise RequestError(
            BAD_REQUEST,
            f"header height {height:,} must be <= cp_height {cp_height:,} "
            f"which must be <= chain height {ledger.chain.height:,}",
        )
    branch, root = merkle_branch(ledger.chain.index.block_hashes(cp_height), height)
    return {"branch": [display_hash(item) for item in branch], "root": display_hash(root)}


def _block_header(ledger: Ledger, params: list[Json]) -> Json:
    height = _height(params[0], "height")
    cp_height = _height(params[1], "cp_height") if params[1] is not None else 0
    header = _header(ledger, height).hex()
    if not cp_height:
        return header
    return {"header": header, **_checkpoint_proof(ledger, height, cp_height)}


def _block_headers(ledger: Ledger, params: list[Json]) -> Json:
    start = _height(params[0], "start_height")
    wanted = integer(params[1], least=0, most=MAX_HEIGHT, name="count")
    cp_height = _height(params[2], "cp_height") if params[2] is not None else 0
    headers = ledger.chain.index.headers(start, min(wanted, MAX_HEADERS))
    result: dict[str, Json] = {
        "hex": b"".join(headers).hex(),
        "count": len(headers),
        "max": MAX_HEADERS,
    }
    if headers and cp_height:
        result |= _checkpoint_proof(ledger, start + len(headers) - 1, cp_height)
    return result


# --- scripts -----------------------------------------------------------------------------------


def script_status(ledger: Ledger, hashed: bytes) -> str | None:
    """Return the status of a script: a hash over its history, None if it has none."""
    history = "".join(f"{tx['tx_hash']}:{tx['height']}:" for tx in _history(ledger, hashed))
    return hashlib.sha256(history.encode()).hexdigest() if history else None


def _history(ledger: Ledger, hashed: bytes) -> list[dict[str, Json]]:
    confirmed = ledger.chain.index.history(hashed, limit=MAX_HISTORY + 1)
    if len(confirmed) > MAX_HISTORY:
        raise RequestError(EXCESSIVE_USE, "history too large")
    entries: list[dict[str, Json]] = [
        {"tx_hash": display_hash(tx.txid), "height": tx.height} for tx in confirmed
    ]
    return entries + _waiting(ledger, hashed)


def _waiting(ledger: Ledger, hashed: bytes) -> list[dict[str, Json]]:
    return [
        {
            "tx_hash": display_hash(entry.transaction.txid),
            "height": -1 if entry.has_unconfirmed_inputs else 0,
            "fee": entry.fee_sat,
        }
        for entry in ledger.mempool.touching(hashed)
    ]


def _get_history(ledger: Ledger, params: list[Json]) -> Json:
    return list(_history(ledger, parse_script_hash(params[0])))


def _get_mempool(ledger: Ledger, params: list[Json]) -> Json:
    return list(_waiting(ledger, parse_script_hash(params[0])))


def _get_balance(ledger: Ledger, params: list[Json]) -> Json:
    hashed = parse_script_hash(params[0])
    unconfirmed_sat = 0
    for entry in ledger.mempool.touching(hashed):
        unconfirmed_sat += sum(amount_sat for _, amount_sat in _paid_to(entry, hashed))
        unconfirmed_sat -= sum(
            coin.output.amount_sat
            for coin in entry.coins
            if script_hash(coin.output.script) == hashed
        )
    return {"confirmed": ledger.chain.index.balance_sat(hashed), "unconfirmed": unconfirmed_sat}


def _list_unspent(ledger: Ledger, params: list[Json]) -> Json:
    hashed = parse_script_hash(params[0])
    confirmed = ledger.chain.index.unspent(hashed, limit=MAX_HISTORY + 1)
    if len(confirmed) > MAX_HISTORY:
        raise RequestError(EXCESSIVE_USE, "too many unspent outputs")
    found = [(coin.outpoint, coin.amount_sat, coin.height) for coin in confirmed]
    for entry in ledger.mempool.touching(hashed):
        found += [
            (OutPoint(entry.transaction.txid, vout), amount_sat, 0)
            for vout, amount_sat in _paid_to(entry, hashed)
        ]
    return [
        {
            "tx_hash": display_hash(outpoint.txid),
            "tx_pos": outpoint.vout,
            "height": height,
            "value": amount_sat,
        }
        for outpoint, amount_sat, height in found
        if ledger.mempool.spender(outpoint) is None
    ]


def _paid_to(entry: MempoolEntry, hashed: bytes) -> list[tuple[int, int]]:
    """Return output number and amount of what an entry pays to a script."""
    return [
        (vout, tx_out.amount_sat)
        for vout, tx_out in enumerate(entry.transaction.outputs)
        if script_hash(tx_out.script) == hashed
    ]


# --- transactions ------------------------------------------------------------------------------


def _broadcast(ledger: Ledger, params: list[Json]) -> Json:
    raw = hexadecimal(params[0], name="raw_tx")
    try:
        return display_hash(ledger.broadcast(raw).transaction.txid)
    except TransactionRefusedError as error:
        if error.reason == "txn-already-in-mempool":  # sent again, perhaps after a restart
            return display_hash(ledger.chain.engine.transaction_id(raw))
        message = f"the transaction was rejected by network rules.\n\n{error}"
        raise RequestError(BAD_REQUEST, message) from error
    except TransactionFormatError as error:
        message = "the transaction was rejected by network rules.\n\nTX decode failed"
        raise RequestError(BAD_REQUEST, message) from error


def _get_transaction(ledger: Ledger, params: list[Json]) -> Json:
    txid = _txid(params[0], "tx_hash")
    if boolean(params[1], name="verbose"):
        raise RequestError(BAD_REQUEST, "verbose transactions are not supported")
    if entry := ledger.mempool.get(txid):
        return entry.transaction.raw.hex()
    if confirmed := ledger.chain.index.confirmed(txid):
        return confirmed.raw.hex()
    raise RequestError(REFUSED, "No such mempool or blockchain transaction.")


def _get_merkle(ledger: Ledger, params: list[Json]) -> Json:
    txid = _txid(params[0], "tx_hash")
    height = _height(params[1], "height")
    txids = ledger.chain.index.block_txids(height)
    if txid not in txids:
        raise RequestError(BAD_REQUEST, f"tx not in block at height {height:,}")
    position = txids.index(txid)
    return {"block_height": height, "merkle": _branch(txids, position), "pos": position}


def _id_from_position(ledger: Ledger, params: list[Json]) -> Json:
    height = _height(params[0], "height")
    position = integer(params[1], least=0, most=MAX_HEIGHT, name="tx_pos")
    txids = ledger.chain.index.block_txids(height)
    if position >= len(txids):
        raise RequestError(BAD_REQUEST, f"no tx at position {position:,} at height {height:,}")
    tx_hash = display_hash(txids[position])
    if not boolean(params[2], name="merkle"):
        return tx_hash
    return {"tx_hash": tx_hash, "merkle": _branch(txids, position)}


def _branch(txids: Sequence[bytes], position: int) -> list[Json]:
    return [display_hash(item) for item in merkle_branch(txids, position)[0]]


# --- fees and the server -----------------------------------------------------------------------


def _estimate_fee(ledger: Ledger, params: list[Json]) -> Json:
    target = integer(params[0], least=1, most=MAX_FEE_TARGET_BLOCKS, name="number")
    room_vb = target * BLOCK_VSIZE_VB
    rates = sorted(
        ((entry.rate_sat_per_kvb, entry.vsize_vb) for entry in ledger.mempool.entries()),
        reverse=True,
    )
    for rate, vsize_vb in rates:
        room_vb -= vsize_vb
        if room_vb < 0:  # to be among the first `target` blocks, pay more than this one
            return (rate + MIN_RELAY_SAT_PER_KVB) / SAT_PER_BTC
    return MIN_RELAY_SAT_PER_KVB / SAT_PER_BTC


def _relay_fee(_ledger: Ledger, _params: list[Json]) -> Json:
    return MIN_RELAY_SAT_PER_KVB / SAT_PER_BTC


def _fee_histogram(ledger: Ledger, _params: list[Json]) -> Json:
    sizes: dict[int, int] = {}
    for entry in ledger.mempool.entries():
        rate = entry.rate_sat_per_kvb // 1000
        sizes[rate] = sizes.get(rate, 0) + entry.vsize_vb
    return [[rate, sizes[rate]] for rate in sorted(sizes, reverse=True)]


def _features(ledger: Ledger, _params: list[Json]) -> Json:
    genesis = ledger.chain.index.block_hash(0) or b""
    return {
        "genesis_hash": display_hash(genesis),
        "hosts": {},
        "protocol_max": version_text(PROTOCOL_MAX),
        "protocol_min": version_text(PROTOCOL_MIN),
        "pruning": None,
        "server_version": server_software(),
        "hash_function": "sha256",
    }


def _banner(_ledger: Ledger, _params: list[Json]) -> Json:
    return "A private regtest chain. Its coins are worth nothing."


# --- parameters --------------------------------------------------------------------------------


def parse_script_hash(value: Json) -> bytes:
    """Return a script hash in internal byte order."""
    return hexadecimal(value, name="scripthash", size=32)[::-1]


def _txid(value: Json, name: str) -> bytes:
    return hexadecimal(value, name=name, size=32)[::-1]


def _height(value: Json, name: str) -> int:
    return integer(value, least=0, most=MAX_HEIGHT, name=name)


METHODS: Final[dict[str, Method]] = {
    "blockchain.block.header": Method(_block_header, ("height", "cp_height"), 1),
    "blockchain.block.headers": Method(_block_headers, ("start_height", "count", "cp_height"), 2),
    "blockchain.estimatefee": Method(_estimate_fee, ("number", "mode"), 1),
    "blockchain.relayfee": Method(_relay_fee),
    "blockchain.scripthash.get_balance": Method(_get_balance, ("scripthash",), 1),
    "blockchain.scripthash.get_history": Method(_get_history, ("scripthash",), 1),
    "blockchain.scripthash.get_mempool": Method(_get_mempool, ("scripthash",), 1),
    "blockchain.scripthash.listunspent": Method(_list_unspent, ("scripthash",), 1),
    "blockchain.transaction.broadcast": Method(_broadcast, ("raw_tx",), 1),
    "blockchain.transaction.get": Method(_get_transaction, ("tx_hash", "verbose"), 1),
    "blockchain.transaction.get_merkle": Method(_get_merkle, ("tx_hash", "height"), 2),
    "blockchain.transaction.id_from_pos": Method(
        _id_from_position, ("height", "tx_pos", "merkle"), 2
    ),
    "mempool.get_fee_histogram": Method(_fee_histogram),
    "server.add_peer": Method(lambda _ledger, _params: False, ("features",), 1),
    "server.banner": Method(_banner),
    "server.donation_address": Method(lambda _ledger, _params: ""),
    "server.features": Method(_features),
    "server.peers.subscribe": Method(lambda _ledger, _params: []),
    "server.ping": Method(lambda _ledger, _params: None),
}
