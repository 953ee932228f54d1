"""Screens as bytes: one encoding for each screen, and the digest that a confirmation is bound to.

The encoding is deterministic CBOR: a map with a name for each field, enumerations by value, text
from outside as a map with the one key `untrusted`. A decoder accepts exactly what the encoder
makes. What is on the display, what is hashed and what is signed are so one value (U-5, U-6).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import types
import typing
from typing import Any, Final

import cbor2

from primegap.keyos.messages import NO_TAGS
from primegap.keyos.ui.errors import ScreenError, ScreenFormatError
from primegap.keyos.ui.items import ITEM_TYPES, Item, Keypad, Words
from primegap.keyos.ui.screen import Screen
from primegap.keyos.ui.text import Untrusted

MAX_SCREEN_BYTES: Final = 64 << 10  # the limits of the model allow about 30 kB
DIGEST_BYTES: Final = 32
_MAX_DEPTH: Final = 16  # the model nests six deep
_DIGEST_DOMAIN: Final = b"primegap/screen/1\0"
_TYPE: Final = "type"
_UNTRUSTED: Final = "untrusted"
_ITEMS: Final = {kind.__name__.lower(): kind for kind in ITEM_TYPES}
_NAMES: Final = {kind: name for name, kind in _ITEMS.items()}
# What the CBOR library raises on hostile input, and the constructors on wrong values.
_DECODE_ERRORS: Final = (
    cbor2.CBORError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RecursionError,
    MemoryError,
)


def encode_screen(screen: Screen) -> bytes:
    """Return the one encoding of a screen."""
    return cbor2.dumps(_plain(screen), canonical=True)


def screen_digest(screen: Screen) -> bytes:
    """Return the SHA-256 of a screen's encoding, 32 bytes, in a domain of its own.

    It covers everything the person is shown, the name of the app included, and nothing of how it
    is looked at.
    """
    return hashlib.sha256(_DIGEST_DOMAIN + encode_screen(screen)).digest()


def decode_screen_untrusted(data: bytes) -> Screen:
    """Return the screen whose encoding these bytes are.

    Raises:
        ScreenFormatError: they are not the encoding of a valid screen.
    """
    if len(data) > MAX_SCREEN_BYTES:
        raise ScreenFormatError("a screen is too large")
    try:
        plain = cbor2.loads(
            data,
            semantic_decoders=NO_TAGS,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        screen: Screen = _read(Screen, plain)
        same = encode_screen(screen) == data
    except ScreenFormatError:
        raise
    except ScreenError as error:
        raise ScreenFormatError(str(error)) from error
    except _DECODE_ERRORS as error:
        raise ScreenFormatError("a screen is not CBOR of the expected form") from error
    if not same:
        raise ScreenFormatError("a screen is not in its canonical form")
    return screen


def parse_app_screen_untrusted(data: bytes, *, app: str) -> Screen:
    """Return a screen that an app sent, under the name the system gives the app.

    Apps may not name themselves, and have neither keypads nor secret words: only the system asks
    for a PIN or shows a seed (U-11, U-12).

    Raises:
        ScreenFormatError: it is not the encoding of a screen an app may show.
    """
    screen = decode_screen_untrusted(data)
    if screen.app is not None:
        raise ScreenFormatError("an app named itself on its screen")
    if any(isinstance(item, Keypad | Words) for item in screen.items):
        raise ScreenFormatError("an app asked for a keypad or secret words")
    return dataclasses.replace(screen, app=app)


def _plain(value: Any) -> Any:
    """Return a value of the model as maps, arrays and simple values."""
    if isinstance(value, Untrusted):
        return {_UNTRUSTED: value.text}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = _NAMES.get(type(value))
        return fields if name is None else {_TYPE: name, **fields}
    return value


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields by name."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _read(kind: Any, plain: Any) -> Any:
    """Return plain values as a value of the model; exactly the expected types and keys."""
    if kind is Item:
        return _read_item(plain)
    origin = typing.get_origin(kind)
    if origin is tuple:
        if type(plain) is not list:
            raise ScreenFormatError("a field is not an array")
        part = typing.get_args(kind)[0]
        return tuple(_read(part, value) for value in plain)
    if origin in {typing.Union, types.UnionType}:
        return _read_union(typing.get_args(kind), plain)
    if origin is typing.Literal:
        if type(plain) is not str or plain not in typing.get_args(kind):
            raise ScreenFormatError("a field is not one of its values")
        return plain
    if issubclass(kind, enum.Enum):
        if type(plain) is not str:
            raise ScreenFormatError("a field is not the value of an enumeration")
        return kind(plain)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, plain)
    if type(plain) is not kind:
        raise ScreenFormatError("a field has the wrong type")
    return plain


def _read_item(plain: Any) -> Any:
    if type(plain) is not dict or type(plain.get(_TYPE)) is not str:
        raise ScreenFormatError("an item has no type")
    fields = dict(plain)
    kind = _ITEMS.get(fields.pop(_TYPE))
    if kind is None:
        raise ScreenFormatError("an item is of no known type")
    return _read_fields(kind, fields)


def _read_fields(kind: Any, plain: Any) -> Any:
    if kind is Untrusted:
        if type(plain) is not dict or set(plain) != {_UNTRUSTED}:
            raise ScreenFormatError("a text is not one from outside")
        return Untrusted(_read(str, plain[_UNTRUSTED]))
    fields = _fields(kind)
    if type(plain) is not dict or set(plain) != set(fields):
        raise ScreenFormatError(f"the fields are not those of {kind.__name__}")
    return kind(**{name: _read(fields[name], plain[name]) for name in fields})


def _read_union(kinds: tuple[Any, ...], plain: Any) -> Any:
    """Read a value that may be none, or a text of our own or from outside."""
    if plain is None and type(None) in kinds:
        return None
    if Untrusted in kinds and type(plain) is dict:
        return _read(Untrusted, plain)
    return _read(next(kind for kind in kinds if kind not in {type(None), Untrusted}), plain)
