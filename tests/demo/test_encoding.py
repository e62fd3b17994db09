"""The H.264 files as PyAV decodes them."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from vqafeat.demo.camera import Pictures, plan_camera
from vqafeat.demo.distortions import KINDS, NEAR_LOSSLESS_CRF
from vqafeat.demo.video_set import write_h264

FRAMES = 12


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return plan_camera(0, 0).render(np.arange(FRAMES) / 24)


@pytest.mark.parametrize("rate_hz", [24, 25, 30])
def test_write_h264__frames_and_rate_are_those_requested(
    tmp_path: Path, pictures: Pictures, rate_hz: int
) -> None:
    write_h264(tmp_path / "clip.mp4", pictures, rate_hz, NEAR_LOSSLESS_CRF)
    with av.open(tmp_path / "clip.mp4") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(rate_hz)
        assert (stream.frames, stream.codec_context.name, stream.pix_fmt) == (FRAMES, "h264", "yuv420p")
        frames = list(container.decode(stream))
        assert [frame.time for frame in frames] == pytest.approx(
            [number / rate_hz for number in range(FRAMES)]
        )
        assert (frames[0].color_range, frames[0].colorspace) == (ColorRange.MPEG, Colorspace.SMPTE170M)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_write_h264__near_lossless_is_near_lossless(tmp_path: Path, pictures: Pictures) -> None:
    write_h264(tmp_path / "clip.mp4", pictures, 24, NEAR_LOSSLESS_CRF)
    with av.open(tmp_path / "clip.mp4") as container:
        decoded = np.stack([frame.to_ndarray() for frame in container.decode(video=0)])
    luma = decoded[:, : pictures.luma.shape[1]].astype(np.float64)
    error = np.mean((luma - pictures.luma) ** 2)
    assert 10 * np.log10(255**2 / error) > 46


def test_write_h264__files_shrink_and_pictures_worsen_with_severity(
    tmp_path: Path, pictures: Pictures
) -> None:
    sizes, errors = [], []
    for severity in range(6):
        path = tmp_path / f"{severity}.mp4"
        write_h264(path, pictures, 24, KINDS.get("compression").crf(severity))
        sizes.append(path.stat().st_size)
        with av.open(path) as container:
            luma = np.stack(
                [frame.to_ndarray()[: pictures.luma.shape[1]] for frame in container.decode(video=0)]
            )
        errors.append(float(np.mean((luma.astype(np.float64) - pictures.luma) ** 2)))
    assert all(milder > harsher for milder, harsher in pairwise(sizes))
    assert all(milder < harsher for milder, harsher in pairwise(errors))
