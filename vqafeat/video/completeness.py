"""Whether a video file was cut, by the sizes that its container states.

A box, cluster, page, packet or index that states more bytes than the file has is evidence. A stated duration is
none, because editors leave it stale. Each check reads only headers, and returns what is missing or None.
"""

import struct
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_MXF_KEY = bytes.fromhex("060e2b34")
_ISO_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"uuid")
_OGG_VIDEO = (b"\x80theora", b"OVP80", b"\x01video", b"BBCD")
_SEGMENT, _CLUSTER, _SEEK_HEAD = 0x18538067, 0x1F43B675, 0x114D9B74
_UNKNOWN_SIZE = -1
_MOST_HEADER_BYTES = 1 << 24


def cut_reason(path: Path) -> str | None:
    """Return what is missing from a video file that was cut, or None if nothing is known to be missing."""
    with path.open("rb") as file:
        start, size = file.read(400), path.stat().st_size
        file.seek(0)
        for matches, check in _CHECKS:
            if matches(start):
                try:
                    return check(file, size)
                except (IndexError, KeyError, ValueError, struct.error):
                    return None  # a header that makes no sense: the decoder says so
    return None


class _Box(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int


def _boxes(file: BufferedReader, start: int, end: int) -> Iterator[_Box]:
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
        yield _Box(kind, content, start + length)
        start += length


def _iso(file: BufferedReader, size: int) -> str | None:
    boxes = list(_boxes(file, 0, size))
    for box in boxes:
        if box.end > size:
            return f"its box '{box.kind.decode()}' ends at byte {box.end} of {size}"
    rest = boxes[-1].end if boxes else 0
    file.seek(rest)
    if 0 < size - rest < 8 and any(file.read(8)):
        return f"it ends in the middle of a box header, at byte {size}"
    for box in boxes:
        if box.kind == b"sidx" and (end := _indexed_end(_content(file, box), box.end)) > size:
            return f"its index states fragments up to byte {end} of {size}"
    return _missing_fragments(file, boxes)


def _content(file: BufferedReader, box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(min(box.end - box.start, _MOST_HEADER_BYTES))


def _indexed_end(index: bytes, end_of_box: int) -> int:
    """Return the byte at which the last subsegment of a `sidx` box ends."""
    wide = index[0] == 1
    at = 28 if wide else 20  # of the reserved bytes before the count
    offset = int.from_bytes(index[at - (8 if wide else 4) : at], "big")
    count = int.from_bytes(index[at + 2 : at + 4], "big")
    sizes = (int.from_bytes(index[at + 4 + 12 * i : at + 8 + 12 * i], "big") for i in range(count))
    return end_of_box + offset + sum(length & 0x7FFFFFFF for length in sizes)


def _missing_fragments(file: BufferedReader, boxes: list[_Box]) -> str | None:
    """Compare the fragments with the duration of `mehd` and the offsets of `mfra`."""
    starts = {box.start - 8 for box in boxes if box.kind == b"moof"}
    for mfra in (box for box in boxes if box.kind == b"mfra"):
        for table in _boxes(file, mfra.start, mfra.end):
            if table.kind == b"tfra" and (missing := _fragment_offsets(_content(file, table)) - starts):
                return f"its index states a fragment at byte {min(missing)}, and there is none"
    movie = next((box for box in boxes if box.kind == b"moov"), None)
    if movie is None or not starts:
        return None
    stated, tracks = _fragmented_movie(file, movie)
    ends, step = [0.0], 0.0
    for fragment in (box for box in boxes if box.kind == b"moof"):
        for run in _boxes(file, fragment.start, fragment.end):
            if run.kind == b"traf":
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


def _fragmented_movie(file: BufferedReader, movie: _Box) -> tuple[float, dict[int, tuple[int, int]]]:
    """Return the seconds that `mehd` states (0 without it) and track → timescale, default sample duration."""
    scale, length, scales, durations = 1, 0, {}, {}
    for box in _boxes(file, movie.start, movie.end):
        if box.kind == b"mvhd":
            header = _content(file, box)
            scale = int.from_bytes(header[20:24] if header[0] else header[12:16], "big")
        elif box.kind == b"trak":
            track, timescale = _track(file, box)
            scales[track] = timescale
        elif box.kind == b"mvex":
            for part in _boxes(file, box.start, box.end):
                header = _content(file, part)
                if part.kind == b"mehd":
                    length = int.from_bytes(header[4:12] if header[0] else header[4:8], "big")
                elif part.kind == b"trex":
                    durations[int.from_bytes(header[4:8], "big")] = int.from_bytes(header[12:16], "big")
    tracks = {track: (timescale, durations.get(track, 0)) for track, timescale in scales.items()}
    return length / max(scale, 1), tracks


def _track(file: BufferedReader, track: _Box) -> tuple[int, int]:
    """Return the number and the timescale of a track."""
    number, timescale = 0, 1
    for box in _boxes(file, track.start, track.end):
        if box.kind == b"tkhd":
            header = _content(file, box)
            number = int.from_bytes(header[20:24] if header[0] else header[12:16], "big")
        elif box.kind == b"mdia":
            for part in _boxes(file, box.start, box.end):
                if part.kind == b"mdhd":
                    header = _content(file, part)
                    timescale = int.from_bytes(header[20:24] if header[0] else header[12:16], "big")
    return number, max(timescale, 1)


def _run_end(file: BufferedReader, fragment: _Box, tracks: dict[int, tuple[int, int]]) -> tuple[float, float]:
    """Return the seconds at which a track's part of a fragment ends, and its longest sample; 0 if not stated."""
    scale, sample, start, total, longest = 1, 0, None, 0, 0
    for box in _boxes(file, fragment.start, fragment.end):
        data = _content(file, box)
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


def _matroska(file: BufferedReader, size: int) -> str | None:
    at, parents = 0, {_SEGMENT, _CLUSTER}
    segment = 0
    while at < size:
        file.seek(at)
        element = _ebml_header(file.read(12))
        if element is None:
            return f"it ends in the middle of an element's header, at byte {size}"
        kind, length, header = element
        content = at + header
        if length != _UNKNOWN_SIZE and content + length > size:
            return f"an element ends at byte {content + length} of {size}"
        if kind == _SEGMENT:
            segment = content
        if kind == _SEEK_HEAD and length != _UNKNOWN_SIZE:
            file.seek(content)
            last = max(_seek_positions(file.read(min(length, _MOST_HEADER_BYTES))), default=0)
            if segment + last >= size:
                return f"its index states an element at byte {segment + last} of {size}"
        # a segment is entered; a cluster only if it does not state its size
        enter = kind == _SEGMENT or (kind in parents and length == _UNKNOWN_SIZE)
        at = content if enter else content + max(length, 0)
    return None


def _ebml_header(data: bytes) -> tuple[int, int, int] | None:
    """Return kind, size of the content and size of the header of an element; None where bytes are missing."""
    if not data or not data[0]:
        return None
    kind_bytes = 9 - data[0].bit_length()
    if len(data) <= kind_bytes or not data[kind_bytes]:
        return None
    size_bytes = 9 - data[kind_bytes].bit_length()
    if kind_bytes + size_bytes > len(data):
        return None
    every_bit = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(data[kind_bytes : kind_bytes + size_bytes], "big") & every_bit
    known = _UNKNOWN_SIZE if length == every_bit else length
    return int.from_bytes(data[:kind_bytes], "big"), known, kind_bytes + size_bytes


def _seek_positions(seek_head: bytes) -> Iterator[int]:
    """Yield the positions (SeekPosition, 0x53AC) of a SeekHead, from the start of the segment's content."""
    at = 0
    while (element := _ebml_header(seek_head[at : at + 12])) is not None:
        kind, length, header = element
        if kind == 0x53AC:
            yield int.from_bytes(seek_head[at + header : at + header + length], "big")
        at += header + (0 if kind == 0x4DBB else length)  # a Seek element is entered


def _flv(file: BufferedReader, size: int) -> str | None:
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at < size:
        file.seek(at)
        header = file.read(11)
        length = int.from_bytes(header[1:4], "big")
        if at + 11 + length + 4 > size:
            return f"a tag ends at byte {at + 15 + length} of {size}"
        if header[0] == 18:
            _, found, value = file.read(length).partition(b"\0\x08filesize\0")
            stated = struct.unpack(">d", value[:8])[0] if found else 0
            if stated > size:
                return f"its header states {stated:.0f} bytes of {size}"
        at += 15 + length
    return None


def _asf(file: BufferedReader, size: int) -> str | None:
    header_bytes = int.from_bytes(file.read(24)[16:24], "little") - 24
    header = file.read(min(max(header_bytes, 0), _MOST_HEADER_BYTES))
    at = header.find(_ASF_FILE_PROPERTIES) + 24
    stated, flags = int.from_bytes(header[at + 16 : at + 24], "little"), header[at + 64]
    packet = int.from_bytes(header[at + 68 : at + 72], "little")
    start = file.tell()
    data = file.read(50)
    if at >= 24 and not flags & 1 and stated > size:
        return f"its header states {stated} bytes of {size}"
    length = int.from_bytes(data[16:24], "little")
    if data[:16] == _ASF_DATA and length and start + length > size:
        return f"its data end at byte {start + length} of {size}"
    if flags & 1 and packet and (size - start - 50) % packet:
        return f"it ends in the middle of a packet of {packet} bytes"
    return None


def _ogg(file: BufferedReader, size: int) -> str | None:
    at, video, ended, serials = 0, set(), set(), set()
    while at < size:
        file.seek(at)
        page = file.read(27)
        if not page.startswith(b"OggS") and len(page) >= 4:
            return f"there is no page at byte {at}"
        table = file.read(page[26]) if len(page) == 27 else b""
        if len(page) < 27 or len(table) < page[26] or at + 27 + len(table) + sum(table) > size:
            return f"it ends in the middle of a page, at byte {size}"
        serial, flags = page[14:18], page[5]
        serials.add(serial)
        if flags & 2 and file.read(8).startswith(_OGG_VIDEO):
            video.add(serial)
        if flags & 4:
            ended.add(serial)
        at += 27 + len(table) + sum(table)
    return "its last page of the video is missing" if (video or serials) - ended else None


def _gif(file: BufferedReader, size: int) -> str | None:
    flags = file.read(13)[10]
    file.seek(3 << (flags & 7) + 1 if flags & 0x80 else 0, 1)
    while kind := file.read(1):
        if kind == b";":
            return None
        if kind == b",":
            descriptor = file.read(9)
            colours = 3 << (descriptor[8] & 7) + 1 if len(descriptor) == 9 and descriptor[8] & 0x80 else 0
            file.seek(colours + 1, 1)
        else:
            file.read(1)
        while length := file.read(1):
            if length == b"\0":
                break
            file.seek(length[0], 1)
    return f"it ends without its trailer, at byte {size}"


def _y4m(file: BufferedReader, size: int) -> str | None:
    fields = {word[:1]: word[1:] for word in file.readline(200).decode("ascii", "replace").split()[1:]}
    width, height, colours = int(fields["W"]), int(fields["H"]), fields.get("C", "420")
    luma, half_width = width * height, (width + 1) // 2
    chroma = {"420": 2 * half_width * ((height + 1) // 2), "422": 2 * half_width * height, "444": 2 * luma}
    chroma |= {"411": 2 * ((width + 3) // 4) * height, "mon": 0}
    depth = 2 if any(mark in colours for mark in ("p9", "p10", "p12", "p14", "p16", "mono9", "mono1")) else 1
    frame = (luma + chroma.get(colours[:3], 0) + (luma if "alpha" in colours else 0)) * depth
    while (at := file.tell()) < size:
        line = file.readline(200)
        if not line.startswith(b"FRAME") or not line.endswith(b"\n") or at + len(line) + frame > size:
            return f"it ends in the middle of a frame of {frame} bytes, at byte {size}"
        file.seek(frame, 1)
    return None


def _riff(file: BufferedReader, size: int) -> str | None:
    if file.read(12)[8:] == b"AMV ":
        file.seek(max(0, size - 8))
        return None if file.read(8) == b"AMV_END_" else "it ends without the mark 'AMV_END_'"
    at = 0
    while size - at >= 12:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):  # a writer that could not go back states no size
            return None
        at += 8 + length + length % 2
        if at - length % 2 > size:
            return f"its RIFF chunk ends at byte {at} of {size}"
    return None


def _ivf(file: BufferedReader, size: int) -> str | None:
    file.seek(6)
    at = int.from_bytes(file.read(2), "little")
    while at < size:
        file.seek(at)
        header = file.read(12)
        at += 12 + int.from_bytes(header[:4], "little")
        if at > size or len(header) < 12:
            return f"it ends in the middle of a frame, at byte {size}"
    return None


def _mpeg_ts(file: BufferedReader, size: int) -> str | None:
    start = file.read(400)
    for packet, first in ((188, 0), (192, 4), (204, 0)):
        if start[first::packet][:2] == b"GG" and (rest := size % packet):
            return f"it ends {rest} bytes into a packet of {packet}"
    return None


def _mxf(file: BufferedReader, size: int) -> str | None:
    at = 0
    while at < size:
        file.seek(at)
        key = file.read(25)
        if len(key) < 17 or not key.startswith(_MXF_KEY):
            return f"it ends in the middle of a packet, at byte {size}"
        extra = key[16] & 0x7F if key[16] & 0x80 else 0
        length = int.from_bytes(key[17 : 17 + extra], "big") if extra else key[16]
        content = at + 17 + extra
        if content + length > size:
            return f"a packet ends at byte {content + length} of {size}"
        if key[13:14] == b"\x02" and key[4:13] == bytes.fromhex("020501010d01020101") and length >= 32:
            file.seek(content + 24)
            if (footer := int.from_bytes(file.read(8), "big")) >= size:
                return f"its footer is at byte {footer} of {size}"
        at = content + length
    return None


_Check = Callable[[BufferedReader, int], str | None]
_CHECKS: tuple[tuple[Callable[[bytes], bool], _Check], ...] = (
    (lambda start: start[4:8] in _ISO_BOXES, _iso),
    (lambda start: start.startswith(b"\x1aE\xdf\xa3"), _matroska),
    (lambda start: start.startswith(b"FLV"), _flv),
    (lambda start: start.startswith(_ASF_HEADER), _asf),
    (lambda start: start.startswith(b"OggS"), _ogg),
    (lambda start: start.startswith(b"GIF8"), _gif),
    (lambda start: start.startswith(b"YUV4MPEG2"), _y4m),
    (lambda start: start.startswith(b"RIFF"), _riff),
    (lambda start: start.startswith(b"DKIF"), _ivf),
    (lambda start: start.startswith(_MXF_KEY), _mxf),
    (
        lambda start: any(
            start[first::packet][:2] == b"GG" for packet, first in ((188, 0), (192, 4), (204, 0))
        ),
        _mpeg_ts,
    ),
)
