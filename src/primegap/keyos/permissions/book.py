"""The decisions of the person, pure: what is stored, and what a new request needs.

*Always* and *never* are kept for an app and a subgroup until they are revoked or the app is
removed; *not now* only for this run of the app, so that it cannot nag (R-6).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

import cbor2

from primegap.keyos.manifest.catalogue import CATALOGUE
from primegap.keyos.messages import NO_TAGS
from primegap.keyos.storage.sealed import UnreadableError

MAX_GRANTS: Final = 4096  # far more than apps times subgroups; bounds the file
MAX_POSTPONED: Final = 1024  # of runs of apps; the oldest are forgotten and may ask again
MAX_NAME: Final = 24
APP_ID_BYTES: Final = 16
_FORMAT: Final = 1


class Choice(enum.Enum):
    """What the person can say to a prompt."""

    ALWAYS = "always"
    NOT_NOW = "not-now"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored decision."""

    name: str
    allowed: bool


class Book:
    """Stored decisions, and the postponed ones of this run."""

    def __init__(self) -> None:
        self.entries: dict[tuple[bytes, str], Entry] = {}
        self._postponed: dict[tuple[int, str], None] = {}

    def decided(self, app_id: bytes, instance: int, subgroup: str) -> bool | None:
        """Return what holds for a request; None when the person has to be asked."""
        entry = self.entries.get((app_id, subgroup))
        if entry is not None:
            return entry.allowed
        return False if (instance, subgroup) in self._postponed else None

    def note(self, app_id: bytes, instance: int, subgroup: str, name: str, choice: Choice) -> bool:
        """Take over what the person said; return whether there is something to be stored."""
        if choice is Choice.NOT_NOW or len(self.entries) >= MAX_GRANTS:
            if len(self._postponed) >= MAX_POSTPONED:
                del self._postponed[next(iter(self._postponed))]
            self._postponed[instance, subgroup] = None
            return False
        self.entries[app_id, subgroup] = Entry(name[:MAX_NAME], choice is Choice.ALWAYS)
        return True

    def revoke(self, app_id: bytes, subgroup: str) -> bool:
        """Forget a decision; return whether there was one."""
        return self.entries.pop((app_id, subgroup), None) is not None

    def forget(self, app_id: bytes) -> list[str]:
        """Forget every decision about an app; return their subgroups."""
        found = [subgroup for known, subgroup in self.entries if known == app_id]
        for subgroup in found:
            del self.entries[app_id, subgroup]
        return found

    def encode(self) -> bytes:
        """Return what is stored."""
        rows = [[a, s, e.name, e.allowed] for (a, s), e in sorted(self.entries.items())]
        return cbor2.dumps([_FORMAT, rows])

    @classmethod
    def decode(cls, data: bytes) -> Book:
        """Return the book in these bytes, which were authenticated.

        Raises:
            UnreadableError: they are not a book.
        """
        book = cls()
        try:
            version, rows = cbor2.loads(data, semantic_decoders=NO_TAGS)
            if version != _FORMAT:
                raise UnreadableError("grants are of another version")
            for app_id, subgroup, name, allowed in rows:
                if (
                    type(app_id) is not bytes
                    or len(app_id) != APP_ID_BYTES
                    or type(name) is not str
                    or type(allowed) is not bool
                ):
                    raise UnreadableError("grants make no sense")
                if subgroup in CATALOGUE:  # an update may drop one; nothing asks about it then
                    book.entries[app_id, subgroup] = Entry(name, allowed)
        except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
            raise UnreadableError("grants make no sense") from error
        return book
