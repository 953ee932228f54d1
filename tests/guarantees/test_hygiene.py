"""What the source may not contain, and what may not reach a process from its surroundings."""

from __future__ import annotations

import ast
import copy
import functools
import os
import pickle
import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.e2e.device_support import Running
from tests.e2e.sandbox_support import children
from tests.guarantees.catalogue import ROOT
from tests.guarantees.plugin import Attempted

from primegap.device.launcher import DeviceSettings, start_device
from primegap.keyos.core.builtin import builtin_table
from primegap.quantumlink.identity import Identity
from primegap.quantumlink.pairing import TOKEN_SIZE, PairingToken
from primegap.quantumlink.secret import SecretBytes
from primegap.quantumlink.suite import NATIVE as NATIVE_SUITE
from primegap.secrecy import NeverSerialised

SOURCE: Final = ROOT / "src/primegap"
OUTSIDE: Final = ("cli", "companion", "demo", "regtest")
"Rooms that never run on a device."

LOADERS: Final[dict[str, str]] = {
    "keyos/sandbox/launch.py": "imports the entry that the manifest names, in the confined process",
    "keyos/core/order.py": "asks where the standard library's extension modules stand",
    "keyos/ui/fonts.py": "asks where the fonts stand",
    "linktrace/page.py": "reads a file of the package",
}
"Who may use importlib, and for what."
NATIVE: Final = ("keyos/sandbox/", "keyos/security/memory.py", "keyos/core/second_lock.py")
"Who may use ctypes: the system calls that the standard library lacks."
CHANCE: Final[dict[str, str]] = {
    "quantumlink/aio/reconnect.py": "spreads the times of connecting again",
    "quantumlink/aio/simulation.py": "loss of a simulated link, by a seed of the test",
    "radio/faults.py": "faults of a test's radio, by a seed of the test",
}
"Who may use the repeatable generator: nothing that a key or a number used once depends on."
NEVER: Final = {
    *("pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy"),
    *("code", "codeop", "imp", "pkgutil", "zipimport", "dbm", "cffi"),
}
DYNAMIC: Final = {"eval", "exec", "compile", "__import__", "execfile"}
OTHER_CHANCE: Final = {"uuid", "numpy.random", "cryptography.hazmat.primitives.twofactor"}


class Source(NamedTuple):
    """What a file of the source names."""

    name: str
    imported: set[str]
    "Modules, and whatever is taken from them."
    called: set[str]


