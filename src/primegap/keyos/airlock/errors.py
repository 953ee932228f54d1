"""Errors of the card, split by who is at fault: our caller, or whoever wrote the card."""

from __future__ import annotations

from primegap.keyos.errors import KeyosError


class CardError(KeyosError):
    """Root of what can go wrong with the card."""

    code = "card"
    hint = "The card cannot be used."


class CardNameError(CardError):
    """A path is not one that the device reads or writes."""

    code = "card-name"
    hint = "This name cannot be used on the card."


class CardNotFoundError(CardError):
    """There is no such file or folder."""

    code = "card-not-found"
    hint = "There is no such file on the card."


class CardFullError(CardError):
    """The card has no room; nothing was changed."""

    code = "card-full"
    hint = "The card is full. Nothing was changed."


class CardDamagedError(CardError):
    """The card is not a FAT file system that makes sense; nothing is written to it."""

    code = "card-damaged"
    hint = "The card is damaged or not formatted with FAT16 or FAT32."
