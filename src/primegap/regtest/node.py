"""The private chain as one asyncio object: engine, mempool, faucet and both doors.

All ledger work runs as short jobs on one thread, in order; the event loop never waits for the
engine. Example:

    async with RegtestNode(Path("chain")) as node:
        txid = await node.faucet("bcrt1q…", 100_000)
        await node.mine()
        wallet_connects_to(node.electrum_url)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from primegap.regtest.blocks import header_time_s
from primegap.regtest.control import ControlServer
from primegap.regtest.electrum import ElectrumServer
from primegap.regtest.errors import AmountError, EventsLostError, RegtestError, StoppedError
from primegap.regtest.ledger import BlockMined, Ledger, LedgerChange, NodeEvent
from primegap.regtest.primitives import display_hash, sha256d
from primegap.regtest.scripts import FAUCET_SCRIPT, script_of_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

_log: Final = logging.getLogger(__name__)
T = TypeVar("T")

DEFAULT_INITIAL_BLOCKS: Final = 120
"Twenty-one rewards of 50 BTC can be spent from the start (a reward matures in 100 blocks)."
MAX_BLOCKS_PER_CALL: Final = 10_000  # some ten seconds of mining
MAX_QUEUED_EVENTS: Final = 10_000  # of one slow reader


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """The node at one moment."""

    height: int
    tip_hash: str
    "Display order, hexadecimal."
    tip_time_s: int
    "Time in the tip's header, seconds since 1970."
    mempool_count: int
    electrum_url: str
    electrum_connections: int
    data_dir: str
    pid: int


class EventStream:
    """What happens on the chain from now on, as an asynchronous iterator.

    Use it as a context manager. A reader that falls `MAX_QUEUED_EVENTS` behind gets
    `EventsLostError`; when the node stops, the iteration ends.
    """

    def __init__(self, on_close: Callable[[EventStream], None]) -> None:
        self._on_close = on_close
        self._queue: deque[NodeEvent] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._lost = False

    def push(self, event: NodeEvent) -> None:
        """Queue an event for the reader."""
        if len(self._queue) >= MAX_QUEUED_EVENTS:
            self._lost = True
        if not self._lost:
            self._queue.append(event)
        self._wake.set()

    def end(self) -> None:
        """Let the reader finish what is queued and then stop."""
        self._ended = True
        self._wake.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NodeEvent:
        while not self._queue:
            if self._lost:
                raise EventsLostError(f"more than {MAX_QUEUED_EVENTS} events were waiting")
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._on_close(self)


class RegtestNode:
    """A private chain that runs in this process.

    Attributes:
        data_dir: where everything is kept; one node at a time may use it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        electrum_port: int = 0,
        initial_blocks: int = DEFAULT_INITIAL_BLOCKS,
        rebuild: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare a node; nothing happens before `start`.

        Args:
            data_dir: a directory of its own, made if needed. The chain in it is continued.
            host: address to listen on; keep it on loopback, the protocol has no passwords.
            electrum_port: TCP port of the Electrum server, 0 for any free one.
            initial_blocks: a shorter chain is grown to this height at start, paying the faucet.
            rebuild: restore a damaged directory from what is intact in it.
            clock: seconds since 1970.
        """
        self.data_dir = data_dir
        self._host = host
        self._port = electrum_port
        self._initial_blocks = initial_blocks
        self._rebuild = rebuild
        self._clock = clock
        self._executor: ThreadPoolExecutor | None = None
        self._ledger: Ledger | None = None
        self._electrum = ElectrumServer(self.run)
        self._control = ControlServer(self)
        self._publisher: asyncio.Task[None] | None = None
        self._streams: list[EventStream] = []
        self._touched: set[bytes] = set()
        self._tip_changed = False
        self._changed = asyncio.Event()
        self._stop_asked = asyncio.Event()

    # --- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open or begin the chain, grow it to its initial height and open both doors.

        Raises:
            DataDirLockedError, DataDirUnusableError, DataDirDamagedError, DiskFullError,
            PortInUseError, ClockError, EngineMissingError: see their hints. Nothing stays open.
        """
        if self._executor is not None:
            return
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="regtest-ledger")
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._open)
            while await self.run(self._grow):
                pass
            self._port = await self._electrum.start(self._host, self._port)
            await self._control.start()
            self._publisher = asyncio.create_task(self._publish_changes())
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close both doors, flush the chain to disk and let go of the directory."""
        if self._executor is None:
            return
        await self._control.stop()
        await self._electrum.stop()
        if self._publisher is not None:
            self._publisher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._publisher
            self._publisher = None
        executor, self._executor = self._executor, None
        await asyncio.get_running_loop().run_in_executor(executor, self._close)
        executor.shutdown()
        for stream in self._streams:
            stream.end()
        self._stop_asked.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def ask_to_stop(self) -> None:
        """Wake whoever waits in `wait_until_asked_to_stop`."""
        self._stop_asked.set()

    async def wait_until_asked_to_stop(self) -> None:
        """Wait for `ask_to_stop`, a stop request on the control socket, or `stop`."""
        await self._stop_asked.wait()

    # --- using it ----------------------------------------------------------------------------

    @property
    def electrum_url(self) -> str:
        """Where wallets connect, in the form BDK's Electrum client takes."""
        return f"tcp://{self._host}:{self._port}"

    async def mine(self, blocks: int = 1, address: str | None = None) -> list[BlockMined]:
        """Mine blocks with what waits in the mempool.

        Args:
            blocks: 1 to `MAX_BLOCKS_PER_CALL`.
            address: where subsidy and fees go; the faucet if None.

        Raises:
            AmountError, AddressError: an argument is wrong.
            ClockError, DiskFullError, EngineFaultError: mining stopped; blocks mined so far stay.
        """
        if not 1 <= blocks <= MAX_BLOCKS_PER_CALL:
            raise AmountError(f"1 to {MAX_BLOCKS_PER_CALL} blocks at a time")
        script = FAUCET_SCRIPT
        if address is not None:
            script = await self.run(lambda _: script_of_address(address))
        return [
            await self.run(lambda ledger: ledger.mine(script, now_s=self._clock()))
            for _ in range(blocks)
        ]

    async def faucet(self, address: str, amount_sat: int) -> str:
        """Pay test coins to an address; they are in the mempool when this returns.

        Returns:
            The transaction id (display order, hexadecimal).

        Raises:
            AddressError, AmountError, FaucetEmptyError: no payment was made.
        """
        return await self.run(lambda ledger: ledger.pay(script_of_address(address), amount_sat))

    async def broadcast(self, raw: bytes) -> str:
        """Put a serialised transaction into the mempool and return its id.

        Raises:
            TransactionFormatError, TransactionRefusedError: it was not accepted.
        """
        entry = await self.run(lambda ledger: ledger.broadcast(raw))
        return display_hash(entry.transaction.txid)

    async def submit_block(self, raw: bytes) -> None:
        """Have the engine judge a block made elsewhere.

        Raises:
            BlockRefusedError: the engine refused it.
        """
        await self.run(lambda ledger: ledger.submit_block(raw))

    async def status(self) -> NodeStatus:
        """Return the node's current state."""
        return await self.run(self._read_status)

    def events(self) -> EventStream:
        """Subscribe to what happens from now on."""
        stream = EventStream(self._streams.remove)
        self._streams.append(stream)
        return stream

    async def run(self, job: Callable[[Ledger], T], /) -> T:
        """Run a short job on the ledger's thread; what it changes is published afterwards.

        Raises:
            StoppedError: the node does not run.
        """
        if self._executor is None:
            raise StoppedError("the private chain does not run")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._do, loop, job)

    # --- on the ledger's thread --------------------------------------------------------------

    def _open(self) -> None:
        self._ledger = Ledger(self.data_dir, rebuild=self._rebuild)

    def _close(self) -> None:
        if self._ledger is not None:
            ledger, self._ledger = self._ledger, None
            ledger.close()

    def _do(self, loop: asyncio.AbstractEventLoop, job: Callable[[Ledger], T]) -> T:
        if self._ledger is None:
            raise StoppedError("the private chain does not run")
        try:
            return job(self._ledger)
        finally:
            change = self._ledger.take_changes()
            if change.events or change.touched or change.tip_changed:
                loop.call_soon_threadsafe(self._on_change, change)

    def _grow(self, ledger: Ledger) -> bool:
        """Mine one initial block if one is missing; return whether there may be more."""
        if ledger.chain.height >= self._initial_blocks:
            return False
        ledger.grow_initial(self._initial_blocks, now_s=self._clock())
        return True

    def _read_status(self, ledger: Ledger) -> NodeStatus:
        height = ledger.chain.height
        header = ledger.chain.header(height) or b""
        return NodeStatus(
            height=height,
            tip_hash=display_hash(sha256d(header)),
            tip_time_s=header_time_s(header),
            mempool_count=len(ledger.mempool),
            electrum_url=self.electrum_url,
            electrum_connections=self._electrum.connections,
            data_dir=str(self.data_dir.absolute()),
            pid=os.getpid(),
        )

    # --- on the event loop -------------------------------------------------------------------

    def _on_change(self, change: LedgerChange) -> None:
        for event in change.events:
            for stream in self._streams:
                stream.push(event)
        self._touched |= change.touched
        self._tip_changed |= change.tip_changed
        self._changed.set()

    async def _publish_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            touched, self._touched = frozenset(self._touched), set()
            tip_changed, self._tip_changed = self._tip_changed, False
            try:
                await self._electrum.publish(touched, tip_changed=tip_changed)
            except RegtestError as error:
                _log.warning("subscribers were not told: %s", error)
