"""Sealing and opening: key epochs of the native suite, numbers used once, fingerprints."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from primegap.quantumlink import (
    NATIVE,
    REFERENCE,
    SUITES,
    BodyBuilder,
    DecryptFailedError,
    InvalidEpochError,
    LocalError,
    Ping,
    Qid,
    SecretBytes,
    SequenceReusedError,
    SessionOpener,
    SessionRecord,
    SessionSealer,
    Suite,
    parse_record_untrusted,
    session_fingerprint,
)
from primegap.quantumlink.codec import put_varint
from primegap.quantumlink.session_keys import EPOCH_BITS

KEY = bytes(range(32))
ALICE, BOB = Qid(b"a" * 16), Qid(b"b" * 16)
EPOCH = 1 << EPOCH_BITS

every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: str(suite.name))


def sealer(suite: Suite) -> SessionSealer:
    return SessionSealer(suite, SecretBytes(KEY), ALICE, BOB)


def opener(suite: Suite) -> SessionOpener:
    return SessionOpener(suite, SecretBytes(KEY), ALICE, BOB)


def sealed_at(suite: Suite, seq: int) -> SessionRecord:
    """Seal one record with a sealer that has walked up to the epoch of `seq`."""
    source = sealer(suite)
    for epoch in range(1, seq >> EPOCH_BITS):
        source.seal(epoch << EPOCH_BITS, b"")
    return record_of(source.seal(seq, b"body"))


def record_of(data: bytes) -> SessionRecord:
    record = parse_record_untrusted(data)
    assert isinstance(record, SessionRecord)
    return record


def epoch_key(epoch: int) -> bytes:
    """Walk the keys of the suites page with another HKDF."""
    key = KEY
    for _ in range(epoch):
        key = HKDF(SHA256(), 32, salt=None, info=b"primegap:epoch:v1").derive(key)
    return key


@pytest.mark.parametrize(
    "seq", [0, 1, 300, EPOCH - 1, EPOCH, EPOCH + 5, 2 * EPOCH - 1, 2 * EPOCH, 3 * EPOCH + 77]
)
def test_native_record_matches_an_independent_calculation(seq: int) -> None:
    record = sealed_at(NATIVE, seq)
    aad = b"ql-wire:session-aad:v1" + b"\x82\x01" + ALICE + BOB + put_varint(seq)
    nonce = bytes(4) + seq.to_bytes(8, "little")
    expected = ChaCha20Poly1305(epoch_key(seq >> 16)).encrypt(nonce, b"body", aad)
    assert record.ciphertext + record.tag == expected
    assert record.version == 0x82


@every_suite
def test_records_arrive_in_any_order(suite: Suite) -> None:
    source, sink = sealer(suite), opener(suite)
    numbers = [0, 1, 2, EPOCH - 2, EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH - 1]
    records = {seq: record_of(source.seal(seq, b"%d" % seq)) for seq in numbers}
    for seq in (2, 0, EPOCH, 1, EPOCH - 1, EPOCH + 1, EPOCH - 2, 2 * EPOCH - 1):
        assert sink.open(records[seq]) == b"%d" % seq


def test_receiver_keeps_two_epochs_and_looks_one_ahead() -> None:
    records = [sealed_at(NATIVE, epoch * EPOCH + 3) for epoch in range(5)]
    sink = opener(NATIVE)
    assert sink.open(records[0]) == b"body"
    for too_far in (records[2], records[3], records[4]):
        with pytest.raises(InvalidEpochError):
            sink.open(too_far)
    assert sink.open(records[1]) == b"body"
    assert sink.open(records[0]) == b"body"
    assert sink.open(records[2]) == b"body"
    with pytest.raises(InvalidEpochError):
        sink.open(records[0])  # its key is erased
    assert sink.open(records[1]) == b"body"


def test_refused_record_moves_no_epoch() -> None:
    ahead = sealed_at(NATIVE, EPOCH)
    forged = SessionRecord(
        ahead.version, ahead.sender, ahead.recipient, ahead.seq, ahead.ciphertext + bytes(16)
    )
    sink = opener(NATIVE)
    for _ in range(3):
        with pytest.raises(DecryptFailedError):
            sink.open(forged)
    with pytest.raises(InvalidEpochError):
        sink.open(sealed_at(NATIVE, 2 * EPOCH))
    assert sink.open(sealed_at(NATIVE, 9)) == b"body"
    assert sink.open(ahead) == b"body"


def test_sender_erases_a_key_behind_the_last_record_of_its_epoch() -> None:
    source = sealer(NATIVE)
    source.seal(EPOCH - 2, b"")
    first = source._current
    assert first.key.reveal() == KEY
    source.seal(EPOCH - 1, b"")
    assert len(first.key) == 0
    assert source._current.key.reveal() == epoch_key(1)


def test_receiver_erases_keys_older_than_the_previous_epoch() -> None:
    sink = opener(NATIVE)
    first = sink._newest
    sink.open(sealed_at(NATIVE, EPOCH))
    assert first.key.reveal() == KEY
    sink.open(sealed_at(NATIVE, 2 * EPOCH))
    assert len(first.key) == 0


def test_reference_suite_keeps_one_key() -> None:
    source, sink = sealer(REFERENCE), opener(REFERENCE)
    for seq in (0, EPOCH, 9 * EPOCH, 2**64 - 1):
        assert sink.open(record_of(source.seal(seq, b"x"))) == b"x"


@every_suite
def test_a_number_is_sealed_only_once(suite: Suite) -> None:
    source = sealer(suite)
    source.seal(7, b"")
    for seq in (7, 6, 0, -1):
        with pytest.raises(SequenceReusedError):
            source.seal(seq, b"")
    source.seal(8, b"")


@every_suite
def test_numbers_end_at_64_bits(suite: Suite) -> None:
    with pytest.raises(LocalError):
        sealer(suite).seal(2**64, b"")


def test_numbers_may_not_leave_out_an_epoch() -> None:
    source = sealer(NATIVE)
    with pytest.raises(LocalError):
        source.seal(2 * EPOCH, b"")
    source.seal(EPOCH, b"")


@every_suite
def test_another_direction_or_key_does_not_open(suite: Suite) -> None:
    record = sealed_at(suite, 4)
    with pytest.raises(DecryptFailedError):
        SessionOpener(suite, SecretBytes(KEY), BOB, ALICE).open(record)
    with pytest.raises(DecryptFailedError):
        SessionOpener(suite, SecretBytes(bytes(32)), ALICE, BOB).open(record)


def test_suites_do_not_open_each_other() -> None:
    for one, other in ((NATIVE, REFERENCE), (REFERENCE, NATIVE)):
        with pytest.raises(DecryptFailedError):
            opener(one).open(sealed_at(other, 0))


def test_keys_have_32_bytes() -> None:
    for size in (0, 16, 31, 33):
        with pytest.raises(LocalError):
            SessionSealer(NATIVE, SecretBytes(bytes(size)), ALICE, BOB)
        with pytest.raises(LocalError):
            SessionOpener(NATIVE, SecretBytes(bytes(size)), ALICE, BOB)


def test_callers_key_may_be_wiped() -> None:
    key = SecretBytes(KEY)
    source = SessionSealer(NATIVE, key, ALICE, BOB)
    key.wipe()
    assert opener(NATIVE).open(record_of(source.seal(0, b"still"))) == b"still"


def test_body_builder_needs_room_for_the_envelope() -> None:
    assert not BodyBuilder(0, 51).append(Ping())
    assert BodyBuilder(0, 52).append(Ping())
    for seq, size in ((0, 50), (128, 51), (2**64 - 1, 59)):
        with pytest.raises(LocalError):
            BodyBuilder(seq, size)
    assert BodyBuilder(2**64 - 1, 60).remaining == 0


def test_fingerprint_is_forty_bits_in_crockford_base32() -> None:
    handshake_hash = hashlib.sha256(b"any").digest()
    digest = hashlib.sha256(b"primegap:session-fingerprint:v1" + handshake_hash).digest()[:5]
    plain = base64.b32encode(digest).decode()
    to_crockford = str.maketrans(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    )
    text = plain.translate(to_crockford)
    assert session_fingerprint(handshake_hash) == f"{text[:4]}-{text[4:]}"


@every_suite
def test_erased_keys_neither_seal_nor_open(suite: Suite) -> None:
    source, sink = sealer(suite), opener(suite)
    record = record_of(source.seal(0, b"body"))
    other = record_of(source.seal(1, b"body"))
    assert sink.open(record) == b"body"
    source.wipe()
    sink.wipe()
    with pytest.raises(LocalError):
        source.seal(2, b"body")
    with pytest.raises(LocalError):
        sink.open(other)
    assert len(source._current.key) == len(sink._newest.key) == 0


def test_both_keys_of_an_opener_are_erased() -> None:
    sink = opener(NATIVE)
    sink.open(sealed_at(NATIVE, EPOCH - 1))
    sink.open(sealed_at(NATIVE, EPOCH))
    previous = sink._previous
    assert previous is not None
    sink.wipe()
    assert len(previous.key) == 0
