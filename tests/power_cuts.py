"""A disk that loses power: the system calls of `primegap.files`, one of which is the last."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest


class PowerCut(BaseException):
    """The machine is off."""


class Disk:
    """The system calls of `primegap.files`, one of which is the last.

    What was not synchronised may be lost: bytes of a file, and what happened to names.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.left = -1
        self._real = {n: getattr(os, n) for n in ("open", "write", "fsync", "replace", "unlink")}
        self._paths: dict[int, str] = {}
        self._unsynced_files: set[str] = set()
        self._unsynced_names: list[tuple[str, bytes]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, name))

    def _step(self) -> None:
        if self.left == 0:
            self._lose()
            raise PowerCut
        self.left -= 1

    def _lose(self) -> None:
        self.left = -1
        for path in self._unsynced_files:
            if os.path.exists(path):
                os.truncate(path, self._rng.randint(0, os.path.getsize(path)))
        for path, old in reversed(self._unsynced_names):
            if self._rng.random() < 0.5:
                Path(path).write_bytes(old)
        self._unsynced_files.clear()
        self._unsynced_names.clear()

    def open(self, path: Any, flags: int, *more: Any, **others: Any) -> int:
        self._step()
        if flags & os.O_WRONLY and not flags & os.O_TRUNC:
            # Written in place: a sector has the old bytes or the new ones.
            self._unsynced_names.append((str(path), Path(path).read_bytes()))
        fd: int = self._real["open"](path, flags, *more, **others)
        self._paths[fd] = str(path)
        if flags & os.O_TRUNC:
            self._unsynced_files.add(str(path))
        return fd

    def write(self, fd: int, data: Any) -> int:
        self._step()
        return int(self._real["write"](fd, data))

    def fsync(self, fd: int) -> None:
        self._step()
        path = self._paths[fd]
        if os.path.isdir(path):
            self._unsynced_names.clear()
        self._unsynced_names = [change for change in self._unsynced_names if change[0] != path]
        self._unsynced_files.discard(path)

    def replace(self, source: Any, target: Any, **others: Any) -> None:
        self._step()
        if os.path.exists(target):
            self._unsynced_names.append((str(target), Path(target).read_bytes()))
        self._real["replace"](source, target)
        if str(source) in self._unsynced_files:
            self._unsynced_files.add(str(target))

    def unlink(self, path: Any, **others: Any) -> None:
        self._step()
        self._unsynced_names.append((str(path), Path(path).read_bytes()))
        self._real["unlink"](path)
