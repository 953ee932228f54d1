"""The rules of trust under random use: what is on top, what a grant is good for, what is kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.apps.bitcoin.store import MAX_SIGNED, MAX_SIGNED_BYTES, Memory
from primegap.files import MAX_FILE_BYTES
from primegap.keyos.security.grants import GRANT_LIFE_S, MAX_GRANTS, Grants, Use
from primegap.keyos.storage import SealedFile
from primegap.keyos.ui.input import ActionKind, UiAction
from primegap.keyos.ui.screen import Button, Screen
from primegap.keyos.ui.stage import Ask, Rank, Stage

SCREEN: Final = Screen(id="a", title="A", buttons=(Button("ok", "OK"),))
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(list(Rank))),
        st.tuples(st.sampled_from(["remove", "answer", "cancel"]), st.integers(0, 20)),
        st.tuples(st.just("lock"), st.booleans()),
    ),
    max_size=40,
)


@pytest.mark.guarantee("U-1", "U-3", tried="random sequences of requests for the screen")
@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_what_is_on_top_is_always_the_one_that_may_be(
    steps: list[tuple[str, Rank | int | bool]],
) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, Rank | int | bool]]) -> None:
    stage = Stage(lambda: None)
    asks: list[Ask] = []
    assert stage.locked  # until somebody unlocks it
    before: Ask | None = None
    for what, value in steps:
        if what == "add":
            assert isinstance(value, Rank)
            asks.append(stage.add(SCREEN, value))
        elif what == "lock":
            stage.locked = bool(value)
        elif asks:
            ask = asks[int(value) % len(asks)]
            if what == "remove":
                stage.remove(ask)
                asks.remove(ask)
            elif what == "answer" and not ask.answer.done():
                ask.answer.set_result(UiAction(ActionKind.PRESS, "ok"))
            else:
                ask.answer.cancel()
        top = stage.top()
        waiting = [ask for ask in asks if not ask.answer.done()]
        if stage.locked:
            waiting = [ask for ask in waiting if ask.rank in {Rank.SYSTEM, Rank.LOCK}]
        if top is None:
            assert not waiting
        else:
            assert top in waiting
            assert top.rank is max(ask.rank for ask in waiting)
        if before is not None and before.rank is Rank.CONFIRM and before in waiting:
            # A confirmation gives way to the lock and to nothing else (U-5).
            assert top is before or (top is not None and top.rank is Rank.LOCK)
        before = top


USES: Final = st.builds(
    Use,
    instance=st.integers(1, 3),
    content=st.sampled_from([bytes(32), b"\x01" * 32, b"short"]),
    network=st.sampled_from(["regtest", "mainnet"]),
    account=st.integers(0, 2),
)
NUMBERS: Final = st.sampled_from([bytes([n]) * 16 for n in range(3)] + [b"", bytes(17)])


@pytest.mark.guarantee("U-5", tried="random sequences of approvals and uses")
@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("approve"), NUMBERS, USES),
            st.tuples(st.just("take"), NUMBERS, USES),
            st.tuples(st.just("wait"), st.floats(0, 20), USES),
            st.tuples(st.just("lock"), st.none(), USES),
        ),
        max_size=60,
    )
)
def test_a_grant_is_taken_once_in_time_for_exactly_its_use(
    steps: list[tuple[str, object, Use]],
) -> None:
    grants, now_s = Grants(), 0.0
    good: dict[bytes, tuple[Use, float]] = {}
    for what, value, use in steps:
        if what == "wait":
            assert isinstance(value, float)
            now_s += value
        elif what == "lock":
            grants.clear()
            good.clear()
        else:
            assert isinstance(value, bytes)
            good = {n: g for n, g in good.items() if now_s < g[1] + GRANT_LIFE_S}
            if what == "approve":
                fits = len(value) == 16 and len(use.content) == 32 and value not in good
                assert grants.approve(value, use, now_s=now_s) is fits
                if fits:
                    good[value] = (use, now_s)
            else:
                found = good.get(value)
                expected = found is not None and found[0] == use
                assert grants.take(value, use, now_s=now_s) is expected
                if expected:
                    del good[value]


def test_no_number_of_approvals_grows_without_end() -> None:
    grants = Grants()
    use = Use(1, bytes(32), "regtest", 0)
    taken = [grants.approve(n.to_bytes(16, "big"), use, now_s=0) for n in range(100)]
    assert taken.count(True) == MAX_GRANTS


@settings(max_examples=40, deadline=None)
@given(
    answers=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 400_000)), max_size=25
    )
)
def test_what_was_signed_is_kept_for_its_pairing_and_within_bounds(
    answers: list[tuple[int, int, int]],
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = SealedFile(Path(folder), "state", bytes(32))
        memory = Memory(file)
        for pairing, digest, size in answers:
            number, review = bytes([pairing]) * 16, bytes([digest]) * 32
            memory.remember_signed(number, review, bytes(size))
            kept = memory.recall_signed(number, review)
            assert kept == (bytes(size) if size <= MAX_SIGNED_BYTES else None)
            for other in range(3):
                if other != pairing:
                    assert memory.recall_signed(bytes([other]) * 16, review) is None
            assert len(memory.signed) <= MAX_SIGNED
        assert sum(map(len, memory.signed.values())) <= 2 * MAX_SIGNED_BYTES
        size = (Path(folder) / "state").stat().st_size if answers else 0
        assert size < MAX_FILE_BYTES // 2
        assert Memory.load(file).signed == memory.signed
