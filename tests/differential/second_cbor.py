"""A second decoder of API messages, written from sections 4 and 5 of the API specification alone.

It works in two steps where ours works in one: first the whole item becomes a tree, then the tree is
read as a type. Types are written down here once more, by hand, from the tables of section 5.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass
from typing import Any, Final

from tests.differential.second_wire import RefusedError

MAX_DEPTH: Final = 256
MAX_NAME: Final = 4096


@dataclass
class Item:
    """One CBOR item. `kind` is int, bytes, text, list, map, simple or float."""

    kind: str
    value: Any
    tags: tuple[int, ...] = ()
    "Tags in front."
    is_indefinite: bool = False

    @property
    def height(self) -> int:
        """Arrays, maps and tags that stand around its innermost part."""
        inner = self.value if self.kind in {"list", "map"} else []
        parts = [part for pair in inner for part in pair] if self.kind == "map" else inner
        below = max((part.height for part in parts), default=0)
        return len(self.tags) + int(self.kind in {"list", "map"}) + below

    @property
    def bignum(self) -> int | None:
        """The number, if it is a byte string behind the tag of one."""
        if self.kind != "bytes" or not {2, 3} & set(self.tags[-1:]) or {2, 3} & set(self.tags[:-1]):
            return None
        number = int.from_bytes(self.value, "big")
        return number if self.tags[-1] == 2 else -1 - number


class Tree:
    """Reads one well-formed item (RFC 8949 with the rules of API 4.2)."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.depth = data, 0, 0

    def take(self, size: int) -> bytes:
        if len(self.data) - self.at < size:
            raise RefusedError("the end")
        self.at += size
        return self.data[self.at - size : self.at]

    def head(self) -> tuple[int, int, int | None]:
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info, info
        if info < 28:
            return major, info, int.from_bytes(self.take(2 ** (info - 24)), "big")
        if info == 31 and major in {2, 3, 4, 5, 7}:
            return major, info, None
        raise RefusedError("reserved")

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedError("UTF-8") from None

    def item(self) -> Item:
        read = self.item_or_break()
        if read is None:
            raise RefusedError("a break")
        return read

    def item_or_break(self) -> Item | None:
        tags: list[int] = []
        major, info, argument = self.head()
        while major == 6:
            assert argument is not None
            tags.append(argument)
            major, info, argument = self.head()
        if major == 7 and argument is None:
            if tags:
                raise RefusedError("a tagged break")
            return None
        found = self.untagged(major, info, argument)
        found.tags = tuple(tags)
        return found

    def untagged(self, major: int, info: int, argument: int | None) -> Item:
        if major in {0, 1}:
            assert argument is not None
            return Item("int", argument if major == 0 else -1 - argument)
        if major in {2, 3}:
            raw = self.string(major, argument)
            return Item("text" if major == 3 else "bytes", raw, is_indefinite=argument is None)
        if major in {4, 5}:
            return self.container(major, argument)
        if info in {25, 26, 27}:
            assert argument is not None
            shape = {25: ">e", 26: ">f", 27: ">d"}[info]
            (number,) = struct.unpack(shape, argument.to_bytes(1 << (info - 24), "big"))
            return Item("float", number)
        if argument in {20, 21, 22, 23}:
            return Item("simple", {20: False, 21: True, 22: None, 23: None}[argument])
        raise RefusedError("unknown simple value")

    def string(self, major: int, argument: int | None) -> Any:
        if argument is not None:
            raw = self.take(argument)
            return self.text(raw) if major == 3 else raw
        pieces: list[bytes] = []
        while True:
            inner, _, size = self.head()
            if inner == 7 and size is None:
                break
            if inner != major or size is None:
                raise RefusedError("a piece of another kind")
            pieces.append(self.take(size))
        if major == 2:
            return b"".join(pieces)
        return "".join([self.text(piece) for piece in pieces])

    def container(self, major: int, count: int | None) -> Item:
        items: list[Any] = []
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RefusedError("depth")
        while count is None or len(items) < count:
            first = self.item_or_break()
            if first is None:
                if count is None:
                    break
                raise RefusedError("a break")
            items.append((first, self.item()) if major == 5 else first)
        self.depth -= 1
        return Item("list" if major == 4 else "map", items, is_indefinite=count is None)


# --- types ----------------------------------------------------------------------------------------
# A type is a name, or a tuple: ("int", low, high), ("bytes", size or None), ("opt", T),
# ("list", T), ("struct", {name: T}), ("enum", {name: None | T | ("fields", {...})}), "text",
# "bool", "f32".

Kind = Any


