"""Orientation against its definition, and what cannot be converted."""

import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from av.bitstream import BitStreamFilterContext

from tests.helpers.clips import noise_frames, write_clip
from vqafeat.errors import VideoError
from vqafeat.video.frame import CropFilter, orientation_of
from vqafeat.video.iso_media import Cropping
from vqafeat.video.reader import VideoReader
from vqafeat.video.rgb import to_rgb

Picture = npt.NDArray[np.uint8]
EIGHT = [
    *[(a, 0, 0, d) for a, d in product((1, -1), repeat=2)],
    *[(0, b, c, 0) for b, c in product((1, -1), repeat=2)],
]


def shown(picture: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """Return a picture as its display matrix (a, b, c, d) shows it: (x, y) goes to (a x + c y, b x + d y)."""
    height, width = picture.shape[:2]
    a, b, c, d = matrix
    y, x = np.mgrid[:height, :width]
    columns, rows = a * x + c * y, b * x + d * y
    out = np.empty((height, width, 3) if a else (width, height, 3), np.uint8)
    out[rows - rows.min(), columns - columns.min()] = picture
    return out


def fixed(matrix: tuple[int, int, int, int]) -> tuple[int, ...]:
    a, b, c, d = (value << 16 for value in matrix)
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def with_matrix(path: Path, plain: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Copy a clip's stream into a container that states a display matrix."""
    with av.open(plain) as source, av.open(path, "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_matrix(fixed(matrix))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path


def with_sei(path: Path, plain: Path, options: str) -> Path:
    """Copy a clip's stream, with a display orientation in the H.264 stream itself."""
    with av.open(plain) as source, av.open(path, "w") as target:
        inside = source.streams.video[0]
        stream = target.add_stream_from_template(inside)
        bitstream = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:{options}", inside)
        for packet in source.demux(inside):
            for changed in bitstream.filter(packet):
                changed.stream = stream
                target.mux(changed)
    return path


def first_picture(path: Path) -> tuple[Picture, Picture]:
    """Return the first frame by swscale, and by the conversion that the devices use."""
    with VideoReader(path) as reader:
        frame = next(iter(reader))
        buffer = np.empty(frame.layout.nbytes, np.uint8)
        frame.write_to(buffer)
        rgb = frame.rgb.copy()
    return rgb, to_rgb(torch.from_numpy(buffer)[None], frame.layout)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("matrix", EIGHT)
def test_orientation_of__is_the_matrix_applied(matrix: tuple[int, int, int, int]) -> None:
    picture = noise_frames(1, 6, 4)[0]
    turns, mirrored = orientation_of(fixed(matrix))
    np.testing.assert_array_equal(
        np.rot90(picture[:, ::-1] if mirrored else picture, turns), shown(picture, matrix)
    )


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("matrix", EIGHT)
def test_frame__is_shown_as_the_container_says(
    tmp_path: Path, matrix: tuple[int, int, int, int], suffix: str
) -> None:
    plain = write_clip(tmp_path / "plain.mp4", noise_frames(2))
    upright, _ = first_picture(plain)
    rgb, on_device = first_picture(with_matrix(tmp_path / f"turned.{suffix}", plain, matrix))
    np.testing.assert_array_equal(rgb, shown(upright, matrix))
    np.testing.assert_array_equal(on_device, rgb)


SEI_FLIPS: dict[str, Callable[[Picture], Picture]] = {
    "": lambda picture: picture,
    ":flip=horizontal": lambda picture: picture[:, ::-1],
}


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", SEI_FLIPS)
def test_frame__is_shown_as_the_stream_says(tmp_path: Path, degrees: int, flip: str) -> None:
    """H.264, D.2.27: flipped first, then turned counter-clockwise."""
    plain = write_clip(tmp_path / "plain.mp4", noise_frames(2))
    upright, _ = first_picture(plain)
    rgb, on_device = first_picture(with_sei(tmp_path / "turned.mp4", plain, f"rotate={degrees}{flip}"))
    np.testing.assert_array_equal(rgb, np.rot90(SEI_FLIPS[flip](upright), degrees // 90))
    np.testing.assert_array_equal(on_device, rgb)


def test_source__says_that_a_picture_is_mirrored(tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.mp4", noise_frames(2))
    for matrix in ((1, 0, 0, 1), (-1, 0, 0, 1)):
        with VideoReader(with_matrix(tmp_path / "turned.mp4", plain, matrix)) as reader:
            assert len(list(reader)) == 2
            assert ("mirrored" in reader.source()) == (matrix[0] < 0)


def test_frame__of_a_matrix_that_swscale_cannot_convert_is_refused(shared_data: Path) -> None:
    with VideoReader(shared_data / "odd2" / "cm_ycgco_tv.mp4") as reader:
        frame = next(iter(reader))
        with pytest.raises(
            VideoError, match=r"colour matrix YCgCo cannot be converted .* with the matrix BT\.709"
        ):
            _ = frame.rgb


def test_display_matrix__is_stored_as_ffmpeg_reads_it(tmp_path: Path) -> None:
    """The helper of these tests writes what it says."""
    path = with_matrix(
        tmp_path / "turned.mp4", write_clip(tmp_path / "plain.mp4", noise_frames(2)), (-1, 0, 0, 1)
    )
    with av.open(path) as container:
        picture = next(container.decode(video=0))
        matrix = struct.unpack("=9i", bytes(picture.side_data["DISPLAYMATRIX"]))  # type: ignore[arg-type]
    assert matrix[:5] == fixed((-1, 0, 0, 1))[:5]
    assert picture.time_base == Fraction(1, 12800)


def test_orientation_of__a_matrix_of_zeros_turns_nothing() -> None:
    assert orientation_of([0] * 9) == (0, False)


def test_crop_filter__fetches_a_picture_that_is_on_a_gpu() -> None:
    picture = av.VideoFrame.from_ndarray(noise_frames(1, 16, 8)[0], format="rgb24").reformat(format="nv12")
    picture.time_base = Fraction(1, 25)
    requested: list[str] = []

    def reformat(format: str) -> av.VideoFrame:
        requested.append(format)
        return picture

    names = {name: SimpleNamespace(name=name) for name in ("cuda", "nv12")}
    on_gpu: Any = SimpleNamespace(format=names["cuda"], sw_format=names["nv12"], reformat=reformat)
    cropped = CropFilter(Cropping(left=2, top=2, right=4)).apply(on_gpu)
    assert (cropped.width, cropped.height, cropped.format.name, requested) == (10, 6, "nv12", ["nv12"])
