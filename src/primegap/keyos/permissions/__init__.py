"""The broker of permissions: asks the person, remembers the decisions, takes them back."""

from __future__ import annotations
