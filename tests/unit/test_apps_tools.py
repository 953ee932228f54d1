"""`primegap app` without a device: new, check, build, sign, keys (what goes to a device: e2e)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from primegap.cli.root import root
from primegap.developer.errors import KeyFileError, PassphraseError, ProjectError
from primegap.developer.keys import load_keys, make_keys
from primegap.developer.project import identifier_for, new_project, read_project
from primegap.keyos.bundle import sign_bundle, verify_bundle_untrusted

PASSPHRASE = "correct horse"  # a test secret


def run(folder: Path, *words: str | Path, stdin: str = "") -> Result:
    arguments = ["--data-dir", str(folder / "data"), "app", *map(str, words)]
    return CliRunner().invoke(root, arguments, input=stdin)


def ok(folder: Path, *words: str | Path, stdin: str = "") -> dict[str, Any]:
    result = run(folder, *words, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def refused(folder: Path, *words: str | Path, stdin: str = "") -> str:
    result = run(folder, *words, "--json", stdin=stdin)
    assert result.exit_code == 1, result.output
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    assert found["hint"]
    return str(found["error"])


def test_from_nothing_to_a_signed_bundle(tmp_path: Path) -> None:
    project = tmp_path / "tea-timer"
    assert ok(tmp_path, "new", project)["name"] == "Tea Timer"
    built = ok(tmp_path, "build", project)
    assert ok(tmp_path, "build", project)["sha256"] == built["sha256"]
    assert Path(built["file"]).name == "tea-timer-0.1.0.unsigned.app"
    key = ok(tmp_path, "key", "new", "--name", "Jane Doe", "--no-passphrase")
    assert ok(tmp_path, "key", "show")["fingerprint"] == key["fingerprint"]
    signed = ok(tmp_path, "sign", built["file"], "--timestamp", "1775692800")
    assert Path(signed["file"]).name == "tea-timer-0.1.0.app"
    assert signed["fingerprint"] == key["fingerprint"]
    bundle = verify_bundle_untrusted(Path(signed["file"]).read_bytes())
    assert bundle.signed_s == 1_775_692_800
    assert bundle.manifest.entry == "tea_timer.app:main"
    checked = ok(tmp_path, "check", signed["file"])
    assert checked["signed"]
    assert checked["app_id"] == bundle.manifest.app_id.hex() == signed["app_id"]
    ways = {(row["message"], row["when"]) for row in checked["permissions"]}
    assert ways == {
        ("Present", "allow"),
        ("WaitOpened", "allow"),
        ("Close", "allow"),
        ("GetAppSeed", "ask"),
    }


def test_what_people_read(tmp_path: Path) -> None:
    project = tmp_path / "tea"
    assert "Made Tea in" in run(tmp_path, "new", project).output
    said = run(tmp_path, "check", project).output
    assert "Tea 0.1.0 (tea)" in said
    assert "after asking the person" in said
    assert "not signed" in said
    assert run(tmp_path, "key", "show").exit_code == 1
    for words in ((), ("new",), ("sign",), ("key",), ("key", "new")):
        assert "Usage: " in run(tmp_path, *words, "--help").output


def test_the_tests_of_a_new_app_pass(tmp_path: Path) -> None:
    new_project(tmp_path / "mine", "Mine & Yours")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        cwd=tmp_path / "mine",
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_a_key_under_a_passphrase(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = ok(
        tmp_path,
        *("key", "new", "--name", "Jane", "--key", folder, "--passphrase-stdin"),
        stdin=PASSPHRASE + "\n",
    )
    file = folder / "publisher.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert b"ENCRYPTED" in file.read_bytes()
    new_project(tmp_path / "tea", "Tea")
    built = ok(tmp_path, "build", tmp_path / "tea")["file"]
    sign = ("sign", built, "--key", folder, "--passphrase-stdin")
    assert refused(tmp_path, *sign, stdin="wrong\n") == "publisher-key-passphrase"
    assert refused(tmp_path, *sign) == "publisher-key-passphrase"
    assert ok(tmp_path, *sign, stdin=PASSPHRASE + "\n")["fingerprint"] == made["fingerprint"]
    prompted = run(tmp_path, "sign", built, "--key", folder, stdin=PASSPHRASE + "\n")
    assert prompted.exit_code == 0
    assert PASSPHRASE not in prompted.output


def test_keys_that_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert refused(tmp_path, "key", "new", "--name", "", "--no-passphrase") == "bundle-build"
    short = ("key", "new", "--name", "J", "--passphrase-stdin")
    assert refused(tmp_path, *short, stdin="short\n") == "publisher-key-passphrase"
    new = ("key", "new", "--name", "Jane", "--key", folder, "--no-passphrase")
    ok(tmp_path, *new)
    assert refused(tmp_path, *new) == "publisher-key-exists"
    file = folder / "publisher.key"
    file.chmod(0o640)
    new_project(tmp_path / "tea", "Tea")
    built = ok(tmp_path, "build", tmp_path / "tea")["file"]
    assert refused(tmp_path, "sign", built, "--key", folder) == "publisher-key-mode"
    file.chmod(0o600)
    other = tmp_path / "other"
    make_keys(other, "Jane", years=1, passphrase=None)
    (folder / "publisher.der").write_bytes((other / "publisher.der").read_bytes())
    with pytest.raises(KeyFileError, match="belong together"):
        load_keys(folder, None)
    file.write_bytes(b"")
    with pytest.raises(KeyFileError):
        load_keys(folder, None)
    file.write_bytes(b"-----BEGIN NONSENSE-----\n")
    with pytest.raises(PassphraseError):
        load_keys(folder, None)


def project(folder: Path, **files: str) -> Path:
    path = folder / "p"
    new_project(path, "Tea")
    for name, text in files.items():
        (path / name.replace("__", "/")).write_text(text)
    return path


TOML = """
identifier = "tea"
version = "0.1.0"
minKeyosVersion = "0.1.0"
entry = "tea.app:main"
appName = { en = "Tea" }
"""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bundle-build"),
        ("= nothing", "app-project"),
        (TOML, None),
        (TOML + "system = true\n", "bundle-build"),
        (TOML.replace("0.1.0", "0.1", 1), "bundle-build"),
        (TOML.replace("tea.app", "tea.missing"), "bundle-build"),
        (TOML + "storage = 1\n", "bundle-build"),
        (TOML + 'description = "two\\nlines"\n', "bundle-build"),
        (TOML + '[permissions]\n"os/ui" = ["Nothing"]\n', "app-permission-refused"),
        (TOML + '[permissions]\n"os/ui" = [2026-01-01]\n', "bundle-build"),
        (TOML + '[permissions]\n"os/security" = ["Login"]\n', "app-permission-refused"),
        (TOML + '[servers."os/tea"]\nPour = 1\n', "app-permission-refused"),
    ],
)
def test_descriptions(tmp_path: Path, text: str, code: str | None) -> None:
    path = project(tmp_path)
    (path / "app.toml").write_text(text)
    for command in ("check", "build"):
        if code is None:
            ok(tmp_path, command, path)
        else:
            assert refused(tmp_path, command, path) == code


def test_trees_that_are_no_app(tmp_path: Path) -> None:
    path = project(tmp_path)
    (path / "src" / "tea" / "__pycache__").mkdir()
    (path / "src" / "tea" / "__pycache__" / "app.pyc").write_bytes(b"")
    (path / "src" / "tea" / "stale.pyc").write_bytes(b"")
    assert all(not name.endswith(".pyc") for name in read_project(path).code)
    (path / "src" / "tea" / "bad.py").write_text("def (:\n")
    with pytest.raises(ProjectError, match="not Python"):
        read_project(path)
    (path / "src" / "tea" / "bad.py").unlink()
    (path / "src" / "tea" / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(ProjectError, match="link"):
        read_project(path)
    (path / "src" / "tea" / "link.py").unlink()
    os.mkfifo(path / "src" / "tea" / "pipe")
    with pytest.raises(ProjectError):
        read_project(path)
    with pytest.raises(ProjectError):
        read_project(tmp_path)


def test_names_and_folders(tmp_path: Path) -> None:
    assert identifier_for("Tea & Coffee 2") == "tea-coffee-2"
    assert refused(tmp_path, "new", tmp_path / "x", "--name", "3 things") == "app-project"
    (tmp_path / "there").mkdir()
    assert refused(tmp_path, "new", tmp_path / "there") == "app-folder-in-use"
    assert refused(tmp_path, "new", tmp_path / "y", "--name", "T" * 60) == "app-project"


def test_files_that_are_no_bundle(tmp_path: Path) -> None:
    file = tmp_path / "x.app"
    file.write_bytes(b"nothing")
    ok(tmp_path, "key", "new", "--name", "Jane", "--no-passphrase")
    assert refused(tmp_path, "check", file) == "bundle-archive"
    assert refused(tmp_path, "sign", file) == "bundle-build"
    assert refused(tmp_path, "install", file) == "bundle-archive"


def test_without_a_device(tmp_path: Path) -> None:
    assert refused(tmp_path, "list") == "device-unreachable"
    (tmp_path / "data" / "device").mkdir(parents=True)
    (tmp_path / "data" / "device" / "page-token").write_text("token\n")
    assert refused(tmp_path, "list", "--url", "http://127.0.0.1:1") == "device-unreachable"
    keys = make_keys(tmp_path / "k", "Jane", years=1, passphrase=None)
    new_project(tmp_path / "tea", "Tea")
    file = tmp_path / "tea.app"
    file.write_bytes(sign_bundle(read_project(tmp_path / "tea").build(), keys, timestamp_s=0))
    assert refused(tmp_path, "install", file, "--url", "http://127.0.0.1:1") == "device-unreachable"
