"""The manifest inside a bundle: JSON, parsed strictly, refused as a whole (keyos-model 3.2, 4.4).

It says who the app is, what it may ask for and which files belong to it. What the permissions mean
is judged by `primegap.keyos.manifest`, as for the parts of the system.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from primegap.keyos.bundle.archive import MANIFEST, SIGNATURE, check_name
from primegap.keyos.bundle.certificate import MAX_PUBLISHER
from primegap.keyos.bundle.errors import ArchiveError, BundleManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MANIFEST_BYTES: Final = 128 << 10
MAX_NAME: Final = 24  # as on every screen that names an app
MAX_DESCRIPTION: Final = 120
MAX_LOCALES: Final = 64
APP_ID_BYTES: Final = 16
VERSION: Final = re.compile(
    r"(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})(-[0-9a-z.-]{1,8})?", re.ASCII
)
IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9-]{1,31}", re.ASCII)
ENTRY: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*:[a-z_][a-z0-9_]*", re.ASCII)
FORMAT: Final = "0"

_ENGLISH_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .&'+-]*", re.ASCII)
"""The device compares and shows this one: no letters of other alphabets that look the same."""
_LOCALE: Final = re.compile(r"[a-z]{2}(-[A-Z]{2})?", re.ASCII)
_APP_ID: Final = re.compile(r"0x[0-9a-f]{32}", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNED_KEYS: Final = frozenset({"manifestVersion", "appId", "publisher", "fileHashes"})
DESCRIBING_KEYS: Final = frozenset(
    {"identifier", "appName", "description", "version", "minKeyosVersion", "entry", "storage"}
    | {"servers", "permissions"}
)
"What the developer writes; building adds the files, signing the publisher."


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """A manifest whose form was checked."""

    app_id: bytes
    "16 bytes: identity of the app and input of its key derivation."
    identifier: str
    "The publisher's own name for the app, which the app id commits to."
    names: Mapping[str, str]
    "Name for people by locale; `en` is always there."
    publisher: str
    "Name in the publisher's certificate."
    description: str
    version: str
    min_keyos_version: str
    entry: str
    "`module:function` that the process runs."
    storage: bool
    "Whether the app has a folder of its own."
    servers: Mapping[str, Any]
    permissions: Mapping[str, Any]
    "Both as the publisher wrote them; `primegap.keyos.manifest` judges them."
    file_hashes: Mapping[str, bytes]
    "SHA-256 of every file but manifest and signature."

    @property
    def name(self) -> str:
        """Name for people, at most 24 characters."""
        return self.names["en"]


def derive_app_id(fingerprint: bytes, identifier: str) -> bytes:
    """Return the id of an installed app, 16 bytes: it commits to the publisher's keys.

    The secrets of an app are derived from its id. An id that everybody could claim would hand them
    to the next publisher who claims it.
    """
    text = b"primegap:installed-app:v1:" + fingerprint + identifier.encode()
    return hashlib.sha256(text).digest()[:APP_ID_BYTES]


def app_id_from_name(name: str) -> bytes:
    """Return the app id that image tooling derives for a part of the system (section 4.1)."""
    lowered = name.lower()
    first = min((at for at in (lowered.find(" "), lowered.find("-")) if at >= 0), default=None)
    if first is not None:
        lowered = f"{lowered[:first]}_{lowered[first + 1 :]}"
    return hashlib.sha256(f"{lowered}\n".encode()).digest()[:APP_ID_BYTES]


def version_number(version: str) -> tuple[int, int, int, bool, str]:
    """Return a version in a form that sorts: a pre-release comes before its release."""
    match = VERSION.fullmatch(version)
    if match is None:
        raise BundleManifestError("a version is not of the form 1.2.3")
    tail = match[4] or ""
    return int(match[1]), int(match[2]), int(match[3]), not tail, tail


def parse_bundle_manifest_untrusted(data: bytes) -> BundleManifest:
    """Parse the JSON of a signed manifest; raise only BundleManifestError."""
    table = parse_json_untrusted(data)
    if set(table) != DESCRIBING_KEYS | _SIGNED_KEYS:
        raise BundleManifestError("a field of the manifest is missing or not known")
    if table["manifestVersion"] != FORMAT:
        raise BundleManifestError("the manifest is of another version")
    described = described_manifest(table)
    publisher = table["publisher"]
    if not isinstance(publisher, str) or not 1 <= len(publisher) <= MAX_PUBLISHER:
        raise BundleManifestError("publisher is malformed")
    return replace(
        described,
        app_id=bytes.fromhex(_matching(table, "appId", _APP_ID)[2:]),
        publisher=publisher,
        file_hashes=_file_hashes(table["fileHashes"]),
    )


def parse_json_untrusted(data: bytes) -> dict[str, Any]:
    """Return a JSON object without duplicate keys, fractions or odd constants."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleManifestError("the manifest is too large")
    try:
        table = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BundleManifestError("the manifest is not JSON") from error
    if not isinstance(table, dict):
        raise BundleManifestError("the manifest is not a JSON object")
    return table


