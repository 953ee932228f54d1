"""Virtual Bluetooth controllers on a virtual air: bumble's emulation, with its gaps closed.

Added to what bumble emulates: packets of 251 bytes; flow control in both directions, so that a slow
receiver makes the sender wait instead of losing packets; scan responses; cancelled connection
attempts; a refused second central; reset; signal strength, data length and PHY; and a supervision
time-out at once when one side is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bumble import controller as bumble_controller
from bumble import hci, link, ll
from typing_extensions import override

from primegap.radio import nus
from primegap.radio.faults import FaultPlan, Faults, is_data
from primegap.radio.h4 import ACL, ACL_HEADER_BYTES, COMMAND, acl_handle

if TYPE_CHECKING:
    from collections.abc import Callable

    from primegap.radio.pace import Pace

ACL_PACKETS: Final = 12
"Packets that a host may have under way in its controller, as common adapters allow."
MAX_QUEUED_PACKETS: Final = 256
"Packets kept for a host that does not take them; a controller's memory is finite, too."
RSSI_DBM: Final = -50
TICK_S: Final = 1e-6
"Least time between two arrivals."
REORDER_WAIT_S: Final = 0.05
"A packet that should be overtaken arrives after this time when nothing overtakes it."

_HOST_COMPLETED_PACKETS: Final = 0x0C35
_COMMAND_REFUSED: Final = bytes.fromhex("040f041201")
"HCI event Command Status, invalid parameters; the operation code follows."
_FIRST_FLUSHABLE: Final = 0x2000
_CONTINUATION: Final = 0x1000
_NO_EXTENDED_ADVERTISING: Final = ~(
    hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
)
_log: Final = logging.getLogger(__name__)


@dataclass
class ScannableAdvertisement(ll.AdvInd):  # type: ignore[misc]  # bumble is untyped for mypy
    """An advertisement together with the response that a scanner would get."""

    scan_response: bytes = b""


class _Advertiser(bumble_controller.LegacyAdvertiser):  # type: ignore[misc]
    @override
    def _on_timer_fired(self) -> None:
        self.send_advertising_data()
        interval_s = max(self.advertising_interval_min, 0x20) * 0.625 / 1000
        self.timer_handle = asyncio.get_running_loop().call_later(interval_s, self._on_timer_fired)

    @override
    def send_advertising_data(self) -> None:
        if self.enabled:
            self.controller.send_advertising_pdu(
                ScannableAdvertisement(
                    advertiser_address=self.address,
                    data=self.advertising_data,
                    scan_response=self.scan_response_data,
                )
            )


class _Route:
    """One direction of a connection, as the sending controller sees it."""

    def __init__(self, receiver: AirController, handle: int, faults: Faults, name: str) -> None:
        self.receiver = receiver
        self.handle = handle
        "Connection handle at the receiver."
        self.way = name
        self.plan = None if faults.none else FaultPlan(faults, direction=name)
        self.last_arrival_s = 0.0
        self.overtake_timer: asyncio.TimerHandle | None = None
        self.partial = b""


class Air(link.LocalLink):  # type: ignore[misc]
    """The air: every controller on it hears every other."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__()
        self.faults = faults or Faults()
        self.data_packets = 0
        self._paces: dict[frozenset[bytes], Pace] = {}

    def count_data_packet(self) -> bool:
        """Count a data packet; say whether the connection is to be cut now."""
        self.data_packets += 1
        return self.data_packets == self.faults.disconnect_after

    def passes_at_s(self, addresses: frozenset[bytes], way: str, size: int, now_s: float) -> float:
        """Return when a packet of a connection has passed the air; now, if it is not paced.

        Args:
            addresses: both ends.
            way: "to-central" or "to-peripheral".
            size: its bytes.
            now_s: time.
        """
        if not self.faults.interval_s:
            return now_s
        from primegap.radio.pace import Pace, Way

        pace = self._paces.get(addresses)
        if pace is None:
            self._paces = {addresses: Pace(self.faults.interval_s)}  # a chip has one connection
            pace = self._paces[addresses]
        return pace.passes_at_s(Way(way), size, now_s)


