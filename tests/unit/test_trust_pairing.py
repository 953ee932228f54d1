"""Attacks by companions, paired and not, and by processes that die or lie on the way to the app."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import bdkpython as bdk
import cbor2
import pytest
from tests.bitcoin_kit import STRANGER, Wallet, make_wallet
from tests.stored_seed import ENTROPY, PIN, store_seed
from tests.trust_bench import (
    Bench,
    Phone,
    Radio,
    bench,
    offered,
    paired,
    quick_hand,
    quick_pin,
    radio,
)

from primegap.device.errors import DeviceError
from primegap.files import StorageFullError, write_file
from primegap.keyos.api import calls, link, security
from primegap.keyos.errors import KeyosError, RequestError, Status
from primegap.keyos.link import store as link_store
from primegap.keyos.link.streams import MAX_STREAMS
from primegap.keyos.process import Process
from primegap.keyos.security.sealing import MAX_ATTEMPTS
from primegap.keyos.storage import SealedFile
from primegap.quantumlink import NATIVE, PairingLink, PairingToken, PeerBundle
from primegap.quantumlink.aio.errors import (
    PeerLimitError,
    PeerRefusedError,
    PeerResetError,
    SessionEndedError,
)
from primegap.quantumlink.aio.port import PortClosedError
from primegap.quantumlink.api import bitcoin as routes
from primegap.quantumlink.api import system
from primegap.quantumlink.api.bitcoin import MAX_PSBT_VALUE_BYTES
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.rpc import AppId, AppRouteKey

__all__ = ["quick_hand", "quick_pin", "radio"]
pytestmark = pytest.mark.usefixtures("quick_pin", "quick_hand")

BITCOIN: Final = AppId(bytes.fromhex("426974636f696e2057616c6c65740000"))


@pytest.fixture
async def device(tmp_path: Path, radio: Radio) -> AsyncIterator[Bench]:
    del radio
    store_seed(tmp_path)
    async with bench(tmp_path) as running:
        await running.unlock()
        await linked(running)
        yield running
        assert running.alive, running.journal.text


@pytest.fixture
async def phone(device: Bench, radio: Radio) -> AsyncIterator[Phone]:
    del device
    made = Phone(radio)
    yield made
    await made.close()


@pytest.fixture
def wallet() -> Iterator[Wallet]:
    made = make_wallet(ENTROPY)
    made.fund(100_000, 150_000)
    yield made
    made.close()


async def linked(device: Bench) -> None:
    """Wait until the link has a radio."""
    await device.wait("home")
    while not (device.links and device.links[-1]._radio_state == "waiting"):
        await asyncio.sleep(0.01)


def peer_on_disk(folder: Path) -> bool:
    """Whether a device that starts now would know a companion."""
    from primegap.keyos.security.derivation import app_seed

    app_id = bytes.fromhex("6f732f7175616e74756d2d6c696e6b00")
    file = SealedFile(folder / "link", "link", app_seed(app_id, ENTROPY))
    return link_store.LinkStore.load(file).peer is not None


async def share(device: Bench, phone: Phone) -> routes.AccountUpdatedEvent:
    events = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    first = asyncio.create_task(anext(events))
    await device.approve("share-account")
    event = await first
    events.cancel()
    return event


def ask(phone: Phone, account: str, psbt: bytes) -> asyncio.Task[routes.SignPsbtResponse]:
    params = routes.SignPsbtParams(account_id=account, psbt=psbt)
    return asyncio.create_task(phone.client.request(routes.RequestSignPsbt, params, timeout_s=30))


async def quiet(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, QuantumLinkError, KeyosError):
        await task


# -- pairing -------------------------------------------------------------------------------------


@pytest.mark.guarantee("L-4", "U-7", tried="pairing without the code, calls without consent")
async def test_nobody_pairs_without_the_code_and_nobody_is_served_without_a_touch(
    device: Bench, phone: Phone, radio: Radio, tmp_path: Path
) -> None:
    code = PairingLink.parse_untrusted(await offered(device))
    stranger = Phone(radio, "stranger")
    wrong = PairingToken(os.urandom(16))
    stranger.join()
    guess = asyncio.create_task(
        stranger.driver.pair(type(code.invite)(code.invite.suite, code.invite.qid, wrong))
    )
    await asyncio.sleep(0.3)
    assert device.shown()["id"] == "pairing"
    await quiet(guess)
    await stranger.close()
    # With the code: a question, and not one answer before it is answered.
    await phone.pair(code.encode())
    await device.wait("confirm-pairing")
    details = asyncio.create_task(
        phone.client.request(system.RequestPassportDetails, Empty(), timeout_s=30)
    )
    signing = ask(phone, "x", b"psbt\xff")
    await asyncio.sleep(0.3)
    assert not details.done()
    assert not signing.done()
    assert not peer_on_disk(tmp_path)
    await device.press("reject")
    for task in (details, signing):
        with pytest.raises((SessionEndedError, PeerResetError)):
            await task
    await device.wait("pairing")
    assert not peer_on_disk(tmp_path)


@pytest.mark.guarantee("L-4", tried="a confirmation for another session")
async def test_a_pairing_is_confirmed_in_its_own_session_or_not_at_all(
    device: Bench, phone: Phone, tmp_path: Path
) -> None:
    """The companion comes back with the same identity while the question stands."""
    peer = await phone.pair(await offered(device))
    first = await device.wait("confirm-pairing")
    await phone.close()
    phone.new_driver()
    phone.join()
    phone.driver.bind_peer(peer)
    again = asyncio.create_task(phone.driver.connect())
    await device.wait("pairing")  # the question is gone
    await quiet(again)
    assert not peer_on_disk(tmp_path)
    assert first["items"]
    await device.press("back")
    home = await device.wait("home")
    assert "pair" in str(home)


@pytest.mark.guarantee("L-4", tried="a session swapped under the question")
async def test_a_session_that_replaces_another_under_the_question_is_not_admitted(
    device: Bench, phone: Phone, tmp_path: Path
) -> None:
    """No loss of the connection in between: a second handshake over the same packets."""
    await phone.pair(await offered(device))
    await device.wait("confirm-pairing")
    with contextlib.suppress(QuantumLinkError):
        async with asyncio.timeout(3):
            await phone.driver.connect()
    await device.wait("pairing")
    assert not peer_on_disk(tmp_path)


async def test_a_companion_that_leaves_takes_the_question_with_it(
    device: Bench, phone: Phone, tmp_path: Path
) -> None:
    await phone.pair(await offered(device))
    await device.wait("confirm-pairing")
    phone.driver.unpair()
    await device.wait("pairing")
    assert not peer_on_disk(tmp_path)


async def test_a_link_that_dies_under_the_question_pairs_nobody(
    device: Bench, phone: Phone, tmp_path: Path
) -> None:
    await phone.pair(await offered(device))
    await device.wait("confirm-pairing")
    device.kill("link")
    await device.wait("pairing")
    await asyncio.sleep(0.3)
    assert not peer_on_disk(tmp_path)
    await device.press("back")
    await device.wait("home")


async def test_a_pairing_that_cannot_be_stored_is_none(
    device: Bench, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await phone.pair(await offered(device))
    await device.wait("confirm-pairing")

    def full(path: Path, data: bytes) -> None:
        raise StorageFullError("no space left")

    monkeypatch.setattr("primegap.keyos.storage.sealed.write_file", full)
    await device.approve("confirm-pairing")
    await device.wait("pairing")
    with pytest.raises(QuantumLinkError):
        await phone.client.request(system.RequestPassportDetails, Empty(), timeout_s=5)
    assert device.starts["link"] == 1
    monkeypatch.setattr("primegap.keyos.storage.sealed.write_file", write_file)
    assert not peer_on_disk(tmp_path)


@pytest.mark.guarantee("L-5", tried="processes killed around an unpairing")
async def test_what_is_unpaired_stays_so_whatever_dies(
    device: Bench, phone: Phone, tmp_path: Path
) -> None:
    await paired(device, phone)
    assert peer_on_disk(tmp_path)
    await device.press("companion", "unpair")
    await device.approve("confirm-unpair")
    await device.wait("home")
    assert not peer_on_disk(tmp_path)  # before anything else can happen
    device.kill("link")
    async with asyncio.timeout(10):
        while len(device.links) < 2 or device.links[-1]._store is None:
            await asyncio.sleep(0.01)
    assert device.links[-1]._store.peer is None


@pytest.mark.guarantee("L-3", "L-9", tried="noise from the air at the link service")
async def test_garbage_from_the_air_changes_nothing(
    device: Bench, radio: Radio, tmp_path: Path
) -> None:
    await offered(device)
    port = radio.join()
    for number in range(400):
        await port.send(os.urandom(1 + number % 244))
    await asyncio.sleep(0.2)
    assert device.shown()["id"] == "pairing"
    assert device.starts["link"] == 1
    assert not peer_on_disk(tmp_path)
    await port.close()


async def test_a_stranger_who_only_stays_is_shown_out_and_a_companion_is_not(
    device: Bench, phone: Phone, radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one Bluetooth connection at a time: it is for whoever proves to be somebody."""
    monkeypatch.setattr("primegap.keyos.link.service.PROOF_CHECK_S", 0.1)
    monkeypatch.setattr("primegap.keyos.link.service.PROOF_TIMEOUT_S", 1.0)
    stranger = radio.join()
    async with asyncio.timeout(20):
        with pytest.raises(PortClosedError):
            await stranger.receive()
    await paired(device, phone)
    await asyncio.sleep(2)
    assert phone.driver.has_port
    assert phone.driver.is_connected


