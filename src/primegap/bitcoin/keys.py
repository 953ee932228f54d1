"""Secret keys: from entropy to an account's key, and the capability to sign for one account.

Only the security process holds entropy. It hands out an account's private key for one signature
that a person confirmed; the process that gets it wraps it in an `AccountSigner` at once. BDK
derives from the seed, libsecp256k1 signs. Python cannot wipe memory reliably: few copies, short
lives, and the end of the process is the real wipe.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NoReturn, Self

import bdkpython

from primegap.base58 import decode_base58check
from primegap.bitcoin.accounts import AccountKey
from primegap.bitcoin.curve import (
    add_to_secret,
    public_key_of,
    sign_ecdsa,
    sign_recoverable,
    sign_schnorr,
)
from primegap.bitcoin.errors import BitcoinError, LocalError
from primegap.bitcoin.mnemonic import (
    check_entropy,
    entropy_to_words,
    mix_entropy,
    seed_words,
    words_to_entropy,
)
from primegap.bitcoin.paths import MAX_ACCOUNT, account_path, check_account_path

if TYPE_CHECKING:
    from primegap.bitcoin.exports.keys import ExportKeys
    from primegap.bitcoin.networks import Network

__all__ = [
    "AccountSigner",
    "account_key",
    "account_private_key",
    "entropy_to_words",
    "export_keys",
    "key_at",
    "master_fingerprint",
    "master_private_key",
    "mix_entropy",
    "private_key_at",
    "seed_words",
    "words_to_entropy",
]

_KEY_BYTES = 78


def master_fingerprint(entropy: bytes, passphrase: str = "") -> str:
    """Return the BIP-32 fingerprint of the master key, 8 lower-case hex digits."""
    master = master_key(entropy, passphrase, is_test=False)
    return str(master.as_public().master_fingerprint())


def master_key(entropy: bytes, passphrase: str, *, is_test: bool) -> Any:
    """Return BDK's master key of a seed (BIP-39, BIP-32).

    Args:
        entropy: 16, 24 or 32 bytes.
        passphrase: BIP-39; every one is another wallet.
        is_test: of test networks, which only changes how keys are written.
    """
    check_entropy(entropy)
    mnemonic = bdkpython.Mnemonic.from_entropy(entropy)
    kinds = bdkpython.NetworkKind
    kind = kinds.TEST if is_test else kinds.MAIN
    return bdkpython.DescriptorSecretKey(kind, mnemonic, passphrase or None)


def account_key(
    entropy: bytes, network: Network, account: int, *, purpose: int = 84, passphrase: str = ""
) -> AccountKey:
    """Return the public key of a standard account (`m/84'/coin'/account'`).

    Args:
        entropy: 16, 24 or 32 bytes.
        network: decides the coin level of the path and the form of the key.
        account: 0 to 2**31 - 1.
        purpose: 44, 49, 84 or 86.
        passphrase: BIP-39.

    Raises:
        LocalError: an argument is out of range.
    """
    return key_at(entropy, network, account_path(network, account, purpose), passphrase)


def key_at(entropy: bytes, network: Network, path: str, passphrase: str = "") -> AccountKey:
    """Return the public key at the path of an account.

    Raises:
        LocalError: it is not the path of an account of this network.
    """
    return _public_part(_secret_at(entropy, network, path, passphrase))


def account_private_key(
    entropy: bytes, network: Network, account: int, *, purpose: int = 84, passphrase: str = ""
) -> str:
    """Return the private key of a standard account; see `private_key_at`."""
    return private_key_at(entropy, network, account_path(network, account, purpose), passphrase)


def private_key_at(entropy: bytes, network: Network, path: str, passphrase: str = "") -> str:
    """Return the private key of an account as a key expression: `[fingerprint/84'/0'/0']xprv`.

    For `AccountSigner.from_private_key` in the process that signs, and for nothing else.
    """
    return str(_secret_at(entropy, network, path, passphrase)).removesuffix("/*")


def _secret_at(entropy: bytes, network: Network, path: str, passphrase: str) -> Any:
    check_account_path(path, network)
    master = master_key(entropy, passphrase, is_test=network.is_test)
    return master.derive(bdkpython.DerivationPath(path))


def export_keys(entropy: bytes, network: Network, account: int) -> ExportKeys:
    """Return the public keys of an account at the paths that other wallets know.

    Raises:
        LocalError: an argument is out of range.
    """
    from primegap.bitcoin.exports.keys import ExportKeys, Slot

    if not 0 <= account <= MAX_ACCOUNT:
        raise LocalError("an account number is out of range")
    master = master_key(entropy, "", is_test=network.is_test)
    xpubs = {}
    for slot in Slot:
        secret = master.derive(bdkpython.DerivationPath(slot.path(network, account)))
        xpubs[slot] = _public_part(secret).xpub
    public = master.as_public()
    master_xpub = str(public).partition("/")[0]
    return ExportKeys(network, account, public.master_fingerprint(), master_xpub, xpubs)


def master_private_key(entropy: bytes, network: Network) -> str:
    """Return the master key as text (`xprv…`); for an encrypted backup and for nothing else."""
    return str(master_key(entropy, "", is_test=network.is_test)).partition("/")[0]


def _public_part(secret: Any) -> AccountKey:
    origin, _, xpub = str(secret.as_public()).removeprefix("[").partition("]")
    fingerprint, _, path = origin.partition("/")
    return AccountKey(fingerprint, f"m/{path}", xpub)


class AccountSigner:
    """The capability to sign with the key of one account: everything it can do and nothing else.

    Shows nothing in its repr, cannot be pickled or copied. Use it as a context manager: on leaving
    the block the key is let go.
    """

    __slots__ = ("_chains", "_key", "_secret")

    def __init__(self, secret: bytes, chain_code: bytes, key: AccountKey) -> None:
        """Use `from_private_key` or `from_entropy` instead."""
        self._secret: tuple[bytes, bytes] | None = (secret, chain_code)
        self._chains: dict[int, tuple[bytes, bytes, bytes]] = {}
        self._key = key

    @classmethod
    def from_private_key(cls, key: str, network: Network) -> Self:
        """Wrap what `private_key_at` returned.

        Raises:
            LocalError: it is not the private key of an account of this network.
        """
        try:
            parsed = bdkpython.DescriptorSecretKey.from_string(key)
            public = _public_part(parsed)
            check_account_path(public.path, network)
            AccountKey.parse_untrusted(public.fingerprint, public.path, public.xpub, network)
        except (bdkpython.DescriptorKeyError, BitcoinError):
            # The cause is left out: it could quote the key.
            raise LocalError("not the private key of an account of this network") from None
        raw = decode_base58check(key.partition("]")[2])
        if raw is None or len(raw) != _KEY_BYTES:
            raise LocalError("not the private key of an account of this network")
        return cls(raw[46:], raw[13:45], public)

    @classmethod
    def from_entropy(
        cls,
        entropy: bytes,
        network: Network,
        account: int,
        *,
        purpose: int = 84,
        passphrase: str = "",
    ) -> Self:
        """Derive the key of a standard account and wrap it."""
        path = account_path(network, account, purpose)
        return cls.from_private_key(private_key_at(entropy, network, path, passphrase), network)

    @property
    def key(self) -> AccountKey:
        """The public side."""
        return self._key

    def sign_ecdsa(self, chain: int, index: int, digest: bytes) -> bytes:
        """Sign a digest with the key at two unhardened steps below; return DER.

        Raises:
            LocalError: the signer was closed.
        """
        return sign_ecdsa(self._child(chain, index), digest)

    def sign_recoverable(self, chain: int, index: int, digest: bytes) -> bytes:
        """Sign a digest so that the key can be recovered (BIP-137); return 65 bytes.

        Raises:
            LocalError: the signer was closed.
        """
        return sign_recoverable(self._child(chain, index), digest)

    def sign_schnorr(
        self, chain: int, index: int, digest: bytes, *, merkle_root: bytes | None = None
    ) -> bytes:
        """Sign a digest by BIP-340, with the output key of a taproot tree if its root is given.

        Raises:
            LocalError: the signer was closed.
        """
        return sign_schnorr(self._child(chain, index), digest, merkle_root=merkle_root)

    def _child(self, chain: int, index: int) -> bytes:
        if self._secret is None:
            raise LocalError("the signer was closed")
        if chain not in self._chains:
            secret, chain_code = self._secret
            below = _child_secret(secret, chain_code, public_key_of(secret), chain)
            self._chains[chain] = (*below, public_key_of(below[0]))
        return _child_secret(*self._chains[chain], index)[0]

    def close(self) -> None:
        """Let the key go."""
        self._secret = None
        self._chains.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<AccountSigner>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are never serialised")


def _child_secret(
    secret: bytes, chain_code: bytes, public_key: bytes, step: int
) -> tuple[bytes, bytes]:
    """Return secret and chain code one unhardened step below (BIP-32)."""
    mac = hmac.digest(chain_code, public_key + step.to_bytes(4, "big"), "sha512")
    child = add_to_secret(secret, mac[:32])
    if child is None:
        raise LocalError("this key has no child at this index")
    return child, mac[32:]
