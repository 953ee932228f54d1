"""Typed messages of the system's servers, one module a server."""

from __future__ import annotations
