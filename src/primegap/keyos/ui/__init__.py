"""The trusted screen: screens as data, one layout, one renderer, one judge of touches."""

from __future__ import annotations
