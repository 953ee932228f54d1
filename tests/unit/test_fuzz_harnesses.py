"""The harnesses of `make fuzz` on their seeds, without the fuzzer."""

from __future__ import annotations

import random

import pytest
from fuzz import corpus
from fuzz.__main__ import REACHED
from fuzz.harnesses import HARNESSES, BrokenPromiseError, promise

MAX_CORPUS_BYTES = 500_000
FROM_CODE = {"app-channels", "manifests", "pictures", "screens"}
"These seeds are what our code once made; they may differ from what it makes today."


@pytest.mark.guarantee("H-6", tried="every decoder with its fuzzing seeds and mutations")
@pytest.mark.parametrize("name", HARNESSES)
def test_a_harness_takes_its_seeds_and_what_becomes_of_them(name: str) -> None:
    run = HARNESSES[name]()
    seeds = sorted((corpus.FOLDER / name).iterdir())
    assert 2 <= len(seeds) <= corpus.SEEDS_EACH
    if (REACHED / name).is_dir():
        seeds += sorted((REACHED / name).iterdir())
    assert len(seeds) <= 2 * corpus.SEEDS_EACH
    chance = random.Random(name)
    for seed in seeds:
        data = seed.read_bytes()
        run(data)
        for _ in range(8):
            changed = bytearray(data)
            for _ in range(chance.randint(1, 4)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            run(bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed) + 1)))]))
    run(b"")


@pytest.mark.parametrize("name", sorted(HARNESSES.keys() - FROM_CODE))
def test_seeds_come_from_the_vectors(name: str) -> None:
    kept = {path.read_bytes() for path in (corpus.FOLDER / name).iterdir()}
    assert kept == set(corpus.chosen(name)), "run: python -m fuzz.corpus"


def test_the_seeds_are_few() -> None:
    total = sum(path.stat().st_size for path in corpus.FOLDER.rglob("*") if path.is_file())
    assert total < MAX_CORPUS_BYTES
    assert {path.name for path in corpus.FOLDER.iterdir()} == set(HARNESSES)
    reached = list(REACHED.rglob("*"))
    assert {path.name for path in reached if path.is_dir()} <= set(HARNESSES)
    assert all(path.stat().st_size <= 1024 for path in reached if path.is_file())


def test_a_broken_promise_is_an_error() -> None:
    with pytest.raises(BrokenPromiseError):
        promise(False, "never")
