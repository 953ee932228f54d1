"""One harness per decoder: what it may do with any bytes at all.

A harness takes bytes and returns. It raises when the decoder raised anything but its own remote
error, or when what was decoded does not encode to something that decodes to the same.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
from collections.abc import Callable
from typing import Any, Final

Harness = Callable[[bytes], None]
HARNESSES: Final[dict[str, Callable[[], Harness]]] = {}
"Name -> a function that imports what the harness needs and returns it."

MAX_INPUT_BYTES: Final = 4096
"Longest input that is tried: decoders are linear, and short inputs find more in the same time."


class BrokenPromiseError(AssertionError):
    """A decoder did what it must not."""


def promise(kept: object, what: str) -> None:
    """Raise unless `kept`."""
    if not kept:
        raise BrokenPromiseError(what)


def harness(make: Callable[[], Harness]) -> Callable[[], Harness]:
    """Put a harness on the list under the name of its function."""
    HARNESSES[make.__name__.replace("_", "-")] = make
    return make


@harness
def records() -> Harness:
    """Envelopes, and handshake messages in both suites."""
    from primegap.quantumlink.errors import RemoteError
    from primegap.quantumlink.messages import parse_message_untrusted
    from primegap.quantumlink.records import HandshakeRecord, parse_record_untrusted
    from primegap.quantumlink.suite import SUITES

    def run(data: bytes) -> None:
        try:
            record = parse_record_untrusted(data)
        except RemoteError:
            return
        if isinstance(record, HandshakeRecord):
            for suite in SUITES:
                with contextlib.suppress(RemoteError):
                    encoded = parse_message_untrusted(record, suite).encode()
                    promise(record.message.startswith(encoded), "a message encodes to itself")

    return run


@harness
def frames() -> Harness:
    """Bodies of session records."""
    from primegap.quantumlink.errors import RemoteError
    from primegap.quantumlink.frames import StreamData, encode_frame, parse_frames_untrusted

    def run(data: bytes) -> None:
        found = []
        with contextlib.suppress(RemoteError):
            for frame in parse_frames_untrusted(data):
                found.append(frame)  # noqa: PERF402 - those in front of an error count
        # An opening behind the first byte is read, and refused above (wire 11.1); nobody writes it.
        ours = [
            frame
            for frame in found
            if not isinstance(frame, StreamData) or frame.opening is None or frame.offset == 0
        ]
        again = b"".join(encode_frame(frame) for frame in ours)
        promise(list(parse_frames_untrusted(again)) == ours, "frames encode to themselves")

    return run


@harness
def btp() -> Harness:
    """Packets: each is 2 bytes of length and time, then that many bytes."""
    from primegap.btp import MAX_OPEN_RECORDS, Dechunker, RemoteBtpError

    def run(data: bytes) -> None:
        dechunker, now_s, at = Dechunker(), 0.0, 0
        while at + 2 <= len(data):
            size, wait = data[at], data[at + 1]
            packet, at = data[at + 2 : at + 2 + size], at + 2 + size
            now_s += wait / 32
            with contextlib.suppress(RemoteBtpError):
                # The bytes of a packet repeat, so that a short input can fill a long record.
                dechunker.receive((packet * 40)[: max(size, 244)], now_s=now_s)
            promise(dechunker.open_records <= MAX_OPEN_RECORDS, "memory is bounded")

    return run


@harness
def postcard() -> Harness:
    """Messages between the host and the Bluetooth chip."""
    from primegap.radio.errors import MessageError
    from primegap.radio.messages import encode_message, parse_message_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(MessageError):
            message = parse_message_untrusted(data)
            again = parse_message_untrusted(encode_message(message))
            promise(again == message, "a message encodes to itself")

    return run


@harness
def spi() -> Harness:
    """SPI transactions: what a hostile chip clocks out, and what a hostile host clocks in."""
    from primegap.radio.chip import Chip, ChipIdentity
    from primegap.radio.chip_memory import ChipMemory
    from primegap.radio.errors import UnexpectedAnswerError
    from primegap.radio.firmware import TEST_SIGNERS
    from primegap.radio.messages import MAX_MESSAGE_BYTES, Plain, encode_message
    from primegap.radio.spi import exchange
    from primegap.radio.spi_wire import CLOCK, SpiEndpoint

    request = encode_message(Plain.GET_STATE)
    identity = ChipIdentity(bytes(8), bytes(6))
    memory = ChipMemory.erased()
    most_tries = 8

    def host(data: bytes) -> None:
        """Every clocked byte comes from the input, and zeros behind its end."""
        steps, at, clocked = exchange(request, tries=most_tries), 0, 0
        returned: bytes | None = None
        try:
            while True:
                step = next(steps) if returned is None else steps.send(returned)
                returned = None
                if isinstance(step, bytes):
                    clocked += len(step)
                    returned = data[at : at + len(step)].ljust(len(step), b"\x00")
                    at += len(step)
        except StopIteration as done:
            answer: bytes = done.value
            promise(0 < len(answer) <= MAX_MESSAGE_BYTES, "an answer fits in the buffer")
        except UnexpectedAnswerError:
            pass
        promise(clocked <= most_tries * (len(request) + 2) + MAX_MESSAGE_BYTES, "it gives up")

    def chip(data: bytes) -> None:
        """Datagrams: a byte of length each, then that many bytes."""
        endpoint, at = SpiEndpoint(Chip(identity, memory, known_keys=TEST_SIGNERS)), 0
        while at < len(data):
            size = data[at]
            datagram, at = data[at + 1 : at + 1 + size], at + 1 + size
            returned = endpoint.receive(datagram)
            if datagram[:1] == CLOCK:
                promise(returned is not None and len(returned) == len(datagram), "byte for byte")
            else:
                promise(returned is None, "only a clock is answered")
        promise(endpoint.slave.busy_spans == 0, "a host cannot make it busy")

    def run(data: bytes) -> None:
        host(data)
        chip(data)

    return run


@harness
def route_keys() -> Harness:
    """Headers of streams, as either kind of key."""
    from primegap.quantumlink.rpc import AppRouteKey, RpcError, ServiceRouteKey

    def run(data: bytes) -> None:
        for kind in (AppRouteKey, ServiceRouteKey):
            with contextlib.suppress(RpcError):
                promise(kind.parse_untrusted(data).encode() == data, "keys have one form")

    return run


@harness
def api_cbor() -> Harness:
    """Messages of all routes; the first byte chooses one."""
    from dataclasses import fields

    from primegap.quantumlink.api.codec import MessageCodec
    from primegap.quantumlink.api.index import ALL_ROUTES
    from primegap.quantumlink.rpc import BadValueError

    found: dict[str, MessageCodec[Any]] = {}
    for route in ALL_ROUTES:
        for field in fields(route):
            value = getattr(route, field.name)
            if isinstance(value, MessageCodec):
                found[repr(value)] = value
    codecs = [found[name] for name in sorted(found)]
    promise(len(codecs) > 40, "the routes name their codecs")

    def run(data: bytes) -> None:
        if not data:
            return
        codec = codecs[data[0] % len(codecs)]
        with contextlib.suppress(BadValueError):
            encoded = codec.encode(codec.decode_untrusted(data[1:]))
            promise(codec.encode(codec.decode_untrusted(encoded)) == encoded, "one form is written")

    return run


@harness
def ur_text() -> Harness:
    """Texts of QR codes, one a line, given to one decoder."""
    from primegap.airgap.errors import RemoteAirgapError
    from primegap.airgap.ur import UrDecoder
    from primegap.airgap.ur.text import parse_ur_text_untrusted

    def run(data: bytes) -> None:
        decoder = UrDecoder()
        for line in data.decode("utf-8", "replace").splitlines():
            with contextlib.suppress(RemoteAirgapError):
                parse_ur_text_untrusted(line)
            with contextlib.suppress(RemoteAirgapError):
                decoder.receive(line)

    return run


@harness
def codes() -> Harness:
    """Codes of every kind, one a line, given to one reader."""
    from primegap.airgap import CodeReader, Expect, FrameVerdict

    good = {FrameVerdict.NEW, FrameVerdict.DUPLICATE}

    def run(data: bytes) -> None:
        for expect in Expect:
            reader = CodeReader(expect)
            for line in data.splitlines():
                verdict = reader.receive(line.decode("utf-8", "replace"), line)
                promise((verdict in good) == (reader.last_error is None), "a bad code has a reason")
                if reader.offers_restart:
                    reader.start_over()

    return run


@harness
def ur_values() -> Harness:
    """The CBOR of descriptors, accounts, keys and seeds; the first byte says which."""
    from primegap.airgap import RemoteAirgapError, Ur
    from primegap.airgap.ur import registry
    from primegap.airgap.ur.value import encode_value, parse_value_untrusted

    readers: list[tuple[str, Callable[[Ur], Any]]] = [
        ("crypto-output", registry.descriptor_from_ur),
        ("crypto-account", registry.account_from_ur),
        ("crypto-hdkey", registry.hdkey_from_ur),
        ("crypto-eckey", registry.eckey_from_ur),
        ("crypto-address", registry.address_from_ur),
        ("crypto-seed", registry.seed_from_ur),
        ("crypto-bip39", registry.words_from_ur),
        ("crypto-sskr", registry.sskr_from_ur),
    ]

    def run(data: bytes) -> None:
        if not data:
            return
        ur_type, read = readers[data[0] % len(readers)]
        with contextlib.suppress(RemoteAirgapError):
            value = parse_value_untrusted(data[1:])
            promise(parse_value_untrusted(encode_value(value)) == value, "a value stays itself")
            found = read(Ur(ur_type, data[1:]))
            if isinstance(found, registry.OutputDescriptor):
                again = registry.descriptor_to_ur(found, registry.Generation.V2)
                promise(str(registry.descriptor_from_ur(again)) == str(found), "so does its text")

    return run


@harness
def ur_parts() -> Harness:
    """The CBOR of one part, and of payloads."""
    from primegap.airgap.errors import RemoteAirgapError
    from primegap.airgap.ur.cbor import check_item_untrusted, parse_byte_string_untrusted
    from primegap.airgap.ur.part import encode_part, parse_part_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteAirgapError):
            part = parse_part_untrusted(data)
            promise(parse_part_untrusted(encode_part(part)) == part, "a part encodes to itself")
        for read in (check_item_untrusted, parse_byte_string_untrusted):
            with contextlib.suppress(RemoteAirgapError):
                read(data)

    return run


@harness
def psbt() -> Harness:
    """Transactions to be signed."""
    from primegap.bitcoin.errors import RemoteError
    from primegap.bitcoin.psbt import parse_psbt_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteError):
            parse_psbt_untrusted(data)

    return run


@harness
def screens() -> Harness:
    """Screens that apps ask for."""
    from primegap.keyos.ui.canonical import (
        decode_screen_untrusted,
        encode_screen,
        parse_app_screen_untrusted,
    )
    from primegap.keyos.ui.errors import ScreenError

    def run(data: bytes) -> None:
        with contextlib.suppress(ScreenError):
            promise(encode_screen(decode_screen_untrusted(data)) == data, "screens have one form")
        with contextlib.suppress(ScreenError):
            parse_app_screen_untrusted(data, app="bitcoin")

    return run


@harness
def keyos_frames() -> Harness:
    """Frames between the processes of the device."""
    from primegap.keyos.errors import FrameError
    from primegap.keyos.frame import encode_frame, parse_frame_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(FrameError):
            promise(encode_frame(parse_frame_untrusted(data)) == data, "frames have one form")

    return run


@harness
def keyos_messages() -> Harness:
    """What those frames carry; the first byte chooses the message."""
    import pkgutil
    from importlib import import_module

    import primegap.keyos.api
    from primegap.keyos.errors import FrameError
    from primegap.keyos.messages import Message, decode_message_untrusted, encode_message

    kinds: dict[str, type[Message]] = {}
    for module in pkgutil.iter_modules(primegap.keyos.api.__path__):
        for value in vars(import_module(f"primegap.keyos.api.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, Message):
                kinds[f"{value.__module__}.{value.__qualname__}"] = value
    ordered = [kinds[name] for name in sorted(kinds)]

    def run(data: bytes) -> None:
        if not data:
            return
        kind = ordered[data[0] % len(ordered)]
        with contextlib.suppress(FrameError):
            encoded = encode_message(decode_message_untrusted(kind, data[1:]))
            again = encode_message(decode_message_untrusted(kind, encoded))
            promise(again == encoded, "a message encodes to itself")

    return run


@harness
def manifests() -> Harness:
    """What an app says it needs."""
    from primegap.keyos.errors import ManifestError
    from primegap.keyos.manifest import parse_manifest_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(ManifestError):
            parse_manifest_untrusted(data)

    return run


@harness
def card_directories() -> Harness:
    """What a microSD card says is in a folder."""
    from primegap.keyos.airlock.directory import (
        RECORD_BYTES,
        find_orphans,
        parse_entries_untrusted,
    )

    def run(data: bytes) -> None:
        whole = len(data) - len(data) % RECORD_BYTES
        records = [(at, data[at : at + RECORD_BYTES]) for at in range(0, whole, RECORD_BYTES)]
        taken: set[int] = set()
        for entry in parse_entries_untrusted(records):
            promise(entry.places and taken.isdisjoint(entry.places), "a record counts twice")
            promise(len(entry.name) <= 260 and "\0" not in entry.name, "a name is none")
            taken.update(entry.places)
        promise(taken.isdisjoint(find_orphans(records)), "a record counts and does not")

    return run


@harness
def bip21() -> Harness:
    """Payment requests."""
    from primegap.bitcoin.address_uri import format_payment_request, parse_payment_request
    from primegap.bitcoin.errors import RemoteError
    from primegap.bitcoin.networks import Network

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteError):
            request = parse_payment_request(data.decode("utf-8", "replace"), Network.REGTEST)
            text = format_payment_request(request.address, request.amount)
            again = parse_payment_request(text, Network.REGTEST)
            promise(
                (again.address, again.amount) == (request.address, request.amount),
                "a request is written as it was read",
            )

    return run


@harness
def pairing_link() -> Harness:
    """What a companion scans to pair."""
    from primegap.quantumlink.errors import RemoteError
    from primegap.quantumlink.pairing import Invite, PairingLink

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteError):
            link = PairingLink.parse_untrusted(data.decode("utf-8", "replace"))
            again = PairingLink.parse_untrusted(link.encode())
            promise(again == link, "a link is written as it was read")
        with contextlib.suppress(RemoteError):
            promise(Invite.parse_untrusted(data).encode() == data, "an invitation has one form")

    return run


@harness
def pictures() -> Harness:
    """Files of pictures with QR codes."""
    from primegap.airgap.errors import RemoteAirgapError
    from primegap.airgap.qr import scan_picture

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteAirgapError):
            scan_picture(data)

    return run


@harness
def recordings() -> Harness:
    """Traces and captures of a link, up to both pictures."""
    from rich.console import Console

    from primegap.linktrace import RemoteTraceError, read_recording_untrusted
    from primegap.linktrace.page import render_page
    from primegap.linktrace.terminal import draw

    def run(data: bytes) -> None:
        with contextlib.suppress(RemoteTraceError):
            story = read_recording_untrusted(data)
            json.dumps(story.to_json(), allow_nan=False)
            promise("<script" not in render_page(story, title="", look=""), "pages run nothing")
            draw(story, Console(file=io.StringIO(), width=80))

    return run


@harness
def bundle_archives() -> Harness:
    """Archives of apps, as files and as what such a file contains."""
    from primegap.keyos.bundle import ArchiveError, pack, unpack_untrusted
    from primegap.keyos.bundle.archive import gzip_stored

    def run(data: bytes) -> None:
        # The checksum of the outer form would keep a fuzzer away from the inner one.
        for archive in (data, gzip_stored(data), gzip_stored(data + bytes(1024))):
            with contextlib.suppress(ArchiveError):
                promise(pack(unpack_untrusted(archive)) == archive, "an archive has one form")

    return run


@harness
def cosign_headers() -> Harness:
    """Headers of signed images, with and without known signers."""
    from primegap.cosign import ImageError, parse_header_untrusted, verify_image_untrusted

    def run(data: bytes) -> None:
        for size in (256, 1024):
            with contextlib.suppress(ImageError):
                header = parse_header_untrusted(data, magic=data[:4], header_bytes=size)
                promise(header.encode() == data[:size], "a header encodes to itself")
            for known in ((), (bytes(33),)):
                with contextlib.suppress(ImageError):
                    verify_image_untrusted(
                        data, known_keys=known, magic=data[:4], header_bytes=size
                    )

    return run


@harness
def publisher_certificates() -> Harness:
    """X.509 certificates of publishers."""
    from primegap.keyos.bundle import CertificateError, parse_certificate_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(CertificateError):
            publisher = parse_certificate_untrusted(data)
            promise(len(publisher.fingerprint) == 32, "a publisher has an identity")
            promise(publisher.name.isprintable(), "a publisher's name can be shown")

    return run


@harness
def bundle_manifests() -> Harness:
    """JSON manifests inside bundles."""
    from primegap.keyos.bundle import BundleManifestError
    from primegap.keyos.bundle.manifest import parse_bundle_manifest_untrusted, version_number

    def run(data: bytes) -> None:
        with contextlib.suppress(BundleManifestError):
            manifest = parse_bundle_manifest_untrusted(data)
            promise(len(manifest.app_id) == 16, "an app has an id")
            promise(manifest.name.isprintable(), "the name of an app can be shown")
            version_number(manifest.version)

    return run


@harness
def app_channels() -> Harness:
    """Certificates and handshakes between apps."""
    from primegap.keyos.between.certificate import (
        Authority,
        Certificate,
        Side,
        parse_certificate_untrusted,
    )
    from primegap.keyos.between.handshake import ChannelKey, Opening, Peer, accept
    from primegap.keyos.errors import ChannelBrokenError

    authority = Authority(bytes)
    peers = {side: Peer(bytes((side,)) * 16, side) for side in Side}
    keys = {}
    for side, peer in peers.items():
        key = ChannelKey(lambda size: b"k" * size)
        said = Certificate(side, peer.app_id, peer.instance, key.public_key, "app/clock")
        certificate = authority.certify(said)
        key.certified(certificate, authority.public_key, side=side, server="app/clock")
        keys[side] = key
    opening = Opening(keys[Side.CALLER], server="app/clock", rng=bytes)

    def run(data: bytes) -> None:
        with contextlib.suppress(ChannelBrokenError):
            certificate, signature = parse_certificate_untrusted(data)
            promise(certificate.encode() + signature == data, "a certificate has one form")
        with contextlib.suppress(ChannelBrokenError):
            opening.finish(data, peers[Side.CALLEE])
            raise BrokenPromiseError("an answer that nobody gave")
        with contextlib.suppress(ChannelBrokenError):
            accept(
                data,
                keys[Side.CALLEE],
                server="app/clock",
                peer=peers[Side.CALLER],
                number=bytes(8),
            )

    return run


@harness
def otp_uris() -> Harness:
    """Texts of QR codes that an authenticator is shown."""
    from primegap.apps.authenticator.otp import OtpUriError, parse_uri_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(OtpUriError):
            account, counter = parse_uri_untrusted(data.decode("utf-8", "replace"))
            promise(len(account.code_for(counter)) == account.digits, "a code has its digits")

    return run


@harness
def audit_logs() -> Harness:
    """Exported audit logs."""
    from primegap.bitcoin.audit import AuditLogError, verify_untrusted

    def run(data: bytes) -> None:
        with contextlib.suppress(AuditLogError):
            verified = verify_untrusted(data)
            lines = data.splitlines()
            promise(verified.log.entries == tuple(lines[1:-1]), "entries are kept as they came")
            promise(len(verified.log.read()) == len(lines) - 2, "every entry is read")

    return run


@harness
def policies() -> Harness:
    """Policies that a companion proposes."""
    from primegap.bitcoin.policy import Policy, PolicyFormatError

    def run(data: bytes) -> None:
        with contextlib.suppress(PolicyFormatError):
            promise(Policy.parse_untrusted(data).encode() == data, "a policy has one form")

    return run


@harness
def registered_wallets() -> Harness:
    """Stored records of registered wallets, and the templates in them."""
    from primegap.bitcoin.errors import AccountFormatError
    from primegap.bitcoin.registration import read_registration_untrusted, write_registration
    from primegap.bitcoin.wallet_policy import parse_template_untrusted

    key = bytes(32)

    def run(data: bytes) -> None:
        with contextlib.suppress(AccountFormatError):
            account = read_registration_untrusted(data, key)
            again = read_registration_untrusted(write_registration(account, key), key)
            promise(again == account, "a record is read back")
        with contextlib.suppress(AccountFormatError):
            template = parse_template_untrusted(data.decode("latin-1"))
            promise(max(use.key for use in template.uses) < template.key_count, "keys are counted")

    return run


@harness
def messages() -> Harness:
    """Requests to sign a message, armoured messages, and signatures of them."""
    from primegap.bitcoin.errors import RemoteError
    from primegap.bitcoin.message_requests import (
        parse_armour_untrusted,
        parse_code_untrusted,
        parse_file_untrusted,
    )
    from primegap.bitcoin.messages import verify_message
    from primegap.bitcoin.networks import Network

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        with contextlib.suppress(RemoteError):
            parse_code_untrusted(text)
        with contextlib.suppress(RemoteError):
            parse_file_untrusted(data)
        with contextlib.suppress(RemoteError):
            signed = parse_armour_untrusted(text)
            verify_message(signed.message, signed.address, signed.signature, Network.MAINNET)

    return run
