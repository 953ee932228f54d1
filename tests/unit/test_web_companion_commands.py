"""`primegap companion …`: results to standard output, words to standard error, errors by code."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result
from tests.web_kit import NOWHERE, STRANGER, make_companion, picture, pictures_of, sign

from primegap.airgap import PSBT_UR_TYPES, UrDecoder, psbt_from_ur
from primegap.airgap.qr import scan_picture
from primegap.cli.companion import companion as group
from primegap.cli.root import root
from primegap.companion.state import CompanionState
from primegap.regtest import RegtestNode

CODE = "primegap:pair?i=ALRGQK72ZRZ6OJYHGB45PJ5Q6PWMF3TIUA5DF36JKRMK2PH2ZUYJM&n=desk"


def run(data: Path, *arguments: str, electrum: str = NOWHERE) -> Result:
    return CliRunner().invoke(
        root,
        ["--data-dir", str(data), "companion", "--electrum", electrum, *arguments],
        catch_exceptions=False,
    )


async def ask(data: Path, electrum: str, *arguments: str) -> dict[str, Any]:
    """Run a command with --json in a thread; return the object it prints."""
    result = await asyncio.to_thread(run, data, *arguments, "--json", electrum=electrum)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def failure(result: Result) -> str:
    """The code of a command that failed; it must print one object with a hint."""
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["hint"]
    return str(answer["error"])


@pytest.mark.parametrize("name", [None, *group.commands])
def test_every_command_explains_itself(name: str | None) -> None:
    result = CliRunner().invoke(root, ["companion", *([name] if name else []), "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")
    if name is not None:
        assert "--json" in result.output


def test_all_commands_are_there() -> None:
    context = click.Context(group)
    expected = [
        "accounts",
        "audit-log",
        "history",
        "limits",
        "pair",
        "propose-limits",
        "receive",
        "resume",
        "send",
        "serve",
        "sign-message",
        "sync",
        "unpair",
    ]
    assert group.list_commands(context) == expected


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("unpair",), "not-paired"),
        (("accounts",), "not-paired"),
        (("receive",), "no-account"),
        (("sync",), "no-account"),
        (("limits",), "not-paired"),
        (("sign-message", STRANGER, "Hello"), "not-paired"),
        (("audit-log",), "not-paired"),
        (("propose-limits",), "no-account"),
        (("history",), "no-account"),
        (("send", STRANGER, "1"), "no-account"),
        (("send", "nobody", "1"), "address-format"),
        (("send", STRANGER, "lots"), "amount-format"),
        (("send", f"bitcoin:{STRANGER}?amount=1", "2"), "amount-format"),
        (("resume", "--give-up", "00"), "payment"),
        (("pair", "--code", "hello"), "pairing-code"),
        (("pair", "--code", CODE), "no-adapter"),
    ],
)
def test_what_cannot_be_done_has_a_code(
    tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    assert failure(run(tmp_path, *arguments, "--json")) == code


def test_people_get_a_sentence_on_standard_error(tmp_path: Path) -> None:
    result = run(tmp_path, "unpair")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Pair a device first" in result.stderr


def test_pairing_reads_pictures(tmp_path: Path) -> None:
    path = tmp_path / "code.png"
    for content, code in (
        (picture(CODE), "no-adapter"),
        (picture("something else"), "pairing-code"),
        (b"no picture", "picture-unreadable"),
    ):
        path.write_bytes(content)
        assert failure(run(tmp_path, "pair", "--picture", str(path), "--json")) == code
    both = run(tmp_path, "pair", "--picture", str(path), "--code", CODE)
    assert both.exit_code == 2


def test_a_second_companion_on_the_same_directory_is_told_so(tmp_path: Path) -> None:
    state = CompanionState(tmp_path / "companion")
    try:
        assert failure(run(tmp_path, "sync", "--json")) == "companion-busy"
    finally:
        state.close()


async def test_an_account_receives_and_pays_by_pictures(tmp_path: Path) -> None:
    async with RegtestNode(tmp_path / "regtest", initial_blocks=101) as node:
        url = node.electrum_url
        await make_companion(tmp_path / "companion", url).close()
        (account,) = (await ask(tmp_path, url, "accounts"))["accounts"]
        assert account["network"] == "regtest"

        found = await ask(tmp_path, url, "receive", "--amount", "0.25")
        assert found["request"] == f"bitcoin:{found['address']}?amount=0.25000000"
        await node.faucet(found["address"], 25_000_000)
        await node.mine()
        state = await ask(tmp_path, url, "sync")
        assert (state["height"], state["confirmed_sat"]) == (102, 25_000_000)
        assert (await ask(tmp_path, url, "receive"))["index"] == found["index"] + 1

        paying = asyncio.create_task(
            ask(
                tmp_path,
                url,
                *("send", f"bitcoin:{STRANGER}?amount=0.1", "--fee-rate", "2"),
                *("--by-qr", str(tmp_path / "qr")),
            )
        )
        await answer_as_device(tmp_path / "qr")
        (payment,) = (await paying)["payments"]
        assert (payment["amount_sat"], payment["stage"]) == (10_000_000, "broadcast")
        (block,) = await node.mine()
        assert payment["txid"] in block.txids
        first, second = (await ask(tmp_path, url, "history"))["transactions"]
        assert first["txid"] == payment["txid"]
        assert first["delta"] == -(10_000_000 + payment["fee_sat"])
        assert (second["delta"], second["confirmations"]) == (25_000_000, 2)
        assert await ask(tmp_path, url, "resume") == {"payments": []}


async def answer_as_device(folder: Path) -> None:
    """Read the pictures of the payment, sign it, and put pictures of the answer there."""
    animation = folder / "to-device" / "animation.png"
    async with asyncio.timeout(20):
        while not animation.exists():
            await asyncio.sleep(0.05)
    decoder = UrDecoder(PSBT_UR_TYPES)
    for frame in sorted((folder / "to-device").glob("frame-*.png")):
        (code,) = scan_picture(frame.read_bytes())
        decoder.receive(code.text)
    assert decoder.result is not None
    (folder / "from-device" / "half-written.png").write_bytes(b"\x89PNG")
    for number, answer in enumerate(pictures_of(sign(psbt_from_ur(decoder.result)))):
        (folder / "from-device" / f"{number}.png").write_bytes(answer)


async def test_an_unfinished_payment_is_kept_and_can_be_given_up(tmp_path: Path) -> None:
    async with RegtestNode(tmp_path / "regtest", initial_blocks=101) as node:
        companion = make_companion(tmp_path / "companion", node.electrum_url)
        await companion.sync()
        await node.faucet((await companion.receive_address()).address, 500_000)
        await node.mine()
        await companion.sync()
        payment = await companion.compose(STRANGER, 100_000, 2)
        await companion.close()
        arguments = ("resume", "--json")
        result = await asyncio.to_thread(run, tmp_path, *arguments, electrum=node.electrum_url)
        assert failure(result) == "not-paired"
        assert "primegap companion resume" in result.stderr
        given_up = await ask(tmp_path, node.electrum_url, "resume", "--give-up", payment.txid)
        assert given_up == {"payments": []}
        gone = await ask(tmp_path, node.electrum_url, "resume", "--give-up", payment.txid)
        assert gone["error"] == "payment"


def test_the_page_is_served_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "primegap.cli", "--data-dir", str(tmp_path), "companion"]
    with subprocess.Popen(
        [*command, "serve", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            ready = json.loads(process.stdout.readline())
            with httpx.Client(follow_redirects=True) as client:
                assert "Pair your device" in client.get(ready["page"]).text
                assert client.get(ready["url"]).status_code == 200
            assert httpx.get(ready["url"]).status_code == 401
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == "The companion stopped.\n"


def test_a_trace_is_refused_where_it_cannot_or_must_not_be(tmp_path: Path) -> None:
    trace = tmp_path / "missing" / "link.jsonl"
    result = CliRunner().invoke(
        root,
        [
            "--data-dir",
            str(tmp_path),
            "companion",
            "--trace",
            str(trace),
            "pair",
            "--code",
            CODE,
            "--json",
        ],
        catch_exceptions=False,
    )
    assert failure(result) == "trace-file"
    result = CliRunner().invoke(
        root, ["--data-dir", str(tmp_path), "device", "run", "--link-trace"]
    )
    assert result.exit_code == 2
    assert "--link-trace needs --development" in result.output
