"""The Electrum server, line by line, with friendly and hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any, Self

import pytest
import pytest_asyncio

from primegap.regtest import RegtestNode, electrum, electrum_methods
from primegap.regtest.primitives import sha256d
from primegap.regtest.scripts import FAUCET_SCRIPT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
UNKNOWN_TXID = "11" * 32


def script_hash(script: bytes) -> str:
    return hashlib.sha256(script).digest()[::-1].hex()


class Client:
    """A client that speaks raw lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.notifications: list[dict[str, Any]] = []
        self._last_id = 0

    @classmethod
    async def connect(cls, node: RegtestNode) -> Self:
        host, port = node.electrum_url.removeprefix("tcp://").split(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=1 << 24))

    async def send_line(self, line: bytes) -> None:
        self.writer.write(line + b"\n")
        await self.writer.drain()

    async def read_line(self) -> Any:
        async with asyncio.timeout(10):
            line = await self.reader.readline()
        return json.loads(line) if line else None

    async def ask(self, method: str, *params: object) -> dict[str, Any]:
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        await self.send_line(json.dumps(request).encode())
        while True:
            answer: dict[str, Any] = await self.read_line()
            if "method" in answer:
                self.notifications.append(answer)
                continue
            assert answer["id"] == self._last_id
            return answer

    async def call(self, method: str, *params: object) -> Any:
        answer = await self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *params: object) -> tuple[int, str]:
        answer = await self.ask(method, *params)
        assert "result" not in answer, answer
        return answer["error"]["code"], answer["error"]["message"]

    async def notification(self) -> dict[str, Any]:
        if self.notifications:
            return self.notifications.pop(0)
        notice: dict[str, Any] = await self.read_line()
        return notice

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):  # the server cut it first
            await self.writer.wait_closed()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet_node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RegtestNode]:
    """A node on which no test changes the chain."""
    async with RegtestNode(tmp_path_factory.mktemp("quiet")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(quiet_node: RegtestNode) -> AsyncIterator[Client]:
    connected = await Client.connect(quiet_node)
    yield connected
    await connected.close()


@pytest_asyncio.fixture(loop_scope="module")
async def node(tmp_path: Path) -> AsyncIterator[RegtestNode]:
    """A node of the test's own."""
    async with RegtestNode(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def own_client(node: RegtestNode) -> AsyncIterator[Client]:
    connected = await Client.connect(node)
    yield connected
    await connected.close()


# --- the server itself -------------------------------------------------------------------------


async def test_the_version_is_agreed_within_what_both_speak(quiet_node: RegtestNode) -> None:
    for wanted, agreed in [
        ("1.4", "1.4"),
        (["1.2", "1.4"], "1.4"),
        (["1.4", "1.6"], "1.4.2"),
        ("1.4.1", "1.4.1"),
        (None, "1.4"),
    ]:
        client = await Client.connect(quiet_node)
        params = ["test"] if wanted is None else ["test", wanted]
        software, version = await client.call("server.version", *params)
        assert software.startswith("primegap-regtest ")
        assert version == agreed
        await client.close()


@pytest.mark.parametrize("wanted", ["1.3", ["1.0", "1.2"], ["1.5", "1.6"]])
async def test_a_version_nobody_shares_ends_the_connection(client: Client, wanted: object) -> None:
    code, message = await client.error("server.version", "test", wanted)
    assert (code, message) == (1, "unsupported protocol version")
    assert await client.read_line() is None


async def test_a_version_is_agreed_only_once(client: Client) -> None:
    await client.call("server.version", "test", "1.4")
    assert (await client.error("server.version", "test", "1.4"))[0] == 1


async def test_features_name_the_chain(client: Client) -> None:
    features = await client.call("server.features")
    assert features["genesis_hash"] == (
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    )
    assert features["hash_function"] == "sha256"


async def test_small_requests_are_answered(client: Client) -> None:
    assert await client.call("server.ping") is None
    assert "worth nothing" in await client.call("server.banner")
    assert await client.call("server.donation_address") == ""
    assert await client.call("server.peers.subscribe") == []
    assert await client.call("server.add_peer", {}) is False
    assert await client.call("blockchain.relayfee") == 0.00001
    assert await client.call("blockchain.estimatefee", 6) == 0.00001
    assert await client.call("mempool.get_fee_histogram") == []


# --- headers and proofs ------------------------------------------------------------------------


def verify_branch(leaf: bytes, branch: list[str], position: int) -> str:
    value = leaf
    for item in branch:
        sibling = bytes.fromhex(item)[::-1]
        value = sha256d(sibling + value if position & 1 else value + sibling)
        position >>= 1
    return value[::-1].hex()


async def test_headers_are_served_and_chained(client: Client) -> None:
    answer = await client.call("blockchain.block.headers", 0, 5000)
    assert (answer["count"], answer["max"]) == (121, 2016)
    raw = bytes.fromhex(answer["hex"])
    headers = [raw[i : i + 80] for i in range(0, len(raw), 80)]
    for before, after in itertools.pairwise(headers):
        assert after[4:36] == sha256d(before)
    assert await client.call("blockchain.block.header", 7) == headers[7].hex()
    tail = await client.call("blockchain.block.headers", 119, 10)
    assert tail["hex"] == (headers[119] + headers[120]).hex()
    beyond = await client.call("blockchain.block.headers", 121, 10)
    assert beyond == {"hex": "", "count": 0, "max": 2016}
    tip = await client.call("blockchain.headers.subscribe")
    assert tip == {"height": 120, "hex": headers[120].hex()}


async def test_no_more_headers_than_the_protocol_allows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum_methods, "MAX_HEADERS", 10)
    assert (await client.call("blockchain.block.headers", 0, 50))["count"] == 10


async def test_headers_prove_themselves_under_a_checkpoint(client: Client) -> None:
    for height, cp_height in [(0, 1), (5, 5), (17, 120), (120, 120), (64, 100)]:
        answer = await client.call("blockchain.block.header", height, cp_height)
        leaf = sha256d(bytes.fromhex(answer["header"]))
        assert verify_branch(leaf, answer["branch"], height) == answer["root"]
        many = await client.call("blockchain.block.headers", height, 1, cp_height)
        assert (many["branch"], many["root"]) == (answer["branch"], answer["root"])
    assert (await client.error("blockchain.block.header", 9, 8))[0] == 1
    assert (await client.error("blockchain.block.header", 9, 121))[0] == 1
    assert "out of range" in (await client.error("blockchain.block.header", 121))[1]


# --- scripts and transactions ------------------------------------------------------------------


async def test_a_payment_appears_and_confirms(node: RegtestNode, own_client: Client) -> None:
    client = own_client
    hashed = script_hash(SCRIPT)
    assert await client.call("blockchain.scripthash.subscribe", hashed) is None
    await client.call("blockchain.headers.subscribe")
    txid = await node.faucet(ADDRESS, 70_000)

    notice = await client.notification()
    assert notice["method"] == "blockchain.scripthash.subscribe"
    assert notice["params"] == [hashed, hashlib.sha256(f"{txid}:0:".encode()).hexdigest()]
    (entry,) = await client.call("blockchain.scripthash.get_history", hashed)
    assert (entry["tx_hash"], entry["height"]) == (txid, 0)
    assert entry["fee"] > 0
    assert await client.call("blockchain.scripthash.get_mempool", hashed) == [entry]
    assert await client.call("blockchain.scripthash.get_balance", hashed) == {
        "confirmed": 0,
        "unconfirmed": 70_000,
    }
    (coin,) = await client.call("blockchain.scripthash.listunspent", hashed)
    assert coin == {"tx_hash": txid, "tx_pos": 0, "height": 0, "value": 70_000}
    histogram = await client.call("mempool.get_fee_histogram")
    assert [rate for rate, _ in histogram] == [2]

    (block,) = await node.mine()
    notices = [await client.notification(), await client.notification()]
    assert {notice["method"] for notice in notices} == {
        "blockchain.headers.subscribe",
        "blockchain.scripthash.subscribe",
    }
    by_method = {notice["method"]: notice["params"] for notice in notices}
    assert by_method["blockchain.headers.subscribe"][0]["height"] == 121
    status = hashlib.sha256(f"{txid}:121:".encode()).hexdigest()
    assert by_method["blockchain.scripthash.subscribe"] == [hashed, status]
    assert await client.call("blockchain.scripthash.subscribe", hashed) == status
    assert await client.call("blockchain.scripthash.get_history", hashed) == [
        {"tx_hash": txid, "height": 121}
    ]
    assert await client.call("blockchain.scripthash.get_balance", hashed) == {
        "confirmed": 70_000,
        "unconfirmed": 0,
    }
    assert (await client.call("blockchain.scripthash.listunspent", hashed))[0]["height"] == 121

    raw = bytes.fromhex(await client.call("blockchain.transaction.get", txid))
    assert len(raw) > 100
    proof = await client.call("blockchain.transaction.get_merkle", txid, 121)
    header = bytes.fromhex(await client.call("blockchain.block.header", 121))
    root = verify_branch(bytes.fromhex(txid)[::-1], proof["merkle"], proof["pos"])
    assert root == header[36:68][::-1].hex()
    assert block.txids.index(txid) == proof["pos"]
    found = await client.call("blockchain.transaction.id_from_pos", 121, proof["pos"], True)
    assert found == {"tx_hash": txid, "merkle": proof["merkle"]}
    assert await client.call("blockchain.transaction.id_from_pos", 121, 1) == txid


async def test_a_child_of_a_waiting_payment_is_marked(
    node: RegtestNode, own_client: Client
) -> None:
    client = own_client
    for _ in range(22):  # more than there are mature coins: change is spent again
        await node.faucet(ADDRESS, 2_000_000_000)
    entries = await client.call("blockchain.scripthash.get_mempool", script_hash(SCRIPT))
    assert -1 in {entry["height"] for entry in entries}
    faucet = script_hash(FAUCET_SCRIPT)
    unspent = await client.call("blockchain.scripthash.listunspent", faucet)
    balance = await client.call("blockchain.scripthash.get_balance", faucet)
    assert sum(coin["value"] for coin in unspent) == sum(balance.values())
    assert balance["unconfirmed"] < 0


async def test_an_unsubscribed_script_is_silent(node: RegtestNode, own_client: Client) -> None:
    client = own_client
    hashed = script_hash(SCRIPT)
    await client.call("blockchain.scripthash.subscribe", hashed)
    assert await client.call("blockchain.scripthash.unsubscribe", hashed) is True
    assert await client.call("blockchain.scripthash.unsubscribe", hashed) is False
    await node.faucet(ADDRESS, 70_000)
    await node.mine()
    await client.call("server.ping")
    assert client.notifications == []


async def test_a_transaction_sent_again_gets_its_id_again(
    node: RegtestNode, own_client: Client
) -> None:
    client = own_client
    txid = await node.faucet(ADDRESS, 70_000)
    raw = await client.call("blockchain.transaction.get", txid)
    assert await client.call("blockchain.transaction.broadcast", raw) == txid
    await node.mine()
    code, message = await client.error("blockchain.transaction.broadcast", raw)
    assert (code, message.split("\n\n")[1]) == (1, "txn-already-known")
    code, message = await client.error("blockchain.transaction.broadcast", "00ff")
    assert (code, message.split("\n\n")[1]) == (1, "TX decode failed")


async def test_what_is_not_there_is_an_error(client: Client) -> None:
    assert (await client.error("blockchain.transaction.get", UNKNOWN_TXID))[0] == 2
    assert (await client.error("blockchain.transaction.get", UNKNOWN_TXID, True))[0] == 1
    assert (await client.error("blockchain.transaction.get_merkle", UNKNOWN_TXID, 1))[0] == 1
    assert (await client.error("blockchain.transaction.id_from_pos", 1, 1))[0] == 1
    assert (await client.error("blockchain.transaction.id_from_pos", 999, 0))[0] == 1


async def test_a_fee_estimate_rises_when_blocks_are_full(
    node: RegtestNode, own_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = own_client
    await node.faucet(ADDRESS, 70_000)
    monkeypatch.setattr(electrum_methods, "BLOCK_VSIZE_VB", 100)
    assert await client.call("blockchain.estimatefee", 1) == 0.00003
    assert await client.call("blockchain.estimatefee", 2) == 0.00001


async def test_history_and_unspent_lists_have_an_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum_methods, "MAX_HISTORY", 100)
    faucet = script_hash(FAUCET_SCRIPT)
    for method in ("get_history", "listunspent", "subscribe"):
        assert (await client.error(f"blockchain.scripthash.{method}", faucet))[0] == -101


# --- wrong requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("blockchain.block.header", []),
        ("blockchain.block.header", [1, 2, 3]),
        ("blockchain.block.header", {"height": 1, "width": 2}),
        ("blockchain.block.header", {"cp_height": 1}),
        ("blockchain.block.header", ["1"]),
        ("blockchain.block.header", [-1]),
        ("blockchain.block.header", [True]),
        ("blockchain.block.header", [1.0]),
        ("blockchain.block.header", [2**64]),
        ("blockchain.block.header", [None]),
        ("blockchain.estimatefee", [0]),
        ("blockchain.transaction.get", ["zz" * 32]),
        ("blockchain.transaction.get", ["11" * 31]),
        ("blockchain.transaction.get", [" 1" * 32]),
        ("blockchain.transaction.get", [11]),
        ("blockchain.transaction.get", [UNKNOWN_TXID, "yes"]),
        ("blockchain.transaction.broadcast", [""]),
        ("blockchain.transaction.broadcast", ["0"]),
        ("blockchain.scripthash.subscribe", ["☂" * 64]),
        ("server.version", ["a", {"min": "1.4"}]),
        ("server.version", ["a", "1.x"]),
        ("server.version", ["a", ["1.4", "1.4", "1.4"]]),
        ("server.ping", [1]),
    ],
)
async def test_wrong_parameters_are_named_as_such(
    client: Client, method: str, params: object
) -> None:
    await client.send_line(json.dumps({"id": 1, "method": method, "params": params}).encode())
    answer = await client.read_line()
    assert answer["error"]["code"] == -32602
    assert await client.call("server.ping") is None


