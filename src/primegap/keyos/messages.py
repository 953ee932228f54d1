"""Typed messages between processes: frozen dataclasses carried as CBOR arrays.

A message is encoded as the array of its fields in declaration order and decoded strictly: exactly
the declared number of items of exactly the declared types. Text and byte fields are bounded by the
size of the frame that carried them. Decoding raises FrameError and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NoReturn, TypeVar

import cbor2
from typing_extensions import override

from primegap.keyos.errors import FrameError
from primegap.keyos.frame import DEFAULT_OBJECT_BYTES

M = TypeVar("M", bound="Message")

_MAX_DEPTH: Final = 16  # messages nest three deep


class _NoTags(Mapping[int, Any]):
    """Refuses every CBOR tag: no message has one.

    Decoding some of them takes minutes for a few kilobytes: decimal fractions of large integers,
    regular expressions, sets of colliding numbers.
    """

    @override
    def __getitem__(self, tag: int) -> Any:
        return self._refuse

    @override
    def __iter__(self) -> Iterator[int]:
        return iter(())

    @override
    def __len__(self) -> int:
        return 0

    @staticmethod
    def _refuse(decoder: object) -> NoReturn:
        raise cbor2.CBORDecodeError("tags are not used")


NO_TAGS: Final = _NoTags()
"For `semantic_decoders` of the CBOR library, wherever an app's bytes are decoded."


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """Base of everything that travels between processes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Empty(Message):
    """A reply without content."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request(Message):
    """Base of requests: says which server and message id it is for and what answers it."""

    server: ClassVar[str]
    message_id: ClassVar[int]
    reply: ClassVar[type[Message]] = Empty
    repeats: ClassVar[bool] = False
    """Whether a client asks again when the service restarts before it answered: only for requests
    that change nothing."""
    max_bytes: ClassVar[int] = DEFAULT_OBJECT_BYTES
    "Largest payload of this request and of its reply; above the default, the manifest says so too."


@functools.cache
def _field_types(kind: Any) -> tuple[Any, ...]:
    hints = typing.get_type_hints(kind)
    return tuple(hints[field.name] for field in dataclasses.fields(kind))


def encode_message(message: Message) -> bytes:
    """Return the CBOR bytes of a message."""
    return cbor2.dumps(_to_plain(message))


def _to_plain(value: Any) -> Any:
    if isinstance(value, Message):
        return [_to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return value


def decode_message_untrusted(kind: type[M], data: bytes) -> M:
    """Return the message in these bytes; raise only FrameError."""
    stream = io.BytesIO(data)
    try:
        plain = cbor2.load(
            stream,
            semantic_decoders=NO_TAGS,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORDecodeError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise FrameError("payload is not CBOR") from error
    if stream.read(1):
        raise FrameError("bytes after the payload")
    result: M = _from_plain(kind, plain)
    return result


def _from_plain(kind: Any, plain: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Message):
        types_ = _field_types(typing.cast("Any", kind))
        if not isinstance(plain, list) or len(plain) != len(types_):
            raise FrameError(f"payload is not a {kind.__name__}")
        return kind(*(_from_plain(t, item) for t, item in zip(types_, plain, strict=True)))
    origin = typing.get_origin(kind)
    if origin is tuple:
        item_kind = typing.get_args(kind)[0]
        if not isinstance(plain, list):
            raise FrameError("payload field is not a list")
        return tuple(_from_plain(item_kind, item) for item in plain)
    if origin in (typing.Union, types.UnionType):
        if plain is None:
            return None
        inner = next(t for t in typing.get_args(kind) if t is not type(None))
        return _from_plain(inner, plain)
    if type(plain) is not kind:
        raise FrameError("payload field has the wrong type")
    return plain
