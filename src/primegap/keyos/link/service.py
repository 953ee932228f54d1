"""The link process: runs QuantumLink over whatever radio core hands it.

It parses packets, handshakes, records and frames, all of fixed grammar; the streams in them it
carries unread to a process without keys (L-10). A companion that paired is nobody until the person
confirmed it on the trusted screen: until then its streams wait, and without a yes it is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Final

from primegap.files import StorageError
from primegap.keyos.api import core, link, security, ui
from primegap.keyos.errors import ChannelClosedError, KeyosError, RequestError, Status
from primegap.keyos.link.store import LinkStore
from primegap.keyos.link.streams import CompanionStreams
from primegap.keyos.messages import Empty
from primegap.keyos.storage import SealedFile, load_state
from primegap.keyos.ui import screens
from primegap.keyos.ui.canonical import encode_screen
from primegap.quantumlink import Invite, PairingLink, PairingToken, session_fingerprint
from primegap.quantumlink.aio.driver import LinkDriver
from primegap.quantumlink.aio.events import Connected, Disconnected, Paired, PortLost, Unpaired
from primegap.quantumlink.aio.port import PortClosedError
from primegap.quantumlink.session import LinkConfig, LinkEngine
from primegap.radio.errors import ChipNotTrustedError
from primegap.radio.firmware import image_with
from primegap.radio.host import RadioSettings, open_radio
from primegap.radio.host_startup import ChipBond
from primegap.radio.messages import Link

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from primegap.keyos.frame import Caller
    from primegap.keyos.messages import Message
    from primegap.keyos.process import Process
    from primegap.linktrace import TraceFile
    from primegap.quantumlink import PeerBundle
    from primegap.radio.host import ConnectionPort, RadioPort
    from primegap.radio.host_scheduler import RadioStatus

TOKEN_BYTES: Final = 16
CHIP_SECRET_LABEL: Final = b"Bluetooth Secret"
"Behind the fuse entropy, under SHA-256: the challenge secret of the chip (radio section 10)."
MAX_TRACE_BYTES: Final = 8 << 20
"Hours of an ordinary link; the rest of the process's storage is for what matters."
PROOF_TIMEOUT_S: Final = 20.0
"""How long a Bluetooth connection may last without a session. There is one at a time: a stranger
who only stays would keep the companion out. A companion starts its handshake at once, tries KK for
2.5 s and IK for 5 s, and may have to begin again."""
PROOF_CHECK_S: Final = 1.0
RADIO_START_S: Final = 20.0  # a chip starts within a second or two, on a busy machine in a few
NOT_READY: Final = "The link is still starting. Try again in a moment."
CHIP_NOT_READY: Final = "The Bluetooth chip is not ready. Try again."


class LinkService:
    """State of the link and its answers to the apps and the screen."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._store: LinkStore | None = None
        self._driver: LinkDriver | None = None
        self._trace: TraceFile | None = None
        self._radio: RadioPort | None = None
        self._bond: ChipBond | None = None
        self._bond_file: SealedFile | None = None
        self._radio_state = "off"
        self._trouble = ""
        "Why there is no link, as a sentence for the person."
        self._fingerprint = ""
        self._armed = False
        self._streams = CompanionStreams(process)
        self._deciding: asyncio.Task[None] | None = None
        self._version = 1
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        process.handle(link.GetState, self._get_state)
        process.handle(link.WaitState, self._wait_state)
        process.handle(link.StartPairing, self._start_pairing)
        process.handle(link.StopPairing, self._stop_pairing)
        process.handle(link.Unpair, self._unpair)
        process.handle(link.AdoptChip, self._adopt_chip)

    async def run(self) -> None:
        """Wait for the first unlock, then keep the link up for as long as the process lives."""
        seed = await self._process.call(security.GetAppSeed(), security.AppSeed)
        store = await load_state(
            SealedFile(self._process.data, "link", seed.seed),
            LinkStore.load,
            log=self._process.log,
            on_trouble=self._in_trouble,
        )
        loop = asyncio.get_running_loop()
        self._trace = self._open_trace()
        engine = LinkEngine(
            LinkConfig.tuned(),
            store.identity,
            rng=os.urandom,
            now_s=loop.time(),
            trace=self._trace,
        )
        driver = LinkDriver(engine)
        if store.peer is not None:
            driver.bind_peer(store.peer)
        self._store, self._driver = store, driver
        self._bond_file = SealedFile(self._process.data, "chip", seed.seed)
        self._bond = bond = _chip_bond(self._process, self._bond_file)
        self._streams.serve(driver, store)
        await self._tell_change()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_radio(driver, bond))
            tasks.create_task(self._follow_driver(driver, store))

    def _open_trace(self) -> TraceFile | None:
        """Open the trace that a development device may keep of its link."""
        name = self._process.config.get("trace")
        if name is None:
            return None
        from primegap.linktrace import TraceFile

        try:
            return TraceFile(
                self._process.data / name,
                side="device",
                max_bytes=MAX_TRACE_BYTES,
                on_end=lambda reason: self._process.log(f"the link's trace ends here: {reason}"),
            )
        except OSError as error:
            self._process.log(f"the link is not traced: {error.strerror}")
            return None

    def _in_trouble(self, hint: str) -> None:
        self._trouble = hint

    # -- state ----------------------------------------------------------------------------------

    def _state(self) -> link.LinkState:
        peer = None if self._store is None else self._store.peer
        return link.LinkState(
            version=self._version,
            radio=self._radio_state,
            paired=peer is not None,
            peer_name="" if peer is None else peer.name,
            connected=bool(self._fingerprint) and peer is not None,
            fingerprint=self._fingerprint,
            pairing=self._armed,
        )

    async def _tell_change(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def _get_state(self, caller: Caller, request: link.GetState) -> Message:
        return self._state()

    async def _wait_state(self, caller: Caller, request: link.WaitState) -> Message:
        async with self._changed:
            await self._changed.wait_for(lambda: self._version != request.version)
        return self._state()

    # -- radio ----------------------------------------------------------------------------------

    async def _follow_radio(self, driver: LinkDriver, bond: ChipBond) -> None:
        """Attach each radio that core starts; a dead one is replaced by the next.

        A chip that fails its challenge is not used until it is gone (a restart, the switch).
        """
        assert self._store is not None
        name = f"primegap {self._store.identity.qid.hex()[:4].upper()}"
        image = image_with(bytes.fromhex(self._process.config["chip_header"]))
        while True:
            try:
                sock = await self._process.call_for_socket(core.NextRadio())
            except (RequestError, ChannelClosedError):
                await asyncio.sleep(1)
                continue
            await self._set_radio("starting")
            try:
                radio = await open_radio(
                    sock,
                    RadioSettings(enabled=True, name=name),
                    on_status=self._radio_status,
                    bond=bond,
                    image=image,
                )
            except PortClosedError:
                await self._set_radio("off")
                continue
            self._radio = radio
            try:
                if radio.trusted:
                    await self._set_radio("waiting")
                while True:
                    await self._serve_connection(driver, await radio.connection())
            except PortClosedError:
                pass
            except ChipNotTrustedError as error:
                self._process.log(f"the radio stays off: {error}")
                await self._set_radio(link.UNTRUSTED)
                await radio.wait_closed()
            self._radio = None
            await self._set_radio("off")

    async def _serve_connection(self, driver: LinkDriver, port: ConnectionPort) -> None:
        """Move packets for one Bluetooth connection; a session may outlive it."""
        notices = driver.events()
        if self._trace is None:
            driver.attach(port)
        else:
            from primegap.linktrace import TracedPort

            clock = asyncio.get_running_loop().time
            driver.attach(TracedPort(port, self._trace, clock))
        watching = asyncio.get_running_loop().create_task(self._show_strangers_out(driver, port))
        try:
            async for notice in notices:
                if isinstance(notice, PortLost):
                    return
        finally:
            watching.cancel()

    async def _show_strangers_out(self, driver: LinkDriver, port: ConnectionPort) -> None:
        """Close a connection on which there is no session for too long."""
        missing_s = 0.0
        while missing_s < PROOF_TIMEOUT_S:
            await asyncio.sleep(PROOF_CHECK_S)
            missing_s = 0.0 if driver.is_connected else missing_s + PROOF_CHECK_S
        self._process.log("a connection without a session is closed")
        self._spawn(_close(port))

    async def _set_radio(self, state: str) -> None:
        if state != self._radio_state:
            self._radio_state = state
            await self._tell_change()

    def _radio_status(self, status: RadioStatus) -> None:
        if self._radio is not None and not self._radio.trusted:
            return
        state = "connected" if status.link is Link.CONNECTED else "waiting"
        self._spawn(self._set_radio(state))

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- sessions and pairing -------------------------------------------------------------------

    async def _follow_driver(self, driver: LinkDriver, store: LinkStore) -> None:
        async for notice in driver.events():
            match notice:
                case Paired():
                    self._armed = False
                case Connected(peer, handshake_hash):
                    if driver.handshake_hash != handshake_hash:
                        continue  # that session is over already
                    self._fingerprint = session_fingerprint(handshake_hash)
                    self._drop_decision()
                    if store.peer != peer:
                        task = self._decide(driver, store, peer, handshake_hash)
                        self._deciding = asyncio.get_running_loop().create_task(task)
                case Disconnected():
                    self._fingerprint = ""
                    if self._drop_decision():
                        driver.unpair()  # it is confirmed in the session it was made in, or never
                case Unpaired():
                    self._fingerprint = ""
                    self._drop_decision()
                    try:
                        store.forget()
                    except StorageError as error:
                        self._process.log(f"the companion may come back after a restart: {error}")
            await self._tell_change()

    def _drop_decision(self) -> bool:
        """Take the question back from the person; return whether there was one."""
        task, self._deciding = self._deciding, None
        if task is not None:
            task.cancel()
        return task is not None

    async def _decide(
        self, driver: LinkDriver, store: LinkStore, peer: PeerBundle, handshake_hash: bytes
    ) -> None:
        """Admit the companion if the person says so in its session; otherwise forget it."""
        try:
            screen = screens.confirm_pairing(peer.name, session_fingerprint(handshake_hash))
            content = hashlib.sha256(peer.encode()).digest()
            decision = await self._process.call(
                ui.Confirm(encode_screen(screen), content, opens=None), ui.Decision
            )
            if decision.approved and driver.handshake_hash == handshake_hash:
                store.pair(peer)
                self._streams.admitted()
        except (KeyosError, StorageError) as error:
            self._process.log(f"pairing was not confirmed: {error}")
        self._deciding = None
        if store.peer is None:
            driver.unpair()
        await self._tell_change()

    async def _wait_radio(self) -> None:
        """Wait a moment for a link or chip that is just starting: nobody needs to ask twice."""

        def settled() -> bool:
            return bool(self._trouble) or (self._driver is not None and self._radio is not None)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RADIO_START_S), self._changed:
                await self._changed.wait_for(settled)

    async def _start_pairing(self, caller: Caller, request: link.StartPairing) -> Message:
        await self._wait_radio()
        if self._driver is None or self._store is None:
            raise RequestError(Status.LOCKED, self._trouble or NOT_READY)
        if self._store.peer is not None or self._driver.peer is not None:
            raise RequestError(Status.DENIED, "A companion is paired. Unpair it first.")
        if self._radio is None:
            raise RequestError(Status.FAILED, CHIP_NOT_READY)
        token = PairingToken(os.urandom(TOKEN_BYTES))
        identity = self._store.identity
        try:
            address = await self._radio.address()
        except ChipNotTrustedError as error:
            raise RequestError(Status.FAILED, error.hint) from None
        except PortClosedError:
            raise RequestError(Status.FAILED, CHIP_NOT_READY) from None
        offer = PairingLink(
            Invite(identity.suite, identity.qid, token),
            bytes.fromhex(address.replace(":", "")),
            identity.name,
        )
        self._driver.arm_pairing(token)
        self._armed = True
        await self._tell_change()
        return link.PairingOffer(offer.encode())

    async def _adopt_chip(self, caller: Caller, request: link.AdoptChip) -> Message:
        radio = self._radio
        if radio is None or radio.trusted or self._bond is None or self._bond_file is None:
            raise RequestError(Status.DENIED, "The Bluetooth chip needs no decision.")
        try:
            self._bond_file.remove()
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error
        self._bond.forget_chip()
        await radio.close()  # core starts it again
        return Empty()

    async def _stop_pairing(self, caller: Caller, request: link.StopPairing) -> Message:
        if self._driver is not None:
            self._driver.disarm_pairing()
        self._armed = False
        await self._tell_change()
        return Empty()

    async def _unpair(self, caller: Caller, request: link.Unpair) -> Message:
        if self._driver is None or self._store is None:
            raise RequestError(Status.LOCKED, self._trouble or NOT_READY)
        try:
            self._store.forget()
        except StorageError as error:
            raise RequestError(Status.FAILED, error.hint) from error
        finally:
            self._driver.unpair()
        return Empty()


async def _close(port: ConnectionPort) -> None:
    with contextlib.suppress(PortClosedError):
        await port.close()


def _chip_bond(process: Process, file: SealedFile) -> ChipBond:
    """Return what this device keeps about its Bluetooth chip: the secret comes out of its fuses."""

    def remember() -> None:
        try:
            file.write(b"sent")
        except StorageError as error:  # the chip refuses a second secret anyway
            process.log(f"the chip's secret may be offered again: {error}")

    try:
        sent = file.read() is not None
    except StorageError:
        sent = True  # in doubt, no chip is given the secret
    fuses = bytes.fromhex(process.config["chip_fuses"])
    secret = hashlib.sha256(fuses + CHIP_SECRET_LABEL).digest()
    return ChipBond(secret, sent=sent, on_sent=remember)


async def main(process: Process) -> None:
    """Entry of the link process."""
    service = LinkService(process)
    process.serve()
    running = asyncio.ensure_future(service.run())
    leaving = asyncio.ensure_future(process.wait())
    await asyncio.wait((running, leaving), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    with contextlib.suppress(asyncio.CancelledError):
        running.cancel()
