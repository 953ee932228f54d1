"""Certificates of channel keys: the device says which app a signing key speaks for, and where.

Layout, big endian::

    0  magic "PGCK"  4  version 1  5  side u8  6  app id (16)  22  instance u64
    30 key (32)      62 length of the server's name u8         63  name, then signature (64)

The signature is Ed25519 by the authority of the device over everything before it, after a label.
The authority lives in the security process, is made at its start and never stored: a certificate is
worth nothing after the device was switched off.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.errors import ChannelBrokenError, ChannelUseError
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from collections.abc import Callable

    Rng = Callable[[int], bytes]

_HEAD: Final = struct.Struct(">4sBB16sQ32sB")
_MAGIC: Final = b"PGCK"
_VERSION: Final = 1
_LABEL: Final = b"primegap:channel-key:v1"
_SERVER: Final = re.compile(rb"app/[a-z][a-z0-9-]{1,23}")
APP_ID_BYTES: Final = 16
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_CERTIFICATE_BYTES: Final = _HEAD.size + 28 + SIGNATURE_BYTES  # the longest server name


class Side(enum.IntEnum):
    """Which end of a channel a key speaks at: a key for one end is useless at the other."""

    CALLER = 1
    CALLEE = 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the authority says about one signing key, made for one end of one channel."""

    side: Side
    app_id: bytes
    instance: int
    "Start of the app, as core numbers them."
    key: bytes
    "Ed25519 public key, 32 bytes."
    server: str
    "The server at whose channel the key speaks."

    def encode(self) -> bytes:
        """Return what is signed.

        Raises:
            ChannelUseError: a field has the wrong form.
        """
        name = self.server.encode()
        if (
            len(self.app_id) != APP_ID_BYTES
            or len(self.key) != KEY_BYTES
            or not _SERVER.fullmatch(name)
            or not 0 <= self.instance < 1 << 64
        ):
            raise ChannelUseError("a certificate for something else than a channel key")
        return (
            _HEAD.pack(_MAGIC, _VERSION, self.side, self.app_id, self.instance, self.key, len(name))
            + name
        )


def parse_certificate_untrusted(data: bytes) -> tuple[Certificate, bytes]:
    """Return what a certificate says, and its signature; raise only ChannelBrokenError.

    Nothing of it is true before `verify_certificate` returned.
    """
    if not _HEAD.size + SIGNATURE_BYTES < len(data) <= MAX_CERTIFICATE_BYTES:
        raise ChannelBrokenError("certificate size")
    magic, version, side, app_id, instance, key, length = _HEAD.unpack_from(data)
    name, signature = data[_HEAD.size : -SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    if (
        (magic, version) != (_MAGIC, _VERSION)
        or side not in (Side.CALLER, Side.CALLEE)
        or length != len(name)
        or not _SERVER.fullmatch(name)
    ):
        raise ChannelBrokenError("certificate form")
    return Certificate(Side(side), app_id, instance, key, name.decode()), signature


def verify_certificate(data: bytes, authority: bytes) -> Certificate:
    """Return what the authority with this public key says.

    Raises:
        ChannelBrokenError: it does not say so.
    """
    certificate, signature = parse_certificate_untrusted(data)
    verify(authority, _LABEL + data[:-SIGNATURE_BYTES], signature)
    return certificate


def verify(key: bytes, message: bytes, signature: bytes) -> None:
    """Return if an Ed25519 signature is right.

    Raises:
        ChannelBrokenError: it is not.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ChannelBrokenError("signature") from None


class Authority(NeverSerialised):
    """Signs certificates. One for each start of the security process."""

    def __init__(self, rng: Rng) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(rng(KEY_BYTES))
        self.public_key: bytes = self._key.public_key().public_bytes_raw()
        "32 bytes, by which both apps check each other's certificate."

    def certify(self, certificate: Certificate) -> bytes:
        """Return the signed certificate. Whether it is true is for the caller to know.

        Raises:
            ChannelUseError: a field has the wrong form.
        """
        body = certificate.encode()
        return body + self._key.sign(_LABEL + body)
