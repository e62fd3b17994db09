"""Elements of Matroska and WebM: whether a file is cut, and the cropping of its picture."""

from collections.abc import Iterator

from vqafeat.video.iso_media import Cropping, FileBytes

_SEGMENT, _CLUSTER, _SEEK_HEAD, _TRACKS = 0x18538067, 0x1F43B675, 0x114D9B74, 0x1654AE6B
_SEEK_POSITION = 0x53AC  # counted from the start of the segment's content
_UNKNOWN_SIZE = -1


def cut_reason(data: FileBytes) -> str | None:
    """Return what is missing from a Matroska or WebM file, or None."""
    at = segment = 0
    while at < data.size:
        element = _ebml_header(data[at : at + 12])
        if element is None:
            return f"it ends in the middle of an element's header, at byte {data.size}"
        kind, length, header = element
        content = at + header
        if length != _UNKNOWN_SIZE and content + length > data.size:
            return f"an element ends at byte {content + length} of {data.size}"
        if kind == _SEGMENT:
            segment = content
        if kind == _SEEK_HEAD and length != _UNKNOWN_SIZE:
            seeks = (dict(_elements(seek)) for _, seek in _elements(data[content : content + length]))
            last = max((int.from_bytes(seek.get(_SEEK_POSITION, b"")) for seek in seeks), default=0)
            if segment + last >= data.size:
                return f"its index states an element at byte {segment + last} of {data.size}"
        # a segment is entered; a cluster only if it does not state its size
        enter = kind == _SEGMENT or (kind == _CLUSTER and length == _UNKNOWN_SIZE)
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
    length = int.from_bytes(data[kind_bytes : kind_bytes + size_bytes]) & every_bit
    known = _UNKNOWN_SIZE if length == every_bit else length
    return int.from_bytes(data[:kind_bytes]), known, kind_bytes + size_bytes


def pixel_cropping(data: FileBytes, track: int) -> Cropping | None:
    """Return the PixelCrop of the video with that track number, or None."""
    at = 0
    while at < data.size:
        element = _ebml_header(data[at : at + 12])
        if element is None or element[0] == _CLUSTER:
            return None
        kind, length, header = element
        if kind == _TRACKS:
            return _track_cropping(data[at + header : at + header + length], track)
        at += header + (0 if kind == _SEGMENT else max(length, 0))
    return None


def _track_cropping(tracks: bytes, track: int) -> Cropping | None:
    for _, entry in (item for item in _elements(tracks) if item[0] == 0xAE):
        fields = dict(_elements(entry))
        if int.from_bytes(fields.get(0xD7, b"")) == track:
            video = dict(_elements(fields.get(0xE0, b"")))
            bottom, top, left, right = (
                int.from_bytes(video.get(kind, b"")) for kind in (0x54AA, 0x54BB, 0x54CC, 0x54DD)
            )
            return Cropping(left, top, right, bottom) if left or top or right or bottom else None
    return None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and content of each element within the content of another."""
    at = 0
    while (element := _ebml_header(data[at : at + 12])) is not None:
        kind, length, header = element
        yield kind, data[at + header : at + header + max(length, 0)]
        at += header + max(length, 0)
