"""Channels between apps, against a router that does what it likes with what it carries."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import pickle
from collections.abc import Iterator
from itertools import count

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from primegap.keyos.between.answers import MAX_CHANNELS_PER_APP, AppAnswers
from primegap.keyos.between.calls import MAX_CHANNELS, AppCalls, Certify
from primegap.keyos.between.certificate import (
    Authority,
    Certificate,
    Side,
    parse_certificate_untrusted,
    verify_certificate,
)
from primegap.keyos.between.channel import CalleeChannel, CallerChannel
from primegap.keyos.between.handshake import ChannelKey, Opening, Peer, accept
from primegap.keyos.errors import ChannelBrokenError, ChannelUseError, RequestError, Status
from primegap.keyos.frame import OPEN_CHANNEL, Caller, Trust

SERVER = "app/clock"
CODES = Peer(b"codes".ljust(16, b"\0"), 7)
CLOCK = Peer(b"clock".ljust(16, b"\0"), 3)
THIEF = Peer(b"thief".ljust(16, b"\0"), 9)
NUMBER = bytes(range(8))


class Randomness:
    """A stream that a test can repeat."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._numbers = count()

    def __call__(self, size: int) -> bytes:
        block = self._seed + next(self._numbers).to_bytes(8, "big")
        return hashlib.shake_256(block).digest(size)


AUTHORITY = Authority(Randomness("authority"))


def key_for(
    peer: Peer, side: Side, *, server: str = SERVER, authority: Authority = AUTHORITY
) -> ChannelKey:
    key = ChannelKey(Randomness(f"{peer} {side} {server}"))
    said = Certificate(side, peer.app_id, peer.instance, key.public_key, server)
    key.certified(authority.certify(said), authority.public_key, side=side, server=server)
    return key


def open_pair(seed: str = "one", number: bytes = NUMBER) -> tuple[CallerChannel, CalleeChannel]:
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness(seed))
    answer, callee = accept(
        opening.hello, key_for(CLOCK, Side.CALLEE), server=SERVER, peer=CODES, number=number
    )
    found, caller = opening.finish(answer, CLOCK)
    assert found == number
    return caller, callee


# -- a channel ----------------------------------------------------------------------------------


def test_messages_arrive_as_they_were_sent() -> None:
    caller, callee = open_pair()
    for size in (0, 1, 5000):
        record = caller.seal_request(3, b"q" * size)
        assert callee.open_request(3, record) == b"q" * size
        assert caller.open_answer(callee.seal_answer(b"a" * size)) == b"a" * size


def test_nothing_of_a_message_is_in_its_record_and_no_record_looks_like_another() -> None:
    caller, callee = open_pair()
    seen = set()
    for _ in range(3):
        record = caller.seal_request(1, b"the same canary")
        assert b"canary" not in record
        callee.open_request(1, record)
        answer = callee.seal_answer(b"the same canary")
        caller.open_answer(answer)
        seen |= {record, answer}
    assert len(seen) == 6


@pytest.mark.guarantee("ID-3", tried="every bit of a sealed message between apps flipped")
def test_every_altered_bit_ends_the_channel() -> None:
    for position in range(64 + 16 + 2):
        for bit in (1, 128):
            caller, callee = open_pair()
            record = bytearray(caller.seal_request(1, b"hi"))
            record[position] ^= bit
            with pytest.raises(ChannelBrokenError):
                callee.open_request(1, bytes(record))
            with pytest.raises(ChannelUseError):
                callee.open_request(1, bytes(record))


def test_the_message_id_that_the_router_judged_is_the_one_that_was_signed() -> None:
    caller, callee = open_pair()
    with pytest.raises(ChannelBrokenError):
        callee.open_request(2, caller.seal_request(1, b""))


def test_a_record_of_the_right_keys_without_the_senders_signature_is_not_taken() -> None:
    """What signing adds: whoever learns the shared keys still cannot speak as the sender."""
    caller, callee = open_pair()
    caller._signer = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
    with pytest.raises(ChannelBrokenError, match="signature"):
        callee.open_request(1, caller.seal_request(1, b""))


def test_each_side_speaks_in_its_turn() -> None:
    caller, callee = open_pair()
    with pytest.raises(ChannelUseError):
        caller.open_answer(b"")
    with pytest.raises(ChannelUseError):
        callee.seal_answer(b"")
    record = caller.seal_request(1, b"")
    with pytest.raises(ChannelUseError):
        caller.seal_request(1, b"")
    callee.open_request(1, record)
    with pytest.raises(ChannelUseError):
        callee.open_request(1, record)


