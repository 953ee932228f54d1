"""The message codec: CBOR with names, driven by the types of the messages (API section 4).

A message is declared once, as a type; nothing else has to be written for it:

| declared as | in the API specification | CBOR |
|---|---|---|
| frozen dataclass | struct | map of field names |
| `NewType` of anything below | newtype struct | what it wraps |
| `NamedTuple` | tuple struct | array |
| `Enum` with text values | enum, no variant with data | text |
| `Choice` | enum, some variants with data | text, or map of one pair |
| `str`, `bool`, `bytes`, `tuple[T, ...]`, `T | None` | string, bool, bytes, list, opt T | |
| `U8` `U32` `U64` `I32` `F32`, `Annotated[bytes, Size(n)]` | integers, float, bytes[n] | |

Decoding is as strict as section 4.2, and refuses the forms it lists as looseness of the published
code: fixed-size fields with too many items, enum variants whose data is missing or not expected.
"""

from __future__ import annotations

import dataclasses
import types
from abc import ABC, abstractmethod
from enum import Enum
from typing import (
    Annotated,
    ClassVar,
    Final,
    Generic,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from primegap.quantumlink.api import cbor
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.rpc import BadValueError

MessageT = TypeVar("MessageT")


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Marks bytes of a fixed length: `Annotated[bytes, Size(32)]`."""

    size_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Marks an integer with its range, both ends included."""

    lowest: int
    highest: int


class Single:
    """Marks a float that has 32 bits on the wire."""


U8 = Annotated[int, Range(0, 2**8 - 1)]
"Unsigned integer of 8 bits."
U32 = Annotated[int, Range(0, 2**32 - 1)]
"Unsigned integer of 32 bits."
U64 = Annotated[int, Range(0, 2**64 - 1)]
"Unsigned integer of 64 bits."
I32 = Annotated[int, Range(-(2**31), 2**31 - 1)]
"Signed integer of 32 bits."
F32 = Annotated[float, Single()]
"Number that is rounded to 32 bits when it is sent."


class Choice:
    """Base of an enum with data: one class per enum, one dataclass per variant below it.

    A variant sets `variant` to its name on the wire. Its fields are the variant's named fields;
    with `unnamed = True` it has one field, which stands for the variant's data without a name.
    """

    __slots__ = ()

    variant: ClassVar[str]
    unnamed: ClassVar[bool] = False
    variants: ClassVar[dict[str, type[Choice]]]

    def __init_subclass__(cls) -> None:
        if "variant" in cls.__dict__:
            # A dataclass with slots is made twice, and the second class is the one to keep.
            cls.variants[cls.variant] = cls
        else:
            cls.variants = {}


class MessageCodec(Generic[MessageT]):
    """Encodes and decodes messages of one type. Made with `cbor_codec`."""

    __slots__ = ("_kind", "_node")

    def __init__(self, kind: type[MessageT]) -> None:
        self._kind = kind
        self._node: _Node | None = None

    def __repr__(self) -> str:
        return f"<MessageCodec {self._kind.__name__}>"

    def encode(self, value: MessageT) -> bytes:
        """Encode a message.

        Raises:
            LocalError: a field is out of the range of its type.
        """
        out = bytearray()
        self._resolved().encode(value, out)
        return bytes(out)

    def decode_untrusted(self, data: bytes) -> MessageT:
        """Decode a message of a peer; bytes behind it are ignored (API 4.2).

        Raises:
            BadValueError: the bytes are not a message of this type.
        """
        return self._decode(cbor.CborReader(data))

    def decode_whole_untrusted(self, data: bytes) -> MessageT:
        """Decode a message that must fill `data` exactly.

        Raises:
            BadValueError: the bytes are not a message of this type, or more than one.
        """
        reader = cbor.CborReader(data)
        message = self._decode(reader)
        if reader.remaining:
            raise BadValueError("bytes follow the message")
        return message

    def _decode(self, reader: cbor.CborReader) -> MessageT:
        # The node was made from this very type, which the checker cannot follow.
        return cast("MessageT", self._resolved().decode(reader, 0))

    def _resolved(self) -> _Node:
        if self._node is None:  # reading type hints takes a while, and a process needs few of them
            self._node = _node_for(self._kind)
        return self._node


_CODECS: Final[dict[object, MessageCodec[object]]] = {}


def cbor_codec(kind: type[MessageT]) -> MessageCodec[MessageT]:
    """Return the codec of a message type; the same one every time."""
    codec = _CODECS.get(kind)
    if codec is None:
        codec = _CODECS[kind] = cast("MessageCodec[object]", MessageCodec(kind))
    return cast("MessageCodec[MessageT]", codec)


# --- what a type compiles to ----------------------------------------------------------------------


class _Node(ABC):
    """Encoder and decoder of one type."""

    __slots__ = ()

    @abstractmethod
    def encode(self, value: object, out: bytearray) -> None:
        """Append the encoding of `value`."""

    @abstractmethod
    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        """Read a value; `depth` arrays and maps are open around it."""


class _Text(_Node):
    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, str):
            raise LocalError("a text is expected")
        out += cbor.encode_text(value)

    def decode(self, reader: cbor.CborReader, depth: int) -> str:
        return reader.text()