@functools.cache
def sources() -> list[Source]:
    """Read every file that may run on a device, once."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name.startswith(OUTSIDE):
            continue
        source = Source(name, set(), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                source.imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                source.imported.update((node.module, *names))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                source.called.add(node.func.id)
        found.append(source)
    return found


def uses(modules: set[str], name: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for module in modules)


@pytest.mark.guarantee("H-3", tried="every source file: no pickle, no eval, no code from data")
def test_no_code_is_made_of_data(attempted: Attempted) -> None:
    loaders = set()
    for name, modules, called in sources():
        assert not [module for module in NEVER if uses(modules, module)], name
        assert not called & DYNAMIC, name
        assert not uses(modules, "ctypes") or name.startswith(NATIVE), name
        if uses(modules, "importlib") and modules & {"importlib", "importlib.util"}:
            loaders.add(name)
        assert not uses(modules, "importlib") or name in LOADERS or "metadata" in str(modules), name
        attempted(1)
    assert loaders <= set(LOADERS)
    assert {name for name in LOADERS if not (SOURCE / name).exists()} == set()


@pytest.mark.guarantee("H-5", tried="every source file: no generator but the kernel's")
def test_randomness_comes_from_the_kernel(attempted: Attempted) -> None:
    users = set()
    for name, modules, _ in sources():
        assert not [module for module in OTHER_CHANCE if uses(modules, module)], name
        if uses(modules, "random"):
            users.add(name)
        attempted(1)
    assert users == set(CHANCE)
    # None of them is reached from what makes keys.
    for name, modules, _ in sources():
        if name.startswith(("keyos/security", "bitcoin/", "keyos/storage")):
            assert not {m for m in modules if m.startswith("primegap.quantumlink.aio")}, name


@pytest.mark.guarantee("H-7", tried="every line of the lock files, against what the package needs")
def test_every_dependency_is_pinned_by_hash(attempted: Attempted) -> None:
    for name in ("runtime", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        joined = text.replace("\\\n", " ")
        pinned = set()
        for line in joined.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            wanted, *options = line.split()
            assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!+]+", wanted), line[:60]
            hashes = [option for option in options if option.startswith("--hash=")]
            assert hashes, wanted
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in hashes)
            pinned.add(re.sub(r"[-_.]+", "-", wanted.partition("==")[0].partition("[")[0]).lower())
            attempted(1)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted_by_us = [*project["dependencies"]]
        for title, extra in project["optional-dependencies"].items():
            if title == "bleak" and name == "runtime":
                continue  # not part of `all`, which the runtime lock is made of
            wanted_by_us += [need for need in extra if not need.startswith("primegap[")]
        names = {
            re.split(r"[\[<>=!~; ]", need)[0].lower().replace("_", "-") for need in wanted_by_us
        }
        assert names <= pinned


def secret_types() -> list[type]:
    """Everything that says of itself that it is never serialised."""
    import primegap.quantumlink.handshake
    import primegap.quantumlink.session_keys  # noqa: F401

    found: list[type] = []
    waiting: list[type] = [NeverSerialised]
    while waiting:
        kind = waiting.pop()
        found += kind.__subclasses__()
        waiting += kind.__subclasses__()
    return found


@pytest.mark.guarantee(
    "H-1", tried="every secret type: repr, str, format, pickle, copy, comparison"
)
def test_secret_types_have_no_text_form(attempted: Attempted) -> None:
    kinds = secret_types()
    assert len(kinds) > 8
    for kind in kinds:
        above = kind.__mro__[: kind.__mro__.index(NeverSerialised)]
        own = {name for part in above for name in vars(part)}
        assert not own & {"__reduce__", "__reduce_ex__", "__copy__", "__deepcopy__"}, kind
        attempted(1)
    canary = b"CANARY OF SECRET TYPES".ljust(NATIVE_SUITE.kem.seed_size, b".")
    values = [
        SecretBytes(canary),
        PairingToken(canary[:TOKEN_SIZE]),
        Identity.from_seed(NATIVE_SUITE, "name", canary),
        NATIVE_SUITE.kem.keygen(canary)[0],
    ]
    for value in values:
        for text in (repr(value), str(value), f"{value}"):
            assert "CANARY" not in text
            assert canary.hex()[:16] not in text
        for act in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                act(value)
        attempted(6)
    for kind in (SecretBytes, PairingToken):
        with pytest.raises(TypeError):
            hash(kind(canary[:TOKEN_SIZE]))


@pytest.mark.guarantee("S-5", "H-1", tried="the source of every comparison of secrets")
def test_secrets_are_compared_in_constant_time() -> None:
    import inspect

    assert "compare_digest" in inspect.getsource(SecretBytes.__eq__)
    assert "self._secret == other._secret" in inspect.getsource(PairingToken.__eq__)
    # The PIN is never compared: it opens an AEAD or does not.
    vault = (SOURCE / "keyos/security/vault.py").read_text(encoding="utf-8")
    compared = [
        ast.unparse(node) for node in ast.walk(ast.parse(vault)) if isinstance(node, ast.Compare)
    ]
    assert not [text for text in compared if "pin" in text and "len(pin)" not in text]


# -- what stands around a process ------------------------------------------------------------------


@pytest.mark.guarantee(
    "H-4", "S-1", tried="hostile variables, user site and start-up modules around a whole device"
)
def test_nothing_of_the_environment_reaches_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempted: Attempted
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    mark = tmp_path / "was-run"
    code = f"import os; os.close(os.open({str(mark)!r}, os.O_CREAT | os.O_WRONLY, 0o666))\n"
    for name in ("sitecustomize", "usercustomize", "primegap", "json", "startup"):
        (site / f"{name}.py").write_text(code)
    tmp_path.chmod(0o777)
    hostile = {
        "PYTHONPATH": str(site),
        "PYTHONSTARTUP": str(site / "startup.py"),
        "PYTHONUSERBASE": str(site),
        "PYTHONINSPECT": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONBREAKPOINT": "startup.go",
        "PYTHONWARNINGS": "error",
        "LD_LIBRARY_PATH": str(site),
        "SSLKEYLOGFILE": str(mark),
        "OPENSSL_CONF": str(site / "openssl.cnf"),
        "CANARY_OF_THE_ENVIRONMENT": "canary-of-the-environment",
        "HOME": str(site),
        "TMPDIR": str(site),
        "PRIMEGAP_PIN": "000000",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "journal").open("wb") as journal:
        started = start_device(
            DeviceSettings(data=tmp_path / "device", network="regtest", development=True),
            journal=journal,
        )
    device = Running(started, tmp_path)
    try:
        for role in builtin_table().manifests:
            if role not in {"core", "radio"}:
                device.event("process-started", role)
        pids = [started.process.pid]
        for pid in pids:
            pids += children(pid)
            if os.getuid() == 0:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                names = {entry.partition(b"=")[0].decode() for entry in environment if entry}
                assert names <= {"LC_ALL", "TMPDIR"}, names
                assert b"canary-of-the-environment" not in b"".join(environment)
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                assert command[1:4] == [b"-I", b"-S", b"-B"]
                attempted(len(hostile))
        assert len(pids) > 8
    finally:
        device.end()
    assert not mark.exists()
    assert not list(site.rglob("__pycache__"))
