"""The authenticator: one-time codes for logins elsewhere (RFC 4226, RFC 6238)."""

from __future__ import annotations
