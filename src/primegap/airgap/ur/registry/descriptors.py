"""Output descriptors of both generations, and accounts (uniform-resources.md sections 9.6, 9.7).

The first generation nests tags, the second holds the descriptor's text with placeholders. Both are
turned into the text of BIP-380, without checksum, and back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import LocalAirgapError, UrPayloadError
from primegap.airgap.ur.generation import ECKEY, HDKEY, OUTPUT, Generation
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.registry.fields import UINT32, Fields, value_of
from primegap.airgap.ur.registry.keys import (
    EcKey,
    HdKey,
    Key,
    eckey_from_value,
    hdkey_from_value,
    key_from_expression,
)
from primegap.airgap.ur.value import Tagged, Value, encode_value

MAX_KEYS: Final = 20
"What a multisig script holds (BIP-383 with OP_CHECKMULTISIG); more is no descriptor in use."
MAX_SOURCE_CHARACTERS: Final = 4096
"The text of a descriptor without its keys."
MAX_DESCRIPTORS: Final = 64
"Of one account; seven are usual."

# Tag of the first generation -> name of the function, for those that wrap a script or hold a key.
_WRAPPERS: Final = {400: "sh", 401: "wsh"}
_SINGLE_KEYS: Final = {402: "pk", 403: "pkh", 404: "wpkh", 405: "combo", 409: "tr", 410: "cosigner"}
_MULTI: Final = {406: "multi", 407: "sortedmulti"}
_TAG_OF: Final = {
    name: tag for table in (_WRAPPERS, _SINGLE_KEYS, _MULTI) for tag, name in table.items()
}
_MAX_WRAPPERS: Final = 2  # sh(wsh(...))

_CALL: Final = re.compile(r"([a-z_]+)\((.*)\)")
_PLACEHOLDER: Final = re.compile(r"@([0-9]{1,2})(?![0-9])")
_CHECKSUM: Final = re.compile(r"#[a-z0-9]{8}\Z")
_KEY_IN_TEXT: Final = re.compile(
    r"(?:\[[0-9a-fA-F]{8}[0-9/'hH]*\])?(?:[xt]pub[1-9A-HJ-NP-Za-km-z]{107}|0[23][0-9a-f]{64})"
    r"(?:/(?:[0-9]+|\*|<[0-9;'hH]+>)['hH]?)*"
)


@dataclass(frozen=True, slots=True)
class OutputDescriptor:
    """A descriptor whose keys stand apart.

    An account may offer `cosigner(@0)` inside `sh` or `wsh`: no descriptor of BIP-380, but a key
    that waits for those of others.
    """

    source: str
    "Text of BIP-380 without checksum, with `@0`, `@1` and so on for the keys."
    keys: tuple[Key, ...] = field(repr=False)
    name: str = ""
    note: str = ""

    def __str__(self) -> str:
        """Return the descriptor, without checksum."""
        return _PLACEHOLDER.sub(lambda match: self.keys[int(match[1])].expression(), self.source)


def descriptor_from_text(text: str, name: str = "") -> OutputDescriptor:
    """Return the descriptor of a text, with or without its checksum, which is not checked.

    Raises:
        LocalAirgapError: it has a private key, or a key that a UR cannot hold.
    """
    keys: list[Key] = []

    def place(match: re.Match[str]) -> str:
        key = key_from_expression(match[0])
        if key not in keys:
            keys.append(key)
        return f"@{keys.index(key)}"

    source = _KEY_IN_TEXT.sub(place, _CHECKSUM.sub("", text.strip()))
    if not keys or len(keys) > MAX_KEYS or "@" not in source or "prv" in source:
        raise LocalAirgapError("no descriptor with public keys")
    return OutputDescriptor(source, tuple(keys), name)


# -- the first generation ------------------------------------------------------------------------


def _v1_from_value(value: Value, keys: list[Key], depth: int = 0) -> str:
    """Return the source of a nested script expression; its keys are added to `keys`."""
    if not isinstance(value, Tagged):
        raise UrPayloadError("a script expression without a tag")
    tag, inner = value.tag, value.value
    if tag in _WRAPPERS and depth < _MAX_WRAPPERS:
        return f"{_WRAPPERS[tag]}({_v1_from_value(inner, keys, depth + 1)})"
    if tag in _SINGLE_KEYS:
        return f"{_SINGLE_KEYS[tag]}({_placed(inner, keys)})"
    if tag in _MULTI:
        fields = Fields(inner, "a multisig")
        fields.exactly(1, 2)
        members = fields.items(2, MAX_KEYS)
        threshold = fields.uint(1)
        if not 1 <= threshold <= len(members):
            raise UrPayloadError("a threshold beyond the keys")
        places = ",".join(_placed(member, keys) for member in members)
        return f"{_MULTI[tag]}({threshold},{places})"
    raise UrPayloadError("a script expression that is not read here")


def _placed(value: Value, keys: list[Key]) -> str:
    keys.append(_key_from_value(value))
    if len(keys) > MAX_KEYS:
        raise UrPayloadError("more keys than a script holds")
    return f"@{len(keys) - 1}"


def _key_from_value(value: Value) -> Key:
    if isinstance(value, Tagged) and value.tag in HDKEY:
        return hdkey_from_value(value.value)
    if isinstance(value, Tagged) and value.tag in ECKEY:
        return eckey_from_value(value.value)
    raise UrPayloadError("not a key")


def _v1_to_value(source: str, keys: tuple[Key, ...]) -> Value:
    match = _CALL.fullmatch(source)
    if match is None:
        key = _PLACEHOLDER.fullmatch(source)
        if key is None:
            raise LocalAirgapError("a descriptor that the first generation cannot hold")
        return _key_value(keys[int(key[1])], Generation.V1)
    name, inside = match.groups()
    if name not in _TAG_OF:
        raise LocalAirgapError("a descriptor that the first generation cannot hold")
    tag = _TAG_OF[name]
    if tag in _MULTI:
        threshold, *members = inside.split(",")
        places: list[Value] = [_v1_to_value(member, keys) for member in members]
        return Tagged(tag, {1: int(threshold), 2: places})
    return Tagged(tag, _v1_to_value(inside, keys))


def _key_value(key: Key, generation: Generation) -> Value:
    if isinstance(key, HdKey):
        return Tagged(generation.tag(HDKEY), key.to_value(generation))
    return Tagged(generation.tag(ECKEY), key.to_value())


# -- both ----------------------------------------------------------------------------------------


def _descriptor_from_value(value: Value) -> OutputDescriptor:
    """Read a descriptor of either generation; they cannot be mistaken for each other."""
    if isinstance(value, Tagged):
        keys: list[Key] = []
        source = _v1_from_value(value, keys)
        return OutputDescriptor(source, tuple(keys))
    fields = Fields(value, "a descriptor")
    fields.exactly(1, 2, 3, 4)
    source = _CHECKSUM.sub("", fields.text(1, MAX_SOURCE_CHARACTERS))
    members = fields.items(2, MAX_KEYS) if 2 in fields else []
    placed = tuple(_key_from_value(member) for member in members)
    used = {int(match) for match in _PLACEHOLDER.findall(source)}
    if not source.isascii() or not source.isprintable() or used != set(range(len(placed))):
        raise UrPayloadError("placeholders and keys do not belong together")
    if _PLACEHOLDER.sub("", source).count("@"):
        raise UrPayloadError("a placeholder that names no key")
    return OutputDescriptor(source, placed, fields.text(3), fields.text(4))


def _descriptor_value(descriptor: OutputDescriptor, generation: Generation) -> Value:
    if generation is Generation.V1:
        return _v1_to_value(descriptor.source, descriptor.keys)
    keys: list[Value] = [_key_value(key, generation) for key in descriptor.keys]
    found: dict[int, Value] = {1: descriptor.source}
    if keys:
        found[2] = keys
    found |= {number: text for number, text in ((3, descriptor.name), (4, descriptor.note)) if text}
    return found


def descriptor_from_ur(ur: Ur) -> OutputDescriptor:
    """Return the descriptor in a UR of type `crypto-output` or `output-descriptor`.

    Raises:
        PrivateKeyInUrError: it holds a private key.
        UrPayloadError: another type, or a descriptor with something that is not understood.
        CborError: it is malformed.
    """
    return _descriptor_from_value(value_of(ur, "crypto-output", "output-descriptor"))


def descriptor_to_ur(descriptor: OutputDescriptor, generation: Generation = Generation.V1) -> Ur:
    """Return a descriptor as a UR.

    Raises:
        LocalAirgapError: the first generation cannot hold it.
    """
    name = "crypto-output" if generation is Generation.V1 else "output-descriptor"
    return Ur(name, encode_value(_descriptor_value(descriptor, generation)))


@dataclass(frozen=True, slots=True)
class AccountDescriptors:
    """The descriptors of one account of one seed."""

    fingerprint: int
    "Of the master key."
    descriptors: tuple[OutputDescriptor, ...]


def account_from_ur(ur: Ur) -> AccountDescriptors:
    """Return the account in a UR of type `crypto-account` or `account-descriptor`.

    Raises:
        PrivateKeyInUrError: it holds a private key.
        UrPayloadError: another type, or something that is not understood.
        CborError: it is malformed.
    """
    fields = Fields(value_of(ur, "crypto-account", "account-descriptor"), "an account")
    fields.exactly(1, 2)
    members = []
    for member in fields.items(2, MAX_DESCRIPTORS):
        inner = member.value if isinstance(member, Tagged) and member.tag in OUTPUT else member
        members.append(_descriptor_from_value(inner))
    return AccountDescriptors(fields.uint(1, UINT32), tuple(members))


def account_to_ur(account: AccountDescriptors, generation: Generation = Generation.V1) -> Ur:
    """Return an account as a UR.

    Raises:
        LocalAirgapError: the first generation cannot hold one of the descriptors.
    """
    tag = generation.tag(OUTPUT)
    members: list[Value] = [
        Tagged(tag, _descriptor_value(descriptor, generation)) for descriptor in account.descriptors
    ]
    name = "crypto-account" if generation is Generation.V1 else "account-descriptor"
    return Ur(name, encode_value({1: account.fingerprint, 2: members}))


def hdkey_from_ur(ur: Ur) -> HdKey:
    """Return the key in a UR of type `crypto-hdkey` or `hdkey`.

    Raises:
        PrivateKeyInUrError: it is a private one.
        UrPayloadError: another type, or malformed.
        CborError: it is malformed.
    """
    return hdkey_from_value(value_of(ur, "crypto-hdkey", "hdkey"))


def hdkey_to_ur(key: HdKey, generation: Generation = Generation.V1) -> Ur:
    """Return a key as a UR."""
    name = "crypto-hdkey" if generation is Generation.V1 else "hdkey"
    return Ur(name, encode_value(key.to_value(generation)))


def eckey_from_ur(ur: Ur) -> EcKey:
    """Return the key in a UR of type `crypto-eckey` or `eckey`.

    Raises:
        PrivateKeyInUrError: it is a private one.
        UrPayloadError: another type, or malformed.
        CborError: it is malformed.
    """
    return eckey_from_value(value_of(ur, "crypto-eckey", "eckey"))
