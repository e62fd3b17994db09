"""Detect cut video files by the sizes that their containers state.

A file is cut if a box, cluster, page, packet or index states more bytes than it has. A stated duration proves
nothing, because editing tools leave it stale. Each check reads only headers and returns what is missing.
"""

import struct
from collections.abc import Callable
from pathlib import Path

from vqafeat.video import iso_media, matroska, mpeg_ts
from vqafeat.video.iso_media import Cropping, FileBytes

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
        data = FileBytes(file)
        check = _check_of(data)
        try:
            return check(data) if check else None
        except (IndexError, KeyError, ValueError, struct.error):
            return None  # a header that makes no sense: the decoder says so


def states_sizes(path: Path) -> bool:
    """Return whether the container of a video file states the sizes of its pictures."""
    with path.open("rb") as file:
        return _check_of(FileBytes(file)) not in (None, mpeg_ts.cut_reason, _obu)


def container_cropping(path: Path, track: int) -> Cropping | None:
    """Return how a container crops the picture of a track: `clap` of MP4 and MOV, PixelCrop of Matroska."""
    with path.open("rb") as file:
        data = FileBytes(file)
        try:
            if data[4:8] in _ISO_BOXES:
                return iso_media.clean_aperture(data, track)
            return matroska.pixel_cropping(data, track) if data[0:4] == _EBML else None
        except (IndexError, ValueError, ZeroDivisionError):
            return None


def _flv(data: FileBytes) -> str | None:
    at = int.from_bytes(data[5:9]) + 4
    while at < data.size:
        header = data[at : at + 11]
        end = at + 11 + int.from_bytes(header[1:4])
        if end + 4 > data.size:
            return f"a tag ends at byte {end + 4} of {data.size}"
        if header[0] == 18:
            _, key, value = data[at + 11 : end].partition(b"\0\x08filesize\0")
            stated = struct.unpack(">d", value[:8])[0] if key else 0
            if stated > data.size:
                return f"its header states {stated:.0f} bytes of {data.size}"
        at = end + 4
    return None


def _asf(data: FileBytes) -> str | None:
    header = data[24 : int.from_bytes(data[16:24], "little")]
    at = header.find(_ASF_FILE_PROPERTIES) + 24
    stated, flags = int.from_bytes(header[at + 16 : at + 24], "little"), header[at + 64]
    packet = int.from_bytes(header[at + 68 : at + 72], "little")
    start = 24 + len(header)
    if at >= 24 and not flags & 1 and stated > data.size:
        return f"its header states {stated} bytes of {data.size}"
    length = int.from_bytes(data[start + 16 : start + 24], "little")
    if data[start : start + 16] == _ASF_DATA and length and start + length > data.size:
        return f"its data end at byte {start + length} of {data.size}"
    packets = start + 50
    has_rest = flags & 1 and packet and (data.size - packets) % packet
    if has_rest and not _ends_with_asf_index(data, packets, packet):
        return f"it ends in the middle of a packet of {packet} bytes"
    return None


def _ends_with_asf_index(data: FileBytes, start: int, packet: int) -> bool:
    """Return whether a whole index follows the packets, which begin at `start`."""
    for at in range(start, data.size, packet):
        if data[at : at + 16] == _ASF_INDEX:
            return at + int.from_bytes(data[at + 16 : at + 24], "little") <= data.size
    return False


def _ogg(data: FileBytes) -> str | None:
    at, video, ended, serials = 0, set(), set(), set()
    while at < data.size:
        page = data[at : at + 27]
        if not page.startswith(b"OggS") and len(page) >= 4:
            return f"there is no page at byte {at}"
        content = at + 27 + page[26] if len(page) == 27 else data.size + 1
        end = content + sum(data[at + 27 : content])
        if end > data.size:
            return f"it ends in the middle of a page, at byte {data.size}"
        serial, flags = page[14:18], page[5]
        serials.add(serial)
        if flags & 2 and data[content : content + 8].startswith(_OGG_VIDEO):
            video.add(serial)
        if flags & 4:
            ended.add(serial)
        at = end
    return "its last page of the video is missing" if (video or serials) - ended else None


def _gif(data: FileBytes) -> str | None:
    at = 13 + _gif_colour_bytes(data[0:13][10])
    while kind := data[at : at + 1]:
        if kind == b";":
            return None
        if kind == b",":  # an image: its descriptor, which ends with flags, its colours, and one byte
            at += 11 + sum(map(_gif_colour_bytes, data[at + 9 : at + 10]))
        else:
            at += 2
        while length := data[at : at + 1]:
            at += 1 + length[0]
            if length == b"\0":
                break
    return f"it ends without its trailer, at byte {data.size}"


