"""Starts a small device with hostile roles: the real Supervisor, the real sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")

HOSTILE: Final = Path(__file__).parent / "hostile"
ORDINARY_UID: Final = 47113  # nobody's: the device "as an ordinary user" on a machine run by root
DEADLINE_S: Final = 20.0
HOSTILE_ENVIRONMENT: Final = {
    "PRIMEGAP_CANARY": "canary of the environment",
    "PYTHONUSERBASE": "/nowhere",
    "PYTHONINSPECT": "",
    "LD_LIBRARY_PATH": "/nowhere",
    "TMPDIR": tempfile.gettempdir(),
}
"Set for the device; none of it may reach a role (H-4)."


@dataclass(frozen=True, kw_only=True)
class Role:
    """A process of the test device; `module` is one of `tests/e2e/hostile`."""

    name: str
    module: str
    profile: str = "app"
    storage: bool = True
    system: bool = False
    critical: bool = False
    servers: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)
    "Message name -> id, or what stands in a manifest (TOML)."
    permissions: dict[str, list[str]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    page: bool = False
    "Whether the role gets a listening socket, as the panel does."

    def manifest(self, number: int) -> str:
        lines = [
            f'appId = "0x{number:032x}"',
            f'role = "{self.name}"',
            f'name = "{self.name}"',
            f'entry = "tests.e2e.hostile.{self.module}:main"',
            f'profile = "{self.profile}"',
            f"storage = {str(self.storage).lower()}",
            f"system = {str(self.system).lower()}",
            f"critical = {str(self.critical).lower()}",
            "first = true",
        ]
        for server, messages in self.servers.items():
            lines.append(f'[servers."{server}"]')
            lines += [f"{name} = {message}" for name, message in messages.items()]
        if self.permissions:
            lines.append("[permissions]")
            lines += [
                f'"{server}" = {json.dumps(names)}' for server, names in self.permissions.items()
            ]
        return "\n".join(lines) + "\n"


class Device:
    """A running test device."""

    def __init__(
        self,
        folder: Path,
        roles: list[Role],
        uid: int | None,
        without: tuple[int, int | None] | None,
        *,
        open_router: bool = False,
        simulator: bool = False,
    ) -> None:
        self._folder = folder
        self.data = folder / "data"
        self.uid = uid
        self.roles = roles
        self._without = without
        self._open_router = open_router
        self._simulator = simulator
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        code = self._folder / "code"
        target = code / "tests/e2e/hostile"
        shutil.copytree(HOSTILE, target, ignore=shutil.ignore_patterns("__pycache__"))
        self.data.mkdir(mode=0o700)
        order = self._folder / "order.json"
        content = {
            "uid": self.uid,
            "code": str(code),
            "data": str(self.data),
            "without": self._without,
            "open_router": self._open_router,
            "simulator": self._simulator,
            "manifests": [role.manifest(number) for number, role in enumerate(self.roles, 1)],
            "supplies": {
                role.name: {"config": role.config, "page": role.page} for role in self.roles
            },
        }
        order.write_text(json.dumps(content))
        self._folder.chmod(0o755)
        if self.uid is not None:
            for path in [self._folder, self.data, *code.rglob("*")]:
                os.chown(path, self.uid, self.uid)
        with (
            (self._folder / "events").open("wb") as events,
            (self._folder / "journal").open("wb") as journal,
        ):
            self.process = subprocess.Popen(
                [sys.executable, "-B", str(target / "run_device.py"), str(order)],
                stdin=subprocess.DEVNULL,
                stdout=events,
                stderr=journal,
                start_new_session=True,
                env={**os.environ, **HOSTILE_ENVIRONMENT},
            )

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    # -- what it says ---------------------------------------------------------------------------

    @property
    def journal(self) -> str:
        return (self._folder / "journal").read_text(errors="replace")

    def events(self, name: str, role: str | None = None) -> list[dict[str, Any]]:
        lines = (self._folder / "events").read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [e for e in found if e["event"] == name and (role is None or e["role"] == role)]

    def wait_for(self, what: str, condition: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
        end = time.monotonic() + deadline_s
        while True:
            result = condition()
            if result:
                return result
            if time.monotonic() > end or self.process.poll() is not None:
                self._give_up(what)
            time.sleep(0.01)

    def _give_up(self, what: str) -> None:
        state = self.process.poll()
        text = f"no {what}; device status {state}\n{self.journal[-4000:]}"
        if "Allow unprivileged user namespaces" in text:
            pytest.skip("this system does not allow unprivileged user namespaces")
        pytest.fail(text)

    def report(self, role: str, name: str = "report", *, lives: int = 1) -> dict[str, Any]:
        """Return a role's report; fail when it has ended `lives` times without one."""
        path = self.data / role / f"{name}.json"
        self.wait_for(
            f"{name} of {role}",
            lambda: path.exists() or len(self.events("process-ended", role)) >= lives,
        )
        if not path.exists():
            self._give_up(f"{name} of {role}, which ended")
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def tell(self, role: str, name: str) -> None:
        """Put a file into the folder of a role that waits for it (`wait_for_file`)."""
        (self.data / role / name).touch()

    # -- its processes, seen from the host -------------------------------------------------------

    @property
    def core(self) -> int:
        return self.process.pid

    def outer(self, role: str) -> int:
        """Process that core started for a role: it waits for the confined one."""
        return int(self.events("process-started", role)[-1]["pid"])

    def pid(self, role: str) -> int:
        """The confined process of a role."""
        (pid,) = children(self.outer(role))
        return pid


def children(pid: int) -> list[int]:
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in tasks.read_text().split()]
    return found


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status as a table."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def is_alive(pid: int) -> bool:
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False


@contextlib.contextmanager
def running_device(
    *roles: Role,
    mode: str,
    without: tuple[int, int | None] | None = None,
    open_router: bool = False,
    simulator: bool = False,
) -> Iterator[Device]:
    """Run a device `mode="root"` (a user id for each role) or `mode="user"` (user namespaces).

    With `open_router` the router's own check lets everything pass. `without` is a system call
    (number, and first argument or None) that its kernel shall not have.
    """
    if mode == "root" and os.getuid() != 0:
        pytest.skip("needs root: a user id of its own for each role")
    uid = ORDINARY_UID if mode == "user" and os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="primegap-sandbox-") as folder:
        device = Device(
            Path(folder), list(roles), uid, without, open_router=open_router, simulator=simulator
        )
        device.start()
        try:
            yield device
        finally:
            device.stop()


MODES: Final = ("root", "user")
HERE: Final = "root" if os.getuid() == 0 else "user"
"The mode for tests whose subject does not depend on it."
