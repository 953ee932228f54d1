"""The published RPC vectors, played by the real client and server over scripted lanes.

The lanes follow the model the file describes: what was written is read before a reset of the writer
is seen, a reset by the reader discards the rest, and a half that has ended is not reset any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from primegap.quantumlink import Identity
from primegap.quantumlink.aio import (
    ByteStream,
    Call,
    DownloadAnswer,
    Duplex,
    IncomingParts,
    PeerResetError,
    RefusedError,
    RpcClient,
    RpcServer,
    allow_all,
    peer_reset_error,
)
from primegap.quantumlink.api import cbor_codec
from primegap.quantumlink.api.debug import EchoParams
from primegap.quantumlink.codec import MAX_U64
from primegap.quantumlink.identity import PeerBundle
from primegap.quantumlink.rpc import (
    BytesCodec,
    DownloadRoute,
    DuplexRoute,
    NotificationRoute,
    ProgressRoute,
    RequestRoute,
    ResetCode,
    RpcError,
    ServiceId,
    ServiceRouteKey,
    SubscriptionRoute,
    TextCodec,
    UnexpectedFrameKindError,
    UploadRoute,
)
from primegap.quantumlink.session.simulation import seeded_rng
from primegap.quantumlink.suite import NATIVE

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "quantumlink-v2-rpc-vectors.json").read_text()
)
PIECES: Final = (1, 2, 3, 5, 8, 13, 1_000_000)
ALL_PIECES: Final = (*range(1, 17), 1_000_000)
"For one exchange of each modality; cuts in other places take time and find the same."
PEER: Final[PeerBundle] = Identity.generate(NATIVE, "peer", seeded_rng("rpc-vectors")).bundle

Case = dict[str, Any]
Seen = list[Any]


class EchoCodec:
    """CBOR EchoParams, whose value is the message."""

    def encode(self, value: str) -> bytes:
        return cbor_codec(EchoParams).encode(EchoParams(message=value))

    def decode_untrusted(self, data: bytes) -> str:
        return cbor_codec(EchoParams).decode_untrusted(data).message


class HexCodec(BytesCodec):
    """A value that is itself, written as hexadecimal."""

    def encode(self, value: Any) -> bytes:
        return bytes.fromhex(value)

    def decode_untrusted(self, data: bytes) -> Any:
        return data.hex()


CODECS: Final[dict[str, Any]] = {"bytes": HexCodec(), "text": TextCodec(), "echo": EchoCodec()}


class Lane:
    """One direction of a scripted stream: writer at one end, reader at the other."""

    def __init__(self, piece: int = 1_000_000) -> None:
        self.bytes = b""
        self.writes: list[str] = []
        self.fin = False
        self.reset_code: int | None = None
        self.reset_by = ""
        self._piece = piece
        self._unread: deque[bytes] = deque()
        self._reader_over = False
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []

    def wire(self) -> Case:
        """Return the lane as the vectors describe it."""
        seen: Case = {"bytes": self.bytes.hex(), "fin": self.fin}
        if self.reset_code is not None:
            seen["reset"] = {"code": self.reset_code, "by": self.reset_by}
        return seen

    def push(self, data: bytes) -> None:
        self.bytes += data
        self._unread.extend(data[i : i + self._piece] for i in range(0, len(data), self._piece))
        self._changed.set()


class LaneWriterEnd:
    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def write(self, data: bytes) -> None:
        self._check()
        self._lane.push(data)

    def finish(self) -> None:
        self._check()
        self._lane.fin = True
        self._lane._changed.set()

    async def wait_finished(self) -> None:
        self._check()

    def reset(self, reset_code: int) -> None:
        if not self._lane.fin and self._lane.reset_code is None:
            self._lane.reset_code, self._lane.reset_by = reset_code, "writer"
            self._lane._changed.set()

    def on_failure(self, callback: Callable[[], None]) -> None:
        del callback  # in this model a handler runs to its end

    def _check(self) -> None:
        if self._lane.reset_by == "reader" and self._lane.reset_code is not None:
            raise peer_reset_error(self._lane.reset_code)
        assert self._lane.reset_code is None


class LaneReaderEnd:
    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def read(self) -> bytes:
        lane = self._lane
        while not lane._unread:
            if lane.reset_code is not None:
                lane._reader_over = True
                raise peer_reset_error(lane.reset_code)
            if lane.fin:
                lane._reader_over = True
                return b""
            lane._changed.clear()
            await lane._changed.wait()
        return lane._unread.popleft()

    def reset(self, reset_code: int) -> None:
        lane = self._lane
        if not lane._reader_over and lane.reset_code is None:
            lane._reader_over = True
            lane.reset_code, lane.reset_by = reset_code, "reader"
            lane._unread.clear()
            lane._changed.set()


class ScriptedStream:
    """One end of a stream of two lanes."""

    def __init__(self, header: bytes, *, inbound: Lane, outbound: Lane) -> None:
        self.stream_id = 0
        self.peer = PEER
        self.header = header
        self.reader = LaneReaderEnd(inbound)
        self.writer = LaneWriterEnd(outbound)

    def reset(self, reset_code: int) -> None:
        self.reader.reset(reset_code)
        self.writer.reset(reset_code)

    def drop(self) -> None:
        self.reset(ResetCode.DROPPED)


class Switchboard:
    """Opens scripted streams for a client, and hands them to a server."""

    def __init__(self, origin: Lane, back: Lane, *, serve: bool) -> None:
        self._origin = origin
        self._back = back
        self._serve = serve
        self._handler: Callable[[ByteStream], None] | None = None

    def open_stream(self, header: bytes) -> ByteStream:
        if self._serve:
            self.arrive(header)
        return ScriptedStream(header, inbound=self._back, outbound=self._origin)

    def on_stream(self, handler: Callable[[ByteStream], None]) -> None:
        self._handler = handler

    def arrive(self, header: bytes) -> None:
        assert self._handler is not None
        self._handler(ScriptedStream(header, inbound=self._origin, outbound=self._back))


KEY: Final = ServiceRouteKey(ServiceId(100), 1)
ROUTE_CLASSES: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "request": (RequestRoute, ("request", "answer")),
    "notification": (NotificationRoute, ("request",)),
    "subscription": (SubscriptionRoute, ("request", "event")),
    "progress": (ProgressRoute, ("request", "progress", "answer")),
    "download": (DownloadRoute, ("request", "header", "part_header")),
    "upload": (UploadRoute, ("request", "part_header", "answer")),
    "duplex": (DuplexRoute, ("caller_event", "handler_event")),
}


def route_of(case: Case) -> Any:
    kind, values = ROUTE_CLASSES[case["modality"]]
    return kind(
        name=case["name"],
        key=KEY,
        timeout_s=None,
        max_answer_bytes=MAX_U64,
        max_request_bytes=MAX_U64,
        **dict.fromkeys(values, CODECS[case["codec"]]),
    )


def server_route_of(case: Case) -> Any:
    kind, values = ROUTE_CLASSES[case["modality"]]
    return kind(
        name=case["name"],
        key=KEY,
        max_request_bytes=case.get("max_request_bytes", MAX_U64),
        **dict.fromkeys(values, CODECS[case["codec"]]),
    )


def error_name(error: RpcError | PeerResetError) -> str:
    if isinstance(error, PeerResetError):
        return "transport"
    if isinstance(error, UnexpectedFrameKindError):
        return f"unexpected_frame_kind {error.kind}"
    return {
        "Truncated": "truncated",
        "LengthOverflow": "length_overflow",
        "TrailingBytes": "trailing_bytes",
        "Codec": "codec",
    }[error.name]


# --- the two applications -------------------------------------------------------------------------


async def read_parts(parts: IncomingParts[Any], stop: Case | None, seen: Seen) -> None:
    """Read parts as an application of the vectors does."""
    number = 0
    try:
        while True:
            if stop is not None and stop.get("after_parts") == number:
                seen.append("reader_dropped")
                return
            try:
                part = await anext(parts)
            except StopAsyncIteration:
                seen.append("end")
                return
            entry: Case = {"part": part.header, "body": ""}
            seen.append(entry)
            if stop is not None and stop.get("in_part") == number:
                for _ in range(stop["chunks"]):
                    entry["body"] += (await anext(part)).hex()
                entry["left"] = True
                return
            try:
                async for piece in part:
                    entry["body"] += piece.hex()
            except (RpcError, PeerResetError) as error:
                entry["error"] = error_name(error)
                raise
            number += 1
    except (RpcError, PeerResetError) as error:
        if not (seen and isinstance(seen[-1], dict) and "error" in seen[-1]):
            seen.append({"error": error_name(error)})
        raise


async def run_client(case: Case, route: Any, client: RpcClient, seen: Seen) -> None:
    """Call as the vectors' caller does."""
    spec = case.get("client", {})
    request = spec.get("request", "" if case["codec"] != "echo" else "ping")
    try:
        match case["modality"]:
            case "request":
                seen.append({"response": await client.request(route, request)})
            case "notification":
                await client.notify(route, request)
                seen.append("sent")
            case "subscription":
                subscription = client.subscribe(route, request)
                try:
                    async for event in subscription:
                        seen.append({"event": event})
                    seen.append("end")
                except RpcError as error:
                    seen.append({"error": error_name(error)})
                    assert [event async for event in subscription] == []
                    seen.append({"after_error": True})
            case "progress":
                async with client.progress(route, request) as call:
                    async for value in call:
                        seen.append({"progress": value})
                    seen.append({"response": await call.answer()})
            case "download":
                async with client.download(route, request) as download:
                    seen.append({"header": download.header})
                    stop = spec.get("stop", case.get("stop"))
                    await read_parts(download.parts, stop, seen)
            case "upload":
                await run_upload(spec, route, client, seen, request)
            case "duplex":
                async with client.duplex(route) as duplex:
                    for event in spec.get("send", []):
                        await duplex.send(event)
                    if not spec or spec["finish"]:
                        duplex.finish()
                    else:
                        duplex._stream.writer.reset(ResetCode.DROPPED)  # its handle is dropped
                    async for event in duplex:
                        seen.append({"event": event})
                    seen.append("end")
    except (RpcError, PeerResetError) as error:
        if not any(isinstance(entry, dict) and "error" in entry for entry in seen):
            seen.append({"error": error_name(error)})


