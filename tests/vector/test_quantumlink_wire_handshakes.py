"""Handshakes of the reference suite against the recorded runs of the reference.

The cipher library encapsulates with randomness of its own, so a `ReplayingKem` answers with the
recorded ciphertexts where the recorded key is used; their secrets are recomputed with the recorded
private keys. Everything else is the real thing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from primegap.quantumlink import (
    REFERENCE,
    Handshake,
    HandshakeRecord,
    Identity,
    InvalidStateError,
    PairingToken,
    Pattern,
    PeerBundle,
    Qid,
    RemoteError,
    Role,
    SecretBytes,
    SessionOpener,
    SessionRecord,
    SessionSealer,
    TransportParams,
    encode_frame,
    parse_record_untrusted,
)
from primegap.quantumlink.frames import Ping
from primegap.quantumlink.kem import MlKem1024
from primegap.quantumlink.messages import parse_message_untrusted
from primegap.quantumlink.symmetric import SymmetricState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from primegap.quantumlink.kem import KemPrivateKey
    from primegap.quantumlink.suite import AeadCipher, Suite

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "quantumlink-v2-wire-vectors.json").read_text()
)
RUNS: dict[str, dict[str, Any]] = {run["id"]: run for run in VECTORS["handshakes"]}
IDENTITIES: dict[str, Identity] = {
    case["id"]: Identity.from_seed(
        REFERENCE, case["name"], bytes.fromhex(case["seed"]), capabilities=case["capabilities"]
    )
    for case in VECTORS["identities"]
}
SEEDS = {case["id"]: bytes.fromhex(case["seed"]) for case in VECTORS["identities"]}
CT = 1568
PK = 1568


class ReplayingKem(MlKem1024):
    """ML-KEM-1024 that repeats recorded encapsulations to the keys it knows."""

    def __init__(self, recorded: Mapping[bytes, tuple[bytes, bytes]]) -> None:
        self._recorded = recorded

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        return self._recorded.get(public_key) or super().encapsulate(public_key)


@dataclass
class Log:
    """What one side did: transcript hashes, chaining keys, encryptions."""

    h: list[str] = field(default_factory=list)
    ck: list[str] = field(default_factory=list)
    sealed: list[dict[str, str]] = field(default_factory=list)


class LoggingCipher:
    """AES-256-GCM that writes each encryption into a log."""

    def __init__(self, key: bytes, log: Log) -> None:
        self._key = key
        self._log = log

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        aad = associated_data or b""
        self._log.sealed.append({"key": self._key.hex(), "nonce": nonce.hex(), "aad": aad.hex()})
        return AESGCM(self._key).encrypt(nonce, data, aad)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return AESGCM(self._key).decrypt(nonce, data, associated_data)


def draw_ephemeral_seed(run: Mapping[str, Any]) -> bytes:
    """Return the 64 bytes from which the recorded initiator made its ephemeral key."""
    (seed,) = (bytes.fromhex(draw) for draw in run["initiator_draws"] if len(draw) == 128)
    return seed


def open_recorded(run: Mapping[str, Any], encrypted: bytes) -> bytes:
    """Decrypt a recorded field with whichever recorded key fits."""
    for sealed in run["sealed"]:
        key, nonce, aad = (bytes.fromhex(sealed[name]) for name in ("key", "nonce", "aad"))
        try:
            return AESGCM(key).decrypt(nonce, encrypted, aad)
        except InvalidTag:
            continue
    raise AssertionError("no recorded key opens the field")


def recorded_encapsulations(run: Mapping[str, Any]) -> dict[bytes, tuple[bytes, bytes]]:
    """Return the three encapsulations of a run, by public key."""
    messages = [bytes.fromhex(message)[35:] for message in run["messages"]]
    ephemeral = MLKEM1024PrivateKey.from_seed_bytes(draw_ephemeral_seed(run))
    initiator = MLKEM1024PrivateKey.from_seed_bytes(SEEDS[run["initiator"]])
    responder = MLKEM1024PrivateKey.from_seed_bytes(SEEDS[run["responder"]])
    to_ephemeral = messages[1][8 : 8 + CT]
    if run["pattern"] == "xx":
        to_responder = open_recorded(run, messages[2][4 : 4 + CT + 16])
        to_initiator = open_recorded(run, messages[3][4 : 4 + CT + 16])
    else:
        to_responder = messages[0][8 : 8 + CT]
        to_initiator = open_recorded(run, messages[1][8 + CT : 8 + CT + CT + 16])
    pairs = [(ephemeral, to_ephemeral), (responder, to_responder), (initiator, to_initiator)]
    return {
        key.public_key().public_bytes_raw(): (ciphertext, key.decapsulate(ciphertext))
        for key, ciphertext in pairs
    }


def suite_of(run: Mapping[str, Any], log: Log | None = None) -> Suite:
    """Return the reference suite with the encapsulations of a run."""
    kem = ReplayingKem(recorded_encapsulations(run))
    if log is None:
        return replace(REFERENCE, kem=kem)

    def new_cipher(key: bytes) -> AeadCipher:
        return LoggingCipher(key, log)

    return replace(REFERENCE, kem=kem, new_cipher=new_cipher)


def token_of(run: Mapping[str, Any]) -> PairingToken | None:
    return PairingToken(bytes.fromhex(run["token"])) if "token" in run else None


def record_of(data: bytes) -> HandshakeRecord:
    record = parse_record_untrusted(data)
    assert isinstance(record, HandshakeRecord)
    return record


def initiate(run: Mapping[str, Any], suite: Suite) -> tuple[Handshake, bytes]:
    seed = draw_ephemeral_seed(run)

    def rng(size: int) -> bytes:
        assert size == len(seed)
        return seed

    remote = IDENTITIES[run["responder"]].bundle
    return Handshake.initiate(
        Pattern(run["pattern"]),
        suite=suite,
        identity=IDENTITIES[run["initiator"]],
        remote=remote.qid if run["pattern"] == "xx" else remote,
        token=token_of(run),
        handshake_id=run["handshake_id"],
        params=TransportParams(run["initiator_window"]),
        rng=rng,
    )


def never(size: int) -> bytes:
    raise AssertionError(f"a responder drew {size} bytes")


def respond(
    run: Mapping[str, Any], suite: Suite, record: HandshakeRecord, *, bound: bool = False
) -> tuple[Handshake, bytes]:
    """Answer message 1; `bound` fixes the initiator beforehand where the run does not."""
    knows = bound or run["responder_knows_initiator"]
    return Handshake.respond(
        record,
        suite=suite,
        identity=IDENTITIES[run["responder"]],
        expected=IDENTITIES[run["initiator"]].bundle if knows else None,
        token=token_of(run),
        params=TransportParams(run["responder_window"]),
        rng=never,
    )


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Log every symmetric state that is made while the test runs."""
    made = Log()
    start, mix_hash = SymmetricState.start, SymmetricState.mix_hash
    mix_key, mix_key_and_hash = SymmetricState.mix_key, SymmetricState.mix_key_and_hash

    def logged_start(suite: Suite, pattern: Pattern) -> SymmetricState:
        state = start(suite, pattern)
        made.h.append(state.transcript_hash.hex())
        made.ck.append(state._chaining_key.hex())
        return state

    def logged_mix_hash(self: SymmetricState, *fields: bytes) -> SymmetricState:
        state = self
        for data in fields:
            state = mix_hash(state, data)
            made.h.append(state.transcript_hash.hex())
        return state

    def logged_keys(
        inner: Callable[[SymmetricState, bytes], SymmetricState],
    ) -> Callable[[SymmetricState, bytes], SymmetricState]:
        def logged(self: SymmetricState, secret: bytes) -> SymmetricState:
            state = inner(self, secret)
            made.ck.append(state._chaining_key.hex())
            return state

        return logged

    monkeypatch.setattr(SymmetricState, "start", staticmethod(logged_start))
    monkeypatch.setattr(SymmetricState, "mix_hash", logged_mix_hash)
    monkeypatch.setattr(SymmetricState, "mix_key", logged_keys(mix_key))
    monkeypatch.setattr(SymmetricState, "mix_key_and_hash", logged_keys(mix_key_and_hash))
    return made