async def test_parameters_may_be_named(client: Client) -> None:
    request = {"id": "a", "method": "blockchain.block.header", "params": {"height": 0}}
    await client.send_line(json.dumps(request).encode())
    answer = await client.read_line()
    assert (answer["id"], len(answer["result"])) == ("a", 160)


async def test_an_unknown_method_is_an_error(client: Client) -> None:
    assert (await client.error("blockchain.secret"))[0] == -32601


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", -32700),
        (b"hello", -32700),
        (b"\xff\xfe\x00", -32700),
        (b'{"id": 1, "method": "server.ping"', -32700),
        (b'{"id": NaN, "method": "server.ping"}', -32700),
        (b"1" * 10_000, -32700),
        (b"[" * 200_000, -32700),
        (b'{"a":' * 100_000, -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'"server.ping"', -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b'{"id": 1, "method": 5}', -32600),
        (b'{"id": 1, "method": ""}', -32600),
        (b'{"id": 1, "method": "server.ping", "params": "x"}', -32600),
    ],
)
async def test_garbage_is_answered_and_the_connection_goes_on(
    client: Client, line: bytes, code: int
) -> None:
    await client.send_line(line)
    answer = await client.read_line()
    assert answer["error"]["code"] == code
    assert await client.call("server.ping") is None


