"""Publishers and apps for tests: keys that are no secret, a small app, and bundles of it."""

from __future__ import annotations

import functools
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from primegap.keyos.bundle import SigningKeys, build_bundle, make_certificate, sign_bundle

NOT_BEFORE_S: Final = 1_767_225_600  # 2026-01-01
NOT_AFTER_S: Final = 1_893_456_000  # 2030-01-01
SIGNED_S: Final = 1_775_692_800  # 2026-04-09
NOW_S: Final = 1_780_000_000.0

DESCRIPTION: Final[dict[str, Any]] = {
    "identifier": "hello",
    "appName": {"en": "Hello", "de": "Hallo"},
    "description": "Says hello.",
    "version": "1.2.0",
    "minKeyosVersion": "0.1.0",
    "entry": "hello.app:main",
    "storage": True,
    "servers": {},
    "permissions": {"os/ui": ["Present", "WaitOpened", "Close"]},
}
CODE: Final[dict[str, bytes]] = {
    "hello/__init__.py": b'"""Hello."""\n',
    "hello/app.py": b"async def main(process):\n    process.serve()\n",
    "hello/words/en.txt": b"hello\n",
    "hello/empty.txt": b"",
}


@functools.cache
def publisher(
    number: int = 1,
    name: str = "Jane Doe",
    *,
    not_before_s: int = NOT_BEFORE_S,
    not_after_s: int = NOT_AFTER_S,
) -> SigningKeys:
    """Return a publisher whose keys anybody can compute."""
    secp256k1 = ec.derive_private_key(7000 + number, ec.SECP256K1())
    ml_dsa = MLDSA65PrivateKey.from_seed_bytes(number.to_bytes(32))
    certificate = make_certificate(
        name,
        secp256k1,
        ml_dsa,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
        serial=number,
    )
    return SigningKeys(secp256k1, ml_dsa, certificate)


def signed_bundle(
    keys: SigningKeys | None = None,
    code: dict[str, bytes] | None = None,
    timestamp_s: int = SIGNED_S,
    **changes: Any,
) -> bytes:
    """Return a signed bundle of the small app, with changes to its description."""
    unsigned = build_bundle({**DESCRIPTION, **changes}, CODE if code is None else code)
    return sign_bundle(unsigned, keys or publisher(), timestamp_s=timestamp_s)
