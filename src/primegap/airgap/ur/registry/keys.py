"""Keys: coin-info, keypath, hdkey and eckey (uniform-resources.md sections 9.3 and 9.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from primegap.airgap.errors import LocalAirgapError, PrivateKeyInUrError, UrPayloadError
from primegap.airgap.ur.generation import COIN_INFO, KEYPATH, Generation
from primegap.airgap.ur.registry.fields import Fields
from primegap.airgap.ur.value import Tagged, Value
from primegap.base58 import decode_base58check, encode_base58check

HARDENED: Final = 1 << 31
MAX_STEPS: Final = 32
"Steps of a path; the deepest in use has eight."
MASTER_DATA_BYTES: Final = 33

_XPUB_VERSIONS: Final = {0: bytes.fromhex("0488b21e"), 1: bytes.fromhex("043587cf")}
_NETWORK_OF: Final = {version: network for network, version in _XPUB_VERSIONS.items()}
_PRIVATE_VERSIONS: Final = frozenset((bytes.fromhex("0488ade4"), bytes.fromhex("04358394")))
_KEY_EXPRESSION: Final = re.compile(
    r"(?:\[([0-9a-fA-F]{8})((?:/[0-9]{1,10}['hH]?){0,32})\])?"
    r"([1-9A-HJ-NP-Za-km-z]{111}|[0-9a-f]{66})((?:/[^/]{1,64}){0,32})"
)
_STEP: Final = re.compile(r"([0-9]{1,10}|\*)(['hH]?)")

BITCOIN: Final = 0
MAINNET: Final = 0
TESTNET: Final = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: an index, a range of them, or any (`*`)."""

    low: int | None
    "Index below 2^31; None stands for any."
    high: int | None = None
    "Last index of a range."
    hardened: bool = False

    def __str__(self) -> str:
        """Return it as in a descriptor."""
        if self.low is None:
            index = "*"
        else:
            index = str(self.low) if self.high is None else f"{self.low}-{self.high}"
        return index + ("'" if self.hardened else "")


@dataclass(frozen=True, slots=True)
class Branch:
    """Two steps for one: what the receiving and what the change addresses take."""

    external: Step
    internal: Step

    def __str__(self) -> str:
        """Return it as in BIP-389."""
        return f"<{self.external};{self.internal}>"


PathItem: TypeAlias = "Step | Branch"


@dataclass(frozen=True, slots=True)
class Keypath:
    """A path, and where it begins."""

    items: tuple[PathItem, ...] = ()
    fingerprint: int | None = None
    "Of the key where the path begins. The paper forbids zero, and wallets in use write it."
    depth: int | None = None
    "Depth of the key where the path ends, where it is stated."

    def __str__(self) -> str:
        """Return the steps, each behind a slash."""
        return "".join(f"/{item}" for item in self.items)

    def to_value(self) -> Value:
        """Return the map."""
        flat: list[Value] = []
        for item in self.items:
            if isinstance(item, Branch):
                pair: list[Value] = []
                for step in (item.external, item.internal):
                    pair += [_step_value(step), step.hardened]
                flat.append(pair)
            else:
                flat += [_step_value(item), item.hardened]
        found: dict[int, Value] = {1: flat}
        if self.fingerprint is not None:
            found[2] = self.fingerprint
        if self.depth is not None:
            found[3] = self.depth
        return found


def _step_value(step: Step) -> Value:
    if step.low is None:
        return []
    return step.low if step.high is None else [step.low, step.high]


def keypath_from_value(value: Value) -> Keypath:
    """Read a keypath.

    Raises:
        UrPayloadError: it is malformed.
    """
    fields = Fields(value, "a path")
    fields.exactly(1, 2, 3)
    flat = fields.items(1, 2 * MAX_STEPS)
    items: list[PathItem] = []
    at = 0
    while at < len(flat):
        head = flat[at]
        if isinstance(head, list) and len(head) == 4:
            items.append(Branch(_step(head[0], head[1]), _step(head[2], head[3])))
            at += 1
            continue
        if at + 1 >= len(flat):
            raise UrPayloadError("a path that ends within a step")
        items.append(_step(head, flat[at + 1]))
        at += 2
    return Keypath(tuple(items), fields.optional_uint(2), fields.optional_uint(3, 255))