async def run_upload(spec: Case, route: Any, client: RpcClient, seen: Seen, request: Any) -> None:
    async with client.upload(route, request) as upload:
        for part in spec.get("parts", []):
            try:
                async with upload.part(part["header"]) as body:
                    for chunk in part["chunks"]:
                        await body.write(bytes.fromhex(chunk))
                    if part.get("abandon"):
                        raise asyncio.CancelledError
            except asyncio.CancelledError:
                seen.append("part_dropped")
        if spec.get("drop"):
            seen.append("dropped")
            return
        seen.append({"response": await upload.answer()})


def register(case: Case, route: Any, server: RpcServer, seen: Seen) -> None:
    """Serve as the vectors' handler does."""
    spec = case["server"]

    def drop_if(*, dropped: bool) -> None:
        if "reset" in spec:
            raise RefusedError(spec["reset"])
        if dropped:
            raise RefusedError(ResetCode.DROPPED)

    async def on_request(call: Call, request: Any) -> Any:
        seen.append({"request": request})
        drop_if(dropped="respond" not in spec)
        return spec["respond"]

    async def on_notification(call: Call, payload: Any) -> None:
        seen.append({"payload": payload})

    async def on_subscription(call: Call, request: Any) -> AsyncGenerator[Any, None]:
        seen.append({"request": request})
        for event in spec["send"]:
            yield event
        drop_if(dropped=not spec.get("finish"))

    async def on_progress(
        call: Call, request: Any, report: Callable[[Any], Awaitable[None]]
    ) -> Any:
        seen.append({"request": request})
        for value in spec["send"]:
            await report(value)
        drop_if(dropped="respond" not in spec)
        return spec["respond"]

    async def on_download(call: Call, request: Any, answer: DownloadAnswer[Any, Any]) -> None:
        seen.append({"request": request})
        if "header" not in spec:
            drop_if(dropped=True)
        await answer.start(spec["header"])
        for part in spec.get("parts", []):
            async with answer.part(part["header"]) as body:
                for chunk in part["chunks"]:
                    await body.write(bytes.fromhex(chunk))
                if part.get("abandon"):
                    raise RefusedError(ResetCode.DROPPED)
        drop_if(dropped=not spec.get("finish"))

    async def on_upload(call: Call, request: Any, parts: IncomingParts[Any]) -> Any:
        seen.append({"request": request})
        with contextlib.suppress(RpcError):  # it answers all the same
            await read_parts(parts, spec.get("stop"), seen)
        return spec["respond"]

    async def on_duplex(call: Call, duplex: Duplex[Any, Any]) -> None:
        async def send() -> None:
            for event in spec["send"]:
                await duplex.send(event)
            duplex.finish()

        if spec.get("send_first"):
            await send()
        try:
            async for event in duplex:
                seen.append({"event": event})
            seen.append("end")
        except (RpcError, PeerResetError) as error:
            seen.append({"error": error_name(error)})
        if not spec.get("send_first"):
            await send()

    handlers: dict[str, tuple[Callable[[Any, Any], None], Any]] = {
        "request": (server.on_request, on_request),
        "notification": (server.on_notification, on_notification),
        "subscription": (server.on_subscription, on_subscription),
        "progress": (server.on_progress, on_progress),
        "download": (server.on_download, on_download),
        "upload": (server.on_upload, on_upload),
        "duplex": (server.on_duplex, on_duplex),
    }
    add, handler = handlers[case["modality"]]
    add(route, handler)


