"""Compose docs/images/device.png out of the screens that a demonstration kept.

Run `primegap demo --exit`, then `python -m scripts.docs_picture FOLDER/evidence`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from PIL import Image
from scripts.docs_page import DOCS

PICTURE: Final = DOCS / "images/device.png"
SCREENS: Final = ("home", "confirm-pairing", "address-ours", "review", "signed-qr")
"Names in the evidence folder, in the order of a payment; of several the first is taken."
WIDTH: Final = 288
GAP: Final = 16
BACKGROUND: Final = (96, 102, 112)
COLOURS: Final = 96  # enough for smooth letters; keeps the file small
MAX_BYTES: Final = 250_000


def main() -> None:
    """Compose the picture."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs_picture", description=__doc__)
    parser.add_argument("evidence", type=Path, help="evidence folder of a demonstration")
    folder: Path = parser.parse_args().evidence
    pictures = [_shrunk(folder, name) for name in SCREENS]
    height = pictures[0].height
    across = GAP + (WIDTH + GAP) * len(pictures)
    sheet = Image.new("RGB", (across, height + 2 * GAP), BACKGROUND)
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (GAP + number * (WIDTH + GAP), GAP))
    PICTURE.parent.mkdir(exist_ok=True)
    reduced = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(PICTURE, optimize=True)
    size = PICTURE.stat().st_size
    if size > MAX_BYTES:
        raise SystemExit(f"{PICTURE} has {size} bytes")


def _shrunk(folder: Path, name: str) -> Image.Image:
    found = sorted(folder.glob(f"[0-9][0-9]-{name}.png"))
    if not found:
        raise SystemExit(f"{folder} holds no picture of {name}")
    with Image.open(found[0]) as picture:
        height = picture.height * WIDTH // picture.width
        return picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
