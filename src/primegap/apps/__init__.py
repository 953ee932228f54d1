"""Built-in apps: a folder each, with its manifest. An app sees `keyos.process` and `keyos.api` only."""

from __future__ import annotations
