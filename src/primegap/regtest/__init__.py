"""A private regtest chain: blocks made by us, judged by Bitcoin Core's engine, served as Electrum.

`RegtestNode` runs it inside an asyncio program, `python -m primegap.regtest` as a process, and
`call_control` talks to such a process. Wallets sync from `RegtestNode.electrum_url` with a stock
Electrum client. Importing this package loads neither the engine nor BDK.
"""

from __future__ import annotations

from primegap.regtest.control import call_control
from primegap.regtest.errors import (
    AddressError,
    AmountError,
    BlockRefusedError,
    ClockError,
    DataDirDamagedError,
    DataDirLockedError,
    DataDirUnusableError,
    DiskFullError,
    EngineFaultError,
    EngineMissingError,
    EventsLostError,
    FaucetEmptyError,
    NotRunningError,
    PortInUseError,
    RegtestError,
    RemoteError,
    RequestError,
    StoppedError,
    TransactionFormatError,
    TransactionRefusedError,
)
from primegap.regtest.ledger import BlockMined, NodeEvent, TransactionAccepted
from primegap.regtest.node import EventStream, NodeStatus, RegtestNode

__all__ = [
    "AddressError",
    "AmountError",
    "BlockMined",
    "BlockRefusedError",
    "ClockError",
    "DataDirDamagedError",
    "DataDirLockedError",
    "DataDirUnusableError",
    "DiskFullError",
    "EngineFaultError",
    "EngineMissingError",
    "EventStream",
    "EventsLostError",
    "FaucetEmptyError",
    "NodeEvent",
    "NodeStatus",
    "NotRunningError",
    "PortInUseError",
    "RegtestError",
    "RegtestNode",
    "RemoteError",
    "RequestError",
    "StoppedError",
    "TransactionAccepted",
    "TransactionFormatError",
    "TransactionRefusedError",
    "call_control",
]
