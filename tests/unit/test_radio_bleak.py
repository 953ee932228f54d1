"""The central on the system's Bluetooth: bleak's own classes over the virtual air, and refusals."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("bleak")

from tests.bleak_air import backends
from tests.radio_desk import ADDRESS, Desk, desk

from primegap.quantumlink.aio.port import PortClosedError
from primegap.radio import bleak_central, nus
from primegap.radio.adapter import run_adapter
from primegap.radio.bleak_central import BleakCentral
from primegap.radio.central import open_central
from primegap.radio.errors import (
    AdapterMissingError,
    BleakMissingError,
    ConnectFailedError,
    DeviceNotFoundError,
    LocalRadioError,
    TransportSpecError,
)
from primegap.radio.messages import Plain, ReceivedData, SendData, SendDataResponse, SendResult

if TYPE_CHECKING:
    from pathlib import Path


async def received(it: Desk) -> bytes:
    """Return the next packet that the chip has for its host."""
    while not isinstance(answer := await it.ask(Plain.GET_RECEIVED_DATA), ReceivedData):
        await asyncio.sleep(0.01)
    return answer.packet


async def test_packets_pass_both_ways_until_the_device_goes_away(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.start()
        async with BleakCentral(**backends(it.phone)) as central:
            device = await central.find(name="Passport Prime", address=ADDRESS.lower())
            assert (device.address, device.name, device.random) == (ADDRESS, "Passport Prime", True)
            port = await central.connect(device)
            packets = [bytes([number]) * 244 for number in range(20)]
            sending = asyncio.create_task(_send(port, packets))
            assert [await received(it) for _ in packets] == packets
            await sending
            for packet in packets:
                while await it.ask(SendData(packet)) != SendDataResponse(SendResult.SENT):
                    await asyncio.sleep(0.01)
                assert await port.receive() == packet
            with pytest.raises(LocalRadioError):
                await port.send(bytes(245))
            assert not port.closed
            await it.ask(SendData(b"last"))
            await it.ask(Plain.DISABLE)
            await port.wait_closed()
            assert await port.receive() == b"last"  # what came before the loss still arrives
            with pytest.raises(PortClosedError):
                await port.receive()
            with pytest.raises(PortClosedError):
                await port.send(b"x")


async def _send(port: bleak_central.BleakPort, packets: list[bytes]) -> None:
    for packet in packets:
        await port.send(packet)


async def test_the_connection_ends_with_its_port_and_with_the_central(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.start()
        async with BleakCentral(**backends(it.phone)) as central:
            first = await central.connect(await central.find())
            await first.close()
            await first.close()
            second = await central.connect(await central.find())
        assert first.closed
        assert second.closed
        assert it.phone.connections == {}


async def test_a_write_that_the_system_refuses_closes_the_port(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.start()
        async with BleakCentral(**backends(it.phone)) as central:
            port = await central.connect(await central.find())
            port._client._backend._gone = True  # the system knows, and has not told us yet
            with pytest.raises(PortClosedError):
                await port.send(b"x")
            assert port.closed


async def test_a_device_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.start()
        async with BleakCentral(**backends(it.phone)) as central:
            for wanted in ({"name": "Another"}, {"address": "C0:00:00:00:00:01"}):
                with pytest.raises(DeviceNotFoundError):
                    await central.find(**wanted, timeout_s=0.3)
            device = await central.find()
            await it.ask(Plain.DISABLE)
            with pytest.raises(ConnectFailedError):
                await central.connect(device, timeout_s=0.3)


async def test_a_narrow_link_and_a_foreign_service_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bleak_central, "MTU_TIMEOUT_S", 0.1)
    async with desk(tmp_path) as it:
        await it.start()
        for faults in (backends(it.phone, mtu=185), backends(it.phone, hide=nus.TX_UUID)):
            async with BleakCentral(**faults) as central:
                device = await central.find()
                with pytest.raises(ConnectFailedError):
                    await central.connect(device)
            assert it.phone.connections == {}


async def test_an_adapter_can_be_named(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        await it.start()
        options: dict[str, dict[str, object]] = {}
        async with BleakCentral("hci1", **backends(it.phone, options=options)) as central:
            await central.connect(await central.find())
        assert options["scanner"]["bluez"] == options["client"]["bluez"] == {"adapter": "hci1"}


@pytest.mark.skipif(sys.platform != "linux", reason="BlueZ is asked over D-Bus")
@pytest.mark.parametrize("transport", ["bleak", "bleak:hci7"])
async def test_without_the_systems_bluetooth_the_adapter_is_missing(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is bleak's own backend; nobody answers it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'nothing'}")
    with pytest.raises(AdapterMissingError, match="system's Bluetooth"):
        async with open_central(transport):
            pass


async def test_the_devices_chip_cannot_be_on_the_systems_bluetooth(tmp_path: Path) -> None:
    with pytest.raises(TransportSpecError):
        await run_adapter("bleak", f"unix:{tmp_path / 'door'}", until_eof=False)


async def test_without_bleak_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bleak", None)
    with pytest.raises(BleakMissingError) as caught:
        async with open_central("bleak"):
            pass
    assert "primegap[bleak]" in caught.value.hint