def _step(index: Value, hardened: Value) -> Step:
    if not isinstance(hardened, bool):
        raise UrPayloadError("a step without its hardened flag")
    bounds = index if isinstance(index, list) else [index]
    numbers = [
        number
        for number in bounds
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < HARDENED
    ]
    if len(numbers) != len(bounds) or len(numbers) > 2 or numbers != sorted(numbers):
        raise UrPayloadError("a step that is neither index, range nor wildcard")
    if isinstance(index, list) and len(numbers) == 1:
        raise UrPayloadError("a range of one end")
    low = numbers[0] if numbers else None
    return Step(low, numbers[1] if len(numbers) == 2 else None, hardened)


@dataclass(frozen=True, slots=True)
class CoinInfo:
    """Which coin, and which of its networks."""

    coin: int = BITCOIN
    "Number of SLIP-44."
    network: int = MAINNET
    "0 main, 1 any test network."

    def to_value(self) -> Value:
        """Return the map; what is the default is left out."""
        found: dict[int, Value] = {}
        if self.coin != BITCOIN:
            found[1] = self.coin
        if self.network != MAINNET:
            found[2] = self.network
        return found


def coin_info_from_value(value: Value) -> CoinInfo:
    """Read a coin-info.

    Raises:
        UrPayloadError: it is malformed.
    """
    fields = Fields(value, "a coin")
    fields.exactly(1, 2)
    return CoinInfo(fields.uint(1, HARDENED - 1, BITCOIN), fields.uint(2, 255, MAINNET))


@dataclass(frozen=True, slots=True)
class HdKey:
    """A public extended key, where it came from, and what may be derived below."""

    key: bytes
    "33 bytes, compressed."
    chain_code: bytes | None = field(default=None, repr=False)
    "32 bytes; without it nothing can be derived."
    coin: CoinInfo | None = None
    origin: Keypath | None = None
    children: Keypath | None = None
    parent_fingerprint: int | None = None
    name: str = ""
    note: str = ""

    def to_value(self, generation: Generation) -> Value:
        """Return the map."""
        found: dict[int, Value] = {3: self.key}
        if self.chain_code is not None:
            found[4] = self.chain_code
        if self.coin is not None:
            found[5] = Tagged(generation.tag(COIN_INFO), self.coin.to_value())
        for number, path in ((6, self.origin), (7, self.children)):
            if path is not None:
                found[number] = Tagged(generation.tag(KEYPATH), path.to_value())
        if self.parent_fingerprint is not None:
            found[8] = self.parent_fingerprint
        found |= {number: text for number, text in ((9, self.name), (10, self.note)) if text}
        return found

    def xpub(self) -> str:
        """Return the extended key as text (BIP-32).

        Raises:
            UrPayloadError: it has no chain code.
        """
        if self.chain_code is None:
            raise UrPayloadError("a key without a chain code")
        origin = self.origin
        last = origin.items[-1] if origin is not None and origin.items else None
        child = 0
        if isinstance(last, Step) and last.low is not None:
            child = last.low + (HARDENED if last.hardened else 0)
        depth = 1 if origin is None and self.parent_fingerprint else 0
        if origin is not None:
            depth = len(origin.items) if origin.depth is None else origin.depth
        network = MAINNET if self.coin is None else self.coin.network
        return encode_base58check(
            _XPUB_VERSIONS[min(network, TESTNET)]
            + bytes([depth])
            + (self.parent_fingerprint or 0).to_bytes(4, "big")
            + child.to_bytes(4, "big")
            + self.chain_code
            + self.key
        )

    def expression(self) -> str:
        """Return the key expression of a descriptor (BIP-380): origin, key and derivation."""
        origin = ""
        if self.origin is not None and self.origin.fingerprint is not None:
            origin = f"[{self.origin.fingerprint:08x}{self.origin}]"
        key = self.key.hex() if self.chain_code is None else self.xpub()
        return f"{origin}{key}{self.children or ''}"


