"""An open channel: one request at a time, and each message bound to all that came before it.

A record is `sealed(signature ‖ body)` with ChaCha20-Poly1305. Each direction has a key that seals
one record and is then replaced by one that depends on that record; both ends keep a hash over the
whole conversation, which the signature and the seal cover. So a record opens only as the next one
of this conversation: one that was dropped, repeated, exchanged, taken from another channel or sent
back to its sender does not, and ends the channel. What opens neither is never told apart.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, Final

from primegap.keyos.between.certificate import SIGNATURE_BYTES, Side, verify
from primegap.keyos.errors import ChannelBrokenError, ChannelUseError
from primegap.secrecy import NeverSerialised

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LABEL: Final = b"primegap:app-message:v1"
_NEXT: Final = b"primegap:app-message:next"
_CONTEXT: Final = struct.Struct(">BI")
_NONCE: Final = bytes(12)  # each key seals one record
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = SIGNATURE_BYTES + _TAG_BYTES
"What a record is longer than its body."


class _Turn(enum.Enum):
    REQUEST = 1
    ANSWER = 2
    OVER = 3


class _Channel(NeverSerialised):
    """What both ends have in common."""

    def __init__(
        self,
        *,
        signer: Ed25519PrivateKey,
        peer_key: bytes,
        caller_key: bytes,
        callee_key: bytes,
        chain: bytes,
    ) -> None:
        self._signer = signer
        self._peer_key = peer_key
        self._keys = {Side.CALLER: caller_key, Side.CALLEE: callee_key}
        self._chain = chain
        self._turn = _Turn.REQUEST
        self._message_id = 0

    @property
    def usable(self) -> bool:
        """Whether a new request may be sent or taken now."""
        return self._turn is _Turn.REQUEST

    def close(self) -> None:
        """Forget the keys."""
        self._turn = _Turn.OVER
        self._keys = dict.fromkeys(self._keys, b"")
        self._chain = b""

    def _context(self, side: Side) -> bytes:
        return _LABEL + _CONTEXT.pack(side, self._message_id) + self._chain

    def _seal(self, side: Side, body: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        context = self._context(side)
        signature = self._signer.sign(context + body)
        record = ChaCha20Poly1305(self._keys[side]).encrypt(_NONCE, signature + body, context)
        self._advance(side, record)
        return record

    def _open(self, side: Side, record: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        context = self._context(side)
        try:
            if len(record) < OVERHEAD_BYTES:
                raise ChannelBrokenError("record size")
            plain = ChaCha20Poly1305(self._keys[side]).decrypt(_NONCE, record, context)
            signature, body = plain[:SIGNATURE_BYTES], plain[SIGNATURE_BYTES:]
            verify(self._peer_key, context + body, signature)
        except InvalidTag:
            self.close()
            raise ChannelBrokenError("record") from None
        except ChannelBrokenError:
            self.close()
            raise
        self._advance(side, record)
        return body

    def _advance(self, side: Side, record: bytes) -> None:
        self._chain = hashlib.sha256(self._chain + record).digest()
        self._keys[side] = hmac.digest(self._keys[side], _NEXT + self._chain, "sha256")

    def _take(self, turn: _Turn) -> None:
        if self._turn is not turn:
            raise ChannelUseError("out of turn")


class CallerChannel(_Channel):
    """The end that asks."""

    def seal_request(self, message_id: int, body: bytes) -> bytes:
        """Return the record of a request.

        Raises:
            ChannelUseError: the answer to an earlier one was not taken yet, or the channel is over.
        """
        self._take(_Turn.REQUEST)
        self._message_id = message_id
        record = self._seal(Side.CALLER, body)
        self._turn = _Turn.ANSWER
        return record

    def open_answer(self, record: bytes) -> bytes:
        """Return the body of the answer to the request that was sealed last.

        Raises:
            ChannelBrokenError: it is not that; the channel is over.
            ChannelUseError: no request waits for an answer.
        """
        self._take(_Turn.ANSWER)
        body = self._open(Side.CALLEE, record)
        self._turn = _Turn.REQUEST
        return body


class CalleeChannel(_Channel):
    """The end that answers."""

    def open_request(self, message_id: int, record: bytes) -> bytes:
        """Return the body of the next request.

        Args:
            message_id: the one that the router judged; the sender signed it too.
            record: as it came.

        Raises:
            ChannelBrokenError: it is not the next one; the channel is over.
            ChannelUseError: the request before it was not answered yet, or the channel is over.
        """
        self._take(_Turn.REQUEST)
        self._message_id = message_id
        body = self._open(Side.CALLER, record)
        self._turn = _Turn.ANSWER
        return body

    def seal_answer(self, body: bytes) -> bytes:
        """Return the record of the answer to the request that was opened last.

        Raises:
            ChannelUseError: there is none.
        """
        self._take(_Turn.ANSWER)
        record = self._seal(Side.CALLEE, body)
        self._turn = _Turn.REQUEST
        return record
