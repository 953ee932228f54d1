"""What the outside of a record shows in clear (wire 5, 6 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from primegap.linktrace.story import Lane, Message
from primegap.quantumlink.errors import InvalidVersionError
from primegap.quantumlink.records import (
    HEADER_SIZE,
    HandshakeKind,
    HandshakeRecord,
    SessionRecord,
    parse_record_untrusted,
)
from primegap.quantumlink.suite import TAG_SIZE, suite_for_version

if TYPE_CHECKING:
    from primegap.quantumlink.suite import Suite

_HANDSHAKE_ID: Final = 4
_WINDOW: Final = 4
_PAIRING_ID: Final = 16
_REST: Final = -1
"A part that runs to the end of the record."

Detail = tuple[str, str | int]


def suite_name(version: int) -> str | None:
    """Return the name of the suite of a version byte, or None."""
    try:
        return suite_for_version(version).name
    except InvalidVersionError:
        return None


def _layout(kind: HandshakeKind, suite: Suite) -> list[tuple[str, int]]:
    """Return the parts of a message behind the handshake id (wire 6.2)."""
    window, sealed = ("window", _WINDOW), ("encrypted ciphertext", suite.encrypted_ciphertext_size)
    ciphertext, key = ("ciphertext", suite.ciphertext_size), ("public key", suite.public_key_size)
    bundle = ("encrypted bundle", _REST)
    return {
        HandshakeKind.IK1: [window, ciphertext, key, bundle],
        HandshakeKind.KK1: [window, ciphertext, key],
        HandshakeKind.IK2: [window, ciphertext, sealed],
        HandshakeKind.KK2: [window, ciphertext, sealed],
        HandshakeKind.XX1: [("pairing id", _PAIRING_ID), window, key],
        HandshakeKind.XX2: [window, ciphertext, bundle],
        HandshakeKind.XX3: [sealed, bundle],
        HandshakeKind.XX4: [sealed],
    }[kind]


def _handshake_details(record: HandshakeRecord, suite: Suite) -> list[Detail]:
    message, at = record.message, _HANDSHAKE_ID
    found: list[Detail] = []
    for name, length in _layout(record.kind, suite):
        part = message[at:] if length == _REST else message[at : at + length]
        if len(part) < length:
            found.append(("cut in", name))
            return found
        if name == "window":
            found.append((name, int.from_bytes(part, "little")))
        elif name == "pairing id":
            found.append((name, part.hex()))
        else:
            found.append((f"{name} bytes", len(part)))
        at += len(part)
    if at < len(message):
        found.append(("bytes too many", len(message) - at))
    return found


def read_header_untrusted(
    data: bytes, *, at_s: float, sender: Lane, packets: int, took_s: float | None
) -> Message:
    """Return a record as a step of a story.

    Raises:
        RemoteError: it is no record.
    """
    record = parse_record_untrusted(data)
    details: list[Detail] = [
        ("sender", record.sender.hex()),
        ("recipient", record.recipient.hex()),
    ]
    handshake_id: int | None = None
    seq: int | None = None
    name = suite_name(record.version)
    if isinstance(record, SessionRecord):
        kind, seq = "session", record.seq
        details += [
            ("header bytes", len(data) - TAG_SIZE - len(record.ciphertext)),
            ("tag bytes", TAG_SIZE),
            ("sealed bytes", len(record.ciphertext)),
        ]
    else:
        kind, handshake_id = record.kind.name, record.handshake_id
        details.append(("header bytes", HEADER_SIZE))
        if name is not None:
            details += _handshake_details(record, suite_for_version(record.version))
    return Message(
        at_s=at_s,
        sender=sender,
        kind=kind,
        size=len(data),
        packets=packets,
        took_s=took_s,
        suite=name,
        version=record.version,
        handshake_id=handshake_id,
        seq=seq,
        details=tuple(details),
    )
