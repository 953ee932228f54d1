"""The manifest file of a process: TOML, parsed strictly, refused as a whole (P-3)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from primegap.keyos.errors import ManifestError
from primegap.keyos.frame import APP_SERVERS, MAX_OBJECT_BYTES, OPEN_CHANNEL
from primegap.keyos.manifest.catalogue import CATALOGUE, PRIVATE, Access, Approval, Signature

MAX_MANIFEST_BYTES: Final = 128 << 10
MAX_NAME: Final = 24
MAX_MESSAGES: Final = 256
APP_ID: Final = re.compile(r"0x[0-9a-f]{32}")
SERVER_NAME: Final = re.compile(r"[a-z]{2,8}/[a-z][a-z0-9-]{1,23}")
MESSAGE_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]{1,47}")
ROLE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{1,23}")
ENTRY: Final = re.compile(r"[a-z_][a-z0-9_.]*:[a-z_][a-z0-9_]*")
PROFILES: Final = ("app", "service", "radio", "panel")
SWITCHES: Final = ("bluetooth", "nfc", "usb", "camera")
"Switches of the device (keyos-model, 8.3)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A verified manifest."""

    app_id: bytes
    "16 bytes: the identity of the process and the input of its key derivation."
    role: str
    "Short name of the process, unique in the device."
    name: str
    "Name for people, at most 24 characters."
    entry: str
    "`module:function` that the process runs."
    profile: str
    "seccomp allow-list."
    storage: bool
    "Whether the process has a folder of its own."
    system: bool
    "Part of the operating system; false for apps."
    critical: bool
    "The device stops when this process ends."
    first: bool
    "Needed for the first screen; the others start after it."
    servers: dict[str, dict[str, int]]
    "Servers offered: name -> message name -> id (0 to 2^32 - 1)."
    access: dict[str, dict[str, Access]]
    "What it takes to obtain each offered message; same keys as `servers`."
    permissions: dict[str, tuple[str, ...]]
    "Messages that may be sent: server -> message names."
    switch: str | None = None
    "Switch of the device that the process runs behind, one of `SWITCHES`."
    objects: dict[tuple[str, int], int] = field(default_factory=dict)
    "Largest memory object of a message and its answer in bytes, where it is not the default."


def parse_manifest_untrusted(text: bytes) -> Manifest:
    """Parse a manifest file; raise only ManifestError."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError("manifest is too large")
    try:
        table = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ManifestError("manifest is not TOML") from error
    return read_manifest_untrusted(table)


def read_manifest_untrusted(table: dict[str, Any]) -> Manifest:
    """Read a manifest from its table, whatever file it was in; raise only ManifestError."""
    known = {"appId", "role", "name", "entry", "profile", "storage", "system", "critical", "first"}
    unknown = set(table) - known - {"servers", "permissions", "objects", "switch"}
    if unknown:
        raise ManifestError(f"manifest has unknown keys: {', '.join(sorted(unknown))}")
    app_id = _text(table, "appId", APP_ID)
    name = table.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise ManifestError(f"name is missing or longer than {MAX_NAME} characters")
    profile = table.get("profile")
    if profile not in PROFILES:
        raise ManifestError("profile is not known")
    servers, access = _servers(table.get("servers", {}))
    switch = table.get("switch")
    if switch is not None and switch not in SWITCHES:
        raise ManifestError("switch is not known")
    return Manifest(
        app_id=bytes.fromhex(app_id[2:]),
        role=_text(table, "role", ROLE_NAME),
        name=name,
        entry=_text(table, "entry", ENTRY),
        profile=profile,
        storage=_flag(table, "storage"),
        system=_flag(table, "system"),
        critical=_flag(table, "critical"),
        first=_flag(table, "first"),
        servers=servers,
        access=access,
        permissions=_permissions(table.get("permissions", {})),
        switch=switch,
        objects=_objects(table.get("objects", {}), servers),
    )


def _text(table: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ManifestError(f"{key} is missing or malformed")
    return value


def _flag(table: dict[str, Any], key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise ManifestError(f"{key} is not true or false")
    return value


def _servers(value: object) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, Access]]]:
    if not isinstance(value, dict):
        raise ManifestError("servers is not a table")
    servers, access = {}, {}
    for server, messages in value.items():
        if not SERVER_NAME.fullmatch(server):
            raise ManifestError("server name is malformed")
        if not isinstance(messages, dict) or not 1 <= len(messages) <= MAX_MESSAGES:
            raise ManifestError(f"{server} has no messages or too many")
        read = {name: _parse_message(server, name, entry) for name, entry in messages.items()}
        servers[server] = {name: number for name, (number, _) in read.items()}
        access[server] = {name: rule for name, (_, rule) in read.items()}
        if len(set(servers[server].values())) != len(messages):
            raise ManifestError(f"{server} uses a message id twice")
    return servers, access


def _parse_message(server: str, name: str, entry: object) -> tuple[int, Access]:
    """Read `Name = 1` or `Name = { id = 1, permissionGroup = …, … }`."""
    if not MESSAGE_NAME.fullmatch(name):
        raise ManifestError(f"{server} has a malformed message name")
    fields = entry if isinstance(entry, dict) else {"id": entry}
    unknown = set(fields) - {"id", "permissionGroup", "requiredSignature", "approval"}
    if unknown:
        raise ManifestError(f"{server}: {name} has unknown keys: {', '.join(sorted(unknown))}")
    number = fields.get("id")
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ManifestError(f"{server}: {name} has no valid id")
    if server.startswith(APP_SERVERS) and number == OPEN_CHANNEL:
        raise ManifestError(f"{server}: {name} has the id that opens a channel")
    group = fields.get("permissionGroup")
    if group is None:
        if len(fields) > 1:
            raise ManifestError(f"{server}: {name} has no permissionGroup but rules for one")
        return number, PRIVATE
    if not isinstance(group, str) or group not in CATALOGUE:
        raise ManifestError(f"{server}: {name} is in no group of the catalogue")
    try:
        signature = Signature(fields.get("requiredSignature", Signature.THIRD_PARTY.value))
        approval = Approval(fields.get("approval", Approval.NOT_USER_GRANTABLE.value))
    except ValueError:
        raise ManifestError(f"{server}: {name} has an unknown signature or approval") from None
    if signature is Signature.FOUNDATION and approval is not Approval.NOT_USER_GRANTABLE:
        raise ManifestError(f"{server}: {name} is for built-in parts and cannot be granted")
    return number, Access(group, signature, approval)


def _permissions(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ManifestError("permissions is not a table")
    result = {}
    for server, names in value.items():
        if not SERVER_NAME.fullmatch(server):
            raise ManifestError("server name is malformed")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ManifestError(f"permissions for {server} are not a list of names")
        if len(set(names)) != len(names):
            raise ManifestError(f"permissions for {server} name a message twice")
        result[server] = tuple(names)
    return result


def _objects(value: object, servers: dict[str, dict[str, int]]) -> dict[tuple[str, int], int]:
    """`[objects."os/x"]`: message name = largest object in bytes, for messages of own servers."""
    if not isinstance(value, dict):
        raise ManifestError("objects is not a table")
    result = {}
    for server, limits in value.items():
        messages = servers.get(server)
        if messages is None or not isinstance(limits, dict):
            raise ManifestError("objects names a server that the manifest does not offer")
        for name, size in limits.items():
            if name not in messages:
                raise ManifestError(f"objects: {server} has no such message")
            if type(size) is not int or not 0 < size <= MAX_OBJECT_BYTES:
                raise ManifestError(f"objects: {server}: {name} has no valid size")
            result[server, messages[name]] = size
    return result
