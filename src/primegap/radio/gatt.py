"""The chip's radio stack: GATT server, advertising and flow control, on bumble (section 8).

Drives a `ChipApplication` from the air and carries out what it wants. Everything a central sends
is untrusted; a packet that the stack cannot digest is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from bumble import att, core, hci
from bumble import device as bumble_device
from bumble.keys import KeyStore

from primegap.radio import gatt_table, nus
from primegap.radio.chip import ChipAction
from primegap.radio.h4 import ACL, acl_handle
from primegap.radio.messages import ALL_CHANNELS_OFF
from primegap.radio.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from primegap.radio.chip import Advertising, ChipApplication, ChipIdentity, Notify
    from primegap.radio.h4 import PacketSink

HOST_ACL_PACKETS: Final = 8
"Packets that the controller may hand us before we acknowledge one (HCI flow control)."
MAX_WAITING_PACKETS: Final = 32
"Packets kept while the queue is full; reached only if a controller knows no flow control."
RSSI_INTERVAL_S: Final = 1.0
LINK_LAYER_TIME_US: Final = 2120
"Time of a radio packet of nus.LINK_LAYER_OCTETS at 1 Mbit/s."

ADVERTISING_RETRY_S: Final = 0.5
"Pause after the controller refused to advertise."

_log: Final = logging.getLogger(__name__)
_WRITE_COMMAND: Final = 0x52
_NOTIFICATION: Final = 0x1B
_HOST_COMPLETED_PACKETS: Final = bytes.fromhex("01350c0501")
"HCI command Host_Number_Of_Completed_Packets for one handle; it has no answer."


class _Tap:
    """Stands before the stack: keeps hostile packets from it, and acknowledges the others.

    A packet that waits for room in the application's queue is not acknowledged, so that the
    controller, and through it the link layer, makes the phone wait.
    """

    def __init__(self, stack: Any, controller: PacketSink) -> None:
        self._stack = stack
        self._controller = controller
        self._held = False
        self._completed = 0
        self._handle = 0
        self.flow_control = False

    def on_packet(self, packet: bytes) -> None:
        self._held = False
        try:
            self._stack.on_packet(packet)
        except Exception:  # noqa: BLE001 - the stack's parsers raise whatever they like
            _log.debug("the stack dropped a packet", exc_info=True)
        if packet[0] == ACL and not self._held:
            self.acknowledge(acl_handle(packet))

    def on_transport_lost(self) -> None:
        self._stack.on_transport_lost()

    def hold(self) -> None:
        """Do not acknowledge the packet that is just being handled."""
        self._held = True

    def acknowledge(self, handle: int) -> None:
        """Tell the controller, at the end of this turn of the loop, that there is room again."""
        if not self.flow_control:
            return
        if self._completed and handle != self._handle:
            self._flush()
        if not self._completed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._handle = handle
        self._completed += 1

    def _flush(self) -> None:
        if self._completed:
            command = _HOST_COMPLETED_PACKETS + self._handle.to_bytes(2, "little")
            self._controller.on_packet(command + self._completed.to_bytes(2, "little"))
            self._completed = 0


class GattServer:
    """The air side of the chip: one connection, one service (section 8.1)."""

    def __init__(
        self,
        chip: ChipApplication,
        identity: ChipIdentity,
        *,
        settle: Callable[[], None],
        on_failed: Callable[[], None],
        overflow_hold_s: float,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            chip: the application to drive.
            identity: its address is used on the air.
            settle: called after every event that reached the application.
            on_failed: called when the stack cannot go on.
            overflow_hold_s: how long a packet waits for room in the application's queue while the
                host takes none, before it is dropped and counted as overflow.
        """
        self._chip = chip
        self._settle = settle
        self._on_failed = on_failed
        self._overflow_hold_s = overflow_hold_s
        self._loop = asyncio.get_running_loop()
        self._address = hci.Address(
            bytes(reversed(identity.address)), hci.Address.RANDOM_DEVICE_ADDRESS
        )
        self._connection: Any = None
        self._sent: deque[int] = deque()
        "For each notification in the stack: the count of radio packets at which it has left."
        self._waiting: deque[bytes] = deque()
        self._full_since_s: float | None = None
        self._hold_timer: asyncio.TimerHandle | None = None
        self._advertising_set: Any = None
        self._advertised: Advertising | None = None
        self._advertising_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- start and end ----------------------------------------------------------------------------

    async def start(self, source: Any, sink: PacketSink) -> None:
        """Power the controller on and from now on advertise as the application wants.

        Args:
            source: where the controller's packets come from (a transport source of bumble).
            sink: where packets to the controller go.
        """
        logging.getLogger("bumble").setLevel(logging.CRITICAL)  # a central must not fill the log
        config = bumble_device.DeviceConfiguration(
            name=self._chip.name,
            address=self._address,
            gap_service_enabled=False,
            gatt_service_enabled=False,
        )
        device: Any = bumble_device.Device.from_config_with_hci(config, source, sink)
        device.pairing_config_factory = gatt_table.pairing_config
        device.keystore = KeyStore()  # the base class, which keeps nothing
        services, transmit = gatt_table.build_services(lambda: self._chip.name)
        device.add_services(services)
        transmit.on("subscription", self._subscribed)
        device.gatt_server.max_mtu = nus.ATT_MTU
        device.l2cap_channel_manager.register_fixed_channel(att.ATT_CID, self._att_received)
        device.on("connection", self._connected)
        self._device = device
        self._tap = _Tap(device.host, sink)
        source.set_packet_sink(self._tap)
        await device.power_on()
        self._radio_queue = device.host.le_acl_packet_queue
        self._radio_queue.on("flow", self._radio_packets_left)
        await self._switch_flow_control_on()
        self._later(self._keep_advertising())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the radio stack failed", exc_info=task.exception())
            self._on_failed()

    async def close(self) -> None:
        """Stop all tasks and timers."""
        if self._hold_timer is not None:
            self._hold_timer.cancel()
        await end_tasks(*self._tasks)

    async def _switch_flow_control_on(self) -> None:
        """Ask the controller to wait for our acknowledgements; many real ones cannot."""
        try:
            await self._device.send_sync_command(
                hci.HCI_Host_Buffer_Size_Command(
                    host_acl_data_packet_length=nus.LINK_LAYER_OCTETS,
                    host_synchronous_data_packet_length=0,
                    host_total_num_acl_data_packets=HOST_ACL_PACKETS,
                    host_total_num_synchronous_data_packets=0,
                )
            )
            await self._device.send_sync_command(
                hci.HCI_Set_Controller_To_Host_Flow_Control_Command(flow_control_enable=1)
            )
        except hci.HCI_Error:
            return
        self._tap.flow_control = True

    # -- what the application wants ---------------------------------------------------------------

    def perform(self, action: Notify | ChipAction) -> None:
        """Carry out an action of the application (all but RESET, which is the process's)."""
        if action is ChipAction.DISCONNECT:
            if self._connection is not None:
                self._later(self._disconnect(self._connection))
        elif action is not ChipAction.RESET:
            self._notify(action.packet)

    def settle(self) -> None:
        """Look at the application after something happened to it."""
        if not self._chip.inbound_full:
            self._full_since_s = None
            while self._waiting and not self._chip.inbound_full:
                self._take_waiting()
        if self._chip.advertising != self._advertised:
            self._advertising_changed.set()

    def _notify(self, packet: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        value = packet[: connection.att_mtu - nus.ATT_HEADER_BYTES]
        pdu = bytes([_NOTIFICATION]) + nus.TX_HANDLE.to_bytes(2, "little") + value
        self._device.send_l2cap_pdu(connection.handle, att.ATT_CID, pdu)
        self._sent.append(self._radio_queue.queued)

    async def _disconnect(self, connection: Any) -> None:
        with contextlib.suppress(hci.HCI_Error, core.BaseBumbleError, TimeoutError):
            await connection.disconnect()

    # -- what the air does ------------------------------------------------------------------------

    def _connected(self, connection: Any) -> None:
        if self._connection is not None:  # one at a time (section 8.3)
            self._later(self._disconnect(connection))
            return
        self._connection = connection
        self._sent.clear()
        self._advertised = None
        connection.on("disconnection", lambda _reason: self._disconnected(connection))
        self._later(self._tend_link(connection))
        self._chip.connected()
        self._settle()

    def _disconnected(self, connection: Any) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._sent.clear()
        while self._waiting:
            self._chip.write_received(self._waiting.popleft())
        self._chip.disconnected()
        self._settle()

    def _subscribed(self, _bearer: object, notify: bool, _indicate: bool) -> None:
        self._chip.notifications_switched(notify)
        self._settle()

    def _att_received(self, handle: int, pdu: bytes) -> None:
        """Take writes to RX straight away, in order; leave the rest to bumble's server."""
        if len(pdu) < nus.ATT_HEADER_BYTES or pdu[0] != _WRITE_COMMAND:
            self._device.on_gatt_pdu(handle, pdu)
        elif int.from_bytes(pdu[1:3], "little") == nus.RX_HANDLE:
            connection = self._connection
            if connection is not None and len(pdu) <= connection.att_mtu:
                self._write_received(pdu[nus.ATT_HEADER_BYTES :])

    def _radio_packets_left(self) -> None:
        released = False
        while self._sent and self._radio_queue.completed >= self._sent[0]:
            self._sent.popleft()
            self._chip.notification_released()
            released = True
        if released:
            self._settle()

    async def _tend_link(self, connection: Any) -> None:
        """Ask for long radio packets and short intervals, then watch the signal."""
        with contextlib.suppress(hci.HCI_Error, core.BaseBumbleError, TimeoutError):
            await connection.set_data_length(nus.LINK_LAYER_OCTETS, LINK_LAYER_TIME_US)
        with contextlib.suppress(hci.HCI_Error, core.BaseBumbleError, TimeoutError):
            async with asyncio.timeout(RSSI_INTERVAL_S):
                await connection.update_parameters(
                    gatt_table.MIN_INTERVAL_MS,
                    gatt_table.MAX_INTERVAL_MS,
                    0,
                    gatt_table.SUPERVISION_TIMEOUT_MS,
                    use_l2cap=True,
                )
        while connection is self._connection:
            with contextlib.suppress(hci.HCI_Error, core.BaseBumbleError, TimeoutError):
                sample_dbm = await connection.get_rssi()
                if connection is self._connection:
                    self._chip.rssi_sampled(sample_dbm)
            await asyncio.sleep(RSSI_INTERVAL_S)

    # -- packets of the phone ---------------------------------------------------------------------

    def _write_received(self, packet: bytes) -> None:
        if not self._chip.inbound_full and not self._waiting:
            self._chip.write_received(packet)
        elif self._may_wait():
            self._waiting.append(packet)
            self._tap.hold()
            return
        else:
            self._chip.write_received(packet)  # which drops it and raises the overflow flag
        self._settle()

    def _may_wait(self) -> bool:
        now_s = self._loop.time()
        if self._full_since_s is None:
            self._full_since_s = now_s
        end_s = self._full_since_s + self._overflow_hold_s
        if now_s >= end_s or len(self._waiting) >= MAX_WAITING_PACKETS:
            return False
        if self._hold_timer is None:
            self._hold_timer = self._loop.call_at(end_s, self._hold_is_over)
        return True

    def _hold_is_over(self) -> None:
        self._hold_timer = None
        if self._full_since_s is None:
            return
        end_s = self._full_since_s + self._overflow_hold_s
        if self._loop.time() < end_s:
            self._hold_timer = self._loop.call_at(end_s, self._hold_is_over)
            return
        while self._waiting:
            self._take_waiting()
        self._settle()

    def _take_waiting(self) -> None:
        self._chip.write_received(self._waiting.popleft())
        if self._connection is not None:
            self._tap.acknowledge(self._connection.handle)

    # -- advertising ------------------------------------------------------------------------------

    async def _keep_advertising(self) -> None:
        """Make the controller's advertising follow the application's wish, one change at a time."""
        while True:
            await self._advertising_changed.wait()
            self._advertising_changed.clear()
            wanted = self._chip.advertising
            if wanted == self._advertised:
                continue
            try:
                await self._stop_advertising()
                if wanted is not None and self._connection is None:
                    await self._start_advertising(wanted)
            except (hci.HCI_Error, TimeoutError):
                self._advertised = None
                await asyncio.sleep(ADVERTISING_RETRY_S)
            else:
                self._advertised = wanted if self._connection is None else None
                if wanted is not None and self._connection is not None:
                    # It connected in the middle, and the controller may advertise beside it.
                    with contextlib.suppress(hci.HCI_Error, TimeoutError):
                        await self._stop_advertising()
            self.settle()

    async def _stop_advertising(self) -> None:
        if self._advertising_set is not None:
            advertising_set, self._advertising_set = self._advertising_set, None
            if advertising_set.enabled:
                await advertising_set.stop()
            await advertising_set.remove()
        else:
            await self._device.send_sync_command(
                hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=0)
            )

    async def _start_advertising(self, wanted: Advertising) -> None:
        channels = _channel_map(wanted.channels_off)
        response = nus.scan_response(wanted.name)
        interval_ms = nus.ADVERTISING_INTERVAL_MS
        device = self._device
        if device.supports_le_extended_advertising:
            # Such controllers report connections of the legacy commands in a way bumble misses.
            self._advertising_set = await device.create_advertising_set(
                advertising_parameters=bumble_device.AdvertisingParameters(
                    advertising_event_properties=bumble_device.AdvertisingEventProperties(
                        is_connectable=True, is_scannable=True, is_legacy=True
                    ),
                    primary_advertising_interval_min=interval_ms,
                    primary_advertising_interval_max=interval_ms,
                    primary_advertising_channel_map=channels,
                ),
                random_address=self._address,
                advertising_data=nus.advertising_data(),
                scan_response_data=response,
            )
            return
        units = int(interval_ms / 0.625)
        for command in (
            hci.HCI_LE_Set_Advertising_Parameters_Command(
                advertising_interval_min=units,
                advertising_interval_max=units,
                advertising_type=int(
                    bumble_device.AdvertisingType.UNDIRECTED_CONNECTABLE_SCANNABLE
                ),
                own_address_type=hci.OwnAddressType.RANDOM,
                peer_address_type=hci.Address.PUBLIC_DEVICE_ADDRESS,
                peer_address=hci.Address.ANY,
                advertising_channel_map=channels,
                advertising_filter_policy=0,
            ),
            hci.HCI_LE_Set_Advertising_Data_Command(advertising_data=nus.advertising_data()),
            hci.HCI_LE_Set_Scan_Response_Data_Command(scan_response_data=response),
            hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=1),
        ):
            await device.send_sync_command(command)


def _channel_map(channels_off: int) -> int:
    """Turn the application's bits (0x20, 0x40, 0x80 = off) into HCI's (1, 2, 4 = on)."""
    return (ALL_CHANNELS_OFF & ~channels_off) >> 5
