"""The engine as either side of 80 recorded conversations of the running reference.

Every step of one side is performed at its time, and every record of the other side is handed over
as recorded. Result, events and delivered bytes of each step must be those of the reference, and at
the end the engine must have said the same on every stream. Handshakes are repeated with the
recorded random bytes, so our handshake records must equal the recorded ones to the last bit.

Where the engine differs on purpose, `DEVIATIONS` says how, with the number in section 11 of the
session specification. What differs must be exactly that: a listed deviation that does not happen
fails as well.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from primegap.quantumlink import (
    REFERENCE,
    Ack,
    Close,
    Frame,
    HandshakeResult,
    Identity,
    InvalidRouteError,
    InvalidVersionError,
    Invite,
    PairingToken,
    Pattern,
    Ping,
    Qid,
    RemoteError,
    ResetTarget,
    Role,
    SecretBytes,
    SessionOpener,
    SessionRecord,
    SessionSealer,
    StreamData,
    StreamOpening,
    StreamReset,
    StreamWindow,
    Suite,
    TransportParams,
    Unpair,
    encode_frame,
    parse_frames_untrusted,
    parse_record_untrusted,
)
from primegap.quantumlink.errors import CodecError, DecryptFailedError, LocalError
from primegap.quantumlink.kem import MlKem1024
from primegap.quantumlink.session import (
    Halves,
    HeaderTooLargeError,
    InboundFinished,
    InboundState,
    LanePhase,
    LinkConfig,
    LinkEngine,
    LinkEvent,
    MissingStreamError,
    NewPeer,
    NoPeerError,
    NoSessionError,
    OutboundFinished,
    OutboundState,
    PeerStatusChanged,
    SessionClosed,
    SessionDropped,
    StreamOpened,
    StreamOptions,
    StreamReadable,
    StreamResetLocal,
    StreamResetReceived,
    StreamWritable,
    Unpaired,
)
from primegap.quantumlink.session.handshaking import Finished

FILE = Path(__file__).parent.parent / "vectors" / "quantumlink-v2-session-transcripts.json"
TRANSCRIPTS: dict[str, Any] = json.loads(FILE.read_text())
SCENARIOS: dict[str, dict[str, Any]] = {case["name"]: case for case in TRANSCRIPTS["scenarios"]}
SEEDS: dict[str, tuple[str, bytes]] = {
    case["id"]: (case["name"], bytes.fromhex(case["seed"])) for case in TRANSCRIPTS["identities"]
}

# --- deviations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deviation:
    """Why and how the engine differs from the reference on one side of a scenario."""

    number: str
    "Remedy of section 11, or the section that leaves the choice."
    why: str
    ours: dict[str, Any]
    "What the engine does, by step; everything else must be as recorded."


CONNECTED = {"e": "status", "status": "Connected"}
DISCONNECTED = {"e": "status", "status": "Disconnected"}
DROPPED = {"e": "dropped"}


def _finished_words(stream_id: int) -> dict[str, Any]:
    return {"c": "outbound_finished", "id": stream_id}


DEVIATIONS: dict[tuple[str, str], Deviation] = {
    ("forged_message_1_ends_session", "B"): Deviation(
        "#1",
        "an IK1, genuine or forged, only makes a candidate; the genuine one is proven by the ping",
        {
            "ev of receive at 10000": [],
            "ev of receive at 110000": [CONNECTED],
            "result of receive at 110000": True,
            "said pinged": {0},
        },
    ),
    ("second_attempt_replaces_first", "B"): Deviation(
        "#1",
        "only the session counts that is proven by its first record",
        {
            "ev of receive at 10000": [],
            "ev of receive at 13000": [],
            "ev of receive at 213000": [CONNECTED],
            "session of query at 203000": False,
            "status of query at 203000": "Disconnected",
            "said pinged": {0, 1},
        },
    ),
    ("xx_pairing", "B"): Deviation(
        "#1, #14",
        "an XX3 can name anybody: bound, and the token disarmed, by the first record of the peer",
        {
            "ev of receive at 30000": [],
            "peer of query at 110000": None,
            "remote_qid of query at 110000": None,
            "result of ping at 110000": {"error": "NoSession"},
            "session of query at 110000": False,
            "status of query at 110000": "Disconnected",
            "ev of receive at 120000": [{"e": "new_peer"}, CONNECTED],
        },
    ),
    ("xx_simultaneous", "B"): Deviation(
        "#1, #14",
        "an XX3 can name anybody: bound, and the token disarmed, by the first record of the peer",
        {
            "ev of receive at 30000": [],
            "peer of query at 200000": None,
            "result of ping at 200000": {"error": "NoSession"},
            "session of query at 200000": False,
            "status of query at 200000": "Initiator",
            "ev of receive at 210000": [{"e": "new_peer"}, CONNECTED],
        },
    ),
    ("ik_connect", "B"): Deviation(
        "#1",
        "an IK1 proves nothing: connected with the first record under the new keys",
        {
            "ev of receive at 10000": [],
            "ev of receive at 60000": [CONNECTED, {"e": "opened", "id": 1}],
            "said pinged": {0},
        },
    ),
    **{
        case: Deviation(
            "#1",
            "an IK1 proves nothing: connected with the first record under the new keys",
            {
                "ev of receive at 10000": [],
                "ev of receive at 210000": [CONNECTED],
                "result of ping at 200000": {"error": "NoSession"},
                "session of query at 200000": False,
                "status of query at 200000": "Initiator",
            },
        )
        for case in (
            ("ik_simultaneous", "A"),
            ("ik_simultaneous_other", "A"),
            ("ik_against_kk", "B"),
        )
    },
    ("ik_unknown_initiator_accepted", "B"): Deviation(
        "#1",
        "an IK1 can name anybody: bound with the first record under the new keys",
        {
            "ev of receive at 10000": [],
            "peer of query at 50000": None,
            "remote_qid of query at 50000": None,
            "said pinged": {0},
            "session of query at 50000": False,
            "status of query at 50000": "Disconnected",
        },
    ),
    ("duplicate_message_1", "B"): Deviation(
        "#1",
        "an IK1 proves nothing: connected with the first record under the new keys",
        {
            "ev of receive at 10000": [],
            "ev of receive at 110000": [CONNECTED],
            "said pinged": {0},
            "session of query at 100000": False,
            "status of query at 100000": "Disconnected",
        },
    ),
    ("session_record_overtakes_message_2", "B"): Deviation(
        "#1",
        "nothing can be opened before the peer has shown its keys; it answers our ping",
        {
            "ev of receive at 10000": [],
            "ev of receive at 1035000": [CONNECTED],
            "result of open at 10000": {"error": "NoSession"},
            "result of write at 10000": {"error": "NoSession"},
            "said data": {},
            "said openings": {},
            "said pinged": {0},
        },
    ),
    ("xx_not_armed_and_wrong_token", "B"): Deviation(
        "#1",
        "an XX3 can name anybody: bound with the first record under the new keys",
        {
            "ev of receive at 70000": [],
            "said pinged": {0},
        },
    ),
    **{
        (name, "B"): Deviation(
            "#1",
            "an IK1 proves nothing, and A sends no record: never connected, only pinged",
            {"ev of receive at 10000": [], "said pinged": {0}},
        )
        for name in ("forged_message_2_then_genuine", "forged_message_2_kem_then_genuine")
    },
    ("forged_kk1_is_accepted", "B"): Deviation(
        "#1",
        "a KK1, genuine or forged, only makes a candidate, which is pinged; the genuine one is "
        "proven by its first record, the forged one never",
        {
            "ev of receive at 10000": [],
            "ev of receive at 100000": [],
            "session of query at 100000": False,
            "status of query at 100000": "Disconnected",
            "result of receive at 110000": True,
            "ev of receive at 110000": [CONNECTED],
            "said pinged": {0, 1},
        },
    ),
    ("kk_connect", "B"): Deviation(
        "#1",
        "a KK1 proves nothing: connected with the first record under the new keys",
        {
            "ev of receive at 10000": [],
            "result of ping at 50000": {"error": "NoSession"},
            "ev of receive at 60000": [CONNECTED],
        },
    ),
    ("kk_simultaneous", "B"): Deviation(
        "#1",
        "a KK1 proves nothing: connected with the first record under the new keys",
        {
            "ev of receive at 10000": [],
            "session of query at 200000": False,
            "status of query at 200000": "Initiator",
            "result of ping at 200000": {"error": "NoSession"},
            "ev of receive at 210000": [CONNECTED],
        },
    ),
    ("handshake_timeout_initiator", "B"): Deviation(
        "#1",
        "a KK1 proves nothing, and A has given up: never connected, only pinged",
        {"ev of receive at 6010000": [], "said pinged": {0}},
    ),
    ("reconnect_drops_session", "A"): Deviation(
        "2.2",
        "a session that ends silently is reported, so that its streams can be failed",
        {"ev of connect_ik at 50000": [DROPPED, {"e": "status", "status": "Initiator"}]},
    ),
    ("reconnect_drops_session", "B"): Deviation(
        "#1",
        "the new session takes over with the first record that proves it",
        {
            "ev of receive at 60000": [],
            "result of state at 100000": {
                "header": "78",
                "reader": {"readable": 3},
                "writer": {"open": 16384},
            },
            "ev of receive at 110000": [DROPPED, CONNECTED],
            "said pinged": {1},
        },
    ),
    ("xx_contradicts_bound_peer", "B"): Deviation(
        "3.6",
        "no XX4 for a peer that is refused: it would believe to be connected",
        {"handshake record B1": None},
    ),
    ("fin_acked_before_data", "A"): Deviation(
        "#8",
        "finished means that everything was acknowledged",
        {
            "cb of receive at 25000": [],
            "cb of receive at 100000": [_finished_words(1)],
        },
    ),
    ("two_interleaved_streams", "A"): Deviation(
        "#8",
        "finished means that everything was acknowledged",
        {
            "cb of receive at 25000": [_finished_words(3)],
            "cb of receive at 73125": [_finished_words(1)],
        },
    ),
    ("second_reset_overwrites_first", "A"): Deviation(
        "#9",
        "both resets are sent",
        {"said resets": {(1, ResetTarget.RETURN, 1), (1, ResetTarget.ORIGIN, 2)}},
    ),
    ("origin_reset_before_open", "B"): Deviation(
        "#10",
        "answered with a reset of the return lane; the stream is never announced, nor left over",
        {
            "cb of receive at 0": [],
            "result of streams at 100000": [],
            "result of state at 100000": {"error": "MissingStream"},
            "said resets": {(1, ResetTarget.RETURN, 4)},
        },
    ),
    ("unknown_stream_resets", "B"): Deviation(
        "#10",
        "no event for a stream that was never announced",
        {"cb of receive at 0": []},
    ),
    ("reset_of_finished_lane", "A"): Deviation(
        "#11",
        "a lane whose every byte is acknowledged cannot be taken back",
        {"cb of reset at 40000": [], "said resets": set()},
    ),
    ("reset_of_finished_lane", "B"): Deviation(
        "#11",
        "bytes of a lane that arrived whole stay readable",
        {
            "cb of receive at 50000": [],
            "result of state at 80000": {
                "header": "6b",
                "reader": {"final": 6},
                "writer": {"open": 16384},
            },
            "result of read at 80000": {"reader": "final", "bytes": b"unread".hex()},
        },
    ),
    **{
        (name, "A"): Deviation(
            "#18",
            "a damaged IK2 leaves the attempt alone, and the genuine one completes it",
            {
                "result of receive at 20000": True,
                "ev of receive at 20000": [CONNECTED],
                "session of query at 20000": True,
                "status of query at 20000": "Connected",
                **({} if "kem" in name else {"ev of timer at 5000000": []}),
            },
        )
        for name in ("forged_message_2_then_genuine", "forged_message_2_kem_then_genuine")
    },
    ("commit_beyond_readable", "B"): Deviation(
        "#7",
        "two bytes of credit are no news, so no record takes the ACK along before it is due",
        {"said acknowledged": set()},
    ),
    ("two_interleaved_streams", "B"): Deviation(
        "#7",
        "fewer window updates shift our numbers, and a recorded ACK reaches one record less",
        {"cb of receive at 2525000": [_finished_words(3)]},
    ),
    ("transfer_200k", "A"): Deviation(
        "5.1",
        "records hold what really fits, so the last one is another",
        {
            "cb of receive at 270000": [_finished_words(1)],
            "cb of receive at 290002": [],
        },
    ),
    ("transfer_200k", "B"): Deviation(
        "#4, #7",
        "fewer window updates shift our numbers, so recorded ACKs leave gaps: what is overtaken is "
        "told again, with the ACK of A's last record; the last recorded ACK misses our FIN",
        {
            "cb of receive at 425000": [],
            "said acknowledged": {(0, seq) for seq in range(41)},
        },
    ),
    ("tracked_limit", "A"): Deviation(
        "5.1",
        "records hold what really fits, so 64 of them carry more",
        {"said data": {1: 4090}},
    ),
}


# --- ML-KEM-1024 encapsulation with given randomness (FIPS 203, algorithms 14 and 17) ------------

Q = 3329
RANK = 4


def _zeta(exponent: int) -> int:
    reversed_bits = int(f"{exponent:07b}"[::-1], 2)
    return pow(17, reversed_bits, Q)


ZETAS = [_zeta(i) for i in range(128)]
GAMMAS = [pow(17, 2 * int(f"{i:07b}"[::-1], 2) + 1, Q) for i in range(128)]


def ntt(values: list[int]) -> list[int]:
    f, index, length = values.copy(), 1, 128
    while length >= 2:
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[index]
            index += 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length] = (f[j] - t) % Q
                f[j] = (f[j] + t) % Q
        length //= 2
    return f


def inverse_ntt(values: list[int]) -> list[int]:
    f, index, length = values.copy(), 127, 2
    while length <= 128:
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[index]
            index -= 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def multiply_add(total: list[int], f: list[int], g: list[int]) -> None:
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        total[2 * i] = (total[2 * i] + a0 * b0 + a1 * b1 % Q * GAMMAS[i]) % Q
        total[2 * i + 1] = (total[2 * i + 1] + a0 * b1 + a1 * b0) % Q


def sample_ntt(seed: bytes) -> list[int]:
    stream = hashlib.shake_128(seed).digest(1344)  # enough with overwhelming probability
    out: list[int] = []
    for i in range(0, len(stream), 3):
        d1 = stream[i] | (stream[i + 1] & 15) << 8
        d2 = stream[i + 1] >> 4 | stream[i + 2] << 4
        out += [d for d in (d1, d2) if d < Q]
    assert len(out) >= 256
    return out[:256]


def sample_cbd2(seed: bytes, number: int) -> list[int]:
    bits = int.from_bytes(hashlib.shake_256(seed + bytes((number,))).digest(128), "little")
    out = []
    for i in range(256):
        nibble = bits >> 4 * i & 15
        out.append(((nibble & 1) + (nibble >> 1 & 1) - (nibble >> 2 & 1) - (nibble >> 3)) % Q)
    return out


def pack(values: list[int], width: int) -> bytes:
    total = 0
    for i, value in enumerate(values):
        total |= value << width * i
    return total.to_bytes(32 * width, "little")


def unpack12(data: bytes) -> list[int]:
    total = int.from_bytes(data, "little")
    return [total >> 12 * i & 4095 for i in range(256)]


def compress(values: list[int], width: int) -> list[int]:
    return [((x << width + 1) + Q) // (2 * Q) & (1 << width) - 1 for x in values]


def encapsulate(public_key: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Return ciphertext and secret for a public key and 32 bytes of randomness."""
    digest = hashlib.sha3_512(message + hashlib.sha3_256(public_key).digest()).digest()
    secret, seed = digest[:32], digest[32:]
    t = [unpack12(public_key[384 * i : 384 * (i + 1)]) for i in range(RANK)]
    rho = public_key[384 * RANK :]
    y = [ntt(sample_cbd2(seed, i)) for i in range(RANK)]
    ciphertext = b""
    for i in range(RANK):
        total = [0] * 256
        for j in range(RANK):
            multiply_add(total, sample_ntt(rho + bytes((i, j))), y[j])
        e1 = sample_cbd2(seed, RANK + i)
        u = [(a + b) % Q for a, b in zip(inverse_ntt(total), e1, strict=True)]
        ciphertext += pack(compress(u, 11), 11)
    total = [0] * 256
    for j in range(RANK):
        multiply_add(total, t[j], y[j])
    e2 = sample_cbd2(seed, 2 * RANK)
    bits = int.from_bytes(message, "little")
    v = [
        (a + b + (bits >> i & 1) * 1665) % Q
        for i, (a, b) in enumerate(zip(inverse_ntt(total), e2, strict=True))
    ]
    return ciphertext + pack(compress(v, 5), 5), secret


