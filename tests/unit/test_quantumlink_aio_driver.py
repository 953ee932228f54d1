"""The driver: sessions, ports, pairing, notices, timers. In memory, on a virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine

import pytest

from primegap.quantumlink import Identity, Invite, LocalError, PairingToken
from primegap.quantumlink.aio import (
    AttemptReplacedError,
    Connected,
    ConnectFailed,
    Disconnected,
    DriverClosedError,
    HandshakeTimeoutError,
    Impairment,
    LinkDriver,
    LinkStream,
    MemoryLink,
    Paired,
    PairingTimeoutError,
    PortAttached,
    PortClosedError,
    PortLost,
    Reconnector,
    ReconnectPolicy,
    SessionEndedError,
    UnknownRouteError,
    Unpaired,
)
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.aio.virtual_clock import VirtualClockLoop, run_virtual
from primegap.quantumlink.session import LinkConfig, LinkEngine, NoPeerError, NoSessionError
from primegap.quantumlink.session.simulation import seeded_rng
from primegap.quantumlink.suite import NATIVE, REFERENCE, Pattern, Suite

LOST = Impairment(loss=1.0)


def virtual(scenario: Coroutine[object, object, None]) -> None:
    run_virtual(scenario)


@pytest.mark.scenario("session", 89)
@pytest.mark.parametrize("suite", [NATIVE, REFERENCE], ids=lambda suite: suite.name)
def test_paired_peers_connect_and_tell(suite: Suite) -> None:
    async def scenario() -> None:
        async with DriverPair(suite=suite) as pair:
            phone, device = pair.phone.events(), pair.device.events()
            await pair.connect()
            assert pair.phone.is_connected
            await asyncio.sleep(0.1)
            assert pair.device.is_connected
            handshake_hash = pair.device.handshake_hash
            assert handshake_hash is not None
            assert handshake_hash == pair.phone.handshake_hash
            peer = pair.device_identity.bundle
            assert phone.take_waiting() == [Connected(peer, handshake_hash)]
            assert [type(notice) for notice in device.take_waiting()] == [Connected]

    virtual(scenario())


@pytest.mark.parametrize("pattern", [Pattern.KK, Pattern.IK])
def test_each_pattern_connects(pattern: Pattern) -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.phone.connect(patterns=[pattern])
            assert pair.phone.is_connected

    virtual(scenario())


@pytest.mark.scenario("session", 89)
def test_ik_is_tried_when_kk_is_not_answered() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with DriverPair(impairment=LOST) as pair:
            loop.call_later(2.6, pair.link.impair, Impairment())  # KK is lost, IK is not
            loop.call_later(2.4, pair.join)
            started_s = loop.time()
            with pytest.raises(HandshakeTimeoutError) as caught:
                await pair.connect()
            assert loop.time() - started_s == pytest.approx(7.5, abs=0.1)
            assert "pair again" in caught.value.hint
            pair.impairment = Impairment()
            pair.join()
            await pair.connect()

    virtual(scenario())


@pytest.mark.scenario("session", 89)
def test_connecting_needs_a_peer() -> None:
    async def scenario() -> None:
        async with DriverPair(paired=False) as pair:
            with pytest.raises(NoPeerError):
                await pair.connect()
            with pytest.raises(NoSessionError):
                pair.phone.open_stream(b"x")

    virtual(scenario())


@pytest.mark.scenario("session", 89)
def test_pairing_binds_both_sides_and_is_told() -> None:
    async def scenario() -> None:
        async with DriverPair(paired=False) as pair:
            feed = pair.device.events()
            token = PairingToken(bytes(range(16)))
            pair.device.arm_pairing(token)
            peer = await pair.phone.pair(Invite(NATIVE, pair.device_identity.qid, token))
            assert peer == pair.phone.peer == pair.device_identity.bundle
            await asyncio.sleep(0.1)
            assert pair.device.peer == pair.phone_identity.bundle
            kinds = [type(notice) for notice in feed.take_waiting()]
            assert kinds == [Paired, Connected]

    virtual(scenario())


@pytest.mark.scenario("session", 89)
def test_pairing_with_another_code_times_out_with_a_hint() -> None:
    async def scenario() -> None:
        async with DriverPair(paired=False) as pair:
            pair.device.arm_pairing(PairingToken(bytes(16)))
            other = PairingToken(bytes(range(16)))
            with pytest.raises(PairingTimeoutError) as caught:
                await pair.phone.pair(Invite(NATIVE, pair.device_identity.qid, other))
            assert "scan" in caught.value.hint
            assert pair.device.counters.last_refusal == "quantumlink-invalid-pairing-id"
            assert pair.device.peer is None
            pair.device.disarm_pairing()

    virtual(scenario())


def test_a_newer_attempt_replaces_one_that_waits() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            pair.link.impair(LOST)
            first = asyncio.create_task(pair.connect())
            await asyncio.sleep(0.1)
            pair.link.impair(Impairment())
            await pair.phone.connect(patterns=[Pattern.IK])
            with pytest.raises(AttemptReplacedError):
                await first
            assert pair.phone.is_connected

    virtual(scenario())


@pytest.mark.scenario("session", 91)
def test_closing_a_session_fails_its_streams_and_tells_why() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            feed = pair.device.events()
            held: list[LinkStream] = []
            pair.device.on_stream(held.append)
            stream = pair.phone.open_stream(b"header")
            await stream.writer.write(b"x")
            await asyncio.sleep(0.1)
            reading = asyncio.create_task(held[0].reader.read())
            assert await reading == b"x"
            reading = asyncio.create_task(held[0].reader.read())
            await asyncio.sleep(0.1)
            pair.phone.close_session(77)
            assert not pair.phone.is_connected
            with pytest.raises(SessionEndedError):
                await stream.reader.read()
            with pytest.raises(SessionEndedError):
                await stream.writer.write(b"y")
            with pytest.raises(SessionEndedError):
                stream.writer.finish()
            with pytest.raises(SessionEndedError):
                await stream.writer.wait_finished()
            with pytest.raises(SessionEndedError):
                await reading
            assert feed.take_waiting() == [Disconnected(77)]
            stream.reset(1)  # nothing left to reset
            await pair.connect()

    virtual(scenario())


@pytest.mark.scenario("session", 92)
def test_unpairing_reaches_the_peer() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            feed = pair.device.events()
            pair.phone.unpair()
            assert pair.phone.peer is None
            await asyncio.sleep(0.1)
            assert pair.device.peer is None
            assert Unpaired() in feed.take_waiting()

    virtual(scenario())


@pytest.mark.scenario("session", 93)
def test_silence_ends_a_session() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            feed = pair.phone.events()
            pair.link.impair(LOST)
            await asyncio.sleep(31)
            assert not pair.phone.is_connected
            assert feed.take_waiting() == [Disconnected(2)]

    virtual(scenario())


def test_a_session_outlives_its_port() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            feed = pair.phone.events()
            before = pair.phone.handshake_hash
            await pair.link.cut()
            await asyncio.sleep(1)
            assert not pair.phone.has_port
            assert pair.phone.is_connected
            pair.join()
            assert await pair.phone.probe(2.0)
            assert pair.phone.handshake_hash == before
            assert feed.take_waiting() == [PortLost(), PortAttached()]

    virtual(scenario())


def test_a_probe_fails_when_the_peer_lost_the_session() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            assert not await pair.phone.probe(2.0)
            await pair.connect()
            pair.device.bind_peer(pair.phone_identity.bundle)  # as after a restart
            assert not await pair.phone.probe(2.0)

    virtual(scenario())


def test_attaching_replaces_the_port_in_use() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            old = pair.link
            pair.join()
            await asyncio.sleep(0.01)
            assert old.a.closed
            with pytest.raises(PortClosedError):
                await old.a.send(b"x")
            await pair.connect()

    virtual(scenario())


def test_ports_with_small_packets_are_refused() -> None:
    class Narrow:
        packet_size = 20

        async def send(self, packet: bytes) -> None: ...
        async def receive(self) -> bytes:
            raise AssertionError

        async def close(self) -> None: ...

    async def scenario() -> None:
        async with DriverPair() as pair:
            with pytest.raises(LocalError):
                pair.phone.attach(Narrow())
            assert pair.phone.has_port

    virtual(scenario())


def test_noise_on_the_port_is_counted_and_forgotten() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            await pair.link.a.send(b"\0" * 244)
            await pair.link.a.send(b"short")
            packet = bytes.fromhex("0700 0000 050000 b2").ljust(244, b"\xaa")
            await pair.link.a.send(packet)
            await asyncio.sleep(0.1)
            assert pair.device.counters.bad_packets == 2
            assert pair.device.counters.bad_records == 1
            assert pair.device.is_connected

    virtual(scenario())


def test_a_closed_driver_does_nothing_more() -> None:
    async def scenario() -> None:
        pair = DriverPair()
        await pair.connect()
        feed = pair.phone.events()
        await pair.phone.aclose()
        await pair.phone.aclose()
        assert [type(notice) async for notice in feed] == [Disconnected, PortLost]
        assert [notice async for notice in pair.phone.events()] == []
        with pytest.raises(DriverClosedError):
            pair.phone.attach(MemoryLink().a)
        with pytest.raises(DriverClosedError):
            await pair.phone.connect()
        await asyncio.sleep(0.1)
        assert not pair.device.is_connected  # it was told
        await pair.device.aclose()

    virtual(scenario())


def test_without_a_stream_handler_streams_are_reset_as_unknown() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream = pair.phone.open_stream(b"header")
            await stream.writer.write(b"x")
            with pytest.raises(UnknownRouteError):
                await stream.reader.read()

    virtual(scenario())


def test_a_driver_without_a_port_sleeps() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        config = LinkConfig(peer_timeout_s=0)
        async with DriverPair(phone_config=config, device_config=config) as pair:
            await pair.connect()
            stream = pair.phone.open_stream(b"header")
            await pair.link.cut()
            await stream.writer.write(b"x" * 100)
            timers = 0
            call_later = loop.call_later

            def counting(*args: object) -> object:
                nonlocal timers
                timers += 1
                return call_later(*args)  # type: ignore[arg-type]

            loop.call_later = counting  # type: ignore[method-assign, assignment]
            await asyncio.sleep(100)
            assert timers < 1000

    virtual(scenario())


# --- staying connected ----------------------------------------------------------------------------


def test_the_reconnector_connects_every_new_port() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            feed = pair.phone.events()
            task = asyncio.create_task(Reconnector(pair.phone).run())
            await asyncio.sleep(0.5)
            assert pair.phone.is_connected
            pair.device.bind_peer(pair.phone_identity.bundle)  # the device lost the session
            await pair.link.cut()
            await asyncio.sleep(0.5)
            pair.join()
            await asyncio.sleep(3)
            assert pair.phone.is_connected
            assert pair.device.is_connected
            assert ConnectFailed not in [type(notice) for notice in feed.take_waiting()]
            task.cancel()

    virtual(scenario())


def test_the_reconnector_backs_off_and_says_so() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            pair.link.impair(LOST)
            feed = pair.phone.events()
            policy = ReconnectPolicy(first_delay_s=1.0, max_delay_s=5.0)
            reconnector = Reconnector(pair.phone, policy=policy, chance=lambda: 1.0)
            task = asyncio.create_task(reconnector.run())
            await asyncio.sleep(60)
            failures = [n for n in feed.take_waiting() if isinstance(n, ConnectFailed)]
            assert [n.retry_in_s for n in failures[:5]] == [1.0, 2.0, 4.0, 5.0, 5.0]
            assert all(isinstance(n.error, HandshakeTimeoutError) for n in failures)
            pair.impairment = Impairment()
            pair.join()  # a new port is used at once
            await asyncio.sleep(0.5)
            assert pair.phone.is_connected
            task.cancel()

    virtual(scenario())


def test_the_reconnector_does_not_hammer_a_peer_that_hangs_up() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            feed = pair.device.events()
            reconnector = Reconnector(pair.phone, chance=lambda: 1.0)
            task = asyncio.create_task(reconnector.run())
            connections = 0

            async def hang_up() -> None:
                nonlocal connections
                async for notice in feed:
                    if isinstance(notice, Connected):
                        connections += 1
                        await asyncio.sleep(0.05)
                        pair.device.close_session()

            hanging_up = asyncio.create_task(hang_up())
            await asyncio.sleep(120)
            assert 5 <= connections <= 12
            task.cancel()
            hanging_up.cancel()

    virtual(scenario())


def test_the_reconnector_waits_for_a_pairing() -> None:
    async def scenario() -> None:
        async with DriverPair(paired=False) as pair:
            task = asyncio.create_task(Reconnector(pair.phone).run())
            await asyncio.sleep(1)
            token = PairingToken(bytes(16))
            pair.device.arm_pairing(token)
            await pair.phone.pair(Invite(NATIVE, pair.device_identity.qid, token))
            pair.join()
            await asyncio.sleep(1)
            assert pair.phone.is_connected
            await pair.phone.aclose()
            await task  # ends with the driver

    virtual(scenario())


async def test_it_runs_on_a_real_clock_and_on_one_that_is_handed_in() -> None:
    """The only test here that waits for real, a few milliseconds."""
    async with DriverPair() as pair:
        rng = seeded_rng("another phone")
        identity = Identity.generate(NATIVE, "another phone", rng)
        config = LinkConfig.tuned()
        engine = LinkEngine(config, identity, rng=rng, now_s=time.monotonic())
        async with LinkDriver(engine, clock=time.monotonic) as phone:
            phone.bind_peer(pair.device_identity.bundle)
            pair.device.bind_peer(identity.bundle)
            link = MemoryLink()
            phone.attach(link.a)
            pair.device.attach(link.b)
            await phone.connect()
            assert await phone.probe(5.0)


# --- the clock ------------------------------------------------------------------------------------


def test_the_virtual_clock_notices_a_standstill() -> None:
    async def scenario() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(LocalError):
        run_virtual(scenario())


def test_the_virtual_clock_jumps() -> None:
    async def scenario() -> float:
        await asyncio.sleep(1000)
        assert isinstance(asyncio.get_running_loop(), VirtualClockLoop)
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == pytest.approx(1000)
