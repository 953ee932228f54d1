"""Build hook: copy htmx out of the django-htmx wheel into the web room.

Nothing foreign is kept in the tree (design, section 4): the files come from the
locked build requirement each time the package is built or installed.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDORED = ("htmx-4.min.js", "ext/hx-ws-4.min.js")


class HtmxBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Places htmx and its WebSocket extension under `primegap/web/static/vendor`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Copy the files before anything is packed."""
        spec = importlib.util.find_spec("django_htmx")
        if spec is None or spec.origin is None:
            raise RuntimeError("django-htmx is a build requirement: install the lock file first")
        source = Path(spec.origin).parent / "static" / "django_htmx"
        target = Path(self.root) / "src" / "primegap" / "web" / "static" / "vendor"
        target.mkdir(parents=True, exist_ok=True)
        for name in VENDORED:
            shutil.copyfile(source / name, target / Path(name).name)
