"""Channels between apps: every message signed by its sender, sealed for its receiver, in order.

Pure: bytes and randomness in, bytes out. `certificate` says whose a key is, `handshake` makes a
channel, `channel` carries messages over it; `calls` and `answers` are the thin shells that the
client library runs them in. Why it is built so: docs/adr/0025-channels-between-apps.md.
"""

from __future__ import annotations

from primegap.keyos.between.certificate import Authority, Certificate, Side
from primegap.keyos.between.channel import CalleeChannel, CallerChannel
from primegap.keyos.between.handshake import ChannelKey, Opening, Peer, accept
from primegap.keyos.errors import ChannelBrokenError, ChannelUseError

__all__ = [
    "Authority",
    "CalleeChannel",
    "CallerChannel",
    "Certificate",
    "ChannelBrokenError",
    "ChannelKey",
    "ChannelUseError",
    "Opening",
    "Peer",
    "Side",
    "accept",
]
