"""The card against other implementations (mtools, dosfstools), damage, and power cuts."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primegap.keyos.airlock.errors import (
    CardDamagedError,
    CardError,
    CardFullError,
    CardNameError,
    CardNotFoundError,
)
from primegap.keyos.airlock.fat import Card
from primegap.keyos.airlock.volume import format_card

MIB = 1 << 20
others = pytest.mark.skipif(
    shutil.which("mcopy") is None or shutil.which("fsck.fat") is None,
    reason="needs mtools and dosfstools",
)


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, env=environment, check=True, **options
    )


def check(path: Path) -> None:
    """Let fsck.fat look: it ends with 0 only when there is nothing to mend."""
    run("fsck.fat", "-n", path)


class Opened:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR)
        self.card = Card(self.fd)

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Opened]:
    path = tmp_path / "card"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    format_card(fd, 16 * MIB)
    os.close(fd)
    opened = Opened(path)
    yield opened
    opened.close()


@pytest.fixture(params=["own", "fat16", "fat32", "partition"])
def any_card(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Cards of our making and of others."""
    path = tmp_path / "card"
    path.touch()
    if request.param == "own":
        fd = os.open(path, os.O_RDWR)
        format_card(fd, 16 * MIB)
        os.close(fd)
    else:
        os.truncate(path, 48 * MIB)
        if request.param == "partition":
            sector = bytearray(512)
            sector[450] = 0x0E
            sector[454:458] = (2048).to_bytes(4, "little")
            sector[458:462] = (47 * 2048).to_bytes(4, "little")
            sector[510:] = b"\x55\xaa"
            inner = tmp_path / "inner"
            inner.touch()
            os.truncate(inner, 47 * MIB)
            run("mkfs.fat", "-F", "16", inner)
            path.write_bytes(bytes(sector).ljust(MIB, b"\0") + inner.read_bytes())
        else:
            kind = request.param.removeprefix("fat")
            run("mkfs.fat", "-F", kind, "-s", "1" if kind == "32" else "4", path)
    opened = Opened(path)
    yield opened
    opened.close()


def mtools(path: Path) -> str:
    """Return how mtools names the volume in a file."""
    with path.open("rb") as file:
        return f"{path}@@1M" if file.read(512)[13] == 0 else str(path)


NAMES = ["A.TXT", "psbt-3f2a.psbt", "Wallet export of Tuesday.json", "Fälle und Ж.txt", "x" * 200]


@others
def test_what_we_write_others_read(any_card: Opened) -> None:
    contents = {name: os.urandom(n * 3000) for n, name in enumerate(NAMES)}
    any_card.card.make_folder("Folder with a long name")
    for name, content in contents.items():
        any_card.card.write(name, b"old" * 999)
        any_card.card.write(name, content)
        any_card.card.write(f"Folder with a long name/{name}", content[::-1])
    for number in range(60):  # more than a cluster of records
        any_card.card.write(f"Folder with a long name/file number {number}.bin", b"%d" % number)
    volume = mtools(any_card.path)
    for name, content in contents.items():
        found = run("mtype", "-i", volume, f"::{name}")
        assert found.stdout == content
        found = run("mtype", "-i", volume, f"::Folder with a long name/{name}")
        assert found.stdout == content[::-1]
    any_card.card.remove("A.TXT")
    any_card.card.remove(f"Folder with a long name/{NAMES[2]}")
    assert [entry.name for entry in any_card.card.entries("")] == [
        "Folder with a long name",
        *NAMES[1:],
    ]
    if volume == str(any_card.path):
        check(any_card.path)


@others
def test_what_others_write_we_read(any_card: Opened, tmp_path: Path) -> None:
    volume = mtools(any_card.path)
    contents = {name: os.urandom(n * 5000) for n, name in enumerate(NAMES)}
    run("mmd", "-i", volume, "::Made by others")
    for name, content in contents.items():
        source = tmp_path / "source"
        source.write_bytes(content)
        run("mcopy", "-i", volume, source, f"::{name}")
        run("mcopy", "-i", volume, source, f"::Made by others/{name}")
    again = Opened(any_card.path)
    for name, content in contents.items():
        assert again.card.read(name) == content
        assert again.card.read(f"made BY others/{name}") == content
    assert sum(entry.folder for entry in again.card.entries("")) == 1
    again.close()


def test_a_card_that_is_full_stays_as_it_was(made: Opened) -> None:
    card = made.card
    free = card.free_bytes()
    number = free // (3 * MIB)
    for done in range(number):
        card.write(f"{done}.bin", bytes(3 * MIB))
    with pytest.raises(CardFullError):
        card.write("another.bin", bytes(3 * MIB))
    with pytest.raises(CardFullError):
        card.write("0.bin", bytes(4 * MIB))
    assert card.read("0.bin") == bytes(3 * MIB)
    for done in range(number):
        card.remove(f"{done}.bin")
    assert card.free_bytes() == free
    for number in range(511):  # the root directory of FAT16 has a fixed size, with the label
        card.write(f"F{number}", b"")
    with pytest.raises(CardFullError):
        card.write("F511", b"")
    with pytest.raises(CardError):
        card.write("big", bytes(5 * MIB))


