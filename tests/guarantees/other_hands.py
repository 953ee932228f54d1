"""The launcher's device, with some of its roles in other hands and further apps beside them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from tests.e2e.sandbox_support import HOSTILE as SANDBOX_HOSTILE

from primegap.keyos.core.order import Runtime, find_runtime

HOSTILE: Final = Path(__file__).parent / "hostile"
PACKAGE: Final = "tests.guarantees.hostile"
FIRST_APP: Final = 0xBAD0 << 112
"App ids of further apps count from here."


def app(name: str, entry: str, permissions: Mapping[str, Sequence[str]], number: int) -> str:
    """Return the manifest of a further app."""
    lines = [
        f'appId = "0x{FIRST_APP + number:032x}"',
        f'role = "{name}"',
        f'name = "{name}"',
        f'entry = "{entry}:main"',
        'profile = "app"',
        "storage = true",
        "[permissions]",
        *(f'"{server}" = {json.dumps(list(names))}' for server, names in permissions.items()),
    ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def in_other_hands(
    folder: Path,
    *,
    taken: Mapping[str, str] | None = None,
    apps: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    all_first: bool = False,
    folders: bool = False,
) -> Iterator[None]:
    """Let every device that is started meanwhile run with other code.

    Args:
        folder: for the code; must not exist.
        taken: role -> `module:function` that its process runs instead of its own.
        apps: manifests of further apps.
        config: role -> settings that its process is given.
        all_first: start every process at once.
        folders: give every taken role a folder, to write reports to.
    """
    code = folder / "code"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SANDBOX_HOSTILE, code / "tests/e2e/hostile", ignore=ignore)
    shutil.copytree(HOSTILE, code / "tests/guarantees/hostile", ignore=ignore)
    script = code / "tests/guarantees/hostile/core.py"
    orders = {
        "taken": dict(taken or {}),
        "apps": list(apps),
        "config": dict(config or {}),
        "all_first": all_first,
        "folders": folders,
    }
    script.with_name("orders.json").write_text(json.dumps(orders))

    def with_code(package_root: Path) -> Runtime:
        runtime = find_runtime(package_root)
        return dataclasses.replace(
            runtime,
            python_path=(*runtime.python_path, str(code)),
            read_only=(*runtime.read_only, str(code)),
        )

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        changed = [str(script) if part.endswith("keyos/core/main.py") else part for part in command]
        assert changed != command
        return subprocess.Popen(changed, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("primegap.device.launcher.find_runtime", with_code)
        named = SimpleNamespace(**{**vars(subprocess), "Popen": popen})
        patch.setattr("primegap.device.launcher.subprocess", named)
        yield
