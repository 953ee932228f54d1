"""Captures of the air become the story of the link."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.linktrace_kit import EVENT, CaptureMaker

from primegap.cli.root import root
from primegap.linktrace import Level, Message, Note, RemoteTraceError, read_recording_untrusted
from primegap.quantumlink import NATIVE
from primegap.quantumlink.identity import Qid
from primegap.quantumlink.records import HandshakeKind, encode_handshake_record

A, B = Qid(b"\xaa" * 16), Qid(b"\xbb" * 16)
XX1 = encode_handshake_record(
    0x82,
    A,
    B,
    HandshakeKind.XX1,
    b"\x07\x00\x00\x00" + b"\x11" * 16 + b"\x00\x00\x01\x00" + bytes(NATIVE.public_key_size),
)
XX2_BYTES = b"\x07\x00\x00\x00" + b"\x00\x40\x00\x00" + bytes(NATIVE.ciphertext_size) + bytes(99)
XX2 = encode_handshake_record(0x82, B, A, HandshakeKind.XX2, XX2_BYTES)


def session(seq: bytes, size: int, sender: bytes = A, recipient: bytes = B) -> bytes:
    return b"\x82" + sender + recipient + b"\x02" + seq + bytes(16 + size)


def notes(maker: CaptureMaker) -> list[str]:
    story = read_recording_untrusted(maker.build())
    return [step.text for step in story.steps if isinstance(step, Note)]


@pytest.mark.parametrize("link", [1001, 1002])
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_records_are_found_in_both_directions(link: int, pieces: int) -> None:
    maker = CaptureMaker(link)
    maker.connected()
    maker.record(XX1, 5, to_device=True, pieces=pieces)
    maker.record(XX2, 9, to_device=False, pieces=pieces)
    maker.record(session(b"\x81\x01", 300), 6, to_device=True, pieces=pieces)
    maker.disconnected()
    story = read_recording_untrusted(maker.build())
    first, second, third = story.messages
    assert (first.kind, first.handshake_id, first.suite, first.packets) == ("XX1", 7, "native", 6)
    assert dict(first.details) == {
        "sender": A.hex(),
        "recipient": B.hex(),
        "header bytes": 34,
        "pairing id": "11" * 16,
        "window": 65536,
        "public key bytes": NATIVE.public_key_size,
    }
    assert (second.kind, dict(second.details)["encrypted bundle bytes"]) == ("XX2", 99)
    assert (third.seq, third.size, dict(third.details)["sealed bytes"]) == (129, 352, 300)
    assert [message.sender for message in story.messages] == [0, 1, 0]
    texts = [step.text for step in story.steps if isinstance(step, Note)]
    assert texts[0] == "Bluetooth connected, interval 50 ms"
    assert texts[-1] == "Bluetooth disconnected: closed by the other side"


def test_a_connection_that_began_earlier_is_read() -> None:
    maker = CaptureMaker()
    maker.record(session(b"\x00", 5), 0, to_device=True)
    assert [message.seq for message in read_recording_untrusted(maker.build()).messages] == [0]


def test_other_attributes_and_channels_are_passed_over() -> None:
    maker = CaptureMaker()
    maker.pdu(b"\x52\x11\x00" + bytes(244), from_controller=True)
    maker.pdu(b"\x1b\x10\x00" + bytes(244), from_controller=False)
    maker.packet(EVENT, b"\x0e\x01\x00", from_controller=True)
    assert read_recording_untrusted(maker.build()).steps == []


def test_troubles_are_noted() -> None:
    maker = CaptureMaker()
    maker.connected()
    maker.value(bytes(7) + b"\x33" + bytes(236), to_device=True)
    maker.value(bytes(244), to_device=True)
    maker.record(b"\x82" + bytes(33), 1, to_device=True)
    maker.value(b"\x05\x00\x00\x00\x2c\x01\x00\xb2" + bytes(236), to_device=False)
    maker.packet(EVENT, b"\x0e\x01", from_controller=True)
    maker.packet(EVENT, b"\x0e\x01\x00", from_controller=True, cut=1)
    maker.disconnected(0x77)
    assert notes(maker)[1:] == [
        "packet refused: btp-unsupported-version",
        "packet of BTP version 1",
        "record of 34 bytes refused: quantumlink-invalid-discriminant",
        "unfinished records: 1",
        "Bluetooth disconnected: reason 0x77",
        "packets that could not be read: 2",
    ]


def test_a_file_that_ends_early_is_drawn_as_far_as_it_goes() -> None:
    maker = CaptureMaker()
    maker.record(session(b"\x00", 5), 0, to_device=True)
    whole = maker.build()
    again = CaptureMaker()
    again.record(session(b"\x01", 5), 1, to_device=True)
    tail = again.build()[16:]
    for cut in (10, 30, len(tail) - 1):
        story = read_recording_untrusted(whole + tail[:cut])
        assert [message.seq for message in story.messages] == [0]
        last = story.steps[-1]
        assert isinstance(last, Note)
        assert last.level is Level.BAD


def test_a_short_message_and_bytes_too_many_are_shown() -> None:
    maker = CaptureMaker()
    maker.record(XX1[:-1], 0, to_device=True)
    maker.record(XX1 + b"\x00\x00", 1, to_device=True)
    short, long = read_recording_untrusted(maker.build()).messages
    assert dict(short.details)["cut in"] == "public key"
    assert dict(long.details)["bytes too many"] == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"btsnoop\x00",
        b"btsnoop\x00\x00\x00\x00\x02\x00\x00\x03\xea",
        b"btsnoop\x00\x00\x00\x00\x01\x00\x00\x07\xd1",
        b"{}\n",
        b"hello",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteTraceError):
        read_recording_untrusted(data)


def test_handshakes_are_paired_and_numbers_compared() -> None:
    maker = CaptureMaker()
    maker.record(XX1, 0, to_device=True)
    maker.record(XX2, 0, to_device=False)
    for seq in (b"\x00", b"\x02", b"\x01", b"\x02"):
        maker.record(session(seq, 1), 1, to_device=True)
    story = read_recording_untrusted(maker.build())
    (run,) = story.handshakes()
    assert (run.pattern, run.handshake_id, run.initiator, run.messages) == ("XX", 7, 0, 2)
    assert run.took_s is None
    assert story.traffic()[0].repeated_seq == 2


def run_inspect(*arguments: str) -> str:
    done = CliRunner().invoke(root, ["link", "inspect", *arguments], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    maker = CaptureMaker()
    maker.connected()
    maker.record(XX1, 0, to_device=True)
    for number in range(6):
        maker.record(session(bytes([number]), 700), number + 1, to_device=True)
    maker.record(session(b"\x00", 1, B, A), 0, to_device=False)
    path = tmp_path / "<b>.btsnoop"
    path.write_bytes(maker.build())
    return path


def test_the_terminal_shows_a_diagram(recording: Path) -> None:
    text = run_inspect(str(recording))
    assert "├─ XX1  1,275 B in 6 packets ─" in text
    assert "─ 6 records  " in text
    assert "─ session  52 B in 1 packet ─┤" in text
    assert run_inspect(str(recording), "--all").count("├─ session") == 6


def test_json_has_every_step(recording: Path) -> None:
    value = json.loads(run_inspect(str(recording), "--json"))
    assert [step["kind"] for step in value["steps"] if "kind" in step] == ["XX1"] + ["session"] * 7
    assert value["traffic"]["Companion"]["records"] == 7


def test_the_page_stands_alone_and_runs_nothing(recording: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    run_inspect(str(recording), "--page", str(page))
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "src=" not in html
    assert "href=" not in html
    assert "<h1>&lt;b&gt;.btsnoop</h1>" in html
    assert "default-src 'none'" in html
    assert html.count('class="row handshake right"') == 1


def test_refusals_reach_the_person(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    done = CliRunner().invoke(root, ["link", "inspect", "--json", str(path)])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"] == "link-trace-file"


def test_every_record_is_a_message() -> None:
    maker = CaptureMaker()
    maker.record(b"\x05" + A + B + b"\x02\x00" + bytes(20), 0, to_device=True)
    (message,) = read_recording_untrusted(maker.build()).messages
    assert isinstance(message, Message)
    assert (message.suite, message.version) == (None, 5)
