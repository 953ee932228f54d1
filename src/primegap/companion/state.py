"""The companion's files: identity, paired device, accounts, payments under way.

Everything is JSON in one directory that only the user can read, each file replaced in one step.
The link identity's seed is the only secret here; it authenticates the companion and holds no coins.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from primegap.companion.errors import StateBusyError, StateError
from primegap.files import StorageError, read_file, remove_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

FORMAT: Final = 1
LOCK: Final = "lock"
MAX_PAYMENTS: Final = 1000  # kept for the history; the oldest finished ones go first


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDevice:
    """The device this companion is paired with."""

    name: str
    "Name it advertises."
    address: str
    "Bluetooth address, empty when unknown."
    bundle: str
    "Its public identity (quantumlink-wire, section 4.3), hex."
    suite: str
    fingerprint: str
    "Short fingerprint of the session in which it was paired."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account that the device shared."""

    id: str
    name: str
    network: str
    sequence: int
    external: str
    internal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment from its composition to its block."""

    txid: str
    account: str
    address: str
    amount: int
    fee: int
    fee_rate: int
    psbt: str = field(repr=False)
    "Unsigned PSBT, hex."
    signed: str = field(default="", repr=False)
    "Signed PSBT, hex; empty until the device signed."
    stage: str = "composed"
    "`composed`, `signed`, `broadcast`."
    created_s: int = 0


class CompanionState:
    """One data directory, held by one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Open or create the directory.

        Raises:
            StateBusyError: another process holds it.
            StateError: it cannot be used.
        """
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "wallets").mkdir(mode=0o700, exist_ok=True)
            (folder / "payments").mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use {folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StateBusyError(f"{folder} is in use") from None

    def close(self) -> None:
        """Release the directory. Harmless when repeated."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def wallets(self) -> Path:
        """Folder of the wallets' databases."""
        return self._folder / "wallets"

    @property
    def audit_log(self) -> Path:
        """The device's audit log, as it was fetched last."""
        return self._folder / "audit.log"

    # -- identity and device --------------------------------------------------------------------

    def identity_seed(self, size: int) -> bytes:
        """Return the seed of the link identity, made on the first call."""
        stored = self._read("identity.json")
        if stored is None:
            seed = os.urandom(size)
            self._write("identity.json", {"seed": seed.hex()})
            return seed
        try:
            seed = bytes.fromhex(stored["seed"])
        except (KeyError, TypeError, ValueError):
            raise StateError("identity.json is damaged") from None
        if len(seed) != size:
            raise StateError("identity.json is damaged")
        return seed

    def device(self) -> PairedDevice | None:
        """Return the paired device."""
        stored = self._read("device.json")
        return None if stored is None else _build(PairedDevice, stored, "device.json")

    def set_device(self, device: PairedDevice) -> None:
        """Store the paired device."""
        self._write("device.json", asdict(device))

    def forget_device(self) -> None:
        """Forget the device and take a new link identity next time; accounts stay, watch-only."""
        self._remove("device.json")
        self._remove("identity.json")

    # -- accounts -------------------------------------------------------------------------------

    def accounts(self) -> list[StoredAccount]:
        """Return the accounts the device shared."""
        stored = self._read("accounts.json") or {"accounts": []}
        items = stored.get("accounts")
        if not isinstance(items, list):
            raise StateError("accounts.json is damaged")
        return [_build(StoredAccount, item, "accounts.json") for item in items]

    def put_account(self, account: StoredAccount) -> None:
        """Add an account or replace the one with its id."""
        others = [item for item in self.accounts() if item.id != account.id]
        self._write("accounts.json", {"accounts": [asdict(item) for item in [*others, account]]})

    # -- payments -------------------------------------------------------------------------------

    def payments(self) -> list[Payment]:
        """Return all payments, newest first."""
        found = []
        for path in (self._folder / "payments").glob("*.json"):
            stored = self._read(f"payments/{path.name}")
            if stored is not None:
                found.append(_build(Payment, stored, path.name))
        return sorted(found, key=lambda payment: payment.created_s, reverse=True)

    def payment(self, txid: str) -> Payment | None:
        """Return one payment."""
        return next((payment for payment in self.payments() if payment.txid == txid), None)

    def put_payment(self, payment: Payment) -> None:
        """Store a payment's present stage."""
        self._write(f"payments/{payment.txid}.json", asdict(payment))
        finished = [item for item in self.payments() if item.stage == "broadcast"]
        for old in finished[MAX_PAYMENTS:]:
            self.drop_payment(old.txid)

    def drop_payment(self, txid: str) -> None:
        """Forget a payment that was given up."""
        self._remove(f"payments/{txid}.json")

    # -- files ----------------------------------------------------------------------------------

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            data = read_file(self._folder / name)
        except StorageError as error:
            raise StateError(str(error)) from error
        if data is None:
            return None
        try:
            stored = json.loads(data)
        except ValueError:
            raise StateError(f"{name} is damaged") from None
        if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
            raise StateError(f"{name} is damaged or of another version")
        return stored

    def _write(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, **content}, indent=1) + "\n"
        try:
            write_file(self._folder / name, text.encode())
        except StorageError as error:
            raise StateError(f"{error}. {error.hint}") from error

    def _remove(self, name: str) -> None:
        try:
            remove_file(self._folder / name)
        except StorageError as error:
            raise StateError(str(error)) from error


def _build(kind: type[T], stored: Any, name: str) -> T:
    try:
        return kind(**stored)
    except TypeError:
        raise StateError(f"{name} is damaged") from None
