"""Derivations by the vectors, secret memory, the genuineness check."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from primegap.keyos.security.derivation import (
    app_seed,
    backup_key,
    disk_keys,
    fido_material,
    seed_fingerprint,
    storage_key,
    storage_tag,
)
from primegap.keyos.security.genuine import ChallengeError, DeviceCheck
from primegap.keyos.security.memory import SecretBuffer

BACKUP = bytes.fromhex("e19f16fcd9610bca7d026b4673f1cb06")
FIDO = bytes.fromhex("8abc821d427553efab0c6b374d059bda")
CANARY = b"canary of a secret buffer"


# entropy, fingerprint, os/backup, backup key, os/fido, FIDO 0/0: keyos-model, section 17
VECTORS = [
    (
        bytes(16),
        "45e5487a14e99b72e436aae7edf7d6dac7c9f14e286974539c794cc39e2c7023",
        "bdae1b215079dc0924b77e9ee495b1378a14176a1c08e261e101e14ad7e6fc1d",
        "8f631848b7ef6eb8c65924a513e0a2730aaa0a72f52cfe6780b67785397d1bca",
        "8e7487318f893e5ef0346d150c3e2863294d551430a21733195c38b295988ae8",
        "c998c66cf643b4926be70eaace0035f527905f3fc6d8f19b984dd3a2b0ed49f6",
    ),
    (
        bytes(32),
        "d2a4a2b8e1356c3ee06a41e52520be5aff2a313238cdd543f0566c75cab17279",
        "536fa4f7245f263117621894bba64977895ecd7bd78566cad91f0ebd2ce2a9eb",
        "2d745377bf9c15b7a4c04457d931ddb04ae79a7155e7f11a005a4cabe26748c8",
        "9615494748108bd4cbbee1d9b5b76832a0addee058de01ac674db7efc46fc31d",
        "11e24b69322feb93772c39aa92e8935bb91f5db7e4e13a8f14cb8b85eccd75f6",
    ),
]


@pytest.mark.guarantee("S-2", "S-10", tried="every derivation of section 17")
@pytest.mark.parametrize("vector", VECTORS)
def test_derivations_equal_the_vectors(vector: tuple[bytes, str, str, str, str, str]) -> None:
    entropy, fingerprint, backup, key, fido, material = vector
    assert seed_fingerprint(entropy).hex() == fingerprint
    assert app_seed(BACKUP, entropy).hex() == backup
    assert backup_key(app_seed(BACKUP, entropy)).hex() == key
    assert app_seed(FIDO, entropy).hex() == fido
    assert fido_material(app_seed(FIDO, entropy), 0, 0).hex() == material


@pytest.mark.guarantee("F-6", tried="keys of storage with another seed, set-up or app")
def test_keys_of_storage_need_seed_and_device_and_differ_by_app() -> None:
    keys = disk_keys(bytes(16), bytes(64))
    assert len(keys) == 64
    assert keys[:32] == keys[32:]  # of entropy that is all zeros: SHA256(seed | "AES") twice
    others = [disk_keys(b"\1" + bytes(15), bytes(64)), disk_keys(bytes(16), b"\1" + bytes(63))]
    found = {storage_key(app, k) for app in (BACKUP, FIDO) for k in (keys, *others)}
    assert len(found) == 6
    assert len({storage_tag(k) for k in (keys, *others)}) == 3


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.guarantee("H-1", tried="a secret buffer printed, pickled, copied, hashed")
def test_a_secret_buffer_shows_nothing() -> None:
    source = bytearray(CANARY)
    secret = SecretBuffer(source)
    assert source == bytes(len(CANARY))  # the only copy is the buffer's
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}"):
        assert "canary" not in text
    for act in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            act(secret)
    assert secret == SecretBuffer(CANARY)
    assert secret != SecretBuffer(CANARY[::-1])
    assert secret != CANARY
    with secret.view() as view:
        assert bytes(view) == CANARY
        with pytest.raises(TypeError):
            view[0] = 0


@pytest.mark.guarantee("S-8", tried="the memory of this process read after a wipe")
def test_a_wiped_buffer_is_gone_from_memory() -> None:
    pattern = os.urandom(24)
    secret = SecretBuffer(bytearray(pattern))
    with secret.view() as view:
        assert view == pattern
        secret.wipe()  # even while it is lent
        assert bytes(view) == bytes(len(pattern))
    secret.wipe()
    with pytest.raises(ValueError, match="wiped"), secret.view():
        pass
    assert secret != SecretBuffer(bytearray(pattern))


@pytest.mark.guarantee("S-7", tried="the flags of the memory that holds a secret")
def test_a_secret_is_neither_swapped_nor_dumped() -> None:
    secret = SecretBuffer(CANARY)
    if secret.protection == "plain":
        pytest.fail("no memory can be locked here")
    areas = Path("/proc/self/smaps").read_text().split("VmFlags:")
    if secret.protection == "secret":
        assert any("/secretmem" in area for area in areas)
    else:
        assert any(" lo " in area[:80] and " dd " in area[:80] for area in areas)


# -- genuineness ---------------------------------------------------------------------------------


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_a_vendor_can_tell_its_devices(tmp_path: Path) -> None:
    vendor = ec.generate_private_key(ec.SECP256R1())
    known = vendor.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    device = DeviceCheck(tmp_path, rng=os.urandom, vendor_keys=(known,), software="0.1.0")
    public, secret = device.identity()
    challenge = os.urandom(32) + (1_800_000_000).to_bytes(8, "big")
    challenge += sign(vendor, challenge)
    proof = device.prove(challenge)
    assert len(proof) == 189
    opened = bytes(a ^ b for a, b in zip(proof[:32], secret, strict=True)) + proof[32:]
    assert opened[:40] == challenge[:40]
    assert opened[40:73] == public
    assert opened[105:125] == b"0.1.0".ljust(20, b"\0")
    r, s = (int.from_bytes(opened[i : i + 32], "big") for i in (125, 157))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    key.verify(encode_dss_signature(r, s), opened[:125], ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        key.verify(encode_dss_signature(r, s), proof[:125], ec.ECDSA(SHA256()))
    assert device.prove(challenge) != proof  # a nonce of its own each time
    again = DeviceCheck(tmp_path, rng=os.urandom, vendor_keys=(known,))
    assert again.identity() == (public, secret)
    for number in range(0, 104, 9):
        altered = bytearray(challenge)
        altered[number] ^= 1
        with pytest.raises(ChallengeError):
            device.prove(bytes(altered))
    for other in (b"", challenge[:-1], challenge + b"\0", bytes(104)):
        with pytest.raises(ChallengeError):
            device.prove(other)
    with pytest.raises(ChallengeError):  # the vendor of the original is another one
        DeviceCheck(tmp_path, rng=os.urandom).prove(challenge)
