"""Manifests: what a process offers and what it may ask for (keyos-model, section 3)."""

from __future__ import annotations

from primegap.keyos.manifest.catalogue import CATALOGUE, Access, Approval, Signature, Subgroup
from primegap.keyos.manifest.schema import (
    Manifest,
    parse_manifest_untrusted,
)
from primegap.keyos.manifest.table import PermissionTable, Row, Verdict

__all__ = [
    "CATALOGUE",
    "Access",
    "Approval",
    "Manifest",
    "PermissionTable",
    "Row",
    "Signature",
    "Subgroup",
    "Verdict",
    "parse_manifest_untrusted",
]