def handler_sees(case: Case) -> Seen:
    """Return what the vectors' handler saw, without what ours is not told.

    A request that does not decode never reaches a typed handler, and the fate of its answer is not
    its business.
    """
    told = [
        entry
        for entry in case["server_sees"]
        if not (isinstance(entry, dict) and entry.keys() & {"respond_ok", "finish_ok"})
    ]
    if told and isinstance(told[0], dict) and "error" in told[0] and case["modality"] != "duplex":
        return []
    return told


def wire_of(case: Case, name: str) -> Case:
    lane = {key: case[name][key] for key in ("bytes", "fin", "reset") if key in case[name]}
    if case["name"] == "upload_many":  # we write no chunks without bytes, which mean nothing
        lane["bytes"] = lane["bytes"].replace("02" + 16 * "0", "")
    return lane


async def settle() -> None:
    for _ in range(400):
        await asyncio.sleep(0)


def merged(seen: Seen, case: Case) -> Seen:
    """Leave out what this client does not tell: reading once more after a transport error."""
    if {"error": "transport"} in seen:
        return [entry for entry in seen if entry != {"after_error": True}]
    return seen


# --- the vectors ----------------------------------------------------------------------------------


@pytest.mark.scenario("session", 78, 79, 80, 81, 82, 84)
@pytest.mark.scenario("api", 7)
@pytest.mark.parametrize("case", VECTORS["exchanges"], ids=lambda case: case["name"])
async def test_exchange(case: Case) -> None:
    for piece in ALL_PIECES if "_bytes_10" in case["name"] else PIECES:
        origin, back = Lane(piece), Lane(piece)
        board = Switchboard(origin, back, serve=True)
        client_seen: Seen = []
        server_seen: Seen = []
        server = RpcServer(board, keys=ServiceRouteKey, authorise=allow_all)
        register(case, server_route_of(case), server, server_seen)
        await run_client(case, route_of(case), RpcClient(board), client_seen)
        await settle()
        assert server.running_calls == 0
        assert client_seen == merged(case["client_sees"], case), piece
        assert server_seen == handler_sees(case), piece
        assert origin.wire() == wire_of(case, "origin_lane"), piece
        assert back.wire() == wire_of(case, "return_lane"), piece


