"""The link process: owner of the QuantumLink identity, between the radio and the apps."""

from __future__ import annotations
