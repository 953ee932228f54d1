"""`primegap device`: run a signing device on this machine."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from primegap.cli.networks import NETWORKS
from primegap.cli.output import Settings, command, emit, say

if TYPE_CHECKING:
    from types import FrameType

    from primegap.device.adapter import StartedAdapter
    from primegap.device.air import StartedAir
    from primegap.device.launcher import StartedDevice

MODELS = ("prime", "core")


@click.group()
def device() -> None:
    """Run a signing device on this machine."""


@device.command()
@click.option("--network", type=click.Choice(NETWORKS), default="regtest", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8520,
    show_default=True,
    help="Port of the device page on the loopback; 0 for any.",
)
@click.option(
    "--model",
    type=click.Choice(MODELS),
    default="prime",
    show_default=True,
    help="prime has everything; core signs by codes and card: no radio, no companion, one app.",
)
@click.option(
    "--bluetooth",
    show_default="virtual; none for the model core",
    help="Bluetooth adapter (usb:0, serial:/dev/ttyACM0, hci-socket:0, unix:PATH), "
    "`virtual` or `none`.",
)
@click.option(
    "--development",
    is_flag=True,
    help="Automation on: only for a data directory that was never used without it.",
)
@click.option(
    "--link-trace",
    is_flag=True,
    help="Development only: write public facts of the link to the device's data directory.",
)
@click.option(
    "--simulator",
    is_flag=True,
    help="No isolation, for machines that have none: a test seed that everybody knows, a banner on "
    "every screen, a data directory of its own.",
)
@click.option("--journal", is_flag=True, help="Show the device's log on standard error.")
@click.pass_obj
@command
def run(
    settings: Settings,
    *,
    network: str,
    port: int,
    model: str,
    bluetooth: str | None,
    development: bool,
    simulator: bool,
    link_trace: bool,
    journal: bool,
    as_json: bool,
) -> None:
    """Run a device until it is stopped with Ctrl-C."""
    import subprocess

    if link_trace and not development:
        raise click.UsageError("--link-trace needs --development.")

    from primegap.device.errors import DeviceError
    from primegap.device.launcher import DeviceSettings, start_device

    if bluetooth is None:
        bluetooth = "none" if model == "core" else "virtual"
    controller = None if model == "core" else _start_controller(bluetooth, settings)
    try:
        started = start_device(
            DeviceSettings(
                data=settings.device,
                network=network,
                development=development,
                simulator=simulator,
                model=model,
                port=port,
                bluetooth=_controller_path(bluetooth, controller),
                link_trace=link_trace,
            ),
            journal=None if journal else subprocess.DEVNULL,
        )
    except DeviceError:
        if controller is not None:
            controller.stop()
        raise
    emit(
        {
            "url": started.url,
            "page": started.page,
            "token": started.token,
            "pid": started.process.pid,
        },
        f"Device page: {started.page}",
        as_json=as_json,
    )
    sys.stdout.flush()
    _stop_on_signals(started)
    reason = _follow(started)
    if controller is not None:
        controller.stop()
    if reason:
        raise DeviceError(f"the device stopped: {reason}")
    say("The device stopped.")


@device.command()
@command
def check(*, as_json: bool) -> None:
    """Try whether this machine can isolate a device's processes, and say what is missing.

    Children of this command try what apps must not be able to do. Run it as the user that is to run
    the device.
    """
    import asyncio

    from primegap.keyos.core.builtin import PACKAGE
    from primegap.keyos.core.measure import measure
    from primegap.keyos.core.order import find_runtime
    from primegap.keyos.sandbox.support import NEEDS, Level

    support = asyncio.run(measure(find_runtime(PACKAGE.parent).python_path))
    found = {finding.name: finding for finding in support.findings}
    features = []
    lines = []
    for need in NEEDS:
        finding = found.get(need.name)
        present = finding is not None and finding.present
        detail = "it could not be tried" if finding is None else finding.detail
        features.append(
            {
                "feature": need.name,
                "title": need.title,
                "present": present,
                "needed_for_level": int(need.level),
                "found": detail,
                "remedy": None if present else need.remedy,
            }
        )
        lines.append(f"{'yes' if present else 'NO':4}{need.title}: {detail}")
        if not present:
            lines.append(f"    {need.remedy}")
    lines.append(f"Support level {int(support.level)}. {support.level.meaning}")
    emit(
        {"level": int(support.level), "meaning": support.level.meaning, "features": features},
        "\n".join(lines),
        as_json=as_json,
    )
    if support.level is Level.NONE:
        sys.exit(1)


def _start_controller(bluetooth: str, settings: Settings) -> StartedAir | StartedAdapter | None:
    """Start what the chip needs besides itself; None when it needs nothing more."""
    from primegap.device.adapter import start_adapter
    from primegap.device.air import start_air

    if bluetooth == "virtual":
        return start_air(settings.air)
    if bluetooth == "none" or bluetooth.startswith(("unix:", "unix-client:")):
        return None
    return start_adapter(bluetooth, settings.air)


def _controller_path(bluetooth: str, controller: StartedAir | StartedAdapter | None) -> str | None:
    if controller is not None:
        return controller.device
    return None if bluetooth == "none" else bluetooth


def _stop_on_signals(started: StartedDevice) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        started.process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _follow(started: StartedDevice) -> str:
    """Read events until the device ends; return why it stopped, empty for an orderly stop."""
    reason = ""
    for line in started.events:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "stopped":
            reason = event["reason"]
        elif event["event"] == "first-screen":
            say(f"First screen after {event['elapsed_s']:.2f} s.")
    status = started.process.wait()
    return reason or (f"core ended with status {status}" if status else "")
