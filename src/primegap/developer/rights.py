"""What a manifest comes to on a device: read, judged against all others, as a table."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

from primegap.developer.errors import ProjectError
from primegap.developer.project import read_project
from primegap.files import StorageError, read_file
from primegap.keyos.app_manager.policy import core_manifest, judge_permissions
from primegap.keyos.bundle.manifest import (
    check_description,
    described_manifest,
    parse_json_untrusted,
)
from primegap.keyos.core.builtin import builtin_manifests, builtin_table
from primegap.keyos.errors import ManifestError
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.keyos.bundle import BundleManifest
    from primegap.keyos.manifest import Manifest, Row


def read_rights(path: Path) -> list[Row]:
    """Return every message that the process of a manifest may send.

    Args:
        path: `app.toml` of an app, `manifest.json` of a bundle, or `manifest.toml` of a built-in
            process, which is told from the others by its `role`.

    Raises:
        ProjectError: the file cannot be read or is none of these.
        BundleManifestError, ManifestError, AppError: a device would refuse it, and why.
    """
    table, text = _read(path)
    if "role" in table:
        return _builtin_rights(parse_manifest_untrusted(text))
    if path.suffix == ".toml":
        description = read_project(path.parent).description
        check_description(description)
        table = parse_json_untrusted(json.dumps(description).encode())  # as a bundle carries it
    return app_rights(described_manifest(table))


def app_rights(manifest: BundleManifest) -> list[Row]:
    """Return every message that an app may send on a device without other apps.

    Raises:
        AppError: a device would refuse it, and why.
    """
    return judge_permissions(core_manifest(manifest), builtin_manifests(), ())[0]


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        text = read_file(path)
        if text is None:
            raise ProjectError(f"there is no {path}")
        if path.suffix == ".json":
            return parse_json_untrusted(text), text
        return tomllib.loads(text.decode()), text
    except (StorageError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{path}: {error}") from error


def _builtin_rights(manifest: Manifest) -> list[Row]:
    others = [m for m in builtin_manifests() if m.role != manifest.role]
    table = PermissionTable([*others, manifest])
    return [row for row in table.effective() if row.role == manifest.role]


def all_rights(paths: tuple[Path, ...]) -> list[Row]:
    """Return the effective table of a device, with apps as if they were installed on it.

    Raises:
        ManifestError: two of the apps are the same.
    """
    rows = builtin_table().effective()
    for path in paths:
        found = read_rights(path)
        if {row.role for row in found} & {row.role for row in rows}:
            raise ManifestError(f"{path}: its app is in the table already")
        rows += found
    return rows
