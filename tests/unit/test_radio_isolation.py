"""The chip is a stranger: it must not be able to know what its packets mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOREIGN = ("quantumlink", "btp", "keyos", "bitcoin", "airgap", "companion", "device", "apps")
PROBE = """
import sys
import primegap.radio.chip_process
import primegap.radio.gatt
print(*sorted(name for name in sys.modules if name.startswith("primegap")))
"""


def loaded_modules(probe: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.guarantee("L-1", "H-7", tried="everything that the chip's process imports")
def test_the_chip_loads_nothing_of_the_device_or_of_the_secure_link() -> None:
    loaded = loaded_modules(PROBE)
    assert "primegap.radio.gatt" in loaded
    assert {name.split(".")[1] for name in loaded if "." in name} == {"cosign", "radio"}
    assert not {f"primegap.{room}" for room in FOREIGN} & loaded
    ours = {name.removeprefix("primegap.radio.") for name in loaded if name.count(".") == 2}
    assert not {"host", "host_scheduler", "central", "air", "air_controller"} & ours


@pytest.mark.parametrize(
    "module", ["primegap.radio", "primegap.radio.host", "primegap.radio.central", "primegap.btp"]
)
def test_the_bluetooth_stack_is_loaded_only_when_it_is_used(module: str) -> None:
    probe = f"import sys, {module}; print(*[n for n in sys.modules if n.startswith('bumble')])"
    assert loaded_modules(probe) == set()
