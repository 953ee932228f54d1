"""Kinds of devices: what a device is made of, before anything of it runs. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from primegap.keyos.manifest.schema import Manifest

PRIME: Final = "prime"
"Everything: link, companion, apps that can be installed."
CORE: Final = "core"
"A signer by codes and card: no radio, no link, one app."
MODELS: Final = (PRIME, CORE)
_ROLES: Final = {
    CORE: frozenset({"core", "security", "storage", "ui", "panel", "camera", "airlock", "bitcoin"})
}


def manifests_of(model: str, manifests: list[Manifest]) -> list[Manifest]:
    """Return the parts that a device of a kind has, without rights towards those it has not."""
    roles = _ROLES.get(model)
    if roles is None:
        return manifests
    kept = [manifest for manifest in manifests if manifest.role in roles]
    servers = {server for manifest in kept for server in manifest.servers}
    return [
        dataclasses.replace(
            manifest,
            permissions={
                server: names for server, names in manifest.permissions.items() if server in servers
            },
        )
        for manifest in kept
    ]
