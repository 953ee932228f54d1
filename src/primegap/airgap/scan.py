"""One reader for every kind of code, told apart by their content (uniform-resources.md section 15).

    reader = CodeReader(Expect.PSBT)
    while reader.result is None:
        for code in scan_picture(next_picture()):
            reader.receive(code.text, code.raw)
    signed = sign(reader.result.psbt())
    animation = Animation.answer(reader.result.dialect, signed, DEFAULT_DENSITY)

Pure: it takes the content of symbols that were read elsewhere.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from primegap.airgap.bbqr import Bbqr, BbqrFormat, is_bbqr_text
from primegap.airgap.dialect import Container, Dialect, Received, psbt_from_text
from primegap.airgap.errors import CborError, NotAPsbtError, SeedQrError, UnexpectedUrTypeError
from primegap.airgap.limits import MAX_SYMBOL_DIGITS
from primegap.airgap.pmofn import PmofnFormat, is_pmofn_text
from primegap.airgap.reader import Format, Frame, FrameReader
from primegap.airgap.seedqr import (
    ENTROPY_BYTES,
    decode_compact_seedqr_untrusted,
    decode_seedqr_untrusted,
    is_seedqr_text,
)
from primegap.airgap.ur.cbor import parse_byte_string_untrusted
from primegap.airgap.ur.decoder import UrFormat
from primegap.airgap.ur.legacy import LegacyUrFormat, is_legacy_ur_text
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.payload import PSBT_MAGIC, PSBT_UR_TYPES
from primegap.airgap.ur.text import is_ur_text

if TYPE_CHECKING:
    from collections.abc import Collection

_PSBT_FILE_TYPES: Final = frozenset("PBU")  # a few writers mark a PSBT as binary or as text


class Expect(enum.Enum):
    """What the person wants to read; it decides how a code without a mark is understood."""

    ANYTHING = "anything"
    "Any message but a seed."
    PSBT = "psbt"
    SEED = "seed"
    "A seed to be loaded: 16 or 32 bare bytes, and 48 or 96 digits, are one only here."


@dataclass(frozen=True, slots=True)
class _Code:
    """A symbol whose container is known."""

    container: Container
    part: Any = field(repr=False)
    "Of the container's own format; of a single symbol what it holds, a `Received`."


class CodeFormat(Format[_Code, Received]):
    """All kinds of codes: each symbol is told apart and left to the format of its container."""

    def __init__(self, expect: Expect, ur_types: Collection[str] | None) -> None:
        if ur_types is None and expect is Expect.PSBT:
            ur_types = PSBT_UR_TYPES
        self._expect = expect
        self._takes_bytes = ur_types is None or "bytes" in ur_types
        self._formats: dict[Container, Format[Any, Any]] = {
            Container.UR: UrFormat(ur_types),
            Container.LEGACY_UR: LegacyUrFormat(),
            Container.BBQR: BbqrFormat(),
            Container.PMOFN: PmofnFormat(),
        }
        self._container = Container.PLAIN
        self._single: Received | None = None
        self._single_bytes = 0

    @override
    def parse(self, text: str, raw: bytes) -> Frame[_Code]:
        container = self._container_of(text, raw)
        of = self._formats.get(container)
        if of is None:
            return Frame(container, _Code(container, self._read_single(container, text, raw)))
        if container is Container.LEGACY_UR and not self._takes_bytes:
            raise UnexpectedUrTypeError("not a type asked for")
        frame = of.parse(text, raw)
        return Frame((container, frame.key), _Code(container, frame.part))

    @override
    def begin(self, part: _Code) -> None:
        self._container, self._single = part.container, None
        of = self._formats.get(part.container)
        if of is None:
            self._single, self._single_bytes = part.part, len(part.part.content)
        else:
            of.begin(part.part)

    @override
    def take(self, part: _Code) -> bool:
        of = self._formats.get(part.container)
        return True if of is None else bool(of.take(part.part))

    @override
    def complete(self) -> Received | None:
        of = self._formats.get(self._container)
        if of is None:
            single, self._single = self._single, None  # it may be a secret: the reader has it now
            return single
        whole = of.complete()
        return None if whole is None else self._content(self._container, whole)

    @override
    def size(self) -> tuple[int, int, int]:
        of = self._formats.get(self._container)
        return (1, 1, self._single_bytes) if of is None else of.size()

    def _container_of(self, text: str, raw: bytes) -> Container:
        """Tell the kinds apart, in the order of section 15."""
        seed = self._expect is Expect.SEED
        if seed and len(raw) in ENTROPY_BYTES:
            return Container.COMPACT_SEEDQR
        if is_ur_text(text):
            return Container.LEGACY_UR if is_legacy_ur_text(text) else Container.UR
        if is_bbqr_text(text):
            return Container.BBQR
        if is_pmofn_text(text):
            return Container.PMOFN
        return Container.SEEDQR if seed and is_seedqr_text(text) else Container.PLAIN

    def _content(self, container: Container, whole: Any) -> Received:
        """Return a complete message of several symbols."""
        if isinstance(whole, Ur):
            return self._checked(Dialect(container, whole.ur_type), _ur_content(whole))
        if isinstance(whole, Bbqr):
            if self._expect is Expect.PSBT and whole.file_type not in _PSBT_FILE_TYPES:
                raise NotAPsbtError("a BBQr of another type")
            return self._checked(Dialect(container, whole.file_type), whole.data)
        kind, content = psbt_from_text(whole) or ("", whole.encode())
        return self._checked(Dialect(container, kind), content)

    def _read_single(self, container: Container, text: str, raw: bytes) -> Received:
        """Return the message of one symbol without a mark."""
        if container is Container.COMPACT_SEEDQR:
            return Received(Dialect(container), decode_compact_seedqr_untrusted(raw))
        if container is Container.SEEDQR:
            return Received(Dialect(container), decode_seedqr_untrusted(text))
        if self._expect is Expect.SEED:
            raise SeedQrError("not the form of a seed")
        if not text or len(text) > MAX_SYMBOL_DIGITS or len(raw) > MAX_SYMBOL_DIGITS:
            raise NotAPsbtError("empty, or longer than a QR symbol holds")
        if raw.startswith(PSBT_MAGIC):
            return Received(Dialect(container, "binary"), bytes(raw))
        kind, content = psbt_from_text(text) or ("", text.encode(errors="replace"))
        return self._checked(Dialect(container, kind), content)

    def _checked(self, dialect: Dialect, content: bytes) -> Received:
        received = Received(dialect, content)
        if self._expect is Expect.PSBT:
            received.psbt()
        return received


class CodeReader(FrameReader[_Code, Received]):
    """Collects one message from the symbols of whatever kind that come by.

    The first good symbol decides the kind. Others are ignored while an animation is under way.
    """

    def __init__(
        self, expect: Expect = Expect.ANYTHING, *, ur_types: Collection[str] | None = None
    ) -> None:
        """Start with nothing read.

        Args:
            expect: what the person wants to read.
            ur_types: types of a UR to accept; None accepts every type, for a PSBT those that hold
                one.
        """
        super().__init__(CodeFormat(expect, ur_types))


def _ur_content(ur: Ur) -> bytes:
    """Return the bytes in a UR that is a byte string, else its CBOR."""
    if ur.ur_type not in PSBT_UR_TYPES:
        return ur.cbor
    try:
        return parse_byte_string_untrusted(ur.cbor)
    except CborError:
        raise NotAPsbtError("not a byte string") from None
