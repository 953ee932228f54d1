"""`primegap companion`: the untrusted side, as commands and as a page in the browser."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from primegap.cli.companion_limits import audit_log, limits, propose_limits
from primegap.cli.message import sign_message
from primegap.cli.networks import NETWORKS
from primegap.cli.output import Settings, command, emit, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from primegap.companion.companion import Companion
    from primegap.companion.state import Payment

DEFAULT_PORT: Final = 8521
REGTEST_ELECTRUM: Final = "tcp://127.0.0.1:60401"
LINK_ATTEMPTS: Final = 4  # to ask for one signature; the device asks the person once
PICTURE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Options:
    """What all commands of the group share."""

    settings: Settings
    network: str
    electrum: str | None
    bluetooth: str
    trace: Path | None

    def adapter(self) -> str:
        """Return the transport string of the Bluetooth adapter.

        Raises:
            NoAdapterError: the virtual air is to be used and none runs.
        """
        if self.bluetooth != "virtual":
            return self.bluetooth
        from primegap.companion.errors import NoAdapterError
        from primegap.device.air import NoAirError, find_air

        try:
            return find_air(self.settings.air)
        except NoAirError as error:
            raise NoAdapterError(str(error)) from error


@contextlib.asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Companion]:
    """Open the companion on its data directory and close it in the end."""
    from primegap.companion.companion import Companion

    companion = Companion(
        options.settings.companion,
        network=options.network,
        electrum_url=options.electrum,
        transport=options.adapter,
        link_trace=options.trace,
    )
    companion.on_trace_end = _say_trace_ended
    try:
        yield companion
    finally:
        await companion.close()


def _say_trace_ended(reason: str) -> None:
    """Tell at once, and go on: whoever pays does not need the trace, whoever traces must know."""
    click.echo(f"The trace of the link ends here: {reason}.", err=True)


@click.group()
@click.option("--network", type=click.Choice(NETWORKS), default="regtest", show_default=True)
@click.option(
    "--electrum",
    metavar="URL",
    default=None,
    help=f"Electrum server (tcp://host:port or ssl://host:port). On regtest: {REGTEST_ELECTRUM}.",
)
@click.option(
    "--bluetooth",
    default="virtual",
    show_default=True,
    help="HCI transport of the Bluetooth adapter (usb:0, hci-socket:0, …), `bleak` for the "
    "Bluetooth of this computer, or `virtual` for the emulated one of `primegap device run`.",
)
@click.option(
    "--trace",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write public facts of the link to FILE, for `primegap link inspect`.",
)
@click.pass_context
def companion(
    ctx: click.Context, network: str, electrum: str | None, bluetooth: str, trace: Path | None
) -> None:
    """See what the account holds, receive, and pay with the device's signature.

    The companion holds no key. It talks to the device over Bluetooth, end to end encrypted, or by
    QR codes, and to the chain through an Electrum server.
    """
    if electrum is None and network == "regtest":
        electrum = REGTEST_ELECTRUM
    ctx.obj = Options(ctx.obj, network, electrum, bluetooth, trace)


# -- device -------------------------------------------------------------------------------------


@companion.command()
@click.option("--picture", type=PICTURE, help="PNG or JPEG with the code that the device shows.")
@click.option("--code", help="Text of the code; asked for when neither is given.")
@click.pass_obj
@command
def pair(options: Options, *, picture: Path | None, code: str | None, as_json: bool) -> None:
    """Pair with the device that shows a pairing code.

    Both sides then show a fingerprint: compare them, and confirm on the device.
    """
    if picture is not None and code is not None:
        raise click.UsageError("Give a picture or a code, not both.")
    if picture is not None:
        code = _code_in(picture)
    elif code is None:
        code = click.prompt("Pairing code", err=True)
    device = asyncio.run(_pair(options, code))
    emit(
        {"name": device.name, "address": device.address, "fingerprint": device.fingerprint},
        f"Paired with {device.name}. Next: primegap companion accounts",
        as_json=as_json,
    )


def _code_in(picture: Path) -> str:
    from primegap.airgap.qr import scan_picture
    from primegap.companion.errors import PairingCodeError

    codes = scan_picture(picture.read_bytes())
    if not codes:
        raise PairingCodeError("no code in this picture")
    return codes[0].text


async def _pair(options: Options, code: str) -> Any:
    def compare(fingerprint: str) -> None:
        say(f"Both screens must show:  {fingerprint}")
        say("If they do, confirm on the device. If not, reject there.")

    async with opened(options) as opened_companion:
        opened_companion.read_pairing_code(code)
        say("Looking for the device…")
        return await opened_companion.pair(code, compare)


@companion.command()
@click.pass_obj
@command
def unpair(options: Options, *, as_json: bool) -> None:
    """Forget the device on both sides; the account stays to look at."""

    async def run() -> None:
        async with opened(options) as opened_companion:
            await opened_companion.unpair()

    asyncio.run(run())
    emit({"unpaired": True}, "The device is forgotten.", as_json=as_json)


# -- account ------------------------------------------------------------------------------------


@companion.command()
@click.option("--again", is_flag=True, help="Ask the device even if an account is known.")
@click.pass_obj
@command
def accounts(options: Options, *, again: bool, as_json: bool) -> None:
    """Show the account; the first time, ask the device to share it."""

    async def run() -> list[Any]:
        async with opened(options) as opened_companion:
            if again or not opened_companion.accounts():
                if opened_companion.device is not None:
                    say("Waiting for the device. Confirm there that it may share its account.")
                await opened_companion.fetch_account()
            return opened_companion.accounts()

    from dataclasses import asdict

    found = asyncio.run(run())
    lines = [f"{a.name} ({a.network})\n  {a.external}\n  {a.internal}" for a in found]
    emit({"accounts": [asdict(a) for a in found]}, "\n".join(lines), as_json=as_json)


@companion.command()
@click.option("--amount", help="Ask for this amount (BTC) in the payment request.")
@click.option("--qr", is_flag=True, help="Draw the payment request as a QR code.")
@click.pass_obj
@command
def receive(options: Options, *, amount: str | None, qr: bool, as_json: bool) -> None:
    """Print the next address to receive on. Check it on the device before you give it away."""
    from primegap.bitcoin.address_uri import format_payment_request
    from primegap.bitcoin.amounts import parse_amount

    asked = None if amount is None else parse_amount(amount)

    async def run() -> Any:
        async with opened(options) as opened_companion:
            await _sync_if_possible(opened_companion)
            return await opened_companion.receive_address()

    found = asyncio.run(run())
    request = format_payment_request(found.address, asked)
    text = found.address
    if qr:
        from primegap.airgap.drawing import qr_text
        from primegap.airgap.qr import qr_matrix

        text = f"{qr_text(qr_matrix(request))}\n{text}"
    emit(
        {"address": found.address, "index": found.index, "request": request}, text, as_json=as_json
    )


async def _sync_if_possible(companion: Companion) -> None:
    """Sync; without a server go on with what is known and say so."""
    from primegap.companion.errors import ServerError

    companion.account()
    try:
        await companion.sync()
    except ServerError as error:
        say(f"{error}. {error.hint} What follows is from the last sync.")


@companion.command()
@click.pass_obj
@command
def sync(options: Options, *, as_json: bool) -> None:
    """Look at the chain and print the balance."""

    async def run() -> dict[str, Any]:
        async with opened(options) as opened_companion:
            await opened_companion.sync()
            balance = await opened_companion.balance()
            return {
                "height": await opened_companion.height(),
                "confirmed_sat": balance.confirmed,
                "pending_sat": balance.pending,
                "total_sat": balance.total,
            }

    state = asyncio.run(run())
    text = f"{_btc(options, state['total_sat'])} at block {state['height']}"
    if state["pending_sat"]:
        text += f", of which {_btc(options, state['pending_sat'])} wait for a block"
    emit(state, text + ".", as_json=as_json)


@companion.command()
@click.pass_obj
@command
def history(options: Options, *, as_json: bool) -> None:
    """Print the account's transactions, newest first."""
    from dataclasses import asdict

    async def run() -> list[Any]:
        async with opened(options) as opened_companion:
            await _sync_if_possible(opened_companion)
            return await opened_companion.history()

    entries = asyncio.run(run())
    lines = [
        f"{_btc(options, entry.delta):>24}  "
        f"{'waiting for a block' if entry.height is None else f'block {entry.height}':<20} "
        f"{entry.txid}"
        for entry in entries
    ]
    emit(
        {"transactions": [asdict(entry) for entry in entries]},
        "\n".join(lines) or "Nothing yet.",
        as_json=as_json,
    )