class _Bool(_Node):
    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, bool):
            raise LocalError("true or false is expected")
        out += cbor.encode_bool(value)

    def decode(self, reader: cbor.CborReader, depth: int) -> bool:
        return reader.boolean()


class _Integer(_Node):
    __slots__ = ("_range",)

    def __init__(self, limits: Range) -> None:
        self._range = limits

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, int) or not self._range.lowest <= value <= self._range.highest:
            raise LocalError("an integer is out of the range of its field")
        out += cbor.encode_integer(value)

    def decode(self, reader: cbor.CborReader, depth: int) -> int:
        return reader.integer(self._range.lowest, self._range.highest)


class _Float(_Node):
    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, float | int):
            raise LocalError("a number is expected")
        out += cbor.encode_float(value)

    def decode(self, reader: cbor.CborReader, depth: int) -> float:
        return reader.float32()


class _Bytes(_Node):
    __slots__ = ("_size",)

    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, bytes) or self._size not in {None, len(value)}:
            raise LocalError("bytes of the length of their field are expected")
        out += cbor.encode_byte_array(value)

    def decode(self, reader: cbor.CborReader, depth: int) -> bytes:
        return reader.bytes_field(self._size)


class _Optional(_Node):
    __slots__ = ("_inner",)

    def __init__(self, inner: _Node) -> None:
        self._inner = inner

    def encode(self, value: object, out: bytearray) -> None:
        if value is None:
            out += cbor.NULL
        else:
            self._inner.encode(value, out)

    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        return None if reader.take_null() else self._inner.decode(reader, depth)


class _List(_Node):
    __slots__ = ("_item",)

    def __init__(self, item: _Node) -> None:
        self._item = item

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, tuple):
            raise LocalError("a tuple is expected")
        out += cbor.encode_head(cbor.ARRAY, len(value))
        for item in value:
            self._item.encode(item, out)

    def decode(self, reader: cbor.CborReader, depth: int) -> tuple[object, ...]:
        count = reader.array_count()
        items: list[object] = []
        while not reader.is_over(count, len(items)):
            items.append(self._item.decode(reader, depth + 1))
        return tuple(items)


class _Named(_Node):
    """An enum none of whose variants has data."""

    __slots__ = ("_by_name", "_kind")

    def __init__(self, kind: type[Enum]) -> None:
        self._kind = kind
        self._by_name = {str(member.value).encode(): member for member in kind}

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, self._kind):
            raise LocalError(f"a member of {self._kind.__name__} is expected")
        out += cbor.encode_text(value.value)

    def decode(self, reader: cbor.CborReader, depth: int) -> Enum:
        if reader.next_major() != cbor.TEXT:
            raise BadValueError("the name of a variant is expected")
        member = self._by_name.get(reader.key())
        if member is None:
            raise BadValueError("an unknown variant")
        return member


class _Tuple(_Node):
    """A tuple struct."""

    __slots__ = ("_items", "_kind")

    def __init__(self, kind: type, items: list[_Node]) -> None:
        self._kind = kind
        self._items = items

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, tuple) or not isinstance(value, self._kind):
            raise LocalError(f"a {self._kind.__name__} is expected")
        out += cbor.encode_head(cbor.ARRAY, len(self._items))
        for node, item in zip(self._items, value, strict=True):
            node.encode(item, out)

    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        made: object = self._kind(*_decode_exactly(self._items, reader, depth))
        return made


def _decode_exactly(nodes: list[_Node], reader: cbor.CborReader, depth: int) -> list[object]:
    """Read an array with one item per node, no more and no less."""
    if reader.next_major() == cbor.BYTES:  # an array of integers may be given as a byte string
        reader = _items_of(reader.bytes_field(len(nodes)))
    count = reader.array_count()
    values: list[object] = []
    for node in nodes:
        if reader.is_over(count, len(values)):
            raise BadValueError("an array has too few items")
        values.append(node.decode(reader, depth + 1))
    if not reader.is_over(count, len(values)):
        raise BadValueError("an array has too many items")
    return values


def _items_of(data: bytes) -> cbor.CborReader:
    return cbor.CborReader(cbor.encode_byte_array(data))


