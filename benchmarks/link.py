"""QuantumLink sessions against aioquic, bare AEAD and KEM, and the ceiling of Bluetooth."""

from __future__ import annotations

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from benchmarks.figure import Figure, figure, paired_s
from primegap.quantumlink import (
    NATIVE,
    REFERENCE,
    Handshake,
    HandshakeRecord,
    HandshakeResult,
    Identity,
    PairingToken,
    Pattern,
    Suite,
    TransportParams,
    parse_record_untrusted,
)
from primegap.quantumlink.aio.paced_simulation import (
    CEILING,
    AirProfile,
    PacedLink,
    best_goodput,
)
from primegap.quantumlink.session import StreamOptions
from primegap.quantumlink.session.simulation import LinkPair

RECORD_BODY = 8100
"Bytes of a full record's body, about."
MOVED_BYTES = 8_000_000
BLUETOOTH_CEILING = 173_000
"Bytes per second of the real link, measured elsewhere; the paced air has the same."
PACED_S = 20.0
SESSIONS = 1000
STREAMS = 256
CHUNK = bytes(65_536)


# --- moving bytes through memory -----------------------------------------------------------------


def connected(suite: Suite) -> LinkPair:
    pair = LinkPair(suite=suite, delay_s=0.0)
    pair.connect()
    return pair


def move(suite: Suite, size: int) -> float:
    """Move bytes from one engine to the other; return the seconds it took."""
    pair = connected(suite)
    a, b = pair.a.engine, pair.b.engine
    stream_id = a.open_stream(b"bulk", StreamOptions(send_buffer_size=262_144))
    sent = received = 0
    offset_s = pair.now_s - time.process_time()
    began = time.process_time()
    while received < size:
        now_s = time.process_time() + offset_s
        if sent < size:
            sent += a.write(stream_id, CHUNK[: size - sent])
        while (outgoing := a.take_write(now_s=now_s)) is not None:
            if outgoing.write_id is not None:
                a.complete_write(outgoing.write_id, ok=True, now_s=now_s)
            b.receive(outgoing.record, now_s=now_s)
            b.take_events()
            received += len(b.read(stream_id, size))
        while (outgoing := b.take_write(now_s=now_s)) is not None:
            if outgoing.write_id is not None:
                b.complete_write(outgoing.write_id, ok=True, now_s=now_s)
            a.receive(outgoing.record, now_s=now_s)
            a.take_events()
    return time.process_time() - began