@pytest.mark.guarantee("H-1", tried="repr, pickle and copy of channel keys")
def test_keys_are_neither_printed_nor_pickled_nor_copied() -> None:
    caller, _ = open_pair()
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("r"))
    for secret in (caller, opening, AUTHORITY, key_for(CODES, Side.CALLER)):
        assert repr(secret) == f"<{type(secret).__name__}>"
        for spread in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                spread(secret)


# -- the router as an enemy ---------------------------------------------------------------------

ATTACKS = (
    "honest",
    "repeat",
    "drop",
    "alter",
    "cut",
    "reflect",
    "splice",
    "other-id",
    "invent",
    "older",
)


def attacked(
    attack: str, record: bytes, history: list[bytes], other: bytes, opposite: bytes
) -> bytes | None:
    """Return what the router delivers in place of a record; None to leave it as it is."""
    match attack:
        case "repeat" if history:
            return history[-1]
        case "older" if history:
            return history[0]
        case "alter":
            return record[:-1] + bytes((record[-1] ^ 1,))
        case "cut":
            return record[:-1]
        case "reflect" if opposite:
            return opposite
        case "splice":
            return other
        case "invent":
            return bytes(len(record))
    return None


@given(
    plan=st.lists(
        st.tuples(st.sampled_from(ATTACKS), st.sampled_from(ATTACKS), st.binary(max_size=40)),
        max_size=8,
    )
)
def test_both_ends_agree_on_the_whole_conversation_or_it_is_over(
    plan: list[tuple[str, str, bytes]],
) -> None:
    """Drop, repeat, reorder, splice, reflect, alter: nothing but the next true message opens."""
    caller, callee = open_pair("one", b"channel1")
    caller2, callee2 = open_pair("two", b"channel2")
    requests: list[bytes] = []
    answers: list[bytes] = []
    for on_request, on_answer, body in plan:
        record = caller.seal_request(1, body)
        other = caller2.seal_request(1, body)
        callee2.open_request(1, other)
        if on_request == "drop":  # the next one comes first
            caller.close()
            fresh, _ = open_pair("three")
            later = fresh.seal_request(1, body)
            with pytest.raises(ChannelBrokenError):
                callee.open_request(1, later)
            return
        opposite = answers[-1] if answers else b""
        delivered = attacked(on_request, record, requests, other, opposite)
        if delivered is not None or on_request == "other-id":
            with pytest.raises(ChannelBrokenError):
                callee.open_request(2 if delivered is None else 1, delivered or record)
            assert not callee.usable
            return
        assert callee.open_request(1, record) == body
        requests.append(record)
        answer = callee.seal_answer(body[::-1])
        delivered = attacked(on_answer, answer, answers, callee2.seal_answer(body), record)
        caller2.close()
        caller2, callee2 = open_pair("two", b"channel2")
        if delivered is not None:
            with pytest.raises(ChannelBrokenError):
                caller.open_answer(delivered)
            assert not caller.usable
            return
        assert caller.open_answer(answer) == body[::-1]
        answers.append(answer)


# -- the handshake ------------------------------------------------------------------------------


def hello_and_answer(
    *,
    caller: ChannelKey | None = None,
    callee: ChannelKey | None = None,
    said_caller: Peer = CODES,
    said_callee: Peer = CLOCK,
    server: str = SERVER,
) -> None:
    opening = Opening(caller or key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("h"))
    answer, _ = accept(
        opening.hello,
        callee or key_for(CLOCK, Side.CALLEE),
        server=server,
        peer=said_caller,
        number=NUMBER,
    )
    opening.finish(answer, said_callee)


@pytest.mark.guarantee("ID-1", "ID-3", tried="certificates and keys of another app")
def test_nobody_can_be_somebody_else() -> None:
    """A compromised app has certificates of its own only; core's word and they must agree."""
    hello_and_answer()
    rogue = Authority(Randomness("rogue"))
    for broken in (
        {"caller": key_for(THIEF, Side.CALLER)},
        {"callee": key_for(THIEF, Side.CALLEE)},
        {"said_caller": THIEF},
        {"said_callee": THIEF},
        {"said_caller": Peer(CODES.app_id, CODES.instance + 1)},
        {"said_callee": Peer(CLOCK.app_id, CLOCK.instance + 1)},
        {"caller": key_for(CODES, Side.CALLEE)},
        {"callee": key_for(CLOCK, Side.CALLER)},
        {"caller": key_for(CODES, Side.CALLER, server="app/other")},
        {"callee": key_for(CLOCK, Side.CALLEE, server="app/other")},
        {"caller": key_for(CODES, Side.CALLER, authority=rogue)},
        {"callee": key_for(CLOCK, Side.CALLEE, authority=rogue)},
        {"server": "app/other"},
    ):
        with pytest.raises(ChannelBrokenError):
            hello_and_answer(**broken)


