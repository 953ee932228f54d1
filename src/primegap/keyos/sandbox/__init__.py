"""The kernel's side of isolation: namespaces, Landlock, seccomp, limits (keyos-model, section 15)."""

from __future__ import annotations
