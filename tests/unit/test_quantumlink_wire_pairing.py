"""Tokens, invites and the link in the QR code."""

from __future__ import annotations

import base64

import pytest

from primegap.quantumlink import (
    MAX_NAME_BYTES,
    NATIVE,
    REFERENCE,
    InvalidDataError,
    InvalidVersionError,
    Invite,
    LocalError,
    PairingLink,
    PairingToken,
    Qid,
    UnexpectedEofError,
)
from primegap.quantumlink.pairing import INVITE_SIZE, MAX_LINK_CHARS

QID = Qid(bytes(range(16)))
TOKEN = bytes(range(16, 32))
INVITE = Invite(NATIVE, QID, PairingToken(TOKEN))
TEXT = base64.b32encode(b"\x02" + QID + TOKEN).decode().rstrip("=")
ADDRESS = bytes.fromhex("c0ffee001122")


def test_invite_is_version_qid_token() -> None:
    assert INVITE.encode() == b"\x02" + QID + TOKEN
    assert len(INVITE.encode()) == INVITE_SIZE == 33
    assert Invite.parse_untrusted(INVITE.encode()) == INVITE
    reference = Invite(REFERENCE, QID, PairingToken(TOKEN))
    assert reference.encode() == b"\x01" + QID + TOKEN
    assert Invite.parse_untrusted(reference.encode()).suite is REFERENCE


def test_invite_of_another_shape_is_refused() -> None:
    for version in (0, 3, 0x82, 255):
        with pytest.raises(InvalidVersionError):
            Invite.parse_untrusted(bytes([version]) + QID + TOKEN)
    for size in range(INVITE_SIZE):
        with pytest.raises(UnexpectedEofError):
            Invite.parse_untrusted(INVITE.encode()[:size])
    with pytest.raises(InvalidDataError):
        Invite.parse_untrusted(INVITE.encode() + b"\0")


def test_token_has_sixteen_bytes_from_the_source_given() -> None:
    assert PairingToken.generate(lambda size: b"\x07" * size) == PairingToken(b"\x07" * 16)
    assert PairingToken(TOKEN).reveal() == TOKEN
    assert PairingToken(TOKEN) != PairingToken(bytes(16))
    for size in (0, 15, 17):
        with pytest.raises(LocalError):
            PairingToken(bytes(size))


def test_link_text() -> None:
    assert PairingLink(INVITE).encode() == f"primegap:pair?i={TEXT}"
    full = PairingLink(INVITE, ADDRESS, "Küche & Büro")
    assert full.encode() == f"primegap:pair?i={TEXT}&p=c0ffee001122&n=K%C3%BCche%20%26%20B%C3%BCro"
    for link in (
        PairingLink(INVITE),
        full,
        PairingLink(INVITE, None, ""),
        PairingLink(INVITE, ADDRESS),
    ):
        assert PairingLink.parse_untrusted(link.encode()) == link


def test_longest_link_stays_within_the_limit() -> None:
    link = PairingLink(INVITE, ADDRESS, "ü" * (MAX_NAME_BYTES // 2))
    assert len(link.encode()) <= MAX_LINK_CHARS
    assert PairingLink.parse_untrusted(link.encode()) == link
    with pytest.raises(LocalError):
        PairingLink(INVITE, None, "n" * (MAX_NAME_BYTES + 1)).encode()
    with pytest.raises(LocalError):
        PairingLink(INVITE, bytes(5)).encode()


def test_unknown_keys_are_ignored_and_order_is_free() -> None:
    link = PairingLink.parse_untrusted(f"primegap:pair?x=1&p=C0FFEE001122&later9=%41&i={TEXT}")
    assert link == PairingLink(INVITE, ADDRESS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "primegap:pair?",
        f"primegap:pair?p=c0ffee001122&n={TEXT}",
        f"primegap:pay?i={TEXT}",
        f"PRIMEGAP:pair?i={TEXT}",
        f"http://primegap:pair?i={TEXT}",
        f" primegap:pair?i={TEXT}",
        f"primegap:pair?i={TEXT}\n",
        f"primegap:pair?i={TEXT}&",
        f"primegap:pair?i={TEXT}&i={TEXT}",
        f"primegap:pair?i={TEXT}&x=1&x=1",
        f"primegap:pair?i={TEXT}&p=c0ffee001122&p=c0ffee001122",
        f"primegap:pair?i={TEXT}&x",
        f"primegap:pair?i={TEXT}&X=1",
        f"primegap:pair?i={TEXT}&=1",
        f"primegap:pair?i={TEXT}&averyveryverylongkey=1",
        f"primegap:pair?i={TEXT.lower()}",
        f"primegap:pair?i={TEXT}===",
        f"primegap:pair?i={TEXT[:-1]}",
        f"primegap:pair?i={TEXT}A",
        f"primegap:pair?i={TEXT[:-1]}1",
        f"primegap:pair?i={TEXT}&p=c0ffee00112",
        f"primegap:pair?i={TEXT}&p=c0ffee0011223",
        f"primegap:pair?i={TEXT}&p=c0:ff:ee:00:11:22",
        f"primegap:pair?i={TEXT}&p=",
        f"primegap:pair?i={TEXT}&n=%",
        f"primegap:pair?i={TEXT}&n=%4",
        f"primegap:pair?i={TEXT}&n=%zz",
        f"primegap:pair?i={TEXT}&n=a b",
        f"primegap:pair?i={TEXT}&n=a+b",
        f"primegap:pair?i={TEXT}&n=%FF",
        f"primegap:pair?i={TEXT}&n=ü",
        f"primegap:pair?i={TEXT}&n=" + "n" * (MAX_NAME_BYTES + 1),
        f"primegap:pair?i={TEXT}&x=" + "1" * MAX_LINK_CHARS,
    ],
)
def test_malformed_link_is_refused(text: str) -> None:
    with pytest.raises(InvalidDataError):
        PairingLink.parse_untrusted(text)


def test_spare_bits_of_base32_must_be_zero() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    same_bytes = TEXT[:-1] + alphabet[alphabet.index(TEXT[-1]) ^ 1]
    assert base64.b32decode(same_bytes + "===") == INVITE.encode()
    with pytest.raises(InvalidDataError):
        PairingLink.parse_untrusted(f"primegap:pair?i={same_bytes}")


def test_link_of_an_unknown_version_says_so() -> None:
    text = base64.b32encode(b"\x03" + QID + TOKEN).decode().rstrip("=")
    with pytest.raises(InvalidVersionError) as caught:
        PairingLink.parse_untrusted(f"primegap:pair?i={text}")
    assert "version" in caught.value.hint
