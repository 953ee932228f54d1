"""The accounts of the authenticator: one file, sealed under the app's own seed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from primegap.apps.authenticator.otp import Account, Algorithm, OtpKind
from primegap.keyos.client import KeyosError, UnreadableError

if TYPE_CHECKING:
    from primegap.keyos.client import SealedFile

FORMAT: Final = 1
MAX_ACCOUNTS: Final = 40  # with the longest names they still fit one screen's limits


class FullError(KeyosError):
    """There is no room for another account."""

    code = "otp-full"
    hint = f"The authenticator keeps at most {MAX_ACCOUNTS} accounts. Delete one first."


class KnownError(KeyosError):
    """The account is there already."""

    code = "otp-known"
    hint = "This account is in the authenticator already."


@dataclass(slots=True)
class Accounts:
    """What is kept, in the order it was added."""

    file: SealedFile
    accounts: list[Account] = field(default_factory=list)
    counters: list[int] = field(default_factory=list)
    "Of HOTP: the next counter; 0 for the others. As many as there are accounts."

    @classmethod
    def load(cls, file: SealedFile) -> Accounts:
        """Read the file, or begin anew when there is none.

        Raises:
            UnreadableError: it is damaged or belongs to another seed.
            StorageError: it cannot be read.
        """
        data = file.read()
        if data is None:
            return cls(file)
        try:
            stored = json.loads(data)
            if stored["format"] != FORMAT:
                raise UnreadableError("the accounts are of another version")
            rows = [_read(row) for row in stored["accounts"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableError("the accounts are damaged") from error
        return cls(file, [account for account, _ in rows], [counter for _, counter in rows])

    def _save(self) -> None:
        rows = [
            {**_plain(account), "counter": counter}
            for account, counter in zip(self.accounts, self.counters, strict=True)
        ]
        self.file.write(json.dumps({"format": FORMAT, "accounts": rows}).encode())

    def add(self, account: Account, counter: int) -> None:
        """Keep an account.

        Raises:
            FullError: there is no room.
            KnownError: it is there already.
            StorageError: it cannot be written; it is not kept.
        """
        if account in self.accounts:
            raise KnownError("account")
        if len(self.accounts) >= MAX_ACCOUNTS:
            raise FullError("accounts")
        self.accounts.append(account)
        self.counters.append(counter)
        try:
            self._save()
        except BaseException:
            self.accounts.pop()
            self.counters.pop()
            raise

    def remove(self, account: Account) -> None:
        """Forget an account."""
        at = self.accounts.index(account)
        del self.accounts[at], self.counters[at]
        self._save()

    def next_code(self, account: Account) -> str:
        """Return the next HOTP code; its counter is used up before anybody sees it.

        Raises:
            StorageError: that cannot be written down; there is no code.
        """
        at = self.accounts.index(account)
        counter = self.counters[at]
        self.counters[at] += 1
        try:
            self._save()
        except BaseException:
            self.counters[at] = counter
            raise
        return account.code_for(counter)


def _plain(account: Account) -> dict[str, Any]:
    plain = dataclasses.asdict(account)
    return {
        **plain,
        "kind": account.kind.value,
        "algorithm": account.algorithm.value,
        "secret": account.secret.hex(),
    }


def _read(row: dict[str, Any]) -> tuple[Account, int]:
    account = Account(
        OtpKind(row["kind"]),
        str(row["issuer"]),
        str(row["name"]),
        bytes.fromhex(row["secret"]),
        Algorithm(row["algorithm"]),
        int(row["digits"]),
        int(row["period_s"]),
    )
    return account, int(row["counter"])