def _gif_colour_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _y4m(data: FileBytes) -> str | None:
    line, newline, _ = data[0:200].partition(b"\n")
    fields = {word[:1]: word[1:] for word in line.decode("ascii", "replace").split()[1:]}
    width, height, colours = int(fields["W"]), int(fields["H"]), fields.get("C", "420")
    luma, half_width = width * height, (width + 1) // 2
    chroma = {"420": 2 * half_width * ((height + 1) // 2), "422": 2 * half_width * height, "444": 2 * luma}
    chroma |= {"411": 2 * ((width + 3) // 4) * height, "mon": 0}
    depth = 2 if any(mark in colours for mark in ("p9", "p10", "p12", "p14", "p16", "mono9", "mono1")) else 1
    frame = (luma + chroma.get(colours[:3], 0) + (luma if "alpha" in colours else 0)) * depth
    at = len(line + newline)
    while at < data.size:
        line, newline, _ = data[at : at + 200].partition(b"\n")
        at += len(line + newline) + frame
        if not line.startswith(b"FRAME") or not newline or at > data.size:
            return f"it ends in the middle of a frame of {frame} bytes, at byte {data.size}"
    return None


def _riff(data: FileBytes) -> str | None:
    if data[8:12] == b"AMV ":
        end = data[max(0, data.size - 8) : data.size]
        return None if end == b"AMV_END_" else "it ends without the mark 'AMV_END_'"
    at = 0
    while data.size - at >= 12:
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):  # a writer that could not go back states no size
            return None
        at += 8 + length + length % 2
        if at - length % 2 > data.size:
            return f"its RIFF chunk ends at byte {at} of {data.size}"
    return None


def _ivf(data: FileBytes) -> str | None:
    at = int.from_bytes(data[6:8], "little")
    while at < data.size:
        at += 12 + int.from_bytes(data[at : at + 4], "little")
        if at > data.size:
            return f"it ends in the middle of a frame, at byte {data.size}"
    return None


def _dv(data: FileBytes) -> str | None:
    frame = 144000 if data[0:4][3] & 0x80 else 120000  # 625 or 525 lines; DVCPRO's are multiples
    rest = data.size % frame
    return f"it ends in the middle of a frame, {rest} bytes into it" if rest else None


def _nut(data: FileBytes) -> str | None:
    end = max(0, data.size - 12)
    start = max(0, data.size - int.from_bytes(data[end : end + 8]))
    return None if data[start : start + 8] == _NUT_INDEX else "its index at the end is missing"


def _png(data: FileBytes) -> str | None:
    at, kind = 8, b""
    while at < data.size and kind != b"IEND":
        kind = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4])
    is_whole = kind == b"IEND" and at <= data.size
    return None if is_whole else f"it ends without its last chunk, at byte {data.size}"


def _obu(data: FileBytes) -> str | None:
    at = 0
    while at < data.size:
        header = data[at : at + 10]
        if not header[0] & 2:  # without a size: to the end
            return None
        length, start = 0, 2 if header[0] & 4 else 1  # with an extension
        for count, byte in enumerate(header[start:]):
            length |= (byte & 0x7F) << 7 * count
            if not byte & 0x80:
                break
        at += start + count + 1 + length
    return f"a unit ends at byte {at} of {data.size}" if at > data.size else None


def _mxf(data: FileBytes) -> str | None:
    at, needs_footer = 0, False
    while at < data.size:
        key = data[at : at + 25]
        if len(key) < 17 or not key.startswith(_MXF_KEY):
            return f"it ends in the middle of a packet, at byte {data.size}"
        extra = key[16] & 0x7F if key[16] & 0x80 else 0
        length = int.from_bytes(key[17 : 17 + extra]) if extra else key[16]
        content = at + 17 + extra
        if content + length > data.size:
            return f"a packet ends at byte {content + length} of {data.size}"
        if key[4:13] == _MXF_PARTITION and key[13] == 2 and length >= 32:
            needs_footer = key[14] in (1, 3)  # an open header is completed by the footer
            if (footer := int.from_bytes(data[content + 24 : content + 32])) >= data.size:
                return f"its footer is at byte {footer} of {data.size}"
        needs_footer &= key[4:14] != _MXF_PARTITION + b"\x04"
        at = content + length
    return "its footer is missing" if needs_footer else None


_Check = Callable[[FileBytes], str | None]
_CHECKS: dict[bytes, _Check] = {
    **{_EBML: matroska.cut_reason, b"FLV": _flv, _ASF_HEADER: _asf, b"OggS": _ogg, b"GIF8": _gif},
    **{b"YUV4MPEG2": _y4m, b"RIFF": _riff, b"DKIF": _ivf, _MXF_KEY: _mxf, _DV_HEADER: _dv, _OBU_START: _obu},
    **{b"nut/multimedia container\0": _nut, b"\x89PNG\r\n\x1a\n": _png},
}


def _check_of(data: FileBytes) -> _Check | None:
    start = data[0:400]
    if start[4:8] in _ISO_BOXES:
        return iso_media.cut_reason
    if mpeg_ts.packet_form(start):
        return mpeg_ts.cut_reason
    return next((check for mark, check in _CHECKS.items() if start.startswith(mark)), None)
