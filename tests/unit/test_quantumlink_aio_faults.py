"""Transfers over links that lose, double, reorder and break. On a virtual clock, seeded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine

import pytest

from primegap.btp import Chunker
from primegap.quantumlink import Close, StreamData, StreamOpening, encode_frame
from primegap.quantumlink.aio import (
    Call,
    CallTimeoutError,
    Connected,
    DownloadAnswer,
    Impairment,
    MemoryLink,
    PortClosedError,
    Reconnector,
    RpcClient,
    RpcServer,
    SessionEndedError,
    allow_all,
)
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.aio.virtual_clock import run_virtual
from primegap.quantumlink.api.debug import (
    DownloadBenchmarkHeader,
    DownloadBenchmarkParams,
    DownloadBenchmarkPartHeader,
    DownloadPassportBenchmark,
    EchoParams,
    EchoResponse,
    RequestPassportEcho,
)
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import AppRouteKey

BODY = bytes(range(251)) * (2 * 1024 * 1024 // 251 + 1)
TWO_MIB = 2 * 1024 * 1024


def virtual(scenario: Coroutine[object, object, None]) -> None:
    run_virtual(scenario)


def serve(pair: DriverPair) -> RpcServer:
    """Let the device serve echo and benchmark."""
    server = RpcServer(pair.device, keys=AppRouteKey, authorise=allow_all)

    async def echo(call: Call, params: EchoParams) -> EchoResponse:
        return EchoResponse(message=params.message)

    async def benchmark(
        call: Call,
        params: DownloadBenchmarkParams,
        answer: DownloadAnswer[DownloadBenchmarkHeader, DownloadBenchmarkPartHeader],
    ) -> None:
        body = BODY[: params.length]
        await answer.start(DownloadBenchmarkHeader(hash=hashlib.sha256(body).digest()))
        async with answer.part(DownloadBenchmarkPartHeader()) as part:
            await part.write(body)

    server.on_request(RequestPassportEcho, echo)
    server.on_download(DownloadPassportBenchmark, benchmark)
    return server


async def fetch(
    client: RpcClient, length: int, at_half: Callable[[], Coroutine[object, object, None]] | None
) -> None:
    """Download and check `length` bytes; call `at_half` in the middle."""
    params = DownloadBenchmarkParams(length=length)
    async with client.download(DownloadPassportBenchmark, params, timeout_s=60) as download:
        digest, received = hashlib.sha256(), 0
        async for part in download.parts:
            async for piece in part:
                digest.update(piece)
                received += len(piece)
                if at_half is not None and received > length // 2:
                    await at_half()
                    at_half = None
    assert received == length
    assert digest.digest() == download.header.hash


@pytest.mark.parametrize(
    "impairment",
    [
        Impairment(delay_s=0.001),
        Impairment(delay_s=0.05),
        Impairment(delay_s=0.001, loss=0.001),
        Impairment(delay_s=0.001, duplication=0.1),
        Impairment(delay_s=0.001, reordering=0.1, late_s=0.012),
        Impairment(delay_s=0.003, loss=0.001, duplication=0.05, reordering=0.05, late_s=0.025),
    ],
    ids=["quick", "slow", "lossy", "doubling", "reordering", "everything"],
)
def test_two_mebibytes_arrive(impairment: Impairment) -> None:
    async def scenario() -> None:
        async with DriverPair(seed=5) as pair:
            await pair.connect()
            serve(pair)
            pair.link.impair(impairment)
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            await fetch(RpcClient(pair.phone), TWO_MIB, None)
            assert loop.time() - started_s < 120

    virtual(scenario())


@pytest.mark.parametrize("seed", range(6))
def test_handshake_and_calls_survive_a_bad_link(seed: int) -> None:
    async def scenario() -> None:
        bad = Impairment(delay_s=0.01, loss=0.02, duplication=0.1, reordering=0.1, late_s=0.1)
        async with DriverPair(seed=seed, impairment=bad) as pair:
            serve(pair)
            task = asyncio.create_task(Reconnector(pair.phone).run())
            client = RpcClient(pair.phone)
            feed = pair.phone.events()
            async with asyncio.timeout(120):
                while not isinstance(await anext(feed), Connected):
                    pass
            for length in (1, 100, 5000):
                message = "m" * length
                params = EchoParams(message=message)
                answer = await client.request(RequestPassportEcho, params, timeout_s=60)
                assert answer.message == message
            task.cancel()

    virtual(scenario())


def test_a_transfer_goes_on_when_the_port_is_replaced() -> None:
    async def scenario() -> None:
        async with DriverPair(seed=2, impairment=Impairment(delay_s=0.002)) as pair:
            serve(pair)
            feed = pair.phone.events()
            task = asyncio.create_task(Reconnector(pair.phone).run())
            await asyncio.sleep(1)

            async def break_and_join() -> None:
                await pair.link.cut()
                await asyncio.sleep(3)
                pair.join()

            await fetch(RpcClient(pair.phone), TWO_MIB, break_and_join)
            assert len([n for n in feed.take_waiting() if isinstance(n, Connected)]) == 1
            task.cancel()

    virtual(scenario())


def test_a_transfer_goes_on_when_only_one_side_sees_the_break() -> None:
    async def scenario() -> None:
        async with DriverPair(seed=3) as pair:
            await pair.connect()
            serve(pair)

            async def swap() -> None:
                pair.join()  # attach replaces the old ports in the middle of records

            for _ in range(5):
                await fetch(RpcClient(pair.phone), 200_000, swap)

    virtual(scenario())


def test_a_transfer_fails_plainly_when_the_peer_forgot_the_session() -> None:
    async def scenario() -> None:
        async with DriverPair(seed=4) as pair:
            server = serve(pair)
            task = asyncio.create_task(Reconnector(pair.phone).run())
            await asyncio.sleep(1)
            client = RpcClient(pair.phone)

            async def restart_device() -> None:
                await pair.link.cut()
                pair.device.bind_peer(pair.phone_identity.bundle)
                pair.join()

            with pytest.raises(SessionEndedError):
                await fetch(client, TWO_MIB, restart_device)
            await asyncio.sleep(5)
            assert server.running_calls == 0
            await fetch(client, 100_000, None)  # the reconnector has made another session
            task.cancel()

    virtual(scenario())


def test_a_stream_and_the_end_of_the_session_in_one_record() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            serve(pair)
            opening = StreamOpening(1000, 1000, RequestPassportEcho.key.encode())
            session = pair.phone._engine._sessions.current
            assert session is not None
            stream_id = pair.phone.open_stream(b"x").stream_id
            body = encode_frame(StreamData(stream_id, 0, False, opening, b"x"))
            record = session._seal(body + encode_frame(Close(9)))
            for packet in Chunker(1000).chunk(record):
                await pair.link.a.send(packet)
            await asyncio.sleep(0.1)
            assert not pair.device.is_connected
            assert pair.device.has_port
            await pair.connect()

    virtual(scenario())


def test_a_call_without_a_port_fails_in_its_time() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            serve(pair)
            await pair.link.cut()
            client = RpcClient(pair.phone)
            with pytest.raises(CallTimeoutError):
                await client.request(RequestPassportEcho, EchoParams(message="x"))
            with pytest.raises(SessionEndedError):  # after half a minute of silence
                await client.request(RequestPassportEcho, EchoParams(message="x"), timeout_s=None)

    virtual(scenario())


def test_a_memory_link_pushes_back_and_checks_sizes() -> None:
    async def scenario() -> None:
        link = MemoryLink()
        sending = asyncio.create_task(send_many(link, 200))
        await asyncio.sleep(1)
        assert not sending.done()
        assert link.a.sent_packets == 64
        received = [await link.b.receive() for _ in range(200)]
        assert received == [bytes((n,)) for n in range(200)]
        for bad in (b"", bytes(245)):
            with pytest.raises(LocalError):
                await link.a.send(bad)
        await link.b.send(b"last")
        await link.cut()
        assert await link.a.receive() == b"last"
        with pytest.raises(PortClosedError):
            await link.a.receive()
        with pytest.raises(PortClosedError):
            await link.b.send(b"x")
        await sending

    virtual(scenario())


async def send_many(link: MemoryLink, count: int) -> None:
    for number in range(count):
        await link.a.send(bytes((number,)))
