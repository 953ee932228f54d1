"""Channels between apps: every message signed by its sender, sealed for its receiver, in order.

Pure: bytes and randomness in, bytes out. `certificate` says whose a key is, `handshake` makes a
channel, `channel` carries messages over it; `calls` and `answers` are the thin shells that the
client library runs them in. Why it is built so: docs/adr/0023-channels-between-apps.md. Nothing is
imported here: the security process needs certificates and nothing else.
"""

from __future__ import annotations
