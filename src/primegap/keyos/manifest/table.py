"""The effective permission table: all manifests of the device, checked against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primegap.keyos.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.keyos.manifest.schema import Manifest


class PermissionTable:
    """Who owns which server and who may send which message ids to it. Empty means deny (P-1)."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        """Check and resolve; order does not matter: servers first, permissions second.

        Raises:
            ManifestError: a server, role or app id is claimed twice, or a permission names a
                server or message that does not exist.
        """
        self.manifests: dict[str, Manifest] = {}
        self._owner: dict[str, str] = {}
        self._messages: dict[str, dict[str, int]] = {}
        app_ids = set()
        for manifest in manifests:
            if manifest.role in self.manifests or manifest.app_id in app_ids:
                raise ManifestError(f"{manifest.role}: role or app id is taken")
            self.manifests[manifest.role] = manifest
            app_ids.add(manifest.app_id)
            for server, messages in manifest.servers.items():
                if server in self._owner:
                    raise ManifestError(f"{manifest.role}: {server} belongs to another process")
                self._owner[server] = manifest.role
                self._messages[server] = messages
        self._allowed: dict[tuple[str, str], frozenset[int]] = {}
        for manifest in self.manifests.values():
            for server, names in manifest.permissions.items():
                known = self._messages.get(server)
                if known is None:
                    raise ManifestError(f"{manifest.role}: no server {server}")
                missing = [name for name in names if name not in known]
                if missing:
                    raise ManifestError(f"{manifest.role}: {server} has no message {missing[0]}")
                self._allowed[manifest.role, server] = frozenset(known[name] for name in names)

    def owner(self, server: str) -> str | None:
        """Return the role that offers a server."""
        return self._owner.get(server)

    def may_connect(self, role: str, server: str) -> bool:
        """Whether a role's manifest names the server."""
        return (role, server) in self._allowed

    def allows(self, role: str, server: str, message_id: int) -> bool:
        """Whether a role may send a message id to a server."""
        return message_id in self._allowed.get((role, server), frozenset())

    def rows(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return (role, server, message names) for printing and for tests."""
        return [
            (manifest.role, server, names)
            for manifest in self.manifests.values()
            for server, names in sorted(manifest.permissions.items())
        ]
