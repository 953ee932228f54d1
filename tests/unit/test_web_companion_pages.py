"""The companion's pages against a real companion, a real chain, and a key the test holds."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path

import httpx
import pytest
import websockets
from tests.web_kit import (
    STRANGER,
    TOKEN,
    funded_page,
    make_companion,
    page_of,
    picture,
    pictures_of,
    read_svg,
    served_page_of,
    sign,
    until_shown,
)

from primegap.airgap import PSBT_UR_TYPES, UrDecoder, psbt_from_ur
from primegap.companion.state import PairedDevice
from primegap.regtest import RegtestNode

JSON = {"Accept": "application/json"}
PAGES = ("/", "/pair", "/account", "/receive", "/send", "/history")


def visible(page: str) -> str:
    """The words of a page."""
    body = re.sub(r"<(head|svg|noscript).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


async def composed(client: httpx.AsyncClient, amount: str = "0.003") -> str:
    """Compose a payment in the form; return its path."""
    form = {"recipient": STRANGER, "amount": amount, "fee_rate": "3"}
    answer = await client.post("/send", data=form)
    assert answer.status_code == 303, visible(answer.text)
    return str(answer.headers["location"])


# --- every page --------------------------------------------------------------------------------


async def test_a_new_companion_leads_to_pairing_from_everywhere(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path, account=False)) as client:
        for path in PAGES:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert 'href="/pair"' in answer.text
        assert "Pair your device" in (await client.get("/")).text
        assert (await client.get("/receive/qr.svg")).status_code == 404


@pytest.mark.parametrize("account", [False, True])
async def test_pages_hold_nothing_that_the_policy_forbids(tmp_path: Path, account: bool) -> None:
    async with page_of(make_companion(tmp_path, account=account)) as client:
        for path in PAGES:
            answer = await client.get(path)
            assert answer.headers["cache-control"] == "no-store"
            assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|hx-on|\sjs:", answer.text)
            for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", answer.text):
                assert "src=" in attributes
                assert not body.strip()
            for outside in re.findall(r'(?:src|href|action)="([^"]+)"', answer.text):
                assert outside.startswith(("/", "#", "?")), outside


@pytest.mark.parametrize("account", [False, True])
async def test_pages_can_be_read_aloud(tmp_path: Path, account: bool) -> None:
    async with page_of(make_companion(tmp_path, account=account)) as client:
        for path in PAGES:
            text = (await client.get(path)).text
            assert text.count("<h1") == 1
            assert '<html lang="en">' in text
            assert 'aria-current="page"' in text
            labelled = set(re.findall(r'<label for="([^"]+)"', text))
            fields = re.findall(r'<(?:input|textarea)[^>]*\bid="([^"]+)"', text)
            assert set(fields) <= labelled, path
            assert all("alt=" in image for image in re.findall(r"<img[^>]+>", text))


async def test_without_the_cookie_there_is_only_a_sentence(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        client.cookies.clear()
        for path in (*PAGES, "/payments/x"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert "Open the address that was printed" in answer.text
            assert "wpkh" not in answer.text


async def test_wrong_addresses_and_methods_get_a_page_too(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        for path in ("/nothing", "/payments/unknown", "/payments/unknown/frames/1.svg"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert "Not found" in answer.text
        assert (await client.post("/history")).status_code == 405
        assert (await client.get("/unpair")).status_code == 405


async def test_a_server_that_is_down_is_said_calmly(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        page = await until_shown(client, "/", "The Electrum server does not answer")
        assert "tried again by itself" in page
        assert 'role="alert"' not in page
        answer = await client.post(
            "/send", data={"recipient": STRANGER, "amount": "1", "fee_rate": ""}
        )
        assert answer.status_code == 422
        assert "The Electrum server does not answer" in answer.text
        assert STRANGER in answer.text  # nothing has to be typed again


async def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        (tmp_path / "accounts.json").write_text("{")
        for path in PAGES:
            answer = await client.get(path)
            assert answer.status_code == 500
            assert "accounts.json is damaged" in answer.text
        (tmp_path / "accounts.json").unlink()
        assert (await client.get("/")).status_code == 200


# --- device ------------------------------------------------------------------------------------


async def test_what_is_no_pairing_code_is_explained(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path, account=False)) as client:
        answer = await client.post("/pair", data={"code": "hello"})
        assert answer.status_code == 422
        assert "This is not a pairing code" in answer.text
        for content, status, hint in (
            (picture("hello"), 409, "This is not a pairing code"),
            (b"no picture", 409, "Use a PNG, JPEG or GIF file"),
            (b"", 200, "No QR code"),
        ):
            answer = await client.post("/pair/picture", content=content, headers=JSON)
            assert (answer.status_code, hint in answer.json()["hint"]) == (status, True)
        files = {"picture": ("code.png", picture("hello"), "image/png")}
        answer = await client.post("/pair/picture", files=files)
        assert answer.status_code == 422
        assert "This is not a pairing code" in answer.text


async def test_pairing_without_an_adapter_ends_with_its_hint(tmp_path: Path) -> None:
    code = "primegap:pair?i=ALRGQK72ZRZ6OJYHGB45PJ5Q6PWMF3TIUA5DF36JKRMK2PH2ZUYJM&n=desk"
    async with page_of(make_companion(tmp_path, account=False)) as client:
        answer = await client.post("/pair/picture", content=picture(code), headers=JSON)
        assert answer.json() == {"verdict": "complete", "fraction": 1.0, "go": "/pair"}
        page = await until_shown(client, "/pair", "No Bluetooth adapter is there")
        assert 'role="alert"' in page
        await client.post("/pair/cancel")
        assert "No Bluetooth adapter" not in (await client.get("/pair")).text


async def test_a_paired_device_that_is_away_can_be_looked_at(tmp_path: Path) -> None:
    companion = make_companion(tmp_path)
    name = '<script>alert("x")</script>'
    companion.state.set_device(
        PairedDevice(
            name=name, address="C0:7F:E0:E9:55:B5", bundle="", suite="native", fingerprint="AB-CD"
        )
    )
    async with page_of(companion) as client:
        page = await until_shown(client, "/pair", "No Bluetooth adapter is there")
        assert name not in page
        assert html.escape(name, quote=False).replace('"', "&#34;") in page
        assert "C0:7F:E0:E9:55:B5" in page
        answer = await client.post("/pair", data={"code": "primegap:pair?i=x"})
        assert answer.status_code == 422
        assert "This companion is paired" in answer.text


# --- receive -----------------------------------------------------------------------------------


async def test_the_address_comes_as_text_and_as_a_code(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, companion, _):
        await until_shown(client, "/", "1 000 000".replace(" ", "\u202f"))
        address = (await companion.receive_address()).address
        page = (await client.get("/receive")).text
        assert f'data-copy="bitcoin:{address}"' in page
        plain = read_svg((await client.get("/receive/qr.svg")).text)
        assert plain == f"BITCOIN:{address.upper()}"
        page = (await client.get("/receive", params={"amount": "0.5"})).text
        assert f"bitcoin:{address}?amount=0.50000000" in page
        asked = read_svg((await client.get("/receive/qr.svg?amount=0.5")).text)
        assert asked == f"bitcoin:{address}?amount=0.50000000"
        wrong = (await client.get("/receive", params={"amount": "much"})).text
        assert "This is not an amount" in wrong
        assert (await client.get("/receive/qr.svg?amount=much")).status_code == 409


async def test_coins_that_come_in_are_shown_by_themselves(tmp_path: Path) -> None:
    async with funded_page(tmp_path, served=True) as (client, companion, node):
        async with live(client, "receive") as socket:
            await node.faucet((await companion.receive_address()).address, 77_000)
            assert "Coming in" in await until_sent(socket, "77\u202f000")
        await node.mine()
        await until_shown(client, "/", "1\u202f077\u202f000\u202fsats")


# --- send --------------------------------------------------------------------------------------


async def test_a_form_with_mistakes_comes_back_with_them_marked(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        form = {"recipient": "nobody", "amount": "<b>", "fee_rate": "no"}
        answer = await client.post("/send", data=form)
        assert answer.status_code == 422
        assert answer.text.count('aria-invalid="true"') == 3
        assert "&lt;b&gt;" in answer.text
        assert "<b>&" not in answer.text


async def test_a_recipient_can_be_scanned(tmp_path: Path) -> None:
    async with page_of(make_companion(tmp_path)) as client:
        request = f"bitcoin:{STRANGER}?amount=0.1"
        answer = await client.post("/send/picture", content=picture(request), headers=JSON)
        assert answer.json() == {"verdict": "read", "text": request}
        answer = await client.post("/send/picture", files={"picture": ("a", picture(request))})
        assert request in html.unescape(answer.text)


async def test_more_than_there_is_cannot_be_composed(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, companion, _):
        form = {"recipient": STRANGER, "amount": "0.01", "fee_rate": "1"}
        answer = await client.post("/send", data=form)
        assert answer.status_code == 422
        assert "not enough confirmed coins" in answer.text
        assert companion.unfinished() == []


async def test_the_review_shows_what_the_payment_does(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, companion, _):
        path = await composed(client)
        (payment,) = companion.unfinished()
        review = companion.review(payment)
        text = visible((await client.get(path)).text)
        for amount in (300_000, payment.fee, 300_000 + payment.fee, review.returned):
            assert f" {amount:,} sats".replace(",", " ") in text
        assert " ".join(re.findall(".{1,4}", STRANGER)) in text
        assert "Not sent yet" in (await client.get("/")).text
        # The same again is the same payment, not a second one.
        assert await composed(client) == path or len(companion.unfinished()) == 2


async def test_a_payment_is_given_up_once(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, companion, _):
        path = await composed(client)
        assert (await client.post(f"{path}/give-up")).headers["location"] == "/"
        assert companion.unfinished() == []
        assert (await client.get(path)).status_code == 404
        again = await client.post(f"{path}/give-up")
        assert again.status_code == 409
        assert "This payment cannot be made" in again.text


async def test_what_is_not_signed_is_not_sent(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, companion, node):
        path = await composed(client)
        assert (await client.post(f"{path}/send")).status_code == 409
        (payment,) = companion.unfinished()
        *first, last = pictures_of(bytes.fromhex(payment.psbt))
        for frame in first:
            await client.post(f"{path}/picture", content=frame, headers=JSON)
        answer = await client.post(f"{path}/picture", content=last, headers=JSON)
        assert answer.json()["code"] == "not-signed"
        assert companion.unfinished() == [payment]
        assert (await node.status()).mempool_count == 0


async def test_a_payment_signed_by_qr_reaches_a_block(tmp_path: Path) -> None:
    async with funded_page(tmp_path, served=True) as (client, companion, node):
        path = await composed(client)
        async with live(client, f"payment{path.removeprefix('/payments')}") as socket:
            psbt = await read_animation(client, path)
            assert psbt == bytes.fromhex(companion.unfinished()[0].psbt)
            *first, last = pictures_of(sign(psbt))
            for number, frame in enumerate(first, 1):
                answer = await client.post(f"{path}/picture", content=frame, headers=JSON)
                assert answer.json()["fraction"] == pytest.approx(number / (len(first) + 1))
                assert (
                    f'value="{int(100 * number / (len(first) + 1))}"'
                    in (await client.get(f"{path}/qr")).text
                )
            answer = await client.post(f"{path}/picture", content=last, headers=JSON)
            assert answer.json()["go"] == path
            await until_sent(socket, "waits for a block")
            await node.mine()
            await until_sent(socket, "Confirmed in block 103")
        assert companion.unfinished() == []
        moved = await client.get(f"{path}/qr")
        assert (moved.status_code, moved.headers["location"]) == (303, path)
        for action in ("sign", "send", "picture", "give-up"):
            assert (await client.post(f"{path}/{action}")).status_code in (303, 409)
        assert companion.payments()[0].stage == "broadcast"


async def test_a_signed_payment_outlives_the_server_and_the_page(tmp_path: Path) -> None:
    async with RegtestNode(tmp_path / "regtest", initial_blocks=101) as node:
        port = int(node.electrum_url.rpartition(":")[2])
        companion = make_companion(tmp_path / "companion", node.electrum_url)
        await companion.sync()
        await node.faucet((await companion.receive_address()).address, 500_000)
        await node.mine()
        await companion.sync()
        payment = await companion.compose(STRANGER, 100_000, 2)
    path = f"/payments/{payment.txid}"
    async with page_of(companion) as client:
        files = [
            ("picture", (f"{number}.png", frame))
            for number, frame in enumerate(pictures_of(sign(bytes.fromhex(payment.psbt))))
        ]
        assert (await client.post(f"{path}/picture", files=files)).headers["location"] == path
        await until_shown(client, path, "tried again by itself")
        await client.post(f"{path}/stop")
        assert "Send it now" in (await client.get(path)).text
    companion = make_companion(tmp_path / "companion", f"tcp://127.0.0.1:{port}")
    async with page_of(companion) as client:
        assert "Signed, not sent" in (await client.get("/")).text
        await client.post(f"{path}/send")
        await until_shown(client, path, "tried again by itself")
        again = RegtestNode(tmp_path / "regtest", electrum_port=port, initial_blocks=101)
        async with again as node:
            await until_shown(client, path, "It waits for a block")
            await node.mine()
            assert (await client.post("/sync")).status_code == 303
            await until_shown(client, path, "Confirmed in block")


async def test_an_animation_needs_no_script(tmp_path: Path) -> None:
    async with funded_page(tmp_path) as (client, _, _):
        path = await composed(client)
        for density in ("coarse", "dense", "unheard-of"):
            answer = await client.get(f"{path}/animation.png", params={"density": density})
            assert answer.headers["content-type"] == "image/png"
            assert b"acTL" in answer.content[:64]
            assert (await client.get(f"{path}/qr?density={density}")).status_code == 200
        for number, status in ((0, 404), (1, 200), (2**32 - 1, 200), (2**32, 404)):
            answer = await client.get(f"{path}/frames/{number}.svg")
            assert answer.status_code == status


# --- live --------------------------------------------------------------------------------------


def live(client: httpx.AsyncClient, page: str) -> websockets.connect:
    origin = str(client.base_url).rstrip("/")
    return websockets.connect(
        f"{origin.replace('http', 'ws')}/live/{page}",
        origin=websockets.Origin(origin),
        additional_headers={"Cookie": f"primegap-companion={TOKEN}"},
    )


async def until_sent(socket: websockets.ClientConnection, text: str) -> str:
    async with asyncio.timeout(20):
        while True:
            message = str(await socket.recv())
            if text in message:
                return message


async def read_animation(client: httpx.AsyncClient, path: str) -> bytes:
    """Read the payment off the page's animated code, beginning somewhere."""
    decoder = UrDecoder(PSBT_UR_TYPES)
    for number in range(7, 60):
        decoder.receive(read_svg((await client.get(f"{path}/frames/{number}.svg")).text))
        if decoder.result is not None:
            return psbt_from_ur(decoder.result)
    raise AssertionError("the animation does not come to an end")


