"""Prepares what a device needs from the outside world and starts its core.

The launcher is the only part that opens listening sockets and reads settings of the host. It makes
the data directory, takes its lock, binds the page's port on the loopback, and then hands everything
to a core process with a clean interpreter.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from typing import IO, TYPE_CHECKING, Any, Final

from primegap.device.chip_supply import chip_supply
from primegap.device.errors import (
    BluetoothPathError,
    DataDirectoryBusyError,
    DataDirectoryError,
    DataDirectoryModeError,
    ModelWithoutRadioError,
    PortBusyError,
    SimulatorNetworkError,
)
from primegap.keyos.channel import seal_object
from primegap.keyos.core.builtin import PACKAGE
from primegap.keyos.core.order import find_runtime
from primegap.keyos.manifest.models import CORE, MODELS, PRIME

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK: Final = "127.0.0.1"
MARKER: Final = "device.json"
LOCK: Final = "lock"
TOKEN: Final = "page-token"  # noqa: S105 - the name of a file
LINK_TRACE: Final = "link-trace.jsonl"
FORMAT: Final = 2
TEST_SUPPLY_CHAIN: Final = {
    "server": (
        "0935b75df7bb1a6c477ccf79cb8701037792efda178986439e1a7badea7e5c7f"
        "e6a3ac47415371532328790e543e88c2b3f446392f8c49dd65ccdb4330eaf916"
    ),
    "secret": b"primegap test batch".hex(),
}
"""Public key of a server that everybody can be (its private key is the SHA-256 of `primegap: test
server of the supply chain`), and the secret of a batch that everybody knows: for tests of the
check on development devices. Others have none."""
KINDS: Final = ("ordinary", "development", "simulator")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """How a device is to run."""

    data: Path
    "Data directory: one device for ever."
    network: str
    "`regtest`, `signet`, `testnet4` or `mainnet`."
    development: bool = False
    "Automation on: only for a data directory that was never used without it."
    simulator: bool = False
    """No isolation at all, for machines without it: test seeds, no mainnet, its own kind of data
    directory, a banner on every screen (M-1)."""
    model: str = PRIME
    """`prime`, or `core`: a signer by codes and card that has no radio and one app. A data
    directory belongs to one model for ever."""
    port: int = 0
    "Port of the device page on the loopback; 0 for any."
    bluetooth: str | None = None
    "Where the Bluetooth chip finds its controller, `unix:PATH`: see `start_air`, `start_adapter`."
    link_trace: bool = False
    "Write public facts of the link to `link_trace_file(data)`; only in a development device."


@dataclass(slots=True)
class StartedDevice:
    """A device that was started."""

    process: subprocess.Popen[bytes]
    "Core. Its standard output carries one JSON event a line."
    url: str
    "The device page."
    token: str
    "Secret of this start: opens the page and the automation API."

    @property
    def events(self) -> IO[bytes]:
        """Stream of JSON lines."""
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def page(self) -> str:
        """Address that opens the page in a browser."""
        return f"{self.url}/?token={self.token}"


def prepare_data_directory(
    data: Path, *, development: bool, simulator: bool = False, model: str = PRIME
) -> int:
    """Create or check the data directory; return the descriptor that holds its lock.

    Raises:
        DataDirectoryError: it cannot be written, everybody can write to it, it is in use, or
            belongs to the other kind of device.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if data.stat().st_mode & stat.S_IWOTH:
            raise DataDirectoryError(f"{data} can be changed by every user of this machine")
        lock = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryError(f"cannot use {data}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        kind = "development" if development else "ordinary"
        _check_marker(data, "simulator" if simulator else kind, model)
    except BlockingIOError:
        os.close(lock)
        raise DataDirectoryBusyError(f"{data} is in use") from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_marker(data: Path, mode: str, model: str) -> None:
    from primegap.files import StorageError, read_file, write_file

    try:
        present = read_file(data / MARKER)
        if present is None:
            if any(path.name not in (LOCK, MARKER + ".new") for path in data.iterdir()):
                raise DataDirectoryError(f"{data} holds other files")
            content = json.dumps({"format": FORMAT, "mode": mode, "model": model}) + "\n"
            write_file(data / MARKER, content.encode())
            return
    except StorageError as error:
        raise DataDirectoryError(f"{error}. {error.hint}") from error
    try:
        found = json.loads(present)
        known, made = found["mode"], found["model"]
        readable = found["format"] == FORMAT and known in KINDS and made in MODELS
    except (ValueError, KeyError, TypeError):
        readable, known, made = False, "", ""
    if not readable:
        raise DataDirectoryError(f"{data / MARKER} is damaged or of another version")
    if known != mode:
        raise DataDirectoryModeError(f"{data} belongs to {_article(known)} device")
    if made != model:
        raise DataDirectoryModeError(f"{data} belongs to a device of the model {made}")


def _article(mode: str) -> str:
    return "an ordinary" if mode == "ordinary" else f"a {mode}"


def listen(port: int) -> socket.socket:
    """Bind a port on the loopback.

    Raises:
        PortBusyError: it is taken or may not be used.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
        sock.listen(64)
    except OSError as error:
        sock.close()
        reason = (
            "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        )
        raise PortBusyError(f"port {port} {reason}") from error
    return sock


def start_device(
    settings: DeviceSettings, *, journal: IO[bytes] | int | None = None
) -> StartedDevice:
    """Start a device and return at once; `journal` receives its log lines (standard error).

    Raises:
        DeviceError: the data directory or the port cannot be used; nothing was started.
    """
    started_s = time.monotonic()
    if settings.bluetooth is not None:
        _radio_config(settings.bluetooth)  # refused before anything is opened
    if settings.model == CORE and settings.bluetooth is not None:
        raise ModelWithoutRadioError("the model core has no radio")
    if settings.simulator and settings.network == "mainnet":
        raise SimulatorNetworkError("a simulator on mainnet")
    lock = prepare_data_directory(
        settings.data,
        development=settings.development,
        simulator=settings.simulator,
        model=settings.model,
    )
    try:
        page_socket = listen(settings.port)
    except PortBusyError:
        os.close(lock)
        raise
    token = secrets.token_urlsafe(24)
    port = page_socket.getsockname()[1]
    url = f"http://{LOOPBACK}:{port}"
    _write_token(settings.data / TOKEN, token)
    runtime = find_runtime(PACKAGE.parent)
    order = seal_object(
        json.dumps(
            {
                "runtime": asdict(runtime),
                "started_s": started_s,
                "data": str(settings.data.resolve()),
                "development": settings.development,
                "simulator": settings.simulator,
                "model": settings.model,
                "supplies": _supplies(settings, token, page_socket.fileno()),
            }
        ).encode()
    )
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
        [sys.executable, "-I", "-S", "-B", str(PACKAGE / "keyos/core/main.py"), str(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=journal,
        pass_fds=[order, lock, page_socket.fileno()],
        env={"LC_ALL": "C.UTF-8"},
    )
    os.close(order)
    os.close(lock)
    page_socket.close()
    return StartedDevice(process, url, token)


def link_trace_file(data: Path) -> Path:
    """Return where a development device writes the trace of its link, once it is unlocked."""
    return data / "link" / LINK_TRACE


def _supplies(settings: DeviceSettings, token: str, page_fd: int) -> dict[str, Any]:
    version, network = installed("primegap"), settings.network
    supplies = {
        "panel": _supply({"token": token}, {"page": page_fd}),
        "ui": _supply({"network": network, "model": settings.model}),
        "bitcoin": _supply({"network": network, "model": settings.model, "version": version}),
    }
    if settings.model == CORE:
        if settings.development or settings.simulator:
            supplies["security"] = _supply({"supply_chain": TEST_SUPPLY_CHAIN})
        return supplies
    chip = chip_supply(settings.data, development=settings.development)
    link = {
        "chip_fuses": chip.fuses.hex(),
        "chip_header": chip.header.hex(),
        "trace": LINK_TRACE if settings.link_trace and settings.development else None,
    }
    supplies |= {
        "link": _supply(link),
        "calls": _supply({"version": version}),
        "app-manager": _supply({"version": version}),
    }
    if settings.bluetooth is not None:
        radio = {
            "device_id": chip.device_id.hex(),
            "signers": [key.hex() for key in chip.signers],
            **_radio_config(settings.bluetooth),
        }
        supplies["radio"] = _supply(radio)
    return supplies


def _supply(config: dict[str, Any], fds: dict[str, int] | None = None) -> dict[str, Any]:
    """Return what one process is started with: no device files, descriptors only where named."""
    return {"config": config, "fds": fds or {}, "devices": []}


def _radio_config(transport: str) -> dict[str, Any]:
    # The sandbox forbids sockets: core connects and hands the stream over.
    scheme, _, path = transport.partition(":")
    if scheme not in ("unix", "unix-client") or not path:
        raise BluetoothPathError(f"{transport} is not unix:PATH")
    return {"hci_unix": path}


def _write_token(path: Path, token: str) -> None:
    from primegap.files import StorageError, write_file

    try:
        write_file(path, token.encode() + b"\n")
    except StorageError as error:
        raise DataDirectoryError(f"{error}. {error.hint}") from error