def check_side(run: Mapping[str, Any], side: Handshake, log: Log, remote: PeerBundle) -> None:
    """Compare a finished side with the recording."""
    by = side.role.value
    assert log.h == run["h_chain"]
    assert [*log.ck, run["k1"]] == run["ck_chain"]  # the recording counts the final split as well
    assert log.sealed == [
        {name: sealed[name] for name in ("key", "nonce", "aad")}
        for sealed in run["sealed"]
        if sealed["by"] == by
    ]
    result = side.result
    assert result is not None
    assert result.handshake_hash.hex() == run["handshake_hash"]
    keys = (result.tx_key, result.rx_key)
    first, second = (SecretBytes(bytes.fromhex(run[name])) for name in ("k1", "k2"))
    assert keys == ((first, second) if side.role is Role.INITIATOR else (second, first))
    assert result.remote_bundle == remote
    window = run["responder_window" if by == "initiator" else "initiator_window"]
    assert result.remote_params == TransportParams(window)


@pytest.mark.scenario("wire", 8, 9, 12)
@pytest.mark.parametrize("name", RUNS)
def test_initiator_writes_and_reads_the_recorded_messages(name: str, log: Log) -> None:
    run = RUNS[name]
    messages = [bytes.fromhex(message) for message in run["messages"]]
    assert [len(message) for message in messages] == run["message_lengths"]
    side, written = initiate(run, suite_of(run, log))
    assert written == messages[0]
    assert side.ephemeral_public == record_of(written).peek_ephemeral_public(REFERENCE)
    side, reply = side.receive(record_of(messages[1]))
    if len(messages) == 4:
        assert reply == messages[2]
        assert side.result is None
        side, reply = side.receive(record_of(messages[3]))
    assert reply is None
    check_side(run, side, log, IDENTITIES[run["responder"]].bundle)


