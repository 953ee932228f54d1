"""The manifests that ship with the device: they stand beside the code of each process."""

from __future__ import annotations

from pathlib import Path

import primegap
from primegap.keyos.manifest import Manifest, PermissionTable, parse_manifest_untrusted
from primegap.keyos.manifest.models import PRIME, manifests_of

PACKAGE: Path = Path(primegap.__file__).parent
_FOLDERS = ("keyos/*", "apps/*", "device/panel", "radio")


def builtin_manifests(model: str = PRIME) -> list[Manifest]:
    """Read the manifests of every built-in part of a kind of device."""
    paths = sorted(path for folder in _FOLDERS for path in PACKAGE.glob(f"{folder}/manifest.toml"))
    return manifests_of(model, [parse_manifest_untrusted(path.read_bytes()) for path in paths])


def builtin_table(model: str = PRIME) -> PermissionTable:
    """Return the effective permission table of the built-in processes."""
    return PermissionTable(builtin_manifests(model))
