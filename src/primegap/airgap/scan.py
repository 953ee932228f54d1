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
from typing import TYPE_CHECKING, Any, Final

from primegap.airgap.bbqr import Bbqr, BbqrReader, is_bbqr_text
from primegap.airgap.dialect import Container, Dialect, Received, psbt_from_text
from primegap.airgap.errors import (
    CborError,
    NotAPsbtError,
    OtherMessageError,
    RefusedCodeError,
    RemoteAirgapError,
    SeedQrError,
    UnexpectedUrTypeError,
)
from primegap.airgap.limits import MAX_SYMBOL_DIGITS
from primegap.airgap.pmofn import PmofnReader, is_pmofn_text
from primegap.airgap.reader import (
    FRAMES_TO_OFFER_RESTART,
    FrameReader,
    FrameVerdict,
    ReadProgress,
)
from primegap.airgap.seedqr import (
    ENTROPY_BYTES,
    decode_compact_seedqr_untrusted,
    decode_seedqr_untrusted,
    is_seedqr_text,
)
from primegap.airgap.ur.cbor import parse_byte_string_untrusted
from primegap.airgap.ur.decoder import UrDecoder
from primegap.airgap.ur.legacy import LegacyUrReader, is_legacy_ur_text
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


class CodeReader:
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
        self._expect = expect
        if ur_types is None and expect is Expect.PSBT:
            ur_types = PSBT_UR_TYPES
        self._ur_types = ur_types
        self._forget()

    def _forget(self) -> None:
        self._container: Container | None = None
        self._reader: FrameReader[Any, Any] | None = None
        self._result: Received | None = None
        self._error: RemoteAirgapError | None = None
        self._verdict: FrameVerdict | None = None
        self._frames = 0
        self._other: Container | None = None
        self._other_count = 0
        self._other_code = ("", b"")

    @property
    def result(self) -> Received | None:
        """The message, once it is complete and all its checks have passed."""
        return self._result

    @property
    def last_error(self) -> RemoteAirgapError | None:
        """Why the newest symbol was not taken; None after NEW and DUPLICATE."""
        return self._error

    @property
    def progress(self) -> ReadProgress:
        """How far the message has come, whatever its kind."""
        if self._result is not None and self._reader is None:
            return ReadProgress(1, 1, len(self._result.content), self._frames, self._verdict)
        inner = ReadProgress() if self._reader is None else self._reader.progress
        return ReadProgress(
            inner.rank, inner.needed, inner.message_bytes, self._frames, self._verdict
        )

    @property
    def offers_restart(self) -> bool:
        """Whether the newest symbols agree on another message than the one being read."""
        inner = self._reader is not None and self._reader.offers_restart
        return inner or self._other_count >= FRAMES_TO_OFFER_RESTART

    def start_over(self) -> None:
        """Drop everything; if another message is offered, it is the one to read now."""
        reader, other = self._reader, self._other_code
        container = self._container
        if reader is not None and reader.offers_restart:
            self._forget()
            reader.start_over()
            self._container, self._reader = container, reader
            return
        offered = self._other_count >= FRAMES_TO_OFFER_RESTART
        self._forget()
        if offered:
            self.receive(*other)

    def receive(self, text: str, raw: bytes = b"") -> FrameVerdict:
        """Take one symbol and return what became of it; never raises.

        Args:
            text: its content as text.
            raw: its content as it stands in the symbol; without it, formats of bare bytes are not
                recognised.
        """
        self._frames += 1
        self._error = None
        try:
            self._verdict = self._receive(text, raw)
        except RefusedCodeError as error:
            self._error, self._verdict = error, FrameVerdict.REFUSED
        except RemoteAirgapError as error:
            self._error, self._verdict = error, FrameVerdict.UNREADABLE
        return self._verdict

    def _receive(self, text: str, raw: bytes) -> FrameVerdict:
        container = self._container_of(text, raw)
        if self._container is not None and container is not self._container:
            if self._new_reader(container) is None:
                self._single(container, text, raw)  # what is no message here is not another one
            self._other_count = self._other_count + 1 if container is self._other else 1
            self._other, self._other_code = container, (text, raw)
            self._error = OtherMessageError("another message is being read")
            return FrameVerdict.FOREIGN
        self._other, self._other_count = None, 0
        if self._result is not None and self._reader is None:
            return FrameVerdict.DUPLICATE
        reader = self._reader or self._new_reader(container)
        if reader is None:
            self._result = self._single(container, text, raw)
            self._container = container
            return FrameVerdict.NEW
        verdict = reader.receive(text)
        self._error = reader.last_error
        if verdict is FrameVerdict.NEW:
            self._container, self._reader = container, reader
            if reader.result is not None and self._result is None:
                return self._finish(container, reader)
        elif verdict is FrameVerdict.CORRUPT:
            self._container = self._reader = None
        return verdict

    def _finish(self, container: Container, reader: FrameReader[Any, Any]) -> FrameVerdict:
        """Look into a complete message; a wrong one is dropped."""
        try:
            self._result = self._content(container, reader.result)
        except RemoteAirgapError as error:
            self._container = self._reader = None
            self._error = error
            return FrameVerdict.CORRUPT
        return FrameVerdict.NEW

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

    def _new_reader(self, container: Container) -> FrameReader[Any, Any] | None:
        match container:
            case Container.UR:
                return UrDecoder(self._ur_types)
            case Container.LEGACY_UR:
                if self._ur_types is not None and "bytes" not in self._ur_types:
                    raise UnexpectedUrTypeError("not a type asked for")
                return LegacyUrReader()
            case Container.BBQR:
                return BbqrReader()
            case Container.PMOFN:
                return PmofnReader()
            case _:
                return None

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

    def _single(self, container: Container, text: str, raw: bytes) -> Received:
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


def _ur_content(ur: Ur) -> bytes:
    """Return the bytes in a UR that is a byte string, else its CBOR."""
    if ur.ur_type not in PSBT_UR_TYPES:
        return ur.cbor
    try:
        return parse_byte_string_untrusted(ur.cbor)
    except CborError:
        raise NotAPsbtError("not a byte string") from None
