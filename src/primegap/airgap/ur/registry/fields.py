"""Taking the fields of a map with care: the right kind, the right size, or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.airgap.errors import UrPayloadError
from primegap.airgap.ur.value import Tagged, Value, parse_value_untrusted

if TYPE_CHECKING:
    from primegap.airgap.ur.message import Ur

UINT32: Final = (1 << 32) - 1
MAX_NAME_CHARACTERS: Final = 256
"Names and notes are shown to a person; nobody reads more."


def value_of(ur: Ur, *types: str) -> Value:
    """Return the value in a UR of one of these types.

    Raises:
        UrPayloadError: it is of another type.
        CborError: it is malformed.
    """
    if ur.ur_type not in types:
        raise UrPayloadError(f"not a UR of type {types[0]}")
    return parse_value_untrusted(ur.cbor)


class Fields:
    """The fields of one map. Unknown keys are ignored unless `exactly` is asked for."""

    def __init__(self, value: Value, what: str) -> None:
        if not isinstance(value, dict):
            raise UrPayloadError(f"{what} is not a map")
        self._map, self._what = value, what

    def __contains__(self, key: int) -> bool:
        return key in self._map

    def exactly(self, *keys: int) -> None:
        """Refuse any other key: where money is described, nothing may go unread."""
        if not self._map.keys() <= set(keys):
            raise UrPayloadError(f"{self._what} has an unknown field")

    def _wrong(self, key: int) -> UrPayloadError:
        return UrPayloadError(f"field {key} of {self._what} is missing or not what it should be")

    def value(self, key: int) -> Value:
        """Return a field of any kind that must be there."""
        if key not in self._map:
            raise self._wrong(key)
        return self._map[key]

    def uint(self, key: int, most: int = UINT32, default: int | None = None) -> int:
        """Return an unsigned integer of at most `most`."""
        value = self._map.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise self._wrong(key)
        return value

    def optional_uint(self, key: int, most: int = UINT32) -> int | None:
        """Return an unsigned integer, or None when the field is not there."""
        return self.uint(key, most) if key in self._map else None

    def flag(self, key: int) -> bool:
        """Return a truth value; false when the field is not there."""
        value = self._map.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key)
        return value

    def data(self, key: int, *sizes: int) -> bytes:
        """Return bytes of one of these sizes."""
        value = self._map.get(key)
        if not isinstance(value, bytes) or (sizes and len(value) not in sizes):
            raise self._wrong(key)
        return value

    def text(self, key: int, most: int = MAX_NAME_CHARACTERS) -> str:
        """Return text; empty when the field is not there."""
        value = self._map.get(key, "")
        if not isinstance(value, str) or len(value) > most:
            raise self._wrong(key)
        return value

    def items(self, key: int, most: int) -> list[Value]:
        """Return an array of at most `most` items."""
        value = self._map.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(key)
        return value

    def tagged(self, key: int, tags: frozenset[int]) -> Value:
        """Return what stands behind one of these tags."""
        value = self._map.get(key)
        if not isinstance(value, Tagged) or value.tag not in tags:
            raise self._wrong(key)
        return value.value
