"""The companion's end of the link: finds the device, pairs, stays connected, calls its routes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Final, TypeVar

from primegap.companion.errors import (
    DeviceFailedError,
    DeviceNotFoundError,
    DeviceRefusedError,
    LinkLostError,
    NoAdapterError,
    PairingLostError,
    PairingRefusedError,
    PairingRejectedError,
    RejectedError,
)
from primegap.companion.state import PairedDevice
from primegap.quantumlink import NATIVE, Identity, PeerBundle, session_fingerprint
from primegap.quantumlink.aio.client import RpcClient
from primegap.quantumlink.aio.driver import LinkDriver
from primegap.quantumlink.aio.errors import (
    CallTimeoutError,
    PairingTimeoutError,
    PeerRefusedError,
    PeerResetError,
    SessionEndedError,
)
from primegap.quantumlink.aio.events import (
    Connected,
    Disconnected,
    PortAttached,
    PortLost,
    Unpaired,
)
from primegap.quantumlink.aio.reconnect import Reconnector
from primegap.quantumlink.api import bitcoin as routes
from primegap.quantumlink.api import system
from primegap.quantumlink.api.empty import Empty
from primegap.quantumlink.errors import QuantumLinkError
from primegap.quantumlink.session import LinkConfig, LinkEngine, NoSessionError
from primegap.radio.errors import AdapterMissingError, RadioError

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.companion.state import CompanionState
    from primegap.linktrace import TraceFile
    from primegap.quantumlink import PairingLink
    from primegap.quantumlink.rpc import RequestRoute
    from primegap.radio.central import Central, CentralPort

    RequestT = TypeVar("RequestT")
    AnswerT = TypeVar("AnswerT")

FIND_TIMEOUT_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 20.0
APPROVAL_TIMEOUT_S: Final = 300.0  # how long the person may take to confirm the pairing
MAX_NAME: Final = 40
NOTICE_S: Final = 0.05
RETRY_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def companion_name() -> str:
    """Return the name that the device shows for this companion, at most 40 characters."""
    return f"Companion on {socket.gethostname()}"[:MAX_NAME]


class DeviceLink:
    """One link to one device over one Bluetooth adapter.

    It serves until the device is forgotten, by either side; `ended` tells so. The next pairing is
    made by a new link, with a new identity.
    """

    def __init__(
        self,
        state: CompanionState,
        find_adapter: Callable[[], str],
        *,
        trace: TraceFile | None = None,
    ) -> None:
        """Prepare a link.

        Args:
            state: where identity and device are kept.
            find_adapter: returns the transport string of the Bluetooth adapter; called again when
                the adapter was lost. May raise NoAdapterError.
            trace: takes public facts of the link; whoever opened it closes it.
        """
        self._trace = trace
        self._state = state
        self._find_adapter = find_adapter
        self._driver: LinkDriver | None = None
        self._client: RpcClient | None = None
        self._following: asyncio.Task[None] | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self._central: Central | None = None
        self._adapter = contextlib.AsyncExitStack()
        self._connected = asyncio.Event()
        self.ended = False
        "The device was forgotten; this link is of no more use."
        self.fingerprint = ""
        "Short fingerprint of the present session; empty without one."
        self.on_change: Callable[[], None] = lambda: None
        "Called when the link comes up, goes down or is unpaired."

    @property
    def connected(self) -> bool:
        """Whether a session is up and packets can flow."""
        return self._connected.is_set() and self._driver is not None and self._driver.has_port

    async def start(self) -> None:
        """Bring the adapter up; with a paired device, connect and stay connected.

        Raises:
            NoAdapterError: no adapter is known.
            AdapterMissingError: nothing answers at the transport.
        """
        seed = self._state.identity_seed(NATIVE.kem.seed_size)
        identity = Identity.from_seed(NATIVE, companion_name(), seed)
        await self._open_adapter()
        loop = asyncio.get_running_loop()
        engine = LinkEngine(
            LinkConfig.tuned(),
            identity,
            rng=os.urandom,
            now_s=loop.time(),
            trace=self._trace,
        )
        self._driver = LinkDriver(engine)
        self._client = RpcClient(self._driver)
        self._following = loop.create_task(self._follow(self._driver))
        device = self._state.device()
        if device is not None:
            peer = PeerBundle.parse_untrusted(bytes.fromhex(device.bundle), NATIVE)
            self._driver.bind_peer(peer)
            self._stay_connected(device.address, None)

    async def close(self) -> None:
        """Close session, link and adapter."""
        await self._stop_keeping()
        if self._driver is not None:
            await self._driver.aclose()
        if self._following is not None:
            await self._following  # the driver has closed its feed
        await self._close_adapter()

    def _stay_connected(self, address: str, port: CentralPort | None) -> None:
        assert self._driver is not None
        loop = asyncio.get_running_loop()
        self._keeping = [
            loop.create_task(self._keep_port(self._driver, address, port)),
            loop.create_task(Reconnector(self._driver).run()),
        ]

    async def _stop_keeping(self) -> None:
        tasks, self._keeping = self._keeping, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, driver: LinkDriver) -> None:
        async for notice in driver.events():
            match notice:
                case Connected(_, handshake_hash):
                    self.fingerprint = session_fingerprint(handshake_hash)
                    self._connected.set()
                case Disconnected():
                    self._connected.clear()
                    self.fingerprint = ""
                case Unpaired():
                    self._connected.clear()
                    self.fingerprint = ""
                    self.ended = True
                    self._state.forget_device()
                    await self._stop_keeping()
                    await driver.flush()
                    driver.detach()
                case PortAttached() | PortLost():
                    pass
                case _:
                    continue
            self.on_change()

    # -- Bluetooth ------------------------------------------------------------------------------

    async def _open_adapter(self) -> Central:
        """Return the adapter, opened again when it was lost."""
        from primegap.radio.central import open_central

        if self._central is None:
            central = open_central(self._find_adapter())
            self._central = await self._adapter.enter_async_context(central)
        return self._central

    async def _close_adapter(self) -> None:
        self._central = None
        await self._adapter.aclose()

    async def _keep_port(self, driver: LinkDriver, address: str, port: CentralPort | None) -> None:
        """Hold a Bluetooth connection to the device, for ever; `port` is one that is there."""
        failures = 0
        while True:
            try:
                if port is None:
                    port = await self._open_port(driver, address)
                failures = 0
                await port.wait_closed()
                port = None
            except (RadioError, NoAdapterError):
                delay = RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)]
                failures += 1
                await asyncio.sleep(delay)

    async def _open_port(self, driver: LinkDriver, address: str) -> CentralPort:
        central = await self._open_adapter()
        try:
            found = await central.find(address=address or None, timeout_s=FIND_TIMEOUT_S)
            port = await central.connect(found)
        except AdapterMissingError:
            await self._close_adapter()  # the next attempt opens it again
            raise
        if self._trace is None:
            driver.attach(port)
        else:
            from primegap.linktrace import TracedPort

            clock = asyncio.get_running_loop().time
            driver.attach(TracedPort(port, self._trace, clock))
        return port

    # -- pairing --------------------------------------------------------------------------------

    async def pair(self, link: PairingLink, on_fingerprint: Callable[[str], None]) -> PairedDevice:
        """Pair with the device that showed this code.

        `on_fingerprint` is called when both sides can show the session's fingerprint; then the
        person decides on the device. A call that is cancelled leaves nothing behind.

        Raises:
            DeviceNotFoundError: no such device advertises.
            AdapterMissingError, NoAdapterError: there is nothing to look with.
            PairingRefusedError: it does not know the code.
            PairingRejectedError: the person said no.
            PairingLostError: the link went down meanwhile.
        """
        driver, client = self._driver, self._client
        assert driver is not None
        assert client is not None
        address = "" if link.bluetooth_address is None else link.bluetooth_address.hex(":").upper()
        try:
            port = await self._open_port(driver, address)
        except AdapterMissingError:
            raise
        except RadioError as error:
            raise DeviceNotFoundError("the device was not found") from error
        try:
            device = await self._pair_over_port(driver, client, link, address, on_fingerprint)
        except BaseException:
            self.ended = True
            self._state.forget_device()
            driver.unpair()
            await driver.flush()
            driver.detach()
            raise
        self._stay_connected(address, port)
        return device

    async def _pair_over_port(
        self,
        driver: LinkDriver,
        client: RpcClient,
        link: PairingLink,
        address: str,
        on_fingerprint: Callable[[str], None],
    ) -> PairedDevice:
        try:
            peer = await driver.pair(link.invite)
        except PairingTimeoutError as error:
            raise PairingRefusedError("the device did not answer the pairing code") from error
        handshake_hash = driver.handshake_hash
        assert handshake_hash is not None
        fingerprint = session_fingerprint(handshake_hash)
        on_fingerprint(fingerprint)
        try:
            await client.request(
                system.RequestPassportDetails, Empty(), timeout_s=APPROVAL_TIMEOUT_S
            )
        except (SessionEndedError, NoSessionError) as error:
            if driver.peer is None:  # the device has taken the pairing back
                raise PairingRejectedError("the pairing was rejected on the device") from error
            raise PairingLostError("the link went down during the pairing") from error
        except (PeerResetError, CallTimeoutError) as error:
            raise PairingRejectedError("the pairing was not confirmed on the device") from error
        device = PairedDevice(
            name=peer.name,
            address=address,
            bundle=peer.encode().hex(),
            suite=peer.suite.name,
            fingerprint=fingerprint,
        )
        self._state.set_device(device)
        return device

    async def unpair(self) -> None:
        """Forget the device, and tell it if it is there."""
        if self._driver is not None:
            self._driver.unpair()
            await self._driver.flush()
        self._state.forget_device()

    # -- calls ----------------------------------------------------------------------------------

    async def wait_connected(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Wait until a session is up.

        Raises:
            DeviceNotFoundError: none came up in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
                while self._driver is None or not self._driver.is_connected:
                    # It has just gone; the notice of that is under way.
                    await asyncio.sleep(NOTICE_S)
                    await self._connected.wait()
        except TimeoutError:
            raise DeviceNotFoundError("the device did not answer in time") from None

    async def request_account(self) -> routes.AccountUpdatedEvent:
        """Ask the device to share its account; the person decides there.

        Raises:
            RejectedError: the person said no.
            DeviceRefusedError: the device does not answer this now.
            LinkLostError: the link went down.
        """
        assert self._client is not None
        try:
            async with self._client.subscribe(routes.SubscribeAccountUpdated, Empty()) as events:
                async for event in events:
                    return event
        except PeerRefusedError as error:
            raise RejectedError("the account was not shared") from error
        except (SessionEndedError, NoSessionError) as error:
            raise LinkLostError("the link went down before the account came") from error
        except QuantumLinkError as error:
            raise DeviceFailedError("the device shared no account") from error
        raise RejectedError("the device shared no account")

    async def request_signature(self, account_id: str, psbt: bytes) -> bytes:
        """Send a PSBT and return it signed; there is no time limit for the person.

        Raises:
            RejectedError: the person said no.
            DeviceRefusedError: the device refuses to sign this, with its reason.
            LinkLostError: the link went down; asking again later is safe.
        """
        params = routes.SignPsbtParams(account_id=account_id, psbt=psbt)
        answer = await self._ask(routes.RequestSignPsbt, params)
        if isinstance(answer, routes.SignPsbtSigned):
            return answer.psbt
        raise _not_done(answer, routes.SignPsbtError, "payment")

    async def propose_policy(self, account_id: str, policy: bytes) -> None:
        """Propose a policy; return when the person has set it.

        Raises:
            RejectedError, DeviceRefusedError, LinkLostError: as `request_signature`.
        """
        params = routes.SetPolicyParams(account_id=account_id, policy=policy)
        answer = await self._ask(routes.RequestSetPolicy, params)
        if not isinstance(answer, routes.PolicySet):
            raise _not_done(answer, routes.SetPolicyError, "policy")

    async def request_message_signature(
        self, account_id: str, address: str, message: bytes, form: str
    ) -> str:
        """Have a message signed by an address; return the signature.

        Raises:
            RejectedError, DeviceRefusedError, LinkLostError: as `request_signature`.
        """
        params = routes.SignMessageParams(
            account_id=account_id, address=address, message=message, form=form
        )
        answer = await self._ask(routes.RequestSignMessage, params)
        if isinstance(answer, routes.SignMessageSigned):
            return answer.signature
        raise _not_done(answer, routes.SignMessageError, "message")

    async def request_policies(self) -> tuple[routes.PolicyInForce, ...]:
        """Return the policies that hold for this companion's payments."""
        return (await self._ask(routes.RequestPolicies, Empty())).policies

    async def request_audit_log(self) -> bytes:
        """Return the device's signed audit log."""
        return (await self._ask(routes.RequestAuditLog, Empty())).log

    async def _ask(self, route: RequestRoute[RequestT, AnswerT], params: RequestT) -> AnswerT:
        assert self._client is not None
        try:
            return await self._client.request(route, params)
        except (SessionEndedError, NoSessionError) as error:
            raise LinkLostError("the link went down before the answer came") from error
        except QuantumLinkError as error:
            raise DeviceFailedError("the device did not take the request") from error


def _not_done(
    answer: object,
    failed: type[routes.SignPsbtError | routes.SetPolicyError | routes.SignMessageError],
    what: str,
) -> DeviceRefusedError | RejectedError:
    """Return why the device did not do what was asked: it could not, or the person said no."""
    if not isinstance(answer, failed):
        return RejectedError(f"the {what} was rejected on the device")
    shown = "".join(c for c in answer.error if c.isprintable())[:200]
    return DeviceRefusedError(f"the device says: {shown}")
