"""The chip as attacker: whatever it does, nothing worse than a lost session comes of it.

pytest tests/adversary                          a few seeds
RADIO_ADVERSARY_SEEDS=2000 pytest tests/adversary      a long run
"""

from __future__ import annotations

import os

import pytest
from tests.adversary.hostile_chip import MARK, TO_DEVICE, Bench, deep_size, run_seed

from primegap.quantumlink.aio.virtual_clock import run_virtual

SEEDS = int(os.environ.get("RADIO_ADVERSARY_SEEDS", "6"))
FIRST = int(os.environ.get("RADIO_ADVERSARY_FIRST", "0"))


@pytest.mark.guarantee(
    "L-2", "L-3", tried="a chip that drops, repeats, reorders, forges and looks for plain text"
)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_a_hostile_chip_costs_nothing_but_the_session(seed: int) -> None:
    bench = run_virtual(run_seed(seed))
    assert bench.packets > 0
    assert bench.delivered[0]
    assert bench.delivered[1]


def test_the_bench_notices_plain_text_forgeries_and_memory() -> None:
    async def scenario() -> None:
        bench = Bench(1)
        await bench.mangle(TO_DEVICE, b"....." + MARK)
        assert bench.failures == ["plain text in a packet"]
        with pytest.raises(AssertionError):
            bench.check()
        before = deep_size(bench.pair.device, without=(bench,))
        bench.pair.device.counters.last_refusal = "x" * 100_000
        assert deep_size(bench.pair.device, without=(bench,)) > before + 90_000
        await bench.pair.aclose()

    run_virtual(scenario())
