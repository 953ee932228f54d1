"""The tutorial "Your first app in ten minutes", run: from `new` to a screen in a real sandbox."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.device_support import device_by_command

from primegap.device.client import AutomationClient

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
LIMIT_S = 120


@pytest.fixture
def device(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with device_by_command(tmp_path / "data") as running:
        yield running


def environment(tmp_path: Path, url: str) -> dict[str, str]:
    """Every command of the tutorial as a person types it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "PRIMEGAP_DATA_DIR": str(tmp_path / "data"),
        "PRIMEGAP_DEVICE_URL": url,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def set_up(client: AutomationClient) -> None:
    spec = importlib.util.spec_from_file_location("first_start", EXAMPLES / "first_start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.set_up(client)


def approve(client: AutomationClient, screen: str, target: str = "confirm") -> None:
    """Read a confirmation to its end and hold its button."""
    shown = client.wait(screen, timeout_s=LIMIT_S)
    while shown["page"] + 1 < shown["pages"]:
        shown = client.press("page:next")
    client.press(target)


def tile(client: AutomationClient, beginning: str) -> str:
    """Press the tile of the home screen whose id begins so; return the id."""
    shown = client.wait("home")
    while True:
        found = [t["id"] for t in shown["targets"] if t["id"].startswith(beginning)]
        if found:
            client.press(found[0])
            return str(found[0])
        shown = client.press("page:next")


def counted(client: AutomationClient) -> str:
    rows = [i for i in client.wait("counting")["screen"]["items"] if i["type"] == "row"]
    assert rows[0]["label"] == "Cups of tea"
    return str(rows[0]["value"])


def installing(client: AutomationClient, process: subprocess.Popen[str], *screens: str) -> str:
    """Approve what a command asks for on the device; return what it printed."""
    for screen in screens:
        approve(client, screen)
    out, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out + errors
    return out


def start(*command: str, folder: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(400)  # a dozen commands and presses beside whatever else the machine does
@pytest.mark.guarantee("A-8", "F-1", tried="an app installed, used, removed and installed again")
def test_the_first_app_from_an_empty_folder_to_the_screen(
    device: dict[str, Any], tmp_path: Path
) -> None:
    client = AutomationClient(device["url"], device["token"])
    set_up(client)
    env = environment(tmp_path, device["url"])
    primegap = str(Path(sys.executable).parent / "primegap")

    # Developer features are off until the person switches them on.
    refused = subprocess.run(
        [primegap, "app", "list", "--json"], env=env, capture_output=True, text=True, check=False
    )
    assert json.loads(refused.stdout)["error"] == "developer-mode-off"
    tile(client, "apps")
    client.press("developer")
    approve(client, "developer-mode")
    client.wait("apps")
    client.press("back")

    script = start("bash", str(EXAMPLES / "first_app.sh"), folder=tmp_path, env=env)
    out = installing(client, script, "accept-publisher", "install-app")
    assert "Tea Counter 0.1.0" in out
    assert "Jane Doe" in out

    tile(client, "app:app-")
    approve(client, "ask-permission", "always")
    assert counted(client) == "0"
    assert client.screen()["screen"]["app"] == "Tea Counter"
    client.press("count")
    client.press("count")
    assert counted(client) == "2"
    client.press("leave")

    # The app ended, and a new process finds what it stored. Nothing else can read it.
    tile(client, "app:app-")
    assert counted(client) == "2"
    client.press("leave")
    (folder,) = (tmp_path / "data" / "device").glob("app-?*[0-9a-f]")
    stored = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert stored
    assert all(data != b"2" for data in stored)

    # Removed, nothing of it is left; installed again it begins anew and has to ask again.
    client.wait("home")
    removing = start(primegap, "app", "remove", "tea-counter", folder=tmp_path, env=env)
    assert "erased" in installing(client, removing, "remove-app")
    assert not folder.exists()
    bundle = "tea-counter/build/tea-counter-0.1.0.app"
    again = start(primegap, "app", "install", bundle, folder=tmp_path, env=env)
    installing(client, again, "install-app")
    tile(client, "app:app-")
    approve(client, "ask-permission", "always")
    assert counted(client) == "0"
