"""A whole UR: a type and one CBOR item (uniform-resources.md sections 3 and 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import CborError, LocalAirgapError
from primegap.airgap.ur.cbor import check_item_untrusted, strip_tag_untrusted
from primegap.airgap.ur.limits import MAX_MESSAGE_BYTES
from primegap.airgap.ur.text import is_ur_type

_SEED: Final = frozenset({300, 40300})
_BIP39: Final = frozenset({301})
_HDKEY: Final = frozenset({303, 40303})
_KEYPATH: Final = frozenset({304, 40304})
_COIN_INFO: Final = frozenset({305, 40305})
_ECKEY: Final = frozenset({306, 40306})
_ADDRESS: Final = frozenset({307, 40307})
_OUTPUT: Final = frozenset({308, 40308})
_SSKR: Final = frozenset({309, 40309})
_PSBT: Final = frozenset({310, 40310})
_ACCOUNT: Final = frozenset({311, 40311})

# The tag of either generation is taken from either name. `envelope` and `xid` are left out: their
# content may rightly begin with the same tag, so nothing may be stripped there.
OWN_TAGS: Final = {
    "seed": _SEED,
    "crypto-seed": _SEED,
    "crypto-bip39": _BIP39,
    "hdkey": _HDKEY,
    "crypto-hdkey": _HDKEY,
    "keypath": _KEYPATH,
    "crypto-keypath": _KEYPATH,
    "coin-info": _COIN_INFO,
    "coininfo": _COIN_INFO,
    "crypto-coin-info": _COIN_INFO,
    "eckey": _ECKEY,
    "crypto-eckey": _ECKEY,
    "address": _ADDRESS,
    "crypto-address": _ADDRESS,
    "output-descriptor": _OUTPUT,
    "crypto-output": _OUTPUT,
    "sskr": _SSKR,
    "crypto-sskr": _SSKR,
    "psbt": _PSBT,
    "crypto-psbt": _PSBT,
    "account-descriptor": _ACCOUNT,
    "crypto-account": _ACCOUNT,
}
"Tags that stand for a type. Its name replaces them, yet some wallets write both."


@dataclass(frozen=True, slots=True)
class Ur:
    """A type and its content.

    Raises:
        LocalAirgapError: the type is malformed, or the content is not one CBOR item of 1 byte to
            1 MiB.
    """

    ur_type: str
    "Lower case, as in `crypto-psbt`."
    cbor: bytes = field(repr=False)
    "One item, without the tag that the type stands for."

    def __post_init__(self) -> None:
        if not is_ur_type(self.ur_type):
            raise LocalAirgapError("malformed UR type")
        if len(self.cbor) > MAX_MESSAGE_BYTES:
            raise LocalAirgapError("more than 1 MiB")
        try:
            check_item_untrusted(self.cbor)
        except CborError as error:
            raise LocalAirgapError("not one CBOR item") from error


def ur_from_message_untrusted(ur_type: str, message: bytes) -> Ur:
    """Return the UR of a received message; the type's own tag in front is dropped.

    Raises:
        CborError: `message` is not exactly one item.
    """
    check_item_untrusted(message)
    return Ur(ur_type, strip_tag_untrusted(message, OWN_TAGS.get(ur_type, ())))