async def test_ids_are_sent_back_only_if_they_are_small_and_plain(client: Client) -> None:
    for sent, returned in [
        ("x", "x"),
        (None, None),
        (7, 7),
        ("x" * 300, None),
        (1 << 70, None),
        (True, None),
        ([1], None),
    ]:
        await client.send_line(json.dumps({"id": sent, "method": "server.ping"}).encode())
        assert (await client.read_line())["id"] == returned


async def test_a_request_without_id_gets_no_answer(client: Client) -> None:
    await client.send_line(b'{"method": "server.ping"}')
    await client.send_line(b'[{"method": "server.ping"}]')
    assert await client.call("server.ping") is None


# --- batches and limits ------------------------------------------------------------------------


async def test_a_batch_is_answered_as_a_batch(client: Client) -> None:
    batch = [
        {"id": 1, "method": "server.ping"},
        {"id": 2, "method": "nope"},
        {"id": 3, "method": "blockchain.block.header", "params": [1]},
        5,
    ]
    await client.send_line(json.dumps(batch).encode())
    answers = await client.read_line()
    assert [answer["id"] for answer in answers] == [1, 2, 3, None]
    assert ["result" in answer for answer in answers] == [True, False, True, False]


async def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    lines = [
        json.dumps({"id": i, "method": "blockchain.block.header", "params": [i % 100]})
        for i in range(500)
    ]
    await client.send_line("\n".join(lines).encode())
    assert [(await client.read_line())["id"] for _ in lines] == list(range(500))


