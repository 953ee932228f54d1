"""The apps that ship, in real sandboxes: a login by the camera, the clock by a sealed channel."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.device_support import Running, device, eventually, make_data_directory, unlock
from tests.stored_seed import store_seed

from primegap.apps.authenticator.otp import parse_uri_untrusted
from primegap.demo.pictures import qr_picture

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DP"
URI = f"otpauth://totp/Mail:me%40example.org?secret={SECRET}&issuer=Mail"


def code_on(running: Running) -> str:
    """Return the code that the list shows, without its space."""
    items = running.client.wait("authenticator")["screen"]["items"]
    codes = [item["code"] for item in items if item["type"] == "onetimecode"]
    return str(codes[0]).replace(" ", "") if codes else ""


def shows(running: Running, wanted: Callable[[], set[str]]) -> Callable[[], bool]:
    return lambda: code_on(running) in wanted()


@pytest.mark.guarantee("S-1", "F-6", tried="the secret of a login searched in files and journal")
def test_a_login_is_kept_shown_and_moved_by_the_settings_clock(tmp_path: Path) -> None:
    data = tmp_path / "device"
    make_data_directory(data)
    store_seed(data)
    account, _ = parse_uri_untrusted(URI)

    def codes(ahead_s: int) -> set[str]:
        """Codes of now, with one period of patience for a slow machine."""
        now_s = int(time.time()) + ahead_s
        return {account.code_at(now_s), account.code_at(now_s - account.period_s)}

    with device(data) as running:
        unlock(running)
        client = running.client
        client.press("app:authenticator")
        client.press("add")
        client.wait("otp-scanning")
        eventually(lambda: client.scan(qr_picture(URI)) == "read", 60)
        client.wait("keep-account")
        client.press("keep")
        eventually(shows(running, lambda: codes(0)))
        client.press("leave")

        # The clock is the settings app's: a day has passed when it says so.
        client.press("app:settings")
        client.press("time")
        client.press("set")
        client.wait("set-clock")
        eventually(lambda: _press_hour(client))
        client.press("back")
        client.press("back")
        client.press("back")
        client.press("app:authenticator")
        eventually(shows(running, lambda: codes(3600)), 60)
        text = running.journal + json.dumps(running.events)
    for path in data.rglob("*"):
        if path.is_file():
            text += path.read_bytes().decode("latin-1")
    for secret in (SECRET, account.secret.hex(), account.secret.decode("latin-1")):
        assert secret not in text


def _press_hour(client: Any) -> bool:
    """Turn to the page of the choice and press it."""
    if not any(t["id"] == "hour-on" for t in client.screen()["targets"]):
        client.press("page:next")
        return False
    client.press("hour-on")
    return True
