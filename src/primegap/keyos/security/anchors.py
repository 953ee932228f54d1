"""What the device remembers of the newest state of each app, so that an older file is noticed.

An app that must not be put back to an earlier state stores it, numbered, and then tells the number
and a hash to `os/security`. The file here has a MAC under the device key, and a life of its own:
random bytes made with the seed, so state of an earlier set-up is not taken for a later one's.

Whoever can put back the whole data directory puts this file back too: that takes hardware with a
counter to notice, and is said in the limits of the software vault.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from primegap.files import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ANCHORS: Final = 64  # apps of a device
LIFE_BYTES: Final = 16
DIGEST_BYTES: Final = 32
MAX_NUMBER: Final = (1 << 63) - 1
_MAGIC: Final = b"PGAN\x01"
_LABEL: Final = b"primegap:anchors:v1"
_ITEM: Final = struct.Struct(">16sQ32s")
_MAC_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Anchor:
    """The newest state of one app."""

    number: int = 0
    digest: bytes = bytes(DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Anchors:
    """Of all apps."""

    life: bytes
    "Random bytes made with the seed."
    items: Mapping[bytes, Anchor] = field(default_factory=dict)

    def of(self, app_id: bytes) -> Anchor:
        """Return an app's anchor; the beginning, if it has set none."""
        return self.items.get(app_id, Anchor())

    def setting(self, app_id: bytes, anchor: Anchor) -> Self | None:
        """Return them with an app's anchor moved on; None when that would be no step forward."""
        if not self.of(app_id).number < anchor.number <= MAX_NUMBER:
            return None
        items = {**self.items, app_id: anchor}
        if len(items) > MAX_ANCHORS:
            return None
        return replace(self, items=items)

    def encode(self, device_key: bytes) -> bytes:
        """Return the content of the file."""
        rows = (_ITEM.pack(key, a.number, a.digest) for key, a in self.items.items())
        data = _MAGIC + self.life + b"".join(rows)
        return data + hmac.digest(device_key, _LABEL + data, "sha256")

    @classmethod
    def decode(cls, content: bytes | None, device_key: bytes) -> Self:
        """Read the file.

        Raises:
            StorageError: it is missing or is not what was written.
        """
        data, mac = (content or b"")[:-_MAC_BYTES], (content or b"")[-_MAC_BYTES:]
        head = len(_MAGIC) + LIFE_BYTES
        if (
            not hmac.compare_digest(mac, hmac.digest(device_key, _LABEL + data, "sha256"))
            or len(data) < head
            or (len(data) - head) % _ITEM.size
        ):
            raise StorageError("the record of the apps' states is missing or was altered")
        rows = _ITEM.iter_unpack(data[head:])
        return cls(data[len(_MAGIC) : head], {key: Anchor(n, digest) for key, n, digest in rows})
