"""The manifests that ship with the device: they stand beside the code of each process."""

from __future__ import annotations

from pathlib import Path

import primegap
from primegap.keyos.manifest import Manifest, PermissionTable, parse_manifest_untrusted

PACKAGE: Path = Path(primegap.__file__).parent
_FOLDERS = ("keyos/*", "apps/*", "device/panel", "radio")


def builtin_manifests() -> list[Manifest]:
    """Read every built-in manifest."""
    paths = sorted(path for folder in _FOLDERS for path in PACKAGE.glob(f"{folder}/manifest.toml"))
    return [parse_manifest_untrusted(path.read_bytes()) for path in paths]


def builtin_table() -> PermissionTable:
    """Return the effective permission table of the built-in processes."""
    return PermissionTable(builtin_manifests())
