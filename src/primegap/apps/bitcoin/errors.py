"""Why the app does not sign."""

from __future__ import annotations

from primegap.keyos.client import KeyosError


class RejectedError(Exception):
    """The person said no."""


class TooLongToShowError(KeyosError):
    """A payment has more parts than a screen; what cannot be shown is not signed (U-6)."""

    code = "payment-too-long"
    hint = "This payment has too many parts to be shown on the device."
