"""Animated codes: frames needed against the least possible and the usual decoder, and time."""

from __future__ import annotations

import io
import os
import random
import statistics
import time
from collections.abc import Callable

from benchmarks.figure import Figure, figure
from primegap.airgap import UrDecoder, UrEncoder, bytes_to_ur
from primegap.airgap.ur import decode_bytewords_untrusted
from primegap.airgap.ur.fragments import choose_fragments
from primegap.airgap.ur.part import Part, parse_part_untrusted
from primegap.airgap.ur.text import parse_ur_text_untrusted

RUNS = 12
FRAGMENT = 200
JOIN = 1_000_000
"Number of the first part that a reader sees who comes late: all parts are mixtures by then."
FRAME_LIMIT_MS = 3.0
"What reading a picture may take, of the 33 ms between two of a camera."


class Reduction:
    """The decoder of the reference: parts of one fragment are taken out of all others.

    It holds sets and bytes as the papers describe it (uniform-resources.md section 7.1).
    """

    def __init__(self) -> None:
        self._simple: dict[int, int] = {}
        self._mixed: dict[frozenset[int], int] = {}
        self._queue: list[tuple[frozenset[int], int]] = []

    def add(self, part: Part) -> bool:
        """Take a part; return whether the message is complete."""
        indexes = frozenset(choose_fragments(part.seq_num, part.seq_len, part.checksum))
        self._queue.append((indexes, int.from_bytes(part.data, "big")))
        while self._queue and len(self._simple) < part.seq_len:
            indexes, data = self._queue.pop()
            if len(indexes) == 1:
                self._take_simple(indexes, data)
            elif indexes not in self._mixed:
                self._take_mixed(indexes, data)
        return len(self._simple) == part.seq_len

    def _take_simple(self, indexes: frozenset[int], data: int) -> None:
        (index,) = indexes
        if index not in self._simple:
            self._simple[index] = data
            self._reduce_by(indexes, data)

    def _take_mixed(self, indexes: frozenset[int], data: int) -> None:
        for index in [index for index in indexes if index in self._simple]:
            indexes, data = indexes - {index}, data ^ self._simple[index]
        for known, other in self._mixed.items():
            if known < indexes:
                indexes, data = indexes - known, data ^ other
        if len(indexes) == 1:
            self._queue.append((indexes, data))
        elif indexes:
            self._reduce_by(indexes, data)
            self._mixed[indexes] = data

    def _reduce_by(self, indexes: frozenset[int], data: int) -> None:
        kept: dict[frozenset[int], int] = {}
        for known, other in self._mixed.items():
            if indexes < known:
                rest = known - indexes, other ^ data
                if len(rest[0]) == 1:
                    self._queue.append(rest)
                else:
                    kept[rest[0]] = rest[1]
            else:
                kept[known] = other
        self._mixed = kept


def _parts(
    message: bytes, count: int, first: int, lost: float, chance: random.Random
) -> list[Part]:
    encoder = UrEncoder("bytes", message, FRAGMENT, first_seq_num=first)
    texts = [encoder.next_part() for _ in range(count)]
    bodies = [parse_ur_text_untrusted(text).body for text in texts if chance.random() >= lost]
    return [parse_part_untrusted(decode_bytewords_untrusted(body)) for body in bodies]


def _frames_needed(add: Callable[[Part], bool], parts: list[Part]) -> int:
    for count, part in enumerate(parts, 1):
        if add(part):
            return count
    raise RuntimeError("not complete")


def _needed(total: int, first: int, lost: float) -> tuple[float, float]:
    """Return the frames that ours and the usual decoder need on average."""
    from primegap.airgap.ur.assembly import Assembly

    ours, theirs = [], []
    for run in range(RUNS):
        chance = random.Random(1000 * total + run)
        message = bytes_to_ur(chance.randbytes(total * FRAGMENT - 10)).cbor
        parts = _parts(message, 8 * total + 60, first, lost, chance)
        assembly = Assembly(parts[0])

        def add(part: Part, assembly: Assembly = assembly) -> bool:
            assembly.add(part)
            return assembly.is_complete

        ours.append(_frames_needed(add, parts))
        theirs.append(_frames_needed(Reduction().add, parts))
    return statistics.mean(ours), statistics.mean(theirs)


