"""The camera against the photographs, FFmpeg's colour conversion, and known shifts."""

from collections import Counter
from dataclasses import replace

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from vqafeat.demo.camera import HEIGHT_PX, WIDTH_PX, Camera, Pictures, plan_camera
from vqafeat.errors import ArgumentError

# Half a window from the middle, so that with zoom 1 every sample lies on a pixel of the photograph.
LEFT, TOP = 180, 100
CENTRE = (LEFT + (WIDTH_PX - 1) / 2, TOP + (HEIGHT_PX - 1) / 2)
STILL = Camera("china.jpg", False, 25, "pan", CENTRE, CENTRE, 1.0, 1.0, 0.0, 0.0, (0,))


def first_luma(camera: Camera) -> NDArray[np.float64]:
    return np.asarray(camera.render(np.zeros(1)).luma[0], dtype=np.float64)


def test_camera__a_still_one_sees_what_ffmpeg_converts() -> None:
    crop = np.ascontiguousarray(load_sample_image("china.jpg")[TOP : TOP + HEIGHT_PX, LEFT : LEFT + WIDTH_PX])
    expected = (
        av.VideoFrame.from_ndarray(crop, format="rgb24").to_ndarray(format="yuv420p").astype(np.float64)
    )
    pictures = STILL.render(np.zeros(1))
    difference = np.abs(pictures.luma[0] - expected[:HEIGHT_PX])
    assert difference.max() <= 2
    assert difference.mean() < 0.6
    chroma = np.concatenate([plane.reshape(-1, WIDTH_PX) for plane in (pictures.cb[0], pictures.cr[0])])
    assert np.abs(chroma - expected[HEIGHT_PX:]).mean() < 2


def test_camera__a_mirrored_one_sees_the_other_side() -> None:
    width = 640
    mirrored = replace(
        STILL,
        mirrored=True,
        first_centre_px=(width - 1 - CENTRE[0], CENTRE[1]),
        last_centre_px=(width - 1 - CENTRE[0], CENTRE[1]),
    )
    np.testing.assert_array_equal(first_luma(mirrored), first_luma(STILL)[:, ::-1])


@pytest.mark.parametrize("shift_px", [0.1, 0.25, 0.5])
def test_camera__shifts_are_finer_than_a_pixel(shift_px: float) -> None:
    wide = replace(STILL, photograph="flower.jpg", first_zoom=0.5, last_zoom=0.5)
    there = (CENTRE[0] + shift_px * 0.5, CENTRE[1])
    still, moved = first_luma(wide), first_luma(replace(wide, first_centre_px=there, last_centre_px=there))
    # Smooth enough for the first-order expansion of a shift.
    smooth_still, smooth_moved = gaussian_filter(still, 3), gaussian_filter(moved, 3)
    slope = np.gradient((smooth_still + smooth_moved) / 2, axis=1)
    assert float((slope * (smooth_moved - smooth_still)).sum() / (slope**2).sum()) == pytest.approx(
        shift_px, rel=0.05
    )


def test_camera__wide_windows_do_not_alias() -> None:
    middle = (LEFT + WIDTH_PX - 0.5, TOP + HEIGHT_PX - 0.5)
    wide = replace(
        STILL,
        first_centre_px=(middle[0] - 100, middle[1] - 100),
        last_centre_px=(middle[0] - 100, middle[1] - 100),
        first_zoom=2.0,
        last_zoom=2.0,
    )
    image = load_sample_image("china.jpg").astype(np.float64) @ [0.299, 0.587, 0.114] * 219 / 255 + 16
    area = image[TOP - 100 : TOP - 100 + 2 * HEIGHT_PX, LEFT - 100 : LEFT - 100 + 2 * WIDTH_PX]
    averaged = area.reshape(HEIGHT_PX, 2, WIDTH_PX, 2).mean((1, 3))
    seen = first_luma(wide)
    assert np.abs(seen - averaged).mean() < 0.4 * np.abs(area[::2, ::2] - averaged).mean()


def test_plan_camera__contents_share_photographs_rates_and_moves() -> None:
    cameras = [plan_camera(0, content) for content in range(12)]
    assert Counter(camera.photograph for camera in cameras) == {"china.jpg": 6, "flower.jpg": 6}
    assert Counter(camera.frame_rate_hz for camera in cameras) == {24: 4, 25: 4, 30: 4}
    assert Counter(camera.move for camera in cameras) == {"pan": 4, "zoom": 4, "handheld": 4}
    assert len({camera.first_centre_px for camera in cameras}) == 12


@pytest.mark.parametrize("content", range(12))
def test_plan_camera__moves_all_the_time(content: int) -> None:
    camera = plan_camera(0, content)
    seconds = np.arange(0, 2, 0.25)
    earlier, later = camera.render(seconds), camera.render(seconds + 1 / camera.frame_rate_hz)
    assert np.abs(earlier.luma.astype(np.float64) - later.luma).mean((1, 2)).min() > 0.8
    assert earlier.luma.std() > 15


def test_plan_camera__follows_the_seed() -> None:
    assert plan_camera(3, 5) == plan_camera(3, 5)
    assert plan_camera(3, 5) != plan_camera(4, 5)


def test_camera__refuses_wrong_arguments() -> None:
    for content in (-1, 12):
        with pytest.raises(ArgumentError, match=rf"content is {content}; it has to be 0 to 11"):
            plan_camera(0, content)
    with pytest.raises(
        ArgumentError, match=r"zooms are 0.0 and 1.0, shake_px is 0.0; zooms have to be above 0"
    ):
        replace(STILL, first_zoom=0.0)
    with pytest.raises(ArgumentError, match=r"shake_px is -1.0; zooms .*, and shake_px at least 0"):
        replace(STILL, shake_px=-1.0)
    plane = np.zeros((1, 4, 4), dtype=np.uint8)
    with pytest.raises(ArgumentError, match=r"cb and cr have the shapes \(1, 4, 4\) .* needs \(1, 2, 2\)"):
        Pictures(plane, plane, plane)
