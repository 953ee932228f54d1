"""Two engines over a Bluetooth connection that is modelled by its times, under a virtual clock."""

from __future__ import annotations

import pytest

from primegap.quantumlink.aio.paced_simulation import (
    CEILING,
    FULL_EXCHANGE_S,
    AirProfile,
    PacedLink,
    best_goodput,
)
from primegap.quantumlink.suite import REFERENCE


def test_the_air_is_as_fast_as_bluetooth() -> None:
    assert pytest.approx(173_000, rel=0.01) == CEILING


@pytest.mark.parametrize(
    "air",
    [
        pytest.param(AirProfile(), id="clean"),
        pytest.param(AirProfile(interval_s=0.0075), id="clean-short-interval"),
        pytest.param(AirProfile(packet_loss=0.01, reordering=0.01), id="1pct"),
        pytest.param(AirProfile(packet_loss=0.05, reordering=0.02), id="5pct"),
        pytest.param(
            AirProfile(packet_loss=0.05, reordering=0.02, interval_s=0.0075), id="5pct-short"
        ),
        pytest.param(
            AirProfile(packet_loss=0.05, reordering=0.02, interval_s=0.1), id="5pct-long-interval"
        ),
        pytest.param(
            AirProfile(packet_loss=0.05, reordering=0.02, fade_s=0.004), id="5pct-short-fades"
        ),
        pytest.param(AirProfile(packet_loss=0.05, reordering=0.02, fade_s=0.02), id="5pct-fades"),
        pytest.param(AirProfile(packet_loss=0.01, reordering=0.01, fade_s=0.02), id="1pct-fades"),
    ],
)
def test_goodput_is_near_the_best_for_the_air(air: AirProfile) -> None:
    aim = 0.85 if air.packet_loss else 0.9
    assert PacedLink(air, seed=3).measure_goodput(3.0) > aim * best_goodput(air)
    assert best_goodput(air) < CEILING


def test_the_reference_suite_fits_its_records_to_the_loss_too() -> None:
    air = AirProfile(packet_loss=0.05, reordering=0.02)
    link = PacedLink(air, seed=4, suite=REFERENCE)
    assert link.measure_goodput(3.0) > 0.85 * best_goodput(air)


@pytest.mark.parametrize(
    "air",
    [
        pytest.param(AirProfile(), id="clean"),
        pytest.param(AirProfile(packet_loss=0.05, reordering=0.02), id="5pct"),
        pytest.param(AirProfile(packet_loss=0.05, fade_s=0.02, interval_s=0.0075), id="fades"),
    ],
)
def test_two_senders_share_the_air_fairly(air: AirProfile) -> None:
    rates = PacedLink(air, seed=3).measure_both_ways(3.0)
    assert sum(rates) > 2 * 0.85 * best_goodput(air, exchange_s=FULL_EXCHANGE_S)
    assert min(rates) > 0.8 * max(rates)


def test_fades_lose_the_part_that_was_asked_for() -> None:
    air = AirProfile(packet_loss=0.05, fade_s=0.02)
    link = PacedLink(air, seed=1)
    step_s, steps = 0.001, 100_000
    faded = 0
    for _ in range(steps):
        link.now_s += step_s
        faded += link.is_faded()
    assert faded / steps == pytest.approx(0.05, rel=0.2)
    assert air.loss_behind_arrival(1e-9) < 1e-6
    assert air.loss_behind_arrival(10.0) == pytest.approx(0.05)


def test_a_path_that_loses_every_large_record_is_learnt() -> None:
    air = AirProfile(packet_loss=0.2)
    assert PacedLink(air, seed=5).measure_goodput(3.0, warm_up_s=3.0) > 0.75 * best_goodput(air)


def test_an_opening_longer_than_the_best_record_is_still_sent() -> None:
    link = PacedLink(AirProfile(packet_loss=0.1), seed=1)
    link.measure_goodput(2.0)
    header = bytes(1000)
    stream_id = link.a.engine.open_stream(header)
    link.a.engine.write(stream_id, b"x")
    link.advance(3.0)
    assert link.b.engine.stream_header(stream_id) == header


def test_a_request_does_not_wait_for_a_loaded_link() -> None:
    idle = PacedLink(AirProfile(), seed=2).measure_latency_s(1024)
    loaded = PacedLink(AirProfile(), seed=2)
    bulk = loaded.a.engine.open_stream(b"bulk")
    for _ in range(400):
        loaded.a.engine.write(bulk, bytes(65_536))
        loaded.advance(0.005)
        if bulk in loaded.b.engine.streams():
            loaded.b.engine.read(bulk, 1 << 20)
    assert idle < 0.15
    assert loaded.measure_latency_s(1024, bulk) < 0.4
