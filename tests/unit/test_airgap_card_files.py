"""Files on a card: names, PSBTs, backups as 7-Zip archives, firmware, supply-chain questions."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from primegap.airgap import RemoteAirgapError, Ur
from primegap.airgap.backup_file import (
    FILE_NAME,
    backup_code,
    format_code,
    read_backup_untrusted,
    write_backup,
)
from primegap.airgap.card_names import PsbtFile, base_of_untrusted, numbered_name
from primegap.airgap.errors import (
    ArchiveCodeError,
    ArchiveError,
    CardNamesUsedUpError,
    ChallengeRefusedError,
    FirmwareFileError,
    NotAPsbtError,
)
from primegap.airgap.firmware_file import check_firmware, parse_firmware_untrusted
from primegap.airgap.sevenzip import (
    archive_key,
    read_archive_untrusted,
    write_archive,
)
from primegap.airgap.supply_chain import (
    answer_challenge,
    parse_challenge_untrusted,
    parse_request_untrusted,
    response_ur,
    word_numbers,
)
from primegap.airgap.ur.value import Tagged, Value, encode_value, parse_value_untrusted

SEVEN_ZIP = next((path for name in ("7zz", "7z", "7zr") if (path := shutil.which(name))), "")
needs_7zip = pytest.mark.skipif(not SEVEN_ZIP, reason="needs 7-Zip (7zz or 7z)")
CODE = "8045-5307-3730-3676-7646"  # of spec section 20
PSBT = b"psbt\xff" + bytes(range(40))


# -- names ----------------------------------------------------------------------------------------


def test_each_file_gets_the_next_free_number() -> None:
    assert numbered_name("my wallet.json", []) == "my_wallet-001.json"
    assert numbered_name("a.psbt", ["A-001.PSBT", "a-003.psbt"]) == "a-002.psbt"
    assert numbered_name("notes", ["notes-001"]) == "notes-002"
    with pytest.raises(CardNamesUsedUpError):
        numbered_name("a.b", [f"a-{number:03}.b" for number in range(1, 1000)])


def test_names_of_others_become_plain() -> None:
    assert base_of_untrusted("rent-part-002.psbt", "-part") == "rent"
    assert base_of_untrusted("Miete für März.psbt") == "Miete_f_r_M_rz"
    assert base_of_untrusted("../.psbt") == "_"  # the first two points go with the blank base
    assert base_of_untrusted(".psbt") != ""
    assert len(base_of_untrusted("x" * 255 + ".psbt")) == 64


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (PSBT, "binary"),
        (PSBT.hex().encode() + b"\r\n", "hex"),
        (b"cHNidP8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYn", "base64"),
    ],
)
def test_a_psbt_is_answered_as_it_was_written(content: bytes, encoding: str) -> None:
    file = PsbtFile.parse_untrusted(content)
    assert (file.psbt, file.encoding) == (PSBT, encoding)
    assert file.written(PSBT) == content


@pytest.mark.parametrize("content", [b"", b"PK", b"70736274f", b"cHNidP8!", b"7", b"\xff" * 9])
def test_other_files_are_no_psbt(content: bytes) -> None:
    with pytest.raises(NotAPsbtError):
        PsbtFile.parse_untrusted(content)


# -- backups --------------------------------------------------------------------------------------


def make(code: str = CODE, entropy: bytes = bytes(range(16))) -> bytes:
    return write_backup(
        entropy,
        code,
        words="abandon ability",
        chain="TBTC",
        fingerprint="0a0b0c0d",
        xprv="tprv",
        xpub="tpub",
        version="1.2.3",
        settings={"units": "sats", "multisig": [{"name": "Fämily"}]},
        rng=os.urandom,
    )


def test_code_and_key_are_those_of_the_specification() -> None:
    assert backup_code(b"\x11" * 32, bytes(range(16))) == CODE
    key = "284e9badd4412c023e21605a124e37eb1047afd24d5bb389b1795879aa30f345"
    assert archive_key(CODE, bytes(range(16)), 13).hex() == key
    assert format_code(CODE.replace("-", "")) == CODE


@pytest.mark.parametrize("entropy", [bytes(range(16)), bytes(31) + b"\x10", bytes(32)])
def test_a_backup_gives_the_seed_back(entropy: bytes) -> None:
    found = read_backup_untrusted(make(entropy=entropy), CODE)
    assert found.entropy == entropy
    assert found.words == "abandon ability"
    assert found.settings == {"units": "sats", "multisig": [{"name": "Fämily"}]}
    assert "abandon" not in repr(found)


def test_a_wrong_code_is_told_apart_from_another_file() -> None:
    with pytest.raises(ArchiveCodeError):
        read_backup_untrusted(make(), CODE[:-1] + "7")
    with pytest.raises(ArchiveError):
        read_backup_untrusted(b"PK\x03\x04" + bytes(100), CODE)


def test_a_changed_or_cut_backup_is_never_taken() -> None:
    whole = make()
    for size in range(0, len(whole), 7):
        with pytest.raises(RemoteAirgapError):
            read_backup_untrusted(whole[:size], CODE)
    chance = random.Random(6)
    for _ in range(60):
        changed = bytearray(whole)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        try:
            found = read_backup_untrusted(bytes(changed), CODE)
        except RemoteAirgapError:
            continue
        assert found.entropy == bytes(range(16))  # a version, or the like, was changed


@pytest.mark.parametrize(
    "text",
    [
        "raw_secret = 1\n# EOF",
        'raw_secret = "ff"\n# EOF',
        'raw_secret = "80zz"\n# EOF',
        'raw_secret = "8001"',
        'raw_secret = "8001"\nraw_secret = "8002"\n# EOF',
        f'raw_secret = "80{"01" * 17}"\n# EOF',
        'raw_secret = "8001"\nmnemonic = 7\n# EOF',
        f"x = {'[' * 9000}\n# EOF",
        "# EOF",
    ],
)
def test_other_texts_are_no_backup(text: str) -> None:
    with pytest.raises(ArchiveError):
        read_backup_untrusted(write_archive(FILE_NAME, text.encode(), CODE, rng=os.urandom), CODE)


@needs_7zip
def test_seven_zip_opens_our_backup(tmp_path: Path) -> None:
    archive = tmp_path / "backup.7z"
    archive.write_bytes(make())
    shown = subprocess.run(
        [SEVEN_ZIP, "x", "-so", f"-p{CODE}", archive], capture_output=True, check=True
    )
    assert b'mnemonic = "abandon ability"' in shown.stdout
    tested = subprocess.run([SEVEN_ZIP, "t", "-p1", archive], capture_output=True, check=False)
    assert tested.returncode != 0


@needs_7zip
@pytest.mark.parametrize("options", [["-mx0"], ["-mx9"], ["-mhe=on"], ["-m0=lzma", "-mhc=off"]])
def test_what_seven_zip_makes_is_read(tmp_path: Path, options: list[str]) -> None:
    inside = tmp_path / FILE_NAME
    inside.write_bytes(b"what a backup says\n" * 20)
    archive = tmp_path / "made.7z"
    subprocess.run(
        [SEVEN_ZIP, "a", f"-p{CODE}", *options, archive, inside], capture_output=True, check=True
    )
    read = read_archive_untrusted(archive.read_bytes(), CODE)
    assert (read.name, read.content) == (FILE_NAME, inside.read_bytes())


# -- firmware -------------------------------------------------------------------------------------

KEYS = [ec.generate_private_key(ec.SECP256K1()) for _ in range(4)]


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def signed(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def firmware(numbers: tuple[int, int] = (0, 3), length: int = 4096, time_s: int = 1) -> bytes:
    image = os.urandom(length)
    head = (0x53534150).to_bytes(4, "little") + time_s.to_bytes(4, "little")
    head += b"Jan. 01, 2021\0" + b"2.3.7".ljust(8, b"\0") + length.to_bytes(4, "little")
    digest = hashlib.sha256(hashlib.sha256(head + image).digest()).digest()
    for number in numbers:
        head += number.to_bytes(4, "little") + signed(KEYS[number % 4], digest)
    return head.ljust(2048, b"\0") + image


APPROVED = [public(key) for key in KEYS]


def test_firmware_of_two_approved_keys_is_named() -> None:
    found = check_firmware(firmware(), APPROVED)
    assert (found.version, found.date, found.file_name) == (
        "2.3.7",
        "Jan. 01, 2021",
        "v2.3.7-passport.bin",
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: firmware((1, 1)),
        lambda: firmware((0, 4)),
        lambda: firmware((255, 0)),
        lambda: firmware(length=1024),
        lambda: firmware(time_s=0),
        lambda: firmware()[:-1],
        lambda: firmware()[:100],
        lambda: firmware()[:-1] + b"x",
        lambda: b"\0" + firmware()[1:],
        lambda: firmware().replace(b"2.3.7\0", b"2.3\x1b7\0"),
    ],
)
def test_other_firmware_is_refused(spoil: Callable[[], bytes]) -> None:
    with pytest.raises(FirmwareFileError):
        check_firmware(spoil(), APPROVED)


def test_the_head_alone_tells_what_a_file_is() -> None:
    content = firmware((0, 255))
    assert parse_firmware_untrusted(content[:256], len(content)).key_numbers == (0, 255)


# -- supply chain ---------------------------------------------------------------------------------

SERVER = KEYS[0]
NUMBER = "38c6c05ac69a1fb77bcf3763308852cd3e080fe1e4604caa81b54826e2da0bd2"


def question() -> str:
    return f"{NUMBER} {signed(SERVER, hashlib.sha256(NUMBER.encode()).digest()).hex()}"


def request(**parts: Value) -> Ur:
    number, signature = question().split()
    challenge: Value = {1: number, 2: signature, 3: "ignored"}
    tags = {"id": 37, "challenge": 710, "model": 720}
    values = {"id": b"u" * 16, "challenge": challenge} | parts
    value: Value = {n: Tagged(tags.get(k, 999), v) for n, (k, v) in enumerate(values.items())}
    return Ur("crypto-request", encode_value(value))


def test_the_words_are_the_first_44_bits() -> None:
    assert word_numbers(bytes(range(32))) == (0, 64, 1030, 64)  # spec section 20


def test_only_what_the_server_signed_is_answered() -> None:
    challenge = parse_challenge_untrusted(question(), public(SERVER))
    assert challenge.number.hex() == NUMBER
    assert len(answer_challenge(challenge, b"batch").numbers) == 4
    for text in (question()[:-1], NUMBER, "", question().replace("38c6", "38c7")):
        with pytest.raises(ChallengeRefusedError):
            parse_challenge_untrusted(text, public(SERVER))
    with pytest.raises(ChallengeRefusedError):
        parse_challenge_untrusted(question(), public(KEYS[1]))


def test_a_request_of_the_companion_is_answered_in_its_order() -> None:
    challenge = parse_request_untrusted(request(model=True), public(SERVER))
    answer = response_ur(challenge, ("abandon", "amount", "liar", "amount"), model=1, version="9")
    value = parse_value_untrusted(answer.cbor)
    assert value == {
        1: Tagged(37, b"u" * 16),
        2: Tagged(711, {1: "abandon", 2: "amount", 3: "liar", 4: "amount"}),
        3: Tagged(721, 1),
        4: Tagged(771, "9"),
    }


@pytest.mark.parametrize(
    "ur",
    [
        request(id=b"short"),
        request(challenge="text"),
        request(challenge={1: NUMBER, 2: "00" * 64}),
        request(challenge={1: 7, 2: "00"}),
        request(other=1),
        Ur("crypto-request", b"\x01"),
        Ur("crypto-request", b"\xf9\x00\x00"),
        Ur("bytes", request().cbor),
    ],
)
def test_other_requests_are_refused(ur: Ur) -> None:
    with pytest.raises(ChallengeRefusedError):
        parse_request_untrusted(ur, public(SERVER))
