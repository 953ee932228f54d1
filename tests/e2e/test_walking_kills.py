"""Processes killed at any moment of pairing, sharing and paying: see `kills_support`.

Two short stories by default; `make kills N=100` runs longer, with another seed each time, and
`SEED=…` repeats one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
from tests.e2e.kills_support import AROUND_IT, OF_THE_DEVICE, House

KILLS: Final = int(os.environ.get("PRIMEGAP_KILLS", "6"))
SEED: Final = int(os.environ.get("PRIMEGAP_KILLS_SEED", "2"))
STEP_S: Final = 300  # one kill and everything after it on a very busy machine


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    tmp_path.chmod(0o755)
    with House(tmp_path, Random(SEED)) as standing:
        yield standing


def victims(rng: Random) -> Iterator[str]:
    """Deal everybody once before anybody has a second turn."""
    while True:
        everybody = [*OF_THE_DEVICE, *AROUND_IT]
        rng.shuffle(everybody)
        yield from everybody


@pytest.mark.guarantee("X-1", tried="any process killed at any moment of a payment")
@pytest.mark.guarantee("U-7", tried="the link killed under pairing, sharing and payment")
@pytest.mark.timeout(STEP_S + STEP_S * KILLS // 4)
def test_whoever_dies_the_payment_is_made_once_and_only_if_it_was_meant(house: House) -> None:
    dealt = victims(house.rng)
    began = time.monotonic()
    try:
        for number in range(-(-KILLS // 3)):
            if number:
                house.part()
            house.pair(next(dealt))
            house.share(next(dealt))
            if not number:
                house.fund()
            house.pay(next(dealt))
    finally:
        lines = [f"{len(house.story)} kills, seed {SEED}, {time.monotonic() - began:.0f} s"]
        lines += [f"{count} x {text}" for text, count in house.errors.items()]
        print("\n".join([*lines, *house.person.told, *map(repr, house.stops)]))
