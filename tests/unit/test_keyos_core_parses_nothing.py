"""Core looks at headers: payloads of others pass through it untouched, whatever they are (16.1)."""

from __future__ import annotations

import ast
import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import primegap.keyos.core as core_package
from primegap.keyos.channel import channel_pair, read_object, seal_object
from primegap.keyos.core.switchboard import Switchboard
from primegap.keyos.frame import CALLER, MAX_INLINE_BYTES, Frame, Kind, encode_frame
from primegap.keyos.frame import parse_frame_untrusted as parse_frame
from primegap.keyos.manifest import PermissionTable, parse_manifest_untrusted

CORE: Final = Path(core_package.__file__).parent
DECODERS: Final = {"decode_message_untrusted", "loads", "load", "parse_manifest_untrusted"}
MAY_DECODE: Final = {
    "requests.py": {"decode_message_untrusted"},  # what is addressed to core itself
    "builtin.py": {"parse_manifest_untrusted"},  # the image's own manifests
    "main.py": {"loads"},  # the launcher's order
    "switches.py": {"loads"},  # its own file
    "measure.py": {"loads"},  # what core's own probe found
}
MANIFESTS: Final = [
    """
appId = "0x00000000000000000000000000000001"
role = "service"
name = "Service"
entry = "a:b"
profile = "service"
[servers."os/thing"]
Do = 7
""",
    """
appId = "0x00000000000000000000000000000002"
role = "app"
name = "App"
entry = "a:b"
profile = "app"
[permissions]
"os/thing" = ["Do"]
""",
]


def called(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                names.add(function.id)
            elif isinstance(function, ast.Attribute):
                names.add(function.attr)
    return names


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.name)
def test_only_what_is_for_core_itself_is_decoded(path: Path) -> None:
    used = called(ast.parse(path.read_text())) & DECODERS
    assert used <= MAY_DECODE.get(path.name, set())


class Board:
    """A switchboard with a service and an app, whose ends the test holds."""

    def __init__(self) -> None:
        table = PermissionTable([parse_manifest_untrusted(text.encode()) for text in MANIFESTS])
        self.board = Switchboard(table, answer=lambda caller, frame, fds: None)
        control, self.service_control = channel_pair()
        ours, self.service = self.board.service_pair("service")
        self.service_instance = self.start("service", control, ours)
        control, self.control = channel_pair()
        self.app_instance = self.start("app", control, None)
        self.board.process_ready("service")
        for sock in (self.service, self.control):
            sock.setblocking(False)

    def start(self, role: str, control: socket.socket, service: socket.socket | None) -> int:
        return self.board.process_started(
            role, control, service, on_control=lambda frame: None, on_lost=lambda: None
        )

    async def connect(self) -> socket.socket:
        self.control.send(encode_frame(Frame(kind=Kind.CONNECT, payload=b"os/thing")))
        data, fds = await receive(self.control)
        assert parse_frame(data).kind is Kind.CONNECTED
        connection = socket.socket(fileno=fds[0])
        connection.setblocking(False)
        return connection

    async def close(self) -> None:
        self.board.process_gone("app", self.app_instance)
        self.board.process_gone("service", self.service_instance)
        for sock in (self.service, self.control, self.service_control):
            sock.close()
        await asyncio.sleep(0)


async def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    async with asyncio.timeout(20):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(sock, 8192, 4)
            except BlockingIOError:
                await asyncio.sleep(0.001)
            else:
                return data, list(fds)


@given(payloads=st.lists(st.binary(max_size=MAX_INLINE_BYTES), min_size=1, max_size=5))
@settings(deadline=None, max_examples=25)
def test_whatever_bytes_pass_as_they_are_both_ways(payloads: list[bytes]) -> None:
    async def run() -> None:
        board = Board()
        connection = await board.connect()
        for number, payload in enumerate(payloads, 1):
            request = Frame(kind=Kind.REQUEST, message_id=7, correlation=number, payload=payload)
            connection.send(encode_frame(request))
            data, _ = await receive(board.service)
            arrived = parse_frame(data[CALLER.size :])
            assert (arrived.message_id, arrived.payload) == (7, payload)
            answer = Frame(kind=Kind.REPLY, correlation=arrived.correlation, payload=payload[::-1])
            board.service.send(encode_frame(answer))
            data, _ = await receive(connection)
            assert parse_frame(data).payload == payload[::-1]
        connection.close()
        await board.close()

    asyncio.run(run())


async def test_an_object_passes_as_the_very_object() -> None:
    board = Board()
    connection = await board.connect()
    content = os.urandom(100_000)
    sent = seal_object(content)
    request = Frame(kind=Kind.REQUEST, message_id=7, correlation=1, objects=1)
    socket.send_fds(connection, [encode_frame(request)], [sent])
    _, fds = await receive(board.service)
    (arrived,) = fds
    assert read_object(arrived) == content
    assert same_file(sent, arrived)
    os.close(sent)
    os.close(arrived)
    connection.close()
    await board.close()


async def test_what_the_kernel_cuts_is_answered_and_its_descriptors_are_closed() -> None:
    """P-2: without the router's table being asked at all."""
    board = Board()
    connection = await board.connect()
    before = set(os.listdir("/proc/self/fd"))
    for number in range(200):
        sent = seal_object(bytes(8192))
        refused = Frame(kind=Kind.REQUEST, message_id=8, correlation=number, objects=1)
        socket.send_fds(connection, [encode_frame(refused)], [sent])
        os.close(sent)
        data, _ = await receive(connection)
        assert parse_frame(data).kind is Kind.ERROR
        assert parse_frame(data).words[0] == 1
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(BlockingIOError):
        board.service.recv(100)
    connection.close()
    await board.close()


def same_file(one: int, other: int) -> bool:
    keys: list[Any] = [(os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (one, other)]
    return bool(keys[0] == keys[1])
