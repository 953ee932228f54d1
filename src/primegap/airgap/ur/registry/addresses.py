"""Addresses (uniform-resources.md section 9.5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from primegap.airgap.ur.generation import COIN_INFO, Generation
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.registry.fields import Fields, value_of
from primegap.airgap.ur.registry.keys import CoinInfo, coin_info_from_value
from primegap.airgap.ur.value import Tagged, Value, encode_value


class AddressKind(enum.IntEnum):
    """Kind of script; taproot and P2WSH have no number."""

    P2PKH = 0
    P2SH = 1
    P2WPKH = 2


@dataclass(frozen=True, slots=True)
class AddressPayload:
    """A hash, and what script it belongs to."""

    data: bytes
    "20 bytes: hash of a key or script, or witness program."
    kind: AddressKind | None = None
    "None when it is not stated."
    coin: CoinInfo | None = None

    def to_ur(self, generation: Generation = Generation.V1) -> Ur:
        """Return it as a UR."""
        found: dict[int, Value] = {3: self.data}
        if self.coin is not None:
            found[1] = Tagged(generation.tag(COIN_INFO), self.coin.to_value())
        if self.kind is not None:
            found[2] = int(self.kind)
        name = "crypto-address" if generation is Generation.V1 else "address"
        return Ur(name, encode_value(found))


def address_from_ur(ur: Ur) -> AddressPayload:
    """Return the address in a UR of type `crypto-address` or `address`.

    Raises:
        UrPayloadError: another type, or malformed.
        CborError: it is malformed.
    """
    fields = Fields(value_of(ur, "crypto-address", "address"), "an address")
    fields.exactly(1, 2, 3)
    kind = fields.optional_uint(2, max(AddressKind))
    return AddressPayload(
        fields.data(3, 20),
        None if kind is None else AddressKind(kind),
        coin_info_from_value(fields.tagged(1, COIN_INFO)) if 1 in fields else None,
    )
