"""What a factory gives a device and its Bluetooth chip: an id, fuse entropy, signed firmware.

Each is drawn once for a data directory. An ordinary device trusts firmware of its own maker only:
two keys that are drawn here, sign the one image, and are forgotten, or those of the signed header
that a maker has put into the directory. Keys that everybody has are for development devices.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from primegap.cosign import CosignError, sign_image
from primegap.device.errors import DataDirectoryError
from primegap.files import StorageError, read_file, write_file
from primegap.radio.chip import FIRMWARE_VERSION
from primegap.radio.chip_memory import HEADER_BYTES
from primegap.radio.firmware import (
    TEST_SIGNERS,
    bundled_image,
    image_with,
    signers_of,
    unsigned_image,
    version_of,
)

if TYPE_CHECKING:
    from pathlib import Path

CHIP_ID: Final = "radio-id"
FUSES: Final = "fuse-entropy"
FIRMWARE_HEADER: Final = "radio-firmware-header"
CHIP_ID_BYTES: Final = 8
FUSE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ChipSupply:
    """What one device and its chip were made with."""

    device_id: bytes
    "Factory id of the chip, 8 bytes."
    fuses: bytes = field(repr=False)
    "Entropy in the fuses of the device's processor, 32 bytes: secret (radio section 10)."
    header: bytes = field(repr=False)
    "Signed header of the chip's firmware image, 256 bytes."

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Compressed public keys of those who may sign the chip's firmware."""
        return signers_of(image_with(self.header))


def chip_supply(data: Path, *, development: bool) -> ChipSupply:
    """Return what this device was made with, drawn at its first start.

    Raises:
        DataDirectoryError: a file cannot be read or written, or is damaged.
    """
    return ChipSupply(
        _drawn_once(data / CHIP_ID, CHIP_ID_BYTES),
        _drawn_once(data / FUSES, FUSE_BYTES),
        bundled_image()[:HEADER_BYTES] if development else _own_header(data / FIRMWARE_HEADER),
    )


def _drawn_once(path: Path, size: int) -> bytes:
    try:
        stored = read_file(path)
        if stored is None:
            stored = secrets.token_hex(size).encode()
            write_file(path, stored)
        value = bytes.fromhex(stored.decode("ascii"))
    except (StorageError, ValueError) as error:
        raise DataDirectoryError(f"cannot use {path}") from error
    if len(value) != size:
        raise DataDirectoryError(f"{path} is damaged")
    return value


def _own_header(path: Path) -> bytes:
    """Return the header for the present firmware, drawing it anew for another version."""
    try:
        stored = read_file(path)
        if (
            stored is None
            or len(stored) != HEADER_BYTES
            or version_of(image_with(stored)) != FIRMWARE_VERSION
        ):
            stored = _sign_once()
            write_file(path, stored)
        signers = signers_of(image_with(stored))
    except (StorageError, CosignError) as error:
        raise DataDirectoryError(f"cannot use {path}") from error
    if not set(TEST_SIGNERS).isdisjoint(signers):
        raise DataDirectoryError(f"{path} is signed with test keys, which anybody has")
    return stored


def _sign_once() -> bytes:
    """Sign the image with two fresh keys, which nobody has afterwards."""
    from cryptography.hazmat.primitives.asymmetric import ec

    header, binary = unsigned_image()
    keys = (ec.generate_private_key(ec.SECP256K1()), ec.generate_private_key(ec.SECP256K1()))
    return sign_image(header, binary, keys)[:HEADER_BYTES]
