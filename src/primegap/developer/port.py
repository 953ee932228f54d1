"""The developer's port of a device: install, list and remove, over HTTP on this machine."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from primegap.developer.errors import DeviceAnswerError, DeviceUnreachableError
from primegap.files import StorageError, read_file

if TYPE_CHECKING:
    from pathlib import Path

TOKEN_FILE: Final = "page-token"  # noqa: S105 - the name of a file
ANSWER_TIMEOUT_S: Final = 660.0  # a person reads and decides; the device gives up before that
MAX_ANSWER_BYTES: Final = 1 << 20


class DevicePort:
    """Talks to one device."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def __repr__(self) -> str:
        return f"<DevicePort {self._url}>"

    @classmethod
    def of_device(cls, data: Path, url: str) -> DevicePort:
        """Return the port of the device whose data directory this is.

        Raises:
            DeviceUnreachableError: no device was started on it.
        """
        try:
            token = read_file(data / TOKEN_FILE)
        except StorageError as error:
            raise DeviceUnreachableError(str(error)) from error
        if token is None:
            raise DeviceUnreachableError(f"no device was started in {data}")
        return cls(url, token.decode(errors="replace").strip())

    def installed(self) -> list[dict[str, Any]]:
        """Return the installed apps."""
        found: list[dict[str, Any]] = self._call("GET", "", None)["apps"]
        return found

    def install(self, bundle: bytes) -> dict[str, Any]:
        """Offer a bundle; returns the installed app once the person has approved it."""
        found: dict[str, Any] = self._call("POST", "", bundle)["installed"]
        return found

    def remove(self, app: str) -> dict[str, Any]:
        """Ask for an app, by identifier or id, to be removed; returns it once it is gone."""
        found: dict[str, Any] = self._call("DELETE", f"/{urllib.parse.quote(app, safe='')}", None)[
            "removed"
        ]
        return found

    def _call(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address of the developer's own device
            f"{self._url}/developer/apps{path}",
            data=body,
            method=method,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/octet-stream",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310
                text = answer.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise DeviceUnreachableError(f"no device answers at {self._url}") from error
        return _answer(text)


def _answer(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DeviceUnreachableError("what answers is not a device")
    if "error" in found:
        code, hint = str(found["error"]), str(found.get("hint", ""))
        raise DeviceAnswerError(str(found.get("message", code)), code, hint)
    return found
