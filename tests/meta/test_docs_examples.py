"""The examples of the documentation, run against a real development device."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.device_support import device_by_command

from primegap.airgap.qr import scan_picture

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
LIMIT_S = 60


@pytest.fixture
def device(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What `primegap device run --json` prints about a device that runs meanwhile."""
    with device_by_command(tmp_path) as running:
        yield running


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_scripts_operate_a_device(device: dict[str, str], tmp_path: Path) -> None:
    url, token = device["url"], device["token"]
    if shutil.which("curl") is not None:
        script = str(EXAMPLES / "automation.sh")
        lines = run("bash", script, str(tmp_path), URL=url, TOKEN=token).splitlines()
        screens = [json.loads(line).get("screen", {}).get("id") for line in lines if line]
        assert screens == [
            "welcome",
            "welcome",
            "choose-pin",
            "choose-pin",
            None,
            None,
            "welcome",
            None,
        ]
        assert json.loads(lines[-1]) == {"verdict": "idle"}
        assert scan_picture((tmp_path / "screen.png").read_bytes()) == []

    watch = [sys.executable, str(EXAMPLES / "watch_events.py"), url, token, "home"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "welcome\n"  # it follows from here on
        words = run(sys.executable, str(EXAMPLES / "first_start.py"), url, token).split()
        seen = watching.communicate(timeout=LIMIT_S)[0].split()
    assert len(words) == 12
    assert next(name for name in seen if name != "working") == "choose-pin"
    assert seen[-1] == "home"
    assert {"seed-length", "seed-words", "quiz"} <= set(seen)


def test_test_suite_starts_a_device_of_its_own() -> None:
    """The example is run as in a project of somebody else: without our settings of pytest."""
    example = str(EXAMPLES / "test_my_wallet.py")
    options = ["-c", os.devnull, "--rootdir", str(EXAMPLES), "-p", "no:cacheprovider"]
    assert "1 passed" in run(sys.executable, "-m", "pytest", "-q", *options, example)
