"""The folder in which an app is written: `app.toml`, `src/`, tests."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from primegap.developer.errors import BundleFileError, FolderInUseError, ProjectError
from primegap.files import StorageError, read_file
from primegap.keyos.bundle import MAX_BUNDLE_BYTES, build_bundle
from primegap.keyos.bundle.manifest import IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DESCRIPTION_FILE: Final = "app.toml"
SOURCE: Final = "src"
TEMPLATE: Final = Path(__file__).parent / "template"
MAX_TREE_FILES: Final = 4096  # looked at in a source folder before it is called too large
_IGNORED: Final = frozenset({"__pycache__", ".DS_Store"})
_DEFAULTS: Final[Mapping[str, Any]] = {
    "description": "",
    "storage": False,
    "servers": {},
    "permissions": {},
}


@dataclass(frozen=True, slots=True)
class Project:
    """An app as its developer wrote it."""

    description: Mapping[str, Any]
    code: Mapping[str, bytes] = field(repr=False)

    @property
    def identifier(self) -> str:
        """The developer's own name for the app."""
        return str(self.description["identifier"])

    @property
    def version(self) -> str:
        """Version of the app."""
        return str(self.description["version"])

    def build(self) -> bytes:
        """Return the unsigned bundle; raise BuildError."""
        return build_bundle(self.description, self.code)


def read_project(folder: Path) -> Project:
    """Read an app's folder.

    Raises:
        ProjectError: it is not one, or a Python file in it is not Python.
    """
    path = folder / DESCRIPTION_FILE
    try:
        text = read_file(path)
        if text is None:
            raise ProjectError(f"there is no {path}")
        table = tomllib.loads(text.decode())
    except (StorageError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{path}: {error}") from error
    code = dict(_read_tree(folder / SOURCE))
    for name, data in code.items():
        if name.endswith(".py"):
            try:
                ast.parse(data, name)
            except (SyntaxError, ValueError) as error:
                raise ProjectError(f"{SOURCE}/{name} is not Python: {error}") from error
    return Project({**_DEFAULTS, **table}, code)


def _read_tree(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (path below `root`, content) of every file; links are refused, not followed."""
    if not root.is_dir():
        raise ProjectError(f"there is no folder {root}")
    seen = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            seen += 1
            if seen > MAX_TREE_FILES:
                raise ProjectError(f"{root} holds more than {MAX_TREE_FILES} files")
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ProjectError(f"{path} is a link or no plain file")
            if path.is_dir() or name in _IGNORED or path.suffix == ".pyc":
                continue
            yield path.relative_to(root).as_posix(), read_bundle_file(path)


def read_bundle_file(path: Path) -> bytes:
    """Return the content of a file no larger than a bundle may be; raise BundleFileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleFileError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleFileError(f"{path} is larger than an app may be")
    return data


def identifier_for(name: str) -> str:
    """Return an identifier made of a name for people; raise ProjectError."""
    identifier = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not IDENTIFIER.fullmatch(identifier):
        raise ProjectError("no identifier can be made of this name: begin it with a letter")
    return identifier


def new_project(folder: Path, name: str) -> list[Path]:
    """Make a new app's folder out of the template; return the files that were written.

    Raises:
        FolderInUseError: the folder exists.
        ProjectError: it cannot be written, or the name cannot be used.
    """
    identifier = identifier_for(name)
    package = identifier.replace("-", "_")
    replacements = (("my_app", package), ("my-app", identifier), ("My App", name))
    if folder.exists():
        raise FolderInUseError(f"{folder} exists")
    written = []
    try:
        for source in sorted(TEMPLATE.rglob("*")):
            if source.is_dir() or "__pycache__" in source.parts:
                continue
            text, target = source.read_text(encoding="utf-8"), str(source.relative_to(TEMPLATE))
            for old, new in replacements:
                text, target = text.replace(old, new), target.replace(old, new)
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ProjectError(f"cannot write {folder}: {error.strerror}") from error
    return written
