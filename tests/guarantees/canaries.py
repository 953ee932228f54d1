"""Secrets whose every form is known, and the search for them in memory and files."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import operator
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Final

from primegap.bitcoin.keys import account_private_key, entropy_to_words
from primegap.bitcoin.networks import Network
from primegap.keyos.security.derivation import app_seed
from primegap.keyos.storage import SealedFile

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
PAGES_AT_ONCE: Final = 4096
PRESENT: Final = 63  # bit of a pagemap entry


@dataclass(frozen=True)
class Canary:
    """One secret and where it may be."""

    name: str
    forms: tuple[bytes, ...]
    holders: frozenset[str]


def forms(secret: bytes) -> tuple[bytes, ...]:
    """Return what a leak of these bytes would look like."""
    return (secret, secret.hex().encode(), base64.b64encode(secret)[: len(secret)])


def of_seed(entropy: bytes, app_ids: dict[str, bytes]) -> list[Canary]:
    """Return the master secrets and every process's app seed."""
    words = " ".join(entropy_to_words(entropy))
    master = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic", 2048)
    chain = hmac.digest(b"Bitcoin seed", master, "sha512")
    security = frozenset({"security"})
    found = [
        Canary("entropy", forms(entropy), security),
        Canary("seed words", (words.encode(), words.encode("utf-16-le")), security),
        Canary("BIP 39 seed", forms(master), security),
        Canary("master key", forms(chain[:32]), security),
    ]
    for role, identifier in app_ids.items():
        seed = app_seed(identifier, entropy)
        found.append(Canary(f"app seed of {role}", forms(seed)[:2], frozenset({"security", role})))
    account = account_private_key(entropy, Network.REGTEST, 0)
    found.append(Canary("account key", (account.encode(),), frozenset({"security", "bitcoin"})))
    return found


def of_link(folder: Path, entropy: bytes, app_id: bytes) -> Canary:
    """Return the seed of the link's identity, out of its sealed file."""
    data = SealedFile(folder, "link", app_seed(app_id, entropy)).read()
    assert data is not None
    identity = bytes.fromhex(json.loads(data)["identity"])
    # Version, then the seed of the key pair: 32 bytes of the native suite.
    return Canary("link identity", forms(identity[1:33]), frozenset({"link"}))


def memory(pid: int) -> Iterator[bytes]:
    """Read all that a process can write to and that is in memory, run by run; needs root."""
    with open(f"/proc/{pid}/maps") as maps:
        regions = [line.split()[:2] for line in maps]
    with (
        open(f"/proc/{pid}/mem", "rb", buffering=0) as mem,
        open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap,
    ):
        for addresses, rights in regions:
            start, end = (int(part, 16) // PAGE for part in addresses.split("-"))
            if "w" not in rights:
                continue
            for at in range(start, end, PAGES_AT_ONCE):
                pagemap.seek(at * 8)
                data = pagemap.read(8 * (min(end, at + PAGES_AT_ONCE) - at))
                entries = struct.unpack(f"<{len(data) // 8}Q", data)
                there = [(entry >> PRESENT & 1, page) for page, entry in enumerate(entries)]
                for present, run in itertools.groupby(there, operator.itemgetter(0)):
                    pages = [page for _, page in run]
                    if present:
                        yield _read(mem, at + pages[0], len(pages))


def _read(mem: RawIOBase, first: int, count: int) -> bytes:
    """Read pages; those that not even the kernel reads for others (`memfd_secret`) are left out."""
    with contextlib.suppress(OSError):
        mem.seek(first * PAGE)
        return mem.read(count * PAGE) or b""
    return b"" if count == 1 else b"".join(_read(mem, first + page, 1) for page in range(count))


def search(blocks: Iterator[bytes], canaries: list[Canary]) -> tuple[set[str], int]:
    """Return the names of the canaries that were found, and how many bytes were searched."""
    found: set[str] = set()
    size = 0
    for block in blocks:
        size += len(block)
        for canary in canaries:
            if canary.name not in found and any(form in block for form in canary.forms):
                found.add(canary.name)
    return found, size


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Read every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()
