"""Launch orders: what a process may see and hold, from where Python is installed."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from primegap.keyos.manifest import Manifest

_LOADER_CACHE: Final = "/etc/ld.so.cache"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The read-only part of every process's world: interpreter, libraries, our own code."""

    python_path: tuple[str, ...]
    "sys.path entries of installed packages and of ours."
    read_only: tuple[str, ...]
    "Trees and files shown read-only."
    links: tuple[tuple[str, str], ...]
    "Symbolic links to make in the new root: (path, target)."


def find_runtime(package_root: Path) -> Runtime:
    """Look at this interpreter; `package_root` is the folder that holds the `primegap` package."""
    # Extension modules of the standard library may stand in a folder of their own.
    extension = find_spec("_ctypes")
    stdlib = [str(Path(os.__file__).parent)]
    if extension is not None and extension.origin is not None and extension.has_location:
        stdlib.append(str(Path(extension.origin).parent))
    paths = sysconfig.get_paths()
    site = [path for path in (paths["purelib"], paths["platlib"]) if Path(path).is_dir()]
    python_path = list(dict.fromkeys([str(package_root), *site]))
    trees = [*stdlib, *python_path]
    links = []
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    for name in ("/lib", "/lib64", "/usr/lib64"):
        path = Path(name)
        if path.is_symlink():
            links.append((name, os.readlink(name)))
        elif path.is_dir():
            trees.append(name)
    libraries = Path("/usr/lib") / multiarch
    trees.append(str(libraries if multiarch and libraries.is_dir() else "/usr/lib"))
    if Path("/usr/lib64").is_dir() and not Path("/usr/lib64").is_symlink():
        trees.append("/usr/lib64")
    if Path(_LOADER_CACHE).is_file():
        trees.append(_LOADER_CACHE)
    read_only = _without_nested(trees)
    return Runtime(tuple(python_path), tuple(read_only), tuple(links))


def _without_nested(trees: list[str]) -> list[str]:
    unique = sorted({str(Path(tree)) for tree in trees})
    return [t for t in unique if not any(t != o and t.startswith(o + "/") for o in unique)]


def launch_order(
    manifest: Manifest,
    runtime: Runtime,
    *,
    fds: dict[str, int],
    data: Path | None,
    uid: int | None,
    development: bool,
    config: dict[str, Any],
    devices: list[str],
    groups: list[str],
    simulator: bool,
) -> dict[str, Any]:
    """Return the order that `sandbox/launch.py` carries out."""
    return {
        "parent": os.getpid(),
        "role": manifest.role,
        "entry": manifest.entry,
        "profile": manifest.profile,
        "read_only": list(runtime.read_only),
        "links": dict(runtime.links),
        "data": None if data is None else str(data),
        "uid": uid,
        "devices": devices,
        "groups": groups,
        "simulator": simulator,
        "fds": fds,
        "development": development,
        "config": config,
    }
