"""Supervisor, router and registry. Core holds no secret and never looks into a payload."""

from __future__ import annotations
