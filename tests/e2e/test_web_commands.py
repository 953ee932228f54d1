"""`primegap companion` as processes, against a real device: pair, share, pay, forget."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.walking_support import system

from primegap.demo.shop import new_address
from primegap.demo.steps import Demo

pytestmark = pytest.mark.slow


class Command:
    """One run of the command line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    @classmethod
    async def start(cls, demo: Demo, *arguments: str) -> Command:
        command = [sys.executable, "-m", "primegap.cli", "--data-dir", str(demo.folder / "cli")]
        options = ["--electrum", demo.electrum_url, "--bluetooth", demo.air.companion]
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                "companion",
                *options,
                *arguments,
                "--json",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def until_said(self, words: str) -> str:
        """Read what it says to the person until these words come."""
        assert self._process.stderr is not None
        async with asyncio.timeout(90):
            while line := (await self._process.stderr.readline()).decode():
                self.said.append(line)
                if words in line:
                    return line
        raise AssertionError(f"{words!r} was not said: {self.said}")

    async def result(self) -> dict[str, Any]:
        """Wait for the end; return the object it printed."""
        async with asyncio.timeout(90):
            out, err = await self._process.communicate()
        answer: dict[str, Any] = json.loads(out or b"{}")
        assert (self._process.returncode == 0) is ("error" not in answer), err.decode()
        return answer


@pytest.mark.timeout(400)
async def test_pair_share_pay_and_forget(tmp_path: Path) -> None:
    async with system(tmp_path, until="set-up") as demo:
        finger = demo.finger
        (tmp_path / "code.png").write_bytes(await finger.open_pairing())
        pairing = await Command.start(demo, "pair", "--picture", str(tmp_path / "code.png"))
        ours = (await pairing.until_said("Both screens must show")).split()[-1]
        shown = await finger.approve("confirm-pairing")
        theirs = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "code")
        assert theirs.replace(" ", "-") == ours
        assert (await pairing.result())["fingerprint"] == ours
        await finger.wait("companion")
        await finger.press("ok")
        await finger.wait("home")

        again = await Command.start(demo, "pair", "--code", "primegap:pair?i=x")
        assert (await again.result())["error"] == "already-paired"

        sharing = await Command.start(demo, "accounts")
        await finger.approve("share-account")
        (account,) = (await sharing.result())["accounts"]
        assert account["external"].startswith("wpkh([")
        await finger.wait("home")

        address = (await (await Command.start(demo, "receive")).result())["address"]
        await demo._chain_call("faucet", {"address": address, "amount_sat": 40_000_000})
        await demo._chain_call("mine")

        recipient = await asyncio.to_thread(new_address)
        refused = await Command.start(demo, "send", recipient, "0.1", "--fee-rate", "3")
        await finger.wait("review")
        await finger.press("reject")
        assert (await refused.result())["error"] == "rejected"
        await finger.wait("home")

        paying = await Command.start(demo, "send", recipient, "0.1", "--fee-rate", "3")
        await finger.approve("review")
        (payment,) = (await paying.result())["payments"]
        (block,) = await demo._chain_call("mine")
        assert payment["txid"] in block["txids"]
        listed = (await (await Command.start(demo, "history")).result())["transactions"]
        assert [entry["confirmations"] for entry in listed] == [1, 2]
        assert listed[0]["delta"] == -(10_000_000 + payment["fee_sat"])

        assert await (await Command.start(demo, "unpair")).result() == {"unpaired": True}
        gone = await Command.start(demo, "send", recipient, "0.1")
        assert (await gone.result())["error"] == "not-paired"