@pytest.mark.scenario("wire", 8, 9, 12)
@pytest.mark.parametrize("name", RUNS)
def test_responder_writes_and_reads_the_recorded_messages(name: str, log: Log) -> None:
    run = RUNS[name]
    messages = [bytes.fromhex(message) for message in run["messages"]]
    side, written = respond(run, suite_of(run, log), record_of(messages[0]))
    assert written == messages[1]
    if len(messages) == 4:
        assert side.result is None
        side, reply = side.receive(record_of(messages[2]))
        assert reply == messages[3]
    check_side(run, side, log, IDENTITIES[run["initiator"]].bundle)


# --- refusals -------------------------------------------------------------------------------------


def changed(run: Mapping[str, Any], number: int, change: Mapping[str, Any]) -> bytes:
    """Return a recorded message with one change."""
    data = bytearray.fromhex(run["messages"][number - 1])
    if "replaced_by" in change:
        other = change["replaced_by"]
        return bytes.fromhex(RUNS[other["handshake"]]["messages"][other["message"] - 1])
    if "truncate_to" in change:
        return bytes(data[: change["truncate_to"]])
    if "append" in change:
        return bytes(data) + bytes.fromhex(change["append"])
    if "swap" in change:
        data[1:33] = data[17:33] + data[1:17]
    elif "xor" in change:
        data[change["offset"]] ^= int(change["xor"], 16)
    elif "set" in change:
        data[change["offset"]] = int(change["set"], 16)
    else:
        ((key, value),) = ((k, v) for k, v in change.items() if k.startswith("replace_byte_"))
        at = int(key.removeprefix("replace_byte_").removesuffix("_by"))
        data[at : at + 1] = bytes.fromhex(value)
    return bytes(data)


def as_handshake_record(data: bytes) -> HandshakeRecord:
    """Parse a record; one that now calls itself a session record is read as what it was.

    The record type is in no transcript: a receiver dispatches by it, the message does not change.
    """
    record = parse_record_untrusted(data)
    if isinstance(record, SessionRecord):
        record = parse_record_untrusted(data[:33] + b"\x01" + data[34:])
    assert isinstance(record, HandshakeRecord)
    return record