def ur_frames() -> list[Figure]:
    """Frames that a reader must see, as a ratio to the least possible and to the usual decoder."""
    figures = []
    for total in (5, 24, 50, 100, 200):
        for name, first, lost in (
            ("late-join", JOIN, 0.0),
            ("loss10", 1, 0.1),
            ("loss30", 1, 0.3),
            ("loss50", 1, 0.5),
        ):
            ours, usual = _needed(total, first, lost)
            key = f"ur-frames-{name}-{total}"
            figures.append(figure(key, ours, "frames", "information minimum", float(total)))
            figures.append(figure(f"{key}-vs-reduction", ours, "frames", "reduction", usual))
    return figures


def ur_throughput() -> list[Figure]:
    """Time to encode and decode a message whose parts arrive with half of them lost."""
    figures = []
    for size, fragment in ((10_000, 200), (100_000, 400), (1_000_000, 2000)):
        message = bytes_to_ur(os.urandom(size)).cbor
        encoder = UrEncoder("bytes", message, fragment)
        began = time.perf_counter()
        texts = [encoder.next_part() for _ in range(int(2.6 * encoder.parts_count) + 20)]
        encoded_s = time.perf_counter() - began
        decoder = UrDecoder()
        began = time.perf_counter()
        for text in texts[::2]:
            decoder.receive(text)
            if decoder.result is not None:
                break
        decoded_s = time.perf_counter() - began
        if decoder.result is None:
            raise RuntimeError("not complete")
        shown_s = decoder.progress.frames / 30
        label = f"{size // 1000}kB"
        figures.append(
            figure(f"ur-decode-throughput-{label}", size / decoded_s / 1e3, "kB/s",
                   "30 symbols a second", size / shown_s / 1e3)
        )  # fmt: skip
        per_frame_ms = encoded_s / len(texts) * 1e3
        figures.append(
            figure(f"ur-encode-per-frame-{label}", per_frame_ms, "ms", "a frame at 30/s", 1000 / 30)
        )
    last = figures[-2]
    figures.append(figure("ur-decode-throughput", last.value, "kB/s", last.against,
                          last.against_value))  # fmt: skip
    return figures


def qr_read() -> list[Figure]:
    """Time to draw a symbol, and to read one in a noisy picture of 1280 x 720."""
    from PIL import Image, ImageFilter

    from primegap.airgap.drawing import qr_png
    from primegap.airgap.qr import qr_matrix, scan_image

    encoder = UrEncoder("bytes", bytes_to_ur(os.urandom(4000)).cbor, 269)
    text = encoder.next_part()
    drawn_s = min(_timed(lambda: qr_matrix(text)) for _ in range(10))
    matrix = qr_matrix(text)
    symbol = Image.open(io.BytesIO(qr_png(matrix, 8))).convert("L")
    symbol = symbol.point(lambda light: 220 if light else 30).resize((600, 600))
    picture = Image.new("L", (1280, 720), 120)
    picture.paste(symbol.rotate(7, fillcolor=120), (340, 60))
    noise = Image.effect_noise((1280, 720), 40)
    picture = Image.blend(picture.filter(ImageFilter.GaussianBlur(1.2)), noise, 0.25)
    pixels = picture.tobytes()
    if [code.text for code in scan_image(pixels, 1280, 720, quick=True)] != [text]:
        raise RuntimeError("the picture cannot be read")
    read_s = min(_timed(lambda: scan_image(pixels, 1280, 720, quick=True)) for _ in range(20))
    return [
        figure("qr-read-720p", read_s * 1e3, "ms", "aim", FRAME_LIMIT_MS),
        figure("qr-draw", drawn_s * 1e3, "ms", "a frame at 30/s", 1000 / 30),
    ]


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def end_to_end() -> list[Figure]:
    """Seconds to show a PSBT to a reader that misses a third, against plain parts in a circle."""
    figures = []
    for size in (20_000, 200_000):
        chance = random.Random(size)
        message = bytes_to_ur(chance.randbytes(size)).cbor
        encoder = UrEncoder("bytes", message, 428)
        decoder = UrDecoder()
        frames = 0
        seen: set[int] = set()
        cycle = 0
        total = encoder.parts_count
        while decoder.result is None:
            text = encoder.next_part()
            frames += 1
            if chance.random() > 1 / 3:
                decoder.receive(text)
        while len(seen) < total:
            if chance.random() > 1 / 3:
                seen.add(cycle % total)
            cycle += 1
        name = f"qr-seconds-{size // 1000}kB"
        figures.append(figure(name, frames / 4, "s", "fixed cycle, 4/s", cycle / 4))
    return figures
