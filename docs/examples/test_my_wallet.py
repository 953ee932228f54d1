"""A whole device in a test suite, started by its command and operated as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from first_start import set_up  # the example above

from primegap.demo.pictures import qr_picture
from primegap.device.client import AutomationClient

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIMEGAP = Path(sys.executable).with_name("primegap")
FOREIGN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AutomationClient]:
    """A development device with a seed, on a port and in a directory of its own."""
    data = tmp_path_factory.mktemp("primegap")
    command = [str(PRIMEGAP), "--data-dir", str(data), "device", "run", "--json"]
    options = ["--development", "--port", "0", "--bluetooth", "none"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        client = AutomationClient(started["url"], started["token"])
        try:
            set_up(client)
            yield client
        finally:
            process.terminate()


def test_the_device_knows_its_own_addresses(device: AutomationClient) -> None:
    device.press("app:bitcoin")
    device.wait("bitcoin")
    device.press("receive")
    shown = device.wait("receive")
    address = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "address")
    device.press("leave")

    for asked, answer in ((address, "address-ours"), (FOREIGN, "address-foreign")):
        device.wait("bitcoin")
        device.press("check")
        device.wait("scanning")
        assert device.scan(qr_picture(f"bitcoin:{asked}")) == "read"
        device.wait(answer)
        device.press("ok")

    device.wait("bitcoin")
    device.press("leave")
    device.wait("home")
