"""Files that were cut, of every container, and whole ones that only look cut."""

import random
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.containers import CONTAINERS, OPEN_CONTAINERS, clip, decoded
from vqafeat.errors import VideoError
from vqafeat.video.completeness import container_cropping, cut_reason
from vqafeat.video.iso_media import Cropping
from vqafeat.video.reader import VideoReader

CUTS = 20


def reports_of_ffmpeg(path: Path) -> set[str]:
    """Return what FFmpeg logs about a file, without numbers, and the error that ends it (`-xerror`)."""
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    error = ""
    try:
        with av.logging.Capture() as messages, av.open(path) as container:
            for packet in container.demux(video=0):
                assert not packet.is_corrupt
                packet.decode()
    except (av.FFmpegError, AssertionError) as caught:
        error = f"ends with {type(caught).__name__}"
    finally:
        av.logging.set_skip_repeated(True)
        av.logging.set_level(None)
    return {re.sub(r"\d+", "N", text) for _, _, text in messages} | ({error} if error else set())


CUT_KINDS = ("breaks-midway", "cannot-open", "no-frames", "no-video-stream")


def refusal(path: Path) -> str | None:
    """Return the kind of the error that refuses a file, or None if it is decoded to its end."""
    try:
        decoded(path)
    except VideoError as error:
        return error.kind
    return None