def hdkey_from_value(value: Value) -> HdKey:
    """Read a public hdkey.

    Raises:
        PrivateKeyInUrError: it is a private one.
        UrPayloadError: it is malformed.
    """
    fields = Fields(value, "a key")
    fields.exactly(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    if fields.flag(1) or fields.flag(2):
        raise PrivateKeyInUrError("an extended private key")
    return HdKey(
        _public_key(fields.data(3, MASTER_DATA_BYTES)),
        fields.data(4, 32) if 4 in fields else None,
        coin_info_from_value(fields.tagged(5, COIN_INFO)) if 5 in fields else None,
        keypath_from_value(fields.tagged(6, KEYPATH)) if 6 in fields else None,
        keypath_from_value(fields.tagged(7, KEYPATH)) if 7 in fields else None,
        fields.optional_uint(8),
        fields.text(9),
        fields.text(10),
    )


def _public_key(data: bytes) -> bytes:
    if data[0] not in {2, 3}:
        raise PrivateKeyInUrError("not a public key")
    return data


@dataclass(frozen=True, slots=True)
class EcKey:
    """A bare public key of secp256k1."""

    key: bytes
    "33 bytes compressed, or 65."

    def to_value(self) -> Value:
        """Return the map."""
        return {3: self.key}

    def expression(self) -> str:
        """Return the key expression of a descriptor."""
        return self.key.hex()


def eckey_from_value(value: Value) -> EcKey:
    """Read a public eckey.

    Raises:
        PrivateKeyInUrError: it is a private one.
        UrPayloadError: it is malformed, or on another curve.
    """
    fields = Fields(value, "a key")
    fields.exactly(1, 2, 3)
    if fields.flag(2) or (isinstance(fields.value(3), bytes) and len(fields.data(3)) == 32):
        raise PrivateKeyInUrError("a private key")
    if fields.uint(1, default=0) != 0:
        raise UrPayloadError("a key on another curve")
    key = fields.data(3, 33, 65)
    if key[0] != 4 if len(key) == 65 else key[0] not in {2, 3}:
        raise UrPayloadError("not a public key")
    return EcKey(key)


Key: TypeAlias = "HdKey | EcKey"


def key_from_expression(text: str) -> Key:
    """Return the key of a descriptor's key expression.

    Raises:
        LocalAirgapError: it is no public key, or a form that a UR cannot hold.
    """
    match = _KEY_EXPRESSION.fullmatch(text)
    if match is None:
        raise LocalAirgapError("not a public key expression")
    fingerprint, path, key, below = match.groups()
    origin = None
    if fingerprint is not None:
        items = tuple(_item_from_text(step) for step in path.split("/")[1:])
        origin = Keypath(items, int(fingerprint, 16))
    children = tuple(_item_from_text(step) for step in below.split("/")[1:])
    if len(key) == 66:
        bare = bytes.fromhex(key)
        if children:
            raise LocalAirgapError("a bare key with a derivation")
        return EcKey(bare) if origin is None else HdKey(bare, origin=origin)
    payload = decode_base58check(key)
    if payload is None or len(payload) != 78 or payload[:4] not in _NETWORK_OF:
        private = payload is not None and payload[:4] in _PRIVATE_VERSIONS
        raise LocalAirgapError("a private key" if private else "not an extended public key")
    network = _NETWORK_OF[payload[:4]]
    parent = int.from_bytes(payload[5:9], "big")
    child = int.from_bytes(payload[9:13], "big")
    if origin is not None:
        origin = Keypath(origin.items, origin.fingerprint, payload[4])
    elif payload[4]:
        last = Step(child % HARDENED, hardened=child >= HARDENED)
        origin = Keypath((last,), None, payload[4])
    found = HdKey(
        payload[45:],
        payload[13:45],
        CoinInfo(network=network) if network else None,
        origin,
        Keypath(children) if children else None,
        parent or None,
    )
    if found.xpub() != key:
        raise LocalAirgapError("an extended key that does not belong to its path")
    return found


def _item_from_text(text: str) -> PathItem:
    if text.startswith("<") and text.endswith(">"):
        both = text[1:-1].split(";")
        if len(both) != 2:
            raise LocalAirgapError("more branches than a UR can hold")
        return Branch(_step_from_text(both[0]), _step_from_text(both[1]))
    return _step_from_text(text)


def _step_from_text(text: str) -> Step:
    match = _STEP.fullmatch(text)
    index = None if match is None or match[1] == "*" else int(match[1])
    if match is None or (index is not None and index >= HARDENED):
        raise LocalAirgapError("a step that a UR cannot hold")
    return Step(index, hardened=bool(match[2]))
