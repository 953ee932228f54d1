"""A trace file tells what happened on a link, and nothing that is secret."""

from __future__ import annotations

import ast
import asyncio
import base64
import errno
import json
import os
import stat
from pathlib import Path

import pytest

import primegap.quantumlink
from primegap.linktrace import (
    Note,
    RemoteTraceError,
    TracedPort,
    TraceFile,
    read_recording_untrusted,
)
from primegap.linktrace.facts import FACTS
from primegap.quantumlink import NATIVE, REFERENCE, Identity, Invite, PairingToken, Suite
from primegap.quantumlink.aio import LinkDriver, LinkStream
from primegap.quantumlink.aio.memory import MemoryLink
from primegap.quantumlink.aio.virtual_clock import run_virtual
from primegap.quantumlink.identity import Rng
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.quantumlink.session.simulation import seeded_rng

PLAINTEXT = b"pay bcrt1qexample 0.12345678 to nobody at all"
NAMES = ("Satoshi's telephone", "Grandmother's passport")


class Recorded:
    """A pairing and a conversation, with both sides traced into one file each."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        self.paths = [folder / "phone.jsonl", folder / "device.jsonl"]
        self.draws: list[bytes] = []
        self.secrets: list[bytes] = [PLAINTEXT, *(name.encode() for name in NAMES)]
        run_virtual(self._run(suite))
        # Key seeds, encapsulation secrets and so on; short draws are public handshake ids.
        self.secrets += [draw for draw in self.draws if len(draw) >= 16]

    def _remembering(self, source: Rng) -> Rng:
        def draw(size: int) -> bytes:
            data = source(size)
            self.draws.append(data)
            return data

        return draw

    async def _run(self, suite: Suite) -> None:
        loop = asyncio.get_running_loop()
        sides = ["companion", "device"]
        files = [TraceFile(path, side=side) for path, side in zip(self.paths, sides, strict=True)]
        link = MemoryLink(lambda: 0.5)
        drivers, identities = [], []
        for name, trace, port in zip(NAMES, files, (link.a, link.b), strict=True):
            rng = self._remembering(seeded_rng(name))
            identity = Identity.generate(suite, name, rng)
            config = LinkConfig.tuned()
            engine = LinkEngine(config, identity, rng=rng, now_s=loop.time(), trace=trace)
            driver = LinkDriver(engine)
            driver.attach(TracedPort(port, trace, loop.time))
            drivers.append(driver)
            identities.append(identity)
        token = PairingToken.generate(seeded_rng("token"))
        self.secrets += [token.reveal(), token.derive_psk()]
        phone, device = drivers
        device.arm_pairing(token)
        arrived: asyncio.Future[LinkStream] = loop.create_future()
        device.on_stream(arrived.set_result)
        await phone.pair(Invite(suite, identities[1].qid, token))
        stream = phone.open_stream(b"header of the stream, also sealed")

        async def write() -> None:
            await stream.writer.write(PLAINTEXT * 4000)
            stream.writer.finish()

        writing = loop.create_task(write())
        received = bytearray()
        while piece := await (await arrived).reader.read():
            received += piece
        await writing
        assert bytes(received) == PLAINTEXT * 4000
        for driver in drivers:
            await driver.aclose()
        for file in files:
            file.close()


@pytest.fixture(scope="module", params=[NATIVE, REFERENCE], ids=["native", "reference"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("trace"), request.param)


def test_nothing_secret_is_in_the_file(recorded: Recorded) -> None:
    for path in recorded.paths:
        text = path.read_bytes()
        assert len(text) > 5000
        for secret in recorded.secrets:
            for start in range(0, len(secret) - 7, 8):
                window = secret[start : start + 8]
                for shape in (window, window.hex().encode(), base64.b64encode(window)[:10]):
                    assert shape not in text
                for order in ("little", "big"):
                    number = int.from_bytes(window, "little" if order == "little" else "big")
                    assert str(number).encode() not in text


def test_both_sides_tell_the_same_story(recorded: Recorded) -> None:
    stories = [read_recording_untrusted(path.read_bytes()) for path in recorded.paths]
    for story in stories:
        (run,) = story.handshakes()
        assert (run.pattern, run.messages) == ("XX", 4)
        assert run.took_s is not None
        assert len(story.messages) > 10
        texts = [step.text for step in story.steps if isinstance(step, Note)]
        assert any(text.startswith("session connected") for text in texts)
        assert "port opened" in texts
        assert "port closed" in texts
    sent = [
        [
            (message.kind, message.seq, message.size)
            for message in story.messages
            if not message.sender
        ]
        for story in stories
    ]
    received = [
        [(message.kind, message.seq, message.size) for message in story.messages if message.sender]
        for story in stories
    ]
    assert sent[0][: len(received[1])] == received[1]
    assert sent[1][: len(received[0])] == received[0]


def test_the_file_is_private_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old")
    with TraceFile(path, max_bytes=500) as trace:
        for seq in range(1000):
            trace("record-lost", now_s=float(seq), seq=seq)
        assert trace.left_out > 900
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 650
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["fact"] == "file-full"
    trace("record-lost", now_s=1.0, seq=1)  # after closing: dropped


def test_what_the_list_does_not_know_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with TraceFile(path) as trace:
        trace("key-derived", now_s=1.0, key="00112233")
        trace("record-sent", now_s=1.0, seq=5, size="00112233", key="00112233")
        trace("session-closed", now_s=1.0, code=0x1122334455667788)
        trace("protocol-violation", now_s=1.0, reason="satoshi")
        trace("engine-created", now_s=float("nan"), suite="native")
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert lines == [
        {"t": 1.0, "fact": "record-sent", "seq": 5},
        {"t": 1.0, "fact": "session-closed", "code": "other"},
        {"t": 1.0, "fact": "protocol-violation"},
    ]


def test_a_full_disk_ends_the_trace_and_not_the_link(tmp_path: Path) -> None:
    reasons: list[str] = []
    with TraceFile(tmp_path / "t", on_end=reasons.append) as trace:
        os.close(trace._fd)
        trace._fd = os.open("/dev/full", os.O_WRONLY)
        trace("session-proven", now_s=1.0)
        trace("session-proven", now_s=2.0)
        assert trace.left_out == 1
    assert reasons == [os.strerror(errno.ENOSPC)]


def test_a_line_that_fits_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reasons = tmp_path / "t", list[str]()
    with TraceFile(path, on_end=reasons.append) as trace:
        trace("session-proven", now_s=1.0)
        write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        trace("session-proven", now_s=2.0)
        monkeypatch.undo()
        trace("session-proven", now_s=3.0)
    assert [json.loads(line).get("t") for line in path.read_text().splitlines()] == [None, 1.0]
    assert reasons == [os.strerror(errno.ENOSPC)]


def test_a_file_that_takes_no_first_line_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, _data: 0)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        TraceFile(tmp_path / "t")


def test_every_fact_of_the_link_is_on_the_list() -> None:
    """A fact that the list does not know would be missing in files without anybody noticing."""
    assert primegap.quantumlink.__file__ is not None
    emitted: dict[str, set[str]] = {}
    for path in Path(primegap.quantumlink.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="_trace"), args=[ast.Constant(value=str(name))]
                ):
                    fields = {keyword.arg for keyword in node.keywords if keyword.arg != "now_s"}
                    emitted.setdefault(name, set()).update(field for field in fields if field)
    assert len(emitted) > 10
    unknown = {
        name: fields - FACTS.get(name, {}).keys()
        for name, fields in emitted.items()
        if name not in FACTS or fields - FACTS[name].keys()
    }
    assert unknown == {}, "decide in linktrace/facts.py what these may show"


def test_a_line_cut_by_a_crash_is_passed_over(recorded: Recorded) -> None:
    data = recorded.paths[0].read_bytes()
    whole = read_recording_untrusted(data)
    cut = read_recording_untrusted(data[:-5])
    assert len(cut.steps) in {len(whole.steps) - 1, len(whole.steps)}


def test_the_first_line_says_whose_trace_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    for side, lanes in (
        (None, ("This side", "Other side")),
        ("device", ("Device", "Companion")),
        ("companion", ("Companion", "Device")),
    ):
        with TraceFile(path, side=side) as trace:
            trace("port-opened", now_s=1.0)
        assert read_recording_untrusted(path.read_bytes()).lanes == lanes
    wrongs: tuple[object, ...] = ("mother", 1, ["device"], {})
    for wrong in wrongs:
        first = json.dumps({"primegap-link-trace": 1, "side": wrong}) + "\n"
        with pytest.raises(RemoteTraceError):
            read_recording_untrusted(first.encode())
