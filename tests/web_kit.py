"""A companion with an account and coins, its page on a real socket, and eyes for QR pictures."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw

from primegap.airgap import UrEncoder, psbt_to_ur
from primegap.airgap.drawing import qr_png
from primegap.airgap.qr import QrMatrix, qr_matrix, scan_picture
from primegap.bitcoin.accounts import Account
from primegap.bitcoin.keys import AccountSigner
from primegap.bitcoin.networks import Network
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt
from primegap.companion.companion import Companion
from primegap.companion.state import StoredAccount
from primegap.device.launcher import listen
from primegap.regtest import RegtestNode
from primegap.web.companion_app import build_app
from primegap.web.companion_server import serving

ENTROPY = bytes(range(16))
STRANGER = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
TOKEN = "token-of-a-test"
ORIGIN = "http://127.0.0.1:8521"
NOWHERE = "tcp://127.0.0.1:9"
"Nothing listens on the port of the discard service."


def make_companion(folder: Path, electrum_url: str = NOWHERE, *, account: bool = True) -> Companion:
    """A companion without a radio; its account is one whose key the test has."""
    companion = Companion(folder, network="regtest", electrum_url=electrum_url, transport=None)
    if account:
        with AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 0) as signer:
            own = Account.from_key(signer.key, Network.REGTEST)
        companion.state.put_account(
            StoredAccount(
                id=own.id,
                name="Account 1",
                network="regtest",
                sequence=0,
                external=own.external,
                internal=own.internal,
            )
        )
    return companion


def sign(psbt: bytes) -> bytes:
    """Sign as the device does."""
    with AccountSigner.from_entropy(ENTROPY, Network.REGTEST, 0) as signer:
        account = Account.from_key(signer.key, Network.REGTEST)
        review = review_psbt(psbt, account)
        return sign_psbt(psbt, review, review.digest, account, signer)


@asynccontextmanager
async def page_of(companion: Companion) -> AsyncIterator[httpx.AsyncClient]:
    """Open a companion's page as a browser does, with the cookie; no sockets in between."""
    app = build_app(companion, token=TOKEN)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=transport, base_url=ORIGIN, headers={"Origin": ORIGIN}
        ) as client,
    ):
        await _come_in(client)
        yield client
    await companion.close()


@asynccontextmanager
async def served_page_of(companion: Companion) -> AsyncIterator[httpx.AsyncClient]:
    """The same on a listening socket, for what needs one."""
    sock = listen(0)
    origin = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with (
        serving(build_app(companion, token=TOKEN), sock),
        httpx.AsyncClient(base_url=origin, headers={"Origin": origin}) as client,
    ):
        await _come_in(client)
        yield client
    await companion.close()


async def _come_in(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", params={"token": TOKEN})
    assert answer.status_code == 303


@asynccontextmanager
async def funded_page(
    folder: Path, *, served: bool = False
) -> AsyncIterator[tuple[httpx.AsyncClient, Companion, RegtestNode]]:
    """The page of a companion with one confirmed coin of 0.01 on a private chain."""
    async with RegtestNode(folder / "regtest", initial_blocks=101) as node:
        companion = make_companion(folder / "companion", node.electrum_url)
        await companion.sync()
        await node.faucet((await companion.receive_address()).address, 1_000_000)
        await node.mine()
        await companion.sync()
        async with (served_page_of if served else page_of)(companion) as client:
            yield client, companion, node


async def eventually(check: Callable[[], Any], timeout_s: float = 60) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(timeout_s):
        while not await check():
            await asyncio.sleep(0.05)


async def until_shown(client: httpx.AsyncClient, path: str, text: str) -> str:
    """Load a page until it says something; return it."""
    shown = ""

    async def look() -> bool:
        nonlocal shown
        shown = (await client.get(path)).text
        return text in shown

    try:
        await eventually(look)
    except TimeoutError:
        raise AssertionError(f"{text!r} does not appear in:\n{shown}") from None
    return shown


def read_svg(svg: str) -> str:
    """Read the QR code in an SVG picture the way a camera would: from pixels."""
    side = int(re.findall(r'viewBox="0 0 (\d+) \1"', svg)[0])
    image = Image.new("L", (side * 4, side * 4), 255)
    draw = ImageDraw.Draw(image)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", svg):
        left, top = int(x) * 4, int(y) * 4
        draw.rectangle((left, top, left + int(width) * 4 - 1, top + 3), fill=0)
    file = io.BytesIO()
    image.save(file, "PNG")
    (code,) = scan_picture(file.getvalue())
    return code.text


def pictures_of(psbt: bytes, fragment_bytes: int = 150) -> list[bytes]:
    """The device's animated answer as pictures, each fragment once."""
    ur = psbt_to_ur(psbt)
    encoder = UrEncoder(ur.ur_type, ur.cbor, fragment_bytes)
    return [picture(encoder.next_part()) for _ in range(encoder.parts_count)]


def picture(text: str) -> bytes:
    """A picture with one QR code."""
    matrix: QrMatrix = qr_matrix(text)
    return qr_png(matrix, 4)
