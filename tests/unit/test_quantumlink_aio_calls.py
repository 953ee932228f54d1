"""Calls over a live link: every modality, permissions, limits, cancellation, back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from itertools import permutations

import pytest

from primegap.quantumlink.aio import (
    ByteReader,
    ByteStream,
    ByteWriter,
    Call,
    CallRouter,
    CallTimeoutError,
    DownloadAnswer,
    Duplex,
    IncomingParts,
    LinkStream,
    LocalResetError,
    PeerFaultError,
    PeerLimitError,
    PeerRefusedError,
    PeerResetError,
    PeerTimeoutError,
    RefusedError,
    RequestTooLargeError,
    RpcClient,
    RpcServer,
    SessionEndedError,
    UnknownRouteError,
    allow_all,
)
from primegap.quantumlink.aio.simulation import DriverPair
from primegap.quantumlink.aio.virtual_clock import run_virtual
from primegap.quantumlink.api import BITCOIN_APP, DEBUG_APP, Empty, cbor_codec
from primegap.quantumlink.api.backup import (
    DownloadMagicBackup,
    DownloadMagicBackupHeader,
    DownloadMagicBackupNotFound,
    DownloadMagicBackupParams,
    SeedFingerprint,
    UploadMagicBackup,
    UploadMagicBackupError,
    UploadMagicBackupParams,
    UploadMagicBackupPartHeader,
    UploadMagicBackupResponse,
    UploadMagicBackupStored,
)
from primegap.quantumlink.api.bitcoin import (
    ActiveSeedFingerprint,
    RequestPassportActiveSeedFingerprint,
    RequestSignPsbt,
    SignPsbtParams,
    SignPsbtResponse,
    SignPsbtSigned,
    SubscribePassportActiveSeedFingerprint,
)
from primegap.quantumlink.api.debug import (
    DownloadBenchmarkHeader,
    DownloadBenchmarkParams,
    DownloadBenchmarkPartHeader,
    DownloadPassportBenchmark,
    EchoParams,
    EchoResponse,
    RequestEcho,
    RequestPassportEcho,
)
from primegap.quantumlink.api.security_check import (
    ChallengeProof,
    ChallengeRequest,
    DeviceGenuine,
    DeviceNotGenuine,
    RunSecurityCheck,
    RunSecurityCheckInitiatorEvent,
    RunSecurityCheckResponderEvent,
    SecurityCheckAnswer,
    SecurityCheckChallenge,
    SecurityCheckStart,
    SecurityCheckVerdict,
    VerificationError,
    VerificationResult,
)
from primegap.quantumlink.errors import LocalError
from primegap.quantumlink.identity import PeerBundle
from primegap.quantumlink.rpc import (
    AppRouteKey,
    BadValueError,
    LengthOverflowError,
    NotificationRoute,
    ProgressRoute,
    RequestRoute,
    ResetCode,
    RouteKey,
    ServiceRouteKey,
    TextCodec,
    TruncatedError,
)
from primegap.quantumlink.session import LinkConfig, NoSessionError, StreamOptions

Notify = NotificationRoute(name="Notify", key=AppRouteKey(DEBUG_APP, 90), request=TextCodec())
Count = ProgressRoute(
    name="Count",
    key=AppRouteKey(DEBUG_APP, 91),
    request=TextCodec(),
    progress=TextCodec(),
    answer=TextCodec(),
)
Text = RequestRoute(
    name="Text",
    key=AppRouteKey(DEBUG_APP, 92),
    request=TextCodec(),
    answer=TextCodec(),
    max_request_bytes=1000,
    max_answer_bytes=100,
)


@contextlib.asynccontextmanager
async def connected(
    *,
    authorise: Callable[[PeerBundle, RouteKey], bool] = allow_all,
    max_calls: int = 32,
    request_idle_s: float = 30.0,
    config: LinkConfig | None = None,
) -> AsyncIterator[tuple[DriverPair, RpcClient, RpcServer]]:
    """A phone that calls and a device that serves."""
    async with DriverPair(phone_config=config, device_config=config) as pair:
        await pair.connect()
        server = RpcServer(
            pair.device,
            keys=AppRouteKey,
            authorise=authorise,
            max_calls=max_calls,
            request_idle_s=request_idle_s,
        )
        yield pair, RpcClient(pair.phone), server
        await server.aclose()


def virtual(scenario: Coroutine[object, object, None]) -> None:
    run_virtual(scenario)


async def read_to_end(reader: ByteReader) -> bytes:
    data = bytearray()
    while piece := await reader.read():
        data += piece
    return bytes(data)


async def write_for_ever(writer: ByteWriter, written: list[int]) -> None:
    while True:
        await writer.write(bytes(1000))
        written.append(1000)


async def echo(call: Call, params: EchoParams) -> EchoResponse:
    return EchoResponse(message=params.message)


async def shout(call: Call, text: str) -> str:
    return text.upper()


# --- modalities -----------------------------------------------------------------------------------


@pytest.mark.scenario("session", 87)
def test_requests_in_both_directions() -> None:
    async def scenario() -> None:
        async with connected() as (pair, client, server):
            server.on_request(RequestPassportEcho, echo)
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)
            services.on_request(RequestEcho, echo)
            from_device = RpcClient(pair.device)
            for message in ("", "hi", "ü" * 50_000):
                params = EchoParams(message=message)
                assert (await client.request(RequestPassportEcho, params)).message == message
                assert (await from_device.request(RequestEcho, params)).message == message

    virtual(scenario())


def test_many_requests_at_once() -> None:
    async def scenario() -> None:
        async with connected(max_calls=64) as (_, client, server):
            server.on_request(Text, shout)
            answers = await asyncio.gather(*(client.request(Text, f"text {n}") for n in range(60)))
            assert answers == [f"TEXT {n}" for n in range(60)]

    virtual(scenario())


def test_a_large_psbt_travels_both_ways() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            psbt = b"psbt\xff" + bytes(range(256)) * 3000

            async def sign(call: Call, params: SignPsbtParams) -> SignPsbtResponse:
                return SignPsbtSigned(params.psbt[::-1])

            server.on_request(RequestSignPsbt, sign)
            params = SignPsbtParams(account_id="acc", psbt=psbt)
            assert await client.request(RequestSignPsbt, params) == SignPsbtSigned(psbt[::-1])

    virtual(scenario())


@pytest.mark.scenario("session", 87)
def test_notifications_arrive_and_are_not_answered() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            told: list[str] = []

            async def listen(call: Call, text: str) -> None:
                await asyncio.sleep(0.1)
                told.append(text)

            server.on_notification(Notify, listen)
            await client.notify(Notify, "one")
            await client.notify(Notify, "two")
            await asyncio.sleep(1)
            assert told == ["one", "two"]

    virtual(scenario())


@pytest.mark.scenario("session", 87)
def test_subscriptions_end_when_the_server_ends_them() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            seeds = [
                ActiveSeedFingerprint(fingerprint=text, has_passphrase=False) for text in "abc"
            ]

            async def watch(
                call: Call, params: Empty
            ) -> AsyncGenerator[ActiveSeedFingerprint, None]:
                for seed in seeds:
                    yield seed
                    await asyncio.sleep(5)

            server.on_subscription(SubscribePassportActiveSeedFingerprint, watch)
            events = client.subscribe(SubscribePassportActiveSeedFingerprint, Empty())
            assert [event async for event in events] == seeds

    virtual(scenario())


def test_leaving_a_subscription_stops_the_server() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            ends: list[str] = []

            async def watch(
                call: Call, params: Empty
            ) -> AsyncGenerator[ActiveSeedFingerprint, None]:
                try:
                    while True:
                        yield ActiveSeedFingerprint(fingerprint="f", has_passphrase=True)
                        await asyncio.sleep(1)
                finally:
                    ends.append("closed")

            server.on_subscription(SubscribePassportActiveSeedFingerprint, watch)
            async with client.subscribe(SubscribePassportActiveSeedFingerprint, Empty()) as events:
                assert (await anext(events)).has_passphrase
                assert server.running_calls == 1
            await asyncio.sleep(0.1)
            assert ends == ["closed"]
            assert server.running_calls == 0

            # Forgetting the iterator does it too, and so does saying so.
            async for _ in client.subscribe(SubscribePassportActiveSeedFingerprint, Empty()):
                break
            gc.collect()
            await asyncio.sleep(0.1)
            assert ends == ["closed"] * 2
            third = client.subscribe(SubscribePassportActiveSeedFingerprint, Empty())
            await third.start()
            third.cancel()
            await asyncio.sleep(0.1)
            assert ends == ["closed"] * 3
            with pytest.raises(LocalResetError):
                await anext(third)

    virtual(scenario())


def test_waiting_for_an_event_can_be_given_up_without_losing_it() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def watch(
                call: Call, params: Empty
            ) -> AsyncGenerator[ActiveSeedFingerprint, None]:
                await asyncio.sleep(2)
                yield ActiveSeedFingerprint(fingerprint="late", has_passphrase=True)

            server.on_subscription(SubscribePassportActiveSeedFingerprint, watch)
            events = client.subscribe(SubscribePassportActiveSeedFingerprint, Empty())
            await events.start()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 1)
            assert (await anext(events)).fingerprint == "late"

    virtual(scenario())


@pytest.mark.scenario("session", 87)
def test_progress_comes_before_the_answer() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def count(call: Call, text: str, report: Callable[[str], Awaitable[None]]) -> str:
                for number in range(int(text)):
                    await report(str(number))
                return "done"

            server.on_progress(Count, count)
            async with client.progress(Count, "3") as call:
                assert [value async for value in call] == ["0", "1", "2"]
                assert await call.answer() == "done"
            async with client.progress(Count, "5") as call:
                assert await call.answer() == "done"

    virtual(scenario())


def serve_benchmark(server: RpcServer) -> None:
    async def benchmark(
        call: Call,
        params: DownloadBenchmarkParams,
        answer: DownloadAnswer[DownloadBenchmarkHeader, DownloadBenchmarkPartHeader],
    ) -> None:
        body = bytes(range(256)) * (params.length // 256 + 1)
        body = body[: params.length]
        await answer.start(DownloadBenchmarkHeader(hash=hashlib.sha256(body).digest()))
        async with answer.part(DownloadBenchmarkPartHeader()) as part:
            await part.write(body)

    server.on_download(DownloadPassportBenchmark, benchmark)


@pytest.mark.scenario("session", 87)
def test_downloads_of_all_sizes() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            serve_benchmark(server)
            for length in (0, 1, 16_384, 2_000_000):
                params = DownloadBenchmarkParams(length=length)
                async with client.download(DownloadPassportBenchmark, params) as download:
                    bodies = [await part.read_all(length) async for part in download.parts]
                assert [len(body) for body in bodies] == [length]
                assert hashlib.sha256(bodies[0]).digest() == download.header.hash

    virtual(scenario())


@pytest.mark.scenario("api", 8)
def test_a_download_may_be_left_early_and_bounded() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            serve_benchmark(server)
            params = DownloadBenchmarkParams(length=2_000_000)
            async with client.download(DownloadPassportBenchmark, params) as download:
                part = await anext(download.parts)
                await anext(part)
            await asyncio.sleep(0.1)
            assert server.running_calls == 0  # it was told
            async with client.download(DownloadPassportBenchmark, params) as download:
                part = await anext(download.parts)
                with pytest.raises(LengthOverflowError):
                    await part.read_all(1000)
            async with client.download(DownloadPassportBenchmark, params) as download:
                pass
            await asyncio.sleep(0.1)
            assert server.running_calls == 0

    virtual(scenario())


def test_the_answer_of_a_download_is_written_in_order() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            header = DownloadBenchmarkHeader(hash=bytes(32))
            part_header = DownloadBenchmarkPartHeader()

            async def clumsy(
                call: Call,
                params: DownloadBenchmarkParams,
                answer: DownloadAnswer[DownloadBenchmarkHeader, DownloadBenchmarkPartHeader],
            ) -> None:
                with pytest.raises(LocalError):
                    answer.part(part_header)
                await answer.start(header)
                with pytest.raises(LocalError):
                    await answer.start(header)
                async with answer.part(part_header) as part:
                    await part.write(b"body")
                    with pytest.raises(LocalError):
                        await answer.part(part_header).__aenter__()
                with pytest.raises(LocalError):
                    await part.write(b"late")

            server.on_download(DownloadPassportBenchmark, clumsy)
            params = DownloadBenchmarkParams(length=4)
            async with client.download(DownloadPassportBenchmark, params) as download:
                bodies = [await part.read_all(10) async for part in download.parts]
            assert bodies == [b"body"]

    virtual(scenario())


def test_parts_that_are_not_read_are_passed_over() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def many(
                call: Call,
                params: DownloadBenchmarkParams,
                answer: DownloadAnswer[DownloadBenchmarkHeader, DownloadBenchmarkPartHeader],
            ) -> None:
                await answer.start(DownloadBenchmarkHeader(hash=bytes(32)))
                for number in range(5):
                    async with answer.part(DownloadBenchmarkPartHeader()) as part:
                        await part.write(bytes([number]) * 50_000)

            server.on_download(DownloadPassportBenchmark, many)
            params = DownloadBenchmarkParams(length=4)
            async with client.download(DownloadPassportBenchmark, params) as download:
                firsts = [(await anext(part))[0] async for part in download.parts]
            assert firsts == [0, 1, 2, 3, 4]

    virtual(scenario())


@pytest.mark.scenario("session", 87)
def test_a_download_without_parts() -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, _server):
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)

            async def find(
                call: Call,
                params: DownloadMagicBackupParams,
                answer: DownloadAnswer[DownloadMagicBackupHeader, Empty],
            ) -> None:
                await answer.start(DownloadMagicBackupNotFound())

            services.on_download(DownloadMagicBackup, find)
            params = DownloadMagicBackupParams(seed_fingerprint=SeedFingerprint(bytes(32)))
            client = RpcClient(pair.device)
            async with client.download(DownloadMagicBackup, params) as download:
                assert download.header == DownloadMagicBackupNotFound()
                assert [part async for part in download.parts] == []

    virtual(scenario())


def upload_params() -> UploadMagicBackupParams:
    return UploadMagicBackupParams(seed_fingerprint=SeedFingerprint(bytes(32)), hash=bytes(32))


@pytest.mark.scenario("session", 87)
def test_uploads_are_answered() -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, _server):
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)
            stored: list[bytes] = []

            async def store(
                call: Call,
                params: UploadMagicBackupParams,
                parts: IncomingParts[UploadMagicBackupPartHeader],
            ) -> UploadMagicBackupResponse:
                stored.extend([await part.read_all(1_000_000) async for part in parts])
                return UploadMagicBackupStored()

            services.on_upload(UploadMagicBackup, store)
            client = RpcClient(pair.device)
            async with client.upload(UploadMagicBackup, upload_params()) as upload:
                for body in (b"", b"small", bytes(300_000)):
                    async with upload.part(UploadMagicBackupPartHeader()) as part:
                        await part.write(body)
                assert await upload.answer() == UploadMagicBackupStored()
            assert stored == [b"", b"small", bytes(300_000)]

    virtual(scenario())


def test_an_upload_may_be_answered_before_it_is_read() -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, _server):
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)

            async def refuse(
                call: Call,
                params: UploadMagicBackupParams,
                parts: IncomingParts[UploadMagicBackupPartHeader],
            ) -> UploadMagicBackupResponse:
                return UploadMagicBackupError("full")

            services.on_upload(UploadMagicBackup, refuse)
            client = RpcClient(pair.device)
            async with client.upload(UploadMagicBackup, upload_params()) as upload:
                with pytest.raises(PeerResetError) as caught:
                    async with upload.part(UploadMagicBackupPartHeader()) as part:
                        await part.write(bytes(1_000_000))
                assert caught.value.reset_code == ResetCode.CANCELLED
                assert await upload.answer() == UploadMagicBackupError("full")

    virtual(scenario())


def test_an_abandoned_upload_ends_the_handler() -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, _server):
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)
            outcome: list[type[BaseException]] = []

            async def store(
                call: Call,
                params: UploadMagicBackupParams,
                parts: IncomingParts[UploadMagicBackupPartHeader],
            ) -> UploadMagicBackupResponse:
                try:
                    async for part in parts:
                        await part.read_all(1_000_000)
                except BaseException as error:
                    outcome.append(type(error))
                    raise
                return UploadMagicBackupStored()

            services.on_upload(UploadMagicBackup, store)
            client = RpcClient(pair.device)

            async def fail_half_way() -> None:
                async with (
                    client.upload(UploadMagicBackup, upload_params()) as upload,
                    upload.part(UploadMagicBackupPartHeader()) as part,
                ):
                    await part.write(b"half")
                    await asyncio.sleep(0.1)
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await fail_half_way()
            await asyncio.sleep(0.1)
            assert outcome in ([asyncio.CancelledError], [PeerResetError])
            assert services.running_calls == 0

    virtual(scenario())


@pytest.mark.scenario("session", 87)
@pytest.mark.scenario("api", 11)
@pytest.mark.parametrize(
    "verdict", [DeviceGenuine(), DeviceNotGenuine(), VerificationError("no network"), None]
)
def test_the_security_check(verdict: VerificationResult | None) -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, _server):
            services = RpcServer(pair.phone, keys=ServiceRouteKey, authorise=allow_all)

            async def check(
                call: Call,
                duplex: Duplex[RunSecurityCheckResponderEvent, RunSecurityCheckInitiatorEvent],
            ) -> None:
                assert await duplex.receive() == SecurityCheckStart()
                if verdict is None:
                    raise RefusedError(ResetCode.INTERNAL)
                await duplex.send(SecurityCheckChallenge(ChallengeRequest(data=b"c" * 104)))
                assert await duplex.receive() == SecurityCheckAnswer(ChallengeProof(b"p" * 189))
                await duplex.send(SecurityCheckVerdict(verdict))
                duplex.finish()
                assert await duplex.receive() is None

            services.on_duplex(RunSecurityCheck, check)
            client = RpcClient(pair.device)
            async with client.duplex(RunSecurityCheck) as duplex:
                await duplex.send(SecurityCheckStart())
                if verdict is None:
                    with pytest.raises(PeerFaultError):
                        await duplex.receive()
                    return
                assert await duplex.receive() == SecurityCheckChallenge(
                    ChallengeRequest(data=b"c" * 104)
                )
                await duplex.send(SecurityCheckAnswer(ChallengeProof(b"p" * 189)))
                duplex.finish()
                assert [event async for event in duplex] == [SecurityCheckVerdict(verdict)]

    virtual(scenario())


# --- who may call what ----------------------------------------------------------------------------


@pytest.mark.scenario("api", 12)
def test_a_peer_without_permission_is_refused_and_learns_nothing() -> None:
    async def scenario() -> None:
        def only_debug(peer: PeerBundle, key: RouteKey) -> bool:
            return key.scope == DEBUG_APP

        async with connected(authorise=only_debug) as (_, client, server):
            server.on_request(RequestPassportEcho, echo)
            assert (await client.request(RequestPassportEcho, EchoParams(message="x"))).message
            for route in (RequestPassportActiveSeedFingerprint,):  # served or not
                with pytest.raises(PeerRefusedError):
                    await client.request(route, Empty())

    virtual(scenario())


@pytest.mark.scenario("api", 6)
def test_unknown_routes_and_malformed_keys() -> None:
    async def scenario() -> None:
        async with connected() as (pair, client, _server):
            with pytest.raises(UnknownRouteError) as caught:
                await client.request(RequestPassportEcho, EchoParams(message="x"))
            assert caught.value.reset_code == 9
            app = bytes(16)
            for header in (b"", app, app[1:] + b"\1", app + b"\1\0", app + b"\x81\0"):
                stream = pair.phone.open_stream(header)
                await stream.writer.write(b"\xa0")
                with pytest.raises(PeerFaultError) as fault:
                    await stream.reader.read()
                assert fault.value.reset_code == ResetCode.PROTOCOL

    virtual(scenario())


def test_routes_are_registered_once_and_on_their_side() -> None:
    async def scenario() -> None:
        async with connected() as (_, _, server):
            server.on_request(RequestPassportEcho, echo)
            with pytest.raises(LocalError):
                server.on_request(RequestPassportEcho, echo)
            with pytest.raises(LocalError):
                server.on_request(RequestEcho, echo)
            server.on_raw_request(BITCOIN_APP, forward)
            with pytest.raises(LocalError):
                server.on_raw_request(BITCOIN_APP, forward)

    virtual(scenario())


def test_calls_need_a_connection() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            with pytest.raises(NoSessionError) as caught:
                await RpcClient(pair.phone).request(Text, "x")
            assert "connected" in caught.value.hint

    virtual(scenario())


# --- bytes only -----------------------------------------------------------------------------------


async def forward(header: bytes, body: bytes) -> bytes:
    if body == b"\xa0":
        raise RefusedError(1234567)
    return header + body


def test_a_process_that_forwards_sees_bytes_only() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            router = CallRouter(pair.device, keys=AppRouteKey, authorise=allow_all)
            router.on_raw_request(DEBUG_APP, forward, max_request_bytes=10)
            stream = pair.phone.open_stream(AppRouteKey(DEBUG_APP, 77).encode())
            await stream.writer.write(b"not CBOR")
            stream.writer.finish()
            assert await stream.reader.read() == AppRouteKey(DEBUG_APP, 77).encode() + b"not CBOR"
            assert await stream.reader.read() == b""
            assert await stream.reader.read() == b""
            client = RpcClient(pair.phone)
            with pytest.raises(PeerLimitError):
                await client.request(RequestPassportEcho, EchoParams(message="x"))
            empty = RequestRoute(
                name="Empty",
                key=AppRouteKey(DEBUG_APP, 78),
                request=cbor_codec(Empty),
                answer=cbor_codec(Empty),
            )
            with pytest.raises(PeerResetError) as caught:
                await client.request(empty, Empty())
            assert caught.value.reset_code == 1234567
            router.forget_scope(DEBUG_APP)
            with pytest.raises(UnknownRouteError):
                await client.request(empty, Empty())

    virtual(scenario())


def test_a_raw_call_sends_events_and_hears_of_its_end() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            router = CallRouter(pair.device, keys=AppRouteKey, authorise=allow_all)
            ended = asyncio.Event()

            async def serve(call: Call) -> None:
                assert call.peer == pair.phone_identity.bundle
                assert call.header == call.key.encode()
                assert await call.read_value() == b"\xa0"
                try:
                    while True:
                        codec = cbor_codec(ActiveSeedFingerprint)
                        seed = ActiveSeedFingerprint(fingerprint="f", has_passphrase=False)
                        await call.send_event(codec.encode(seed))
                        await asyncio.sleep(1)
                finally:
                    ended.set()

            router.on_scope(BITCOIN_APP, serve)
            client = RpcClient(pair.phone)
            async with client.subscribe(SubscribePassportActiveSeedFingerprint, Empty()) as events:
                assert (await anext(events)).fingerprint == "f"
                assert (await anext(events)).fingerprint == "f"
            await ended.wait()

    virtual(scenario())


# --- limits against a hostile or broken peer ------------------------------------------------------


@pytest.mark.scenario("session", 87)
def test_requests_and_answers_have_limits() -> None:
    async def scenario() -> None:
        async with connected() as (pair, client, server):

            async def repeat(call: Call, text: str) -> str:
                return text * 2

            server.on_request(Text, repeat)
            assert await client.request(Text, "x" * 50) == "x" * 100
            with pytest.raises(LengthOverflowError):  # the answer, on our side
                await client.request(Text, "x" * 51)
            with pytest.raises(RequestTooLargeError):  # before anything is sent
                await client.request(Text, "x" * 1001)
            larger = RequestRoute(
                name="Text", key=Text.key, request=TextCodec(), answer=TextCodec()
            )
            with pytest.raises(PeerLimitError):  # on the other side
                await client.request(larger, "x" * 1001)
            assert pair.phone.is_connected

    virtual(scenario())


def test_a_request_that_never_ends_holds_little_and_is_cut_off() -> None:
    async def scenario() -> None:
        async with connected() as (pair, _, server):
            server.on_request(Text, shout)
            stream = pair.phone.open_stream(Text.key.encode())
            written: list[int] = []
            with pytest.raises(PeerLimitError):
                await write_for_ever(stream.writer, written)
            assert sum(written) < 1_000_000

    virtual(scenario())


def test_a_caller_that_pauses_inside_its_request_is_cut_off() -> None:
    async def scenario() -> None:
        async with connected(request_idle_s=5.0) as (pair, _, server):
            server.on_request(Text, shout)
            stream = pair.phone.open_stream(Text.key.encode())
            for _ in range(4):  # slow is not idle
                await stream.writer.write(b"x")
                await asyncio.sleep(4)
            with pytest.raises(PeerTimeoutError):
                await stream.reader.read()
            assert server.running_calls == 0

    virtual(scenario())


def test_calls_beyond_the_limit_are_refused_until_others_end() -> None:
    async def scenario() -> None:
        async with connected(max_calls=3) as (_, client, server):

            async def wait(call: Call, text: str) -> str:
                await asyncio.sleep(5)
                return text

            server.on_request(Text, wait)
            calls = [asyncio.create_task(client.request(Text, "x")) for _ in range(3)]
            await asyncio.sleep(0.1)
            with pytest.raises(PeerLimitError):
                await client.request(Text, "y")
            assert await asyncio.gather(*calls) == ["x"] * 3
            assert await client.request(Text, "y") == "y"

    virtual(scenario())


def test_values_that_do_not_decode() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            server.on_request(RequestPassportEcho, echo)

            async def odd(call: Call, text: str) -> str:
                return "not CBOR"

            server.on_request(Text, odd)
            as_text = RequestRoute(
                name="Echo",
                key=RequestPassportEcho.key,
                request=TextCodec(),
                answer=TextCodec(),
            )
            with pytest.raises(PeerFaultError) as caught:
                await client.request(as_text, "not CBOR")
            assert caught.value.reset_code == ResetCode.CODEC
            as_echo = RequestRoute(
                name="Text",
                key=Text.key,
                request=TextCodec(),
                answer=cbor_codec(EchoResponse),
            )
            with pytest.raises(BadValueError):
                await client.request(as_echo, "x")

    virtual(scenario())


def test_an_answer_that_breaks_off() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def broken(call: Call) -> None:
                await call.read_value()
                await call.stream.writer.write(b"\1\0\0\0\0\0\0\0")
                call.finish()

            server.on_call(SubscribePassportActiveSeedFingerprint.key, broken)
            events = client.subscribe(SubscribePassportActiveSeedFingerprint, Empty())
            with pytest.raises(TruncatedError):
                await anext(events)
            assert [event async for event in events] == []

    virtual(scenario())


def test_a_handler_that_fails_does_not_take_the_link_down(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def fail(call: Call, text: str) -> str:
                raise ZeroDivisionError(text)

            server.on_request(Text, fail)
            with pytest.raises(PeerFaultError) as caught:
                await client.request(Text, "secret")
            assert caught.value.reset_code == ResetCode.INTERNAL
            server.on_request(RequestPassportEcho, echo)
            assert (await client.request(RequestPassportEcho, EchoParams(message="x"))).message

    with caplog.at_level(logging.ERROR):
        virtual(scenario())
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


def test_a_handler_may_refuse() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def refuse(call: Call, text: str) -> str:
                raise RefusedError

            server.on_request(Text, refuse)
            with pytest.raises(PeerRefusedError) as caught:
                await client.request(Text, "x")
            assert "device" in caught.value.hint

    virtual(scenario())


# --- giving up ------------------------------------------------------------------------------------


def test_cancelling_a_request_cancels_its_handler() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            outcome: list[str] = []

            async def review(call: Call, params: SignPsbtParams) -> SignPsbtResponse:
                try:
                    await asyncio.sleep(10_000)
                finally:
                    outcome.append("gone")
                raise AssertionError

            server.on_request(RequestSignPsbt, review)
            task = asyncio.create_task(
                client.request(RequestSignPsbt, SignPsbtParams(account_id="a", psbt=b"p"))
            )
            await asyncio.sleep(100)  # signing has no time limit
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.1)
            assert outcome == ["gone"]
            assert server.running_calls == 0

    virtual(scenario())


def test_a_late_answer_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def sleepy(call: Call, text: str) -> str:
                await asyncio.sleep(20)
                return text

            server.on_request(Text, sleepy)
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            with pytest.raises(CallTimeoutError) as caught:
                await client.request(Text, "x")
            assert loop.time() - started_s == pytest.approx(10, abs=0.1)
            assert "too long" in caught.value.hint
            await asyncio.sleep(0.1)
            assert server.running_calls == 0
            with pytest.raises(CallTimeoutError):
                await client.request(Text, "x", timeout_s=1)
            assert await client.request(Text, "x", timeout_s=None) == "x"

    virtual(scenario())


def test_a_time_out_of_the_program_is_its_own() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):
            serve_benchmark(server)
            params = DownloadBenchmarkParams(length=10)

            async def dawdle() -> None:
                async with client.download(DownloadPassportBenchmark, params):
                    async with asyncio.timeout(1):
                        await asyncio.sleep(2)

            with pytest.raises(TimeoutError):
                await dawdle()

    virtual(scenario())


def test_closing_the_server_resets_its_calls() -> None:
    async def scenario() -> None:
        async with connected() as (_, client, server):

            async def wait(call: Call, text: str) -> str:
                await asyncio.sleep(1000)
                return text

            server.on_request(Text, wait)
            task = asyncio.create_task(client.request(Text, "x"))
            await asyncio.sleep(0.1)
            await server.aclose()
            with pytest.raises(PeerResetError) as caught:
                await task
            assert caught.value.reset_code == ResetCode.CANCELLED

    virtual(scenario())


def test_the_end_of_the_session_ends_calls_on_both_sides() -> None:
    async def scenario() -> None:
        async with connected() as (pair, client, server):

            async def wait(call: Call, text: str) -> str:
                await asyncio.sleep(1000)
                return text

            server.on_request(Text, wait)
            task = asyncio.create_task(client.request(Text, "x", timeout_s=None))
            await asyncio.sleep(0.1)
            pair.device.close_session()
            with pytest.raises(SessionEndedError) as caught:
                await task
            assert "again" in caught.value.hint
            await asyncio.sleep(0.1)
            assert server.running_calls == 0

    virtual(scenario())


# --- streams --------------------------------------------------------------------------------------


async def open_pair(pair: DriverPair) -> tuple[LinkStream, ByteStream]:
    """Open a stream and return both ends."""
    arrived: asyncio.Future[ByteStream] = asyncio.get_running_loop().create_future()
    pair.device.on_stream(arrived.set_result)
    stream = pair.phone.open_stream(b"header")
    await stream.writer.write(b"!")
    other = await arrived
    assert await other.reader.read() == b"!"
    return stream, other


def test_a_slow_reader_holds_the_writer_back() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            written: list[int] = []
            writing = asyncio.create_task(write_for_ever(stream.writer, written))
            await asyncio.sleep(20)
            config = LinkConfig.tuned()
            bound = config.initial_stream_receive_window + config.stream_send_buffer_size
            assert bound - 1000 <= sum(written) <= bound
            received = 0
            while received < 500_000:
                received += len(await other.reader.read())
            await asyncio.sleep(1)
            # The window and the send buffer may have grown meanwhile.
            bound = config.max_stream_receive_window + config.max_stream_send_buffer_size
            assert received <= sum(written) <= received + bound + 1000
            writing.cancel()

    virtual(scenario())


@pytest.mark.scenario("session", 94)
def test_halves_end_on_their_own() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            stream.writer.finish()
            await stream.writer.wait_finished()
            assert await other.reader.read() == b""
            with pytest.raises(LocalError):
                await stream.writer.write(b"behind the end")
            await other.writer.write(b"answer")
            other.writer.reset(42)
            with pytest.raises(LocalResetError):
                await other.writer.write(b"more")
            with pytest.raises(PeerResetError) as caught:
                await read_to_end(stream.reader)
            assert caught.value.reset_code == 42
            with pytest.raises(PeerResetError):
                await stream.reader.read()

    virtual(scenario())


@pytest.mark.scenario("session", 94)
def test_a_reader_may_refuse_while_the_writer_goes_on() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            other.reader.reset(5)
            with pytest.raises(LocalResetError):
                await other.reader.read()
            with pytest.raises(PeerFaultError):
                await write_for_ever(stream.writer, [])
            await other.writer.write(b"still here")
            other.writer.finish()
            assert await stream.reader.read() == b"still here"

    virtual(scenario())


@pytest.mark.scenario("session", 100)
@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
@pytest.mark.parametrize("order", list(permutations(["write", "finish", "reset"])))
def test_bytes_end_and_failure_in_any_order(
    order: tuple[str, ...], pause_s: float, waiting: bool
) -> None:
    """Of end and failure the reader sees one, and always the same; what was taken is a prefix."""

    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            reading = asyncio.create_task(read_or_fail(other.reader)) if waiting else None
            written, refused = b"", []
            for step in order:
                try:
                    if step == "write":
                        await stream.writer.write(b"bytes")
                        written = b"bytes"
                    elif step == "finish":
                        stream.writer.finish()
                    else:
                        stream.writer.reset(42)
                except (LocalError, LocalResetError):
                    refused.append(step)
                await asyncio.sleep(pause_s)
            await asyncio.sleep(0.1)
            assert refused == [step for step in order if step_is_late(step, order)]
            taken, outcome = b"", ""
            while not outcome:
                piece = await (reading or asyncio.create_task(read_or_fail(other.reader)))
                reading = None
                taken, outcome = (taken + piece, "") if isinstance(piece, bytes) else (taken, piece)
            assert written.startswith(taken)
            assert outcome in {"end", "reset 42"}
            assert taken == written or outcome != "end"
            assert await read_or_fail(other.reader) == outcome

    virtual(scenario())


def step_is_late(step: str, order: tuple[str, ...]) -> bool:
    """Nothing is written or finished behind a reset, and nothing written behind the end."""
    before = order[: order.index(step)]
    return "reset" in before or (step == "write" and "finish" in before)


async def read_or_fail(reader: ByteReader) -> bytes | str:
    """Return the next bytes, or how the lane ended."""
    try:
        return await reader.read() or "end"
    except PeerResetError as error:
        return f"reset {error.reset_code}"


@pytest.mark.scenario("session", 94)
def test_forgotten_handles_reset_their_lane_as_dropped() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            codes: list[int] = []
            other.writer.on_failure(lambda: codes.append(1))
            del stream
            gc.collect()
            with pytest.raises(PeerResetError) as caught:
                await other.reader.read()
            assert caught.value.reset_code == ResetCode.DROPPED
            with pytest.raises(PeerResetError):
                await other.writer.wait_finished()
            assert codes == [1]
            other.writer.on_failure(lambda: codes.append(2))
            assert codes == [1, 2]

    virtual(scenario())


def test_a_lane_has_one_user_at_a_time() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            stream, other = await open_pair(pair)
            reading = asyncio.create_task(stream.reader.read())
            writing = asyncio.create_task(other.writer.write(bytes(1_000_000)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with pytest.raises(LocalError):
                await other.writer.write(b"x")
            await reading
            reading = asyncio.create_task(other.reader.read())
            await asyncio.sleep(0.1)
            with pytest.raises(LocalError):
                await other.reader.read()
            for task in (reading, writing):
                task.cancel()

    virtual(scenario())


def test_streams_are_forgotten_when_they_are_over() -> None:
    async def scenario() -> None:
        async with connected() as (pair, client, server):
            server.on_request(Text, shout)
            for _ in range(200):
                await client.request(Text, "x")
            await asyncio.sleep(0.1)
            for driver in (pair.phone, pair.device):
                assert driver._streams == {}
                assert driver._engine.streams() == []

    virtual(scenario())


def test_options_of_a_stream_reach_the_engine() -> None:
    async def scenario() -> None:
        async with DriverPair() as pair:
            await pair.connect()
            options = StreamOptions(send_buffer_size=10)
            stream = pair.phone.open_stream(b"header", options)
            pair.link.impair(pair.impairment)
            writing = asyncio.create_task(stream.writer.write(bytes(11)))
            await asyncio.sleep(0)
            assert not writing.done()
            writing.cancel()

    virtual(scenario())
