"""Confined processes whose calls are measured."""

from __future__ import annotations