# -- what a paired companion gets ----------------------------------------------------------------


@pytest.mark.guarantee("U-7", "L-8", tried="disclosures asked for by the companion")
async def test_every_first_disclosure_needs_a_touch_and_ends_with_the_pairing(
    device: Bench, phone: Phone
) -> None:
    await paired(device, phone)
    with pytest.raises(QuantumLinkError):  # not even which seed it is
        await phone.client.request(
            routes.RequestPassportActiveSeedFingerprint, Empty(), timeout_s=5
        )
    await share(device, phone)
    await device.wait("home")
    answer = await phone.client.request(
        routes.RequestPassportActiveSeedFingerprint, Empty(), timeout_s=5
    )
    assert answer.fingerprint == make_wallet(ENTROPY).account.keys[0].fingerprint
    async with phone.client.subscribe(routes.SubscribeAccountUpdated, Empty()) as events:
        await anext(events)  # known to it by now
    await device.press("companion", "unpair")
    await device.approve("confirm-unpair")
    await device.wait("home")
    # The same identity, paired again: it is asked for again.
    await phone.close()
    phone.new_driver()
    await paired(device, phone)
    with pytest.raises(QuantumLinkError):
        await phone.client.request(
            routes.RequestPassportActiveSeedFingerprint, Empty(), timeout_s=5
        )
    asking = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    waiting = asyncio.create_task(anext(asking))
    await device.wait("share-account")
    await device.press("reject")
    with pytest.raises(QuantumLinkError):
        await waiting


