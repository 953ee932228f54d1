"""Manifests: strict parsing, agreement with the typed messages, conflicts between manifests."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import primegap.keyos.api as api_package
from primegap.keyos.core.builtin import builtin_manifests, builtin_table
from primegap.keyos.errors import ManifestError
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted
from primegap.keyos.messages import Request

GOOD = """
appId = "0x000102030405060708090a0b0c0d0e0f"
role = "app"
name = "An app"
entry = "package.module:main"
profile = "app"
[servers."app/one"]
Ask = 1
[permissions]
"app/one" = ["Ask"]
"""


def test_a_good_manifest_is_read() -> None:
    manifest = parse_manifest_untrusted(GOOD.encode())
    assert manifest.app_id == bytes(range(16))
    assert manifest.servers == {"app/one": {"Ask": 1}}
    assert PermissionTable([manifest]).allows("app", "app/one", 1)


@pytest.mark.guarantee("P-3", tried="one fault of each kind in a good manifest")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('appId = "0x0001', 'appId = "0x01'),
        ('name = "An app"', 'name = "An app, but with a name of more than 24 characters"'),
        ('name = "An app"', 'name = "bidi \\u202e"'),
        ('profile = "app"', 'profile = "root"'),
        ("Ask = 1", "Ask = -1"),
        ("Ask = 1", "Ask = 4294967296"),
        ("Ask = 1", "Ask = true"),
        ("Ask = 1", "Ask = 1\nTell = 1"),
        ("Ask = 1", "ask = 1"),
        ('"app/one" = ["Ask"]', '"app/one" = ["Ask", "Ask"]'),
        ('"app/one" = ["Ask"]', '"app/one" = "Ask"'),
        ('role = "app"', 'role = "app"\nunknown = 1'),
        ('role = "app"', 'role = "../app"'),
        ('entry = "package.module:main"', 'entry = "os:system(1)"'),
    ],
)
def test_a_manifest_with_one_fault_is_refused_as_a_whole(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ManifestError):
        parse_manifest_untrusted(GOOD.replace(old, new).encode())


@pytest.mark.guarantee("P-3", "P-6", "ID-4", tried="names, ids and servers of another")
def test_manifests_are_checked_against_each_other() -> None:
    one = parse_manifest_untrusted(GOOD.encode())
    with pytest.raises(ManifestError, match="taken"):
        PermissionTable([one, one])
    thief = GOOD.replace("0x00", "0xff").replace('role = "app"', 'role = "thief"')
    with pytest.raises(ManifestError, match="belongs to another"):
        PermissionTable([one, parse_manifest_untrusted(thief.encode())])
    unknown = GOOD.replace('"app/one" = ["Ask"]', '"app/one" = ["Tell"]')
    with pytest.raises(ManifestError, match="no message"):
        PermissionTable([parse_manifest_untrusted(unknown.encode())])


def test_the_typed_messages_agree_with_the_manifests() -> None:
    declared = {
        (server, name): number
        for manifest in builtin_manifests()
        for server, messages in manifest.servers.items()
        for name, number in messages.items()
    }
    typed = {}
    for module in pkgutil.iter_modules(api_package.__path__):
        members = vars(importlib.import_module(f"primegap.keyos.api.{module.name}"))
        for name, member in members.items():
            if inspect.isclass(member) and issubclass(member, Request) and member is not Request:
                typed[member.server, name] = member.message_id
    assert typed == declared


def test_the_sizes_that_messages_and_manifests_allow_agree() -> None:
    table = builtin_table()
    for module in pkgutil.iter_modules(api_package.__path__):
        for member in vars(importlib.import_module(f"primegap.keyos.api.{module.name}")).values():
            if inspect.isclass(member) and issubclass(member, Request) and member is not Request:
                if table.owner(member.server) is None:
                    continue
                limit = table.object_limit(member.server, member.message_id)
                assert member.max_bytes == limit, member.__name__
