"""Whatever a link does to packets, bytes arrive whole and in order, or not at all."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.quantumlink.aio import Impairment, PeerResetError, SessionEndedError
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.aio.streams import LinkStream
from primegap.quantumlink.aio.virtual_clock import run_virtual

faults = st.builds(
    Impairment,
    loss=st.floats(0, 0.05),
    duplication=st.floats(0, 0.3),
    reordering=st.floats(0, 0.3),
    delay_s=st.floats(0, 0.1),
    late_s=st.floats(0, 0.3),
)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    impairment=faults,
    sizes=st.lists(st.integers(0, 9000), max_size=5),
    breaks=st.lists(st.floats(0.01, 2), max_size=2),
)
def test_streams_keep_their_bytes(
    seed: int, impairment: Impairment, sizes: list[int], breaks: list[float]
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with DriverPair(seed=seed) as pair:
            await pair.connect()
            arrived: asyncio.Future[LinkStream] = loop.create_future()
            pair.device.on_stream(arrived.set_result)
            pair.impairment = impairment
            pair.link.impair(impairment)
            for when_s in breaks:
                loop.call_later(when_s, pair.join)
            stream = pair.phone.open_stream(b"header")
            sent = [bytes([index]) * size for index, size in enumerate(sizes)]

            async def write() -> None:
                for data in sent:
                    await stream.writer.write(data)
                stream.writer.finish()

            async def read() -> bytes:
                received = bytearray()
                while piece := await (await arrived).reader.read():
                    received += piece
                return bytes(received)

            writing = asyncio.create_task(write())
            try:
                async with asyncio.timeout(300):
                    assert await read() == b"".join(sent)
                    await writing
            except (SessionEndedError, PeerResetError, TimeoutError):
                # Half a minute without a single record through: the session may give up.
                assert impairment.loss > 0.01
                writing.cancel()

    run_virtual(scenario())
