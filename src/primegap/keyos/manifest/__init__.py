"""Manifests: what a process offers and what it may ask for (keyos-model, section 3)."""

from __future__ import annotations

from primegap.keyos.manifest.schema import Manifest, parse_manifest_untrusted
from primegap.keyos.manifest.table import PermissionTable

__all__ = ["Manifest", "PermissionTable", "parse_manifest_untrusted"]
