"""No guarantee of the specification is without a test, and no test claims one that is not there."""

from __future__ import annotations

from tests.guarantees.catalogue import KNOWN_BROKEN, NOT_BUILT, catalogue, proofs
from tests.guarantees.plugin import Evidence


def test_every_guarantee_has_a_test_or_says_what_is_missing() -> None:
    proved = {identifier for proof in proofs() for identifier in proof.ids}
    assert proved | set(NOT_BUILT) == set(catalogue())
    assert all(NOT_BUILT.values())
    assert set(KNOWN_BROKEN) <= {proof.name for proof in proofs()}


def test_what_was_not_tried_does_not_hold() -> None:
    """The report of a run without tests: nothing holds."""
    results = {row["result"] for row in Evidence().table().values()}
    assert results <= {"untested", "not built"}
