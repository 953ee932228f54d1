"""Write the seeds in fuzz/corpus from the test vectors: `python -m fuzz.corpus`.

A few short inputs for each harness, good ones and bad ones, that lead a fuzzer into the depth of a
format. Files are named by what is in them, so the same vectors give the same folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fuzz.harnesses import HARNESSES, MAX_INPUT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "fuzz" / "corpus"
VECTORS: Final = ROOT / "tests" / "vectors"
SEEDS_EACH: Final = 12
"""Seeds of one harness: enough to show every part of a format, few enough for a tree."""


def _vectors(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _hex(value: object) -> Iterator[bytes]:
    for text in _texts(value):
        try:
            yield bytes.fromhex(text)
        except ValueError:
            continue


def _btp() -> Iterator[bytes]:
    for packets in ((b"\x00\x00\x00\x00\x2c\x01\x00\xb2", b"\x00\x00\x01\x00\x2c\x01\x00\xb2"),):
        yield b"".join(bytes([len(packet), 1]) + packet for packet in packets)
    for length in (b"\x01\x00\x00", b"\x00\x00\x02", b"\x01\x00\x02", b"\x00\x00\x00"):
        yield b"\x08\xff" + b"\xff\xff\x00\x00" + length + b"\xb2"


def _spi() -> Iterator[bytes]:
    """What a chip clocks out to a host, and the host's datagrams: a length in front of each."""
    from primegap.radio.messages import Echo, Plain, SendData, encode_message
    from primegap.radio.spi_wire import CLOCK, DESELECT, SELECT

    for listener in (b"\x51", b"\x69"):
        for length in (b"\x00\x02", b"\x51\x51", b"\x69\x69", b"\x01\x00", b"\xff\xff"):
            yield listener * 2 + length + b"\x04\x02" * 3
    answer = CLOCK + bytes(2), CLOCK + b"\xaa" * 20
    for message in (Plain.GET_STATE, Echo(b"abc"), SendData(b"x" * 60)):
        request = SELECT, CLOCK + encode_message(message), DESELECT
        datagrams = *request, SELECT, *answer, DESELECT
        yield b"".join(bytes([len(one)]) + one for one in datagrams)


def _screens() -> Iterator[bytes]:
    from primegap.keyos.ui import screens
    from primegap.keyos.ui.canonical import encode_screen

    yield encode_screen(screens.welcome())
    yield encode_screen(screens.pin_entry("PIN", "Four to twelve digits"))
    yield encode_screen(screens.seed_length())
    yield encode_screen(screens.dice_entry())
    yield encode_screen(screens.quiz(3, ("abandon", "ability", "able")))
    yield encode_screen(screens.working("Sending"))
    yield encode_screen(screens.message("Done", "All is well", good=True))


def _keyos_frames() -> Iterator[bytes]:
    from primegap.keyos.frame import Frame, Kind, encode_frame

    for kind in Kind:
        yield encode_frame(
            Frame(kind=kind, message_id=7, correlation=9, words=(1, 2, 3, 4), payload=b"payload")
        )


def _keyos_messages() -> Iterator[bytes]:
    import cbor2

    values: tuple[list[object], ...] = (
        [],
        ["a"],
        [b"a"],
        [7],
        [True],
        [None, "a"],
        ["a", b"b", 1],
        [["a"], [[1, "b"]]],
    )
    for number, value in enumerate(values):
        yield bytes([number]) + cbor2.dumps(value)


def _app_channels() -> Iterator[bytes]:
    from primegap.keyos.between.certificate import Authority, Certificate, Side
    from primegap.keyos.between.handshake import ChannelKey, Opening

    authority = Authority(bytes)
    key = ChannelKey(lambda size: b"k" * size)
    for side in (Side.CALLEE, Side.CALLER):
        said = Certificate(side, bytes((side,)) * 16, side, key.public_key, "app/clock")
        certificate = authority.certify(said)
        yield certificate
        key.certified(certificate, authority.public_key, side=side, server="app/clock")
        yield Opening(key, server="app/clock", rng=bytes).hello


def _otp_uris() -> Iterator[bytes]:
    key = "JBSWY3DPEHPK3PXPJBSWY3DP"
    for text in (
        f"totp/Mail:me%40example.org?secret={key}&issuer=Mail",
        f"totp/me?secret={key}&algorithm=SHA256&digits=8&period=60",
        f"hotp/Bank:me?secret={key}&counter=7",
        "totp/x?secret=AA",
    ):
        yield f"otpauth://{text}".encode()


def _captures() -> Iterator[bytes]:
    from tests.linktrace_kit import CaptureMaker

    maker = CaptureMaker()
    maker.connected()
    maker.record(b"\x82" + bytes(32) + b"\x02\x05" + bytes(60), 3, to_device=True)
    maker.record(b"\x82" + bytes(32) + b"\x01\x08" + bytes(60), 3, to_device=False, pieces=2)
    maker.disconnected()
    yield maker.build()
    yield (
        b'{"primegap-link-trace":1}\n{"t":1,"fact":"wire-sent","kind":"XX1","version":130,'
        b'"handshake":1,"size":9,"packets":1}\n{"t":3,"fact":"session-closed","code":"other"}\n'
    )


