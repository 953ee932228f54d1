"""A role of the device with its own code, under an import hook that knows what it may import.

Whatever else it imports is written to the journal, where the test reads it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from primegap.keyos.process import Process

HARNESS: Final = ("tests", "__main__", "__mp_main__")


class Watch(importlib.abc.MetaPathFinder):
    """Tells what is not listed."""

    def __init__(self, process: Process, allowed: list[str]) -> None:
        self._process = process
        self._allowed = (*allowed, *HARNESS, *sys.stdlib_module_names)

    def judge(self, name: str) -> None:
        inside = any(name == known or name.startswith(f"{known}.") for known in self._allowed)
        above = any(known.startswith(f"{name}.") for known in self._allowed)
        if not inside and not above:
            self._process.log(f"forbidden import: {name}")

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        del path, target
        self.judge(fullname)


async def main(process: Process) -> None:
    """Judge what is there, then run the role."""
    watch = Watch(process, process.config["imports"])
    for name in list(sys.modules):
        watch.judge(name)
    sys.meta_path.insert(0, watch)
    process.log("imports are watched")
    module, _, function = process.config["entry"].partition(":")
    await getattr(importlib.import_module(module), function)(process)