async def test_a_signature_is_given_again_only_in_the_pairing_it_was_asked_in(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    await paired(device, phone)
    psbt, account = wallet.pay(20_000), wallet.account.id
    first = ask(phone, account, psbt)
    await device.approve("review")
    assert isinstance(await first, routes.SignPsbtSigned)
    await device.wait("home")
    assert await ask(phone, account, psbt) == await first
    await device.press("companion", "unpair")
    await device.approve("confirm-unpair")
    await phone.close()
    phone.new_driver()
    await device.wait("home")
    await paired(device, phone)
    again = ask(phone, account, psbt)
    await device.wait("review")
    await device.press("reject")
    assert isinstance(await again, routes.SignPsbtRejected)


async def test_a_companion_that_asks_again_under_the_question_shares_it(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    """The link breaks while the person reads, the companion comes back: one question stands."""
    peer = await paired(device, phone)
    for screen, answered in (("share-account", "reject"), ("share-account", "approve")):
        first = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
        lost: asyncio.Task[Any] = asyncio.create_task(anext(first))
        await device.wait(screen)
        await phone.reconnect(peer)
        await quiet(lost)
        again = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
        waiting = asyncio.create_task(anext(again))
        await asyncio.sleep(0.2)
        if answered == "approve":
            await device.approve(screen)
            await waiting
        else:
            await device.press("reject")
            with pytest.raises(PeerResetError):
                await waiting
        await device.wait("home")
        again.cancel()
    psbt, account = wallet.pay(20_000), wallet.account.id
    for approved in (False, True):
        before: asyncio.Task[Any] = ask(phone, account, psbt)
        await device.wait("review")
        await phone.reconnect(peer)
        await quiet(before)
        answers = [ask(phone, account, psbt) for _ in range(3)]
        await asyncio.sleep(0.2)
        if approved:
            await device.approve("review")
        else:
            await device.press("reject")
        kind = routes.SignPsbtSigned if approved else routes.SignPsbtRejected
        assert all(isinstance(answer, kind) for answer in await asyncio.gather(*answers))
        await device.wait("home")
        await asyncio.sleep(0.2)
        assert device.shown()["id"] == "home"


@pytest.mark.guarantee("U-8", "S-3", tried="calls to a locked device")
async def test_a_question_that_the_companion_takes_back_leaves_the_screen(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    """Given up: at once. Forsaken by a lost session: when the companion asks for another thing."""
    peer = await paired(device, phone)
    account = wallet.account.id
    psbts = [wallet.pay(20_000 + n) for n in range(3)]
    asking: list[asyncio.Task[Any]] = [ask(phone, account, psbt) for psbt in psbts]
    await device.wait("review")
    for task in asking:
        await quiet(task)
    await device.wait("home")
    sharing = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    waiting: asyncio.Task[Any] = asyncio.create_task(anext(sharing))
    await device.wait("share-account")
    await quiet(waiting)
    sharing.cancel()
    await device.wait("home")

    forsaken = ask(phone, account, psbts[0])
    await device.wait("review")
    await phone.reconnect(peer)
    await quiet(forsaken)
    await asyncio.sleep(0.2)
    assert device.shown()["id"] == "review"  # it may come back, and the person reads
    other = ask(phone, account, psbts[1])
    await device.wait("review")
    async with asyncio.timeout(20):
        while "20 001" not in str(device.shown()) and "20001" not in str(device.shown()):
            await asyncio.sleep(0.05)
    await device.approve("review")
    assert isinstance(await other, routes.SignPsbtSigned)
    await device.wait("home")


async def test_a_locked_device_answers_no_call_even_from_memory(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    await paired(device, phone)
    await share(device, phone)
    psbt, account = wallet.pay(20_000), wallet.account.id
    signed = ask(phone, account, psbt)
    await device.approve("review")
    await signed
    await device.wait("home")
    await device.press("lock")
    await device.wait("unlock")
    events = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    waiting: list[asyncio.Task[Any]] = [
        ask(phone, account, psbt),
        ask(phone, account, wallet.pay(30_000)),
        asyncio.create_task(anext(events)),
        asyncio.create_task(
            phone.client.request(routes.RequestPassportActiveSeedFingerprint, Empty(), timeout_s=30)
        ),
    ]
    await asyncio.sleep(0.5)
    assert not any(task.done() for task in waiting)
    assert device.shown()["id"] == "unlock"
    await device.unlock()
    await device.wait("review")
    await device.press("reject")
    await asyncio.gather(*waiting)
    events.cancel()


async def test_what_cannot_be_shown_is_not_signed(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    await paired(device, phone)

    def many(builder: Any) -> Any:
        for number in range(60):
            script = bdk.Script(STRANGER[:-1] + bytes([number]))
            builder = builder.add_recipient(script, bdk.Amount.from_sat(1_000))
        return builder

    answer = await ask(phone, wallet.account.id, wallet.pay(20_000, build=many))
    assert isinstance(answer, routes.SignPsbtError)
    assert "too many parts" in answer.error
    await device.wait("bitcoin-problem")
    await device.press("ok")
    await device.wait("home")


@pytest.mark.guarantee("L-9", "U-7", "H-6", tried="hostile calls of a paired companion")
async def test_hostile_calls_end_and_kill_nothing(device: Bench, phone: Phone) -> None:
    await paired(device, phone)
    bodies = [
        b"",
        b"\xff" * 100,
        b"\x81" * 5000,
        cbor2.dumps({"account_id": "x", "psbt": b""}),
        cbor2.dumps({"account_id": "x" * 5000, "psbt": b"psbt\xff" + bytes(3000)}),
        cbor2.dumps({"account_id": 1, "psbt": 2}),
        cbor2.dumps([]),
        os.urandom(300_000),
    ]
    headers = [AppRouteKey(BITCOIN, number).encode() for number in (0, 1, 2, 3, 4, 9, 0xFFFF)]
    headers += [AppRouteKey(AppId(bytes(16)), 1).encode(), b"", b"\xff" * 20]
    for header in headers:
        full = header in {headers[1], headers[3]}
        for body in bodies if full else bodies[:2]:
            stream = phone.driver.open_stream(header)
            with contextlib.suppress(QuantumLinkError):
                async with asyncio.timeout(10):
                    await stream.writer.write(body)
                    stream.writer.finish()
                    if header == headers[2]:  # a subscription: it asks, whatever stands in it
                        await device.press("reject")
                    while await stream.reader.read():
                        pass
            stream.reset(0)
    assert device.starts["bitcoin"] == 1
    assert device.starts["link"] == 1
    assert device.shown()["id"] == "home"


async def test_a_companion_without_manners_can_be_unpaired(
    device: Bench, phone: Phone, wallet: Wallet
) -> None:
    """Garbage and good payments without end: the person still gets to where it is forgotten."""
    await paired(device, phone)
    account = wallet.account.id
    bodies = [wallet.pay(20_000 + n) for n in range(3)] + [b"psbt\xff", os.urandom(2000)]

    async def pester(psbt: bytes) -> None:
        while True:
            with contextlib.suppress(QuantumLinkError):
                await ask(phone, account, psbt)
            await asyncio.sleep(0.01)

    pests = [asyncio.create_task(pester(body)) for body in bodies]
    steps = {
        "review": "reject",
        "bitcoin-problem": "ok",
        "home": "companion",
        "companion": "unpair",
        "confirm-unpair": "confirm",
    }
    async with asyncio.timeout(60):
        while device.links[-1]._store is None or device.links[-1]._store.peer is not None:
            step = steps.get(device.shown()["id"])
            with contextlib.suppress(DeviceError):
                if step is not None:
                    await device.finger.press(step, timeout_s=0)
            await asyncio.sleep(0.02)
    for pest in pests:
        await quiet(pest)


# -- apps that die or lie ------------------------------------------------------------------------


@pytest.fixture
async def hollow(tmp_path: Path, radio: Radio) -> AsyncIterator[Bench]:
    """A device whose Bitcoin app is played by the test."""
    del radio
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("bitcoin",)) as running:
        await running.unlock()
        await linked(running)
        yield running
        assert running.alive, running.journal.text


async def take(app: Process) -> calls.RemoteCall:
    async with asyncio.timeout(10):
        return await app.call(calls.NextCall(), calls.RemoteCall)


@pytest.mark.guarantee("X-1", "L-6", tried="a call whose app is killed")
async def test_a_call_whose_app_died_is_ended_and_goes_to_nobody_else(
    hollow: Bench, radio: Radio
) -> None:
    phone = Phone(radio)
    app = await hollow.puppet("bitcoin")
    registering = asyncio.create_task(take(app))
    await paired(hollow, phone)
    signing = ask(phone, "x", b"psbt\xff")
    call = await registering
    assert call.pairing != bytes(16)
    hollow.kill("bitcoin")
    app = await hollow.puppet("bitcoin")
    with pytest.raises(RequestError) as refused:
        await app.call(calls.Answer(call.call, b"stolen"))
    assert refused.value.status is Status.NOT_FOUND
    taking = asyncio.create_task(take(app))
    with pytest.raises(PeerResetError):
        async with asyncio.timeout(5):
            await signing
    await quiet(taking)
    await phone.close()


@pytest.mark.guarantee("L-10", "X-1", tried="the reader of calls killed under a call")
async def test_a_reader_of_calls_that_dies_takes_no_key_and_no_session_with_it(
    device: Bench, phone: Phone
) -> None:
    """As if a payload had broken it: the keys are elsewhere, the session goes on."""
    await paired(device, phone)
    session = phone.driver.handshake_hash
    events = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
    waiting = asyncio.create_task(anext(events))
    await device.wait("share-account")
    device.kill("calls")
    with pytest.raises(PeerResetError):
        async with asyncio.timeout(20):
            await waiting
    details = await phone.client.request(system.RequestPassportDetails, Empty(), timeout_s=20)
    assert details.firmware_version == "1"
    assert phone.driver.is_connected
    assert phone.driver.handshake_hash == session
    assert device.starts["link"] == 1
    assert device.starts["calls"] == 2


@pytest.mark.guarantee("L-10", tried="everything from the reader of calls in other hands")
async def test_a_reader_of_calls_in_other_hands_gets_streams_and_nothing_else(
    tmp_path: Path, radio: Radio
) -> None:
    """It stands where a payload of the companion could break in: no key, no seed, no pairing."""
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("calls",)) as device:
        reader = await device.puppet("calls")
        await device.unlock()
        await linked(device)
        phone = Phone(radio)
        for request in (
            security.GetAppSeed(),
            security.GetState(),
            link.StartPairing(),
            link.Unpair(),
            link.AdoptChip(),
            link.GetState(),
        ):
            with pytest.raises(RequestError) as refused:
                await reader.call(request)
            assert refused.value.status is Status.DENIED
        taking = asyncio.create_task(reader.call(link.NextStream(), link.RemoteStream))
        await phone.pair(await offered(device))
        await device.wait("confirm-pairing")
        asking = asyncio.create_task(
            phone.client.request(system.RequestPassportDetails, Empty(), timeout_s=30)
        )
        await asyncio.sleep(0.2)
        assert not taking.done()  # the person has not said so yet
        await device.approve("confirm-pairing")
        opened = await taking
        assert PeerBundle.parse_untrusted(opened.peer, NATIVE) == phone.identity.bundle
        for bad in (
            link.ReadStream(opened.stream + 1),
            link.ReadStream(-1),
            link.WriteStream(1 << 60, b"", end=True),
            link.LeaveStream(opened.stream, -1),
            link.LeaveStream(opened.stream, 1 << 64),
            link.WaitStream(opened.stream + 1),
        ):
            with pytest.raises(RequestError):
                await reader.call(bad)
        await reader.call(link.WriteStream(opened.stream, b"\xff" * 3, end=True))
        with pytest.raises(RequestError):  # nothing stands behind an end
            await reader.call(link.WriteStream(opened.stream, b"more", end=False))
        with pytest.raises(QuantumLinkError):
            await asking
        await reader.call(link.LeaveStream(opened.stream, 1))
        with pytest.raises(RequestError):
            await reader.call(link.ReadStream(opened.stream))
        assert phone.driver.is_connected
        assert device.starts["link"] == 1
        await phone.close()


async def test_streams_that_nobody_takes_are_bounded(tmp_path: Path, radio: Radio) -> None:
    store_seed(tmp_path)
    async with bench(tmp_path, puppets=("calls",)) as device:
        reader = await device.puppet("calls")
        await device.unlock()
        await linked(device)
        phone = Phone(radio)
        await phone.pair(await offered(device))
        await device.approve("confirm-pairing")
        asked = [
            asyncio.create_task(
                phone.client.request(system.RequestPassportDetails, Empty(), timeout_s=30)
            )
            for _ in range(MAX_STREAMS + 3)
        ]
        async with asyncio.timeout(20):
            while sum(task.done() for task in asked) < 3:
                await asyncio.sleep(0.01)
        for task in asked:
            if task.done():
                assert isinstance(task.exception(), PeerRefusedError | PeerLimitError)
        for _ in range(MAX_STREAMS):
            opened = await reader.call(link.NextStream(), link.RemoteStream)
            await reader.call(link.LeaveStream(opened.stream, 3))
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, PeerResetError) for result in results)
        await phone.close()


async def test_an_app_that_lies_to_the_link_hurts_itself(hollow: Bench, radio: Radio) -> None:
    phone = Phone(radio)
    app = await hollow.puppet("bitcoin")
    registering = asyncio.create_task(take(app))
    await paired(hollow, phone)
    signing = ask(phone, "x", b"psbt\xff")
    call = (await registering).call
    for request in (
        calls.Answer(call + 1, b""),
        calls.Answer(-1, b""),
        calls.Answer(1 << 60, b""),
        calls.Answer(call, bytes(MAX_PSBT_VALUE_BYTES + 1)),
        calls.SendEvent(call, bytes(MAX_PSBT_VALUE_BYTES + 1)),
        calls.EndCall(call, -1),
        calls.EndCall(call, calls.CLEAN_END + 1),
        calls.EndCall(call, 1 << 60),
    ):
        with pytest.raises(RequestError):
            await app.call(request)
    for other in (link.StartPairing(), link.StopPairing(), link.Unpair(), link.GetState()):
        with pytest.raises(RequestError) as refused:
            await app.call(other)
        assert refused.value.status is Status.DENIED
    await app.call(calls.SendEvent(call, b"\xff" * 3))
    await app.call(calls.EndCall(call, calls.CLEAN_END))
    with pytest.raises(QuantumLinkError):
        await signing
    with pytest.raises(RequestError):
        await app.call(calls.Answer(call, b""))
    again = ask(phone, "x", b"psbt\xff")
    call = (await take(app)).call
    twice = await asyncio.gather(
        app.call(calls.Answer(call, bytes(200_000))),
        app.call(calls.Answer(call, bytes(200_000))),
        app.call(calls.EndCall(call, 3)),
        return_exceptions=True,
    )
    assert any(isinstance(result, RequestError) for result in twice)
    with pytest.raises(QuantumLinkError):
        await again
    assert hollow.starts["link"] == 1
    await phone.close()


@pytest.mark.guarantee("L-9", "X-6", tried="calls without end")
async def test_calls_without_end_wait_in_the_companion(hollow: Bench, radio: Radio) -> None:
    phone = Phone(radio)
    app = await hollow.puppet("bitcoin")
    registering = asyncio.create_task(take(app))
    await paired(hollow, phone)
    calls = [ask(phone, "x", b"psbt\xff") for _ in range(60)]
    await registering
    await asyncio.sleep(0.5)
    refused = [task for task in calls if task.done()]
    assert len(calls) - len(refused) <= 33
    for task in calls:
        await quiet(task)
    await phone.close()


# -- files and seeds -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"PGSF\x01" + bytes(100), None])
async def test_state_that_cannot_be_read_means_nobody_is_paired_and_nothing_shared(
    tmp_path: Path, radio: Radio, content: bytes | None
) -> None:
    store_seed(tmp_path)
    for role, name in (("link", "link"), ("bitcoin", "state")):
        (tmp_path / role).mkdir()
        path = tmp_path / role / name
        if content is None:
            SealedFile(tmp_path / role, name, bytes(32)).write(b"{}")
        else:
            path.write_bytes(content)
    async with bench(tmp_path) as device:
        await device.unlock()
        phone = Phone(radio)
        await device.wait("home")
        await paired(device, phone)
        await share(device, phone)
        assert device.starts["link"] == device.starts["bitcoin"] == 1
        assert "beginning anew" in device.journal.text
        await phone.close()


async def test_storage_that_fails_is_said_and_tried_again(
    tmp_path: Path, radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_seed(tmp_path)
    (tmp_path / "link").mkdir()
    (tmp_path / "link/link").mkdir()
    monkeypatch.setattr("primegap.keyos.storage.state.RETRY_S", 0.1)
    async with bench(tmp_path) as device:
        await device.unlock()
        await device.press("pair")
        told = await device.wait("message")
        assert "storage cannot be used" in str(told["items"])
        await device.press("ok")
        (tmp_path / "link/link").rmdir()
        await asyncio.sleep(0.3)
        await offered(device)
        assert device.starts["link"] == 1


@pytest.mark.guarantee("L-5", "S-9", tried="another seed after an erased one")
async def test_nothing_of_an_erased_seed_lives_on(tmp_path: Path, radio: Radio) -> None:
    """Erased by wrong PINs while apps and link run: the next seed has other addresses and peers."""
    vault = store_seed(tmp_path)
    async with bench(tmp_path) as device:
        await device.unlock()
        await linked(device)
        phone = Phone(radio)
        await paired(device, phone)
        await device.press("app:bitcoin", "receive")
        old = next(
            i["text"] for i in (await device.wait("receive"))["items"] if i["type"] == "address"
        )
        await device.press("leave", "leave", "lock")
        for number in range(MAX_ATTEMPTS):
            await device.unlock(f"00000{number}")
            await device.panel.wait_for(
                lambda frame: cbor2.loads(frame.tree)["id"] in ("unlock", "message"), 10
            )
        assert not vault.exists
        await device.press("ok")
        await device.set_up()
        await device.press("app:bitcoin", "receive")
        new = next(
            i["text"] for i in (await device.wait("receive"))["items"] if i["type"] == "address"
        )
        assert new != old
        await device.press("leave", "leave")
        home = await device.wait("home")
        assert "Pair one" in str(home)
        await phone.close()


async def test_another_network_is_another_account(tmp_path: Path, radio: Radio) -> None:
    store_seed(tmp_path)
    phone = Phone(radio)
    async with bench(tmp_path) as device:
        await device.unlock()
        await linked(device)
        peer = await paired(device, phone)
        await share(device, phone)
    async with bench(tmp_path, network="mainnet") as device:
        await device.unlock()
        await linked(device)
        await phone.reconnect(peer)
        events = phone.client.subscribe(routes.SubscribeAccountUpdated, Empty())
        waiting = asyncio.create_task(anext(events))
        shown = await device.wait("share-account")
        assert "mainnet" in str(shown["items"])
        assert not waiting.done()
        await device.press("reject")
        with pytest.raises(QuantumLinkError):
            await waiting
    await phone.close()


@pytest.mark.guarantee("H-2", tried="journal of a day on a development device")
async def test_the_secrets_of_a_day_stand_in_no_line(
    tmp_path: Path, radio: Radio, wallet: Wallet
) -> None:
    """Set up, pair, share, sign on a development device: the journal has none of it (H-2)."""
    from primegap.bitcoin.keys import account_private_key, words_to_entropy
    from primegap.bitcoin.networks import Network
    from primegap.keyos.security.derivation import app_seed

    async with bench(tmp_path) as device:
        words = await device.set_up()
        entropy = words_to_entropy(words)
        own = make_wallet(entropy)
        own.fund(100_000)
        phone = Phone(radio)
        offer = await offered(device)
        await phone.pair(offer)
        await device.approve("confirm-pairing")
        await device.press("ok")
        await share(device, phone)
        psbt = own.pay(20_000)
        signing = ask(phone, own.account.id, psbt)
        await device.approve("review")
        assert isinstance(await signing, routes.SignPsbtSigned)
        await device.press("lock")
        await device.unlock("000000")
        await device.unlock()
        await linked(device)
        told = device.journal.text + str(device.journal.events)
        key = account_private_key(entropy, Network.REGTEST, 0).partition("]")[2]
        secrets = [PIN, key, entropy.hex(), offer, " ".join(words), " ".join(words[:3])]
        secrets += [f"'{word}'" for word in words]
        secrets += [app_seed(m.app_id, entropy).hex() for m in device.table.manifests.values()]
        secrets += [psbt.hex(), own.account.external, "tprv", "wpkh("]
        for secret in secrets:
            assert secret not in told
        await phone.close()
    del wallet