def _pictures() -> Iterator[bytes]:
    import io

    from PIL import Image

    from primegap.airgap.drawing import qr_png
    from primegap.airgap.qr import qr_matrix

    png = qr_png(qr_matrix("UR:BYTES/HDEYMEJTSWHH"), 2)
    yield png
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("L").save(out, "JPEG", quality=60)
    yield out.getvalue()


def _codes() -> Iterator[bytes]:
    vectors = _vectors("ur-vectors")
    for row in vectors["bbqr"]["rows"]:
        yield "\n".join(row["parts"]).encode()
    yield "\n".join(vectors["ur1_legacy"]["multi"]["parts"]).encode()
    yield "\n".join(vectors["psbt_same_payload"]["pMofN_of_base58"]).encode()
    yield vectors["seedqr"]["rows"][3]["seedqr_digits"].encode()
    yield bytes.fromhex(vectors["seedqr"]["rows"][3]["compact_hex"])
    yield vectors["psbt_same_payload"]["psbt_hex"].encode()


def _pairing() -> Iterator[bytes]:
    from primegap.quantumlink.identity import Qid
    from primegap.quantumlink.pairing import Invite, PairingLink, PairingToken
    from primegap.quantumlink.suite import SUITES

    for suite in SUITES:
        invite = Invite(suite, Qid(bytes(range(16))), PairingToken(bytes(range(16, 32))))
        yield invite.encode()
        yield PairingLink(invite, bytes(6), "Device").encode().encode()


def _addresses() -> Iterator[bytes]:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    for query in (
        "",
        "?amount=0.001",
        "?amount=1&label=Shop&message=a%20b",
        "?req-x=1",
        "?amount=",
    ):
        yield f"bitcoin:{address}{query}".encode()


def _bundle_archives() -> Iterator[bytes]:
    from primegap.keyos.bundle import pack
    from primegap.keyos.bundle.archive import gunzip_stored_untrusted

    for files in ({}, {"code/a.py": b"a = 1"}, {"manifest.mldsa65": b"s", "code/x/y.z": b""}):
        archive = pack({"manifest.json": b"{}", **files})
        yield archive
        yield gunzip_stored_untrusted(archive)


def _cosign_headers() -> Iterator[bytes]:
    from primegap.cosign import Header, sign_image
    from primegap.radio.firmware import open_signers

    one, two = open_signers()
    for size in (256, 1024):
        header = Header.unsigned(
            magic=b"PRM1",
            header_bytes=size,
            timestamp_s=1_712_660_771,
            date="Apr 09 2024",
            version="0.0.77",
            size=1,
        )
        for signers in ((), (one, two), (one,), (None, two)):
            yield sign_image(header, b"x", signers)


def _publisher_certificates() -> Iterator[bytes]:
    from tests.bundle_kit import publisher

    yield publisher().certificate
    yield publisher(2, "Ünïcode & Söhne", not_before_s=0, not_after_s=4_000_000_000).certificate


def _bundle_manifests() -> Iterator[bytes]:
    from tests.bundle_kit import signed_bundle

    from primegap.keyos.bundle import unpack_untrusted
    from primegap.keyos.bundle.signed import HEADER_BYTES

    for bundle in (signed_bundle(), signed_bundle(storage=False, permissions={})):
        yield unpack_untrusted(bundle)["manifest.json"][HEADER_BYTES:]
    yield b'{"manifestVersion": "0", "manifestVersion": "0"}'


def _card_directories() -> Iterator[bytes]:
    from primegap.keyos.airlock.directory import make_records, make_short

    names = (
        "A.TXT",
        "psbt-3f2a.psbt",
        "Wallet export of Tuesday.json",
        "ä€ 漢字 😀.txt",
        "x" * 200,
    )
    records: list[bytes] = []
    for number, name in enumerate(names):
        short = make_short(name, ())
        made = make_records(name, short, folder=number == 2, cluster=number, size=number * 999)
        records += [*made, b"\xe5" + made[0][1:]] if number % 2 else made
        yield b"".join(made)
    yield b"".join(records)


def _audit_logs() -> Iterator[bytes]:
    from primegap.bitcoin.audit import AuditKey, AuditLog

    key, log = AuditKey(bytes(32)), AuditLog()
    for number in range(4):
        data = key.export(log, now_s=100)
        yield data
        yield data.replace(b"first", b"fjrst", 1)
        log = log.adding("payment-confirmed", {"amount": number, "to": ["bcrt1q"]}, now_s=number)