@pytest.mark.scenario("session", 82, 86)
@pytest.mark.scenario("api", 8, 10)
@pytest.mark.parametrize("case", VECTORS["client_reads"], ids=lambda case: case["name"])
async def test_client_reads(case: Case) -> None:
    for piece in PIECES:
        back = Lane(piece)
        board = Switchboard(Lane(), back, serve=False)
        for chunk in case["return_chunks"]:
            back.push(bytes.fromhex(chunk))
        if case["end"] == "fin":
            back.fin = True
        elif case["end"] == "reset":
            back.reset_code, back.reset_by = case.get("code", 1), "writer"
        seen: Seen = []
        task = asyncio.ensure_future(run_client(case, route_of(case), RpcClient(board), seen))
        await settle()
        assert task.done() is not case.get("waiting", False)
        code = back.reset_code if back.reset_by == "reader" else None
        assert code == case.get("return_lane_reset"), piece
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        expected = merged(case["client_sees"], case)
        if case.get("stop", {}).get("chunks"):  # how much one piece is depends on the cut
            assert expected[-1]["body"].startswith(seen[-1]["body"])
            seen[-1]["body"] = expected[-1]["body"]
        assert seen == expected, piece


def play_server(case: Case, header: bytes, piece: int) -> tuple[Lane, Lane, RpcServer, Seen]:
    origin, back = Lane(piece), Lane()
    board = Switchboard(origin, back, serve=True)
    seen: Seen = []
    server = RpcServer(board, keys=ServiceRouteKey, authorise=allow_all)
    register(case, server_route_of(case), server, seen)
    for chunk in case["origin_chunks"]:
        origin.push(bytes.fromhex(chunk))
    if case["end"] == "fin":
        origin.fin = True
    elif case["end"] == "reset":
        origin.reset_code, origin.reset_by = case.get("code", 1), "writer"
    board.arrive(header)
    return origin, back, server, seen


@pytest.mark.scenario("session", 83, 85)
@pytest.mark.scenario("api", 9)
@pytest.mark.parametrize("case", VECTORS["server_reads"], ids=lambda case: case["name"])
async def test_server_reads(case: Case) -> None:
    for piece in PIECES:
        origin, back, server, seen = play_server(case, KEY.encode(), piece)
        await settle()
        assert bool(server.running_calls) is case.get("waiting", False)
        code = origin.reset_code if origin.reset_by == "reader" else None
        assert code == case.get("origin_lane_reset"), piece
        assert back.wire() == wire_of(case, "return_lane"), piece
        assert seen == handler_sees(case), piece
        await server.aclose()


@pytest.mark.parametrize("case", VECTORS["routing"], ids=lambda case: case["name"])
async def test_routing(case: Case) -> None:
    origin, back, server, seen = play_server(case, bytes.fromhex(case["header"]), 1_000_000)
    await settle()
    assert bool(seen) is case["dispatched"]
    assert server.running_calls == 0
    code = origin.reset_code if origin.reset_by == "reader" else None
    assert code == case.get("origin_lane_reset")
    assert back.wire() == wire_of(case, "return_lane")
