"""Write docs/reference/permissions.md, the catalogue: `python -m scripts.docs_permissions`.

The page is read from the catalogue and the manifests of the device. With `--check` it is only
compared.
"""

from __future__ import annotations

from typing import Final

from scripts.docs_page import cell, publish

from primegap.keyos.core.builtin import builtin_manifests
from primegap.keyos.manifest import CATALOGUE, Approval, Signature

HEAD: Final = """\
# Permissions

What an app may send, its manifest says; what it can obtain, the owner of each message says. Grants
are given, listed and taken back by *subgroup*, in the settings under *Permissions*. Why it is built
so: [decision record](../adr/0024-permissions.md).

* **with the installation**: the app has it as soon as it is installed.
* **at the first use**: the message waits while the trusted screen asks. *Allow* and *never* are
  kept until they are taken back or the app is removed; *not now* holds until the app starts again.
* **built-in apps only**: no installed app can name it; its manifest would be refused.

`primegap app manifest check FILE` says what a manifest comes to, and `primegap app manifest table`
prints every message that can pass on a device.

## In a manifest

```toml
[servers."app/clock"]                    # what this app offers; other apps reach it sealed
GetTime = { id = 1, permissionGroup = "settings.ui-essentials", approval = "autoAllow" }

[permissions]                            # what it sends
"os/ui" = ["Present", "WaitOpened", "Close"]
"os/camera" = ["NextCode"]
```

`permissionGroup` is a subgroup below; `approval` is `autoAllow`, `grantOnFirstUse` or
`notUserGrantable` (the default); `requiredSignature` is `thirdParty` (the default of a message with
a subgroup) or `foundation`, the root of the device's own image. A message that has only a number is
between built-in processes. Message id 0 of an `app/` server opens channels and cannot be used.
"""
TABLE: Final = """\
## The catalogue
"""
_WHEN: Final = {
    Approval.AUTO_ALLOW: "with the installation",
    Approval.GRANT_ON_FIRST_USE: "at the first use",
    Approval.NOT_USER_GRANTABLE: "built-in apps only",
}


def page() -> str:
    """Return the page."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in CATALOGUE}
    for manifest in builtin_manifests():
        for server, messages in manifest.access.items():
            for message, access in messages.items():
                if access.group is None:
                    continue
                approval = access.approval
                if access.signature is Signature.FOUNDATION:
                    approval = Approval.NOT_USER_GRANTABLE
                listed = found[access.group].setdefault(_WHEN[approval], [])
                listed.append(f"`{server}` `{message}`")
    parts = [HEAD, TABLE, "| Subgroup | The app wants to … | When | Messages |"]
    parts.append("| --- | --- | --- | --- |")
    for name, permission in CATALOGUE.items():
        what = cell(f"{permission.title}. {permission.detail}")
        rows = found[name] or {"–": ["none on this device yet"]}
        for when, names in rows.items():
            parts.append(f"| `{name}` | {what} | {when} | {', '.join(names)} |")
    return "\n".join(parts)


if __name__ == "__main__":
    publish("reference/permissions.md", "docs_permissions", page())
