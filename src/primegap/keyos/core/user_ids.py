"""A user id of its own for every app id, for ever (keyos-model, section 15).

Where core may switch users, each app id gets the next user id of a reserved range when it first
runs. The list is only ever added to: the files of one app never come to belong to another, also not
after the first one was removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.files import read_file, write_file
from primegap.keyos.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

FIRST_UID: Final = 61184  # 61184-65519: the range that systemd leaves to dynamic users of services
LAST_UID: Final = 65519
_ID_BYTES: Final = 16


class UserIds:
    """The list, kept in one file: app ids of 16 bytes, one behind the other."""

    def __init__(self, path: Path) -> None:
        """Read the list.

        Raises:
            SandboxError: it is damaged; which user owned which files cannot be told any more.
        """
        self._path = path
        data = read_file(path) or b""
        if len(data) % _ID_BYTES:
            raise SandboxError("the list of user ids is damaged")
        self._ids = {
            data[at : at + _ID_BYTES]: FIRST_UID + at // _ID_BYTES
            for at in range(0, len(data), _ID_BYTES)
        }
        if len(self._ids) * _ID_BYTES != len(data):
            raise SandboxError("the list of user ids names an app twice")

    def of(self, *app_ids: bytes) -> list[int]:
        """Return the user ids of apps; new ones are written down before they are used.

        Raises:
            SandboxError: the range is used up.
            StorageError: the list cannot be written.
        """
        new = [app_id for app_id in dict.fromkeys(app_ids) if app_id not in self._ids]
        if new:
            ids = dict(self._ids)
            for app_id in new:
                ids[app_id] = FIRST_UID + len(ids)
            if FIRST_UID + len(ids) - 1 > LAST_UID:
                raise SandboxError("every user id of the reserved range was given to an app")
            write_file(self._path, b"".join(ids))
            self._ids = ids
        return [self._ids[app_id] for app_id in app_ids]
