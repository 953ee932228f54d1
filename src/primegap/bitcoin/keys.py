"""Secret keys: from entropy to an account's key, and the capability to sign for one account.

Only the security process holds entropy. It hands out an account's private key for one signature
that a person confirmed; the process that gets it wraps it in an `AccountSigner` at once. All
derivations and signatures are BDK's (libsecp256k1). Python cannot wipe memory reliably: few copies,
short lives, and the end of the process is the real wipe.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, NoReturn, Self

import bdkpython

from primegap.bitcoin.accounts import PURPOSES, Account, AccountKey
from primegap.bitcoin.derivation import bdk_network, bdk_network_kind
from primegap.bitcoin.errors import BitcoinError, LocalError, SigningFaultError
from primegap.bitcoin.mnemonic import (
    check_entropy,
    entropy_to_words,
    mix_entropy,
    seed_words,
    words_to_entropy,
)
from primegap.bitcoin.scripts import ScriptType

if TYPE_CHECKING:
    from primegap.bitcoin.exports.keys import ExportKeys
    from primegap.bitcoin.networks import Network

__all__ = [
    "AccountSigner",
    "account_key",
    "account_private_key",
    "entropy_to_words",
    "export_keys",
    "master_fingerprint",
    "mix_entropy",
    "seed_words",
    "words_to_entropy",
]

MAX_ACCOUNT = (1 << 31) - 1


def master_fingerprint(entropy: bytes) -> str:
    """Return the BIP-32 fingerprint of the master key, 8 lower-case hex digits."""
    check_entropy(entropy)
    mnemonic = bdkpython.Mnemonic.from_entropy(entropy)
    master = bdkpython.DescriptorSecretKey(bdkpython.NetworkKind.MAIN, mnemonic, None)
    fingerprint: str = master.as_public().master_fingerprint()
    return fingerprint


def account_key(
    entropy: bytes,
    network: Network,
    account: int,
    *,
    script_type: ScriptType = ScriptType.P2WPKH,
) -> AccountKey:
    """Return the public key of an account (BIP-84: `m/84'/coin'/account'`).

    Args:
        entropy: 16 or 32 bytes.
        network: decides the coin level of the path and the form of the key.
        account: 0 to 2**31 - 1.
        script_type: kind of account.

    Raises:
        LocalError: an argument is out of range.
    """
    secret = _account_secret(entropy, network, account, script_type)
    return _public_part(secret)


def account_private_key(
    entropy: bytes,
    network: Network,
    account: int,
    *,
    script_type: ScriptType = ScriptType.P2WPKH,
) -> str:
    """Return the private key of an account as a key expression: `[fingerprint/84'/0'/0']xprv`.

    For `AccountSigner.from_private_key` in the process that signs, and for nothing else.
    """
    return str(_account_secret(entropy, network, account, script_type))


def _account_secret(entropy: bytes, network: Network, account: int, script_type: ScriptType) -> Any:
    check_entropy(entropy)
    purpose = PURPOSES.get(script_type)
    if purpose is None:
        raise LocalError("this kind of account is not supported")
    if not 0 <= account <= MAX_ACCOUNT:
        raise LocalError("an account number is out of range")
    mnemonic = bdkpython.Mnemonic.from_entropy(entropy)
    master = bdkpython.DescriptorSecretKey(bdk_network_kind(network), mnemonic, None)
    path = f"m/{purpose}'/{network.coin_type}'/{account}'"
    return master.derive(bdkpython.DerivationPath(path))


def export_keys(entropy: bytes, network: Network, account: int) -> ExportKeys:
    """Return the public keys of an account at the paths that other wallets know.

    Raises:
        LocalError: an argument is out of range.
    """
    from primegap.bitcoin.exports.keys import ExportKeys, Slot

    check_entropy(entropy)
    if not 0 <= account <= MAX_ACCOUNT:
        raise LocalError("an account number is out of range")
    mnemonic = bdkpython.Mnemonic.from_entropy(entropy)
    master = bdkpython.DescriptorSecretKey(bdk_network_kind(network), mnemonic, None)
    xpubs = {}
    for slot in Slot:
        secret = master.derive(bdkpython.DerivationPath(slot.path(network, account)))
        xpubs[slot] = _public_part(secret).xpub
    public = master.as_public()
    master_xpub = str(public).partition("/")[0]
    return ExportKeys(network, account, public.master_fingerprint(), master_xpub, xpubs)


def _public_part(secret: Any) -> AccountKey:
    origin, _, xpub = str(secret.as_public()).removeprefix("[").partition("]")
    fingerprint, _, path = origin.partition("/")
    return AccountKey(fingerprint, f"m/{path}", xpub)


class AccountSigner:
    """The capability to sign for one account: everything it can do and nothing else.

    Shows nothing in its repr, cannot be pickled or copied. Use it as a context manager: on leaving
    the block the key is let go.
    """

    __slots__ = ("_account", "_secret")

    def __init__(self, secret: Any, network: Network) -> None:
        """Use `from_private_key` or `from_entropy` instead."""
        self._secret: Any = secret
        self._account = Account.from_key(_public_part(secret), network)

    @classmethod
    def from_private_key(cls, key: str, network: Network) -> Self:
        """Wrap what `account_private_key` returned.

        Raises:
            LocalError: it is not the private key of an account of this network.
        """
        try:
            return cls(bdkpython.DescriptorSecretKey.from_string(key), network)
        except (bdkpython.DescriptorKeyError, BitcoinError):
            # The cause is left out: it could quote the key.
            raise LocalError("not the private key of an account of this network") from None

    @classmethod
    def from_entropy(
        cls,
        entropy: bytes,
        network: Network,
        account: int,
        *,
        script_type: ScriptType = ScriptType.P2WPKH,
    ) -> Self:
        """Derive the key of an account and wrap it."""
        return cls(_account_secret(entropy, network, account, script_type), network)

    @property
    def account(self) -> Account:
        """The public side of the account that is signed for."""
        return self._account

    def sign(self, psbt: bytes) -> tuple[dict[bytes, bytes], ...]:
        """Sign the inputs of a PSBT that claim keys of this account; for `sign_psbt` only.

        This is the bare act: it checks nothing, so it must only be given a PSBT that was built from
        a review.

        Returns:
            For each input the new signatures by public key, DER with the sighash byte.

        Raises:
            LocalError: the signer was closed.
            SigningFaultError: BDK refused.
        """
        if self._secret is None:
            raise LocalError("the signer was closed")
        network = self._account.network
        descriptors = [
            bdkpython.Descriptor(f"wpkh({self._secret}/{keychain}/*)", bdk_network_kind(network))
            for keychain in (0, 1)
        ]
        store = bdkpython.Persister.new_in_memory()
        wallet = bdkpython.Wallet(*descriptors, bdk_network(network), store, lookahead=0)
        parsed = bdkpython.Psbt(b64encode(psbt).decode())
        options = bdkpython.SignOptions(
            trust_witness_utxo=True,  # the review proved the amounts by the previous transactions
            assume_height=None,
            allow_all_sighashes=False,
            try_finalize=False,
            sign_with_tap_internal_key=False,
            allow_grinding=True,
        )
        try:
            wallet.sign(parsed, options)
        except bdkpython.SignerError as error:
            raise SigningFaultError("the key could not sign") from error
        return tuple(
            {bytes.fromhex(key): bytes(value) for key, value in part.partial_sigs.items()}
            for part in parsed.input()
        )

    def close(self) -> None:
        """Let the key go."""
        self._secret = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<AccountSigner>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are never serialised")