def deliver(
    run: Mapping[str, Any], suite: Suite, number: int, change: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Run a handshake with one changed message; return what follows, as the recording tells it."""
    outcome: list[dict[str, Any]] = []
    sides: dict[Role, Handshake] = {}
    sides[Role.INITIATOR], message = initiate(run, suite)
    outbound: bytes | None = message
    at = 1
    while outbound is not None:
        data = changed(run, number, change) if at == number else outbound
        reader = Role.RESPONDER if at % 2 else Role.INITIATOR
        try:
            record = as_handshake_record(data)
            parse_message_untrusted(record, suite)
            if at == number and record.pattern != run["pattern"]:
                # Above the wire layer: a responder answers any pattern, the receiver dispatches.
                if reader is Role.INITIATOR:
                    with pytest.raises(InvalidStateError):
                        sides[reader].receive(record)
                return [*outcome, {"read": at, "result": "other pattern"}]
            if at == 1:
                # The recorded XX responder was told its peer's QID before it read XX1.
                bound = run["pattern"] == "xx"
                sides[reader], outbound = respond(run, suite, record, bound=bound)
            else:
                sides[reader], outbound = sides[reader].receive(record)
        except RemoteError as error:
            return [*outcome, {"read": at, "result": error.name}]
        if at >= number:
            outcome.append({"read": at, "result": "ok"})
        at += 1
    one, other = (side.result for side in sides.values())
    assert one is not None
    assert other is not None
    agree = one.tx_key == other.rx_key and one.rx_key == other.tx_key
    same_hash = one.handshake_hash == other.handshake_hash
    outcome.append({"finished": True, "keys_agree": agree, "hash_agrees": same_hash})
    return outcome


SUITES = {name: suite_of(run) for name, run in RUNS.items()}


@pytest.mark.scenario("wire", 3, 4, 5, 6, 7, 10, 11)
@pytest.mark.guarantee("L-3", tried="recorded handshakes, changed")
@pytest.mark.parametrize("case", VECTORS["refused"]["handshake"], ids=lambda case: str(case["id"]))
def test_changed_message_has_the_recorded_outcome(case: dict[str, Any]) -> None:
    run = RUNS[case["handshake"]]
    got = deliver(run, SUITES[run["id"]], case["message"], case["change"])
    assert got == case["outcome"]


@pytest.mark.guarantee("L-3", tried="forged identities")
@pytest.mark.parametrize(
    "case", VECTORS["refused"]["forged_bundle"], ids=lambda case: str(case["id"])
)
def test_forged_bundle_is_refused(case: dict[str, Any]) -> None:
    run = RUNS[case["handshake"]]
    suite = SUITES[run["id"]]
    record = record_of(bytes.fromhex(case["record"]))
    sent = case["sent_bundle"]
    messages = [record_of(bytes.fromhex(message)) for message in run["messages"]]

    def read() -> PeerBundle | None:
        match case["message"]:
            case 1:
                side, _ = respond(run, suite, record)
            case 2:
                side, _ = initiate(run, suite)
                # The adopted bundle of a pairing shows up when the pairing is finished.
                side, third = side.receive(record)
                assert third is not None
            case _:
                side, _ = respond(run, suite, messages[0])
                side, _ = side.receive(record)
        return None if side.result is None else side.result.remote_bundle

    if case["result"] != "ok":
        with pytest.raises(RemoteError) as caught:
            read()
        assert caught.value.name == case["result"]
        return
    adopted = read()
    if adopted is not None:
        assert sent.startswith(adopted.encode().hex())


class NoSuchCallError(Exception):
    """The call of the recording cannot be made with this API."""


class Side:
    """Drives one side the way the recording does: read, write and finish as separate calls."""

    def __init__(self, run: Mapping[str, Any], role: Role) -> None:
        self.run = run
        self.role = role
        self.state: Handshake | None = None
        self.pending: dict[int, bytes] = {}

    def write(self, number: int) -> None:
        if number == 1 and self.role is Role.INITIATOR and self.state is None:
            self.state, self.pending[1] = initiate(self.run, SUITES[self.run["id"]])
        if number not in self.pending:
            raise NoSuchCallError  # messages come out of initiate, respond and receive, once each
        assert self.pending.pop(number).hex() == self.run["messages"][number - 1]

    def read(self, number: int) -> None:
        if number - 1 in self.pending:
            raise NoSuchCallError  # the answer was made with the reading, it is not still to come
        record = record_of(bytes.fromhex(self.run["messages"][number - 1]))
        reply: bytes | None
        if self.state is not None:
            self.state, reply = self.state.receive(record)
        elif self.role is Role.RESPONDER:
            self.state, reply = respond(self.run, SUITES[self.run["id"]], record)
        else:
            raise NoSuchCallError  # an initiator exists only behind its first message
        if reply is not None:
            self.pending[number + 1] = reply

    def finish(self) -> None:
        if self.state is None or self.state.result is None:
            raise NoSuchCallError  # there is no result to take


@pytest.mark.parametrize(
    "case", VECTORS["refused"]["call_order"], ids=range(len(VECTORS["refused"]["call_order"]))
)
def test_calls_out_of_order_are_refused_or_do_not_exist(case: dict[str, Any]) -> None:
    sides = {role.value: Side(RUNS[case["handshake"]], role) for role in Role}
    for call in case["calls"]:
        side = sides[call["by"]]
        result = "ok"
        try:
            match call["call"]:
                case "write":
                    side.write(call["message"])
                case "read":
                    side.read(call["message"])
                case "finish":
                    side.finish()
                case "write other id":
                    raise NoSuchCallError  # the id is taken from the attempt
        except RemoteError as error:
            result = error.name
        except NoSuchCallError:
            assert call["result"] in {"InvalidState", "InvalidHandshakeId"}
            continue
        assert result == call["result"]


# --- the provider that encrypts nothing -----------------------------------------------------------


class EmptyPrivateKey:
    def decapsulate(self, ciphertext: bytes) -> bytes:
        return bytes(32)


class EmptyKem(MlKem1024):
    """Keys, ciphertexts and secrets are all zeros (wire section 20)."""

    def keygen(self, seed: bytes) -> tuple[KemPrivateKey, bytes]:
        return EmptyPrivateKey(), bytes(PK)

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        return bytes(CT), bytes(32)


class EmptyCipher:
    """Encrypts to the plaintext with a tag of zeros; opening always fails."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return data + bytes(16)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        raise InvalidTag


@pytest.fixture
def empty_suite(monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return the suite of the no-op provider, in which every QID and pairing id is zero too."""

    def no_qid(suite: Suite, public_key: bytes) -> Qid:
        return Qid(bytes(16))

    def new_cipher(key: bytes) -> AeadCipher:
        return EmptyCipher()

    monkeypatch.setattr("primegap.quantumlink.identity.derive_qid", no_qid)
    monkeypatch.setattr(PairingToken, "pairing_id", bytes(16))
    return replace(REFERENCE, kem=EmptyKem(), new_cipher=new_cipher)


@pytest.mark.parametrize("case", VECTORS["noop_provider"], ids=lambda case: str(case["id"]))
def test_layout_with_the_provider_that_encrypts_nothing(
    case: dict[str, Any], empty_suite: Suite
) -> None:
    alice, bob = (Identity.from_seed(empty_suite, name, b"") for name in ("alice", "bob"))
    token = PairingToken(bytes(16))

    def first(pattern: Pattern) -> bytes:
        return Handshake.initiate(
            pattern,
            suite=empty_suite,
            identity=alice,
            remote=bob.bundle,
            token=token,
            handshake_id=5,
            params=TransportParams(),
            rng=bytes,
        )[1]

    def answer(pattern: Pattern) -> bytes:
        return Handshake.respond(
            record_of(first(pattern)),
            suite=empty_suite,
            identity=bob,
            expected=alice.bundle,
            token=token,
            params=TransportParams(),
            rng=bytes,
        )[1]

    def ping() -> bytes:
        route = (Qid(b"\x01" * 16), Qid(b"\x02" * 16))
        return SessionSealer(empty_suite, SecretBytes(bytes(32)), *route).seal(
            0, encode_frame(Ping())
        )

    records: dict[str, Callable[[], bytes]] = {
        "ik1": lambda: first(Pattern.IK),
        "kk1": lambda: first(Pattern.KK),
        "kk2": lambda: answer(Pattern.KK),
        "xx1": lambda: first(Pattern.XX),
        "xx2": lambda: answer(Pattern.XX),
        "ping": ping,
    }
    record = records[case["id"]]()
    assert len(record) == case["length"]
    assert hashlib.sha256(record).hexdigest() == case["sha256"]


def test_provider_that_encrypts_nothing_opens_nothing(empty_suite: Suite) -> None:
    route = (Qid(b"\x01" * 16), Qid(b"\x02" * 16))
    data = SessionSealer(empty_suite, SecretBytes(bytes(32)), *route).seal(0, b"\x01")
    record = parse_record_untrusted(data)
    assert isinstance(record, SessionRecord)
    with pytest.raises(RemoteError) as caught:
        SessionOpener(empty_suite, SecretBytes(bytes(32)), *route).open(record)
    assert caught.value.name == "DecryptFailed"
