"""Errors of the screen model: an app or a flow asked for a screen that cannot be."""

from __future__ import annotations

from primegap.keyos.errors import KeyosError


class ScreenError(KeyosError):
    """A screen breaks a rule of the model; it is refused as a whole and nothing is shown."""

    code = "screen-invalid"
    hint = "An app asked for a screen that is not allowed."


class ScreenFormatError(ScreenError):
    """Bytes are not the canonical encoding of a screen that the sender may show."""

    code = "screen-malformed"
    hint = "An app sent a screen that cannot be read."


class LayoutError(ScreenError):
    """A valid screen has a part that would not be wholly visible; it is not shown (U-6)."""

    code = "screen-does-not-fit"
    hint = "An app asked for a screen that does not fit the display."


class FontError(KeyosError):
    """The device's own fonts are not installed."""

    code = "font-missing"
    hint = "The fonts of the screen are not installed."
