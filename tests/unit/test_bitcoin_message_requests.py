"""Requests to sign a message and signed messages as texts: all forms, and nothing else."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.bitcoin.errors import RemoteError
from primegap.bitcoin.message_requests import (
    MessageRequest,
    MessageRequestError,
    SignedMessage,
    parse_armour_untrusted,
    parse_code_untrusted,
    parse_file_untrusted,
)
from primegap.bitcoin.psbt_fields import HARDENED
from primegap.cli.root import root

H = HARDENED
PATH = (84 | H, 0 | H, 0 | H, 0, 5)
ADDRESS = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"
SIGNATURE = (
    "AkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx"
    "9a/sASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI="
)


def test_a_code_names_path_and_message() -> None:
    found = parse_code_untrusted("signmessage m/84h/0h/0h/0/5 ascii:Hello: World\nagain")
    assert found == MessageRequest(b"Hello: World\nagain", PATH)


@pytest.mark.parametrize(
    "text",
    ["", "signmessage", "signmessage m/84h ascii:ä", "signmessage x ascii:y", "bitcoin:abc"],
)
def test_other_codes_are_refused(text: str) -> None:
    with pytest.raises(RemoteError):
        parse_code_untrusted(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"Hello World", MessageRequest(b"Hello World", None)),
        (b"Hello World\r\n", MessageRequest(b"Hello World", None)),
        (b"Hello\nm/84'/0'/0'/0/5\n", MessageRequest(b"Hello", PATH)),
        (b"Hello\nm/84'/0'/0'/0/5\np2wpkh", MessageRequest(b"Hello", PATH)),
    ],
)
def test_files_and_health_checks(data: bytes, expected: MessageRequest) -> None:
    assert parse_file_untrusted(data) == expected


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\nm/1", b"a\nb", b"a\nm/1\nother", b"a\nm/1\np2tr\nx", b"\xff\xfe", b"x" * 1025],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        parse_file_untrusted(data)


def test_both_templates_of_armour_are_read() -> None:
    signed = SignedMessage(b"Hello\n-----BEGIN SIGNATURE-----\nWorld", ADDRESS, SIGNATURE)
    text = signed.armoured()
    assert parse_armour_untrusted(text) == signed
    other = text.replace("BEGIN SIGNATURE", "BEGIN BITCOIN SIGNATURE")
    other = other.replace("END BITCOIN SIGNED MESSAGE", "END BITCOIN SIGNATURE")
    assert parse_armour_untrusted(other.replace("\n", "\r\n")).address == ADDRESS
    lines = text.splitlines()
    for broken in (lines[1:], lines[:-1], [*lines[:-2], lines[-1]], []):
        with pytest.raises(MessageRequestError):
            parse_armour_untrusted("\n".join(broken))


def test_the_command_verifies_a_file_and_says_when_it_does_not_hold() -> None:
    run = CliRunner().invoke
    good = SignedMessage(b"Hello World", ADDRESS, SIGNATURE).armoured()
    found = run(root, ["message", "verify", "-", "--json"], input=good)
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["form"] == "bip322-simple"
    bad = run(root, ["message", "verify", "-", "--json"], input=good.replace("World", "world"))
    assert bad.exit_code == 1
    assert json.loads(bad.output)["error"] == "message-signature"
    plain = ["--address", ADDRESS, "--signature", SIGNATURE, "--text", "Hello World"]
    assert run(root, ["message", "verify", *plain]).output.startswith("Valid (bip322-simple)")


@settings(max_examples=60)
@given(st.text(max_size=200), st.binary(max_size=200))
def test_any_text_is_judged(text: str, data: bytes) -> None:
    for parse in (
        lambda: parse_code_untrusted("signmessage m/ ascii:" + text),
        lambda: parse_armour_untrusted(text),
        lambda: parse_file_untrusted(data),
    ):
        try:
            parse()
        except RemoteError:
            continue
