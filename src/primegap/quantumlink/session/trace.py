"""Trace facts: what happened inside the engine, in public values only, for viewers and tests."""

from __future__ import annotations

from typing import Protocol

TraceValue = int | float | str | bool | None
"No bytes: neither keys nor anything a peer wrote can get into a trace."


class Trace(Protocol):
    """Receives facts. Must not call back into the engine."""

    def __call__(self, fact: str, /, *, now_s: float, **values: TraceValue) -> None:
        """Take one fact.

        Args:
            fact: its name, in kebab-case.
            now_s: time of the call that caused it, on the driver's clock.
            values: details.
        """


def no_trace(fact: str, /, *, now_s: float, **values: TraceValue) -> None:
    """Drop a fact."""
    del fact, now_s, values
