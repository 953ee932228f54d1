"""Tools for people who write apps: projects, keys, and the port of a device."""

from __future__ import annotations
