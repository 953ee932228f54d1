"""What the link process keeps: its identity and the paired companion, in one sealed file.

The identity is made on the device at the first unlock and never leaves it; the file opens only with
the app seed that `os/security` gives this process while the device is unlocked (L-5).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.files import StorageError
from primegap.keyos.storage import UnreadableError
from primegap.quantumlink import NATIVE, Identity, PeerBundle
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.secret import SecretBytes

if TYPE_CHECKING:
    from primegap.keyos.storage import SealedFile

FORMAT: Final = 1
PAIRING_BYTES: Final = 16
DEVICE_NAME: Final = "primegap"


@dataclass(slots=True)
class LinkStore:
    """Identity and peer."""

    file: SealedFile
    identity: Identity = field(repr=False)
    peer: PeerBundle | None = None
    "The companion whose pairing the person confirmed."
    pairing: bytes = b""
    "Drawn for each pairing, 16 bytes; empty without one."

    @classmethod
    def load(cls, file: SealedFile) -> LinkStore:
        """Read the file; make an identity when there is none.

        Raises:
            UnreadableError: the file is damaged or belongs to another seed.
            StorageError: it is of another version, or cannot be read or written.
        """
        data = file.read()
        if data is None:
            store = cls(file, Identity.generate(NATIVE, DEVICE_NAME, os.urandom))
            store._save(None, b"")
            return store
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["format"] != FORMAT:
                raise StorageError("the link's state is of another version")
            identity = Identity.from_stored(SecretBytes(bytes.fromhex(stored["identity"])))
            peer, pairing = None, b""
            if stored["peer"]:
                peer = PeerBundle.parse_untrusted(bytes.fromhex(stored["peer"]), NATIVE)
                pairing = bytes.fromhex(stored["pairing"])
        except (ValueError, KeyError, TypeError, QuantumLinkError) as error:
            raise UnreadableError("the link's state is damaged") from error
        return cls(file, identity, peer, pairing)

    def pair(self, peer: PeerBundle) -> None:
        """Keep a companion; it counts once it is stored."""
        pairing = os.urandom(PAIRING_BYTES)
        self._save(peer, pairing)
        self.peer, self.pairing = peer, pairing

    def forget(self) -> None:
        """Forget the companion at once, and on disk.

        Raises:
            StorageError: after a restart it would be there again.
        """
        if self.peer is not None:
            self.peer, self.pairing = None, b""
            self._save(None, b"")

    def _save(self, peer: PeerBundle | None, pairing: bytes) -> None:
        content = {
            "format": FORMAT,
            "identity": self.identity.to_stored().reveal().hex(),
            "peer": "" if peer is None else peer.encode().hex(),
            "pairing": pairing.hex(),
        }
        self.file.write(json.dumps(content).encode())
