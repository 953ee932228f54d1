"""The app manager: reads bundles, asks the person, keeps what is installed, starts apps."""

from __future__ import annotations
