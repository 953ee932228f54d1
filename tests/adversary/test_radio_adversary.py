"""Whoever holds the radio: whatever they do, nothing worse than a lost session comes of it.

make test                       2,000 seeds on the air, 6 with the whole chip: under a minute
make adversary SEEDS=20000      a long run: so many on the air, a hundredth of it with the chip
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from tests.adversary.attack import MARK, TO_DEVICE, Attack, deep_size
from tests.adversary.hostile_air import AirBench
from tests.adversary.hostile_chip import Bench, run_seed

from primegap.quantumlink import NATIVE, StreamData, Suite
from primegap.quantumlink.aio.virtual_clock import run_virtual
from primegap.quantumlink.session.replay import ReplayWindow
from primegap.quantumlink.session.stream_ids import StreamIds
from primegap.quantumlink.session.streams import StreamTable

LONG = int(os.environ.get("RADIO_ADVERSARY_SEEDS", "0"))
FIRST = int(os.environ.get("RADIO_ADVERSARY_FIRST", "0"))
AIR_SEEDS = LONG or 2000
CHIP_SEEDS = max(1, LONG // 100) if LONG else 6
AT_ONCE = 100
"Seeds of one test: each well within its time-out, however slow the machine."


@pytest.mark.guarantee(
    "L-2", "L-3", tried="a chip that drops, repeats, reorders, forges and looks for plain text"
)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + CHIP_SEEDS))
def test_a_hostile_chip_costs_nothing_but_the_session(seed: int) -> None:
    bench = run_virtual(run_seed(seed))
    assert bench.attacker.packets > 0
    assert bench.book.delivered[0]
    assert bench.book.delivered[1]


@pytest.mark.guarantee("L-2", "L-3", tried="the same by thousands of seeds, on the air alone")
@pytest.mark.parametrize("first", range(FIRST, FIRST + AIR_SEEDS, AT_ONCE))
def test_a_hostile_air_costs_nothing_but_the_session(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, FIRST + AIR_SEEDS)):
        try:
            AirBench(seed).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


# --- the benches notice what they are for ---------------------------------------------------------


def failure_of(attack: Attack, suite: Suite = NATIVE) -> str:
    """Return what some seed of this attack fails with; empty when none does."""
    for seed in range(1, 40):
        try:
            AirBench(seed, suite=suite, attack=attack).run()
        except AssertionError as error:
            return str(error)
    return ""


class CarelessCipher:
    """ChaCha20-Poly1305 that looks at no tag."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._careful = NATIVE.new_cipher(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        return self._careful.encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        counter = (1).to_bytes(4, "little")
        stream = Cipher(algorithms.ChaCha20(self._key, counter + nonce), mode=None).decryptor()
        return stream.update(data[:-16])


def test_forged_bytes_are_noticed() -> None:
    corrupting = Attack(corrupt=0.3)
    assert failure_of(corrupting) == ""
    assert "forged bytes" in failure_of(corrupting, replace(NATIVE, new_cipher=CarelessCipher))


def test_doubled_messages_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    repeating = Attack(duplicate=0.5, replay=0.1)
    assert failure_of(repeating) == ""
    monkeypatch.setattr(ReplayWindow, "is_replay", lambda self, seq: False)
    monkeypatch.setattr(StreamIds, "is_new", lambda self, stream_id: True)
    assert "a doubled message" in failure_of(repeating)


def test_lost_bytes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = Attack(drop=0.01)
    assert failure_of(calm) == ""
    genuine = StreamTable.receive_data

    def forgetful(self: StreamTable, frame: StreamData) -> None:
        if not frame.fin:  # the rest is taken, acknowledged and thrown away
            genuine(self, frame)

    monkeypatch.setattr(StreamTable, "receive_data", forgetful)
    assert failure_of(calm) in {"['acknowledged, but not delivered']", "no recovery"}


def test_a_link_that_stays_down_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AirBench, "_reconnect", lambda self: None)
    assert failure_of(Attack(drop=1.0)) == "no recovery"


def test_plain_text_is_noticed() -> None:
    bench = AirBench(1)
    bench.attacker.mangle(TO_DEVICE, b"....." + MARK)
    with pytest.raises(AssertionError, match="plain text"):
        bench.advance(1.0)


def test_memory_is_noticed() -> None:
    async def scenario() -> None:
        bench = Bench(1)
        before = deep_size(bench.pair.device, without=(bench,))
        bench.pair.device.counters.last_refusal = "x" * 100_000
        assert deep_size(bench.pair.device, without=(bench,)) > before + 90_000
        bench.attacker.mangle(TO_DEVICE, b"....." + MARK)
        with pytest.raises(AssertionError, match="plain text"):
            bench.check()
        await bench.pair.aclose()

    run_virtual(scenario())