async def test_an_open_page_gets_only_what_changed(tmp_path: Path) -> None:
    companion = make_companion(tmp_path)
    async with served_page_of(companion) as client, live(client, "overview") as socket:
        first = str(await socket.recv())
        regions = re.findall(r'hx-target="#region-(\w+)" hx-swap="innerMorph"', first)
        assert regions == ["link", "start", "balance", "unsent", "recent", "device", "chain"]
        later = await until_sent(socket, "does not answer")
        assert re.findall(r"#region-(\w+)", later) == ["chain"]


async def test_a_socket_needs_cookie_origin_and_a_page_that_exists(tmp_path: Path) -> None:
    async with served_page_of(make_companion(tmp_path)) as client:
        origin = str(client.base_url).rstrip("/")
        cookie = {"Cookie": f"primegap-companion={TOKEN}"}
        for page, headers, allowed in (
            ("overview", {}, origin),
            ("overview", cookie, "http://evil.example"),
            ("nothing", cookie, origin),
        ):
            with pytest.raises(websockets.InvalidStatus):
                async with websockets.connect(
                    f"{origin.replace('http', 'ws')}/live/{page}",
                    origin=websockets.Origin(allowed),
                    additional_headers=headers,
                ):
                    pass


async def test_a_stopping_companion_lets_go_of_open_pages(tmp_path: Path) -> None:
    async with served_page_of(make_companion(tmp_path)) as client:
        socket = await live(client, "overview")
        await socket.recv()
    with pytest.raises(websockets.ConnectionClosed):
        await until_sent(socket, "this is never sent")
