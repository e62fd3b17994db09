"""Chunks against the reader, frame by frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import crashing_decoder
from tests.helpers.clips import noise_frames, write_clip
from vqafeat.video import Chunk, DecodeJob, Expected, VideoEnd, VideoFailed, chunks, decode_here, reader
from vqafeat.video.chunks import LONGEST_CHUNK
from vqafeat.video.reader import VideoReader
from vqafeat.video.rgb import to_rgb


def frames_of(job: DecodeJob) -> Iterator[np.ndarray]:
    count = 0
    for message in decode_here(job):
        if isinstance(message, Chunk):
            assert message.first == count
            rgb = to_rgb(torch.from_numpy(message.data), message.layout).permute(0, 2, 3, 1).numpy()
            yield from rgb
            count += len(rgb)


@pytest.mark.parametrize(
    ("frames", "size"),
    [(1, (64, 48)), (LONGEST_CHUNK, (64, 48)), (LONGEST_CHUNK + 1, (64, 48)), (37, (63, 47))],
)
def test_decode_here__gives_every_frame_once_as_the_reader_does(
    tmp_path: Path, frames: int, size: tuple[int, int]
) -> None:
    path = write_clip(tmp_path / "a.mkv", noise_frames(frames, *size), codec="ffv1")
    with VideoReader(path) as reader:
        expected = [frame.rgb for frame in reader]
        source, layouts = reader.source(), {frame.layout.planes for frame in VideoReader(path)}
    assert layouts == {size[0] % 2 == 0}
    np.testing.assert_array_equal(list(frames_of(DecodeJob(path))), expected)
    end = list(decode_here(DecodeJob(path)))[-1]
    assert isinstance(end, VideoEnd)
    assert end.source.items() >= source.items()
    assert end.source["bytes"] == path.stat().st_size


@pytest.mark.parametrize(
    "name",
    [
        "rotated_90.mov",
        "bt709_full_range.mp4",
        "h264_10bit.mp4",
        "edit_list_yuv444.mp4",
        "portrait_406x720.mp4",
    ],
)
def test_decode_here__gives_odd_files_as_the_reader_does(shared_data: Path, name: str) -> None:
    path = shared_data / "odd" / name
    with VideoReader(path) as reader:
        for frame, expected in zip(frames_of(DecodeJob(path)), reader, strict=True):
            np.testing.assert_array_equal(frame, expected.rgb)


def test_decode_here__gives_large_frames_in_shorter_chunks(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", noise_frames(5, 1920, 1080))
    lengths = [len(message.seconds) for message in decode_here(DecodeJob(path)) if isinstance(message, Chunk)]
    assert lengths == [2, 2, 1]


def test_decode_here__promises_the_number_of_frames_when_requested(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", noise_frames(9))
    assert next(decode_here(DecodeJob(path, count_frames=True))) == Expected(9)
    assert not any(isinstance(message, Expected) for message in decode_here(DecodeJob(path)))


def test_decode_here__reports_every_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(decode_here(DecodeJob(tmp_path / "none.mp4"))) == [
        VideoFailed("cannot-open", f"'{tmp_path / 'none.mp4'}' is not a file.")
    ]
    (tmp_path / "bug.mp4").touch()
    monkeypatch.setattr(chunks, "VideoReader", crashing_decoder.misbehaving_reader)
    (failed,) = decode_here(DecodeJob(tmp_path / "bug.mp4"))
    assert failed == VideoFailed(
        "decoder-error",
        f"'{tmp_path / 'bug.mp4'}' cannot be decoded: ZeroDivisionError: a codec's bindings broke.",
    )


def test_decode_here__refuses_a_file_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", noise_frames(9))
    messages = decode_here(DecodeJob(path))
    next(messages)
    write_clip(tmp_path / "new.mp4", noise_frames(3)).replace(path)
    problem = f"'{path}' changed while it was decoded; extract it again."
    assert list(messages)[-1] == VideoFailed("changed", problem)


class OtherSamples(VideoReader):
    """Stands in for a device whose decoder is not exact."""

    def __init__(
        self, path: Path, raw: None = None, hardware: str | None = None, limits: object = None
    ) -> None:
        super().__init__(path if hardware is None else path.with_name("other.mp4"), raw)


def test_decode_here__refuses_a_device_that_decodes_other_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", noise_frames(3))
    write_clip(tmp_path / "other.mp4", noise_frames(3, seed=1))
    monkeypatch.setattr(chunks, "VideoReader", OtherSamples)
    (failed,) = decode_here(DecodeJob(path, hardware="cuda"))
    assert isinstance(failed, VideoFailed)
    assert failed.kind == "hardware-differs"
    assert "frame 0 decoded by cuda differs from the processor's; use --decoder cpu" in failed.message
    write_clip(tmp_path / "other.mp4", noise_frames(3))
    assert isinstance(list(decode_here(DecodeJob(path, hardware="cuda")))[-1], VideoEnd)


def test_decode_chunks__a_gpu_decodes_on_the_device_of_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []

    def hardware(*arguments: object, **options: object) -> None:
        given.append(arguments)

    monkeypatch.setattr(reader, "HWAccel", hardware)
    path = write_clip(tmp_path / "a.mp4", noise_frames(2, 64, 48))
    for device in ("cuda:1", "cuda"):
        list(decode_here(DecodeJob(path, hardware=device)))
    assert given == [("cuda", "1"), ("cuda", None)]
