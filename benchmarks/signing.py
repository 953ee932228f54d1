"""Review and signing of large payments, against `embit` and bare BDK, which review nothing."""

from __future__ import annotations

import time
import tracemalloc
from base64 import b64encode
from typing import TYPE_CHECKING

import bdkpython as bdk
from tests.bitcoin_kit import OUR_ENTROPY, THEIR_ENTROPY, wallet_of

from benchmarks.figure import Figure, figure, paired_s
from primegap.bitcoin.accounts import Account
from primegap.bitcoin.keys import AccountSigner, key_at, private_key_at
from primegap.bitcoin.networks import Network
from primegap.bitcoin.paths import account_path
from primegap.bitcoin.psbt import parse_psbt_untrusted
from primegap.bitcoin.review import review_psbt
from primegap.bitcoin.sign import sign_psbt
from primegap.bitcoin.wallet_policy import parse_template_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK = Network.REGTEST
INPUTS = 100
ROUNDS = 3
EMBIT = "embit, which reviews and checks nothing"
BDK = "bare BDK, which reviews and checks nothing"


class Case:
    """An account, a payment that spends all its coins, and what signs it."""

    def __init__(self, kind: str, inputs: int) -> None:
        path = account_path(NETWORK, 0, {"p2wpkh": 84, "p2tr": 86, "wsh-2of3": 48}[kind])
        self.secret = private_key_at(OUR_ENTROPY, NETWORK, path)
        self.signer = AccountSigner.from_private_key(self.secret, NETWORK)
        if kind == "wsh-2of3":
            seeds = (OUR_ENTROPY, THEIR_ENTROPY, bytes(range(64, 96)))
            keys = tuple(key_at(seed, NETWORK, path) for seed in seeds)
            template = parse_template_untrusted("wsh(sortedmulti(2,@0/**,@1/**,@2/**))")
            self.account = Account.from_policy(template, keys, NETWORK)
        else:
            self.account = Account.from_key(self.signer.key, NETWORK)
        wallet = wallet_of(self.signer, self.account)
        for _ in range(inputs):
            wallet.fund(10_000)
        self.psbt = wallet.pay(5_000 * inputs, build=lambda builder: builder.drain_wallet())
        assert len(parse_psbt_untrusted(self.psbt).inputs) == inputs

    def ours(self) -> None:
        """Review and sign with empty caches, as the device does it once."""
        from primegap.bitcoin import derivation

        derivation.derive_public_key.cache_clear()
        derivation.derive_script.cache_clear()
        review = review_psbt(self.psbt, self.account)
        sign_psbt(self.psbt, review, review.digest, self.account, self.signer)

    def by_embit(self) -> None:
        """Sign with embit."""
        from embit import bip32, bip39
        from embit.psbt import PSBT

        words = bip39.mnemonic_from_bytes(OUR_ENTROPY)
        root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(words))
        parsed = PSBT.parse(self.psbt)
        assert parsed.sign_with(root) > 0
        parsed.serialize()

    def by_bdk(self) -> None:
        """Sign with BDK's wallet."""
        public = self.account.own_key.expression
        texts = (self.account.external, self.account.internal)
        descriptors = [
            bdk.Descriptor(
                text.partition("#")[0].replace(public, self.secret), bdk.NetworkKind.TEST
            )
            for text in texts
        ]
        wallet = bdk.Wallet(
            *descriptors, bdk.Network.REGTEST, bdk.Persister.new_in_memory(), lookahead=0
        )
        parsed = bdk.Psbt(b64encode(self.psbt).decode())
        options = bdk.SignOptions(
            trust_witness_utxo=True,
            assume_height=None,
            allow_all_sighashes=False,
            try_finalize=False,
            sign_with_tap_internal_key=True,
            allow_grinding=True,
        )
        wallet.sign(parsed, options)
        parsed.serialize()


def _against(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], peer: str
) -> Figure:
    mine, other = paired_s(ours, theirs, rounds=ROUNDS)
    return figure(name, mine * 1000, "ms", peer, other * 1000)


def against_embit() -> list[Figure]:
    """Review and sign 100 inputs, with every check, against embit's signing alone."""
    figures = []
    for kind in ("p2wpkh", "p2tr"):
        case = Case(kind, INPUTS)
        figures.append(_against(f"sign-100-{kind}-vs-embit", case.ours, case.by_embit, EMBIT))
    return figures


def against_bdk() -> list[Figure]:
    """Review and sign 100 inputs of a wallet of three, against BDK's signing alone."""
    case = Case("wsh-2of3", INPUTS)
    return [_against("sign-100-wsh-2of3-vs-bdk", case.ours, case.by_bdk, BDK)]


def growth() -> list[Figure]:
    """Time of each input at 1,000 inputs over that at 10; the stages; the memory of the largest."""
    small, large = Case("p2wpkh", 10), Case("p2wpkh", 1000)
    few = min(_seconds(small.ours) for _ in range(5)) / 10
    many = min(_seconds(large.ours) for _ in range(2)) / 1000
    figures = [figure("sign-growth-10-to-1000", many * 1e6, "us", "each of 10", few * 1e6)]
    stages: dict[str, Callable[[], object]] = {
        "parse": lambda: parse_psbt_untrusted(large.psbt),
        "review": lambda: review_psbt(large.psbt, large.account),
    }
    for name, stage in stages.items():
        share = figure(f"sign-1000-{name}", _seconds(stage), "s", "all", many * 1000)
        figures.append(share)
    tracemalloc.start()
    large.ours()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = len(large.psbt) / 2**20
    figures.append(figure("sign-1000-memory", peak / 2**20, "MiB", "its PSBT", size))
    return figures


def _seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began
