"""The code of a verified bundle in the form that an interpreter runs: a zip, always the same."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Final

from primegap.keyos.bundle.signed import CODE

if TYPE_CHECKING:
    from primegap.keyos.bundle import Bundle

MIN_IMAGE_BYTES: Final = 4097
"Anything smaller would travel inside a message; an image is always a sealed object of its own."
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def code_image(bundle: Bundle) -> bytes:
    """Return a zip of the files below `code/`, stored, made of the very bytes that were verified.

    Raises nothing: the sizes of a bundle are within those of a zip.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in bundle.files.items():
            if name.startswith(CODE):
                archive.writestr(zipfile.ZipInfo(name.removeprefix(CODE), _EPOCH), data)
        if out.tell() < MIN_IMAGE_BYTES:
            archive.comment = b" " * MIN_IMAGE_BYTES
    return out.getvalue()