def test_every_altered_byte_of_a_handshake_is_noticed() -> None:
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("h"))
    key = key_for(CLOCK, Side.CALLEE)
    answer, _ = accept(opening.hello, key, server=SERVER, peer=CODES, number=NUMBER)
    for position in range(len(answer)):
        altered = bytearray(answer)
        altered[position] ^= 1
        with pytest.raises(ChannelBrokenError):
            opening.finish(bytes(altered), CLOCK)
    for position in range(0, len(opening.hello), 7):
        altered = bytearray(opening.hello)
        altered[position] ^= 1
        try:
            changed, _ = accept(bytes(altered), key, server=SERVER, peer=CODES, number=NUMBER)
        except ChannelBrokenError:
            continue
        # An altered X-Wing key is taken by the callee; its answer then fits no hello.
        with pytest.raises(ChannelBrokenError):
            opening.finish(changed, CLOCK)


@pytest.mark.guarantee("ID-3", tried="a router that swaps keys")
def test_a_router_in_the_middle_that_swaps_the_key_gets_no_channel() -> None:
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("h"))
    middle = Opening(key_for(THIEF, Side.CALLER), server=SERVER, rng=Randomness("m"))
    swapped = opening.hello[:-1216] + middle.hello[-1216:]
    answer, callee = accept(
        swapped, key_for(CLOCK, Side.CALLEE), server=SERVER, peer=CODES, number=NUMBER
    )
    with pytest.raises(ChannelBrokenError):
        opening.finish(answer, CLOCK)
    with pytest.raises(ChannelBrokenError):  # it answered the router's key, to no avail
        callee.open_request(1, bytes(200))


def test_a_repeated_hello_opens_a_channel_that_nobody_can_use() -> None:
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("h"))
    key = key_for(CLOCK, Side.CALLEE)
    first, callee = accept(opening.hello, key, server=SERVER, peer=CODES, number=NUMBER)
    _, again = accept(opening.hello, key, server=SERVER, peer=CODES, number=b"replayed")
    _, caller = opening.finish(first, CLOCK)
    record = caller.seal_request(1, b"pay")
    with pytest.raises(ChannelBrokenError):
        again.open_request(1, record)
    assert callee.open_request(1, record) == b"pay"


@given(st.binary(max_size=260))
def test_any_bytes_are_a_certificate_or_are_refused(data: bytes) -> None:
    try:
        certificate, signature = parse_certificate_untrusted(data)
    except ChannelBrokenError:
        return
    assert certificate.encode() + signature == data
    with pytest.raises(ChannelBrokenError):
        verify_certificate(data, AUTHORITY.public_key)


@given(st.binary(max_size=1600))
def test_any_bytes_are_no_hello_and_no_answer(data: bytes) -> None:
    opening = Opening(key_for(CODES, Side.CALLER), server=SERVER, rng=Randomness("h"))
    with pytest.raises(ChannelBrokenError):
        opening.finish(data, CLOCK)
    with pytest.raises(ChannelBrokenError):
        accept(data, key_for(CLOCK, Side.CALLEE), server=SERVER, peer=CODES, number=NUMBER)


def test_a_certificate_for_something_else_is_not_made() -> None:
    good = Certificate(Side.CALLER, CODES.app_id, 1, bytes(32), SERVER)
    assert AUTHORITY.certify(good)
    for field, value in (
        ("app_id", bytes(15)),
        ("key", bytes(33)),
        ("server", "os/security"),
        ("server", "app/" + "x" * 40),
        ("instance", -1),
    ):
        bad = copy.copy(good)
        object.__setattr__(bad, field, value)
        with pytest.raises(ChannelUseError):
            AUTHORITY.certify(bad)


# -- the shells ---------------------------------------------------------------------------------


