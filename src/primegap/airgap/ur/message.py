"""A whole UR: a type and one CBOR item (uniform-resources.md sections 3 and 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from primegap.airgap.errors import CborError, LocalAirgapError, TooLargeForQrError
from primegap.airgap.ur import generation as tags
from primegap.airgap.ur.cbor import check_item_untrusted, strip_tag_untrusted
from primegap.airgap.ur.limits import MAX_MESSAGE_BYTES
from primegap.airgap.ur.text import is_ur_type

# The tag of either generation is taken from either name. `envelope` and `xid` are left out: their
# content may rightly begin with the same tag, so nothing may be stripped there.
OWN_TAGS: Final = {
    "seed": tags.SEED,
    "crypto-seed": tags.SEED,
    "crypto-bip39": tags.BIP39,
    "hdkey": tags.HDKEY,
    "crypto-hdkey": tags.HDKEY,
    "keypath": tags.KEYPATH,
    "crypto-keypath": tags.KEYPATH,
    "coin-info": tags.COIN_INFO,
    "coininfo": tags.COIN_INFO,
    "crypto-coin-info": tags.COIN_INFO,
    "eckey": tags.ECKEY,
    "crypto-eckey": tags.ECKEY,
    "address": tags.ADDRESS,
    "crypto-address": tags.ADDRESS,
    "output-descriptor": tags.OUTPUT,
    "crypto-output": tags.OUTPUT,
    "sskr": tags.SSKR,
    "crypto-sskr": tags.SSKR,
    "psbt": tags.PSBT,
    "crypto-psbt": tags.PSBT,
    "account-descriptor": tags.ACCOUNT,
    "crypto-account": tags.ACCOUNT,
}
"Tags that stand for a type. Its name replaces them, yet some wallets write both."


@dataclass(frozen=True, slots=True)
class Ur:
    """A type and its content.

    Raises:
        LocalAirgapError: the type is malformed, or the content is not one CBOR item.
        TooLargeForQrError: more than 1 MiB.
    """

    ur_type: str
    "Lower case, as in `crypto-psbt`."
    cbor: bytes = field(repr=False)
    "One item, without the tag that the type stands for."

    def __post_init__(self) -> None:
        if not is_ur_type(self.ur_type):
            raise LocalAirgapError("malformed UR type")
        if len(self.cbor) > MAX_MESSAGE_BYTES:
            raise TooLargeForQrError("more than 1 MiB")
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
