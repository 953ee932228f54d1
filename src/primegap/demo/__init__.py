"""The demonstration: one real payment from pairing to a confirmed block, and one by QR code."""

from __future__ import annotations