@pytest.mark.guarantee("F-2", tried="names out of a folder, of other systems and too long")
@pytest.mark.parametrize(
    "name",
    ["", "..", "a/../b", "/a", "a//b", "a\0b", "a:b", "a|b", "x" * 256, "a.", " a", "b/" * 9],
)
def test_names_that_are_none_are_refused(made: Opened, name: str) -> None:
    for act in (made.card.read, made.card.remove, made.card.make_folder):
        with pytest.raises(CardNameError):
            act(name)
    with pytest.raises(CardNameError):
        made.card.write(name, b"")
    assert made.card.entries("") == []


def test_folders_are_kept_apart_from_files(made: Opened) -> None:
    card = made.card
    card.make_folder("A")
    card.make_folder("a")
    card.write("A/file", b"1")
    with pytest.raises(CardNameError):
        card.write("A", b"")
    with pytest.raises(CardNameError):
        card.make_folder("a/FILE")
    with pytest.raises(CardNameError):
        card.remove("A")
    for path in ("A", "B", "A/b", "A/file/c"):
        with pytest.raises(CardNotFoundError):
            card.read(path)
    card.write("A/漢字 😀.txt", b"2")  # beyond what mtools can name
    assert card.read("A/漢字 😀.txt") == b"2"
    card.remove("A/漢字 😀.txt")
    card.remove("A/file")
    card.remove("A")
    assert card.entries("") == []


# -- damage and power cuts -----------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_card_is_refused_or_read_within_bounds(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damage") / "card"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        format_card(fd, 9 * MIB)
        card = Card(fd)
        card.make_folder("folder")
        card.write("folder/name that is long", bytes(5000))
        card.write("b", bytes(3000))
        g = card._geometry
        regions = [(0, 64), (g.fat_start, 24), (g.root_start, 256), (g.data_start, 2048)]
        for _ in range(data.draw(st.integers(1, 6))):
            start, size = data.draw(st.sampled_from(regions))
            place = start + data.draw(st.integers(0, size - 1))
            os.pwrite(fd, bytes((data.draw(st.integers(0, 255)),)), place)
        try:
            card = Card(fd)
            for folder in ("", "folder"):
                for entry in card.entries(folder):
                    if not entry.folder:
                        card.read(f"{folder}/{entry.name}".lstrip("/"))
            card.write("new", bytes(100))
            card.recover()
        except CardError:
            pass
    finally:
        os.close(fd)


class PowerCut(BaseException):
    """The machine is off."""


class Medium:
    """Loses what was not synchronised: each write by itself, whole sectors at a time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.left = -1
        self._pwrite = os.pwrite
        self._before: list[tuple[int, int, bytes]] = []

    def pwrite(self, fd: int, data: Any, place: int) -> int:
        if self.left == 0:
            for old_fd, old_place, old in reversed(self._before):
                if self._rng.random() < 0.5:
                    self._pwrite(old_fd, old, old_place)
            self._before.clear()
            self.left = -1
            raise PowerCut
        self.left -= 1
        self._before.append((fd, place, os.pread(fd, len(data), place)))
        return self._pwrite(fd, data, place)

    def fsync(self, fd: int) -> None:
        self._before.clear()


@pytest.mark.parametrize("kind", ["own", "fat32"])
def test_a_power_cut_at_any_write_leaves_a_readable_card(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "card"
    path.touch()
    if kind == "fat32":
        if shutil.which("mkfs.fat") is None:
            pytest.skip("needs dosfstools")
        os.truncate(path, 34 * MIB)
        run("mkfs.fat", "-F", "32", "-s", "1", path)
    fd = os.open(path, os.O_RDWR)
    if kind == "own":
        format_card(fd, 9 * MIB)
    rng = random.Random(3)
    names = [f"A file with number {n}.psbt" for n in range(6)] + ["folder/inner file", "SHORT.TXT"]
    card = Card(fd)
    card.make_folder("folder")
    known: dict[str, bytes] = {}
    medium = Medium(rng)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", medium.pwrite)
        patch.setattr(os, "fsync", medium.fsync)
        for _ in range(250 if kind == "own" else 60):
            medium.left = rng.randrange(25)
            name, new = "", b""
            try:
                for _ in range(3):
                    name = rng.choice(names)
                    if name in known and rng.random() < 0.3:
                        new = b""
                        card.remove(name)
                        del known[name]
                    else:
                        new = rng.randbytes(rng.randrange(4000))
                        card.write(name, new)
                        known[name] = new
                medium.left = -1
            except PowerCut:
                pass
            card = Card(fd)
            entries = {entry.name for entry in card.entries("")}
            entries |= {f"folder/{entry.name}" for entry in card.entries("folder")}
            for other, content in known.items():
                if other != name:
                    assert card.read(other) == content
            assert entries <= {*names, "folder"}
            if name in entries:
                assert card.read(name) in (new, known.get(name))
                known[name] = card.read(name)
            else:
                known.pop(name, None)
            card.recover()
            card = Card(fd)
    os.close(fd)
    if shutil.which("fsck.fat") is not None:
        check(path)


def test_not_every_file_is_a_card(tmp_path: Path) -> None:
    for content in (b"", bytes(512), b"\xff" * 4096, bytes(510) + b"\x55\xaa"):
        path = tmp_path / "no"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDWR)
        with pytest.raises(CardDamagedError):
            Card(fd)
        os.close(fd)