class Draws:
    """The random bytes the reference drew in one step, handed out by length."""

    def __init__(self, first_attempt: int) -> None:
        self.first_attempt = first_attempt  # the reference counts its attempts from 1
        self._left: list[bytes] = []

    def load(self, draws: list[str]) -> None:
        self._left = [bytes.fromhex(draw) for draw in draws]

    def take(self, size: int) -> bytes | None:
        for i, draw in enumerate(self._left):
            if len(draw) == size:
                return self._left.pop(i)
        return None

    def rng(self, size: int) -> bytes:
        if size == 4:
            return self.first_attempt.to_bytes(4, "little")
        draw = self.take(size)
        assert draw is not None, "the reference drew nothing here"
        return draw


class RepeatingKem(MlKem1024):
    """ML-KEM-1024 that encapsulates with the recorded randomness while there is some."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        message = self._draws.take(32)
        if message is None:  # a step in which the reference encapsulated nothing
            return super().encapsulate(public_key)
        return encapsulate(public_key, message)


def test_the_repeated_encapsulation_is_that_of_the_library() -> None:
    private_key, public_key = MlKem1024().keygen(bytes(range(64)))
    ciphertext, secret = encapsulate(public_key, bytes(range(100, 132)))
    assert private_key.decapsulate(ciphertext) == secret


# --- what the file says --------------------------------------------------------------------------


def payload_of(spec: dict[str, Any]) -> bytes:
    """Return the bytes off .. off + len of the stream D(label)."""
    label, off, size = spec["label"], spec["off"], spec["len"]
    blocks = range(off // 32, (off + size + 31) // 32)
    stream = b"".join(
        hashlib.sha256(label.encode() + i.to_bytes(8, "little")).digest() for i in blocks
    )
    start = off - 32 * blocks.start
    return stream[start : start + size]


def bytes_of(value: str | dict[str, Any]) -> bytes:
    return bytes.fromhex(value) if isinstance(value, str) else payload_of(value)


def frame_of(spec: dict[str, Any]) -> Frame:
    match spec["k"]:
        case "ping":
            return Ping()
        case "ack":
            return Ack(tuple((low, high) for low, high in spec["ranges"]))
        case "data":
            opening = None
            if "open" in spec:
                part = spec["open"]
                opening = StreamOpening(part["rw"], part["rq"], bytes.fromhex(part["header"]))
            payload = bytes_of(spec["bytes"] if "bytes" in spec else spec["gen"])
            return StreamData(spec["id"], spec["off"], spec["fin"], opening, payload)
        case "window":
            return StreamWindow(spec["id"], spec["max"])
        case "reset":
            return StreamReset(spec["id"], ResetTarget(spec["target"]), spec["code"])
        case "close":
            return Close(spec["code"])
        case "unpair":
            return Unpair()
    raise AssertionError(spec["k"])


def config_of(overrides: dict[str, Any]) -> LinkConfig:
    merged = TRANSCRIPTS["config_defaults"] | overrides
    in_seconds = {
        "handshake_timeout": "handshake_timeout_s",
        "ack_delay": "ack_delay_s",
        "retransmit_timeout": "retransmit_timeout_s",
        "keepalive_interval": "keepalive_interval_s",
        "peer_timeout": "peer_timeout_s",
    }
    values: dict[str, Any] = {}
    for name, value in merged.items():
        if name in in_seconds:
            values[in_seconds[name]] = value / 1e6
        else:
            values[name] = value
    values["max_stream_receive_window"] = max(
        values["max_stream_receive_window"], values["initial_stream_receive_window"]
    )
    return LinkConfig(**values)


# --- the same words for both ---------------------------------------------------------------------

HALVES = {"reader": Halves.READER, "writer": Halves.WRITER, "both": Halves.BOTH}


def error_words(error: RemoteError) -> dict[str, str]:
    if isinstance(error, InvalidRouteError):
        return {"error": "InvalidQid"}
    if isinstance(error, InvalidVersionError):
        return {"error": "InvalidRecordVersion"}
    if isinstance(error, CodecError | DecryptFailedError):
        return {"error": "wire", "detail": error.name}
    return {"error": error.name}


def expected_error_words(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if key != "stage"}
    return result


def half_words(halves: Halves) -> str:
    return next(name for name, value in HALVES.items() if value == halves)


def event_words(event: LinkEvent) -> dict[str, Any]:
    match event:
        case NewPeer():
            return {"e": "new_peer"}
        case PeerStatusChanged(status):
            return {"e": "status", "status": status.capitalize()}
        case SessionDropped():
            return {"e": "dropped"}
        case SessionClosed(code):
            return {"e": "session_closed", "code": code}
        case Unpaired(record):
            return {"e": "unpaired", "record": record is not None}
        case StreamOpened(stream_id):
            return {"e": "opened", "id": stream_id}
        case StreamReadable(stream_id):
            return {"c": "readable", "id": stream_id}
        case StreamWritable(stream_id):
            return {"c": "writable", "id": stream_id}
        case InboundFinished(stream_id):
            return {"c": "inbound_finished", "id": stream_id}
        case OutboundFinished(stream_id):
            return {"c": "outbound_finished", "id": stream_id}
        case StreamResetReceived(stream_id, halves, code):
            half = half_words(halves)
            return {"c": "reset", "id": stream_id, "by": "peer", "half": half, "code": code}
        case StreamResetLocal(stream_id, halves, code):
            half = half_words(halves)
            return {"c": "reset", "id": stream_id, "by": "local", "half": half, "code": code}


def expected_event_words(spec: dict[str, Any]) -> dict[str, Any]:
    words = dict(spec)
    words.pop("consumed", None)
    words.pop("wrote", None)
    if words.get("e") == "unpaired":
        words["record"] = words.pop("write") is not None
    words.pop("write", None)
    return words


def reader_words(state: InboundState) -> Any:
    if state.phase is LanePhase.RESET:
        return {"reset": state.reset_code}
    if state.phase is LanePhase.FINISHED:
        return {"final": state.readable_bytes} if state.readable_bytes else "finished"
    return {"readable": state.readable_bytes} if state.readable_bytes else "open"


def writer_words(state: OutboundState) -> Any:
    if state.phase is LanePhase.RESET:
        return {"reset": state.reset_code}
    return "finished" if state.phase is LanePhase.FINISHED else {"open": state.capacity}


def local_error_words(error: LocalError) -> dict[str, str]:
    names: dict[type[LocalError], str] = {
        MissingStreamError: "MissingStream",
        NoSessionError: "NoSession",
        NoPeerError: "NoPeer",
        HeaderTooLargeError: "HeaderTooLarge",
    }
    return {"error": names[type(error)]}


# --- one side ------------------------------------------------------------------------------------


@dataclass
class Said:
    """What a side has told the other inside sessions, apart from timing and packaging."""

    data: dict[int, dict[int, int]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    openings: dict[int, tuple[int, int, bytes]] = field(default_factory=dict)
    resets: set[tuple[int, ResetTarget, int]] = field(default_factory=set)
    limits: dict[int, int] = field(default_factory=dict)
    closings: list[Frame] = field(default_factory=list)
    pinged: set[int] = field(default_factory=set)
    "Sessions with a ping."
    acknowledged: set[tuple[int, int]] = field(default_factory=set)

    def hear(self, session: int, frame: Frame) -> None:
        match frame:
            case Ack(ranges):
                self.acknowledged |= {
                    (session, seq) for low, high in ranges for seq in range(low, high + 1)
                }
            case StreamData():
                lane = self.data.setdefault(frame.stream_id, {})
                for i, byte in enumerate(frame.payload, frame.offset):
                    assert lane.setdefault(i, byte) == byte
                if frame.fin:
                    self.ends[frame.stream_id] = frame.offset + len(frame.payload)
                if frame.opening is not None:
                    opening = frame.opening
                    words = (
                        opening.receive_window,
                        opening.requested_peer_receive_window,
                        opening.header,
                    )
                    assert self.openings.setdefault(frame.stream_id, words) == words
            case StreamReset(stream_id, target, code):
                self.resets.add((stream_id, target, code))
            case StreamWindow(stream_id, limit):
                self.limits[stream_id] = max(limit, self.limits.get(stream_id, 0))
            case Close() | Unpair():
                self.closings.append(frame)
            case Ping():
                self.pinged.add(session)


class Side:
    """An engine that plays one side of a scenario."""

    def __init__(self, scenario: dict[str, Any], name: str) -> None:
        self.scenario = scenario
        self.name = name
        self.other = "B" if name == "A" else "A"
        begun = scenario.get("start", {}).get("initiator") == name
        self.draws = Draws(first_attempt=2 if begun else 1)
        suite = replace(REFERENCE, kem=RepeatingKem(self.draws))
        self.identity = self._identity(suite, scenario["identity"][name])
        self.peer_identity = self._identity(REFERENCE, scenario["identity"][self.other])
        self.engine = LinkEngine(
            config_of(scenario["config"][name]), self.identity, rng=self.draws.rng, now_s=0.0
        )
        self.differences: dict[str, Any] = {}
        self.said = Said()
        self.expected_said = Said()
        self.totals: dict[str, bytes] = {}
        self._write_ids: dict[int, int | None] = {}
        bound = scenario["bound"][name]
        if bound is not None:
            self.engine.bind_peer(self._identity(REFERENCE, bound).bundle)
        if "start" in scenario:
            self._start(scenario["start"])
        self.tx_keys = self._tx_keys()

    def _identity(self, suite: Suite, name: str) -> Identity:
        text, seed = SEEDS[name]
        return Identity.from_seed(suite, text, seed)

    def _start(self, start: dict[str, Any]) -> None:
        keys = [SecretBytes(bytes.fromhex(start[key])) for key in ("key_a_to_b", "key_b_to_a")]
        tx, rx = keys if self.name == "A" else reversed(keys)
        result = HandshakeResult(
            tx,
            rx,
            bytes(32),
            self.peer_identity.bundle,
            TransportParams(start["peer_window"][self.name]),
        )
        finished = Finished(result, Pattern.IK, Role.INITIATOR, reply=None)
        self.engine._finish_handshake(finished, now_s=0.0)
        self.engine.take_events()

    def _tx_keys(self) -> list[SecretBytes]:
        """Return our sending keys of all sessions that the file names, in order."""
        found: list[str] = []
        if "start" in self.scenario:
            found.append(self.scenario["start"][f"key_{self.name}_to_{self.other}".lower()])
        found += [
            step["session"]["tx"]
            for step in self.scenario["steps"]
            if step["s"] == self.name and "session" in step
        ]
        return [SecretBytes(bytes.fromhex(key)) for key in found]

    # --- records

    def record(self, name: str) -> bytes:
        """Return a recorded record; large ones are rebuilt from their frames."""
        spec = self.scenario["records"][name]
        if "hex" in spec:
            return bytes.fromhex(spec["hex"])
        key = self.scenario["start"]["key_a_to_b" if spec["from"] == "A" else "key_b_to_a"]
        qids = self.identity.qid, self.peer_identity.qid
        sender, recipient = qids if spec["from"] == self.name else qids[::-1]
        sealer = SessionSealer(REFERENCE, SecretBytes(bytes.fromhex(key)), sender, recipient)
        body = b"".join(encode_frame(frame_of(frame)) for frame in spec["frames"])
        record = sealer.seal(spec["seq"], body)
        assert hashlib.sha256(record).hexdigest() == spec["sha256"]
        return record

    def hear_own(self, record: bytes) -> None:
        """Open a record of ours as the other side would, and note what it says."""
        parsed = parse_record_untrusted(record)
        if not isinstance(parsed, SessionRecord):
            return  # compared where it was expected
        for number, tx in enumerate(self.tx_keys):
            opener = SessionOpener(REFERENCE, tx, self.identity.qid, self.peer_identity.qid)
            try:
                body = opener.open(parsed)
            except DecryptFailedError:
                continue
            for frame in parse_frames_untrusted(body):
                self.said.hear(number, frame)
            return
        raise AssertionError("a record of a session that the reference does not have")

    def hear_expected(self, name: str, session: int) -> None:
        spec = self.scenario["records"][name]
        for frame in spec.get("frames", []):
            self.expected_said.hear(session, frame_of(frame))

    # --- steps

    def note(self, what: str, ours: Any, expected: Any) -> None:
        if ours != expected:
            assert what not in self.differences or self.differences[what] == ours
            self.differences[what] = ours

    def play(self) -> None:
        steps = [step for step in self.scenario["steps"] if step["s"] == self.name]
        session = -1 if "start" not in self.scenario else 0
        for step, following in zip(steps, [*steps[1:], None], strict=False):
            if "session" in step:
                session += 1
            self.draws.load(step.get("draws", []))
            self._step(step, session)
            takes_follow = following is not None and following["op"] == "take"
            same_time = following is not None and following["t"] == step["t"]
            if self.scenario["drained"] and not (takes_follow and same_time):
                self._drain(step["t"] / 1e6)

    def _drain(self, now_s: float) -> None:
        while (outgoing := self.engine.take_write(now_s=now_s)) is not None:
            self.hear_own(outgoing.record)
            if outgoing.write_id is not None:
                self.engine.complete_write(outgoing.write_id, ok=True, now_s=now_s)

    def _step(self, step: dict[str, Any], session: int) -> None:
        now_s = step["t"] / 1e6
        where = f"{step['op']} at {step['t']}"
        match step["op"]:
            case "take":
                self._take(step, now_s, session)
                return
            case "complete":
                write_id = self._write_ids.get(step["wid"])
                if write_id is not None:
                    self.engine.complete_write(write_id, ok=step["ok"], now_s=now_s)
                return
        try:
            result = self._call(step, now_s)
        except RemoteError as error:
            result = error_words(error)
        except LocalError as error:
            result = local_error_words(error)
        if step["op"] == "query":
            for name, value in step["r"].items():
                # Whether the keys are the same shows when the recorded records open.
                expected = value is not None if name in {"armed", "session"} else value
                self.note(f"{name} of {where}", result[name], expected)
        else:
            self.note(f"result of {where}", result, expected_error_words(step.get("r")))
        self._compare_events(step, where, session)

    def _compare_events(self, step: dict[str, Any], where: str, session: int) -> None:
        events = self.engine.take_events()
        for event in events:
            if isinstance(event, SessionClosed | Unpaired) and event.last_record is not None:
                self.hear_own(event.last_record)
        for spec in step.get("ev", []):
            if spec.get("write") is not None:
                self.hear_expected(spec["write"], session)
        words = [event_words(event) for event in events]
        for kind, name in (("e", "ev"), ("c", "cb")):
            expected = [expected_event_words(spec) for spec in step.get(name, [])]
            self.note(f"{name} of {where}", [w for w in words if kind in w], expected)
        for event in events:
            self._react(event)

    def _react(self, event: LinkEvent) -> None:
        """Do what the reference's callbacks did."""
        if isinstance(event, StreamReadable):
            if self.scenario.get("read_in_callback", {}).get(self.name):
                self._read(event.stream_id, 1 << 30)
        elif isinstance(event, StreamWritable):
            text = self.scenario.get("write_in_on_writable", {}).get(self.name, "")
            self.engine.write(event.stream_id, bytes.fromhex(text))

    def _read(self, stream_id: int, size: int) -> bytes:
        data = self.engine.read(stream_id, size)
        self.totals[str(stream_id)] = self.totals.get(str(stream_id), b"") + data
        return data

    def _take(self, step: dict[str, Any], now_s: float, session: int) -> None:
        outgoing = self.engine.take_write(now_s=now_s)
        if outgoing is not None:
            self.hear_own(outgoing.record)
        if step["rec"] is None:
            if outgoing is not None and outgoing.write_id is not None:
                self.engine.complete_write(outgoing.write_id, ok=True, now_s=now_s)
            return
        spec = self.scenario["records"][step["rec"]]
        if spec["kind"] == "session":
            self.hear_expected(step["rec"], session)
            if step["wid"] is not None:
                self._write_ids[step["wid"]] = None if outgoing is None else outgoing.write_id
        else:
            record = None if outgoing is None else outgoing.record.hex()
            self.note(f"handshake record {step['rec']}", record, spec["hex"])

    def _call(self, step: dict[str, Any], now_s: float) -> Any:
        engine = self.engine
        match step["op"]:
            case "arm":
                engine.arm_pairing(PairingToken(bytes.fromhex(step["token"])))
            case "disarm":
                engine.disarm_pairing()
            case "connect_ik":
                engine.connect_ik(now_s=now_s)
                return "ok"
            case "connect_kk":
                engine.connect_kk(now_s=now_s)
                return "ok"
            case "connect_xx":
                token = PairingToken(bytes.fromhex(step["token"]))
                invite = Invite(REFERENCE, Qid(bytes.fromhex(step["qid"])), token)
                engine.connect_xx(invite, now_s=now_s)
                return "ok"
            case "receive":
                return engine.receive(self.record(step["rec"]), now_s=now_s)
            case "timer":
                engine.on_timeout(now_s=now_s)
            case "ping":
                engine.queue_ping()
                return "ok"
            case "close":
                engine.close_session(step["code"], now_s=now_s)
            case "unpair":
                engine.unpair(now_s=now_s)
            case "query":
                return self._query()
            case "streams":
                return engine.streams()
            case _:
                return self._call_stream(step)
        return None

    def _query(self) -> dict[str, Any]:
        engine = self.engine
        remote = engine.remote_qid
        return {
            "armed": engine.armed,
            "peer": None if engine.peer is None else engine.peer.qid.hex(),
            "remote_qid": None if remote is None else remote.hex(),
            "session": engine.handshake_hash is not None,
            "status": engine.status.capitalize(),
        }

    def _call_stream(self, step: dict[str, Any]) -> Any:
        engine = self.engine
        match step["op"]:
            case "open":
                requested = step.get("rq")
                options = StreamOptions(
                    receive_window=step.get("rw"),
                    # The reference raises 0 to 1; ours refuses it.
                    requested_peer_receive_window=None if requested is None else requested or 1,
                    send_buffer_size=step.get("sb"),
                )
                return {"id": engine.open_stream(bytes.fromhex(step["header"]), options)}
            case "write":
                data = bytes_of(step["data"] if "data" in step else step["gen"])
                accepted = engine.write(step["id"], data)
                state = engine.outbound_state(step["id"])
                if state.phase is LanePhase.RESET:
                    return {"writer": "reset", "code": state.reset_code}
                return {"accepted": accepted, "capacity": state.capacity}
            case "finish":
                engine.finish(step["id"])
                return "ok"
            case "state":
                return {
                    "header": engine.stream_header(step["id"]).hex(),
                    "reader": reader_words(engine.inbound_state(step["id"])),
                    "writer": writer_words(engine.outbound_state(step["id"])),
                }
            case "reset":
                engine.reset(step["id"], HALVES[step["half"]], step["code"])
                return None
            case "read":
                return self._read_step(step)
        raise AssertionError(step["op"])

    def _read_step(self, step: dict[str, Any]) -> Any:
        """Translate: the reference looks first, then commits, and says what it saw before."""
        words = reader_words(self.engine.inbound_state(step["id"]))
        reader = words if isinstance(words, str) else next(iter(words))
        if "force" in step:  # more than is readable: our read has no such call
            assert self.engine.readable_bytes(step["id"]) < step["n"]
            return {"commit": False, "reader": reader}
        data = self._read(step["id"], step.get("n", 1 << 30))
        result: dict[str, Any] = {"reader": reader}
        if data:
            result["bytes"] = data.hex()
        if isinstance(words, dict) and "reset" in words:
            result["code"] = words["reset"]
        return result

    def compare_said(self) -> None:
        """Compare what both told the other, whatever the packaging."""
        ours, theirs = self.said, self.expected_said
        if ours.data != theirs.data:
            self.differences["said data"] = {key: len(lane) for key, lane in ours.data.items()}
            for key, lane in theirs.data.items():
                assert lane.items() <= ours.data.get(key, lane).items()
        for what in ("ends", "openings", "resets", "closings", "pinged", "acknowledged"):
            self.note(f"said {what}", getattr(ours, what), getattr(theirs, what))
        config = self.scenario["config"][self.name]
        window = config.get("initial_stream_receive_window", 16384)
        growth = config.get("max_stream_receive_window", 32768) - window
        for stream_id, limit in theirs.limits.items():
            # Less than a quarter of a window is not worth a frame of ours (11, #7), and a window
            # that holds the peer back grows up to its limit (11, #6).
            behind = limit - ours.limits.get(stream_id, window)
            assert -growth <= behind <= (window + max(-behind, 0)) // 4

    def compare_totals(self) -> None:
        """Compare all bytes read from each stream."""
        for stream_id, total in self.scenario.get("read_totals", {}).get(self.name, {}).items():
            data = self.totals.get(stream_id, b"")
            assert len(data) == total["len"]
            assert hashlib.sha256(data).hexdigest() == total["sha256"]


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_one_side_of_a_recorded_conversation(name: str, side: str) -> None:
    player = Side(SCENARIOS[name], side)
    player.play()
    player.compare_said()
    player.compare_totals()
    deviation = DEVIATIONS.get((name, side))
    assert player.differences == ({} if deviation is None else deviation.ours)


def test_all_eighty_conversations_are_played() -> None:
    assert len(SCENARIOS) == 80
    assert {name for name, _ in DEVIATIONS} <= set(SCENARIOS)
