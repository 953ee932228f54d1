"""Write docs/reference/processes.md, who may do what: `python -m scripts.docs_processes`.

The page is read from the manifests that the device runs with. With `--check` it is only compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.docs_page import publish

from primegap.keyos.core.builtin import builtin_table
from primegap.keyos.sandbox.syscalls import BASE, PROFILES

if TYPE_CHECKING:
    from primegap.keyos.manifest import Manifest, PermissionTable

HEAD: Final = """\
# Processes and their rights

This page is read from the manifests (`manifest.toml` beside the code of each process), which are
also what the router enforces. A message that is not listed here is refused before it reaches
anybody.

## Processes

*First* processes start before the first screen, the others after it. When a *critical* one ends,
the device stops; others are started again. *Folder* means a directory of its own below the data
directory, the only files that a process can write besides 16 MiB of scratch space in memory.
"""
RIGHTS: Final = """\
## Who may send what to whom

Services never call back: whoever wants news asks with a request that waits.
"""
CALLS: Final = """\
## System calls

Every confined process has the same list of system calls, some of them judged by their arguments
(`src/primegap/keyos/sandbox/syscalls.py` and `seccomp.py`). None can create a socket, connect,
start a program, fork, trace another process, mount, or load code into the kernel. `core`, which
starts and confines the others, is not confined itself. The profiles add:
"""


def page() -> str:
    """Return the page."""
    table = builtin_table()
    manifests = sorted(table.manifests.values(), key=lambda m: (not m.first, m.role))
    parts = [HEAD, "| Process | Name | Profile | First | Critical | Folder | Offers |"]
    parts.append("| --- | --- | --- | --- | --- | --- | --- |")
    parts += [_process(manifest) for manifest in manifests]
    parts += ["", RIGHTS, *_rights(table, manifests), "", CALLS]
    parts.append("| Profile | Further calls |\n| --- | --- |")
    for profile, calls in PROFILES.items():
        more = ", ".join(f"`{name}`" for name in sorted(calls - BASE)) or "none"
        parts.append(f"| `{profile}` | {more} |")
    return "\n".join(parts)


def _process(manifest: Manifest) -> str:
    profile = "–" if manifest.role == "core" else f"`{manifest.profile}`"
    cells = [f"`{manifest.role}`", manifest.name, profile]
    cells += [_mark(manifest.first), _mark(manifest.critical), _mark(manifest.storage)]
    cells.append(", ".join(f"`{server}`" for server in manifest.servers) or "–")
    return f"| {' | '.join(cells)} |"


def _mark(value: bool) -> str:
    return "yes" if value else "–"


def _rights(table: PermissionTable, manifests: list[Manifest]) -> list[str]:
    rows = ["| From | To | Messages |", "| --- | --- | --- |"]
    for manifest in manifests:
        for role, server, names in table.rows():
            if role == manifest.role:
                messages = ", ".join(f"`{name}`" for name in names)
                rows.append(f"| `{role}` | `{server}` (`{table.owner(server)}`) | {messages} |")
        if not manifest.permissions and manifest.role != "core":
            rows.append(f"| `{manifest.role}` | nobody | – |")
    return rows


if __name__ == "__main__":
    publish("reference/processes.md", "docs_processes", page())
