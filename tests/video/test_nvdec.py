"""Decoding by threads, on the processor in place of a GPU, against decoding in this process."""

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.helpers.clips import jobs_of, noise_frames, write_clip
from vqafeat.video import Chunk, DecodeJob, Message, VideoEnd, VideoFailed, decode_here, nvdec
from vqafeat.video.chunks import ChunksOf
from vqafeat.video.frame import HARDWARE_FORMAT, Frame, layout_of
from vqafeat.video.nvdec import DeviceDecodePool
from vqafeat.video.reader import FRAMES_KEPT, VideoReader

CPU = torch.device("cpu")


def decoded(messages: Iterable[Message]) -> tuple[npt.NDArray[np.uint8], list[float], Message]:
    """Return the samples (frame, byte), the times and the last message of a video."""
    samples, seconds = list[npt.NDArray[np.uint8]](), list[float]()
    for message in messages:
        if isinstance(message, Chunk):
            assert message.first == len(seconds)
            samples.append(np.asarray(message.data).copy())
            seconds.extend(message.seconds)
    return np.concatenate(samples), seconds, message


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    frames = [noise_frames(FRAMES_KEPT + 5 * number, 64, 48, seed=number) for number in range(4)]
    clips = [write_clip(tmp_path / f"{number}.mp4", pictures) for number, pictures in enumerate(frames)]
    return [*clips, write_clip(tmp_path / "odd.mkv", noise_frames(3, 63, 47), codec="ffv1")]


@pytest.mark.parametrize("workers", [1, 3])
def test_device_decode_pool__gives_the_frames_of_this_process(clips: list[Path], workers: int) -> None:
    with closing(DeviceDecodePool[str](CPU, workers, 30)) as pool:
        given: dict[str, list[Message]] = {path.name: [] for path in clips}
        for name, message in pool.messages(jobs_of(clips)):
            given[name].append(message)
    for path in clips:
        samples, seconds, end = decoded(given[path.name])
        expected = decoded(decode_here(DecodeJob(path)))
        np.testing.assert_array_equal(samples, expected[0])
        assert (seconds, end) == expected[1:]


@pytest.mark.parametrize(
    "name", ["rotated_90.mov", "h264_10bit.mp4", "edit_list_yuv444.mp4", "no_fps.ts", "truncated.mp4"]
)
def test_device_decode_pool__of_odd_videos(shared_data: Path, name: str) -> None:
    path = shared_data / "odd" / name
    with closing(DeviceDecodePool[str](CPU, 1, 30)) as pool:
        given = decoded(message for _, message in pool.messages(jobs_of([path])))
    expected = decoded(decode_here(DecodeJob(path)))
    np.testing.assert_array_equal(given[0], expected[0])
    assert given[1:] == expected[1:]


def test_device_decode_pool__reports_a_broken_video_and_decodes_the_others(clips: list[Path]) -> None:
    clips[1].write_bytes(clips[1].read_bytes()[:-300])
    with closing(DeviceDecodePool[str](CPU, 2, 30)) as pool:
        ends = [(name, message) for name, message in pool.messages(jobs_of(clips))]
    kinds = {name: type(message) for name, message in ends if not isinstance(message, Chunk)}
    assert kinds == {path.name: VideoFailed if path == clips[1] else VideoEnd for path in clips}


def test_device_decode_pool__stops_when_it_is_closed_early(clips: list[Path]) -> None:
    pool = DeviceDecodePool[str](CPU, 2, 30)
    messages = pool.messages(jobs_of(repeat(clips[3])))
    assert isinstance(next(messages)[1], Chunk)
    pool.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoder")]


def test_device_decode_pool__gives_up_videos_that_hang(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, go_on = nvdec.decode_chunks, threading.Event()

    def hanging(job: DecodeJob, chunks_of: ChunksOf) -> Iterator[Message]:
        if job.path == clips[0]:
            assert go_on.wait(30)
        yield from original(job, chunks_of)

    monkeypatch.setattr(nvdec, "decode_chunks", hanging)
    with closing(DeviceDecodePool[str](CPU, 2, 1.5)) as pool:
        ends = dict(pool.messages(jobs_of(clips)))
        go_on.set()
        message = f"'{clips[0]}' gave no frame for 1.5 seconds."
        assert ends.pop(clips[0].name) == VideoFailed("timeout", message)
        assert {type(end) for end in ends.values()} == {VideoEnd}
        # what the thread sends later is not taken for a message of another video
        (late,) = [name for name, end in pool.messages(jobs_of([clips[1]])) if isinstance(end, VideoEnd)]
        assert late == clips[1].name


def test_device_decode_pool__a_device_without_memory_fails_the_video(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*shape: object, **options: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch, "empty", no_room)
    with closing(DeviceDecodePool[str](CPU, 1, 30)) as pool:
        ((_, failed),) = pool.messages(jobs_of(clips[:1]))
    assert failed == VideoFailed("out-of-memory", "'cpu' has no memory for the next decoded frames.")


def test_device_decode_pool__a_device_that_does_not_work_fails_the_video(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*shape: object, **options: object) -> None:
        raise RuntimeError("no context")

    monkeypatch.setattr(torch, "zeros", broken)
    with closing(DeviceDecodePool[str](CPU, 1, 30)) as pool:
        ((_, failed),) = pool.messages(jobs_of(clips[:1]))
    message = f"'{clips[0]}' cannot be decoded on 'cpu': no context."
    assert failed == VideoFailed("decoder-error", message)


def test_device_decode_pool__keeps_no_frame_that_the_decoder_needs(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, copy = list[weakref.ref[Frame]](), nvdec._copy

    def noted(frame: Frame, row: torch.Tensor) -> None:
        copied.append(weakref.ref(frame))
        copy(frame, row)

    monkeypatch.setattr(nvdec, "_copy", noted)
    with closing(DeviceDecodePool[str](CPU, 1, 30)) as pool, VideoReader(clips[3]) as reader:
        for number, _ in enumerate(pool._chunks(reader)):
            assert len(copied) > number * FRAMES_KEPT
            assert sum(frame() is not None for frame in copied) <= 1


def test_copy__of_the_interleaved_samples_of_a_gpu(clips: list[Path]) -> None:
    with VideoReader(clips[0]) as reader:
        for frame in reader:
            expected = np.empty(frame.layout.nbytes, np.uint8)
            frame.write_to(expected)
            picture = frame.picture.reformat(format=HARDWARE_FORMAT)
            row = torch.zeros(frame.layout.nbytes, dtype=torch.uint8)
            nvdec._copy(replace(frame, picture=picture), row)
            np.testing.assert_array_equal(row.numpy(), expected)
            assert layout_of(picture, from_hardware=True) == frame.layout