def _btc(options: Options, amount: int) -> str:
    from primegap.bitcoin.amounts import Satoshi, format_btc
    from primegap.bitcoin.networks import Network

    return format_btc(Satoshi(amount), unit=Network(options.network).currency)


# -- payments -----------------------------------------------------------------------------------


@companion.command()
@click.argument("address")
@click.argument("amount", required=False)
@click.option("--fee-rate", type=click.IntRange(1, 25_000), help="In sat/vB. Default: estimated.")
@click.option(
    "--by-qr",
    type=click.Path(file_okay=False, path_type=Path),
    help="Sign without the radio: frames to show to the device are written to DIR/to-device, "
    "pictures of its answer are taken from DIR/from-device as they appear.",
    metavar="DIR",
)
@click.pass_obj
@command
def send(
    options: Options,
    *,
    address: str,
    amount: str | None,
    fee_rate: int | None,
    by_qr: Path | None,
    as_json: bool,
) -> None:
    """Pay AMOUNT (in BTC) to ADDRESS, signed on the device.

    ADDRESS may be a payment request (bitcoin:…); then AMOUNT may be left out.
    """
    from primegap.bitcoin.address_uri import parse_payment_request
    from primegap.bitcoin.amounts import parse_amount
    from primegap.bitcoin.errors import AmountFormatError
    from primegap.bitcoin.networks import Network

    request = parse_payment_request(address, Network(options.network))
    asked = request.amount if amount is None else parse_amount(amount)
    if asked is None:
        raise click.UsageError("How much? Give an AMOUNT.")
    if request.amount not in (None, asked):
        raise AmountFormatError("the payment request asks for another amount")

    async def run() -> Payment:
        async with opened(options) as opened_companion:
            await opened_companion.sync()
            payment = await opened_companion.compose(request.address, asked, fee_rate)
            return await _finish(options, opened_companion, payment, by_qr)

    _emit_payment(options, [asyncio.run(run())], as_json=as_json)


