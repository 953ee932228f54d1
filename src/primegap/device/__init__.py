"""Puts a device together and runs it."""

from __future__ import annotations
