"""What the app remembers: with whom the account is shared, and what it signed lately."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.files import StorageError

if TYPE_CHECKING:
    from primegap.keyos.storage import SealedFile

FORMAT: Final = 1
MAX_SIGNED: Final = 16  # answers kept for a companion that was gone when the person had signed


@dataclass(slots=True)
class Memory:
    """The app's state, one sealed file."""

    file: SealedFile
    shared_with: str = ""
    "Identity of the companion that the account was shared with, hex."
    sequence: int = 0
    "Sequence number of the last account update."
    signed: dict[str, str] = field(default_factory=dict, repr=False)
    "Digest of the review -> signed PSBT, both hex; the oldest first."

    @classmethod
    def load(cls, file: SealedFile) -> Memory:
        """Read the file, or begin anew when there is none.

        Raises:
            StorageError: it is damaged.
        """
        data = file.read()
        if data is None:
            return cls(file)
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["format"] != FORMAT:
                raise StorageError("the Bitcoin app's state is of another version")
            return cls(file, stored["shared_with"], stored["sequence"], dict(stored["signed"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError("the Bitcoin app's state is damaged") from error

    def save(self) -> None:
        """Write the file in one step."""
        content = {
            "format": FORMAT,
            "shared_with": self.shared_with,
            "sequence": self.sequence,
            "signed": self.signed,
        }
        self.file.write(json.dumps(content).encode())

    def remember_signed(self, digest: bytes, psbt: bytes) -> None:
        """Keep a signed PSBT, so that asking again needs no second confirmation."""
        self.signed[digest.hex()] = psbt.hex()
        while len(self.signed) > MAX_SIGNED:
            del self.signed[next(iter(self.signed))]
        self.save()

    def recall_signed(self, digest: bytes) -> bytes | None:
        """Return what was signed for exactly this review."""
        found = self.signed.get(digest.hex())
        return None if found is None else bytes.fromhex(found)
