"""Videos that claim or hold more than they may: refused by name, with the option that would allow them."""

import resource
import struct
from pathlib import Path

import pytest

from tests.helpers.clips import noise_frames, write_clip
from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.video import DecodeJob, VideoEnd, VideoFailed, decode_here
from vqafeat.video.reader import DecodeLimits


def ended(
    path: Path, limits: DecodeLimits | None = None, raw: RawGeometry | None = None
) -> VideoEnd | VideoFailed:
    last = list(decode_here(DecodeJob(path, raw, limits=limits or DecodeLimits())))[-1]
    assert isinstance(last, VideoEnd | VideoFailed)
    return last


def test_a_frame_or_a_video_that_is_too_large_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", noise_frames(5))
    size = noise_frames(1).shape[1:3]
    pixels = size[0] * size[1]
    found = ended(clip, DecodeLimits(max_pixels=pixels - 1))
    assert isinstance(found, VideoFailed)
    assert (found.kind, f"give --max-pixels {pixels}" in found.message) == ("too-large", True)
    found = ended(clip, DecodeLimits(max_frames=4))
    assert isinstance(found, VideoFailed)
    assert (found.kind, "has more than 4 frames" in found.message) == ("too-long", True)
    assert isinstance(ended(clip, DecodeLimits(pixels, 5)), VideoEnd)


def test_a_header_of_ten_gigapixels_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "bomb.y4m").write_bytes(b"YUV4MPEG2 W100000 H100000 F25:1 Ip C420\nFRAME\n" + bytes(1000))
    (tmp_path / "bomb.yuv").write_bytes(bytes(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, raw in (("bomb.y4m", None), ("bomb.yuv", RawGeometry(100_000, 100_000, "yuv420p", 25.0))):
        found = ended(tmp_path / name, raw=raw)
        assert isinstance(found, VideoFailed)
        assert found.kind in ("too-large", "cannot-open", "breaks-midway")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_a_header_that_claims_a_milliard_frames_is_not_believed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", noise_frames(5), codec="mjpeg", pixel_format="yuvj420p")
    content = bytearray(path.read_bytes())
    for marker, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        struct.pack_into("<I", content, content.index(marker) + offset, 10**9)
    path.write_bytes(content)
    found = list(decode_here(DecodeJob(path, count_frames=True)))
    assert len([message for message in found if not isinstance(message, VideoEnd | VideoFailed)]) <= 3


@pytest.mark.parametrize(
    ("given", "words"), [({"max_pixels": 0}, "max_pixels is 0"), ({"max_frames": 0}, "max_frames is 0")]
)
def test_limits_check_themselves(given: dict[str, int], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        DecodeLimits(**given)
    with pytest.raises(VideoError, match="more than the 10 pixels allowed"):
        DecodeLimits(max_pixels=10).check_size(Path("a.mp4"), 4, 4)