def move_bare(cipher: AESGCM | ChaCha20Poly1305, size: int) -> float:
    body, number = os.urandom(RECORD_BODY), 0
    began = time.process_time()
    for number in range(-(-size // RECORD_BODY)):
        nonce = number.to_bytes(12, "little")
        cipher.decrypt(nonce, cipher.encrypt(nonce, body, CHUNK[:64]), CHUNK[:64])
    return time.process_time() - began


def _certificate() -> tuple[object, object]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    )
    return builder.sign(key, SHA256()), key


def move_aioquic(size: int) -> float:
    """Do the same with two connections of aioquic."""
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import StreamDataReceived

    certificate, key = _certificate()
    server_config = QuicConfiguration(is_client=False, alpn_protocols=["bench"])
    server_config.certificate, server_config.private_key = certificate, key
    client_config = QuicConfiguration(is_client=True, alpn_protocols=["bench"], verify_mode=0)
    client = QuicConnection(configuration=client_config)
    client.connect(("server", 1), now=time.perf_counter())
    server = QuicConnection(
        configuration=server_config,
        original_destination_connection_id=client.original_destination_connection_id,
    )

    def pass_on() -> int:
        """Carry what waits both ways; return the stream bytes the server got."""
        got = 0
        for source, sink, address in (
            (client, server, ("client", 1)),
            (server, client, ("server", 1)),
        ):
            now = time.perf_counter()
            for data, _ in source.datagrams_to_send(now=now):
                sink.receive_datagram(data, address, now=now)
        for side in (client, server):
            timer = side.get_timer()
            if timer is not None and timer <= time.perf_counter():
                side.handle_timer(now=time.perf_counter())
            while (event := side.next_event()) is not None:
                if side is server and isinstance(event, StreamDataReceived):
                    got += len(event.data)
        return got

    for _ in range(10):
        pass_on()
    stream_id = client.get_next_available_stream_id()
    sent = received = 0
    began = time.process_time()
    while received < size:
        if sent - received < 1 << 20 and sent < size:
            client.send_stream_data(stream_id, CHUNK)
            sent += len(CHUNK)
        received += pass_on()
    return time.process_time() - began


def rates(ours: Callable[[], float], theirs: Callable[[], float]) -> tuple[float, float]:
    """Run both in turn; return the bytes per second of each, median of five."""
    mine, peers = [], []
    for _ in range(5):
        mine.append(MOVED_BYTES / ours())
        peers.append(MOVED_BYTES / theirs())
    return statistics.median(mine), statistics.median(peers)


def goodput() -> list[Figure]:
    """Two engines in one process, both suites."""
    native, quic = rates(lambda: move(NATIVE, MOVED_BYTES), lambda: move_aioquic(MOVED_BYTES))
    reference, gcm = rates(
        lambda: move(REFERENCE, MOVED_BYTES),
        lambda: move_bare(AESGCM(os.urandom(32)), MOVED_BYTES),
    )
    again, chacha = rates(
        lambda: move(NATIVE, MOVED_BYTES),
        lambda: move_bare(ChaCha20Poly1305(os.urandom(32)), MOVED_BYTES),
    )
    return [
        figure("link-goodput-vs-aioquic", native / 1e6, "MB/s", "aioquic, same bytes", quic / 1e6),
        figure(
            "link-goodput-vs-ble-ceiling",
            native / 1e6,
            "MB/s",
            "the real Bluetooth ceiling",
            BLUETOOTH_CEILING / 1e6,
        ),
        figure("link-goodput-vs-bare-aead", again / 1e6, "MB/s", "ChaCha20-Poly1305", chacha / 1e6),
        figure(
            "link-goodput-reference-vs-bare-aead", reference / 1e6, "MB/s", "AES-256-GCM", gcm / 1e6
        ),
    ]


# --- the paced Bluetooth profile -----------------------------------------------------------------


def paced() -> list[Figure]:
    """Goodput over the paced air against what a sender reaches that knows the loss."""
    figures = []
    for name, loss, reordering in (
        ("ble-paced-goodput-vs-ideal", 0.0, 0.0),
        ("ble-paced-goodput-vs-ideal-1pct-loss", 0.01, 0.01),
        ("ble-paced-goodput-vs-ideal-5pct-loss", 0.05, 0.02),
    ):
        found = statistics.median(
            PacedLink(
                AirProfile(packet_loss=loss, reordering=reordering), seed=seed
            ).measure_goodput(PACED_S)
            for seed in range(3)
        )
        ideal = best_goodput(loss)
        figures.append(
            figure(name, found / 1e3, "kB/s", "best record size, loss known", ideal / 1e3)
        )
    idle = statistics.median(
        PacedLink(AirProfile(), seed=seed).measure_latency_s(1024) for seed in range(5)
    )
    interval_s = AirProfile().interval_s
    return [
        *figures,
        figure("ble-paced-ceiling", CEILING / 1e3, "kB/s", "the real one", BLUETOOTH_CEILING / 1e3),
        figure(
            "ble-1kib-request-idle", idle * 1e3, "ms", "one connection interval", interval_s * 1e3
        ),
        figure(
            "ble-1kib-request-loaded",
            statistics.median(_loaded_latency_s(seed) for seed in range(5)) * 1e3,
            "ms",
            "the same on an idle link",
            idle * 1e3,
        ),
    ]


def _loaded_latency_s(seed: int) -> float:
    link = PacedLink(AirProfile(), seed=seed)
    bulk = link.a.engine.open_stream(b"bulk")
    for _ in range(400):
        link.a.engine.write(bulk, CHUNK)
        link.advance(0.005)
        if bulk in link.b.engine.streams():
            link.b.engine.read(bulk, 1 << 20)
    return link.measure_latency_s(1024, bulk)


# --- handshakes ----------------------------------------------------------------------------------


class Handshakes:
    """Runs handshakes between two sides, and the KEM operations in them alone."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.a = Identity.generate(suite, "a", os.urandom)
        self.b = Identity.generate(suite, "b", os.urandom)
        self.token = PairingToken(os.urandom(16))
        self.sizes: list[int] = []

    def run(self, pattern: Pattern) -> HandshakeResult:
        is_pairing = pattern is Pattern.XX
        token = self.token if is_pairing else None
        first, record = Handshake.initiate(
            pattern,
            suite=self.suite,
            identity=self.a,
            remote=self.b.bundle.qid if is_pairing else self.b.bundle,
            token=token,
            handshake_id=1,
            params=TransportParams(),
            rng=os.urandom,
        )
        self.sizes = [len(record)]
        second, reply = Handshake.respond(
            self._parse(record),
            suite=self.suite,
            identity=self.b,
            expected=None if is_pairing else self.a.bundle,
            token=token,
            params=TransportParams(),
            rng=os.urandom,
        )
        sides = [first, second]
        waiting: bytes | None = reply
        turn = 0
        while waiting is not None:
            self.sizes.append(len(waiting))
            sides[turn], waiting = sides[turn].receive(self._parse(waiting))
            turn = 1 - turn
        result = sides[0].result
        assert result is not None
        return result

    def _parse(self, record: bytes) -> HandshakeRecord:
        parsed = parse_record_untrusted(record)
        assert isinstance(parsed, HandshakeRecord)
        return parsed

    def bare(self) -> None:
        """One key pair and three encapsulations with their decapsulations, as in all patterns."""
        kem = self.suite.kem
        private, public = kem.keygen(os.urandom(kem.seed_size))
        for key, peer in (
            (self.b.private_key, self.b.bundle.public_key),
            (private, public),
            (self.a.private_key, self.a.bundle.public_key),
        ):
            ciphertext, _ = kem.encapsulate(peer)
            key.decapsulate(ciphertext)


def handshakes() -> list[Figure]:
    """CPU of both sides of each handshake against its KEM operations; bytes on the way."""
    figures = []
    for suite in (NATIVE, REFERENCE):
        runs = Handshakes(suite)
        for pattern in (Pattern.KK, Pattern.IK, Pattern.XX):
            mine, theirs = paired_s(partial(runs.run, pattern), runs.bare, rounds=25)
            label = f"{pattern.name.lower()}-{suite.name}"
            is_main = pattern is Pattern.KK and suite is NATIVE
            name = "handshake-cpu-vs-bare-kem" + ("" if is_main else f"-{label}")
            figures.append(figure(name, mine * 1e3, "ms", "its KEM operations", theirs * 1e3))
            carried = sum(runs.sizes)
            figures.append(
                figure(f"handshake-bytes-{label}", carried, "B", "messages", len(runs.sizes))
            )
    return figures


# --- memory --------------------------------------------------------------------------------------


def memory() -> list[Figure]:
    """Memory of idle sessions and streams, and 1,000 sessions at once."""
    connected(NATIVE)  # whatever is loaded once
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    pairs = []
    began = time.perf_counter()
    for seed in range(SESSIONS // 2):
        pair = LinkPair(seed=seed)
        pair.connect()
        for side in (pair.a, pair.b):
            for kept in (side.sent, side.results, side.events):
                kept.clear()
        pairs.append(pair)
    took_s = time.perf_counter() - began
    sessions, _ = tracemalloc.get_traced_memory()
    for _ in range(64):
        for pair in pairs[:STREAMS]:
            pair.a.engine.open_stream(b"idle")
    streams, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    per_session = (sessions - before) / SESSIONS
    return [
        figure(
            "memory-idle-session",
            per_session / 1e3,
            "kB",
            "1,000 sessions, MB",
            per_session * SESSIONS / 1e6,
        ),
        figure(
            "memory-idle-stream",
            (streams - sessions) / (64 * STREAMS),
            "B",
            "a session",
            per_session,
        ),
        figure("connect-1000-sessions", took_s, "s", "sessions", SESSIONS),
    ]
