"""The handshake of a channel: one message each way, then both ends share keys nobody else has.

Layout, big endian::

    hello    1  length of the certificate u16  certificate  X-Wing public key (1216)
    answer   2  channel number (8)  length u16  certificate  X-Wing ciphertext (1120)
             signature (64)

The answer's signature, by the callee's certified key, covers both messages whole; the caller proves
its key with the first request, before which the callee does nothing. The X-Wing key is made for one
channel and forgotten with it. Neither end accepts a certificate of anybody but the process that
core says is at the other end: an error in routing cannot join the wrong two.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primegap.keyos.between.certificate import (
    KEY_BYTES,
    MAX_CERTIFICATE_BYTES,
    SIGNATURE_BYTES,
    Certificate,
    Side,
    verify,
    verify_certificate,
)
from primegap.keyos.between.channel import CalleeChannel, CallerChannel
from primegap.keyos.errors import ChannelBrokenError, ChannelUseError
from primegap.quantumlink.errors import InvalidPayloadError
from primegap.quantumlink.kem import XWing
from primegap.quantumlink.symmetric import hkdf
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from primegap.keyos.between.certificate import Rng

_HELLO: Final = struct.Struct(">BH")
_ANSWER: Final = struct.Struct(">B8sH")
_HELLO_TYPE: Final = 1
_ANSWER_TYPE: Final = 2
_LABEL: Final = b"primegap:app-channel:v1"
_KEM: Final = XWing()
NUMBER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom core says is at the other end."""

    app_id: bytes
    instance: int


class ChannelKey(NeverSerialised):
    """A signing key for one end of one channel, and then its certificate."""

    def __init__(self, rng: Rng) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.signer = Ed25519PrivateKey.from_private_bytes(rng(KEY_BYTES))
        self.public_key: bytes = self.signer.public_key().public_bytes_raw()
        "What the authority is asked to certify."
        self._certificate = b""
        self._authority = b""

    def certified(self, certificate: bytes, authority: bytes, *, side: Side, server: str) -> None:
        """Take over the certificate.

        Raises:
            ChannelBrokenError: it is not for this key at this end.
        """
        said = verify_certificate(certificate, authority)
        if (said.key, said.side, said.server) != (self.public_key, side, server):
            raise ChannelBrokenError("certificate of another key")
        self._certificate, self._authority = certificate, authority

    @property
    def certificate(self) -> bytes:
        """The certificate."""
        if not self._certificate:
            raise ChannelUseError("the key is not certified")
        return self._certificate

    def check_peer(self, certificate: bytes, side: Side, server: str, peer: Peer) -> Certificate:
        """Return the certificate of the other end.

        Raises:
            ChannelBrokenError: it is not for the process that core says is there.
        """
        said = verify_certificate(certificate, self._authority)
        if (said.side, said.server) != (side, server):
            raise ChannelBrokenError("certificate for another end")
        if (said.app_id, said.instance) != (peer.app_id, peer.instance):
            raise ChannelBrokenError("certificate of another process")
        return said


class Opening(NeverSerialised):
    """The caller's side of a handshake."""

    def __init__(self, key: ChannelKey, *, server: str, rng: Rng) -> None:
        self._key = key
        self._server = server
        self._kem, public_key = _KEM.keygen(rng(_KEM.seed_size))
        head = _HELLO.pack(_HELLO_TYPE, len(key.certificate))
        self.hello: bytes = head + key.certificate + public_key
        "To be sent."

    def finish(self, answer: bytes, peer: Peer) -> tuple[bytes, CallerChannel]:
        """Return the channel and its number, of 8 bytes, which stands before every request.

        Raises:
            ChannelBrokenError: the answer is not the peer's answer to this hello.
        """
        if not _ANSWER.size <= len(answer):
            raise ChannelBrokenError("answer size")
        kind, number, length = _ANSWER.unpack_from(answer)
        certificate = answer[_ANSWER.size : _ANSWER.size + length]
        ciphertext = answer[_ANSWER.size + length : -SIGNATURE_BYTES]
        signature = answer[-SIGNATURE_BYTES:]
        if (
            kind != _ANSWER_TYPE
            or length > MAX_CERTIFICATE_BYTES
            or len(answer) != _ANSWER.size + length + _KEM.ciphertext_size + SIGNATURE_BYTES
        ):
            raise ChannelBrokenError("answer form")
        said = self._key.check_peer(certificate, Side.CALLEE, self._server, peer)
        transcript = _transcript(self.hello, answer[:-SIGNATURE_BYTES])
        verify(said.key, transcript, signature)
        try:
            secret = self._kem.decapsulate(ciphertext)
        except InvalidPayloadError:
            raise ChannelBrokenError("answer key") from None
        caller_key, callee_key, chain = _schedule(secret, transcript)
        channel = CallerChannel(
            signer=self._key.signer,
            peer_key=said.key,
            caller_key=caller_key,
            callee_key=callee_key,
            chain=chain,
        )
        return number, channel


def certificate_of(hello: bytes) -> bytes:
    """Return the certificate in a hello, not looked at; raise only ChannelBrokenError."""
    if not _HELLO.size <= len(hello):
        raise ChannelBrokenError("hello size")
    kind, length = _HELLO.unpack_from(hello)
    if (
        kind != _HELLO_TYPE
        or length > MAX_CERTIFICATE_BYTES
        or len(hello) != _HELLO.size + length + _KEM.public_key_size
    ):
        raise ChannelBrokenError("hello form")
    return hello[_HELLO.size : _HELLO.size + length]


def accept(
    hello: bytes, key: ChannelKey, *, server: str, peer: Peer, number: bytes
) -> tuple[bytes, CalleeChannel]:
    """Return the answer to a hello, and the channel.

    Args:
        hello: as it came.
        key: of this end, certified, used for nothing else.
        server: that the hello was sent to.
        peer: whom core names as its sender.
        number: by which the callee will know the channel, 8 bytes.

    Raises:
        ChannelBrokenError: the hello is not the peer's.
    """
    said = key.check_peer(certificate_of(hello), Side.CALLER, server, peer)
    try:
        ciphertext, secret = _KEM.encapsulate(hello[-_KEM.public_key_size :])
    except InvalidPayloadError:
        raise ChannelBrokenError("hello key") from None
    head = _ANSWER.pack(_ANSWER_TYPE, number, len(key.certificate))
    body = head + key.certificate + ciphertext
    transcript = _transcript(hello, body)
    caller_key, callee_key, chain = _schedule(secret, transcript)
    channel = CalleeChannel(
        signer=key.signer,
        peer_key=said.key,
        caller_key=caller_key,
        callee_key=callee_key,
        chain=chain,
    )
    return body + key.signer.sign(transcript), channel


def _transcript(hello: bytes, answer: bytes) -> bytes:
    """Return what is signed: a label and a hash over both messages, without the signature."""
    length = struct.pack(">H", len(hello))
    return _LABEL + hashlib.sha256(_LABEL + length + hello + answer).digest()


def _schedule(secret: bytes, transcript: bytes) -> list[bytes]:
    """Return the caller's key, the callee's key, and the beginning of the chain of messages."""
    return hkdf(transcript, secret, blocks=3, info=_LABEL)
