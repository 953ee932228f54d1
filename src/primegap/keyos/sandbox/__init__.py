"""Isolation by the kernel: namespaces, Landlock, seccomp, limits (keyos-model, section 15)."""

from __future__ import annotations