async def test_a_batch_has_a_largest_size(client: Client) -> None:
    batch = [{"id": i, "method": "server.ping"} for i in range(electrum.MAX_BATCH + 1)]
    await client.send_line(json.dumps(batch).encode())
    assert (await client.read_line())["error"]["code"] == -101


async def test_the_answers_of_a_batch_have_a_largest_size(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "MAX_ANSWER_BYTES", 50_000)
    request = {"id": 1, "method": "blockchain.block.headers", "params": [0, 100]}
    await client.send_line(json.dumps([request] * 50).encode())
    answers = await client.read_line()
    assert len(answers) == 50
    refused = [answer for answer in answers if "error" in answer]
    assert 40 < len(refused) < 50
    assert {answer["error"]["code"] for answer in refused} == {-101}


async def test_one_answer_has_a_largest_size(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "MAX_ANSWER_BYTES", 1_000)
    assert (await client.error("blockchain.block.headers", 0, 100))[0] == -101


async def test_a_line_that_is_too_long_ends_the_connection(client: Client) -> None:
    client.writer.write(b"a" * (electrum.MAX_LINE_BYTES + 100_000))
    received = b""
    with contextlib.suppress(ConnectionError):  # cut while data was on its way
        received = await client.reader.read()
    assert received == b"" or json.loads(received)["error"]["code"] == -32600


