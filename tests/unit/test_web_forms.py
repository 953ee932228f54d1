"""The form of a payment: what is taken, what is refused, and what the person is told."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.web_kit import STRANGER

from primegap.bitcoin.networks import Network
from primegap.web.companion_forms import (
    MAX_FORM_BYTES,
    SendForm,
    limit_body,
    read_form,
    read_pictures,
)


def checked(recipient: str, amount: str, fee_rate: str = "") -> SendForm:
    form = SendForm(recipient=recipient, amount=amount, fee_rate=fee_rate)
    assert form.check(Network.REGTEST) is (not form.errors)
    return form


@pytest.mark.parametrize(
    ("recipient", "amount", "sat"),
    [
        (STRANGER, "0.01", 1_000_000),
        (f"  {STRANGER.upper()}\n", " 1 ", 100_000_000),
        (STRANGER, "0.00 000 001", 1),
        (STRANGER, "0.00\u202f012\u202f345", 12_345),
        (f"bitcoin:{STRANGER}?amount=0.5&label=Shop", "", 50_000_000),
        (f"bitcoin:{STRANGER}?amount=0.5", "0.50", 50_000_000),
        (f"bitcoin:{STRANGER}", "0.25", 25_000_000),
    ],
)
def test_what_makes_a_payment(recipient: str, amount: str, sat: int) -> None:
    form = checked(recipient, amount, "7")
    assert form.errors == {}
    assert (form.address, form.sat, form.rate) == (STRANGER, sat, 7)


@pytest.mark.parametrize(
    ("recipient", "amount", "fee_rate", "wrong"),
    [
        ("", "", "", {"recipient", "amount"}),
        ("hello", "1", "", {"recipient"}),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1", "", {"recipient"}),
        (f"bitcoin:{STRANGER}?req-later=1", "1", "", {"recipient"}),
        (STRANGER, "0", "", {"amount"}),
        (STRANGER, "-1", "", {"amount"}),
        (STRANGER, "1e3", "", {"amount"}),
        (STRANGER, "1,5", "", {"amount"}),
        (STRANGER, "0.000000001", "", {"amount"}),
        (STRANGER, "21000001", "", {"amount"}),
        (f"bitcoin:{STRANGER}?amount=0.5", "0.6", "", {"amount"}),
        (STRANGER, "1", "0", {"fee_rate"}),
        (STRANGER, "1", "1.5", {"fee_rate"}),
        (STRANGER, "1", "25001", {"fee_rate"}),
        (STRANGER, "1", "²", {"fee_rate"}),
        (STRANGER, "1", "9" * 4000, {"fee_rate"}),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    recipient: str, amount: str, fee_rate: str, wrong: set[str]
) -> None:
    form = checked(recipient, amount, fee_rate)
    assert set(form.errors) == wrong
    assert all(text.endswith((".", "?")) for text in form.errors.values())


# --- reading -----------------------------------------------------------------------------------


async def echo_form(request: Request) -> Response:
    return JSONResponse(await read_form(request))


async def echo_pictures(request: Request) -> Response:
    return JSONResponse([len(item) for item in await read_pictures(request, 2)])


def reader(limit: int = 1 << 20) -> httpx.AsyncClient:
    app = Starlette(
        routes=[
            Route("/form", echo_form, methods=["POST"]),
            Route("/pictures", echo_pictures, methods=["POST"]),
        ],
        middleware=[Middleware(limit_body, max_bytes=limit)],
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1")


async def test_forms_are_read_within_their_limits() -> None:
    async with reader() as client:
        answer = await client.post("/form", data={"a": "ü", "empty": ""})
        assert answer.json() == {"a": "ü", "empty": ""}
        large = await client.post("/form", content=b"a=" + b"x" * MAX_FORM_BYTES)
        assert large.status_code == 413
        many = await client.post("/form", content=b"&".join([b"a=1"] * 100))
        assert many.status_code == 400
        binary = await client.post("/form", content=b"\xff\xfe")
        assert binary.status_code == 400


async def test_pictures_come_as_files_of_a_form_or_as_the_body() -> None:
    async with reader() as client:
        files = [("picture", ("a.png", b"12345")), ("picture", ("b.png", b"123"))]
        assert (await client.post("/pictures", files=files)).json() == [5, 3]
        assert (await client.post("/pictures", content=b"1234567")).json() == [7]
        assert (await client.post("/pictures", content=b"")).json() == []
        nothing = await client.post("/pictures", files=[("picture", ("", b""))])
        assert nothing.json() == []
        too_many = await client.post("/pictures", files=files * 2)
        assert too_many.status_code == 400


async def test_a_body_without_end_is_cut_off() -> None:
    async with reader(limit=1000) as client:
        for path in ("/form", "/pictures"):
            assert (await client.post(path, content=b"x" * 1001)).status_code == 413
