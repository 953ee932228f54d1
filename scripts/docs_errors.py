"""Write docs/reference/errors.md, every public error code: `python -m scripts.docs_errors`.

The codes are found by importing all packages. With `--check` the page is only compared.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Final

from scripts.docs_page import cell, publish, summary

import primegap

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOMS: Final = {
    "device": "Starting and driving a device",
    "companion": "Companion",
    "bitcoin": "Bitcoin: what is refused in addresses, accounts and PSBTs",
    "airgap": "Air gap: QR codes and Uniform Resources",
    "quantumlink": "QuantumLink",
    "btp": "Bluetooth chunks",
    "radio": "Radio",
    "keyos": "Processes of the device",
    "cosign": "Signed images",
    "files": "Files",
    "regtest": "Private chain",
    "developer": "Writing apps",
    "demo": "Demonstration",
}
"Sections of the page in order; a package that is not named comes at the end under its own name."

HEAD: Final = """\
# Errors

Every error of primegap has a **code** and a **hint**. The code is stable and meant for programs:
with `--json` a command that fails prints `{"error": CODE, "message": …, "hint": …}` and ends with
status 1, the [automation API](../how-to/automation.md) answers with `{"error": CODE, "hint": …}`,
and in Python it is the attribute `code` of the exception. The hint is the sentence for a person, on
the terminal, on a page or on the device's screen.

The root of each package stands first in its table; catch it to catch whatever the package raises.
"""


def error_classes() -> dict[str, type[Exception]]:
    """Return every error class of ours by its code, after importing all of primegap.

    A class without a code of its own shares that of its base and is left out.
    """
    for module in pkgutil.walk_packages(primegap.__path__, "primegap."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, type[Exception]] = {}
    for kind in _subclasses(Exception):
        code = vars(kind).get("code")
        if kind.__module__.startswith("primegap.") and isinstance(code, str):
            if code in found:
                raise SystemExit(f"{kind.__qualname__} and {found[code].__qualname__}: code {code}")
            found[code] = kind
    return found


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for one in kind.__subclasses__():
        yield one
        yield from _subclasses(one)


def room_of(kind: type[Exception]) -> str:
    """Return the package below `primegap` that a class belongs to."""
    return kind.__module__.split(".")[1]


def page() -> str:
    """Return the page."""
    classes = error_classes()
    rooms = list(dict.fromkeys([*ROOMS, *sorted(map(room_of, classes.values()))]))
    parts = [HEAD]
    for room in rooms:
        rows = [(code, kind) for code, kind in classes.items() if room_of(kind) == room]
        # Roots first: they have the fewest bases.
        fewest = min((len(kind.__mro__) for _, kind in rows), default=0)
        rows.sort(key=lambda row: (len(row[1].__mro__) > fewest, row[0]))
        if not rows:
            continue
        parts.append(f"## {ROOMS.get(room, room)}\n")
        parts.append("| Code | Meaning | Hint | Class |\n| --- | --- | --- | --- |")
        parts += [_row(code, kind) for code, kind in rows]
        parts.append("")
    return "\n".join(parts)


def _row(code: str, kind: type[Exception]) -> str:
    hint = getattr(kind, "hint", "")
    name = f"`{kind.__module__}.{kind.__qualname__}`"
    return f"| `{code}` | {cell(summary(kind))} | {cell(hint)} | {name} |"


if __name__ == "__main__":
    publish("reference/errors.md", "docs_errors", page())
