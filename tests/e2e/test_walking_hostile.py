"""A companion in hostile hands over the real radio path: virtual Bluetooth, real BTP, real link.

It is paired and speaks the protocol, or it is a stranger that speaks Bluetooth only. Nobody touches
`confirm` while it is at work, so whatever comes back signed would be a theft. After each attack the
person gets to the lock screen, no process of the device has grown or died, and in the end a
companion with manners pays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

import cbor2
import pytest
import pytest_asyncio
from tests.e2e.kills_support import House
from tests.e2e.walking_support import role_processes
from tests.stored_seed import PIN

from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.btp import Chunker
from primegap.companion.companion import Companion
from primegap.companion.device_link import companion_name
from primegap.companion.state import CompanionState
from primegap.demo.shop import new_address
from primegap.device.client import AutomationClient, AutomationClientError
from primegap.quantumlink import NATIVE, Identity, PeerBundle
from primegap.quantumlink.aio.client import RpcClient
from primegap.quantumlink.aio.driver import LinkDriver
from primegap.quantumlink.api import bitcoin as routes
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.api.index import ALL_ROUTES, DEVICE_ROUTES, EXTENSION_ROUTES
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.rpc import AppId, AppRouteKey
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.radio.bumble_central import BumbleCentral, BumblePort, open_bumble
from primegap.radio.errors import RadioError

ROLES: Final = ("core", "security", "ui", "link", "calls", "bitcoin", "radio", "panel", "camera")
MAX_RSS: Final = 320 << 20
"Of any process: imports take up to 110 MiB; the bounds of calls, streams and screens the rest."
REACTION_S: Final = 10.0  # a second on an idle machine; this one may be very busy
ATTACK_S: Final = 60.0
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


class Hostile:
    """Whoever holds the air between device and companion, and the companion's keys."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.rng = Random(7)
        state = CompanionState(house.folder / "companion")
        self.seed = state.identity_seed(NATIVE.kem.seed_size)
        device = state.device()
        assert device is not None
        self.peer = PeerBundle.parse_untrusted(bytes.fromhex(device.bundle), NATIVE)
        self.address = device.address
        self.account = state.accounts()[0].id
        state.close()
        self.payments: list[bytes] = []
        self.signed: list[object] = []

    @contextlib.asynccontextmanager
    async def central(self) -> AsyncIterator[BumbleCentral]:
        async with open_bumble(self.house.air.companion) as central:
            yield central

    async def connect(self, central: BumbleCentral) -> BumblePort:
        """Make a Bluetooth connection, as soon as the device advertises."""
        deadline = time.monotonic() + ATTACK_S
        while True:
            try:
                return await central.connect(await central.find(address=self.address))
            except RadioError:
                if time.monotonic() > deadline:
                    raise

    @contextlib.asynccontextmanager
    async def paired(self) -> AsyncIterator[Paired]:
        """A session of the paired companion."""
        async with self.central() as central:
            port = await self.connect(central)
            identity = Identity.from_seed(NATIVE, companion_name(), self.seed)
            loop = asyncio.get_running_loop()
            engine = LinkEngine(LinkConfig.tuned(), identity, rng=os.urandom, now_s=loop.time())
            async with LinkDriver(engine) as driver:
                driver.bind_peer(self.peer)
                driver.attach(port)
                await driver.connect()
                yield Paired(self, driver)


class Paired:
    """What the paired companion can do in a session."""

    def __init__(self, hostile: Hostile, driver: LinkDriver) -> None:
        self.hostile = hostile
        self.driver = driver
        self.client = RpcClient(driver)

    async def ask(self, psbt: bytes, account: str | None = None) -> None:
        """Ask for a signature; nothing may come of it."""
        params = routes.SignPsbtParams(account_id=account or self.hostile.account, psbt=psbt)
        with contextlib.suppress(QuantumLinkError):
            answer = await self.client.request(routes.RequestSignPsbt, params, timeout_s=None)
            if isinstance(answer, routes.SignPsbtSigned):
                self.hostile.signed.append(answer)

    async def throw(self, header: bytes, body: bytes, *, finish: bool = True) -> None:
        """Open a stream and write something into it, without reading."""
        with contextlib.suppress(QuantumLinkError):
            stream = self.driver.open_stream(header)
            await stream.writer.write(body)
            if finish:
                stream.writer.finish()
            self.kept.append(stream)

    kept: list[Any] = []  # noqa: RUF012 - streams that are held open until the session is over


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("hostile")
    folder.chmod(0o755)
    with House(folder, Random(1)) as standing:
        standing.person.wants = "pair"
        assert "fingerprint" in standing.run("pair", "--code", standing._wait_code(""))
        standing.person.wants = ""
        assert "accounts" in standing.run("accounts")
        standing.fund()
        standing._dismiss_person()
        yield standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile(house: House) -> AsyncIterator[Hostile]:
    companion = Companion(
        house.folder / "companion", network="regtest", electrum_url=house.electrum, transport=None
    )
    payments = [await companion.compose(new_address(), 100_000 + n, 2) for n in range(8)]
    for payment in payments:
        companion.give_up(payment)
    await companion.close()
    made = Hostile(house)
    made.payments = [bytes.fromhex(payment.psbt) for payment in payments]
    yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def invariants(house: House, hostile: Hostile) -> AsyncIterator[None]:
    """What has to hold after each attack, whatever it was."""
    core = house.device.process.pid
    before = lasting(core)
    yield
    assert hostile.signed == []
    await asyncio.to_thread(lock_and_unlock, AutomationClient(house.device.url, house.device.token))
    assert house.device.process.poll() is None
    assert lasting(core) == before
    for role in ROLES:
        pids = [core] if role == "core" else role_processes(core, role)
        assert max(resident(pid) for pid in pids) < MAX_RSS, role


