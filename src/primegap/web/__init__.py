"""Pages served on the loopback: thin, server-rendered, nothing inline, nothing from outside."""

from __future__ import annotations
