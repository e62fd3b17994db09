"""Boxes of ISO base media (mp4, mov, 3gp, avif): whether a file is cut, and its clean aperture."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedReader
from typing import NamedTuple

MOST_HEADER_BYTES = 1 << 24


@dataclass(frozen=True)
class Cropping:
    """What a container crops from each side of a decoded picture, in samples.

    Attributes:
        aperture: width, height and the offsets of the centre of what is shown, in place of the sides.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    aperture: tuple[Fraction, Fraction, Fraction, Fraction] | None = None

    def samples(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom for a picture of that size (`mov.c`, `mov_read_clap`)."""
        if self.aperture is None:
            return self.left, self.top, self.right, self.bottom
        shown_width, shown_height, right_by, down_by = self.aperture
        left = (width - 1) * Fraction(1, 2) + right_by - (shown_width - 1) / 2
        top = (height - 1) * Fraction(1, 2) + down_by - (shown_height - 1) / 2
        sides = left, top, width - left - shown_width, height - top - shown_height
        if min(sides) < 0 or shown_width < 1 or shown_height < 1:
            return 0, 0, 0, 0
        return tuple(map(int, sides))  # type: ignore[return-value]


class Box(NamedTuple):
    """A box: its kind, and the bytes at which its content starts and ends."""

    kind: bytes
    start: int
    end: int


def boxes(file: BufferedReader, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes of ISO base media in a range of bytes; a box may end after it."""
    while end - start >= 8:
        file.seek(start)
        header = file.read(16)
        length, kind, content = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if length == 1 and len(header) == 16:
            length, content = int.from_bytes(header[8:], "big"), start + 16
        if length == 0:  # to the end of the file
            length = end - start
        if length < content - start or not kind.isascii() or kind == bytes(4):
            return  # bytes after the last box
        yield Box(kind, content, start + length)
        start += length


def descendants(file: BufferedReader, box: Box, *path: bytes) -> Iterator[Box]:
    """Yield the boxes below a box at a path of kinds, such as `mdia`, `minf`."""
    for part in boxes(file, box.start, box.end):
        if part.kind == path[0]:
            yield from descendants(file, part, *path[1:]) if len(path) > 1 else (part,)


def cut_reason(file: BufferedReader, size: int) -> str | None:
    """Return what is missing from a file of ISO base media (mp4, mov, 3gp, avif), or None."""
    top = list(boxes(file, 0, size))
    for box in top:
        if box.end > size:
            return f"its box {box.kind.decode()!r} ends at byte {box.end} of {size}"
    rest = top[-1].end if top else 0
    file.seek(rest)
    if 0 < size - rest < 8 and any(file.read(8)):
        return f"it ends in the middle of a box header, at byte {size}"
    for box in top:
        if box.kind == b"sidx" and (end := _indexed_end(content_of(file, box), box.end)) > size:
            return f"its index states fragments up to byte {end} of {size}"
    return _missing_fragments(file, top)


def content_of(file: BufferedReader, box: Box) -> bytes:
    """Return the content of a small box."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, MOST_HEADER_BYTES))


def _indexed_end(index: bytes, end_of_box: int) -> int:
    """Return the byte at which the last subsegment of a `sidx` box ends."""
    wide = index[0] == 1
    at = 28 if wide else 20  # of the reserved bytes before the count
    offset = int.from_bytes(index[at - (8 if wide else 4) : at], "big")
    count = int.from_bytes(index[at + 2 : at + 4], "big")
    sizes = (int.from_bytes(index[at + 4 + 12 * i : at + 8 + 12 * i], "big") for i in range(count))
    return end_of_box + offset + sum(length & 0x7FFFFFFF for length in sizes)


def _missing_fragments(file: BufferedReader, top: list[Box]) -> str | None:
    """Compare the fragments with the duration of `mehd` and the offsets of `mfra`."""
    starts = {box.start - 8 for box in top if box.kind == b"moof"}
    for table in (part for box in top if box.kind == b"mfra" for part in descendants(file, box, b"tfra")):
        if missing := _fragment_offsets(content_of(file, table)) - starts:
            return f"its index states a fragment at byte {min(missing)}, and there is none"
    movie = next((box for box in top if box.kind == b"moov"), None)
    if movie is None or not starts:
        return None
    stated, tracks = _fragmented_movie(file, movie)
    ends, step = [0.0], 0.0
    for fragment in (box for box in top if box.kind == b"moof"):
        for run in descendants(file, fragment, b"traf"):
            end, longest = _run_end(file, run, tracks)
            ends.append(end)
            step = max(step, longest)
    if max(ends) and max(ends) < stated - 1.5 * step:
        return f"its fragments end at {max(ends):.3f} s of {stated:.3f} s"
    return None


def _fragment_offsets(table: bytes) -> set[int]:
    """Return the offsets of the fragments that a `tfra` box lists."""
    half, count = 8 if table[0] == 1 else 4, int.from_bytes(table[12:16], "big")
    step = 2 * half + sum((table[11] >> shift & 3) + 1 for shift in (4, 2, 0))
    entries = range(16 + half, min(len(table), 16 + half + step * count), step)
    return {int.from_bytes(table[at : at + half], "big") for at in entries}


def _fragmented_movie(file: BufferedReader, movie: Box) -> tuple[float, dict[int, tuple[int, int]]]:
    """Return the seconds that `mehd` states (0 without it) and track → timescale, default sample duration."""
    seconds, tracks = 0.0, {}
    for header in (content_of(file, box) for box in descendants(file, movie, b"mvex", b"mehd")):
        length = int.from_bytes(header[4:12] if header[0] else header[4:8], "big")
        seconds = length / (_number_after_times(file, movie, b"mvhd") or 1)
    for track in descendants(file, movie, b"trak"):
        tracks[_number_after_times(file, track, b"tkhd")] = (
            _number_after_times(file, track, b"mdia", b"mdhd") or 1
        )
    defaults = (content_of(file, box) for box in descendants(file, movie, b"mvex", b"trex"))
    durations = {int.from_bytes(data[4:8], "big"): int.from_bytes(data[12:16], "big") for data in defaults}
    return seconds, {track: (timescale, durations.get(track, 0)) for track, timescale in tracks.items()}


def _number_after_times(file: BufferedReader, box: Box, *path: bytes) -> int:
    """Return the number after the two times of a header: a timescale, or the number of a track."""
    header = next((content_of(file, part) for part in descendants(file, box, *path)), bytes(16))
    return int.from_bytes(header[20:24] if header[0] else header[12:16], "big")


def _run_end(file: BufferedReader, fragment: Box, tracks: dict[int, tuple[int, int]]) -> tuple[float, float]:
    """Return the end of a track's part of a fragment and its longest sample, in seconds; 0 if not stated."""
    scale, sample, start, total, longest = 1, 0, None, 0, 0
    for box in boxes(file, fragment.start, fragment.end):
        data = content_of(file, box)
        flags = int.from_bytes(data[1:4], "big")
        if box.kind == b"tfhd":
            scale, sample = tracks.get(int.from_bytes(data[4:8], "big"), (1, 0))
            at = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
            if flags & 8:
                sample = int.from_bytes(data[at : at + 4], "big")
        elif box.kind == b"tfdt":
            start = int.from_bytes(data[4:], "big")
        elif box.kind == b"trun":
            count, at = int.from_bytes(data[4:8], "big"), 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
            width = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
            if flags & 0x100:
                own = [int.from_bytes(data[i : i + 4], "big") for i in range(at, len(data), width)]
                total, longest = total + sum(own), max([longest, *own])
            else:
                total, longest = total + sample * count, max(longest, sample)
    return (0.0, 0.0) if start is None else ((start + total) / scale, longest / scale)


def clean_aperture(file: BufferedReader, size: int, track: int) -> Cropping | None:
    """Return the clean aperture (`clap`) of a track's first sample description, or None."""
    for box in descendants(file, Box(b"", 0, size), b"moov", b"trak"):
        if _number_after_times(file, box, b"tkhd") == track:
            for stsd in descendants(file, box, b"mdia", b"minf", b"stbl", b"stsd"):
                entry = next(boxes(file, stsd.start + 8, stsd.end), stsd)  # after version, flags and count
                for part in boxes(
                    file, entry.start + 78, entry.end
                ):  # after the fields of a visual sample entry
                    if part.kind == b"clap":
                        numbers = struct.unpack(">8i", content_of(file, part)[:32])
                        width, height, right_by, down_by = map(Fraction, numbers[::2], numbers[1::2])
                        return Cropping(aperture=(width, height, right_by, down_by))
    return None
