"""`primegap regtest`: a private chain judged by Bitcoin Core's engine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from primegap.cli.output import Settings, command, emit, say

DEFAULT_PORT = 60401


@click.group()
def regtest() -> None:
    """A private chain for trying things out; its coins are worth nothing."""


@regtest.command()
@click.option(
    "--electrum-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the Electrum server on the loopback; 0 for any.",
)
@click.option("--rebuild", is_flag=True, help="Restore a damaged chain from what is intact.")
@click.pass_obj
@command
def up(settings: Settings, *, electrum_port: int, rebuild: bool, as_json: bool) -> None:
    """Run the chain until Ctrl-C."""
    import asyncio

    asyncio.run(_up(settings, electrum_port, rebuild=rebuild, as_json=as_json))


async def _up(settings: Settings, port: int, *, rebuild: bool, as_json: bool) -> None:
    import asyncio
    import signal

    from primegap.regtest import RegtestNode

    node = RegtestNode(settings.regtest, electrum_port=port, rebuild=rebuild)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.ask_to_stop)
    async with node:
        status = asdict(await node.status())
        emit(
            status,
            f"Block {status['height']}. Electrum server: {status['electrum_url']}",
            as_json=as_json,
        )
        await node.wait_until_asked_to_stop()
    say("The chain stopped.")


@regtest.command()
@click.pass_obj
@command
def status(settings: Settings, *, as_json: bool) -> None:
    """Tell where the chain is."""
    state = _call(settings, "status")
    emit(
        state,
        f"Block {state['height']}, {state['mempool_count']} waiting. {state['electrum_url']}",
        as_json=as_json,
    )


@regtest.command()
@click.argument("blocks", type=click.IntRange(1, 10_000), default=1)
@click.pass_obj
@command
def mine(settings: Settings, *, blocks: int, as_json: bool) -> None:
    """Mine BLOCKS blocks with everything that waits."""
    mined = _call(settings, "mine", {"blocks": blocks})
    last = mined[-1]
    count = sum(len(block["txids"]) for block in mined)
    emit(
        {"blocks": mined},
        f"Block {last['height']} {last['block_hash']}, {count} transactions.",
        as_json=as_json,
    )


@regtest.command()
@click.argument("address")
@click.argument("amount")
@click.pass_obj
@command
def faucet(settings: Settings, *, address: str, amount: str, as_json: bool) -> None:
    """Send AMOUNT (in BTC) to ADDRESS from the chain's own coins; mine to confirm it."""
    from primegap.bitcoin.amounts import parse_amount

    txid = _call(settings, "faucet", {"address": address, "amount_sat": parse_amount(amount)})
    emit({"txid": txid}, f"Sent in {txid}.", as_json=as_json)


def _call(settings: Settings, method: str, params: dict[str, Any] | None = None) -> Any:
    from primegap.regtest import call_control

    return call_control(settings.regtest, method, params)