async def test_a_client_of_only_garbage_is_cut_off(client: Client) -> None:
    for _ in range(electrum.MAX_MALFORMED):
        await client.send_line(b"garbage")
        assert (await client.read_line())["error"]["code"] == -32700
    assert await client.read_line() is None


async def test_subscriptions_have_a_largest_number(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "MAX_SUBSCRIPTIONS", 3)
    hashes = [f"{i:064x}" for i in range(4)]
    for hashed in hashes[:3]:
        assert await client.call("blockchain.scripthash.subscribe", hashed) is None
    assert (await client.error("blockchain.scripthash.subscribe", hashes[3]))[0] == -101
    assert await client.call("blockchain.scripthash.subscribe", hashes[0]) is None
    await client.call("blockchain.scripthash.unsubscribe", hashes[0])
    assert await client.call("blockchain.scripthash.subscribe", hashes[3]) is None


async def test_connections_have_a_largest_number(
    node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "MAX_CONNECTIONS", 2)
    clients = [await Client.connect(node) for _ in range(2)]
    for client in clients:
        await client.call("server.ping")
    third = await Client.connect(node)
    assert (await third.read_line())["error"]["code"] == -101
    assert await third.read_line() is None
    await clients[0].close()
    for _ in range(100):
        if (await node.status()).electrum_connections < 2:
            break
        await asyncio.sleep(0.01)
    fourth = await Client.connect(node)
    await fourth.call("server.ping")
    for client in (third, fourth, clients[1]):
        await client.close()


async def test_a_client_that_does_not_read_is_cut_off_and_others_are_served(
    node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "SEND_TIMEOUT_S", 0.2)
    lazy = await Client.connect(node)
    request = json.dumps({"id": 1, "method": "blockchain.block.headers", "params": [0, 121]})
    lazy.writer.write((request + "\n").encode() * 2_000)  # asks for 40 MB and reads none of it
    other = await Client.connect(node)
    for _ in range(500):
        await other.call("server.ping")
        if (await node.status()).electrum_connections == 1:
            break
        await asyncio.sleep(0.01)
    assert (await node.status()).electrum_connections == 1
    await other.close()
    lazy.writer.transport.abort()


async def test_a_subscriber_that_does_not_read_is_cut_off(
    node: RegtestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electrum, "MAX_BUFFERED_BYTES", -1)
    client = await Client.connect(node)
    await client.send_line(b'{"id": 1, "method": "blockchain.headers.subscribe"}')
    assert await client.reader.read() == b""
    client.writer.close()


async def test_a_client_that_closes_its_half_still_gets_its_answers(
    quiet_node: RegtestNode,
) -> None:
    client = await Client.connect(quiet_node)
    client.writer.write(b'{"id": 1, "method": "server.ping"}\n' * 100)
    client.writer.write_eof()
    answers = (await client.reader.read()).splitlines()
    assert len(answers) == 100
    client.writer.close()


async def test_a_node_that_stops_cuts_its_clients(tmp_path: Path) -> None:
    node = RegtestNode(tmp_path, initial_blocks=1)
    await node.start()
    client = await Client.connect(node)
    await client.call("server.ping")
    await node.stop()
    assert await client.read_line() is None
    await client.close()
