"""Core with other code behind some of its roles: run by the real launcher in place of `core.main`.

Everything is the device's own (launcher, settings, supervisor, router, sandbox) but what
`orders.json` beside this file says: which roles run whose code, and which apps there are besides.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Change the settings and the manifests as ordered, then run core."""
    descriptor = int(sys.argv[1])
    settings: dict[str, Any] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    sys.path += settings["runtime"]["python_path"]
    orders: dict[str, Any] = json.loads(Path(__file__).with_name("orders.json").read_text())
    for role, config in orders["config"].items():
        supply = settings["supplies"].setdefault(role, {"config": {}, "fds": {}, "devices": []})
        supply["config"].update(config)
    changed = os.memfd_create("settings")
    os.write(changed, json.dumps(settings).encode())
    sys.argv[1] = str(changed)

    from primegap.keyos.core import builtin
    from primegap.keyos.core.main import main as run_core
    from primegap.keyos.manifest import Manifest, parse_manifest_untrusted

    built_in = builtin.builtin_manifests

    def manifests(model: str = "prime") -> list[Manifest]:
        found = [
            dataclasses.replace(
                manifest,
                entry=orders["taken"].get(manifest.role, manifest.entry),
                storage=manifest.storage
                or (orders["folders"] and manifest.role in orders["taken"]),
                first=manifest.first or orders["all_first"],
            )
            for manifest in built_in(model)
        ]
        return found + [parse_manifest_untrusted(text.encode()) for text in orders["apps"]]

    builtin.builtin_manifests = manifests
    run_core()


if __name__ == "__main__":
    main()
