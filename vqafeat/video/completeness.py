"""Detect cut video files by the sizes that their containers state.

A file is cut if a box, cluster, page, packet or index states more bytes than it has. A stated duration proves
nothing, because editing tools leave it stale. Each check reads only headers and returns what is missing.
"""

import struct
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from vqafeat.video import iso_media, matroska, mpeg_ts
from vqafeat.video.iso_media import MOST_HEADER_BYTES, Cropping

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_EBML = bytes.fromhex("1a45dfa3")
_MXF_KEY, _MXF_PARTITION = bytes.fromhex("060e2b34"), bytes.fromhex("020501010d01020101")
_ISO_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"uuid")
_DV_HEADER, _OBU_START = b"\x1f\x07\0", b"\x12\0\x0a"  # a delimiter, then a sequence header
_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")
_OGG_VIDEO = (b"\x80theora", b"OVP80", b"\x01video", b"BBCD")


def cut_reason(path: Path) -> str | None:
    """Return what is missing from a video file that was cut, or None if nothing is known to be missing."""
    with path.open("rb") as file:
        check = _check_of(file.read(400))
        file.seek(0)
        try:
            return check(file, path.stat().st_size) if check else None
        except (IndexError, KeyError, ValueError, struct.error):
            return None  # a header that makes no sense: the decoder says so


def states_sizes(path: Path) -> bool:
    """Return whether the container of a video file states the sizes of its pictures."""
    with path.open("rb") as file:
        return _check_of(file.read(400)) not in (None, mpeg_ts.cut_reason, _obu)


def container_cropping(path: Path, track: int) -> Cropping | None:
    """Return how a container crops the picture of a track: `clap` of MP4 and MOV, PixelCrop of Matroska."""
    with path.open("rb") as file:
        start, size = file.read(16), path.stat().st_size
        try:
            if start[4:8] in _ISO_BOXES:
                return iso_media.clean_aperture(file, size, track)
            return matroska.pixel_cropping(file, size, track) if start.startswith(_EBML) else None
        except (IndexError, ValueError, ZeroDivisionError):
            return None


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
            _, key, value = file.read(length).partition(b"\0\x08filesize\0")
            stated = struct.unpack(">d", value[:8])[0] if key else 0
            if stated > size:
                return f"its header states {stated:.0f} bytes of {size}"
        at += 15 + length
    return None


def _asf(file: BufferedReader, size: int) -> str | None:
    header_bytes = int.from_bytes(file.read(24)[16:24], "little") - 24
    header = file.read(min(max(header_bytes, 0), MOST_HEADER_BYTES))
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
    if flags & 1 and packet and (size - start - 50) % packet and not _ends_with_asf_index(file, size, packet):
        return f"it ends in the middle of a packet of {packet} bytes"
    return None


def _ends_with_asf_index(file: BufferedReader, size: int, packet: int) -> bool:
    """Return whether a whole index follows the packets, which begin at the position of the file."""
    for at in range(file.tell(), size, packet):
        file.seek(at)
        header = file.read(24)
        if header.startswith(_ASF_INDEX):
            return at + int.from_bytes(header[16:24], "little") <= size
    return False


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


def _dv(file: BufferedReader, size: int) -> str | None:
    frame = 144000 if file.read(4)[3] & 0x80 else 120000  # 625 or 525 lines; DVCPRO's are multiples
    return f"it ends in the middle of a frame, {size % frame} bytes into it" if size % frame else None


def _nut(file: BufferedReader, size: int) -> str | None:
    file.seek(max(0, size - 12))
    file.seek(max(0, size - int.from_bytes(file.read(8), "big")))
    return None if file.read(8) == _NUT_INDEX else "its index at the end is missing"


def _png(file: BufferedReader, size: int) -> str | None:
    at = 8
    while at < size:
        file.seek(at)
        header = file.read(8)
        at += 12 + int.from_bytes(header[:4], "big")
        if header[4:] == b"IEND" and at <= size:
            return None
    return f"it ends without its last chunk, at byte {size}"


def _obu(file: BufferedReader, size: int) -> str | None:
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(10)
        if not header[0] & 2:  # without a size: to the end
            return None
        length, start = 0, 2 if header[0] & 4 else 1  # with an extension
        for count, byte in enumerate(header[start:]):
            length |= (byte & 0x7F) << 7 * count
            if not byte & 0x80:
                break
        at += start + count + 1 + length
    return f"a unit ends at byte {at} of {size}" if at > size else None


def _mxf(file: BufferedReader, size: int) -> str | None:
    at, needs_footer = 0, False
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
        if key[4:13] == _MXF_PARTITION and key[13] == 2 and length >= 32:
            needs_footer = key[14] in (1, 3)  # an open header is completed by the footer
            file.seek(content + 24)
            if (footer := int.from_bytes(file.read(8), "big")) >= size:
                return f"its footer is at byte {footer} of {size}"
        needs_footer &= key[4:14] != _MXF_PARTITION + b"\x04"
        at = content + length
    return "its footer is missing" if needs_footer else None


_Check = Callable[[BufferedReader, int], str | None]
_CHECKS: dict[bytes, _Check] = {
    **{_EBML: matroska.cut_reason, b"FLV": _flv, _ASF_HEADER: _asf, b"OggS": _ogg, b"GIF8": _gif},
    **{b"YUV4MPEG2": _y4m, b"RIFF": _riff, b"DKIF": _ivf, _MXF_KEY: _mxf, _DV_HEADER: _dv, _OBU_START: _obu},
    **{b"nut/multimedia container\0": _nut, b"\x89PNG\r\n\x1a\n": _png},
}


def _check_of(start: bytes) -> _Check | None:
    if start[4:8] in _ISO_BOXES:
        return iso_media.cut_reason
    if mpeg_ts.packet_form(start):
        return mpeg_ts.cut_reason
    return next((check for mark, check in _CHECKS.items() if start.startswith(mark)), None)
