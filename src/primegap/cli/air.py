"""`primegap air`: the virtual air between a device's chip and a companion's adapter."""

from __future__ import annotations

import click

from primegap.cli.output import Settings, command, emit


@click.command()
@click.pass_obj
@command
def air(settings: Settings, *, as_json: bool) -> None:
    """Run the virtual Bluetooth air alone, until Ctrl-C."""
    from primegap.device.air import start_air

    started = start_air(settings.air)
    emit(
        {"device": started.device, "companion": started.companion, "capture": str(started.capture)},
        f"Device side: {started.device}\nCompanion side: {started.companion}\n"
        f"Capture: {started.capture}",
        as_json=as_json,
    )
    try:
        started.process.wait()
    except KeyboardInterrupt:
        started.stop()
