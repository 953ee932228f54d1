"""`primegap app manifest`: what a developer is told about a manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from primegap.cli.root import root
from primegap.keyos.core.builtin import PACKAGE, builtin_table
from primegap.keyos.manifest import Verdict


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(root, ["app", "manifest", *map(str, arguments)])


@pytest.fixture
def app_toml(tmp_path: Path) -> Path:
    made = CliRunner().invoke(root, ["app", "new", str(tmp_path / "guest")])
    assert made.exit_code == 0, made.output
    return tmp_path / "guest" / "app.toml"


def test_the_table_is_what_the_router_enforces() -> None:
    shown = json.loads(run("table", "--json").stdout)["messages"]
    table = builtin_table()
    assert len(shown) == len(table.effective()) > 50
    for row in shown:
        assert table.judge(row["role"], row["server"], row["id"]) is Verdict(row["when"])
    text = run("table", "--server", "os/camera").stdout
    assert "NextCode" in text
    assert "os/core" not in text


def test_a_good_manifest_is_told_what_it_comes_to(app_toml: Path) -> None:
    found = run("check", app_toml)
    assert found.exit_code == 0, found.output
    assert "GetAppSeed" in found.stdout
    assert "asks first" in found.stdout
    with_app = json.loads(run("table", app_toml, "--json").stdout)["messages"]
    assert {row["when"] for row in with_app} == {"allow", "ask"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"GetAppSeed"', '"TakeAccountKey"', "built-in parts only"),
        ('"GetAppSeed"', '"GetEverything"', "no message"),
        ('"os/security"', '"os/secrets"', "no server"),
        ('"os/security"', '"os/core"', "no message"),
    ],
)
def test_a_manifest_a_device_would_refuse_is_refused_with_the_reason(
    app_toml: Path, old: str, new: str, why: str
) -> None:
    text = app_toml.read_text()
    assert old in text
    app_toml.write_text(text.replace(old, new))
    found = run("check", app_toml, "--json")
    assert found.exit_code == 1
    assert why in found.output


def test_a_built_in_manifest_is_judged_as_one() -> None:
    found = run("check", PACKAGE / "apps/authenticator/manifest.toml", "--json")
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)["messages"]
    assert {"role": "authenticator", "server": "app/settings", "message": "GetTime", "id": 1} in [
        {key: row[key] for key in ("role", "server", "message", "id")} for row in rows
    ]