class AirController(bumble_controller.Controller):  # type: ignore[misc]
    """A virtual controller between an HCI pipe and the air."""

    le_acl_data_packet_length = nus.LINK_LAYER_OCTETS
    acl_data_packet_length = nus.LINK_LAYER_OCTETS
    total_num_le_acl_data_packets = ACL_PACKETS
    total_num_acl_data_packets = ACL_PACKETS
    supported_max_tx_octets = nus.LINK_LAYER_OCTETS
    supported_max_rx_octets = nus.LINK_LAYER_OCTETS
    suggested_max_tx_octets = nus.LINK_LAYER_OCTETS
    suggested_max_tx_time = 2120
    le_features = bumble_controller.Controller.le_features & _NO_EXTENDED_ADVERTISING
    supported_commands = bumble_controller.Controller.supported_commands | {
        hci.HCI_LE_SET_DATA_LENGTH_COMMAND,
        hci.HCI_LE_SET_PHY_COMMAND,
    }

    def __init__(
        self,
        name: str,
        air: Air,
        send: Callable[[bytes], None],
        *,
        public_address: hci.Address,
        random_address: hci.Address,
    ) -> None:
        """Join the air.

        Args:
            name: for logs.
            air: where the other controllers are.
            send: takes packets for the host.
            public_address: the address that the host may ask for.
            random_address: static random address until the host sets another.
        """
        super().__init__(name, link=air, public_address=public_address)
        self.random_address = random_address
        self.le_legacy_advertiser = _Advertiser(self)
        self._air = air
        self._send = send
        self._routes: dict[int, _Route] = {}
        self._credits: int | None = None
        self._host_buffers = 0
        self._writable = True
        self._queue: deque[tuple[int, bytes, Callable[[], None] | None]] = deque()
        "Packets for the host: connection handle, packet, what to call when the host has it."
        self._completed: dict[int, int] = {}
        self._reported: set[tuple[bytes, bytes]] = set()
        self.pending_le_connection: Any = None

    # -- HCI pipe ---------------------------------------------------------------------------------

    @override
    def on_packet(self, packet: bytes) -> None:
        """Take a packet of the host. What the emulation cannot digest is dropped."""
        try:
            if packet[0] == ACL:
                self._acl_from_host(packet)
            elif packet[0] == COMMAND and packet[1] | packet[2] << 8 == _HOST_COMPLETED_PACKETS:
                self._host_completed(packet)
            else:
                super().on_packet(packet)
        except Exception:  # noqa: BLE001 - a host may send anything
            _log.debug("%s: a packet of the host was refused", self.name, exc_info=True)
            if packet[0] == COMMAND and len(packet) >= 4:
                self._send(_COMMAND_REFUSED + packet[1:3])

    @override
    def send_hci_packet(self, packet: Any) -> None:
        self._send(bytes(packet))

    def pipe_writable(self, writable: bool) -> None:
        """Tell whether the pipe to the host takes packets at the moment."""
        self._writable = writable
        self._drain()

    def pipe_closed(self) -> None:
        """Leave the air. The other side of a connection sees a supervision time-out at once."""
        self._drop_links()
        self._send = lambda _packet: None
        self.link.remove_controller(self)

    # -- data -------------------------------------------------------------------------------------

    def _route(self, handle: int) -> _Route | None:
        route = self._routes.get(handle)
        if route is None:
            connection = self.find_le_connection_by_handle(handle)
            if connection is None:
                return None
            receiver = self._air.find_le_controller(connection.peer_address)
            if receiver is None or receiver is self:
                return None
            back = receiver.le_connections.get(connection.self_address)
            if back is None:
                return None
            side = "to-central" if connection.role == hci.Role.PERIPHERAL else "to-peripheral"
            route = self._routes[handle] = _Route(receiver, back.handle, self._air.faults, side)
        return route

    def _acl_from_host(self, packet: bytes) -> None:
        handle = acl_handle(packet)
        route = self._route(handle)
        if route is None:
            return
        body = packet[ACL_HEADER_BYTES:]
        if (packet[1] | packet[2] << 8) & 0x3000 == _CONTINUATION:
            route.partial += body
        else:
            route.partial = body
        size = int.from_bytes(route.partial[:2], "little") + 4
        if len(route.partial) < size:
            self._complete(handle)
            return
        pdu, route.partial = route.partial[:size], b""
        self._transmit(handle, route, pdu)

    def _transmit(self, handle: int, route: _Route, pdu: bytes) -> None:
        """Send a packet through the air; report it completed when the other side has it."""
        faults = self._air.faults
        if faults.none or not is_data(pdu):
            route.receiver.deliver(route.handle, pdu, lambda: self._complete(handle))
            return
        assert route.plan is not None
        if route.overtake_timer is not None:
            route.overtake_timer.cancel()
            route.overtake_timer = None
        arriving = route.plan.pass_on(pdu)
        loop = asyncio.get_running_loop()
        passed_s = self._passes_at_s(handle, route, pdu, loop.time())
        if not arriving:
            loop.call_at(passed_s, self._complete, handle)
            route.overtake_timer = loop.call_at(
                passed_s + REORDER_WAIT_S, self._deliver_kept, route
            )
        for number, one in enumerate(arriving):
            done = (lambda: self._complete(handle)) if number == 0 else None
            if not faults.is_timed:
                route.receiver.deliver(route.handle, one, done)
                continue
            # Timers that are due at one moment run in any order; packets must not.
            arrival_s = max(passed_s + route.plan.delay_s(), route.last_arrival_s + TICK_S)
            route.last_arrival_s = arrival_s
            loop.call_at(arrival_s, route.receiver.deliver, route.handle, one, done)
        if self._air.count_data_packet():
            self._drop_links()

    def _passes_at_s(self, handle: int, route: _Route, pdu: bytes, now_s: float) -> float:
        connection = self.find_le_connection_by_handle(handle)
        addresses = frozenset((bytes(connection.self_address), bytes(connection.peer_address)))
        return self._air.passes_at_s(addresses, route.way, len(pdu), now_s)

    def _deliver_kept(self, route: _Route) -> None:
        assert route.plan is not None
        for pdu in route.plan.take_kept():
            route.receiver.deliver(route.handle, pdu, None)

    def deliver(self, handle: int, pdu: bytes, done: Callable[[], None] | None) -> None:
        """Hand a packet of the air to the host, as soon as the host has room; then call `done`."""
        if self.find_le_connection_by_handle(handle) is None:
            return
        if len(self._queue) < MAX_QUEUED_PACKETS:
            flags = handle | _FIRST_FLUSHABLE
            header = bytes([ACL, flags & 0xFF, flags >> 8]) + len(pdu).to_bytes(2, "little")
            self._queue.append((handle, header + pdu, done))
            self._drain()

    def _drain(self) -> None:
        while self._queue and self._writable and self._credits != 0:
            _, packet, done = self._queue.popleft()
            if self._credits is not None:
                self._credits -= 1
            self._send(packet)
            if done is not None:
                done()

    def _complete(self, handle: int) -> None:
        """Report a packet of the host as completed, together with others of this turn."""
        if not self._completed:
            asyncio.get_running_loop().call_soon(self._flush_completed)
        self._completed[handle] = self._completed.get(handle, 0) + 1

    def _flush_completed(self) -> None:
        completed, self._completed = self._completed, {}
        for handle, count in completed.items():
            if self.find_le_connection_by_handle(handle) is not None:
                self.send_hci_packet(
                    hci.HCI_Number_Of_Completed_Packets_Event(
                        connection_handles=[handle], num_completed_packets=[count]
                    )
                )

    # -- flow control towards the host ------------------------------------------------------------

    @override
    def on_hci_host_buffer_size_command(self, command: Any) -> Any:
        self._host_buffers = command.host_total_num_acl_data_packets
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    @override
    def on_hci_set_controller_to_host_flow_control_command(self, command: Any) -> Any:
        self._credits = self._host_buffers if command.flow_control_enable & 1 else None
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def _host_completed(self, packet: bytes) -> None:
        if self._credits is None:
            return
        for at in range(5, 5 + 4 * packet[4], 4):
            self._credits += int.from_bytes(packet[at + 2 : at + 4], "little")
        self._credits = min(self._credits, self._host_buffers)
        self._drain()

    # -- connections ------------------------------------------------------------------------------

    @override
    def on_ll_advertising_pdu(self, packet: Any) -> None:
        if isinstance(packet, ScannableAdvertisement):
            self._report_advertisement(packet)
            pending = self.pending_le_connection
            if pending is not None and pending.peer_address == packet.advertiser_address:
                self.create_le_connection(packet.advertiser_address)
        elif isinstance(packet, ll.ConnectInd):
            if packet.advertiser_address != self.le_legacy_advertiser.address:
                return
            if self.le_legacy_advertiser.enabled:
                self.on_le_connect_ind(packet)
            else:
                # Another central was faster: this connection is never established.
                self._air.send_ll_control_pdu(
                    packet.advertiser_address,
                    packet.initiator_address,
                    ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR),
                )

    def _report_advertisement(self, packet: ScannableAdvertisement) -> None:
        if not self.le_scan_enable:
            return
        key = (bytes(packet.advertiser_address), packet.data + packet.scan_response)
        if self.filter_duplicates and key in self._reported:
            return
        self._reported.add(key)
        kinds = hci.HCI_LE_Advertising_Report_Event.EventType
        reports = [(kinds.ADV_IND, packet.data)]
        if self.le_scan_type == hci.HCI_LE_Set_Scan_Parameters_Command.ACTIVE_SCANNING:
            reports.append((kinds.SCAN_RSP, packet.scan_response))
        for kind, data in reports:
            report = hci.HCI_LE_Advertising_Report_Event.Report(
                event_type=kind,
                address_type=packet.advertiser_address.address_type,
                address=packet.advertiser_address,
                data=data,
                rssi=RSSI_DBM,
            )
            self.send_hci_packet(hci.HCI_LE_Advertising_Report_Event([report]))

    @override
    def on_hci_le_set_scan_enable_command(self, command: Any) -> Any:
        self._reported.clear()
        return super().on_hci_le_set_scan_enable_command(command)

    @override
    def on_hci_le_create_connection_cancel_command(self, _command: Any) -> Any:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        asyncio.get_running_loop().call_soon(
            self.send_hci_packet,
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            ),
        )
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    @override
    def on_le_disconnected(self, connection: Any, reason: int) -> None:
        if self.le_connections.get(connection.peer_address) is not connection:
            return
        self._flush_completed()
        super().on_le_disconnected(connection, reason)
        route = self._routes.pop(connection.handle, None)
        if route is not None and route.overtake_timer is not None:
            route.overtake_timer.cancel()
        self._queue = deque(one for one in self._queue if one[0] != connection.handle)
        if self._credits is not None:  # the host forgets the packets of a lost connection
            self._credits = self._host_buffers

    def _drop_links(self) -> None:
        """Lose every connection as if the other side had gone out of range."""
        reason = hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
        for connection in list(self.le_connections.values()):
            peer: Any = self._air.find_le_controller(connection.peer_address)
            back = None if peer is None else peer.le_connections.get(connection.self_address)
            if back is not None:
                peer.on_le_disconnected(back, reason)
            self.on_le_disconnected(connection, reason)

    @override
    def on_hci_reset_command(self, command: Any) -> Any:
        send, self._send = self._send, lambda _packet: None  # a reset reports nothing
        self._drop_links()
        self._send = send
        self.le_legacy_advertiser.stop()
        self.le_scan_enable = False
        self.pending_le_connection = None
        self._credits = None
        return super().on_hci_reset_command(command)

    # -- details that hosts ask for ---------------------------------------------------------------

    def on_hci_read_rssi_command(self, command: Any) -> Any:
        """Answer Read RSSI (Core specification 4.E.7.5.4)."""
        known = self.find_le_connection_by_handle(command.handle) is not None
        return hci.HCI_Read_RSSI_ReturnParameters(
            status=hci.HCI_ErrorCode.SUCCESS
            if known
            else hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            handle=command.handle,
            rssi=RSSI_DBM if known else 127,
        )

    def on_hci_le_set_data_length_command(self, command: Any) -> Any:
        """Answer LE Set Data Length (4.E.7.8.33): the air carries it; tell both sides."""
        handle = command.connection_handle
        route = self._route(handle)
        if route is None:
            return hci.HCI_StatusAndConnectionHandleReturnParameters(
                hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, handle
            )
        for controller, its_handle in ((self, handle), (route.receiver, route.handle)):
            controller.send_hci_packet(
                hci.HCI_LE_Data_Length_Change_Event(
                    connection_handle=its_handle,
                    max_tx_octets=command.tx_octets,
                    max_tx_time=command.tx_time,
                    max_rx_octets=command.tx_octets,
                    max_rx_time=command.tx_time,
                )
            )
        return hci.HCI_StatusAndConnectionHandleReturnParameters(hci.HCI_ErrorCode.SUCCESS, handle)

    def on_hci_le_set_phy_command(self, command: Any) -> None:
        """Answer LE Set PHY (4.E.7.8.49): both sides use 2M when it is wanted."""
        handle = command.connection_handle
        route = self._route(handle)
        if route is None:
            self._send_hci_command_status(
                hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code
            )
            return
        self._send_hci_command_status(hci.HCI_COMMAND_STATUS_PENDING, command.op_code)
        phy = hci.Phy.LE_2M if command.tx_phys & 2 or command.all_phys & 1 else hci.Phy.LE_1M
        for controller, its_handle in ((self, handle), (route.receiver, route.handle)):
            controller.send_hci_packet(
                hci.HCI_LE_PHY_Update_Complete_Event(
                    status=hci.HCI_ErrorCode.SUCCESS,
                    connection_handle=its_handle,
                    tx_phy=phy,
                    rx_phy=phy,
                )
            )
