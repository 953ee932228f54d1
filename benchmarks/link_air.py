"""The link over Bluetooth: the paced model on a virtual clock, and the emulated radio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.figure import Figure, figure
from benchmarks.link_goodput import BLUETOOTH_CEILING, CHUNK
from primegap.btp import PACKET_BYTES
from primegap.quantumlink import REFERENCE
from primegap.quantumlink.aio.paced_simulation import (
    CEILING,
    FULL_EXCHANGE_S,
    AirProfile,
    PacedLink,
    best_goodput,
)

PACED_S = 20.0
SEEDS = range(3)
LOSS_5 = AirProfile(packet_loss=0.05, reordering=0.02)
AIRS = {
    "": AirProfile(),
    "-1pct-loss": AirProfile(packet_loss=0.01, reordering=0.01),
    "-5pct-loss": LOSS_5,
    "-5pct-in-fades": replace(LOSS_5, fade_s=0.02),
    "-5pct-loss-7.5ms-interval": replace(LOSS_5, interval_s=0.0075),
    "-5pct-loss-100ms-interval": replace(LOSS_5, interval_s=0.1),
}


def paced() -> list[Figure]:
    """Goodput over the paced air against what a sender reaches that knows the loss."""
    figures = []
    for end, air in AIRS.items():
        found = statistics.median(
            PacedLink(air, seed=seed).measure_goodput(PACED_S) for seed in SEEDS
        )
        figures.append(_against_ideal(f"ble-paced-goodput-vs-ideal{end}", found, best_goodput(air)))
    found = PacedLink(LOSS_5, suite=REFERENCE).measure_goodput(PACED_S)
    name = "ble-paced-goodput-vs-ideal-5pct-loss-reference"
    figures.append(_against_ideal(name, found, best_goodput(LOSS_5)))
    for end, air in (("", AirProfile()), ("-5pct-loss", LOSS_5)):
        from_a, from_b = PacedLink(air).measure_both_ways(PACED_S)
        ideal = best_goodput(air, exchange_s=FULL_EXCHANGE_S)
        slower, faster = sorted((from_a, from_b))
        figures += [
            _against_ideal(f"ble-paced-both-ways-vs-ideal{end}", from_a + from_b, 2 * ideal),
            figure(
                f"ble-paced-both-ways-slower{end}",
                slower / 1e3,
                "kB/s",
                "the faster way",
                faster / 1e3,
            ),
        ]
    ceiling = figure(
        "ble-paced-ceiling", CEILING / 1e3, "kB/s", "the real one", BLUETOOTH_CEILING / 1e3
    )
    return [*figures, ceiling, *_latency()]


def _against_ideal(name: str, found: float, ideal: float) -> Figure:
    return figure(name, found / 1e3, "kB/s", "best record size, loss known", ideal / 1e3)


def _latency() -> list[Figure]:
    idle = statistics.median(
        PacedLink(AirProfile(), seed=seed).measure_latency_s(1024) for seed in range(5)
    )
    loaded = statistics.median(_loaded_latency_s(seed) for seed in range(5))
    interval_s = AirProfile().interval_s
    return [
        figure(
            "ble-1kib-request-idle", idle * 1e3, "ms", "one connection interval", interval_s * 1e3
        ),
        figure(
            "ble-1kib-request-loaded", loaded * 1e3, "ms", "the same on an idle link", idle * 1e3
        ),
    ]


def _loaded_latency_s(seed: int) -> float:
    link = PacedLink(AirProfile(), seed=seed)
    bulk = link.a.engine.open_stream(b"bulk")
    for _ in range(400):
        link.a.engine.write(bulk, CHUNK)
        link.advance(0.005)
        if bulk in link.b.engine.streams():
            link.b.engine.read(bulk, 1 << 20)
    return link.measure_latency_s(1024, bulk)


# --- the emulated radio --------------------------------------------------------------------------

EMULATED_BYTES = 400_000


def emulated() -> list[Figure]:
    """Packets of a phone through two Bluetooth stacks and the chip, all in one process."""
    with tempfile.TemporaryDirectory() as folder:
        rate = asyncio.run(_emulated_rate(Path(folder)))
    return [
        figure(
            "ble-emulated-ceiling",
            rate / 1e3,
            "kB/s",
            "the real Bluetooth ceiling",
            BLUETOOTH_CEILING / 1e3,
        )
    ]


async def _emulated_rate(folder: Path) -> float:
    from primegap.radio.air import AirServer
    from primegap.radio.central import open_central
    from primegap.radio.chip_memory import ChipMemory
    from primegap.radio.chip_process import make_identity, run_chip
    from primegap.radio.firmware import TEST_SIGNERS, bundled_image
    from primegap.radio.host import RadioSettings, open_radio

    doors = [f"unix:{folder / side}.sock" for side in ("device", "companion")]
    air = AirServer()
    await air.open(*doors)
    loop = asyncio.get_running_loop()
    host, chip_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hci = socket.socket(socket.AF_UNIX)
    for sock in (host, hci):
        sock.setblocking(False)
    await loop.sock_connect(hci, doors[0].removeprefix("unix:"))
    memory = ChipMemory.erased()
    memory.write_image(0, bundled_image())
    identity = make_identity(os.urandom(8))
    running = run_chip(chip_end, hci, identity=identity, memory=memory, known_keys=TEST_SIGNERS)
    chip = asyncio.create_task(running)
    try:
        radio = await open_radio(host, RadioSettings())
        async with open_central(doors[1]) as central:
            phone = await central.connect(await central.find())
            device = await radio.connection()
            packet = bytes(PACKET_BYTES)
            count = EMULATED_BYTES // PACKET_BYTES
            began = time.perf_counter()

            async def send() -> None:
                for _ in range(count):
                    await phone.send(packet)

            sending = asyncio.create_task(send())
            for _ in range(count):
                await device.receive()
            took_s = time.perf_counter() - began
            await sending
            await phone.close()
        await radio.close()
    finally:
        host.close()
        with contextlib.suppress(asyncio.CancelledError):
            await chip
        air.close()
    return count * PACKET_BYTES / took_s