def cut_lengths(data: bytes, name: str) -> list[int]:
    random_bytes = random.Random(name)
    return [random_bytes.randrange(len(data) // 10, len(data) - 1) for _ in range(CUTS)]


@pytest.mark.parametrize("container", CONTAINERS)
def test_video_reader__refuses_a_file_cut_anywhere(tmp_path: Path, container: str) -> None:
    whole, cut = clip(tmp_path, container), tmp_path / f"cut.{container}"
    assert cut_reason(whole) is None
    assert decoded(whole) == 30
    data = whole.read_bytes()
    for end in cut_lengths(data, container):
        cut.write_bytes(data[:end])
        assert refusal(cut) in CUT_KINDS, end


@pytest.mark.parametrize("container", OPEN_CONTAINERS)
def test_video_reader__stores_only_cuts_that_ffmpeg_misses(tmp_path: Path, container: str) -> None:
    """At any byte, and after any packet, where some cuts cannot be detected, as the guide says."""
    whole, cut = clip(tmp_path, container), tmp_path / f"cut.{container}"
    assert decoded(whole) == 30
    data, usual, stored = whole.read_bytes(), reports_of_ffmpeg(whole), []
    with av.open(whole) as file:
        packets = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.pos]
    ends = {start + length for start, size in packets[1:-1] for length in (0, size)}
    for end in [*cut_lengths(data, container), *sorted(ends - set(range(len(data) // 10)))]:
        cut.write_bytes(data[:end])
        kind = refusal(cut)
        assert kind is None or kind in CUT_KINDS, end
        if kind is None:
            stored.append(end)
            assert not reports_of_ffmpeg(cut) - usual, end
    assert stored or container == "mpg"  # whose pictures share packs in so short a clip


@pytest.mark.parametrize("container", [*CONTAINERS, "y4m", "ivf", "fragmented.mp4", "unsized.flv", "obu"])
def test_cut_reason__is_found_without_decoding(tmp_path: Path, container: str) -> None:
    data = clip(tmp_path, container).read_bytes()
    cut = tmp_path / f"cut.{container}"
    for share in (0.5, 0.9, 0.99):
        cut.write_bytes(data[: int(len(data) * share)])
        assert cut_reason(cut), share


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def boxes_of(data: bytes) -> list[tuple[bytes, int, int]]:
    """Return kind, start and end of the boxes at the top of a file."""
    parts, at = [], 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        parts.append((kind, at, at + length))
        at += length
    return parts


def test_cut_reason__between_fragments_by_the_duration_of_mehd(tmp_path: Path) -> None:
    """30 frames of 1/25 s are 1200 of the movie's timescale, 1000."""
    data = clip(tmp_path, "fragmented.mp4").read_bytes()
    at = data.index(b"mvex") - 4
    length = struct.unpack(">I", data[at : at + 4])[0]
    mehd = box(b"mehd", struct.pack(">II", 0, 1200))
    grown = struct.pack(">I", length + len(mehd)) + b"mvex" + mehd
    moov = data.index(b"moov") - 4
    moov_length = struct.unpack(">I", data[moov : moov + 4])[0]
    data = (
        data[:moov]
        + struct.pack(">I", moov_length + len(mehd))
        + data[moov + 4 : at]
        + grown
        + data[at + 8 :]
    )
    path = tmp_path / "with-mehd.mp4"
    fragments = [end for kind, _, end in boxes_of(data) if kind == b"mdat"]
    path.write_bytes(data[: fragments[-1]])
    assert cut_reason(path) is None
    path.write_bytes(data[: fragments[2]])
    assert "its fragments end at 0.400 s of 1.200 s" in str(cut_reason(path))


def test_cut_reason__between_fragments_by_sidx(tmp_path: Path) -> None:
    data = clip(tmp_path, "indexed.mp4").read_bytes()
    ends = [end for kind, _, end in boxes_of(data) if kind == b"mdat"]
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: ends[1]])
    assert f"its index states fragments up to byte {ends[-1]} of {ends[1]}" in str(cut_reason(path))


def test_cut_reason__a_fragment_that_mfra_lists_is_missing(tmp_path: Path) -> None:
    data = clip(tmp_path, "fragmented.mp4").read_bytes()
    parts = boxes_of(data)
    start, end = next((start, end) for kind, start, end in parts[4:] if kind == b"moof")
    hole = box(b"free", bytes(end - start - 8))
    path = tmp_path / "hole.mp4"
    path.write_bytes(data[:start] + hole + data[end:])
    assert f"its index states a fragment at byte {start}, and there is none" in str(cut_reason(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "its footer|a packet ends"),
        (lambda data: data[:-8], "its footer|a packet ends"),
    ],
)
def test_cut_reason__mxf_without_its_last_bytes(
    tmp_path: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "cut.mxf"
    path.write_bytes(change(clip(tmp_path, "mxf").read_bytes()))
    assert any(part in str(cut_reason(path)) for part in reason.split("|"))


@pytest.mark.parametrize("container", ["wmv", "flv", "mkv", "webm", "ogv", "mxf", "gif", "avi", "nut"])
def test_video_reader__takes_a_file_from_a_pipe(tmp_path: Path, container: str) -> None:
    """Their muxers could not go back to state sizes."""
    assert decoded(clip(tmp_path, container, pipe=True)) == 30


def test_cut_reason__asf_from_a_pipe_ends_with_its_index(tmp_path: Path) -> None:
    path = clip(tmp_path, "wmv", pipe=True)
    path.write_bytes(path.read_bytes()[:-20])
    assert "it ends in the middle of a packet of 3200 bytes" in str(cut_reason(path))


def test_cut_reason__mxf_with_an_open_header_needs_its_footer(tmp_path: Path) -> None:
    path = clip(tmp_path, "mxf", pipe=True)
    data = path.read_bytes()
    footer = data.index(bytes.fromhex("060e2b34020501010d01020101040400"))
    path.write_bytes(data[:footer])
    assert cut_reason(path) == "its footer is missing"


def test_cut_reason__dv_by_the_size_of_its_frames(tmp_path: Path) -> None:
    for size, header in ((120_000, b"\x1f\x07\0\x3f"), (144_000, b"\x1f\x07\0\xbf")):
        frame = (header + bytes(size))[:size]
        path = tmp_path / "clip.dv"
        path.write_bytes(frame * 2)
        assert cut_reason(path) is None
        path.write_bytes((frame * 2)[:-1])
        assert cut_reason(path) == f"it ends in the middle of a frame, {size - 1} bytes into it"


def test_video_reader__refuses_two_files_with_one_message(tmp_path: Path) -> None:
    """FFmpeg's log leaves out a message that repeats the last one, of whichever file."""
    data = clip(tmp_path, "mjpeg").read_bytes()
    for number in range(3):
        path = tmp_path / f"{number}.mjpeg"
        path.write_bytes(data[:-1])
        with pytest.raises(VideoError, match="FFmpeg reports at its end: EOI missing, emulating"):
            decoded(path)


def test_cut_reason__of_headers_that_make_no_sense_is_none(tmp_path: Path) -> None:
    """The decoder judges these; random bytes behind each mark end no run."""
    marks = (
        b"\0\0\0\x18ftyp",
        b"\x1aE\xdf\xa3",
        b"FLV",
        b"OggS",
        b"GIF89a",
        b"YUV4MPEG2 Wx H1\n",
        b"RIFF",
        b"DKIF",
    )
    for mark in (*marks, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), bytes.fromhex("060e2b34")):
        for seed in range(40):
            path = tmp_path / "noise.bin"
            path.write_bytes(mark + random.Random(seed).randbytes(seed * 7))
            cut_reason(path)


def test_video_reader__notes_a_stated_end_after_the_last_frame(tmp_path: Path) -> None:
    """A duration that an editor left stale is no sign of a cut."""
    path = write_clip(tmp_path / "clip.mkv", noise_frames(10))
    data = path.read_bytes()
    at = data.index(b"00:00:00.4")
    path.write_bytes(data[:at] + b"00:00:09.4" + data[at + 10 :])
    with VideoReader(path) as reader:
        assert len(list(reader)) == 10
        assert reader.source()["stated_seconds_after_last_frame"] == pytest.approx(9.0, abs=0.05)


def test_video_reader__of_a_whole_file_notes_nothing(tmp_path: Path) -> None:
    with VideoReader(write_clip(tmp_path / "clip.mkv", noise_frames(10))) as reader:
        assert np.diff([frame.seconds for frame in reader]) == pytest.approx([0.04] * 9)
        assert "stated_seconds_after_last_frame" not in reader.source()


def element(kind: int, content: bytes) -> bytes:
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + bytes([0x80 | len(content)]) + content


def test_container_cropping__of_the_right_matroska_track(tmp_path: Path) -> None:
    crop = [(0x54AA, 1), (0x54BB, 2), (0x54CC, 3), (0x54DD, 4)]
    video = element(0xE0, b"".join(element(kind, bytes([value])) for kind, value in crop))
    tracks = [
        element(0xAE, element(0xD7, bytes([number])) + content) for number, content in ((1, b""), (2, video))
    ]
    segment = element(0x18538067, element(0x1654AE6B, b"".join(tracks)))
    path = tmp_path / "cropped.mkv"
    path.write_bytes(element(0x1A45DFA3, b"") + segment)
    cropping = container_cropping(path, 2)
    assert cropping is not None
    assert cropping.samples(64, 48) == (3, 2, 4, 1)
    assert container_cropping(path, 1) is None


def test_container_cropping__outside_of_the_picture_is_none(tmp_path: Path) -> None:
    aperture = (Fraction(70), Fraction(40), Fraction(0), Fraction(0))
    assert Cropping(aperture=aperture).samples(64, 48) == (0, 0, 0, 0)
    assert Cropping(aperture=(Fraction(60), *aperture[1:])).samples(64, 48) == (2, 4, 2, 4)
