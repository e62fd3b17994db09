"""Elements of Matroska and WebM: whether a file is cut, and the cropping of its picture."""

from collections.abc import Iterator
from io import BufferedReader

from vqafeat.video.iso_media import MOST_HEADER_BYTES

_SEGMENT, _CLUSTER, _SEEK_HEAD = 0x18538067, 0x1F43B675, 0x114D9B74
_UNKNOWN_SIZE = -1


def cut_reason(file: BufferedReader, size: int) -> str | None:
    """Return what is missing from a Matroska or WebM file, or None."""
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
            last = max(_seek_positions(file.read(min(length, MOST_HEADER_BYTES))), default=0)
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