def lasting(core: int) -> dict[str, list[int]]:
    """Return the processes that only a fault would end; the seed's owner ends with a lock."""
    return {role: role_processes(core, role) for role in ROLES if role not in ("core", "security")}


def resident(pid: int) -> int:
    """Return the memory of a process in bytes."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def lock_and_unlock(client: AutomationClient) -> None:
    """Get rid of what is shown, lock, unlock; each touch is answered at once."""
    deadline = time.monotonic() + ATTACK_S
    while True:
        assert time.monotonic() < deadline, "the person does not get to the lock"
        began = time.monotonic()
        shown = client.screen()
        targets = {target["id"] for target in shown["targets"]}
        assert time.monotonic() - began < REACTION_S
        if shown["screen"]["id"] == "unlock":
            break
        target = next((t for t in ("reject", "ok", "lock", "back") if t in targets), None)
        if target is not None:
            with contextlib.suppress(AutomationClientError):  # another screen came first
                client.press(target, timeout_s=0)
    client.type(PIN)
    client.press("done")
    while client.screen()["screen"]["id"] != "home":
        shown = client.screen()
        for target in ("reject", "ok"):
            if any(one["id"] == target for one in shown["targets"]):
                with contextlib.suppress(AutomationClientError):
                    client.press(target, timeout_s=0)
        assert time.monotonic() < deadline + ATTACK_S, "the device does not come home"


async def within(work: Awaitable[object]) -> None:
    """Do something hostile for a while at most."""
    with contextlib.suppress(TimeoutError, QuantumLinkError, RadioError):
        async with asyncio.timeout(ATTACK_S):
            await work


# -- strangers ------------------------------------------------------------------------------------


async def test_a_stranger_who_speaks_bluetooth_only(hostile: Hostile) -> None:
    """Writes to every handle, of every length and kind; MTU games; no subscription."""
    async with hostile.central() as central:
        port = await hostile.connect(central)
        handle = port._connection.handle
        for opcode in (
            0x02,
            0x04,
            0x06,
            0x08,
            0x0A,
            0x0C,
            0x0E,
            0x10,
            0x12,
            0x16,
            0x18,
            0x1E,
            0xD2,
        ):
            for size in (0, 1, 2, 4, 20, 244):
                central.send_att(handle, bytes([opcode]) + hostile.rng.randbytes(size))
        for mtu in (0, 23, 24, 517, 0xFFFF):
            central.send_att(handle, b"\x02" + mtu.to_bytes(2, "little"))
        for target in range(24):
            for size in (0, 1, 244, 245, 512, 1000):
                pdu = b"\x52" + target.to_bytes(2, "little") + bytes(size)
                central.send_att(handle, pdu)
        for size in (1, 8, 9, 243, 244):
            for _ in range(60):
                with contextlib.suppress(Exception):
                    await port.send(hostile.rng.randbytes(size))
        await port.close()


async def test_a_stranger_with_lying_headers(hostile: Hostile) -> None:
    """Records that claim to be the largest and never end; first messages by dozens."""
    async with hostile.central() as central:
        port = await hostile.connect(central)
        for number in range(300):
            length = hostile.rng.choice((1, 236, 131_072, (1 << 24) - 1))
            header = (
                number.to_bytes(2, "little")
                + bytes(2)
                + (0xB2 << 24 | length).to_bytes(4, "little")
            )
            with contextlib.suppress(Exception):
                await port.send(header + bytes(236))
        chunker = Chunker()
        for _ in range(40):
            for packet in chunker.chunk(hostile.rng.randbytes(1300)):
                with contextlib.suppress(Exception):
                    await port.send(packet)
        await port.close()


async def test_strangers_who_come_and_go(hostile: Hostile) -> None:
    """A storm of connections, each left in another state."""
    async with hostile.central() as central:
        for number in range(10):
            port = await hostile.connect(central)
            if number % 2:
                await port.send(bytes(244))
            await port.close()
    for _ in range(3):
        async with hostile.central() as central:
            await hostile.connect(central)  # gone with its adapter, without a word


# -- the paired companion in other hands ----------------------------------------------------------


async def test_calls_half_open_and_never_read(hostile: Hostile) -> None:
    keys = [route.key.encode() for route in ALL_ROUTES]
    keys += [b"", b"\xff" * 200, bytes(17), AppRouteKey(AppId(bytes(16)), 77).encode()]
    async with hostile.paired() as paired:
        for _ in range(6):
            for key in keys:
                body = hostile.rng.randbytes(hostile.rng.choice((0, 1, 300)))
                await within(paired.throw(key, body, finish=False))
        subscribe = routes.SubscribeAccountUpdated.key.encode()
        empty = routes.SubscribeAccountUpdated.request.encode(Empty())
        for _ in range(100):
            await within(paired.throw(subscribe, empty))
        paired.kept.clear()


async def test_values_of_the_wrong_kind_and_size(hostile: Hostile) -> None:
    """Each route of the device with CBOR that it does not expect, nested, long, endless."""
    bodies = [
        b"",
        cbor2.dumps(None),
        cbor2.dumps([1, "two", b"three", {"four": 5.0}]),
        cbor2.dumps({"account_id": ["x"], "psbt": {"y": 1}, "permissions": "all"}),
        b"\x9f" * 2000,
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x00\x00\x00\x7f\xff\xff\xff\xff" + bytes(500),
        b"\xd8\x20" * 1000 + b"\x60",
    ]
    async with hostile.paired() as paired:
        for route in (*DEVICE_ROUTES, *EXTENSION_ROUTES):
            if route is not routes.SubscribeAccountUpdated:
                for body in bodies:
                    await within(paired.throw(route.key.encode(), body))
        largest = routes.SignPsbtParams(
            account_id=hostile.account, psbt=b"psbt\xff" + bytes((1 << 20) - 5)
        )
        body = routes.RequestSignPsbt.request.encode(largest)
        await within(paired.throw(routes.RequestSignPsbt.key.encode(), body))
        paired.kept.clear()


@pytest.mark.guarantee("U-7", tried="payments of a paired companion asked for and taken back")
async def test_payments_asked_for_and_taken_back(hostile: Hostile) -> None:
    """Questions by dozens, cancelled at every moment; the same payment with other bytes."""
    async with hostile.paired() as paired:
        asking = []
        for number in range(60):
            psbt = hostile.payments[number % len(hostile.payments)]
            if number % 3 == 0:
                parsed = parse_psbt_untrusted(psbt)
                added = parsed.inputs[0].adding(0xF0, {b"n": bytes([number])})
                psbt = parsed.with_inputs((added, *parsed.inputs[1:])).serialise()
            asking.append(asyncio.create_task(paired.ask(psbt)))
            await asyncio.sleep(hostile.rng.random() * 0.05)
            if number % 2:
                hostile.rng.choice(asking).cancel()
        await asyncio.sleep(0.5)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_sessions_that_end_under_the_question(hostile: Hostile) -> None:
    for number in range(4):
        async with hostile.paired() as paired:
            asking = asyncio.create_task(paired.ask(hostile.payments[number]))
            await asyncio.sleep(0.3)
            for _ in range(3):  # another handshake over the same packets
                with contextlib.suppress(QuantumLinkError):
                    await paired.driver.connect()
                await paired.ask(b"psbt\xff")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_refusals_without_end(hostile: Hostile) -> None:
    """Each refused payment is told to the person; that does not wear the screen out."""
    async with hostile.paired() as paired:
        for number in range(50):
            await within(paired.ask(b"psbt\xff" + bytes([number])))
            await within(paired.ask(hostile.payments[0], account="another"))


async def test_then_a_companion_with_manners_pays(house: House, hostile: Hostile) -> None:
    del hostile
    recipient = new_address()
    command = house.companion("send", recipient, "0.002", "--fee-rate", "2")
    client = AutomationClient(house.device.url, house.device.token)

    def approve() -> None:
        """Refuse what the other left behind, approve what is meant."""
        while recipient not in str((shown := client.wait("review", timeout_s=ATTACK_S))["screen"]):
            with contextlib.suppress(AutomationClientError):
                client.press("reject")
        while shown["page"] + 1 < shown["pages"]:
            shown = client.press("page:next")
        client.press("confirm")

    await asyncio.to_thread(approve)
    answer = await asyncio.to_thread(house.answer, command)
    assert answer is not None
    assert answer["payments"][0]["stage"] == "broadcast"
