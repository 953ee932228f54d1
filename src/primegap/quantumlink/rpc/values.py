"""How a value of a route becomes bytes: the seam between framing and messages (session 8.2)."""

from __future__ import annotations

from typing import Protocol, TypeVar

from primegap.quantumlink.rpc.errors import BadValueError

ValueT = TypeVar("ValueT")


class Codec(Protocol[ValueT]):
    """Encodes and decodes the values of one type."""

    def encode(self, value: ValueT) -> bytes:
        """Encode `value`."""
        ...

    def decode_untrusted(self, data: bytes) -> ValueT:
        """Decode bytes of a peer.

        Raises:
            BadValueError: they are not the encoding of a value of this type.
        """
        ...


class BytesCodec:
    """A value that is its own encoding."""

    def encode(self, value: bytes) -> bytes:
        """Return `value`."""
        return value

    def decode_untrusted(self, data: bytes) -> bytes:
        """Return `data`."""
        return data


class TextCodec:
    """A text, encoded as UTF-8."""

    def encode(self, value: str) -> bytes:
        """Return the UTF-8 of `value`."""
        return value.encode()

    def decode_untrusted(self, data: bytes) -> str:
        """Return the text.

        Raises:
            BadValueError: not UTF-8.
        """
        try:
            return data.decode()
        except UnicodeDecodeError:
            # Not chained: the decoder's message quotes bytes of the peer.
            raise BadValueError("the value is not UTF-8") from None
