"""Signing by pictures in a folder: the animated code out, pictures of the device's answer in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from primegap.airgap import DEFAULT_DENSITY, DEFAULT_FRAME_PERIOD_MS, QrError
from primegap.airgap.drawing import qr_animation, qr_png
from primegap.airgap.qr import qr_matrix
from primegap.cli.output import say
from primegap.web.companion_scan import Scanner

if TYPE_CHECKING:
    from pathlib import Path

    from primegap.companion.companion import Companion
    from primegap.companion.state import Payment

FRAMES_PER_PART: Final = 3  # readers miss some
FRAME_MODULE_PX: Final = 6
LOOK_EVERY_S: Final = 0.5
PICTURES: Final = (".png", ".jpg", ".jpeg")


async def sign_by_pictures(companion: Companion, payment: Payment, folder: Path) -> Payment:
    """Write the animated code as pictures, then collect the device's answer from pictures."""
    outgoing, incoming = folder / "to-device", folder / "from-device"
    for part in (outgoing, incoming):
        part.mkdir(parents=True, exist_ok=True)
    encoder = companion.payment_encoder(payment, DEFAULT_DENSITY.max_fragment_bytes)
    frames = [
        qr_matrix(encoder.next_part(), min_version=DEFAULT_DENSITY.qr_version)
        for _ in range(encoder.parts_count * FRAMES_PER_PART)
    ]
    for number, frame in enumerate(frames, 1):
        (outgoing / f"frame-{number:03}.png").write_bytes(qr_png(frame, FRAME_MODULE_PX))
    animation = qr_animation(frames, FRAME_MODULE_PX, DEFAULT_FRAME_PERIOD_MS)
    (outgoing / "animation.png").write_bytes(animation)
    say(f"Show the pictures in {outgoing} to the device (Bitcoin, Sign by QR code).")
    say(f"Then put pictures of what it shows into {incoming}.")
    return companion.accept_signed(payment, await _collect(incoming))


async def _collect(folder: Path) -> bytes:
    """Read pictures as they appear in a folder, until they make a signed payment."""
    scanner = Scanner()
    seen: set[tuple[str, int, int]] = set()
    while True:
        for path in _new_pictures(folder, seen):
            try:
                scan = await scanner.look(path.read_bytes())
            except QrError:
                continue  # still being written, perhaps; it is read again when it changes
            say(f"{path.name}: {scan.hint or scan.verdict}  {scan.fraction:.0%}")
            if scan.psbt is not None:
                return scan.psbt
        await asyncio.sleep(LOOK_EVERY_S)


def _new_pictures(folder: Path, seen: set[tuple[str, int, int]]) -> list[Path]:
    """Return the pictures that appeared or changed since the last look."""
    found = []
    for path in sorted(folder.iterdir()):
        status = path.stat()
        mark = (path.name, status.st_size, status.st_mtime_ns)
        if path.suffix.lower() in PICTURES and mark not in seen:
            seen.add(mark)
            found.append(path)
    return found
