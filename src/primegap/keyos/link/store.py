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
from primegap.quantumlink import NATIVE, Identity, PeerBundle
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.secret import SecretBytes

if TYPE_CHECKING:
    from primegap.keyos.storage import SealedFile

FORMAT: Final = 1
DEVICE_NAME: Final = "primegap"


@dataclass(slots=True)
class LinkStore:
    """Identity and peer."""

    file: SealedFile
    identity: Identity = field(repr=False)
    peer: PeerBundle | None = None
    "The companion whose pairing the person confirmed."

    @classmethod
    def load(cls, file: SealedFile) -> LinkStore:
        """Read the file; make an identity when there is none.

        Raises:
            StorageError: the file is damaged or cannot be written.
        """
        data = file.read()
        if data is None:
            store = cls(file, Identity.generate(NATIVE, DEVICE_NAME, os.urandom))
            store.save()
            return store
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["format"] != FORMAT:
                raise StorageError("the link's state is of another version")
            identity = Identity.from_stored(SecretBytes(bytes.fromhex(stored["identity"])))
            peer = None
            if stored["peer"]:
                peer = PeerBundle.parse_untrusted(bytes.fromhex(stored["peer"]), NATIVE)
        except (ValueError, KeyError, TypeError, QuantumLinkError) as error:
            raise StorageError("the link's state is damaged") from error
        return cls(file, identity, peer)

    def save(self) -> None:
        """Write the file in one step."""
        content = {
            "format": FORMAT,
            "identity": self.identity.to_stored().reveal().hex(),
            "peer": "" if self.peer is None else self.peer.encode().hex(),
        }
        self.file.write(json.dumps(content).encode())
