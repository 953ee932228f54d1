"""The asyncio shell around the pure link: drivers, calls, ports.

    driver = LinkDriver(engine)            # owns engine, timer and port
    driver.attach(port)                    # any `PacketPort`; may be replaced while it lives
    await driver.connect()                 # or a `Reconnector`, which stays connected

    client = RpcClient(driver)             # calls the peer's routes
    server = RpcServer(driver, keys=AppRouteKey, authorise=may_call)   # serves ours

`primegap.quantumlink.aio.simulation` and `.virtual_clock` are for tests and benchmarks.
"""

from __future__ import annotations

from primegap.quantumlink.aio.client import (
    OF_ROUTE,
    Download,
    ProgressCall,
    RequestTooLargeError,
    RpcClient,
    StreamOpener,
    Subscription,
    TimeoutS,
    Upload,
)
from primegap.quantumlink.aio.driver import LinkCounters, LinkDriver
from primegap.quantumlink.aio.errors import (
    AttemptReplacedError,
    CallTimeoutError,
    DriverClosedError,
    HandshakeTimeoutError,
    LocalResetError,
    PairingTimeoutError,
    PeerFaultError,
    PeerLimitError,
    PeerRefusedError,
    PeerResetError,
    PeerTimeoutError,
    RefusedError,
    SessionEndedError,
    UnknownRouteError,
    peer_reset_error,
)
from primegap.quantumlink.aio.events import (
    Connected,
    ConnectFailed,
    Disconnected,
    Feed,
    Notice,
    Paired,
    PortAttached,
    PortLost,
    Unpaired,
)
from primegap.quantumlink.aio.handlers import DownloadAnswer, RpcServer
from primegap.quantumlink.aio.memory import Impairment, MemoryLink, MemoryPort
from primegap.quantumlink.aio.parts import (
    Duplex,
    IncomingPart,
    IncomingParts,
    OutgoingPart,
    OutgoingParts,
)
from primegap.quantumlink.aio.port import PacketPort, PortClosedError
from primegap.quantumlink.aio.reconnect import Reconnector, ReconnectPolicy
from primegap.quantumlink.aio.server import (
    Authorise,
    Call,
    CallRouter,
    CancelWhen,
    RawHandler,
    RawRequestHandler,
    StreamSource,
    allow_all,
)
from primegap.quantumlink.aio.streams import ByteReader, ByteStream, ByteWriter, LinkStream

__all__ = [
    "OF_ROUTE",
    "AttemptReplacedError",
    "Authorise",
    "ByteReader",
    "ByteStream",
    "ByteWriter",
    "Call",
    "CallRouter",
    "CallTimeoutError",
    "CancelWhen",
    "ConnectFailed",
    "Connected",
    "Disconnected",
    "Download",
    "DownloadAnswer",
    "DriverClosedError",
    "Duplex",
    "Feed",
    "HandshakeTimeoutError",
    "Impairment",
    "IncomingPart",
    "IncomingParts",
    "LinkCounters",
    "LinkDriver",
    "LinkStream",
    "LocalResetError",
    "MemoryLink",
    "MemoryPort",
    "Notice",
    "OutgoingPart",
    "OutgoingParts",
    "PacketPort",
    "Paired",
    "PairingTimeoutError",
    "PeerFaultError",
    "PeerLimitError",
    "PeerRefusedError",
    "PeerResetError",
    "PeerTimeoutError",
    "PortAttached",
    "PortClosedError",
    "PortLost",
    "ProgressCall",
    "RawHandler",
    "RawRequestHandler",
    "ReconnectPolicy",
    "Reconnector",
    "RefusedError",
    "RequestTooLargeError",
    "RpcClient",
    "RpcServer",
    "SessionEndedError",
    "StreamOpener",
    "StreamSource",
    "Subscription",
    "TimeoutS",
    "UnknownRouteError",
    "Unpaired",
    "Upload",
    "allow_all",
    "peer_reset_error",
]
