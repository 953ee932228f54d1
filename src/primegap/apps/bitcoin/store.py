"""What the app remembers: with whom the account is shared, and what it signed lately."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.airgap.density import (
    DEFAULT_DENSITY,
    DEFAULT_FRAME_PERIOD_MS,
    DENSITIES,
    Density,
)
from primegap.files import StorageError
from primegap.keyos.storage import UnreadableError

if TYPE_CHECKING:
    from primegap.keyos.storage import SealedFile

FORMAT: Final = 2
FRAME_PERIODS_MS: Final = (125, 250, 500, 1000)
"Between which a person chooses."
MAX_SIGNED: Final = 16  # answers kept for a companion that was gone when the person had signed
MAX_SIGNED_BYTES: Final = 1 << 20  # of all of them; the whole file stays far below its limit


@dataclass(slots=True)
class Memory:
    """The app's state, one sealed file. What it grants ends with the pairing it was granted to."""

    file: SealedFile
    shared_with: str = ""
    "Number of the pairing, hex, and descriptor hash of the account that it was shared with."
    sequence: int = 0
    "Sequence number of the last account update."
    signed_for: str = ""
    "Number of the pairing, hex, that `signed` was asked for by."
    signed: dict[str, str] = field(default_factory=dict, repr=False)
    "Digest of the review -> signed PSBT, both hex; the oldest first."
    density: Density = DEFAULT_DENSITY
    "Of the codes in which a signed payment is shown."
    period_ms: int = DEFAULT_FRAME_PERIOD_MS
    "How long each of them is shown."

    @classmethod
    def load(cls, file: SealedFile) -> Memory:
        """Read the file, or begin anew when there is none.

        Raises:
            UnreadableError: it is damaged or belongs to another seed.
            StorageError: it is of another version, or cannot be read.
        """
        data = file.read()
        if data is None:
            return cls(file)
        try:
            stored: dict[str, Any] = json.loads(data)
            if stored["format"] != FORMAT:
                raise StorageError("the Bitcoin app's state is of another version")
            return cls(
                file,
                str(stored["shared_with"]),
                int(stored["sequence"]),
                str(stored["signed_for"]),
                {
                    bytes.fromhex(k).hex(): bytes.fromhex(v).hex()
                    for k, v in stored["signed"].items()
                },
                next(density for density in DENSITIES if density.name == stored["density"]),
                next(ms for ms in FRAME_PERIODS_MS if ms == stored["period_ms"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise UnreadableError("the Bitcoin app's state is damaged") from error

    def save(self) -> None:
        """Write the file in one step."""
        content = {
            "format": FORMAT,
            "shared_with": self.shared_with,
            "sequence": self.sequence,
            "signed_for": self.signed_for,
            "signed": self.signed,
            "density": self.density.name,
            "period_ms": self.period_ms,
        }
        self.file.write(json.dumps(content).encode())

    def is_shared(self, pairing: bytes, descriptor_hash: bytes) -> bool:
        """Whether the person has agreed to share this account with this pairing."""
        return self.shared_with == _share(pairing, descriptor_hash)

    def share(self, pairing: bytes, descriptor_hash: bytes) -> None:
        """Note that the person agreed."""
        self.shared_with = _share(pairing, descriptor_hash)
        self.save()

    def remember_signed(self, pairing: bytes, digest: bytes, psbt: bytes) -> None:
        """Keep a signed PSBT, so that this companion gets it when it asks again."""
        if self.signed_for != pairing.hex():
            self.signed_for, self.signed = pairing.hex(), {}
        self.signed[digest.hex()] = psbt.hex()
        while (
            len(self.signed) > MAX_SIGNED
            or sum(len(text) for text in self.signed.values()) > 2 * MAX_SIGNED_BYTES
        ):
            del self.signed[next(iter(self.signed))]
        self.save()

    def recall_signed(self, pairing: bytes, digest: bytes) -> bytes | None:
        """Return what was signed for exactly this review, when this companion asked before."""
        found = self.signed.get(digest.hex()) if self.signed_for == pairing.hex() else None
        return None if found is None else bytes.fromhex(found)


def _share(pairing: bytes, descriptor_hash: bytes) -> str:
    return f"{pairing.hex()}:{descriptor_hash.hex()}"
