"""Write docs/reference/guarantees.md, what proves what: `python -m scripts.docs_guarantees`.

The page is read from the specification and from the marks of the tests. With `--check` it is only
compared.
"""

from __future__ import annotations

from typing import Final

from scripts.docs_page import publish
from tests.guarantees.catalogue import NOT_BUILT, catalogue, proofs

HEAD: Final = """\
# Guarantees and their tests

This page is read from section 14 of the [KeyOS model](../spec/keyos-model.md) and from the tests
that are marked `guarantee`. What that means and how to run them: [Guarantees](../guarantees.md).
"""
ROW_HEAD: Final = "| Id | Property | Attempted | Tests |\n| --- | --- | --- | --- |"


def page() -> str:
    """Return the page."""
    found = proofs()
    rows = [HEAD, ROW_HEAD]
    for identifier, guarantee in catalogue().items():
        mine = [proof for proof in found if identifier in proof.ids]
        tried = list(dict.fromkeys(proof.tried for proof in mine))
        if identifier in NOT_BUILT:
            tried.insert(0, f"**not built: {NOT_BUILT[identifier]}**")
        files = sorted({proof.path for proof in mine})
        names = ", ".join(f"`{name}`" for name in files) or "–"
        rows.append(f"| {identifier} | {guarantee.property} | {'; '.join(tried)} | {names} |")
    return "\n".join(rows)


if __name__ == "__main__":
    publish("reference/guarantees.md", "docs_guarantees", page())