def decode(kind: Kind, data: bytes) -> Any:
    """Return the value of a message, structs as dictionaries, enums as pairs."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 6 * MAX_DEPTH)  # one item is a few calls deep
    try:
        return read(kind, Tree(data).item())
    finally:
        sys.setrecursionlimit(limit)


def name_of(item: Item) -> str:
    if item.kind not in {"text", "bytes"} or item.is_indefinite:
        raise RefusedError("a key")
    raw = item.value.encode() if item.kind == "text" else item.value
    if len(raw) > MAX_NAME:
        raise RefusedError("a long key")
    return str(raw.decode("latin-1"))


def read(kind: Kind, item: Item, level: int = 0) -> Any:
    if kind == "text":
        return expect(item, "text")
    if kind == "bool":
        value = expect(item, "simple")
        if value is None:
            raise RefusedError("null")
        return value
    if kind == "f32":
        return single(expect(item, "float"))
    head = kind[0]
    if head == "int":
        value = item.bignum
        if value is None:
            if {2, 3} & set(item.tags):
                raise RefusedError("no bignum")  # the specification is silent; vectors have none
            value = expect(item, "int")
        if not kind[1] <= value <= kind[2]:
            raise RefusedError("range")
        return value
    if head == "bytes":
        return read_bytes(kind[1], item)
    if head == "opt":
        if item.kind == "simple" and item.value is None:
            if item.tags:
                raise RefusedError("a tagged null")
            return None
        return read(kind[1], item, level)
    if head == "list":
        return [read(kind[1], inner, level + 1) for inner in expect(item, "list")]
    if head == "struct":
        return read_struct(kind[1], item, level)
    assert head == "enum"
    return read_enum(kind[1], item, level)


def expect(item: Item, kind: str) -> Any:
    if item.kind != kind:
        raise RefusedError(f"{kind} wanted")
    return item.value


def read_bytes(size: int | None, item: Item) -> bytes:
    if item.kind == "bytes":
        value: bytes = item.value
    else:
        value = bytes(read(("int", 0, 255), inner) for inner in expect(item, "list"))
    if size is not None and len(value) != size:
        raise RefusedError("size")
    return value


def read_struct(fields: dict[str, Kind], item: Item, level: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in expect(item, "map"):
        name = name_of(key)
        if name in found:
            raise RefusedError("twice")
        if name in fields:
            found[name] = read(fields[name], value, level + 1)
        elif level + 1 + value.height > MAX_DEPTH:
            raise RefusedError("depth")
    for name, kind in fields.items():
        if name not in found:
            if kind[0] != "opt":
                raise RefusedError("missing")
            found[name] = None
    return {name: found[name] for name in fields}


def read_enum(variants: dict[str, Kind], item: Item, level: int) -> tuple[str, Any]:
    if item.kind == "map":
        if len(item.value) != 1 or item.is_indefinite:
            raise RefusedError("one pair wanted")
        key, data = item.value[0]
        name = name_of(key)
        kind = variants.get(name, "unknown")
        if kind == "unknown" or kind is None:
            raise RefusedError("variant")  # a variant without data given data: refused, 4.2
        if kind[0] == "fields":
            if data.kind == "list":
                if len(data.value) != len(kind[1]):
                    raise RefusedError("fields")
                pairs = zip(kind[1].items(), data.value, strict=True)
                return name, {
                    field: read(inner, value, level + 2) for (field, inner), value in pairs
                }
            return name, read_struct(kind[1], data, level + 1)
        return name, read(kind, data, level + 1)
    if item.kind != "text":
        raise RefusedError("a name outside a map is text")  # vector enum_bytes; 4.2 is silent
    name = name_of(item)
    if name not in variants or variants[name] is not None:
        raise RefusedError("variant")
    return name, None


def single(value: float) -> float:
    """Round to 32 bits; what is too large becomes infinite."""
    try:
        (rounded,) = struct.unpack(">f", struct.pack(">f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


# --- messages of section 5 ------------------------------------------------------------------------

U8, U32, U64 = ("int", 0, 2**8 - 1), ("int", 0, 2**32 - 1), ("int", 0, 2**64 - 1)
I32: Final = ("int", -(2**31), 2**31 - 1)
MESSAGES: Final[dict[str, Kind]] = {
    "EchoParams": ("struct", {"message": "text"}),
    "DownloadBenchmarkParams": ("struct", {"length": U64}),
    "DownloadBenchmarkHeader": ("struct", {"hash": ("bytes", None)}),
    "DownloadBenchmarkPartHeader": ("struct", {}),
    "ExchangeRate": ("struct", {"currency_code": "text", "rate": "f32", "timestamp": U64}),
    "SignPsbtParams": ("struct", {"account_id": "text", "psbt": ("bytes", None)}),
    "SignPsbtResponse": (
        "enum",
        {
            "Signed": ("fields", {"psbt": ("bytes", None)}),
            "Rejected": None,
            "Error": ("fields", {"error": "text"}),
        },
    ),
    "TimezoneResponse": ("struct", {"offset_minutes": I32, "zone": "text"}),
    "RestoreShardParams": (
        "struct",
        {"seed_fingerprint": ("bytes", 32), "timestamp": ("opt", U32)},
    ),
}
