"""The seed as an encrypted file for a card, and back (airgap.md section 14)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from primegap.airgap.backup_file import backup_code, read_backup_untrusted, write_backup
from primegap.airgap.errors import AirgapError
from primegap.bitcoin.keys import entropy_to_words, export_keys, master_private_key
from primegap.keyos.errors import RequestError, Status

if TYPE_CHECKING:
    from primegap.bitcoin.networks import Network


def make_card_backup(entropy: bytes, device: bytes, network: Network) -> tuple[bytes, str]:
    """Return an archive and the code that opens it.

    Args:
        entropy: of the seed.
        device: what only this device knows; the same device and seed have the same code for ever.
        network: whose form the keys have that stand beside the seed.
    """
    from importlib.metadata import version

    keys = export_keys(entropy, network, 0)
    code = backup_code(hashlib.sha256(device).digest(), entropy)
    archive = write_backup(
        entropy,
        code,
        words=" ".join(entropy_to_words(entropy)),
        chain="TBTC" if network.is_test else "BTC",
        fingerprint=keys.fingerprint,
        xprv=master_private_key(entropy, network),
        xpub=keys.master_xpub,
        version=version("primegap"),
        settings={},
        rng=os.urandom,
    )
    return archive, code


def open_card_backup(archive: bytes, code: str) -> bytes:
    """Return the entropy of a backup; its words must say the same, where it has any.

    Raises:
        RequestError: it does not open, or contradicts itself.
    """
    try:
        found = read_backup_untrusted(archive, code)
    except AirgapError as error:
        raise RequestError(Status.FAILED, error.hint) from error
    if found.words and tuple(found.words.split()) != entropy_to_words(found.entropy):
        raise RequestError(Status.FAILED, "The backup contradicts itself.")
    return found.entropy
