"""Boxes of ISO base media (mp4, mov, 3gp, avif): whether a file is cut, and its clean aperture."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import SEEK_END, BufferedReader
from typing import NamedTuple

MOST_HEADER_BYTES = 1 << 24


class FileBytes:
    """The bytes of a file, read by slices: `data[4:8]`; a slice ends with the file, or after 16 MiB."""

    def __init__(self, file: BufferedReader) -> None:
        self._file, self.size = file, file.seek(0, SEEK_END)

    def __getitem__(self, part: slice) -> bytes:
        self._file.seek(part.start)
        return self._file.read(min(max(part.stop - part.start, 0), MOST_HEADER_BYTES))


@dataclass(frozen=True)
class Cropping:
    """What a container crops from each side of a decoded picture, in samples."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    # in place of the sides: width, height and the offsets of the centre of what is shown
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


def boxes(data: FileBytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes of ISO base media in a range of bytes; a box may end after it."""
    while end - start >= 8:
        header = data[start : start + 16]
        length, kind, content = int.from_bytes(header[:4]), header[4:8], start + 8
        if length == 1 and len(header) == 16:
            length, content = int.from_bytes(header[8:]), start + 16
        if length == 0:  # to the end of the file
            length = end - start
        if length < content - start or not kind.isascii() or kind == bytes(4):
            return  # bytes after the last box
        yield Box(kind, content, start + length)
        start += length


def descendants(data: FileBytes, box: Box, *path: bytes) -> Iterator[Box]:
    """Yield the boxes below a box at a path of kinds, such as `mdia`, `minf`."""
    for part in boxes(data, box.start, box.end):
        if part.kind == path[0]:
            yield from descendants(data, part, *path[1:]) if len(path) > 1 else (part,)


def cut_reason(data: FileBytes) -> str | None:
    """Return what is missing from a file of ISO base media (mp4, mov, 3gp, avif), or None."""
    top = list(boxes(data, 0, data.size))
    for box in top:
        if box.end > data.size:
            return f"its box {box.kind.decode()!r} ends at byte {box.end} of {data.size}"
    rest = top[-1].end if top else 0
    if 0 < data.size - rest < 8 and any(data[rest : data.size]):
        return f"it ends in the middle of a box header, at byte {data.size}"
    for box in top:
        if box.kind == b"sidx" and (end := _indexed_end(data[box.start : box.end], box.end)) > data.size:
            return f"its index states fragments up to byte {end} of {data.size}"
    return _missing_fragments(data, top)


def _indexed_end(index: bytes, end_of_box: int) -> int:
    """Return the byte at which the last subsegment of a `sidx` box ends."""
    wide = index[0] == 1
    at = 28 if wide else 20  # of the reserved bytes before the count
    offset = int.from_bytes(index[at - (8 if wide else 4) : at])
    count = int.from_bytes(index[at + 2 : at + 4])
    sizes = (int.from_bytes(index[at + 4 + 12 * i : at + 8 + 12 * i]) for i in range(count))
    return end_of_box + offset + sum(length & 0x7FFFFFFF for length in sizes)


def _missing_fragments(data: FileBytes, top: list[Box]) -> str | None:
    """Compare the fragments with the duration of `mehd` and the offsets of `mfra`."""
    starts = {box.start - 8 for box in top if box.kind == b"moof"}
    for table in (part for box in top if box.kind == b"mfra" for part in descendants(data, box, b"tfra")):
        if missing := _fragment_offsets(data[table.start : table.end]) - starts:
            return f"its index states a fragment at byte {min(missing)}, and there is none"
    movie = next((box for box in top if box.kind == b"moov"), None)
    if movie is None or not starts:
        return None
    stated, tracks = _fragmented_movie(data, movie)
    fragments = (part for box in top if box.kind == b"moof" for part in descendants(data, box, b"traf"))
    runs = [(0.0, 0.0), *(_run_end(data, fragment, tracks) for fragment in fragments)]
    end, longest = max(run[0] for run in runs), max(run[1] for run in runs)
    if 0 < end < stated - 1.5 * longest:
        return f"its fragments end at {end:.3f} s of {stated:.3f} s"
    return None


def _fragment_offsets(table: bytes) -> set[int]:
    """Return the offsets of the fragments that a `tfra` box lists."""
    half, count = 8 if table[0] == 1 else 4, int.from_bytes(table[12:16])
    step = 2 * half + sum((table[11] >> shift & 3) + 1 for shift in (4, 2, 0))
    entries = range(16 + half, min(len(table), 16 + half + step * count), step)
    return {int.from_bytes(table[at : at + half]) for at in entries}


def _fragmented_movie(data: FileBytes, movie: Box) -> tuple[float, dict[int, tuple[int, int]]]:
    """Return the seconds that `mehd` states (0 without it) and track → timescale, default sample duration."""
    seconds = 0.0
    for header in (data[box.start : box.end] for box in descendants(data, movie, b"mvex", b"mehd")):
        length = int.from_bytes(header[4:12] if header[0] else header[4:8])
        seconds = length / (_number_after_times(data, movie, b"mvhd") or 1)
    defaults = (data[box.start : box.end] for box in descendants(data, movie, b"mvex", b"trex"))
    durations = {int.from_bytes(header[4:8]): int.from_bytes(header[12:16]) for header in defaults}
    tracks = {}
    for track in descendants(data, movie, b"trak"):
        number = _number_after_times(data, track, b"tkhd")
        timescale = _number_after_times(data, track, b"mdia", b"mdhd") or 1
        tracks[number] = timescale, durations.get(number, 0)
    return seconds, tracks


def _number_after_times(data: FileBytes, box: Box, *path: bytes) -> int:
    """Return the number after the two times of a header: a timescale, or the number of a track."""
    header = next((data[part.start : part.end] for part in descendants(data, box, *path)), bytes(16))
    return int.from_bytes(header[20:24] if header[0] else header[12:16])


def _run_end(data: FileBytes, fragment: Box, tracks: dict[int, tuple[int, int]]) -> tuple[float, float]:
    """Return the end of a track's part of a fragment and its longest sample, in seconds; 0 if not stated."""
    scale, sample, start, total, longest = 1, 0, None, 0, 0
    for box in boxes(data, fragment.start, fragment.end):
        content = data[box.start : box.end]
        flags = int.from_bytes(content[1:4])
        if box.kind == b"tfhd":
            scale, sample = tracks.get(int.from_bytes(content[4:8]), (1, 0))
            at = 8 + 8 * bool(flags & 1) + 4 * bool(flags & 2)
            if flags & 8:
                sample = int.from_bytes(content[at : at + 4])
        elif box.kind == b"tfdt":
            start = int.from_bytes(content[4:])
        elif box.kind == b"trun":
            count, at = int.from_bytes(content[4:8]), 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
            width = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
            if flags & 0x100:
                own = [int.from_bytes(content[i : i + 4]) for i in range(at, len(content), width)]
                total, longest = total + sum(own), max([longest, *own])
            else:
                total, longest = total + sample * count, max(longest, sample)
    return (0.0, 0.0) if start is None else ((start + total) / scale, longest / scale)


def clean_aperture(data: FileBytes, track: int) -> Cropping | None:
    """Return the clean aperture (`clap`) of a track's first sample description, or None."""
    tracks = descendants(data, Box(b"", 0, data.size), b"moov", b"trak")
    own = (box for box in tracks if _number_after_times(data, box, b"tkhd") == track)
    for table in (part for box in own for part in descendants(data, box, b"mdia", b"minf", b"stbl", b"stsd")):
        entry = next(boxes(data, table.start + 8, table.end), table)  # after version, flags and count
        # after the fields of a visual sample entry
        for part in boxes(data, entry.start + 78, entry.end):
            if part.kind == b"clap":
                numbers = struct.unpack(">8i", data[part.start : part.end][:32])
                width, height, right_by, down_by = map(Fraction, numbers[::2], numbers[1::2])
                return Cropping(aperture=(width, height, right_by, down_by))
    return None
