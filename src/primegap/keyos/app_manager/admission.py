"""A manifest in the words in which core takes it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primegap.keyos.api.core import AdmitApp, NamedMessages, OfferedMessage, OfferedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from primegap.keyos.manifest import Manifest


def admission(manifest: Manifest) -> AdmitApp:
    """Return the request that admits an installed app."""
    return AdmitApp(
        app_id=manifest.app_id,
        role=manifest.role,
        name=manifest.name,
        entry=manifest.entry,
        storage=manifest.storage,
        servers=tuple(
            OfferedServer(server, tuple(_offered(manifest, server))) for server in manifest.servers
        ),
        permissions=tuple(
            NamedMessages(server, names) for server, names in manifest.permissions.items()
        ),
    )


def _offered(manifest: Manifest, server: str) -> Iterator[OfferedMessage]:
    for name, number in manifest.servers[server].items():
        access = manifest.access[server][name]
        yield OfferedMessage(
            name, number, access.group, access.signature.value, access.approval.value
        )
