"""Single pictures, against those of the reader that the extraction uses."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from vqafeat.errors import VideoError
from vqafeat.video.files import read_frames
from vqafeat.video.reader import VideoReader


def test_read_frames__gives_the_requested_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, noise_frames(9))
    with VideoReader(path) as reader:
        every = [frame.rgb.copy() for frame in reader]
    result = read_frames(path, {7, 2})
    assert sorted(result) == [2, 7]
    for index, picture in result.items():
        np.testing.assert_array_equal(picture, every[index])
    with pytest.raises(VideoError, match="has no frame 9; it ends before"):
        read_frames(path, [9])
