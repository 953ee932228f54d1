"""A signer by codes and card: first start, backup, wallets, payments; no radio and one app."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from tests.bitcoin_kit import funded_wallet
from tests.stored_seed import ENTROPY, PIN, store_seed
from tests.trust_bench import Bench, bench, quick_hand, quick_pin

from primegap.airgap import CodeReader, encode_seedqr
from primegap.airgap.backup_file import read_backup_untrusted
from primegap.airgap.supply_chain import answer_challenge, parse_challenge_untrusted
from primegap.bitcoin.exports.formats import generic_json, vault_json
from primegap.bitcoin.finish import finalise
from primegap.bitcoin.keys import entropy_to_words, export_keys, master_fingerprint, seed_words
from primegap.bitcoin.networks import Network
from primegap.demo.pictures import qr_picture
from primegap.device.launcher import TEST_SUPPLY_CHAIN
from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.service import IMAGE, IMAGE_BYTES
from primegap.keyos.airlock.volume import format_card
from primegap.keyos.core.builtin import builtin_manifests, builtin_table
from primegap.keyos.manifest.models import CORE
from primegap.keyos.security.card_backup import make_card_backup
from primegap.keyos.ui.preferences import load_preferences

__all__ = ["quick_hand", "quick_pin"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

ROLES = {"security", "storage", "ui", "panel", "camera", "airlock", "bitcoin"}


def card(folder: Path, files: dict[str, bytes] | None = None) -> Card:
    """Return the card of a device, with files put on it beforehand."""
    path = folder / "airlock" / IMAGE
    path.parent.mkdir(exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not os.fstat(fd).st_size:
        format_card(fd, IMAGE_BYTES)
    found = Card(fd)
    for name, content in (files or {}).items():
        if "/" in name:
            found.make_folder(name.partition("/")[0])
        found.write(name, content)
    return found


def names(folder: Path, where: str) -> list[str]:
    return sorted(entry.name for entry in card(folder).entries(where))


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.02)


async def enter(device: Bench, screen: str, text: str) -> None:
    await device.wait(screen)
    await device.finger.type(text)
    await device.finger.press("done")


async def hold_up(device: Bench, text: str) -> None:
    await until(lambda: "camera" in device.running and device.running["camera"].ready)
    verdict = "idle"
    async with asyncio.timeout(30):
        while verdict != "read":
            verdict = await device.panel.hold_up_picture(qr_picture(text))
            await asyncio.sleep(0.02)


async def choose_pin(device: Bench) -> None:
    await device.press("start")
    for _ in range(2):
        await enter(device, "choose-pin", PIN)
        await asyncio.sleep(0.05)


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Bench]:
    store_seed(tmp_path)
    async with bench(tmp_path, model=CORE) as running:
        await running.unlock()
        await running.wait("home")
        yield running
        assert running.alive, running.journal.text
        assert "crashed" not in running.journal.text


def test_the_model_has_no_radio_no_link_and_one_app() -> None:
    manifests = builtin_manifests(CORE)
    assert {manifest.role for manifest in manifests} == ROLES | {"core"}
    servers = {server for manifest in manifests for server in manifest.servers}
    for role, server, _ in builtin_table(CORE).rows():
        assert server in servers, role
    assert not any(manifest.switch == "bluetooth" for manifest in manifests)


def question() -> str:
    number = hashlib.sha256(b"a number that is used once").hexdigest()
    secret = hashlib.sha256(b"primegap: test server of the supply chain").digest()
    key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())
    digest = hashlib.sha256(number.encode()).digest()
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return f"{number} {(r.to_bytes(32, 'big') + s.to_bytes(32, 'big')).hex()}"


async def test_a_new_device_is_checked_and_takes_the_seed_of_a_backup(tmp_path: Path) -> None:
    archive, code = make_card_backup(ENTROPY, b"another device", Network.REGTEST)
    card(tmp_path, {"backups/05d027a5-backup-001.7z": archive})
    async with bench(tmp_path, model=CORE) as device:
        await device.wait("welcome")
        await device.press("check-device")
        await device.wait("system-scan")
        await hold_up(device, question())
        shown = await device.wait("supply-chain")
        server = bytes.fromhex(TEST_SUPPLY_CHAIN["server"])
        answer = answer_challenge(
            parse_challenge_untrusted(question(), server),
            bytes.fromhex(TEST_SUPPLY_CHAIN["secret"]),
        )
        assert " ".join(seed_words()[number] for number in answer.numbers) in str(shown)
        await device.press("passed", "ok")
        assert load_preferences(tmp_path / "ui").supply_chain == "passed"

        await choose_pin(device)
        await device.press("restore")
        await device.press("file:0")
        await enter(device, "enter-code", "0" * 20)
        assert "does not open" in str(await device.wait("message"))
        await device.press("ok")
        await choose_pin(device)
        await device.press("restore")
        await device.press("file:0")
        await enter(device, "enter-code", code.replace("-", ""))
        fingerprint = master_fingerprint(ENTROPY).upper()
        assert fingerprint in str(await device.wait("confirm-seed"))
        await device.press("ok")
        assert fingerprint in str(await device.wait("message"))
        await device.press("ok")
        home = await device.wait("home")
        assert [choice["id"] for choice in home["items"][0]["choices"]] == [
            "app:bitcoin",
            "security",
        ]
        assert set(device.running) == ROLES


async def test_a_new_device_takes_the_seed_of_a_code(tmp_path: Path) -> None:
    async with bench(tmp_path, model=CORE) as device:
        await device.wait("welcome")
        await choose_pin(device)
        assert load_preferences(tmp_path / "ui").supply_chain == "skipped"
        await device.press("scan-seed")
        await device.wait("system-scan")
        await hold_up(device, encode_seedqr(ENTROPY))
        assert "05D027A5" in str(await device.wait("confirm-seed"))
        await device.press("ok", "ok")
        await device.wait("home")


async def test_a_backup_opens_with_the_code_that_was_shown(device: Bench, tmp_path: Path) -> None:
    await device.press("security", "pin-and-seed", "back-up", "ok")
    await enter(device, "check-pin", PIN)
    shown = await device.wait("backup-code")
    code = "-".join(word for item in shown["items"] for word in item.get("words", ()))
    await device.press("ok")
    await enter(device, "enter-code", code.replace("-", ""))
    await device.wait("message")
    archive = card(tmp_path).read("backups/05d027a5-backup-001.7z")
    found = read_backup_untrusted(archive, code)
    assert found.entropy == ENTROPY
    assert found.words == " ".join(entropy_to_words(ENTROPY))


async def test_wallets_are_told_by_card_and_by_code(device: Bench, tmp_path: Path) -> None:
    keys = export_keys(ENTROPY, Network.REGTEST, 0)
    await device.press("app:bitcoin", "connect", "sparrow", "single", "card")
    await device.wait("saved")
    written = card(tmp_path).read("wallet_configs/05d027a5-sparrow-001.json")
    assert written.decode() == generic_json(keys)
    await device.press("ok", "back")
    await device.press("connect", "sparrow", "multisig", "card", "ok", "back")
    await device.wait("bitcoin")
    assert names(tmp_path, "wallet_configs") == [
        "05d027a5-sparrow-001.json",
        "05d027a5-sparrow-multisig-001.json",
    ]

    await device.press("connect", "nunchuk", "single", "code")
    reader = CodeReader()

    def read() -> bool:
        for item in device.shown()["items"]:
            if item["type"] == "qr":
                reader.receive(item["text"])
        return reader.result is not None

    await until(read)
    assert reader.result is not None
    assert str(reader.result.dialect) == "ur:bytes"
    assert reader.result.text() == generic_json(keys)
    await device.press("done", "back")

    await device.press("connect", "page:next", "btcpay", "code")
    shown = await device.wait("signed-qr")
    text = next(item["text"] for item in shown["items"] if item["type"] == "qr")
    assert json.loads(text)["ExtPubKey"] in vault_json_of(keys)
    await device.press("done")
    await device.wait("receive")


def vault_json_of(keys: Any) -> str:
    from primegap.bitcoin.exports.formats import DeviceIdentity

    return vault_json(keys, DeviceIdentity("0.1.0", ""))


async def test_a_payment_in_a_file_is_signed_beside_it(device: Bench, tmp_path: Path) -> None:
    wallet = funded_wallet(ENTROPY)
    psbt = wallet.pay(20_000)
    card(tmp_path, {"rent.psbt": psbt.hex().encode(), "notes-signed.psbt": b"x"})
    await device.press("app:bitcoin", "sign-more", "sign-card")
    shown = await device.wait("choose-payment")
    labels = [choice["label"]["untrusted"] for choice in shown["items"][0]["choices"]]
    assert labels == ["rent.psbt"]
    await device.press("file:0")
    await device.approve("review")
    await device.wait("saved")
    assert names(tmp_path, "transactions") == ["rent-final-001.txn", "rent-signed-001.psbt"]
    signed = card(tmp_path).read("transactions/rent-signed-001.psbt")
    assert signed.endswith(b"\r\n")
    final = finalise(bytes.fromhex(signed.decode()))
    written = card(tmp_path).read("transactions/rent-final-001.txn")
    assert bytes.fromhex(written.decode()) == final.raw
    assert "rent.psbt" not in names(tmp_path, "")
    await device.press("ok")
    await device.wait("bitcoin")
    await device.press("sign-more", "sign-card", "ok")
    await device.wait("bitcoin")


async def test_what_is_no_payment_is_left_alone(device: Bench, tmp_path: Path) -> None:
    card(tmp_path, {"a.psbt": b"not a payment"})
    await device.press("app:bitcoin", "sign-more", "sign-card", "file:0")
    assert "no PSBT" in str(await device.wait("bitcoin-problem"))
    assert names(tmp_path, "") == ["a.psbt"]
