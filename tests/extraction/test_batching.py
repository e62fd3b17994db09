"""Batches of frames and blocks of clips, with a network that records what it was given."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.base import ClipRule
from vqafeat.backbones.network import InputMemory, Network
from vqafeat.extraction import batching
from vqafeat.extraction.batching import (
    ClipBatcher,
    FeatureBuffer,
    FrameBatcher,
    FrameCollector,
    Rows,
    SpillBuffer,
)
from vqafeat.video.rgb import Frames


class Recording:
    """A network whose row for a frame is the frame's first sample; it has memory for so many frames."""

    def __init__(self, room: int = 1000, clips: ClipRule | None = None) -> None:
        self.given: list[list[int]] = []
        self.room = room
        self.backbone, self.clips = type("", (), {"name": "recording"}), clips
        self.device = torch.device("cpu")

    def inputs(self, frames: Frames) -> list[Tensor]:
        return [frames.rgb()]

    def rows(self, parts: list[Tensor]) -> Rows:
        (frames,) = parts
        if len(frames) > self.room:
            raise torch.OutOfMemoryError("no room")
        self.given.append(frames[:, 0, 0, 0].tolist())
        rows = frames[:, 0, 0, :1].float()
        return {"a": rows if self.clips is None else rows.view(self.clips.steps, -1)}


def frames_of(first: int, count: int, side: int = 4) -> Frames:
    samples = torch.arange(first, first + count).remainder(256).to(torch.uint8).view(-1, 1, 1, 1)
    return Frames(samples.expand(count, 3, side, side))


def as_network(network: Recording) -> Network:
    return cast(Network, network)


def batcher_of(network: Network) -> FrameBatcher:
    return FrameBatcher(network, lambda height, width: 1)


A = {"a": torch.float32}


def rows_of(buffer: FeatureBuffer) -> list[float]:
    return buffer.arrays()["a"].flatten().tolist()


def test_frame_batcher__shares_batches_and_gives_each_video_its_rows() -> None:
    network = Recording()
    batcher = FrameBatcher(as_network(network), lambda height, width: 4)
    one, two, other = (FeatureBuffer(A) for _ in range(3))
    batcher.add(one, frames_of(0, 3))
    batcher.add(other, frames_of(200, 2, side=6))
    batcher.add(two, frames_of(100, 6))
    assert network.given == [[0, 1, 2, 100], [101, 102, 103, 104]]
    assert (rows_of(one), one.waiting, two.waiting, other.waiting) == ([0, 1, 2], 0, 1, 2)
    batcher.flush((4, 4))
    batcher.flush((6, 6))
    batcher.flush((8, 8))
    # what an earlier batch left, or zeros, fills a batch up
    assert network.given[2:] == [[105, 102, 103, 104], [200, 201, 0, 0]]
    assert (rows_of(two), rows_of(other), two.waiting, other.waiting) == (
        [*range(100, 106)],
        [200, 201],
        0,
        0,
    )


def test_frame_batcher__halves_the_batch_on_a_device_without_memory() -> None:
    network = Recording(room=3)
    batcher = FrameBatcher(as_network(network), lambda height, width: 16)
    buffer = FeatureBuffer(A)
    batcher.add(buffer, frames_of(0, 16))
    batcher.flush((4, 4))
    assert rows_of(buffer) == [*range(16)]
    assert {len(given) for given in network.given} == {2}
    assert buffer.error is None


def test_frame_batcher__a_frame_that_never_fits_fails_its_video_alone() -> None:
    network = Recording(room=0)
    batcher = FrameBatcher(as_network(network), lambda height, width: 2)
    one, two = FeatureBuffer(A), FeatureBuffer(A)
    batcher.add(one, frames_of(0, 1))
    batcher.add(two, frames_of(9, 1))
    batcher.flush((4, 4))
    assert one.error is not None
    assert one.error.kind == "out-of-memory"
    assert "'recording' ran out of memory on a single frame of 4x4; use a smaller view" in str(one.error)
    network.room = 1
    batcher.add(two, frames_of(10, 1))
    assert (one.waiting, two.waiting) == (0, 0)


