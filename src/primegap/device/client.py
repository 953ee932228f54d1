"""A client of the automation API: what a test or a script uses to operate a development device.

Plain calls over HTTP, no dependencies. Everything it does, a person could do with a finger and a
printed picture.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, ClassVar, Final

from primegap.device.errors import DeviceError

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_PRESS_S: Final = 10.0
_HTTP_MARGIN_S: Final = 10.0


class AutomationClientError(DeviceError):
    """The device refused a step, or does not answer."""

    code: ClassVar[str] = "automation-client"
    hint: ClassVar[str] = "The device did not do what the script asked for."


class AutomationClient:
    """Operates one device by its page's address and token."""

    def __init__(self, url: str, token: str) -> None:
        self._base = f"{url}/api/v1"
        self._token = token

    def __repr__(self) -> str:
        return f"<AutomationClient {self._base}>"

    def screen(self) -> dict[str, Any]:
        """Return the present screen: `screen` (the tree), `targets`, `page`, `pages`, `frame`."""
        return self._json("GET", "/screen")

    def picture(self) -> bytes:
        """Return the present screen as PNG: the very pixels on the display."""
        return self._call("GET", "/screen.png", None, DEFAULT_TIMEOUT_S)

    def wait(
        self,
        screen: str | None = None,
        *,
        target: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Wait for a screen (by its id) or a target (by its id); return the screen."""
        body = {"screen": screen, "target": target, "timeout_s": timeout_s}
        return self._json("POST", "/wait", body, timeout_s)

    def press(self, target: str, *, timeout_s: float = DEFAULT_PRESS_S) -> dict[str, Any]:
        """Touch a target once it is shown, as long as it asks to be held; return the next screen.

        A device at work shows no targets for a while; `timeout_s` is how long that may last.
        """
        body = {"target": target, "timeout_s": timeout_s}
        return self._json("POST", "/press", body, DEFAULT_TIMEOUT_S + timeout_s)

    def type(self, text: str, *, timeout_s: float = DEFAULT_PRESS_S) -> dict[str, Any]:
        """Touch the keys of the keypad; `timeout_s` is how long each may take to be shown."""
        body = {"text": text, "timeout_s": timeout_s}
        return self._json("POST", "/type", body, DEFAULT_TIMEOUT_S + timeout_s)

    def scan(self, picture: bytes) -> str:
        """Hold a PNG or JPEG up to the camera: `read`, `nothing`, `unreadable` or `idle`."""
        answer = json.loads(self._call("POST", "/scan", picture, DEFAULT_TIMEOUT_S))
        return str(answer["verdict"])

    def _json(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        answer: dict[str, Any] = json.loads(self._call(method, path, data, timeout_s))
        return answer

    def _call(self, method: str, path: str, data: bytes | None, timeout_s: float) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - the loopback address of our own device
            self._base + path,
            data=data,
            method=method,
            headers={"Authorization": f"Bearer {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s + _HTTP_MARGIN_S) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            try:
                hint = json.loads(text)["hint"]
            except (ValueError, KeyError, TypeError):
                hint = f"status {error.code}"
            raise AutomationClientError(f"{path.lstrip('/')}: {hint}") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise AutomationClientError(f"the device does not answer: {error}") from error
