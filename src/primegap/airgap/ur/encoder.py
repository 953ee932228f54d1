"""The endless stream of parts of one message (uniform-resources.md section 6)."""

from __future__ import annotations

import zlib

from primegap.airgap.errors import LocalAirgapError, TooLargeForQrError
from primegap.airgap.ur.bytewords import encode_bytewords
from primegap.airgap.ur.fragments import MIN_FRAGMENT_BYTES, choose_fragments, fragment_length
from primegap.airgap.ur.limits import MAX_FRAGMENT_BYTES, MAX_SEQ_NUM, MAX_WRITTEN_FRAGMENTS
from primegap.airgap.ur.message import Ur
from primegap.airgap.ur.part import Part, encode_part
from primegap.airgap.ur.text import format_ur_text


class UrEncoder:
    """Writes one UR as texts for QR symbols, without end.

    The first `parts_count` texts are the plain fragments; every later one is a new mix of them, so
    a reader that missed some needs no particular one. A message of one fragment gives the same
    single-part text each time.
    """

    def __init__(
        self, ur_type: str, cbor: bytes, max_fragment_bytes: int, *, first_seq_num: int = 1
    ) -> None:
        """Prepare the message.

        Args:
            ur_type: `crypto-psbt`, `bytes` and so on.
            cbor: one CBOR item, without the tag that the type stands for.
            max_fragment_bytes: longest fragment, 10 to 2100; see `DENSITIES`.
            first_seq_num: number of the first part, 1 to 2^32 - 1.

        Raises:
            TooLargeForQrError: more than 1024 fragments.
            LocalAirgapError: another argument is out of range.
        """
        self._ur = Ur(ur_type, cbor)
        if not MIN_FRAGMENT_BYTES <= max_fragment_bytes <= MAX_FRAGMENT_BYTES:
            raise LocalAirgapError("fragment length out of range")
        if not 1 <= first_seq_num <= MAX_SEQ_NUM:
            raise LocalAirgapError("part number out of range")
        length = fragment_length(len(cbor), max_fragment_bytes)
        count = -(-len(cbor) // length)
        if count > MAX_WRITTEN_FRAGMENTS:
            raise TooLargeForQrError("more fragments than a person can wait for")
        padded = cbor.ljust(count * length, b"\0")
        self._fragments = [
            int.from_bytes(padded[at : at + length], "big") for at in range(0, len(padded), length)
        ]
        self._fragment_bytes = length
        self._checksum = zlib.crc32(cbor)
        self._seq_num = first_seq_num

    @property
    def parts_count(self) -> int:
        """Number of fragments, N: what a reader that misses nothing has to see."""
        return len(self._fragments)

    @property
    def fragment_bytes(self) -> int:
        """Length of every fragment."""
        return self._fragment_bytes

    @property
    def seq_num(self) -> int:
        """Number of the part that `next_part` returns next; after 2^32 - 1 comes 1."""
        return self._seq_num

    def next_part(self) -> str:
        """Return the text of the next frame, in upper case."""
        if self.parts_count == 1:
            return format_ur_text(self._ur.ur_type, None, encode_bytewords(self._ur.cbor))
        seq_num = self._seq_num
        self._seq_num = seq_num % MAX_SEQ_NUM + 1
        mixed = 0
        for index in choose_fragments(seq_num, self.parts_count, self._checksum):
            mixed ^= self._fragments[index]
        part = Part(
            seq_num,
            self.parts_count,
            len(self._ur.cbor),
            self._checksum,
            mixed.to_bytes(self._fragment_bytes, "big"),
        )
        body = encode_bytewords(encode_part(part))
        return format_ur_text(self._ur.ur_type, (seq_num, self.parts_count), body)

    def restart(self) -> None:
        """Go on with part 1."""
        self._seq_num = 1
