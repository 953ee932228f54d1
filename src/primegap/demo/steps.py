"""The demonstration's steps, each real: see `primegap demo --help`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.companion.companion import Companion
from primegap.demo.errors import DemoError
from primegap.demo.evidence import Evidence
from primegap.demo.finger import Finger
from primegap.demo.pictures import qr_picture, read_picture
from primegap.device.air import StartedAir, start_air
from primegap.device.client import AutomationClient
from primegap.device.launcher import (
    DeviceSettings,
    StartedDevice,
    link_trace_file,
    start_device,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

NETWORK: Final = "regtest"
PIN: Final = "271828"
RECEIVED_SAT: Final = 50_000_000
FIRST_PAYMENT_SAT: Final = 12_345_678
SECOND_PAYMENT_SAT: Final = 2_500_000
FEE_RATE: Final = 3
START_TIMEOUT_S: Final = 30.0
DEVICE_TRACE: Final = "link-device.jsonl"
COMPANION_TRACE: Final = "link-companion.jsonl"


@dataclass(slots=True)
class Demo:
    """Everything that runs during a demonstration."""

    folder: Path
    tell: Callable[[str], None]
    "Prints one line for the person."
    evidence: Evidence = field(init=False)
    companion: Companion = field(init=False)
    finger: Finger = field(init=False)
    device: StartedDevice = field(init=False)
    air: StartedAir = field(init=False)
    chain: subprocess.Popen[bytes] = field(init=False)
    electrum_url: str = ""
    times: dict[str, float] = field(default_factory=dict)
    first_screen_s: float = 0.0
    _closing: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> Demo:
        self.evidence = Evidence(self.folder / "evidence")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.evidence.note("step_seconds", self.times)
        self.evidence.write()
        await self._closing.aclose()

    # -- steps ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do all steps; raise what stopped them."""
        began = time.monotonic()
        await self._step("chain", "Private chain, judged by Bitcoin Core’s engine", self._chain)
        await self._step("device", "Device of isolated processes", self._device)
        await self._step("set-up", "First start: PIN, seed with dice, words checked", self._set_up)
        await self._step("pair", "Companion paired over Bluetooth", self._pair)
        await self._step("account", "Account shared after a confirmation", self._account)
        await self._step("receive", "Address checked on the device, coins received", self._receive)
        await self._step("pay", "Payment signed on the device, confirmed in a block", self._pay)
        await self._step(
            "pay-qr", "Bluetooth off: second payment signed by QR code", self._pay_by_qr
        )
        await self._step("search", "Nothing readable in what the radio chip saw", self._search)
        self.times["total"] = round(time.monotonic() - began, 3)

    async def _step(self, name: str, title: str, work: Callable[[], Awaitable[str]]) -> None:
        began = time.monotonic()
        try:
            detail = await work()
        except Exception:
            self.evidence.note("stopped_at", name)
            raise
        self.times[name] = round(time.monotonic() - began, 3)
        self.tell(f"{self.times[name]:6.2f} s  {title}{': ' + detail if detail else ''}")

    async def _chain(self) -> str:
        log = (self.folder / "chain.log").open("wb")
        self._closing.callback(log.close)
        self.chain = await asyncio.to_thread(
            subprocess.Popen,
            [
                sys.executable,
                "-m",
                "primegap.regtest",
                "--data-dir",
                str(self.folder / "regtest"),
                "--electrum-port",
                "0",
                "--until-stdin-closes",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        self._closing.callback(_end, self.chain)
        assert self.chain.stdout is not None
        line = json.loads(await asyncio.to_thread(self.chain.stdout.readline) or b"{}")
        if "ready" not in line:
            raise DemoError(line.get("error", {}).get("message", "the private chain did not start"))
        self.electrum_url = line["ready"]["electrum_url"]
        return f"block {line['ready']['height']}"

    async def _device(self) -> str:
        self.air = await asyncio.to_thread(start_air, self.folder / "air")
        self._closing.callback(self.air.stop)
        journal = (self.folder / "device.log").open("wb")
        self._closing.callback(journal.close)
        settings = DeviceSettings(
            data=self.folder / "device",
            network=NETWORK,
            development=True,
            bluetooth=self.air.device,
            link_trace=True,
        )
        self.device = start_device(settings, journal=journal)
        self._closing.callback(_end, self.device.process)
        self._closing.callback(self.device.process.terminate)
        async for event in _events(self.device):
            if event["event"] == "first-screen":
                self.first_screen_s = event["elapsed_s"]
                break
            if event["event"] == "stopped":
                raise DemoError(f"the device stopped: {event['reason']}")
        # Somebody has to read on: core writes an event for each process that starts or ends.
        reader = threading.Thread(target=_read_on, args=(self.device,), daemon=True)
        reader.start()
        client = AutomationClient(self.device.url, self.device.token)
        self.finger = Finger(client, self.evidence)
        self.evidence.note("first_screen_seconds", self.first_screen_s)
        await _until_up(self.finger)
        return f"first screen after {self.first_screen_s:.2f} s"

    async def _set_up(self) -> str:
        from primegap.bitcoin.mnemonic import words_to_entropy

        words = await self.finger.set_up(PIN)
        self.evidence.forbid("the seed words", " ".join(words))
        self.evidence.forbid("the seed", words_to_entropy(words))
        return ""

    async def _pair(self) -> str:
        self.companion = Companion(
            self.folder / "companion",
            network=NETWORK,
            electrum_url=self.electrum_url,
            transport=self.air.companion,
            link_trace=self.folder / COMPANION_TRACE,
        )
        self._closing.push_async_callback(self.companion.close)
        code = read_picture(await self.finger.open_pairing())
        self.evidence.forbid("the pairing code", code)
        ours: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        pairing = asyncio.ensure_future(self.companion.pair(code, ours.set_result))
        await asyncio.wait((pairing, ours), return_when=asyncio.FIRST_COMPLETED)
        if pairing.done():
            pairing.result()
        shown = await self.finger.approve("confirm-pairing")
        theirs = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "code")
        theirs = theirs.replace(" ", "-")
        await pairing
        await self.finger.wait("companion")
        await self.finger.keep("companion")
        await self.finger.press("ok")
        await self.finger.wait("home")
        if theirs != ours.result():
            raise DemoError("the two sides show different fingerprints")
        self.evidence.note("fingerprint", theirs)
        return f"both show {theirs}"

    async def _account(self) -> str:
        sharing = asyncio.create_task(self.companion.fetch_account())
        await self.finger.approve("share-account")
        account = await sharing
        await self.finger.wait("home")
        self.evidence.forbid("the account’s descriptor", account.external)
        self.evidence.note("account", account.external)
        return "watch-only wallet made"

    async def _receive(self) -> str:
        ours = await self.companion.receive_address()
        picture = qr_picture(f"bitcoin:{ours.address}")
        self.evidence.picture("companion-receive", picture)
        theirs = await self.finger.check_address(picture)
        if theirs != ours.address:
            raise DemoError("the device shows another address")
        self.evidence.forbid("a receive address", ours.address)
        txid = await self._chain_call(
            "faucet", {"address": ours.address, "amount_sat": RECEIVED_SAT}
        )
        await self._chain_call("mine")
        await self.companion.sync()
        balance = await self.companion.balance()
        if balance.confirmed != RECEIVED_SAT:
            raise DemoError(f"the companion sees {balance.confirmed} sat")
        self.evidence.note("received", {"txid": txid, "address": ours.address, "sat": RECEIVED_SAT})
        return _btc(RECEIVED_SAT)

    async def _pay(self) -> str:
        recipient = await self._recipient()
        payment = await self.companion.compose(recipient, FIRST_PAYMENT_SAT, FEE_RATE)
        self.evidence.file("payment-1-unsigned.psbt", bytes.fromhex(payment.psbt))
        self.evidence.forbid("the payment’s PSBT", bytes.fromhex(payment.psbt))
        self.evidence.forbid("the recipient’s address", recipient)
        signing = asyncio.create_task(self.companion.sign_over_link(payment))
        shown = await self.finger.approve("review")
        _check_review(shown, recipient, FIRST_PAYMENT_SAT, payment.fee)
        signed = await signing
        self.evidence.file("payment-1-signed.psbt", bytes.fromhex(signed.signed))
        sent = await self.companion.broadcast(signed)
        return await self._confirm("payment-1", sent.txid)

    async def _pay_by_qr(self) -> str:
        from primegap.airgap import DEFAULT_DENSITY, PSBT_UR_TYPES, UrDecoder, psbt_from_ur

        await self.finger.switch_bluetooth(on=False)
        recipient = await self._recipient()
        payment = await self.companion.compose(recipient, SECOND_PAYMENT_SAT, FEE_RATE)
        self.evidence.file("payment-2-unsigned.psbt", bytes.fromhex(payment.psbt))
        density = DEFAULT_DENSITY
        next_text = self.companion.payment_frames(payment, density.max_fragment_bytes)

        def next_picture() -> bytes:
            return qr_picture(next_text(), min_version=density.qr_version)

        self.evidence.picture("companion-animation", next_picture())
        frames_in = await self.finger.feed_animation(next_picture)
        shown = await self.finger.approve("review")
        _check_review(shown, recipient, SECOND_PAYMENT_SAT, payment.fee)
        await self.finger.wait("signed-qr")
        await self.finger.keep("signed-qr")
        decoder = UrDecoder(PSBT_UR_TYPES)
        frames_out = 0
        while decoder.result is None:
            decoder.receive(read_picture(await self.finger.picture()))
            frames_out += 1
            await asyncio.sleep(0.1)
        await self.finger.leave_bitcoin()
        signed = self.companion.accept_signed(payment, psbt_from_ur(decoder.result))
        self.evidence.file("payment-2-signed.psbt", bytes.fromhex(signed.signed))
        sent = await self.companion.broadcast(signed)
        done = await self._confirm("payment-2", sent.txid)
        return f"{frames_in} pictures in, {frames_out} looked at out, {done}"

    async def _search(self) -> str:
        capture = self.air.capture.read_bytes()
        device = self.companion.device
        assert device is not None
        identity = bytes.fromhex(device.bundle)[2:18]
        recordings = {
            "radio.btsnoop": capture,
            DEVICE_TRACE: link_trace_file(self.folder / "device").read_bytes(),
            COMPANION_TRACE: (self.folder / COMPANION_TRACE).read_bytes(),
        }
        tried = self.evidence.search_recordings(recordings, identity)
        size = sum(len(content) for content in recordings.values())
        return f"{size} bytes searched for {tried} pieces of secrets"

    # -- helpers --------------------------------------------------------------------------------

    async def _recipient(self) -> str:
        """Return an address of somebody else: a shop with a key of its own."""
        from primegap.demo.shop import new_address

        return await asyncio.to_thread(new_address)

    async def _confirm(self, name: str, txid: str) -> str:
        blocks = await self._chain_call("mine")
        if txid not in blocks[-1]["txids"]:
            raise DemoError(f"{txid} is not in the new block")
        await self.companion.sync()
        entry = next((e for e in await self.companion.history() if e.txid == txid), None)
        if entry is None or entry.confirmations < 1:
            raise DemoError("the companion does not see the payment confirmed")
        block = blocks[-1]
        self.evidence.note(
            name, {"txid": txid, "height": block["height"], "block": block["block_hash"]}
        )
        return f"{_btc(-entry.delta)} left in block {entry.height}"

    async def _chain_call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        from primegap.regtest import call_control

        return await asyncio.to_thread(call_control, self.folder / "regtest", method, params)


def _check_review(shown: dict[str, Any], recipient: str, amount: int, fee: int) -> None:
    """The screen must show what was asked for: the demo looks as a person would."""
    items = shown["screen"]["items"]
    amounts = {item["label"]: item["sat"] for item in items if item["type"] == "amount"}
    addresses = {item["label"]: item["text"] for item in items if item["type"] == "address"}
    if (
        amounts.get("Send") != amount
        or amounts.get("Fee") != fee
        or addresses.get("To") != recipient
    ):
        raise DemoError("the device shows another payment than the companion composed")
    if "Change, proved to be yours" not in amounts:
        raise DemoError("the device did not prove the change")


def _btc(amount_sat: int) -> str:
    from primegap.bitcoin.amounts import Satoshi, format_btc

    return f"{format_btc(Satoshi(amount_sat), grouped=False)}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def _events(device: StartedDevice) -> AsyncIterator[dict[str, Any]]:
    while True:
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await asyncio.to_thread(device.events.readline)
        if not line:
            raise DemoError("the device did not start; see device.log")
        yield json.loads(line)


def _read_on(device: StartedDevice) -> None:
    with contextlib.suppress(ValueError):  # closed
        for _ in device.events:
            pass


async def _until_up(finger: Finger) -> None:
    """Wait until the panel answers: its page comes a moment after the first screen."""
    from primegap.device.client import AutomationClientError

    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            await finger.wait("welcome", 5)
        except AutomationClientError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return
