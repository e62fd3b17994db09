"""The way of decoded frames to a device; a GPU is played by objects that record what it was told."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vqafeat.errors import VideoError
from vqafeat.extraction import upload
from vqafeat.extraction.upload import CHUNKS_AHEAD, Uploader
from vqafeat.video import Chunk
from vqafeat.video.frame import FrameLayout
from vqafeat.video.rgb import to_rgb

LAYOUT = FrameLayout(4, 2, True, 1, False, 0)


def chunk(frames: int) -> Chunk:
    data = np.random.default_rng(0).integers(0, 256, (frames, LAYOUT.nbytes), dtype=np.uint8)
    return Chunk(0, tuple(range(frames)), LAYOUT, 0, data)


class Runtime:
    """CUDA's runtime, which locks memory unless it has been told to refuse."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.refuses = False

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 – CUDA's own name
        self.calls.append(("lock", size))
        return int(self.refuses)

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        self.calls.append(("unlock", 0))
        return 0


class Event:
    waited = 0

    def record(self, stream: object) -> None:
        pass

    def synchronize(self) -> None:
        Event.waited += 1


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    runtime = Runtime()
    stream = SimpleNamespace(synchronize=lambda: None)
    for name, value in (
        ("cudart", lambda: runtime),
        ("Event", Event),
        ("Stream", lambda device: stream),
        ("current_stream", lambda device: stream),
        ("synchronize", lambda device: None),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.empty(shape))
    return runtime


def test_uploader__gives_a_processor_single_frames_as_rgb() -> None:
    given = chunk(3)
    frames = list(Uploader(torch.device("cpu")).frames(given))
    assert [len(one) for one in frames] == [1, 1, 1]
    assert {one.layout for one in frames} == {None}
    assert torch.equal(torch.cat([one.data for one in frames]), to_rgb(torch.from_numpy(given.data), LAYOUT))


def test_uploader__locks_each_memory_once_and_anew_when_it_grows(runtime: Runtime) -> None:
    uploader, memory = Uploader(torch.device("cuda:0")), np.zeros(100, np.uint8)
    for size in (50, 50, 20, 80):
        uploader._lock(memory[:size])
    assert runtime.calls == [("lock", 50), ("unlock", 0), ("lock", 80)]
    uploader.close()
    assert runtime.calls[3:] == [("unlock", 0)]


def test_uploader__copies_from_other_memory_where_none_can_be_locked(runtime: Runtime) -> None:
    runtime.refuses = True
    uploader = Uploader(torch.device("cuda:0"))
    uploader._lock(np.zeros(100, np.uint8))
    uploader._lock(np.zeros(100, np.uint8))
    uploader.close()
    assert runtime.calls == [("lock", 100)]


def test_uploader__does_not_run_far_ahead_of_a_gpu(runtime: Runtime) -> None:
    uploader, Event.waited = Uploader(torch.device("cuda:0")), 0
    for _ in range(CHUNKS_AHEAD + 3):
        uploader._wait_for_gpu()
    assert Event.waited == 3


def test_uploader__a_gpu_without_memory_fails_the_video(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Any, data: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(upload.Uploader, "_copied", no_room)
    with pytest.raises(VideoError, match="'cuda:1' has no memory for the next decoded frames") as caught:
        list(Uploader(torch.device("cuda:1")).frames(chunk(2)))
    assert caught.value.kind == "out-of-memory"
