"""Scenarios of the published runtime (session section 10.6): ports with a will of their own."""

from __future__ import annotations

import asyncio

import pytest

from primegap.quantumlink.aio import Call, Disconnected, LinkStream, RpcClient, RpcServer, allow_all
from primegap.quantumlink.aio.memory import MemoryLink, MemoryPort
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.aio.virtual_clock import run_virtual
from primegap.quantumlink.api.debug import EchoParams, EchoResponse, RequestPassportEcho
from primegap.quantumlink.rpc import AppRouteKey
from primegap.quantumlink.session import NoPeerError

THIRD = 3


class SlowPort:
    """Takes its time for each packet, loses every third record when told to, and counts."""

    def __init__(self, port: MemoryPort, delay_s: float = 0.0) -> None:
        self.packet_size = port.packet_size
        self.delay_s = delay_s
        self.loses = False
        self.lost = 0
        self.sending = 0
        self.most_at_once = 0
        self._port = port

    async def send(self, packet: bytes) -> None:
        self.sending += 1
        self.most_at_once = max(self.most_at_once, self.sending)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.loses and int.from_bytes(packet[:2], "little") % THIRD == 0:
                self.lost += 1
                return
            await self._port.send(packet)
        finally:
            self.sending -= 1

    async def receive(self) -> bytes:
        return await self._port.receive()

    async def close(self) -> None:
        await self._port.close()


def attach(pair: DriverPair, *, delay_s: float = 0.0) -> tuple[SlowPort, SlowPort]:
    link = MemoryLink()
    ports = SlowPort(link.a, delay_s), SlowPort(link.b, delay_s)
    pair.phone.attach(ports[0])
    pair.device.attach(ports[1])
    return ports


@pytest.mark.scenario("session", 96)
def test_every_third_record_lost_both_ways_costs_nothing_but_time() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            server = RpcServer(pair.device, keys=AppRouteKey, authorise=allow_all)

            async def echo(call: Call, params: EchoParams) -> EchoResponse:
                return EchoResponse(message=params.message)

            server.on_request(RequestPassportEcho, echo)
            ports = attach(pair)
            await pair.connect()
            for port in ports:
                port.loses = True
            client = RpcClient(pair.phone)
            for length in (1, 1000, 20_000):
                params = EchoParams(message="m" * length)
                answer = await client.request(RequestPassportEcho, params, timeout_s=60)
                assert answer.message == params.message
            assert all(port.lost for port in ports)

    run_virtual(scenario())


@pytest.mark.scenario("session", 95)
def test_one_packet_is_written_at_a_time() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            ports = attach(pair, delay_s=0.002)
            await pair.connect()
            streams = [pair.phone.open_stream(b"h") for _ in range(5)]
            await asyncio.gather(*(stream.writer.write(bytes(4104)) for stream in streams))
            await asyncio.sleep(5)
            assert [port.most_at_once for port in ports] == [1, 1]

    run_virtual(scenario())


@pytest.mark.scenario("session", 99)
def test_five_chunks_are_all_drained() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            arrived: asyncio.Future[LinkStream] = asyncio.get_running_loop().create_future()
            pair.device.on_stream(arrived.set_result)
            await pair.connect()
            stream = pair.phone.open_stream(b"h")
            for _ in range(5):
                await stream.writer.write(bytes(4104))
            stream.writer.finish()
            received = b""
            while piece := await (await arrived).reader.read():
                received += piece
            assert received == bytes(5 * 4104)

    run_virtual(scenario())


@pytest.mark.scenario("session", 90)
def test_a_close_is_sent_although_a_write_is_under_way() -> None:
    async def scenario() -> None:
        pair = DriverPair()
        ports = attach(pair, delay_s=0.01)
        await pair.connect()
        feed = pair.device.events()
        stream = pair.phone.open_stream(b"h")
        await stream.writer.write(bytes(2000))
        await asyncio.sleep(0.005)
        assert ports[0].sending == 1
        await pair.phone.aclose()
        await asyncio.sleep(1)
        assert Disconnected(0) in feed.take_waiting()
        await pair.device.aclose()

    run_virtual(scenario())


@pytest.mark.scenario("session", 92)
def test_nobody_is_connected_to_after_unpairing() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            pair.phone.unpair()
            await asyncio.sleep(0.1)
            for driver in (pair.phone, pair.device):
                with pytest.raises(NoPeerError):
                    await driver.connect()

    run_virtual(scenario())
