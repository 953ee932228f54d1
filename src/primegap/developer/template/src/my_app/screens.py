"""The app's screens. A screen is a value: the device draws it, and tests look at it."""

from __future__ import annotations

from my_app.counter import Counter
from primegap.keyos.ui.screen import Button, ButtonStyle, Icon, Row, Screen, Text, TextStyle

COUNT = "count"
RESET = "reset"
LEAVE = "leave"


def counting(counter: Counter) -> Screen:
    """The number, and what can be done with it."""
    return Screen(
        id="counting",
        title="My App",
        items=(
            Icon("check"),
            Row("Counted", f"{counter.value:,}"),
            Text("It is kept on this device, sealed with a secret of this app.", TextStyle.MUTED),
        ),
        buttons=(
            Button(LEAVE, "Home", ButtonStyle.SECONDARY),
            Button(RESET, "Start over", ButtonStyle.QUIET, enabled=counter.value > 0),
            Button(COUNT, "Count", ButtonStyle.PRIMARY),
        ),
    )