class _Struct(_Node):
    __slots__ = ("_fields", "_optional", "kind")

    def __init__(self, kind: type, fields: dict[str, _Node]) -> None:
        self.kind = kind
        self._fields = {name.encode(): (name, node) for name, node in fields.items()}
        self._optional = {n: None for n, node in fields.items() if isinstance(node, _Optional)}

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, self.kind):
            raise LocalError(f"a {self.kind.__name__} is expected")
        out += cbor.encode_head(cbor.MAP, len(self._fields))
        for name, node in self._fields.values():
            out += cbor.encode_text(name)
            node.encode(getattr(value, name), out)

    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        count = reader.map_count()
        values: dict[str, object] = {}
        taken = 0
        while not reader.is_over(count, taken):
            taken += 1
            field = self._fields.get(reader.key())
            if field is None:
                reader.skip(depth + 1)
                continue
            name, node = field
            if name in values:
                raise BadValueError("a field is given twice")
            values[name] = node.decode(reader, depth + 1)
        values = self._optional | values
        if len(values) < len(self._fields):
            raise BadValueError("a field is missing")
        made: object = self.kind(**values)
        return made

    def decode_items(self, reader: cbor.CborReader, depth: int) -> object:
        """Read the fields from an array in the order of declaration (variants only, API 4.2)."""
        nodes = [node for _, node in self._fields.values()]
        made: object = self.kind(*_decode_exactly(nodes, reader, depth))
        return made


class _Variant(_Node):
    """The data of one variant of a `Choice`."""

    __slots__ = ("_inner", "_struct")

    def __init__(self, kind: type[Choice], fields: dict[str, _Node]) -> None:
        self._struct = _Struct(kind, fields)
        self._inner = next(iter(fields.items())) if kind.unnamed else None

    def encode(self, value: object, out: bytearray) -> None:
        if self._inner is None:
            self._struct.encode(value, out)
        else:
            name, node = self._inner
            node.encode(getattr(value, name), out)

    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        if self._inner is not None:
            made: object = self._struct.kind(self._inner[1].decode(reader, depth))
            return made
        if reader.next_major() == cbor.ARRAY:
            return self._struct.decode_items(reader, depth)
        return self._struct.decode(reader, depth)


class _Sum(_Node):
    """An enum some of whose variants have data."""

    __slots__ = ("_kind", "_units", "_with_data")

    def __init__(self, kind: type[Choice]) -> None:
        self._kind = kind
        self._units: dict[bytes, type[Choice]] = {}
        self._with_data: dict[bytes, _Variant] = {}
        for name, variant in kind.variants.items():
            fields = _field_nodes(variant)
            if fields:
                self._with_data[name.encode()] = _Variant(variant, fields)
            else:
                self._units[name.encode()] = variant

    def encode(self, value: object, out: bytearray) -> None:
        if not isinstance(value, self._kind):
            raise LocalError(f"a variant of {self._kind.__name__} is expected")
        data = self._with_data.get(value.variant.encode())
        if data is None:
            out += cbor.encode_text(value.variant)
        else:
            out += cbor.encode_head(cbor.MAP, 1) + cbor.encode_text(value.variant)
            data.encode(value, out)

    def decode(self, reader: cbor.CborReader, depth: int) -> object:
        major = reader.next_major()
        if major == cbor.TEXT:
            unit = self._units.get(reader.key())
            if unit is None:
                raise BadValueError("an unknown variant, or one whose data is missing")
            return unit()
        if major != cbor.MAP or reader.map_count() != 1:
            raise BadValueError("a variant is a name or a map of one pair")
        data = self._with_data.get(reader.key())
        if data is None:
            raise BadValueError("an unknown variant, or data of one that has none")
        return data.decode(reader, depth + 1)


def _node_for(kind: object) -> _Node:
    """Compile a type.

    Raises:
        LocalError: a message is declared with a type the codec does not know.
    """
    if isinstance(kind, NewType):
        return _node_for(kind.__supertype__)
    if get_origin(kind) is Annotated:
        return _node_for_marked(*get_args(kind))
    if get_origin(kind) in {Union, types.UnionType}:
        inner, nothing = get_args(kind)
        if nothing is types.NoneType:
            return _Optional(_node_for(inner))
    if get_origin(kind) is tuple:
        item, rest = get_args(kind)
        if rest is ...:
            return _List(_node_for(item))
    if isinstance(kind, type):
        return _node_for_class(kind)
    raise LocalError(f"a message cannot hold {kind!r}")


def _node_for_marked(kind: object, mark: object) -> _Node:
    if isinstance(mark, Size):
        return _Bytes(mark.size_bytes)
    if isinstance(mark, Range):
        return _Integer(mark)
    if isinstance(mark, Single):
        return _Float()
    raise LocalError(f"a message cannot hold {kind!r} marked with {mark!r}")


def _node_for_class(kind: type) -> _Node:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple
    if issubclass(kind, Choice) and "variants" in kind.__dict__:
        return _Sum(kind)
    if issubclass(kind, Enum):
        return _Named(kind)
    if issubclass(kind, tuple):
        return _Tuple(
            kind, [_node_for(hint) for hint in get_type_hints(kind, include_extras=True).values()]
        )
    if dataclasses.is_dataclass(kind):
        return _Struct(kind, _field_nodes(kind))
    raise LocalError(f"a message cannot hold {kind.__name__}")


def _field_nodes(kind: type) -> dict[str, _Node]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _node_for(hints[field.name]) for field in dataclasses.fields(kind)}


_SIMPLE: Final[dict[type, _Node]] = {str: _Text(), bool: _Bool(), bytes: _Bytes()}
