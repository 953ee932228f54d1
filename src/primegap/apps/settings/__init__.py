"""The settings app: radio, time, what was granted to apps, facts about the device."""

from __future__ import annotations
