"""Loads the plugin that collects evidence for the guarantees, whatever part of the suite runs."""

from __future__ import annotations

pytest_plugins = ("tests.guarantees.plugin",)
