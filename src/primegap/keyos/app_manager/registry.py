"""What is installed and who is accepted, pure: one value, replaced as a whole.

It is stored sealed under the app manager's own key, in one step. Bundles lie beside it under the
name of their hash; a file that the registry does not name means nothing. So an installation is
complete with the one write of the registry, and not there before (A-4).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import cbor2

from primegap.keyos.messages import NO_TAGS
from primegap.keyos.storage.sealed import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_APPS: Final = 64  # a home screen of eight pages; a few milliseconds each at a start
MAX_PUBLISHERS: Final = 64
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledApp:
    """One installed app, as its bundle said when it was installed."""

    app_id: bytes
    sha256: bytes
    "Of the bundle: its name in the store."
    fingerprint: bytes
    "Of the publisher."
    identifier: str
    name: str
    description: str
    version: str
    publisher: str
    subgroups: tuple[str, ...]
    "Of permissions that the person was told about."

    @property
    def role(self) -> str:
        """Name of its process and of its folder."""
        return role_of(self.app_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Everything the app manager remembers."""

    apps: Mapping[bytes, InstalledApp] = field(default_factory=dict)
    "By app id."
    publishers: Mapping[bytes, bytes] = field(default_factory=dict)
    "Fingerprint -> certificate (DER) with the latest end."
    erasing: frozenset[bytes] = frozenset()
    "Apps that are removed and whose data may not be gone yet."
    developer: bool = False
    last_seen_s: int = 0
    "Latest time ever seen: a clock that is set back changes nothing (A-7)."

    def with_app(self, app: InstalledApp, certificate: bytes) -> Registry:
        """Return it with an app installed or updated, its publisher accepted."""
        return replace(
            self,
            apps={**self.apps, app.app_id: app},
            publishers={**self.publishers, app.fingerprint: certificate},
        )

    def removing(self, app_id: bytes) -> Registry:
        """Return it without an app, whose data is to be erased."""
        apps = {known: app for known, app in self.apps.items() if known != app_id}
        return replace(self, apps=apps, erasing=self.erasing | {app_id})

    def erased(self, app_id: bytes) -> Registry:
        """Return it with nothing left of an app."""
        return replace(self, erasing=self.erasing - {app_id})

    def without_publisher(self, fingerprint: bytes) -> Registry:
        """Return it with a publisher no longer accepted; its apps stay and do not start."""
        kept = {known: der for known, der in self.publishers.items() if known != fingerprint}
        return replace(self, publishers=kept)

    def with_developer(self, *, on: bool) -> Registry:
        """Return it with developer mode on or off."""
        return replace(self, developer=on)

    def seen(self, now_s: float) -> Registry:
        """Return it with the time of now, if that is later than any before."""
        return replace(self, last_seen_s=max(self.last_seen_s, int(now_s)))

    def encode(self) -> bytes:
        """Return what is stored."""
        apps = [
            [
                app.app_id,
                app.sha256,
                app.fingerprint,
                app.identifier,
                app.name,
                app.description,
                app.version,
                app.publisher,
                list(app.subgroups),
            ]
            for app in self.apps.values()
        ]
        publishers = [[fingerprint, der] for fingerprint, der in self.publishers.items()]
        plain = [_FORMAT, apps, publishers, sorted(self.erasing), self.developer, self.last_seen_s]
        return cbor2.dumps(plain)

    @classmethod
    def decode(cls, data: bytes) -> Registry:
        """Return the registry in these bytes, which were authenticated.

        Raises:
            UnreadableError: they are not a registry.
        """
        try:
            version, apps, publishers, erasing, developer, last_seen_s = cbor2.loads(
                data, semantic_decoders=NO_TAGS
            )
            if version != _FORMAT or type(developer) is not bool or type(last_seen_s) is not int:
                raise UnreadableError("the registry of apps is of another version")
            found = [_read_app(row) for row in apps]
            return cls(
                apps={app.app_id: app for app in found},
                publishers={_of(bytes, key): _of(bytes, der) for key, der in publishers},
                erasing=frozenset(_of(bytes, app_id) for app_id in erasing),
                developer=developer,
                last_seen_s=last_seen_s,
            )
        except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
            raise UnreadableError("the registry of apps makes no sense") from error


def role_of(app_id: bytes) -> str:
    """Return the name of an installed app's process and folder: 80 bits of its id."""
    return f"app-{app_id.hex()[:20]}"


def _read_app(row: Any) -> InstalledApp:
    app_id, sha256, fingerprint, identifier, name, description, version, publisher, subgroups = row
    return InstalledApp(
        app_id=_of(bytes, app_id),
        sha256=_of(bytes, sha256),
        fingerprint=_of(bytes, fingerprint),
        identifier=_of(str, identifier),
        name=_of(str, name),
        description=_of(str, description),
        version=_of(str, version),
        publisher=_of(str, publisher),
        subgroups=tuple(_of(str, subgroup) for subgroup in subgroups),
    )


def _of(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError("a field has another type")
    return value
