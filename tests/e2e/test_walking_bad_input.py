"""What goes wrong in life: each gets a clear message on the right screen, and state stays whole."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.e2e.walking_support import eventually, kill, other_companion, processes_of, system

from primegap.bitcoin.accounts import Account
from primegap.bitcoin.finish import finalise
from primegap.bitcoin.keys import account_key
from primegap.bitcoin.networks import Network
from primegap.bitcoin.psbt import build_psbt, parse_psbt_untrusted
from primegap.companion.errors import (
    DeviceRefusedError,
    PairingCodeError,
    PairingRefusedError,
    PairingRejectedError,
    RejectedError,
    ServerError,
)
from primegap.companion.state import Payment
from primegap.companion.wallet import AccountWallet
from primegap.demo.pictures import read_picture
from primegap.demo.steps import Demo
from primegap.device.errors import (
    DataDirectoryBusyError,
    DataDirectoryError,
    DataDirectoryModeError,
    PortBusyError,
)
from primegap.device.launcher import DeviceSettings, StartedDevice, listen, start_device
from primegap.quantumlink import Invite, PairingLink, PairingToken

SHOP = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


# -- pairing -------------------------------------------------------------------------------------


async def test_pairing_codes_that_do_not_hold(tmp_path: Path) -> None:
    async with system(tmp_path / "run", until="set-up") as demo:
        code = read_picture(await demo.finger.open_pairing())
        link = PairingLink.parse_untrusted(code)
        wrong = dataclasses.replace(
            link, invite=Invite(link.invite.suite, link.invite.qid, PairingToken(bytes(16)))
        )
        stranger = other_companion(demo, "stranger")
        with pytest.raises(PairingCodeError):
            await stranger.pair("bitcoin:bc1qsomething", lambda _: None)
        with pytest.raises(PairingRefusedError):
            await stranger.pair(wrong.encode(), lambda _: None)
        await stranger.close()
        screen = await demo.finger.wait("pairing")
        assert screen["screen"]["id"] == "pairing"

        # The person says no to the right code: nobody is paired, and the code is used up.
        rejected = other_companion(demo, "rejected")
        pairing = asyncio.create_task(rejected.pair(code, lambda _: None))
        await demo.finger.wait("confirm-pairing")
        await demo.finger.press("reject")
        with pytest.raises(PairingRejectedError):
            await pairing
        assert rejected.device is None
        with pytest.raises(PairingRefusedError):
            await rejected.pair(code, lambda _: None)
        await rejected.close()
        await demo.finger.press("back")
        await demo.finger.wait("home")

        # A fresh code pairs; then a second companion gets nowhere, with the old code or another.
        await demo._pair()
        await demo.companion.close()
        second = other_companion(demo, "second")
        with pytest.raises(PairingRefusedError):
            await second.pair(code, lambda _: None)
        await second.close()
        home = await demo.finger.wait("home")
        assert "pair" not in {target["id"] for target in home["targets"]}
        again = other_companion(demo, "companion")
        await (await again.link()).wait_connected()
        await again.close()


# -- payments ------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def funded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    async with system(tmp_path_factory.mktemp("funded") / "run", until="receive") as demo:
        yield demo


@pytest.fixture(scope="module")
def empty_device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedDevice]:
    device = start_device(settings(tmp_path_factory.mktemp("empty") / "device"))
    _wait_until_up(device)
    yield device
    with device.process as process:
        process.terminate()
        process.wait(20)


def _wait_until_up(device: StartedDevice) -> None:
    for _ in range(200):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(device.url)
            return
        time.sleep(0.1)
    raise AssertionError("the device's page does not come up")


async def compose(demo: Demo, amount_sat: int) -> Payment:
    """Compose a payment. Each test has an amount of its own: what was signed is not asked again."""
    return await demo.companion.compose(SHOP, amount_sat, 2)


async def refused(demo: Demo, psbt: bytes) -> str:
    """Send a PSBT that the device must refuse; return its reason, which both screens show."""
    link = await demo.companion.link()
    await link.wait_connected(60)
    with pytest.raises(DeviceRefusedError) as refusal:
        await link.request_signature(demo.companion.account().id, psbt)
    screen = await demo.finger.wait("bitcoin-problem", 90)  # notices in a row are slowed down
    text = next(i["text"] for i in screen["screen"]["items"] if i["type"] == "text")
    assert text in str(refusal.value)
    await demo.finger.press("ok")
    await demo.finger.wait("home")
    return str(text)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_psbt_that_is_cut_or_foreign_is_refused(funded: Demo, tmp_path: Path) -> None:
    payment = await compose(funded, 1_000_100)
    whole = bytes.fromhex(payment.psbt)
    for cut in (whole[:20], whole[: len(whole) // 2], whole + b"\x00"):
        assert await refused(funded, cut)
    key = account_key(bytes(range(16)), Network.REGTEST, 0)
    stranger = AccountWallet(Account.from_key(key, Network.REGTEST), tmp_path)
    address = stranger.receive_address().address
    await funded._chain_call("faucet", {"address": address, "amount_sat": 5_000_000})
    await funded._chain_call("mine")
    stranger.apply(stranger.fetch(funded.electrum_url))
    foreign = stranger.compose(SHOP, 1_000_000, 2)
    assert await refused(funded, foreign.psbt)


@pytest.mark.asyncio(loop_scope="module")
async def test_change_that_is_not_ours_is_never_called_change(funded: Demo) -> None:
    """A foreign output that carries our own change's derivation: a lie about where money goes."""
    payment = await compose(funded, 1_000_200)
    psbt = parse_psbt_untrusted(bytes.fromhex(payment.psbt))
    swapped = build_psbt(psbt.transaction.serialise(), psbt.inputs, tuple(reversed(psbt.outputs)))
    assert await refused(funded, swapped)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_rejected_payment_leaves_everything_as_it_was(funded: Demo) -> None:
    before = await funded.companion.balance()
    payment = await compose(funded, 1_000_300)
    signing = asyncio.create_task(funded.companion.sign_over_link(payment))
    await funded.finger.wait("review")
    await funded.finger.press("reject")
    with pytest.raises(RejectedError):
        await signing
    await funded.finger.wait("home")
    await funded.companion.sync()
    assert await funded.companion.balance() == before
    stored = funded.companion.state.payment(payment.txid)
    assert stored is not None
    assert stored.stage == "composed"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_payment_that_is_signed_already_is_refused(funded: Demo) -> None:
    payment = await compose(funded, 1_000_400)
    signing = asyncio.create_task(funded.companion.sign_over_link(payment))
    await funded.finger.approve("review")
    signed = await signing
    await funded.finger.wait("home")
    assert await refused(funded, bytes.fromhex(signed.signed))
    # Asking for the same payment again is answered without another confirmation.
    again = await funded.companion.sign_over_link(payment)
    assert again.signed == signed.signed
    # A companion that dies right after the broadcast knows nothing of it, and does not pay twice.
    wallet = await funded.companion._wallet()
    raw = finalise(bytes.fromhex(signed.signed)).raw
    await asyncio.to_thread(wallet.broadcast, raw, funded.electrum_url)
    await funded._chain_call("mine")
    await funded.companion.sync()
    resumed = await compose(funded, 1_000_400)
    assert resumed == signed
    assert (await funded.companion.broadcast(resumed)).stage == "broadcast"
    assert (await compose(funded, 1_000_400)).txid != payment.txid


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_radio_comes_back_and_nothing_is_lost(funded: Demo) -> None:
    payment = await compose(funded, 1_000_500)
    psbt = parse_psbt_untrusted(bytes.fromhex(payment.psbt))
    # Ballast in a field that nobody knows makes the transfer last for a while.
    ballast = psbt.inputs[0].adding(0xF0, {b"ballast": os.urandom(150_000)})
    large = psbt.with_inputs((ballast, *psbt.inputs[1:])).serialise()
    payment = dataclasses.replace(payment, psbt=large.hex())
    link = await funded.companion.link()
    seen = funded.air.capture.stat().st_size
    signing = asyncio.create_task(funded.companion.sign_over_link(payment))
    await eventually(lambda: funded.air.capture.stat().st_size > seen + 60_000)
    kill(funded, "radio")
    before = await asyncio.to_thread(funded.finger._client.screen)
    assert before["screen"]["id"] == "home"
    screen = await funded.finger.wait("review", 60)
    assert screen["screen"]["id"] == "review"
    await eventually(lambda: processes_of(funded, "radio") != [])
    kill(funded, "radio")  # and once more while the person reads
    await funded.finger.approve("review")
    signed = await asyncio.wait_for(signing, 60)
    assert signed.stage == "signed"
    await link.wait_connected()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_server_that_is_down_is_said_and_survived(funded: Demo) -> None:
    url = funded.companion.electrum_url
    before = await funded.companion.balance()
    with listen(0) as sock:
        port = sock.getsockname()[1]
    funded.companion.electrum_url = f"tcp://127.0.0.1:{port}"
    try:
        with pytest.raises(ServerError) as failure:
            await funded.companion.sync()
        assert "server" in failure.value.hint
    finally:
        funded.companion.electrum_url = url
    assert await funded.companion.balance() == before
    await funded.companion.sync()