@pytest.mark.parametrize("pieces", [(300,), (1,) * 300, (7, 100, 193), (64, 64, 64, 64, 44)])
def test_frame_collector__passes_the_selected_frames_alone(pieces: tuple[int, ...]) -> None:
    network = Recording()
    batcher = FrameBatcher(as_network(network), lambda height, width: 1)
    buffer = FeatureBuffer(A)
    collector = FrameCollector(batcher, buffer, [0, 7, 8, 255, 299])
    first = 0
    for count in pieces:
        collector.push(first, frames_of(first, count))
        first += count
    collector.finish(300)
    assert buffer.frames == [0, 7, 8, 255, 299]
    assert rows_of(buffer) == [0, 7, 8, 255, 43]


def whole_clips(rule: ClipRule, total: int) -> tuple[list[list[int]], list[int]]:
    """Return the released rule's blocks and row frames for a video held in memory as a whole."""
    starts = (
        [0] if total <= rule.window else [*range(0, total - rule.window, rule.window), total - rule.window]
    )
    already_covered = [0] * (len(starts) - 1) + [(total - 1) // rule.window * rule.window]
    length = min(total, rule.window)
    blocks = [[start + position for position in rule.input_indices(length)] for start in starts]
    rows = [
        frame
        for start, done in zip(starts, already_covered, strict=True)
        for _, frame in rule.rows(start, length, done)
    ]
    return blocks, rows


@pytest.mark.parametrize("rule", [ClipRule(8, 4, 4), ClipRule(8, 4, 2), ClipRule(6, 6, 1)])
@pytest.mark.parametrize("total", [1, 3, 6, 7, 8, 9, 15, 16, 17, 40])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_clip_batcher__blocks_of_a_stream_equal_those_of_the_whole_video(
    rule: ClipRule, total: int, chunk: int
) -> None:
    network = Recording(clips=rule)
    buffer = FeatureBuffer(A)
    collector = ClipBatcher(batcher_of(as_network(network)), buffer)
    for first in range(0, total, chunk):
        collector.push(first, frames_of(first, min(chunk, total - first)))
    collector.finish(total)
    blocks, rows = whole_clips(rule, total)
    assert network.given == blocks
    assert buffer.frames == rows
    assert len(buffer.arrays()["a"]) == len(rows)


@pytest.mark.parametrize("total", [1, 3, 8, 9, 15, 16, 17, 18, 41])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_clip_batcher__plain_stride_sees_every_second_frame(total: int, chunk: int) -> None:
    network = Recording(clips=ClipRule(8, 4, 4).strided(2))
    buffer = FeatureBuffer(A)
    collector = ClipBatcher(batcher_of(as_network(network)), buffer)
    for first in range(0, total, chunk):
        collector.push(first, frames_of(first, min(chunk, total - first)))
    collector.finish(total)
    every_second = list(range(0, total, 2))
    if len(every_second) >= 4:
        assert buffer.frames == rows_of(buffer) == every_second
        assert network.given[-1] == every_second[-4:]
    assert set(buffer.frames) == set(every_second)


@pytest.mark.parametrize("total", [1, 5, 8, 9, 16, 30])
def test_clip_batcher__given_frames_have_the_nearest_row_of_their_clip(total: int) -> None:
    network, given = Recording(clips=ClipRule(8, 4, 4)), sorted({0, total // 3, total - 1})
    buffer = FeatureBuffer(A)
    collector = ClipBatcher(batcher_of(as_network(network)), buffer, given)
    collector.push(0, frames_of(0, total))
    collector.finish(total)
    assert buffer.frames == given
    # the frames seen are at most 3 apart, so that the nearest one is at most 1 away
    assert all(abs(row - frame) <= 1 for row, frame in zip(rows_of(buffer), given, strict=True))
    assert all(any(seen[0] <= frame <= seen[-1] for frame in given) for seen in network.given)


def test_clip_batcher__a_clip_that_does_not_fit_fails_the_video() -> None:
    buffer = FeatureBuffer(A)
    network = as_network(Recording(room=3, clips=ClipRule(8, 4, 4)))
    collector = ClipBatcher(batcher_of(network), buffer)
    collector.push(0, frames_of(0, 5))
    collector.finish(5)
    assert "ran out of memory on a clip of 4 frames of 4x4" in str(buffer.error)


def test_backbones__those_that_read_clips() -> None:
    assert [name for name in BACKBONES if BACKBONES.get(name).clips is not None] == [
        "slowfast-fast",
        "r3d101",
        "swin3d-t",
    ]


@pytest.mark.parametrize("held", [1, 100, 1 << 30])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_spill_buffer__returns_pieces_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, dtype: type
) -> None:
    monkeypatch.setattr(batching, "HELD_BYTES", held)
    pieces = [np.random.default_rng(size).random((size, 7)).astype(dtype) for size in (1, 5, 1, 30)]
    store = SpillBuffer(tmp_path)
    for piece in pieces:
        store.append(piece)
    result = store.array()
    assert isinstance(result, np.memmap) == (held < 1 << 30)
    del store
    np.testing.assert_array_equal(result, np.concatenate(pieces))
    assert result.dtype == dtype
    assert list(tmp_path.iterdir()) == []


def test_spill_buffer__holds_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "HELD_BYTES", 1000)
    store = SpillBuffer(tmp_path)
    largest = 0
    for index in range(100):
        store.append(np.full((2, 25), index, np.float32))
        if not store._file._rolled:
            largest = max(largest, store._file.tell())
    assert 0 < largest <= 1000
    assert store.array()[::2, 0].tolist() == [*range(100)]


@pytest.mark.parametrize("stage", ["inputs", "rows"])
def test_frame_batcher__a_lack_of_memory_at_any_stage_halves_the_batch(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, calls = Recording(), 0
    original = getattr(network, stage)

    def first_fails(given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise torch.OutOfMemoryError("no room")
        return original(given)

    monkeypatch.setattr(network, stage, first_fails)
    emptied: list[bool] = []
    # the cache is emptied when no exception, whose traceback holds tensors, is being handled
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(sys.exc_info()[0] is None))
    batcher, buffer = FrameBatcher(as_network(network), lambda height, width: 4), FeatureBuffer(A)
    batcher.add(buffer, frames_of(0, 6))
    batcher.flush((4, 4))
    assert (rows_of(buffer), {len(given) for given in network.given}) == ([*range(6)], {2})
    assert emptied == [True]


class Graph:
    """A CUDA graph that computes the rows anew at each replay, in the place of the first ones."""

    replays = 0

    def replay(self) -> None:
        Graph.replays += 1


@pytest.mark.parametrize("fails", [False, True])
def test_input_memory__later_runs_replay_a_graph(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def capture(graph: Graph, capture_error_mode: str) -> Iterator[None]:
        if fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", capture)
    network, Graph.replays = Recording(), 0
    network.device = torch.device("cuda:0")
    memory = InputMemory(as_network(network), 4)
    memory.put(0, frames_of(5, 4))
    with (
        pytest.warns(RuntimeWarning, match="without a CUDA graph, .*: operation not")
        if fails
        else nullcontext()
    ):
        rows = [memory.rows()["a"] for _ in range(5)]
    assert {tuple(own.flatten().tolist()) for own in rows} == {(5, 6, 7, 8)}
    # twice before the capture, and once in it; without a graph each time
    assert (len(network.given), Graph.replays) == ((5, 0) if fails else (3, 3))
    # replays write over the same memory, so that each run returns a copy
    assert len({own.data_ptr() for own in rows[2:]}) == 3


def test_input_memories__keep_the_sizes_that_were_used_last() -> None:
    memories = batcher_of(as_network(Recording())).memories
    first = memories((4, 4), 2)
    for side in range(5, 5 + batching.SIZES_KEPT - 1):
        memories((side, side), 2)
    assert memories((4, 4), 2) is first
    memories((40, 40), 2)
    assert memories((4, 4), 2) is first
    assert memories.cache_info().currsize == batching.SIZES_KEPT
