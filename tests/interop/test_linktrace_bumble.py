"""Captures written by bumble, with its own packets, are read as ours are."""

from __future__ import annotations

import io

from bumble import att, hci, l2cap
from bumble.snoop import BtSnooper, Snooper

from primegap.btp import Chunker
from primegap.linktrace import Note, read_recording_untrusted
from primegap.radio import nus

HANDLE = 0x0041
TO_HOST = Snooper.Direction.CONTROLLER_TO_HOST
TO_CONTROLLER = Snooper.Direction.HOST_TO_CONTROLLER


def acl(pdu: bytes) -> bytes:
    frame = bytes(l2cap.L2CAP_PDU(att.ATT_CID, pdu))
    return bytes(hci.HCI_AclDataPacket(HANDLE, 2, 0, len(frame), frame))


def test_a_capture_by_bumble() -> None:
    file = io.BytesIO()
    snooper = BtSnooper(file)
    snooper.snoop(
        bytes(
            hci.HCI_LE_Connection_Complete_Event(
                status=0,
                connection_handle=HANDLE,
                role=1,
                peer_address_type=0,
                peer_address=hci.Address("F0:F1:F2:F3:F4:F5"),
                connection_interval=24,
                peripheral_latency=0,
                supervision_timeout=400,
                central_clock_accuracy=0,
            )
        ),
        TO_HOST,
    )
    snooper.snoop(acl(bytes(att.ATT_Exchange_MTU_Request(client_rx_mtu=517))), TO_HOST)
    snooper.snoop(acl(bytes(att.ATT_Exchange_MTU_Response(server_rx_mtu=247))), TO_CONTROLLER)
    record = b"\x82" + bytes(32) + b"\x02\x07" + bytes(600)
    for packet in Chunker(1).chunk(record):
        write = att.ATT_Write_Command(attribute_handle=nus.RX_HANDLE, attribute_value=packet)
        snooper.snoop(acl(bytes(write)), TO_HOST)
    for packet in Chunker(1).chunk(record):
        notify = att.ATT_Handle_Value_Notification(
            attribute_handle=nus.TX_HANDLE, attribute_value=packet
        )
        snooper.snoop(acl(bytes(notify)), TO_CONTROLLER)
    snooper.snoop(
        bytes(hci.HCI_Disconnection_Complete_Event(status=0, connection_handle=HANDLE, reason=8)),
        TO_HOST,
    )
    story = read_recording_untrusted(file.getvalue())
    assert [(int(m.sender), m.seq, m.size, m.packets) for m in story.messages] == [
        (0, 7, 635, 3),
        (1, 7, 635, 3),
    ]
    assert [step.text for step in story.steps if isinstance(step, Note)] == [
        "Bluetooth connected, interval 30 ms",
        "asks for an MTU of 517",
        "grants an MTU of 247",
        "Bluetooth disconnected: the link was lost",
    ]
