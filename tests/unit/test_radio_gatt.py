"""The chip's radio stack and the virtual air in one process: table, pairing, limits, adapters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from bumble import att, controller, core, hci, link
from bumble.pairing import PairingConfig
from tests.radio_desk import ADDRESS, IDENTITY, desk

from primegap.quantumlink.aio.paced_simulation import EXCHANGE_S
from primegap.radio import gatt, nus
from primegap.radio.air_controller import AirController
from primegap.radio.chip import ChipApplication
from primegap.radio.faults import Faults
from primegap.radio.gatt import GattServer
from primegap.radio.messages import (
    Plain,
    ReceivedData,
    SendData,
    SendDataResponse,
    SendResult,
    Status,
    encode_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_the_attribute_table_is_that_of_the_real_chip(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        _, peer = await it.connect()
        services = {str(service.uuid): service for service in peer.services}
        assert len(services) == 3
        uart = services[nus.SERVICE_UUID]
        table = {str(one.uuid): (one.handle, int(one.properties)) for one in uart.characteristics}
        assert table == {nus.RX_UUID: (0x0010, 0x04), nus.TX_UUID: (0x0012, 0x10)}
        (configuration,) = uart.characteristics[1].descriptors
        assert configuration.handle == nus.TX_CONFIGURATION_HANDLE
        receive, transmit = uart.characteristics
        (name, *_) = peer.get_characteristics_by_uuid(core.UUID.from_16_bits(0x2A00))
        assert await name.read_value() == b"Passport Prime"
        for refused, reason in (
            (receive.read_value(), att.ATT_READ_NOT_PERMITTED_ERROR),
            (transmit.read_value(), att.ATT_READ_NOT_PERMITTED_ERROR),
            (receive.write_value(b"x", with_response=True), att.ATT_WRITE_NOT_PERMITTED_ERROR),
            (name.write_value(b"x", with_response=True), att.ATT_WRITE_NOT_PERMITTED_ERROR),
        ):
            with pytest.raises(att.ATT_Error) as caught:
                await refused
            assert caught.value.error_code == reason
        assert await it.ask(Plain.GET_RECEIVED_DATA) is Plain.NO_RECEIVED_DATA


@pytest.mark.parametrize(("asked", "granted"), [(517, 247), (247, 247), (100, 100), (23, 23)])
async def test_the_mtu_is_what_was_asked_up_to_247(
    tmp_path: Path, asked: int, granted: int
) -> None:
    async with desk(tmp_path) as it:
        connection, peer = await it.connect()
        assert await peer.request_mtu(asked) == granted
        write = bytes([0x52]) + nus.RX_HANDLE.to_bytes(2, "little")
        for size in (granted - 2, granted - 3):  # the first is too long and not taken
            it.phone.send_l2cap_pdu(connection.handle, att.ATT_CID, write + bytes(size))
        while (packet := await it.ask(Plain.GET_RECEIVED_DATA)) is Plain.NO_RECEIVED_DATA:
            pass
        assert packet == ReceivedData(bytes(granted - 3))


async def test_pairing_is_accepted_without_questions_and_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        connection, _ = await it.connect()
        it.phone.pairing_config_factory = lambda _: PairingConfig(sc=True, mitm=False, bonding=True)
        await asyncio.wait_for(connection.pair(), 10)
        assert connection.is_encrypted
        ((_, keys),) = await it.phone.keystore.get_all()
        assert keys.irk is None
        await connection.disconnect()
        connection, _ = await it.connect()
        with pytest.raises(hci.HCI_Error) as caught:
            await connection.encrypt()
        assert caught.value.error_code == hci.HCI_ErrorCode.PIN_OR_KEY_MISSING_ERROR


async def test_packets_that_make_no_sense_do_not_hurt(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        connection, peer = await it.connect()
        for channel in (4, 5, 6, 0x40):
            for junk in (b"", b"\x52", b"\x52\x10", b"\xff" * 40, bytes(40), b"\x02\x00\x00"):
                it.phone.send_l2cap_pdu(connection.handle, channel, junk)
        await peer.request_mtu(247)
        status = await it.ask(Plain.GET_STATUS)
        assert isinstance(status, Status)
        assert status.connection[0].name == "CONNECTED"


async def test_without_flow_control_a_flood_is_bounded_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.UNKNOWN_HCI_COMMAND_ERROR)
    monkeypatch.setattr(
        AirController, "on_hci_host_buffer_size_command", lambda _self, _command: refusal
    )
    async with desk(tmp_path, overflow_hold_s=30.0) as it:
        connection, peer = await it.connect()
        await peer.request_mtu(247)
        write = bytes([0x52]) + nus.RX_HANDLE.to_bytes(2, "little")
        kept = 16 + gatt.MAX_WAITING_PACKETS
        for number in range(kept + 5):
            it.phone.send_l2cap_pdu(connection.handle, att.ATT_CID, write + bytes([number]))
        (name, *_) = peer.get_characteristics_by_uuid(core.UUID.from_16_bits(0x2A00))
        await name.read_value()  # answered after all writes
        status = await it.ask(Plain.GET_STATUS)
        assert isinstance(status, Status)
        assert status.queue_overflow
        numbers = []
        while isinstance(packet := await it.ask(Plain.GET_RECEIVED_DATA), ReceivedData):
            numbers.append(packet.packet[0])
        assert numbers == list(range(kept))


async def test_a_held_packet_is_dropped_when_its_time_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path, overflow_hold_s=0.1) as it:
        connection, peer = await it.connect()
        await peer.request_mtu(247)
        write = bytes([0x52]) + nus.RX_HANDLE.to_bytes(2, "little")
        for number in range(17):
            it.phone.send_l2cap_pdu(connection.handle, att.ATT_CID, write + bytes([number]))
        while not (await it.ask(Plain.GET_STATUS)).queue_overflow:
            await peer.request_mtu(247)
        for number in range(16):
            assert await it.ask(Plain.GET_RECEIVED_DATA) == ReceivedData(bytes([number]))
        assert await it.ask(Plain.GET_RECEIVED_DATA) is Plain.NO_RECEIVED_DATA


async def test_a_paced_air_is_no_faster_than_bluetooth_and_keeps_the_order(tmp_path: Path) -> None:
    faults = Faults(interval_s=0.015, jitter_s=0.02, seed=1)
    async with desk(tmp_path, faults=faults) as it:
        _, peer = await it.connect()
        await peer.request_mtu(247)
        uart = next(one for one in peer.services if str(one.uuid) == nus.SERVICE_UUID)
        values: asyncio.Queue[bytes] = asyncio.Queue()
        await uart.characteristics[1].subscribe(values.put_nowait)
        packets = [bytes([number]) * 244 for number in range(40)]
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        for packet in packets:
            while await it.ask(SendData(packet)) != SendDataResponse(SendResult.SENT):
                await asyncio.sleep(0.001)
        assert [await values.get() for _ in packets] == packets
        assert loop.time() - started_s >= 39 * EXCHANGE_S


async def test_on_adapters_with_extended_advertising_legacy_packets_are_advertised() -> None:
    """Bumble's own controller emulates such an adapter."""
    air = link.LocalLink()
    adapter: Any = controller.Controller("adapter", link=air)
    chip = ChipApplication(IDENTITY)
    server: Any = None

    def settle() -> None:
        server.settle()

    failed = asyncio.Event()
    server = GattServer(chip, IDENTITY, settle=settle, on_failed=failed.set, overflow_hold_s=0.0)
    source = _DirectSource(adapter)
    await server.start(source, adapter)
    assert server._device.supports_le_extended_advertising
    ask = _asker(chip, settle)
    ask(Plain.ENABLE)
    advertised = await _wait_for(lambda: next(iter(adapter.advertising_sets.values()), None))
    await _wait_for(lambda: advertised.enabled)
    assert bytes(advertised.data) == nus.advertising_data()
    assert bytes(advertised.scan_response_data) == nus.scan_response("Passport Prime")
    assert advertised.parameters.primary_advertising_channel_map == 7
    assert advertised.parameters.advertising_event_properties == 0x13  # legacy, ADV_IND
    assert advertised.address == hci.Address(ADDRESS, hci.Address.RANDOM_DEVICE_ADDRESS)
    ask(Plain.DISABLE)
    await _wait_for(lambda: not adapter.advertising_sets)
    assert not failed.is_set()
    await server.close()


class _DirectSource:
    """Joins a controller of bumble and a host in one process."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def set_packet_sink(self, sink: Any) -> None:
        self._adapter.set_packet_sink(sink)


def _asker(chip: ChipApplication, settle: Callable[[], None]) -> Callable[[Plain], None]:
    def ask(request: Plain) -> None:
        chip.receive_request(encode_message(request))
        settle()

    return ask


async def _wait_for(condition: Callable[[], Any]) -> Any:
    for _ in range(500):
        if result := condition():
            return result
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")
