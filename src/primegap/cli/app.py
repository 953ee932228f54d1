"""`primegap app`: write, sign and install apps for a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from primegap.cli.app_key import key, key_folder, open_keys, passphrase_option
from primegap.cli.app_manifest import manifest as manifest_group
from primegap.cli.output import Settings, command, emit, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from primegap.developer.port import DevicePort
    from primegap.keyos.bundle import BundleManifest

DEFAULT_URL: Final = "http://127.0.0.1:8520"
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE = click.Path(dir_okay=False, path_type=Path)
UNSIGNED: Final = ".unsigned.app"


@click.group()
def app() -> None:
    """Write, sign and install apps for a device."""


app.add_command(key)
app.add_command(manifest_group)


@app.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", help="What people see. Default: from the folder's name.")
@command
def new(folder: Path, *, name: str | None, as_json: bool) -> None:
    """Make a small app that works in FOLDER, to begin from."""
    from primegap.developer.project import new_project

    shown = name or folder.name.replace("-", " ").replace("_", " ").title()
    written = new_project(folder, shown)
    files = [path.relative_to(folder).as_posix() for path in written]
    emit(
        {"folder": str(folder), "name": shown, "files": files},
        "\n".join([f"Made {shown} in {folder}:", *(f"  {name}" for name in files)]),
        as_json=as_json,
    )


@app.command()
@click.argument(
    "path", type=click.Path(exists=True, path_type=Path), default=Path(), required=False
)
@command
def check(path: Path, *, as_json: bool) -> None:
    """Say what an app is and may do, and refuse it for every reason a device would.

    PATH is the folder of an app, or a bundle, signed or not. Default: this folder.
    """
    from primegap.developer.project import read_project
    from primegap.keyos.bundle import unpack_untrusted, verify_bundle_untrusted
    from primegap.keyos.bundle.archive import MANIFEST, SIGNATURE
    from primegap.keyos.bundle.manifest import described_manifest, parse_json_untrusted

    data = read_project(path).build() if path.is_dir() else _read(path)
    files = unpack_untrusted(data)
    found: dict[str, Any] = {}
    if SIGNATURE in files:
        bundle = verify_bundle_untrusted(data)
        manifest = bundle.manifest
        found = {
            "app_id": manifest.app_id.hex(),
            "publisher": manifest.publisher,
            "fingerprint": bundle.publisher.fingerprint.hex(),
            "sha256": bundle.sha256.hex(),
        }
    else:
        manifest = described_manifest(parse_json_untrusted(files[MANIFEST]))
    rows = _permissions(manifest)
    value = {
        "identifier": manifest.identifier,
        "name": manifest.name,
        "version": manifest.version,
        "signed": bool(found),
        **found,
        "size_bytes": len(data),
        "files": len(files),
        "permissions": rows,
    }
    emit(value, "\n".join(_report(value)), as_json=as_json)


def _permissions(manifest: BundleManifest) -> list[dict[str, str]]:
    """Return what the app may send; raise what a device would refuse it for."""
    from primegap.developer.rights import app_rights

    return [
        {
            "server": row.server,
            "message": row.message,
            "when": row.verdict.value,
            "group": row.group or "",
        }
        for row in app_rights(manifest)
    ]


def _report(value: dict[str, Any]) -> Sequence[str]:
    lines = [
        f"{value['name']} {value['version']} ({value['identifier']})",
        f"{value['files']} files, {value['size_bytes']:,} bytes, "
        + ("signed." if value["signed"] else "not signed."),
    ]
    if value["signed"]:
        lines += [
            f"Publisher:   {value['publisher']}",
            f"Fingerprint: {value['fingerprint']}",
            f"App id:      {value['app_id']}",
        ]
    words = {"allow": "at once", "ask": "after asking the person"}
    lines += [
        f"  {row['server']:<16} {row['message']:<16} {words.get(row['when'], row['when'])}"
        for row in value["permissions"]
    ]
    if not value["permissions"]:
        lines.append("  It may send nothing to anybody.")
    return lines


@app.command()
@click.argument("folder", type=FOLDER, default=Path(), required=False)
@click.option("-o", "--output", type=NEW_FILE, help="Default: in FOLDER/build.")
@command
def build(folder: Path, *, output: Path | None, as_json: bool) -> None:
    """Make one file of the app in FOLDER. The same files give the same bytes, anywhere."""
    from hashlib import sha256

    from primegap.developer.project import read_project
    from primegap.keyos.bundle import unpack_untrusted
    from primegap.keyos.bundle.archive import MANIFEST
    from primegap.keyos.bundle.manifest import described_manifest, parse_json_untrusted

    project = read_project(folder)
    data = project.build()
    _permissions(described_manifest(parse_json_untrusted(unpack_untrusted(data)[MANIFEST])))
    name = f"{project.identifier}-{project.version}{UNSIGNED}"
    target = output or folder / "build" / name
    _write(target, data)
    digest = sha256(data).hexdigest()
    emit(
        {"file": str(target), "sha256": digest, "size_bytes": len(data)},
        f"Built {target}\nSHA-256 {digest}",
        as_json=as_json,
    )


@app.command()
@click.argument("bundle", type=FILE)
@click.option("-o", "--output", type=NEW_FILE, help="Default: beside BUNDLE.")
@click.option("--key", "folder", type=FOLDER, help="Folder of the publisher's key.")
@click.option(
    "--timestamp",
    type=click.IntRange(0, 0xFFFFFFFF),
    envvar="SOURCE_DATE_EPOCH",
    help="Time of signing, Unix seconds. Default: now.",
)
@passphrase_option
@click.pass_obj
@command
def sign(
    settings: Settings,
    *,
    bundle: Path,
    output: Path | None,
    folder: Path | None,
    timestamp: int | None,
    passphrase_stdin: bool,
    as_json: bool,
) -> None:
    """Sign the BUNDLE that `build` made, with both keys of a publisher."""
    import time

    from primegap.keyos.bundle import sign_bundle, verify_bundle_untrusted

    keys = open_keys(folder or key_folder(settings), from_stdin=passphrase_stdin)
    data = sign_bundle(
        _read(bundle),
        keys,
        timestamp_s=int(time.time()) if timestamp is None else timestamp,
    )
    name = bundle.name.removesuffix(UNSIGNED).removesuffix(".app")
    target = output or bundle.with_name(f"{name}.app")
    _write(target, data)
    signed = verify_bundle_untrusted(data)
    emit(
        {
            "file": str(target),
            "app_id": signed.manifest.app_id.hex(),
            "publisher": signed.publisher.name,
            "fingerprint": signed.publisher.fingerprint.hex(),
            "sha256": signed.sha256.hex(),
        },
        f"Signed {target}\nPublisher {signed.publisher.name}, "
        f"fingerprint {signed.publisher.fingerprint.hex()}",
        as_json=as_json,
    )


# -- the device -----------------------------------------------------------------------------------

url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    show_default=True,
    envvar="PRIMEGAP_DEVICE_URL",
    help="Where the page of the device is.",
)


def _port(settings: Settings, url: str) -> DevicePort:
    from primegap.developer.port import DevicePort

    return DevicePort.of_device(settings.device, url)


@app.command()
@click.argument("bundle", type=FILE)
@url_option
@click.pass_obj
@command
def install(settings: Settings, *, bundle: Path, url: str, as_json: bool) -> None:
    """Offer the signed BUNDLE to the device; approve it there.

    Developer mode must be on, and the device unlocked.
    """
    from primegap.keyos.bundle import verify_bundle_untrusted

    data = _read(bundle)
    verify_bundle_untrusted(data)
    say("Look at the device: it asks whether to install the app.")
    done = _port(settings, url).install(data)
    emit(done, f"Installed {done['name']} {done['version']}.", as_json=as_json)


@app.command("list")
@url_option
@click.pass_obj
@command
def list_(settings: Settings, *, url: str, as_json: bool) -> None:
    """Print the apps that are installed on the device."""
    found = _port(settings, url).installed()
    lines = [
        f"{one['identifier']:<24} {one['version']:<12} {one['name']} by {one['publisher']}"
        for one in found
    ]
    emit({"apps": found}, "\n".join(lines) or "No apps are installed.", as_json=as_json)


@app.command()
@click.argument("name")
@url_option
@click.pass_obj
@command
def remove(settings: Settings, *, name: str, url: str, as_json: bool) -> None:
    """Ask the device to erase app NAME (identifier or app id) with its data; approve it there."""
    say("Look at the device: it asks whether to remove the app.")
    done = _port(settings, url).remove(name)
    emit(done, f"Removed {done['name']}. Its data is erased.", as_json=as_json)


# -- files ----------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    from primegap.developer.project import read_bundle_file

    return read_bundle_file(path)


def _write(path: Path, data: bytes) -> None:
    from primegap.developer.errors import BundleFileError
    from primegap.files import StorageError, write_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
    except (OSError, StorageError) as error:
        raise BundleFileError(f"cannot write {path}") from error
