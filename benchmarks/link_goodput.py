"""Bytes through two engines in memory, against aioquic, the bare AEAD and the Bluetooth ceiling.

All of it counts processor time of one thread, so a busy machine slows both sides of a ratio alike.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from benchmarks.figure import Figure, figure
from primegap.quantumlink import NATIVE, REFERENCE, Suite
from primegap.quantumlink.session import StreamOptions
from primegap.quantumlink.session.simulation import LinkPair

RECORD_BODY = 8100
"Bytes of a full record's body, about."
MOVED_BYTES = 8_000_000
BLUETOOTH_CEILING = 173_000
"Bytes per second of the real link, measured elsewhere; the paced air has the same."
ROUNDS = 5
CHUNK = bytes(65_536)


def move(suite: Suite, size: int) -> float:
    """Move bytes from one engine to the other; return the seconds it took."""
    pair = LinkPair(suite=suite, delay_s=0.0)
    pair.connect()
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
    body = os.urandom(RECORD_BODY)
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


def goodput() -> list[Figure]:
    """Two engines in one process, both suites."""
    movers: dict[str, Callable[[], float]] = {
        "native": partial(move, NATIVE, MOVED_BYTES),
        "reference": partial(move, REFERENCE, MOVED_BYTES),
        "aioquic": partial(move_aioquic, MOVED_BYTES),
        "native-bare": partial(move_bare, ChaCha20Poly1305(os.urandom(32)), MOVED_BYTES),
        "reference-bare": partial(move_bare, AESGCM(os.urandom(32)), MOVED_BYTES),
    }
    taken: dict[str, list[float]] = {name: [] for name in movers}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits all
        for name, mover in movers.items():
            taken[name].append(mover())
    rate = {name: MOVED_BYTES / statistics.median(times) / 1e6 for name, times in taken.items()}
    figures = []
    for suite, aead in ((NATIVE, "ChaCha20-Poly1305"), (REFERENCE, "AES-256-GCM")):
        ours = rate[suite.name]
        end = "" if suite is NATIVE else f"-{suite.name}"
        figures += [
            figure(
                f"link-goodput-vs-aioquic{end}",
                ours,
                "MB/s",
                "aioquic, same bytes",
                rate["aioquic"],
            ),
            figure(
                f"link-goodput-vs-ble-ceiling{end}",
                ours,
                "MB/s",
                "the real Bluetooth ceiling",
                BLUETOOTH_CEILING / 1e6,
            ),
            figure(
                f"link-goodput-vs-bare-aead{end}",
                ours,
                "MB/s",
                f"{aead}, seal and open",
                rate[f"{suite.name}-bare"],
            ),
        ]
    return figures
