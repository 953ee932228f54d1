"""The device's fonts: found as files of their packages, opened once a face. Imports Pillow."""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import ImageFont

from primegap.keyos.ui.errors import FontError

if TYPE_CHECKING:
    from primegap.keyos.ui.theme import Face

_FILES: Final = {
    "sans": ("fontpkg_inter", "Inter[opsz,wght].ttf"),
    "mono": ("fontpkg_jetbrains_mono", "JetBrainsMono[wght].ttf"),
}
OVERSAMPLE: Final = 3
"""Text is drawn three times as large and reduced: glyphs then stand at thirds of a pixel and keep
their distances, which they do not when each is moved to a whole pixel."""
BLEED: Final = 4
"Pixels that a glyph may stand out of its line's rectangle: high accents, wide ones on an i."
_OPTICAL_SIZES: Final = (14, 32)  # range of Inter's axis
# A glyph stands for its character and nothing else: no arrows made of "->", no joined letters.
_FEATURES: Final = ("-calt", "-liga", "-clig", "-dlig")


@functools.cache
def font_path(family: str) -> Path:
    """Return the path of a family's font file, without importing its package.

    Raises:
        FontError: the package is not installed.
    """
    package, name = _FILES[family]
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "files" / name
        if path.is_file():
            return path
    raise FontError(f"the package {package} is not installed")


@functools.lru_cache(maxsize=64)  # all faces of the theme, about thirty
def font(face: Face) -> ImageFont.FreeTypeFont:
    """Return the opened font of a face, at OVERSAMPLE times its size."""
    opened = ImageFont.truetype(
        str(font_path(face.family)),
        face.size * OVERSAMPLE,
        layout_engine=ImageFont.Layout.RAQM,
    )
    low, high = _OPTICAL_SIZES
    size = float(min(max(face.size, low), high))
    opened.set_variation_by_axes([size, face.weight] if face.family == "sans" else [face.weight])
    return opened


@functools.lru_cache(maxsize=64)
def features(face: Face) -> list[str]:
    """Return the font features to draw and measure a face with."""
    return [*_FEATURES, "tnum"] if face.tabular else list(_FEATURES)


def measure(text: str, face: Face) -> float:
    """Return the width of one line of text in pixels."""
    return font(face).getlength(text, features=features(face)) / OVERSAMPLE if text else 0.0


def width(text: str, face: Face) -> int:
    """Return the whole pixels a line of text takes."""
    return math.ceil(measure(text, face))