@companion.command()
@click.option("--by-qr", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--give-up", metavar="TXID", help="Forget this payment instead.")
@click.pass_obj
@command
def resume(options: Options, *, by_qr: Path | None, give_up: str | None, as_json: bool) -> None:
    """Go on with payments that were begun and not sent."""
    from primegap.companion.errors import PaymentError

    async def run() -> list[Payment]:
        async with opened(options) as opened_companion:
            unfinished = opened_companion.unfinished()
            if give_up is None:
                return [
                    await _finish(options, opened_companion, payment, by_qr)
                    for payment in unfinished
                ]
            for payment in unfinished:
                if payment.txid == give_up:
                    opened_companion.give_up(payment)
                    return []
            raise PaymentError("no unfinished payment has this id")

    _emit_payment(options, asyncio.run(run()), as_json=as_json)


def _emit_payment(options: Options, payments: list[Payment], *, as_json: bool) -> None:
    listed = [
        {
            "txid": payment.txid,
            "address": payment.address,
            "amount_sat": payment.amount,
            "fee_sat": payment.fee,
            "stage": payment.stage,
        }
        for payment in payments
    ]
    lines = [f"Sent {_btc(options, payment.amount)} in {payment.txid}" for payment in payments]
    emit({"payments": listed}, "\n".join(lines) or "Nothing is unfinished.", as_json=as_json)


async def _finish(
    options: Options, companion: Companion, payment: Payment, by_qr: Path | None
) -> Payment:
    """Take a payment from its stored stage to the network; what was reached is kept."""
    from primegap.cli.companion_pictures import sign_by_pictures
    from primegap.companion.companion import COMPOSED
    from primegap.companion.errors import CompanionError, RejectedError

    say(f"Pay     {_btc(options, payment.amount)}")
    say(f"To      {payment.address}")
    say(f"Fee     {_btc(options, payment.fee)}  ({payment.fee_rate} sat/vB)")
    try:
        if payment.stage == COMPOSED and by_qr is not None:
            payment = await sign_by_pictures(companion, payment, by_qr)
        elif payment.stage == COMPOSED:
            say("Check the payment on the device and sign it there.")
            payment = await _sign_over_link(companion, payment)
        say("Signed. Sending it to the network.")
        return await companion.broadcast(payment)
    except RejectedError:
        companion.give_up(payment)
        raise
    except CompanionError:
        say("The payment is kept. To go on with it: primegap companion resume")
        raise


async def _sign_over_link(companion: Companion, payment: Payment) -> Payment:
    """Ask the device; when the link is lost meanwhile, ask again as soon as it is back."""
    from primegap.companion.errors import LinkLostError

    for _ in range(LINK_ATTEMPTS - 1):
        try:
            return await companion.sign_over_link(payment)
        except LinkLostError as error:
            say(f"{error.hint} Asking again then.")
    return await companion.sign_over_link(payment)


# -- page ---------------------------------------------------------------------------------------


@companion.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the page on the loopback; 0 for any.",
)
@click.pass_obj
@command
def serve(options: Options, *, port: int, as_json: bool) -> None:
    """Show the companion in the browser until Ctrl-C."""
    asyncio.run(_serve(options, port, as_json=as_json))


async def _serve(options: Options, port: int, *, as_json: bool) -> None:
    import secrets
    import signal

    from primegap.device.launcher import LOOPBACK, listen
    from primegap.web.companion_app import build_app
    from primegap.web.companion_server import serving

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with opened(options) as opened_companion:
        sock = listen(port)
        token = secrets.token_urlsafe(24)
        url = f"http://{LOOPBACK}:{sock.getsockname()[1]}"
        async with serving(build_app(opened_companion, token=token), sock):
            page = f"{url}/?token={token}"
            emit(
                {"url": url, "page": page, "token": token},
                f"Companion page: {page}",
                as_json=as_json,
            )
            sys.stdout.flush()
            await stopping.wait()
    say("The companion stopped.")


# -- limits and log -------------------------------------------------------------------------------

for one in (limits, propose_limits, audit_log, sign_message):
    companion.add_command(one)