async def test_a_companion_killed_after_sending_goes_on_where_it_was(tmp_path: Path) -> None:
    async with system(tmp_path / "run", until="receive") as demo:
        await demo.companion.close()
        command = [
            sys.executable,
            "-m",
            "primegap.cli",
            "--data-dir",
            str(demo.folder),
            "companion",
        ]
        options = ["--electrum", demo.electrum_url, "--bluetooth", demo.air.companion]
        sending = subprocess.Popen(
            [*command, *options, "send", SHOP, "0.01", "--fee-rate", "2", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        await demo.finger.wait("review")
        sending.send_signal(signal.SIGKILL)
        sending.communicate()
        await demo.finger.approve("review")
        await demo.finger.wait("home")
        resumed = await asyncio.to_thread(
            subprocess.run,
            [*command, *options, "resume", "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        blocks = await demo._chain_call("mine")
        answer = json.loads(resumed.stdout)
        txids = [payment["txid"] for payment in answer["payments"]]
        assert txids
        assert set(txids) <= set(blocks[-1]["txids"])


# -- starting a device ---------------------------------------------------------------------------


def settings(data: Path, *, port: int = 0, development: bool = True) -> DeviceSettings:
    return DeviceSettings(data=data, network="regtest", development=development, port=port)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with listen(0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(PortBusyError, match=str(port)):
            start_device(settings(tmp_path, port=port))
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "primegap.cli",
                "--data-dir",
                str(tmp_path / "cli"),
                "device",
                "run",
                "--bluetooth",
                "none",
                "--port",
                str(port),
                "--json",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 1
    assert json.loads(run.stdout)["error"] == "port-busy"


@pytest.mark.guarantee(
    "M-1", tried="a production directory opened for development, and the reverse"
)
def test_a_data_directory_is_one_device_of_one_kind(tmp_path: Path) -> None:
    first = start_device(settings(tmp_path), journal=subprocess.DEVNULL)
    try:
        with pytest.raises(DataDirectoryBusyError):
            start_device(settings(tmp_path))
    finally:
        first.process.terminate()
        first.process.communicate()
    with pytest.raises(DataDirectoryModeError):
        start_device(settings(tmp_path, development=False))
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "photo.jpg").write_bytes(b"")
    with pytest.raises(DataDirectoryError, match="other files"):
        start_device(settings(strange))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("wait", b'{"timeout_s": "soon"}'),
        ("wait", b'{"timeout_s": NaN}'),
        ("wait", b'{"timeout_s": -1}'),
        ("wait", b'{"screen": 7}'),
        ("wait", b'{"target": []}'),
        ("wait", b"[]"),
        ("press", b'{"target": {}}'),
        ("type", b'{"text": "\xff"}'),
        ("touch", b'{"phase": "hover", "x": 1, "y": 1}'),
        ("touch", b'{"phase": "down", "x": "left", "y": 1}'),
    ],
)
def test_automation_says_what_a_body_lacks(
    empty_device: StartedDevice, path: str, body: bytes
) -> None:
    answer = httpx.post(
        f"{empty_device.url}/api/v1/{path}",
        content=body,
        headers={"Authorization": f"Bearer {empty_device.token}"},
    )
    assert answer.status_code == 409
    assert answer.json()["error"]
    assert answer.json()["hint"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")
async def test_a_full_disk_stops_nothing_half_way(tmp_path: Path) -> None:
    data = tmp_path / "run" / "device"
    async with Demo(tmp_path / "run", tell=lambda _: None) as demo:
        data.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(data)], check=True
        )
        try:
            await demo._chain()
            await demo._device()
            ballast = data / "security" / "ballast"
            with contextlib.suppress(OSError):
                ballast.write_bytes(bytes(1 << 20))
            await _try_to_set_up(demo)
            screen = await demo.finger.wait("message")
            text = next(i["text"] for i in screen["screen"]["items"] if i["type"] == "text")
            assert "disk is full" in text
            ballast.unlink()
            await demo.finger.press("ok")
            await demo._set_up()
        finally:
            demo.device.process.terminate()
            await eventually(lambda: demo.device.process.poll() is not None)
            subprocess.run(["umount", "-l", str(data)], check=True)


async def _try_to_set_up(demo: Demo) -> None:
    """Do the first start up to the moment where the seed would be stored."""
    finger = demo.finger
    await finger.wait("welcome")
    await finger.press("start")
    await finger.wait("choose-pin")
    for _ in range(2):
        await finger.type("123456")
        await finger.press("done")
    await finger.wait("seed-length")
    await finger.press("words-12")
    await finger.wait("offer-dice")
    await finger.press("no-dice")
    screen = await finger.wait("seed-words")
    words = [word for item in screen["screen"]["items"] for word in item.get("words", ())]
    await finger.read_to_the_end()
    await finger.press("done")
    await finger.answer_quiz(words)
