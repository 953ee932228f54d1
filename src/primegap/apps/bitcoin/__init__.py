"""The Bitcoin app: accounts, address check, review and signing of PSBTs."""

from __future__ import annotations
