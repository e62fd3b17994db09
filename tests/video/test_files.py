"""Single pictures, against those of the reader that the extraction uses."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from vqafeat.errors import VideoError
from vqafeat.video import files
from vqafeat.video.files import count_packets, file_fingerprint, read_frames
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


def test_file_fingerprint__says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"none.mp4' cannot be read: No such file or directory\.$") as caught:
        file_fingerprint(tmp_path / "none.mp4", None)
    assert caught.value.kind == "cannot-open"
    with pytest.raises(VideoError, match=r"cannot be read: .*Is a directory"):
        file_fingerprint(tmp_path, None)


def test_count_packets__of_a_file_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", noise_frames(3))
    assert count_packets(path) == 3

    def broken(stream: object) -> None:
        raise OSError("the disk fails")

    monkeypatch.setattr(files, "video_stream", lambda container, path: None)
    monkeypatch.setattr(files, "open_container", lambda path, raw: nullcontext(SimpleNamespace(demux=broken)))
    with pytest.raises(VideoError, match="breaks while its packets are counted: the disk fails") as caught:
        count_packets(path)
    assert caught.value.kind == "breaks-midway"