def _policies() -> Iterator[bytes]:
    from primegap.bitcoin.policy import Policy, Scope, Unattended

    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    quick = Unattended(session_s=3600, max_payment=1000, max_total=2000)
    for policy in (
        Policy(Scope.ACCOUNT),
        Policy(Scope.COMPANION, max_payment=1000, max_window=5000, cool_down_s=60),
        Policy(Scope.COMPANION, allowed=(address,), unattended=quick),
    ):
        yield policy.encode()


def _registered_wallets() -> Iterator[bytes]:
    from primegap.bitcoin.accounts import Account
    from primegap.bitcoin.keys import key_at
    from primegap.bitcoin.networks import Network
    from primegap.bitcoin.registration import write_registration
    from primegap.bitcoin.wallet_policy import parse_template_untrusted

    path = "m/48'/1'/0'/2'"
    keys = tuple(key_at(bytes([n]) * 16, Network.REGTEST, path) for n in range(2))
    for text in (
        "wsh(sortedmulti(2,@0/**,@1/**))",
        "tr(@0/**,and_v(v:pk(@1/<2;3>/*),older(10)))",
    ):
        account = Account.from_policy(
            parse_template_untrusted(text), keys, Network.REGTEST, name="Test"
        )
        yield write_registration(account, bytes(32))
        yield text.encode()


def _messages() -> Iterator[bytes]:
    from primegap.bitcoin.message_requests import SignedMessage

    yield b"signmessage m/84h/0h/0h/0/5 ascii:Hello"
    yield b"Hello\nm/84'/0'/0'/0/5\np2wpkh"
    for case in _vectors("bitcoin-bip322")["simple"]:
        for signature in case["bip322_signatures"]:
            signed = SignedMessage(case["message"].encode(), case["address"], signature)
            yield signed.armoured().encode()


def seeds(name: str) -> Iterable[bytes]:
    """Return all seeds of a harness that the vectors offer."""
    wire = "quantumlink-v2-wire-vectors"
    match name:
        case "records":
            found = [data for data in _hex(_vectors(wire)) if data[:1] == b"\x02"]
            return [data for data in found if len(data) > 34 and data[33] in {1, 2}]
        case "frames":
            return [*_hex(_vectors(wire)["frames"]), *_hex(_vectors(wire)["acks"])]
        case "btp":
            return _btp()
        case "postcard":
            return [bytes([number, 1, 2, 3]) for number in range(10)]
        case "spi":
            return _spi()
        case "route-keys":
            return _hex(_vectors("quantumlink-v2-api-vectors")["route_keys"])
        case "api-cbor":
            cases = _vectors("quantumlink-v2-api-vectors")["encode"]
            return [bytes([at % 256]) + bytes.fromhex(c["cbor"]) for at, c in enumerate(cases)]
        case "ur-text":
            texts = (text for text in _texts(_vectors("ur-vectors")) if text[:3].lower() == "ur:")
            return [text.encode() for text in texts]
        case "codes":
            return _codes()
        case "ur-values":
            rows = _vectors("ur-vectors")["registry"]
            return [bytes([at % 8]) + bytes.fromhex(r["cbor_hex"]) for at, r in enumerate(rows)]
        case "ur-parts":
            return _hex(_vectors("ur-vectors"))
        case "psbt":
            return [data for data in _hex(_vectors("bitcoin-bip174")) if data[:4] == b"psbt"]
        case "screens":
            return _screens()
        case "keyos-frames":
            return _keyos_frames()
        case "keyos-messages":
            return _keyos_messages()
        case "manifests":
            return [path.read_bytes() for path in sorted((ROOT / "src").rglob("manifest.toml"))]
        case "card-directories":
            return _card_directories()
        case "bip21":
            return _addresses()
        case "pairing-link":
            return _pairing()
        case "audit-logs":
            return _audit_logs()
        case "messages":
            return _messages()
        case "policies":
            return _policies()
        case "registered-wallets":
            return _registered_wallets()
        case "otp-uris":
            return _otp_uris()
        case "app-channels":
            return _app_channels()
        case "pictures":
            return _pictures()
        case "bundle-archives":
            return _bundle_archives()
        case "cosign-headers":
            return _cosign_headers()
        case "publisher-certificates":
            return _publisher_certificates()
        case "bundle-manifests":
            return _bundle_manifests()
        case _:
            return _captures()


def chosen(name: str) -> list[bytes]:
    """Return the seeds to keep: different ones, spread over all there are, shortest in front."""
    usable = {data for data in seeds(name) if 1 <= len(data) <= MAX_INPUT_BYTES}
    ordered = sorted(usable, key=lambda data: (len(data), data))
    step = max(1, -(-len(ordered) // SEEDS_EACH))
    return ordered[::step]


def main() -> None:
    """Write the folder anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in HARNESSES:
        folder = FOLDER / name
        folder.mkdir(parents=True)
        for data in chosen(name):
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
