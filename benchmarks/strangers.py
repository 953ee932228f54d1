"""How many forged messages one core takes while a paired session moves at the pace of Bluetooth."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from itertools import count, cycle

from benchmarks.figure import Figure, figure
from benchmarks.link_goodput import BLUETOOTH_CEILING
from primegap.quantumlink import (
    NATIVE,
    Handshake,
    PairingToken,
    Pattern,
    RemoteError,
    SessionRecord,
    TransportParams,
    parse_record_untrusted,
)
from primegap.quantumlink.session.simulation import LinkPair, seeded_rng

TICK_S = 0.02
FLOOD_S = 3.0
FORGED = 200
"Different messages, sent again and again with other numbers where that makes them new."
TOKEN = PairingToken(bytes(range(16)))


def _forge(pair: LinkPair, pattern: Pattern, number: int) -> bytes:
    remote = pair.b.identity.qid if pattern is Pattern.XX else pair.b.identity.bundle
    _, record = Handshake.initiate(
        pattern,
        suite=NATIVE,
        identity=pair.a.identity,  # only its public bundle gets into the message
        remote=remote,
        token=TOKEN if pattern is Pattern.XX else None,
        handshake_id=number,
        params=TransportParams(),
        rng=seeded_rng(f"stranger/{number}"),
    )
    return record


def _first(pattern: Pattern) -> Callable[[LinkPair], list[bytes]]:
    return lambda pair: [_forge(pair, pattern, number) for number in range(FORGED)]


def _altered_records(pair: LinkPair) -> list[bytes]:
    stream_id = pair.a.engine.open_stream(b"bulk")
    pair.a.engine.write(stream_id, bytes(8000))
    pair.settle()
    record = max(
        (one for one in pair.a.sent if isinstance(parse_record_untrusted(one), SessionRecord)),
        key=len,
    )
    return [record[:-2] + number.to_bytes(2) for number in range(FORGED)]


def _flood(forge: Callable[[LinkPair], list[bytes]]) -> tuple[float, int]:
    """Return messages per second that were looked at beside the session, and their size."""
    pair = LinkPair(delay_s=0.0)
    pair.connect()
    pair.b.engine.arm_pairing(TOKEN)
    messages = forge(pair)
    stream_id = pair.a.engine.open_stream(b"paired")
    numbers, endless = count(1), cycle(messages)
    looked_at = 0
    began = time.perf_counter()
    for tick in range(int(FLOOD_S / TICK_S)):
        pair.a.engine.write(stream_id, bytes(int(BLUETOOTH_CEILING * TICK_S)))
        pair.settle()
        pair.b.engine.read(stream_id, 1 << 20)
        while time.perf_counter() - began < (tick + 1) * TICK_S:
            message = next(endless)
            # Another handshake id, which nothing protects, makes a first message a new one.
            fresh = message[:35] + next(numbers).to_bytes(4, "little") + message[39:]
            with contextlib.suppress(RemoteError):
                pair.b.engine.receive(fresh, now_s=pair.now_s)
            looked_at += 1
        pair.advance(max(0.0, (tick + 1) * TICK_S - pair.now_s))
    assert pair.b.engine.handshake_hash is not None
    return looked_at / FLOOD_S, len(messages[0])


def flood() -> list[Figure]:
    figures = []
    for name, forge in (
        ("IK1", _first(Pattern.IK)),
        ("KK1", _first(Pattern.KK)),
        ("XX1", _first(Pattern.XX)),
        ("session record", _altered_records),
    ):
        per_s, size = _flood(forge)
        carried = BLUETOOTH_CEILING / size
        figures.append(
            figure(
                f"link-flood, forged {name} beside a session at Bluetooth's pace",
                per_s,
                "messages/s",
                f"all that Bluetooth carries of {size} bytes",
                carried,
            )
        )
    return figures
