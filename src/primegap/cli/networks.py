"""The networks that commands take."""

from __future__ import annotations

from typing import Final

from primegap.bitcoin.networks import Network

NETWORKS: Final = tuple(network.value for network in Network)