class Bench:
    """A caller's and a callee's shell with a wire that a test may cut into."""

    def __init__(self) -> None:
        self.answers = AppAnswers(self.certify(CLOCK))
        self.answers.servers.add(SERVER)
        self.caller = Caller(CODES.app_id, CODES.instance, Trust.BUILT_IN_APP)
        callee = Caller(CLOCK.app_id, CLOCK.instance, Trust.BUILT_IN_APP)
        self.calls = AppCalls(SERVER, callee, send=self.send, certify=self.certify(CODES))
        self.sent: list[int] = []
        self.refuse: Iterator[Status] = iter(())
        self.hold = asyncio.Event()
        self.hold.set()

    @staticmethod
    def certify(peer: Peer) -> Certify:
        async def certified(side: Side, server: str) -> ChannelKey:
            return key_for(peer, side, server=server)

        return certified

    async def send(self, message_id: int, payload: bytes) -> bytes:
        self.sent.append(message_id)
        if message_id == OPEN_CHANNEL:
            return await self.answers.open(self.caller, payload)
        for status in self.refuse:
            raise RequestError(status)
        exchange = self.answers.receive(self.caller, message_id, payload)
        await self.hold.wait()
        if message_id == 9:
            return exchange.refuse(Status.NOT_FOUND, "no such thing")
        return exchange.answer(exchange.body.upper())


async def test_calls_share_a_channel_and_errors_travel_sealed() -> None:
    bench = Bench()
    assert await bench.calls.call(1, b"one") == b"ONE"
    assert await bench.calls.call(1, b"two") == b"TWO"
    with pytest.raises(RequestError, match="no such thing") as refused:
        await bench.calls.call(9, b"")
    assert refused.value.status is Status.NOT_FOUND
    assert await bench.calls.call(1, b"three") == b"THREE"
    assert bench.sent.count(OPEN_CHANNEL) == 1


async def test_a_refusal_by_core_costs_the_channel_and_not_the_next_call() -> None:
    bench = Bench()
    await bench.calls.call(1, b"")
    bench.refuse = iter((Status.BUSY,))
    with pytest.raises(RequestError):
        await bench.calls.call(1, b"")
    assert await bench.calls.call(1, b"again") == b"AGAIN"
    assert bench.sent.count(OPEN_CHANNEL) == 2


async def test_calls_side_by_side_use_channels_of_their_own_within_the_limit() -> None:
    bench = Bench()
    bench.hold.clear()
    calls = [asyncio.ensure_future(bench.calls.call(1, bytes((97 + n,)))) for n in range(9)]
    while bench.sent.count(1) < MAX_CHANNELS:
        await asyncio.sleep(0)
    bench.hold.set()
    assert await asyncio.gather(*calls) == [bytes((65 + n,)) for n in range(9)]
    assert bench.sent.count(OPEN_CHANNEL) == MAX_CHANNELS


async def test_a_cancelled_call_leaves_nothing_half_said() -> None:
    bench = Bench()
    bench.hold.clear()
    call = asyncio.ensure_future(bench.calls.call(1, b"x"))
    while 1 not in bench.sent:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    bench.hold.set()
    assert await bench.calls.call(1, b"y") == b"Y"


@pytest.mark.guarantee("ID-3", "F-5", tried="channel numbers of another app")
async def test_a_number_of_another_app_is_no_way_in_and_no_way_to_end_it() -> None:
    bench = Bench()
    await bench.calls.call(1, b"")
    (number,) = bench.answers._channels
    thief = Caller(THIEF.app_id, THIEF.instance, Trust.INSTALLED_APP)
    with pytest.raises(ChannelBrokenError):
        bench.answers.receive(thief, 1, number + bytes(100))
    assert await bench.calls.call(1, b"still") == b"STILL"


@pytest.mark.guarantee("X-3", tried="channels without end")
async def test_an_app_that_opens_channels_without_end_loses_only_its_own() -> None:
    bench = Bench()
    await bench.calls.call(1, b"")
    thief = Caller(THIEF.app_id, THIEF.instance, Trust.INSTALLED_APP)
    for _ in range(3 * MAX_CHANNELS_PER_APP):
        opening = Opening(key_for(THIEF, Side.CALLER), server=SERVER, rng=Randomness("t"))
        await bench.answers.open(thief, opening.hello)
    assert len(bench.answers._channels) == MAX_CHANNELS_PER_APP + 1
    assert await bench.calls.call(1, b"mine") == b"MINE"
    with pytest.raises(ChannelBrokenError):
        await bench.answers.open(bench.caller, b"")