def check_description(table: Mapping[str, Any]) -> None:
    """Check what the developer wrote (`DESCRIBING_KEYS`); raise BundleManifestError."""
    missing = DESCRIBING_KEYS - set(table)
    if missing:
        raise BundleManifestError(f"{min(missing)} is missing")
    _matching(table, "identifier", IDENTIFIER)
    _matching(table, "version", VERSION)
    _matching(table, "minKeyosVersion", VERSION)
    _matching(table, "entry", ENTRY)
    names = table["appName"]
    if not isinstance(names, dict) or "en" not in names or len(names) > MAX_LOCALES:
        raise BundleManifestError("appName has no name for `en`, or too many")
    for locale, name in names.items():
        if not _LOCALE.fullmatch(locale) or not _is_plain(name, 1, MAX_NAME):
            raise BundleManifestError(f"appName: 1 to {MAX_NAME} plain characters a locale")
    if not _ENGLISH_NAME.fullmatch(names["en"]):
        raise BundleManifestError("appName: English letters, digits, blanks and .&'+- for `en`")
    if not _is_plain(table["description"], 0, MAX_DESCRIPTION):
        raise BundleManifestError(f"description: at most {MAX_DESCRIPTION} plain characters")
    if not isinstance(table["storage"], bool):
        raise BundleManifestError("storage is not true or false")
    for key in ("servers", "permissions"):
        if not isinstance(table[key], dict):
            raise BundleManifestError(f"{key} is not a table")


def described_manifest(table: Mapping[str, Any]) -> BundleManifest:
    """Return what the developer wrote as a manifest, without what building and signing add.

    Raises:
        BundleManifestError: it breaks a rule of `check_description`.
    """
    check_description(table)
    return BundleManifest(
        app_id=bytes(APP_ID_BYTES),
        identifier=table["identifier"],
        names=table["appName"],
        publisher="",
        description=table["description"],
        version=table["version"],
        min_keyos_version=table["minKeyosVersion"],
        entry=table["entry"],
        storage=table["storage"],
        servers=table["servers"],
        permissions=table["permissions"],
        file_hashes={},
    )


def _is_plain(value: object, least: int, most: int) -> bool:
    return (
        isinstance(value, str)
        and least <= len(value) <= most
        and value.isprintable()
        and value == value.strip()
    )


def _matching(table: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = table[key]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BundleManifestError(f"{key} is malformed")
    return value


def _file_hashes(value: object) -> dict[str, bytes]:
    if not isinstance(value, dict):
        raise BundleManifestError("fileHashes is not a table")
    hashes = {}
    for name, digest in value.items():
        try:
            check_name(name)
        except ArchiveError as error:
            raise BundleManifestError("fileHashes names a file that cannot be") from error
        if name in (MANIFEST, SIGNATURE):
            raise BundleManifestError("fileHashes names a file that signs it")
        if not isinstance(digest, str) or not _HASH.fullmatch(digest):
            raise BundleManifestError("fileHashes has a malformed hash")
        hashes[name] = bytes.fromhex(digest)
    return hashes


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key comes twice")
    return table


def _no_number(text: str) -> NoReturn:
    raise ValueError("only whole numbers are used")
