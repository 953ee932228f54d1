"""The effective permission table: all manifests of the device, checked against each other."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from primegap.keyos.errors import ManifestError
from primegap.keyos.frame import APP_SERVERS, DEFAULT_OBJECT_BYTES, OPEN_CHANNEL, Trust
from primegap.keyos.manifest.catalogue import Access, Approval, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from primegap.keyos.manifest.schema import Manifest


class Verdict(enum.Enum):
    """What becomes of a message."""

    ALLOW = "allow"
    ASK = "ask"
    "It passes once the person has granted its subgroup to the app."
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the effective table: one message that one process may send."""

    role: str
    server: str
    message: str
    message_id: int
    verdict: Verdict
    group: str | None


class PermissionTable:
    """Who owns which server and who may send which message ids to it. Empty means deny (P-1)."""

    def __init__(
        self, manifests: Iterable[Manifest], *, installed: Iterable[Manifest] = ()
    ) -> None:
        """Check and resolve; order does not matter: servers first, permissions second.

        Args:
            manifests: of the image's own parts, which are signed with it: taken at their word.
            installed: of apps that were added later: each message must be one that such an app can
                obtain (P-5, P-7).

        Raises:
            ManifestError: a server, role or app id is claimed twice, a permission names a server or
                message that does not exist, or an installed app names one that it cannot obtain.
        """
        self.manifests: dict[str, Manifest] = {}
        self._trust: dict[str, Trust] = {}
        self._owner: dict[str, str] = {}
        self._allowed: dict[tuple[str, str], dict[int, Verdict]] = {}
        parts = [(m, Trust.SYSTEM if m.system else Trust.BUILT_IN_APP) for m in manifests]
        parts += [(m, Trust.INSTALLED_APP) for m in installed]
        for manifest, trust in parts:
            self._claim(manifest, trust)
        for manifest, _ in parts:
            self._resolve(manifest)

    def install(self, manifest: Manifest) -> None:
        """Add an installed app; nothing changes when it is refused.

        Raises:
            ManifestError: as for the constructor.
        """
        self._claim(manifest, Trust.INSTALLED_APP)
        try:
            self._resolve(manifest)
        except ManifestError:
            self._forget(manifest.role)
            raise

    def remove(self, role: str) -> None:
        """Take an installed app away.

        Raises:
            ManifestError: the role is not an installed app, or another manifest names its server.
        """
        if self._trust.get(role) is not Trust.INSTALLED_APP:
            raise ManifestError(f"{role}: not an installed app")
        users = [r for r, s in self._allowed if r != role and self._owner.get(s) == role]
        if users:
            raise ManifestError(f"{role}: its server is used by {users[0]}")
        self._forget(role)

    def _claim(self, manifest: Manifest, trust: Trust) -> None:
        """Note role, app id and servers; all or nothing."""
        role = manifest.role
        if role in self.manifests or any(
            m.app_id == manifest.app_id for m in self.manifests.values()
        ):
            raise ManifestError(f"{role}: role or app id is taken")
        for server in manifest.servers:
            if server in self._owner:
                raise ManifestError(f"{role}: {server} belongs to another process")
            if trust is Trust.INSTALLED_APP and not server.startswith(APP_SERVERS):
                raise ManifestError(f"{role}: {server} is not a name for the server of an app")
        if trust is Trust.INSTALLED_APP and (manifest.system or manifest.critical):
            raise ManifestError(f"{role}: an installed app is no part of the system")
        self.manifests[role] = manifest
        self._trust[role] = trust
        self._owner.update(dict.fromkeys(manifest.servers, role))

    def _resolve(self, manifest: Manifest) -> None:
        allowed = {}
        for server, names in manifest.permissions.items():
            owner = self._owner.get(server)
            if owner is None:
                raise ManifestError(f"{manifest.role}: no server {server}")
            known = self.manifests[owner].servers[server]
            verdicts = {}
            for name in names:
                if name not in known:
                    raise ManifestError(f"{manifest.role}: {server} has no message {name}")
                verdicts[known[name]] = self._verdict(manifest.role, server, name)
            if verdicts and server.startswith(APP_SERVERS):
                verdicts[OPEN_CHANNEL] = Verdict.ALLOW
            allowed[manifest.role, server] = verdicts
        self._allowed.update(allowed)

    def _verdict(self, role: str, server: str, name: str) -> Verdict:
        """Return what a declared message takes.

        Raises:
            ManifestError: an installed app cannot obtain it.
        """
        if self._trust[role] is not Trust.INSTALLED_APP:
            return Verdict.ALLOW
        access = self.access(server, name)
        if access.signature is Signature.FOUNDATION:
            raise ManifestError(f"{role}: {server} {name} is for built-in parts only")
        if access.approval is Approval.NOT_USER_GRANTABLE:
            raise ManifestError(f"{role}: {server} {name} cannot be granted")
        return Verdict.ALLOW if access.approval is Approval.AUTO_ALLOW else Verdict.ASK

    def _forget(self, role: str) -> None:
        manifest = self.manifests.pop(role)
        del self._trust[role]
        for server in manifest.servers:
            del self._owner[server]
        for key in [key for key in self._allowed if key[0] == role]:
            del self._allowed[key]

    # -- questions ------------------------------------------------------------------------------

    def trust(self, role: str) -> Trust:
        """Return the trust class of a role."""
        return self._trust[role]

    def owner(self, server: str) -> str | None:
        """Return the role that offers a server."""
        return self._owner.get(server)

    def access(self, server: str, name: str) -> Access:
        """Return what the owner of a server says about one of its messages."""
        return self.manifests[self._owner[server]].access[server][name]

    def subgroup(self, server: str, message_id: int) -> str | None:
        """Return the subgroup of a message; None when it has none."""
        owner = self._owner.get(server)
        if owner is None:
            return None
        manifest = self.manifests[owner]
        for name, number in manifest.servers[server].items():
            if number == message_id:
                return manifest.access[server][name].group
        return None

    def may_connect(self, role: str, server: str) -> bool:
        """Whether a role's manifest names the server."""
        return (role, server) in self._allowed

    def judge(self, role: str, server: str, message_id: int) -> Verdict:
        """Return what becomes of a message id that a role sends to a server."""
        return self._allowed.get((role, server), {}).get(message_id, Verdict.DENY)

    def allows(self, role: str, server: str, message_id: int) -> bool:
        """Whether a role may send a message id to a server without anybody being asked."""
        return self.judge(role, server, message_id) is Verdict.ALLOW

    def declared(self, role: str, server: str) -> frozenset[int]:
        """Return every message id that can ever pass from a role to a server."""
        return frozenset(self._allowed.get((role, server), {}))

    def role_of(self, app_id: bytes) -> str | None:
        """Return the role with an app id."""
        return next((m.role for m in self.manifests.values() if m.app_id == app_id), None)

    def offered(self, role: str) -> frozenset[int]:
        """Return every message id that a role's servers can get."""
        found = set()
        for server, messages in self.manifests[role].servers.items():
            found |= set(messages.values())
            if server.startswith(APP_SERVERS):
                found.add(OPEN_CHANNEL)
        return frozenset(found)

    def object_limit(self, server: str, message_id: int) -> int:
        """Return how many bytes a memory object with this message, or its answer, may have."""
        owner = self._owner.get(server)
        objects = {} if owner is None else self.manifests[owner].objects
        return objects.get((server, message_id), DEFAULT_OBJECT_BYTES)

    def rows(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return (role, server, message names) for printing and for tests."""
        return [
            (manifest.role, server, names)
            for manifest in self.manifests.values()
            for server, names in sorted(manifest.permissions.items())
        ]

    def effective(self) -> list[Row]:
        """Return every message that can pass, one a row, in the order of roles and servers."""
        found = []
        for role, server, names in self.rows():
            owner = self.manifests[self._owner[server]]
            for name in names:
                number = owner.servers[server][name]
                found.append(
                    Row(
                        role,
                        server,
                        name,
                        number,
                        self.judge(role, server, number),
                        owner.access[server][name].group,
                    )
                )
        return found
