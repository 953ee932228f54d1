"""An app that speaks to core in every wrong way, one attack after the other."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import cbor2
from tests.e2e.hostile.raw import DATA, attempt, wait_for_file, write_report
from tests.e2e.hostile.vault_api import MESSAGES, SERVER
from tests.e2e.hostile.wire import Control, Wire, header

from primegap.keyos.channel import ALL_SEALS, F_ADD_SEALS, MAX_QUEUED_FRAMES
from primegap.keyos.errors import Status
from primegap.keyos.frame import DEFAULT_OBJECT_BYTES, MAX_FRAME_BYTES, Frame, Kind, encode_frame

if TYPE_CHECKING:
    from primegap.keyos.process import Process

MFD_NOEXEC_SEAL: Final = 0x0008
SEAL_EXEC: Final = 0x0020
SO_PASSRIGHTS: Final = 83
PING: Final = MESSAGES["Ping"]
TAKE: Final = MESSAGES["Take"]
HOLD: Final = MESSAGES["Hold"]


async def main(process: Process) -> None:
    """Carry out the attacks that the test ordered."""
    process.serve()
    control = Control(process)
    for name in process.config["attacks"]:
        await wait_for_file(f"go-{name}")
        write_report({"result": ATTACKS[name](control)}, name)
    await wait_for_file("go-on-for-ever")


def usable(wire: Wire) -> bool:
    """Whether a plain call still works."""
    try:
        reply = wire.call(PING, 0xABCD)
    except (OSError, TimeoutError):
        return False
    return reply is not None and reply.kind is Kind.REPLY


# -- forged headers ------------------------------------------------------------------------------


def headers(control: Control) -> dict[str, Any]:
    cases = {f"kind {kind}": header(kind=kind) for kind in range(256) if kind != Kind.REQUEST}
    cases |= {
        "version 0": header(version=0),
        "version 2": header(version=2),
        "flags": header(flags=1),
        "reserved": header(rest=bytes(10) + b"\x01"),
        "length too large": header(length=2),
        "length too small": header(length=0),
        "length enormous": header(length=0xFFFFFFFF),
        "object without descriptor": header(objects=1, length=0)[:-1],
        "two objects": header(objects=2, length=0)[:-1],
        "object with inline payload": header(objects=1),
        "one byte": b"\x01",
        "header cut": header()[:63],
        "caller header in front": bytes(32) + header(),
    }
    found: dict[str, Any] = {}
    wire = control.must_connect(SERVER)
    for data in cases.values():
        wire.send(data)
    # One question after all of them: what came before it answered an attack.
    answers: Counter[str] = Counter()
    wire.request(PING, 0xABCD)
    while (reply := wire.receive()) is not None:
        if reply[0].correlation == 0xABCD:
            break
        answers[f"{reply[0].kind.name} {reply[0].words[0]}"] += 1
    found["answers"] = dict(answers)
    found["usable"] = usable(wire)
    for name, data in {
        "too long": header(length=5000) + bytes(5000),
        "longest": header() + bytes(MAX_FRAME_BYTES),
        "empty": b"",
    }.items():
        wire = control.must_connect(SERVER)
        wire.send(data)
        found[name] = wire.outcome(2.0)
    return found


# -- descriptors ---------------------------------------------------------------------------------


def memory_object(size: int, seals: int, *, program: bool = False) -> int:
    no_program = 0 if program or not ALL_SEALS & SEAL_EXEC else MFD_NOEXEC_SEAL
    descriptor = os.memfd_create("attack", os.MFD_ALLOW_SEALING | no_program)
    os.write(descriptor, cbor2.dumps([bytes(size)]))
    fcntl.fcntl(descriptor, F_ADD_SEALS, seals)
    return descriptor


def descriptors(control: Control) -> dict[str, Any]:
    own = DATA / "own"
    own.write_bytes(b"x" * 8192)
    wire = control.must_connect(SERVER)
    pipe_read, pipe_write = os.pipe()
    path_only = os.open(own, os.O_PATH)
    cases = {
        "not sealed": memory_object(5000, 0),
        "no write seal": memory_object(5000, ALL_SEALS & ~8),
        "no grow seal": memory_object(5000, ALL_SEALS & ~4),
        "no shrink seal": memory_object(5000, ALL_SEALS & ~2),
        "no seal on seals": memory_object(5000, ALL_SEALS & ~1),
        "only future writes": memory_object(5000, (ALL_SEALS & ~8) | 16),
        "one byte too large": memory_object(DEFAULT_OBJECT_BYTES - 5, ALL_SEALS),
        "a program": memory_object(5000, ALL_SEALS, program=True),
        "pipe": pipe_read,
        "regular file": os.open(own, os.O_RDONLY),
        "path": path_only,
        "device": os.open("/dev/zero", os.O_RDONLY),
        "folder": os.open(DATA, os.O_RDONLY),
        "channel": os.dup(wire.sock.fileno()),
        "control channel": os.dup(control.sock.fileno()),
        "event": os.eventfd(0),
    }
    found: dict[str, Any] = {}
    for number, (name, descriptor) in enumerate(cases.items(), 1):
        wire.request(TAKE, number, fds=[descriptor])
        found[name] = wire.outcome(0.5)
        os.close(descriptor)
    os.close(pipe_write)
    good = memory_object(5000, ALL_SEALS)
    wire.request(TAKE, 100, fds=[good])
    found["sealed as it must be"] = wire.outcome(2.0)
    found["write to what was sent"] = attempt(lambda: os.pwrite(good, b"x", 0))
    found["map what was sent"] = attempt(lambda: mmap.mmap(good, 4096))
    two = Frame(kind=Kind.REQUEST, message_id=TAKE, correlation=101, objects=1)
    wire.send(encode_frame(two), [good, good])
    found["two descriptors"] = wire.outcome()
    inline = Frame(kind=Kind.REQUEST, message_id=TAKE, correlation=102, payload=b"\x80")
    wire.send(encode_frame(inline), [good])
    found["descriptor with inline payload"] = wire.outcome()
    found["usable"] = usable(wire)
    for count in (5, 60):
        wire = control.must_connect(SERVER)
        wire.send(encode_frame(two), [good] * count)
        found[f"{count} descriptors"] = wire.outcome(2.0)
    control.send(encode_frame(Frame(kind=Kind.LOG, payload=b"with a descriptor")), [good])
    os.close(good)
    # An object whose writer still has it mapped cannot be sealed at all.
    mapped = os.memfd_create("mapped", os.MFD_ALLOW_SEALING)
    os.write(mapped, bytes(8192))
    with mmap.mmap(mapped, 8192):
        found["seal while mapped"] = attempt(lambda: fcntl.fcntl(mapped, F_ADD_SEALS, ALL_SEALS))
    os.close(mapped)
    # A stream of descriptors, to see whether core keeps any.
    sent = 0
    while sent < 300:
        opened = control.connect(SERVER)
        if not isinstance(opened, Wire):  # core has not seen yet that the last ones are closed
            assert opened == f"ERROR {Status.BUSY.value}", opened
            time.sleep(0.01)
            continue
        extra = memory_object(10, 0)
        opened.request(TAKE, 1, fds=[extra])
        os.close(extra)
        opened.close()
        sent += 1
    return found


# -- names, ids, identity ------------------------------------------------------------------------


def names(control: Control) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (
        "os/security",
        "os/other",
        "os/nobody",
        "vault",
        "OS/VAULT",
        "os/vault\0",
        "os/vault/",
        "../os/vault",
        "",
        "x" * 4000,
        "\N{RIGHT-TO-LEFT OVERRIDE}os/vault",
    ):
        answer = control.connect(name)
        found[name[:16]] = answer if isinstance(answer, str) else "CONNECTED"
    answer = control.connect(b"\xff\xfe\x00")
    found["not text"] = answer if isinstance(answer, str) else "CONNECTED"
    # Kinds that only core may send, on the control channel.
    for kind in Kind:
        if kind not in (Kind.CONNECT, Kind.LOG):
            control.send(encode_frame(Frame(kind=kind, correlation=1, payload=SERVER.encode())))
    found["control answers"] = control.outcome()
    for number in range(3000):
        answer = control.connect(f"os/name-{number}")
        if answer != "ERROR 1":
            found[f"os/name-{number}"] = str(answer)
    return found


def message_ids(control: Control) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for server in (SERVER, "os/core"):
        wire = control.must_connect(server)
        answers: Counter[str] = Counter()
        ids = [n for n in (*range(256), 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF) if n != PING]
        for message_id in ids:
            if server == SERVER and message_id in MESSAGES.values() and message_id != 8:
                continue
            wire.request(message_id, 1000 + message_id)
            answers[wire.outcome(2.0)] += 1
        found[server] = dict(answers)
        wire.close()
    return found


def identity(control: Control) -> dict[str, Any]:
    """Claim to be somebody else in every field there is."""
    wire = control.must_connect(SERVER)
    other = bytes(15) + b"\x02"
    wire.send(
        encode_frame(
            Frame(
                kind=Kind.REQUEST,
                message_id=TAKE,
                correlation=1,
                words=(1, 2, 3, int.from_bytes(other[8:], "big")),
                payload=cbor2.dumps([other]),
            )
        )
    )
    found: dict[str, Any] = {"claimed in the payload": wire.outcome(2.0)}
    for name, credentials in {
        "own": (os.getpid(), os.getuid(), os.getgid()),
        "root": (1, 0, 0),
        "host": (os.getpid() + 1, os.getuid(), os.getgid()),
    }.items():
        ancillary = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", *credentials))]
        found[f"credentials {name}"] = attempt(
            lambda a=ancillary: wire.sock.sendmsg([header(correlation=7)], a)  # type: ignore[misc]
        )
    found["after credentials"] = wire.outcome(2.0)
    wire.close()
    # The peer of a channel is core; nothing can be done with its name.
    sock = control.sock
    found["peer"] = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, 17, 12))[0]
    return found


def answers(control: Control) -> dict[str, Any]:
    """Send answers, cancels and repeated correlations as a client."""
    wire = control.must_connect(SERVER)
    found: dict[str, Any] = {}
    for kind in (Kind.REPLY, Kind.ERROR, Kind.CONNECT, Kind.CONNECTED, Kind.LOG, Kind.READY):
        for correlation in (0, 1, 5, 77):
            wire.send(encode_frame(Frame(kind=kind, correlation=correlation)))
            found[f"{kind.name} {correlation}"] = wire.outcome()
    wire.send(encode_frame(Frame(kind=Kind.CANCEL, correlation=4711)))
    found["cancel of nothing"] = wire.outcome()
    # The same correlation while the first request waits.
    wire.request(HOLD, 42)
    wire.request(PING, 42)
    found["reuse"] = wire.outcome(2.0)
    wire.send(encode_frame(Frame(kind=Kind.CANCEL, correlation=42)))
    wire.send(encode_frame(Frame(kind=Kind.CANCEL, correlation=42)))
    found["after cancel"] = wire.outcome()
    wire.request(PING, 42)
    found["again"] = wire.outcome(2.0)
    found["usable"] = usable(wire)
    return found


# -- floods --------------------------------------------------------------------------------------


def flood(control: Control) -> dict[str, Any]:
    """10 000 requests without reading one answer."""
    wire = control.must_connect(SERVER)
    sent = blocked = 0
    end = time.monotonic() + 1.0
    wire.sock.setblocking(False)
    while sent < 10_000 and time.monotonic() < end:
        try:
            wire.send(header(correlation=sent))
            sent += 1
        except BlockingIOError:
            blocked += 1
            time.sleep(0.002)
        except OSError:
            break
    return {"sent": sent, "blocked": blocked}


def flood_read(control: Control) -> dict[str, Any]:
    """Requests as fast as they are answered, allowed, forbidden and malformed ones."""
    wire = control.must_connect(SERVER)
    answers: Counter[str] = Counter()
    sent = 0
    end = time.monotonic() + 0.8
    while sent < 30_000 and time.monotonic() < end:
        for message_id in (PING, 8, 9999):
            for _ in range(8):
                wire.send(header(correlation=sent, message_id=message_id))
                sent += 1
        wire.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                reply = wire.sock.recv(8192)
                answers[str(reply[1])] += 1
        wire.sock.settimeout(5)
    return {"sent": sent, "answers": dict(answers)}


def flood_cancel(control: Control) -> dict[str, Any]:
    """Requests that are cancelled at once: neither they nor their objects may pile up anywhere."""
    wire = control.must_connect(SERVER)
    sent = 0
    end = time.monotonic() + 1.2
    wire.sock.setblocking(False)
    good = memory_object(5000, ALL_SEALS)
    while time.monotonic() < end:
        try:
            if sent % 3:
                wire.send(header(correlation=sent, message_id=HOLD))
            else:
                wire.request(TAKE, sent, fds=[good])
            wire.send(encode_frame(Frame(kind=Kind.CANCEL, correlation=sent)))
            sent += 1
        except BlockingIOError:
            time.sleep(0.001)
        with contextlib.suppress(BlockingIOError):
            while wire.sock.recv(8192):
                pass
    return {"sent": sent}


def park(control: Control) -> dict[str, Any]:
    """As many waiting requests as core allows, on as many connections as it allows."""
    wires = []
    while isinstance(wire := control.connect(SERVER), Wire):
        wires.append(wire)
        if len(wires) > 100:
            break
    answers: Counter[str] = Counter()
    for wire in wires:
        for correlation in range(80):
            wire.request(HOLD, correlation)
    for wire in wires:
        with contextlib.suppress(TimeoutError):
            while (reply := wire.receive(0.05)) is not None:
                answers[f"{reply[0].kind.name} {reply[0].words[0]}"] += 1
    KEPT.extend(wires)
    return {"connections": len(wires), "refusal": str(wire), "answers": dict(answers)}


KEPT: Final[list[Wire]] = []


def unpark(control: Control) -> dict[str, Any]:
    for wire in KEPT:
        wire.close()
    KEPT.clear()
    # Connections and slots come back when core has seen the ends and the service has answered.
    end = time.monotonic() + 2.0
    works = False
    while not works and time.monotonic() < end:
        answer = control.connect(SERVER)
        if isinstance(answer, Wire):
            works = usable(answer)
            answer.close()
        time.sleep(0.01)
    return {"usable": works}


def wait_for_late(control: Control) -> dict[str, Any]:
    """Ask for a service that does not run yet, over and over."""
    for correlation in range(200):
        control.send(
            encode_frame(Frame(kind=Kind.CONNECT, correlation=correlation, payload=b"os/late"))
        )
    refused = 0
    with contextlib.suppress(TimeoutError):
        while (reply := control.receive(0.1)) is not None:
            refused += reply[0].kind is Kind.ERROR
    return {"refused": refused}


def never_read(control: Control) -> dict[str, Any]:
    """Ask for large answers and read none of them."""
    wire = control.must_connect(SERVER)
    wire.sock.setblocking(False)
    sent = 0
    end = time.monotonic() + 1.0
    size = cbor2.dumps([1 << 20])
    while time.monotonic() < end:
        frame = Frame(kind=Kind.REQUEST, message_id=MESSAGES["Big"], correlation=sent, payload=size)
        try:
            wire.send(encode_frame(frame))
            sent += 1
        except BlockingIOError:
            time.sleep(0.002)
        except OSError:
            break
    KEPT.append(wire)
    return {"sent": sent}


def refuse_descriptors(control: Control) -> dict[str, Any]:
    """Tell the kernel to let no descriptor through to this end: core's answers then fail."""
    wire = control.must_connect(SERVER)
    found: dict[str, Any] = {}
    off = array.array("i", [0])
    found["option"] = attempt(lambda: wire.sock.setsockopt(1, SO_PASSRIGHTS, off.tobytes()))
    size = cbor2.dumps([100_000])
    for correlation in range(3):
        with contextlib.suppress(OSError):
            wire.request(MESSAGES["Big"], correlation, size)
    found["answer"] = wire.outcome(1.0)
    wire.close()
    # The same with a full queue, so that the answer fails while it is sent later.
    wire = control.must_connect(SERVER)
    wire.sock.setsockopt(1, SO_PASSRIGHTS, off.tobytes())
    wire.sock.setblocking(False)
    with contextlib.suppress(OSError):
        for correlation in range(400):
            wire.send(header(correlation=correlation, message_id=9999))
        wire.send(
            encode_frame(
                Frame(kind=Kind.REQUEST, message_id=MESSAGES["Big"], correlation=999, payload=size)
            )
        )
    time.sleep(0.2)
    with contextlib.suppress(OSError):
        for _ in range(390):
            wire.sock.recv(8192)
    time.sleep(0.2)
    return found


def deaf_control(control: Control) -> dict[str, Any]:
    """Ask on the control channel and read no answer."""
    control.sock.setblocking(False)
    sent = 0
    end = time.monotonic() + 1.0
    data = encode_frame(Frame(kind=Kind.CONNECT, correlation=1, payload=b"os/none"))
    while sent < 4 * MAX_QUEUED_FRAMES and time.monotonic() < end:
        try:
            control.send(data)
            sent += 1
        except BlockingIOError:
            time.sleep(0.002)
        except OSError:
            break
    return {"sent": sent}


ATTACKS: Final[dict[str, Callable[[Control], dict[str, Any]]]] = {
    "headers": headers,
    "descriptors": descriptors,
    "names": names,
    "message-ids": message_ids,
    "identity": identity,
    "answers": answers,
    "flood": flood,
    "flood-read": flood_read,
    "flood-cancel": flood_cancel,
    "park": park,
    "unpark": unpark,
    "wait-for-late": wait_for_late,
    "never-read": never_read,
    "refuse-descriptors": refuse_descriptors,
    "deaf-control": deaf_control,
}
