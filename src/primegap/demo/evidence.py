"""The evidence folder: what was seen and done, and the search for secrets in recordings."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from primegap.demo.errors import DemoError

if TYPE_CHECKING:
    from pathlib import Path

WINDOW: Final = 16  # bytes in a row that nothing but a leak explains
MIN_DISTINCT: Final = 6  # windows of padding and the like occur everywhere


class Evidence:
    """One folder: screens as PNG, PSBTs, transaction ids, the radio's capture, a report."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report: dict[str, Any] = {}
        folder.mkdir(parents=True)
        self._pictures = 0
        self._secrets: dict[str, bytes] = {}

    def picture(self, name: str, png: bytes) -> None:
        """Keep a picture, numbered in the order of events."""
        self._pictures += 1
        (self.folder / f"{self._pictures:02d}-{name}.png").write_bytes(png)

    def file(self, name: str, content: bytes) -> None:
        """Keep a file."""
        (self.folder / name).write_bytes(content)

    def note(self, key: str, value: Any) -> None:
        """Note a fact in the report."""
        self.report[key] = value

    def forbid(self, name: str, secret: bytes | str) -> None:
        """Say what must not be found in anything the radio chip saw."""
        data = secret.encode() if isinstance(secret, str) else secret
        self._secrets[name] = data
        if isinstance(secret, bytes):
            self._secrets[f"{name} as hex"] = secret.hex().encode()
            self._secrets[f"{name} as base64"] = base64.b64encode(secret)

    def search_recordings(self, recordings: dict[str, bytes], known: bytes) -> int:
        """Keep recordings of the link and search them for every forbidden byte string.

        Args:
            recordings: file names and contents; first the capture of all that the chip saw.
            known: something that is sent in clear (an identity in record headers): finding it in
                the capture proves that the search looks at the right bytes.

        Returns:
            The number of windows tried.

        Raises:
            DemoError: a secret was found, or the known bytes were not.
        """
        capture = next(iter(recordings.values()))
        if known not in capture:
            raise DemoError("the capture does not hold the traffic of the link")
        tried = 0
        for name, content in recordings.items():
            self.file(name, content)
            tried += self._search(name, content)
        self.note("capture_bytes", len(capture))
        self.note("recordings_searched", sorted(recordings))
        self.note("capture_searched_for", sorted(self._secrets))
        return tried

    def _search(self, where: str, content: bytes) -> int:
        # Every window of the content once in a set: then each secret's windows are looked up.
        seen = {content[at : at + WINDOW] for at in range(len(content) - WINDOW + 1)}
        tried = 0
        for name, secret in self._secrets.items():
            for at in range(max(1, len(secret) - WINDOW + 1)):
                window = secret[at : at + WINDOW]
                if len(window) < WINDOW:
                    found = window in content
                elif len(set(window)) < MIN_DISTINCT:
                    continue
                else:
                    found = window in seen
                tried += 1
                if found:
                    raise DemoError(f"{where} holds a part of {name} in plain text")
        return tried

    def write(self) -> None:
        """Write the report."""
        text = json.dumps(self.report, indent=1) + "\n"
        (self.folder / "report.json").write_text(text, encoding="utf-8")
