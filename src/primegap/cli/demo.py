"""`primegap demo`: the whole system at work."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import click

from primegap.cli.output import Settings, command, emit, say

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.demo.steps import Demo


@click.command()
@click.option(
    "--exit", "leave", is_flag=True, help="End after the last step instead of staying open."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the companion page; 0 for any.",
)
@click.pass_obj
@command
def demo(settings: Settings, *, leave: bool, port: int, as_json: bool) -> None:
    """Pair, receive, pay and sign by QR code on a private chain.

    Every step is real: separate sandboxed processes, a Bluetooth stack on emulated controllers, the
    post-quantum link, blocks judged by Bitcoin Core's engine. An automatic finger presses the
    buttons through the device's automation API. Afterwards device and companion stay open in the
    browser.
    """
    folder = settings.data_dir / time.strftime("demo-%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    asyncio.run(_run(folder, leave=leave, port=port, as_json=as_json))


async def _run(folder: Path, *, leave: bool, port: int, as_json: bool) -> None:
    from primegap.demo.steps import Demo

    async with Demo(folder, tell=say) as running:
        try:
            await running.run()
        finally:
            say(f"Evidence: {running.evidence.folder}")
        result = {"folder": str(folder), "seconds": running.times, **running.evidence.report}
        emit(result, f"All done in {running.times['total']:.1f} s.", as_json=as_json)
        if not leave:
            await _stay(running, port)


async def _stay(running: Demo, port: int) -> None:
    """Leave device and companion open for the person until Ctrl-C."""
    import secrets

    from primegap.device.launcher import listen
    from primegap.web.companion_app import build_app
    from primegap.web.companion_server import serving

    await running.finger.switch_bluetooth(on=True)
    token = secrets.token_urlsafe(24)
    sock = listen(port)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}/?token={token}"
    say("")
    say(f"Device:    {running.device.page}")
    say(f"Companion: {address}")
    say("Both stay open. Stop with Ctrl-C.")
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with serving(build_app(running.companion, token=token), sock):
        await stopped.wait()
