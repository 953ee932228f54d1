"""Faults of the air: each knob does what it says, and the same seed does it again."""

from __future__ import annotations

import pytest

from primegap.quantumlink.aio.paced_simulation import CEILING, EXCHANGE_S, FULL_EXCHANGE_S
from primegap.radio.faults import FaultPlan, Faults, is_data
from primegap.radio.pace import Pace, Way

WRITE = bytes.fromhex("08000400521000") + b"value"
NOTIFICATION = bytes.fromhex("080004001b1200") + b"value"


def pdu(number: int) -> bytes:
    return bytes.fromhex("0b000400521000") + number.to_bytes(8, "big")


def run(faults: Faults, count: int = 200) -> list[bytes]:
    plan = FaultPlan(faults, direction="to-central")
    arrived = [one for number in range(count) for one in plan.pass_on(pdu(number))]
    return arrived + plan.take_kept()


def test_only_data_packets_are_touched() -> None:
    assert is_data(WRITE)
    assert is_data(NOTIFICATION)
    assert not is_data(bytes.fromhex("0300040002f700"))  # MTU request
    assert not is_data(bytes.fromhex("03000500521000") + b"value")  # another channel
    assert not is_data(b"")


def test_a_perfect_air_changes_nothing() -> None:
    assert Faults().none
    assert Faults(seed=9).none
    assert run(Faults()) == [pdu(number) for number in range(200)]


def test_drop() -> None:
    assert run(Faults(drop=1.0)) == []
    assert 120 < len(run(Faults(drop=0.25))) < 180


def test_duplicate() -> None:
    assert run(Faults(duplicate=1.0), 2) == [pdu(0), pdu(0), pdu(1), pdu(1)]


def test_reorder_lets_a_packet_be_overtaken_by_one_and_loses_none() -> None:
    arrived = run(Faults(reorder=0.5))
    assert arrived != sorted(arrived)
    assert sorted(arrived) == [pdu(number) for number in range(200)]
    places = {packet: place for place, packet in enumerate(arrived)}
    assert all(abs(places[pdu(number)] - number) <= 1 for number in range(200))


def test_corrupt_flips_one_bit_of_the_value() -> None:
    (damaged,) = run(Faults(corrupt=1.0), 1)
    difference = int.from_bytes(damaged, "big") ^ int.from_bytes(pdu(0), "big")
    assert difference.bit_count() == 1
    assert damaged[:7] == pdu(0)[:7]


def test_a_seed_repeats_its_plan_and_directions_differ() -> None:
    faults = Faults(drop=0.3, duplicate=0.3, reorder=0.3, corrupt=0.3, seed=4)
    assert run(faults) == run(faults)
    assert run(faults) != run(Faults(drop=0.3, duplicate=0.3, reorder=0.3, corrupt=0.3, seed=5))
    other = FaultPlan(faults, direction="to-peripheral")
    assert run(faults) != [one for number in range(200) for one in other.pass_on(pdu(number))]


def test_jitter_is_drawn_for_each_packet_and_repeats_with_its_seed() -> None:
    faults = Faults(delay_s=0.1, jitter_s=0.05, seed=3)
    plans = [FaultPlan(faults, direction="to-central") for _ in range(2)]
    drawn = [[plan.delay_s() for _ in range(50)] for plan in plans]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 50
    assert all(0.1 <= delay_s <= 0.15 for delay_s in drawn[0])
    assert faults.is_timed
    assert not Faults(drop=0.5).is_timed


# --- the pace ------------------------------------------------------------------------------------

WHOLE = 244 + 7


def test_a_paced_air_carries_what_bluetooth_does() -> None:
    pace = Pace(0.030)
    ends = [pace.passes_at_s(Way.TO_CENTRAL, WHOLE, 0.001) for _ in range(500)]
    assert ends[0] == pytest.approx(0.030 + EXCHANGE_S)  # the next event
    assert ends == sorted(ends)
    assert 244 * 499 / (ends[-1] - ends[0]) == pytest.approx(CEILING)


def test_both_ways_share_the_exchanges() -> None:
    pace = Pace(0.030)
    ends: dict[Way, list[float]] = {way: [] for way in Way}
    for _ in range(100):
        for way in Way:
            ends[way].append(pace.passes_at_s(way, WHOLE, 0.0))
    for way in Way:
        assert (ends[way][-1] - ends[way][0]) / 99 == pytest.approx(FULL_EXCHANGE_S, rel=0.02)


def test_a_short_packet_takes_less_and_a_new_event_is_waited_for() -> None:
    pace = Pace(0.030)
    first_s = pace.passes_at_s(Way.TO_PERIPHERAL, WHOLE, 0.0)
    assert pace.passes_at_s(Way.TO_PERIPHERAL, 7 + 20, first_s) == pytest.approx(
        first_s + EXCHANGE_S - 224 * 4e-6
    )
    assert pace.passes_at_s(Way.TO_PERIPHERAL, WHOLE, 0.050) == pytest.approx(0.060 + EXCHANGE_S)
