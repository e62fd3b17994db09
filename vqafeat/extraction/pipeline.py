"""Many videos through all networks, each in one decode pass: decoding processes ahead, the networks behind
them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vqafeat.backbones.feature_set import FeatureExtractor
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.extraction.batching import (
    ClipBatcher,
    Collector,
    FeatureBuffer,
    FrameBatcher,
    FrameCollector,
    Rows,
)
from vqafeat.extraction.memory_budget import MemoryBudget
from vqafeat.remote import StorePath, VideoFile
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.video import Chunk, DecodeJob, DecodePool, Expected, Message, VideoEnd, VideoFailed, decode_here
from vqafeat.video.reader import DecodeLimits
from vqafeat.video.rgb import to_rgb


@dataclass(frozen=True)
class VideoTask:
    """A video and the feature sets that are wanted of it.

    Attributes:
        name: in the data set.
        path: where it is from.
        raw: how it is read where it has no header.
        feature_sets: names of those wanted.
        fetched: the copy on this machine of a video at a URL.
    """

    name: str
    path: VideoFile
    raw: RawGeometry | None
    feature_sets: tuple[str, ...]
    fetched: Path | None = None

    @property
    def file(self) -> Path:
        """What is decoded."""
        found = self.fetched or self.path
        assert isinstance(found, Path)
        return found


@dataclass(frozen=True)
class ExtractedVideo:
    """All that one decode pass found out about a video."""

    table: FrameTable
    features: dict[str, VideoFeatures]


@dataclass(frozen=True)
class VideoResult:
    """How a video ended: with rows, which may still lie on the device, or with an error."""

    job: VideoTask
    table: FrameTable | None
    sinks: tuple[FeatureBuffer, ...]
    error: VideoError | None

    def extracted(self) -> ExtractedVideo:
        """Fetch the rows from the device and check them.

        Raises:
            VideoError: the video does not decode as a whole, does not fit, or a row is not finite.
        """
        if self.error is not None or self.table is None:
            raise self.error or VideoError("no-frames", f"'{self.job.path}' was not decoded.")
        features: dict[str, VideoFeatures] = {}
        for sink in self.sinks:
            frame = np.asarray(sink.frames, dtype=np.int32)
            features |= {name: VideoFeatures(values, frame) for name, values in sink.arrays().items()}
        for name, found in features.items():
            if not found.finite:
                raise VideoError(
                    "not-finite",
                    f"features '{name}' of '{self.job.path}' are not finite as {found.values.dtype}; "
                    "store them with --dtype float32, or check the weights.",
                )
        return ExtractedVideo(self.table, features)


class VideoState:
    """What is known of a video so far.

    Args:
        networks: those that it passes.
        batches: by a network's id, for those that see single frames.
        frames: how many there are, where an earlier pass has counted them.
        folder: where the rows of a long video may wait.
    """

    def __init__(
        self,
        job: VideoTask,
        networks: Sequence[Network],
        batches: Mapping[int, FrameBatcher],
        budget: MemoryBudget,
        frames: int | None,
        folder: Path | None,
    ) -> None:
        self.job = job
        self.size: tuple[int, int] | None = None
        self.ended = False
        self.miscounted = False
        self.frames = frames
        self._folder = folder
        self._networks, self._batches, self._budget = networks, batches, budget
        self._collectors: list[Collector] = []
        self._seconds: list[float] = []
        self._table: FrameTable | None = None
        self._error: VideoError | None = None
        self._counts = any(network.frame_rule.frame_indices is not None for network in networks)

    def decode_job(self, hardware: str | None, limits: DecodeLimits) -> DecodeJob:
        """Return what its decoder has to do."""
        return DecodeJob(self.job.file, self.job.raw, self._counts and self.frames is None, hardware, limits)

    @property
    def done(self) -> bool:
        """Nothing of it is left to compute."""
        return self.ended and (
            self._error is not None or all(collector.sink.waiting == 0 for collector in self._collectors)
        )

    def outcome(self) -> VideoResult:
        """Return how it ended."""
        if self._error is None:
            self._fail_with_sinks()
        return VideoResult(
            self.job, self._table, tuple(collector.sink for collector in self._collectors), self._error
        )

    def take(self, message: Message) -> None:
        """Go on with what the decoder tells."""
        match message:
            case Expected():
                self.frames = message.frames
            case Chunk():
                self._take_frames(message)
            case VideoFailed():
                words = message.message.replace(
                    str(self.job.file), str(self.job.path)
                )  # a copy is of no interest to the reader
                self._error, self.ended = VideoError(message.kind, words), True
            case VideoEnd():
                self._end(message)

    def _take_frames(self, chunk: Chunk) -> None:
        self._seconds.extend(chunk.seconds)
        if self._error is not None:
            return
        try:
            if self.size is None:
                self._begin(*reversed(chunk.layout.shown_size))
            device = self._networks[0].device
            frames = _on_device(torch.from_numpy(chunk.data), device)
            # a GPU is kept busy by whole chunks; a processor's caches, and its memory, are kept free by
            # single frames
            step = 1 if device.type == "cpu" else len(frames)
            for start in range(0, len(frames), step):
                rgb = to_rgb(frames[start : start + step], chunk.layout)
                for collector in self._collectors:
                    collector.push(chunk.first + start, rgb)
            self._fail_with_sinks()
        except VideoError as error:
            self._error = error

    def _begin(self, height: int, width: int) -> None:
        self.size = (height, width)
        for network in self._networks:
            backbone = network.backbone
            if min(network.view.size(height, width)) < backbone.smallest_side:
                raise VideoError(
                    "too-small",
                    f"'{self.job.path}' is {width}x{height}; '{backbone.name}' takes no side below "
                    f"{backbone.smallest_side} samples.",
                )
        self._budget.check(self._networks, height, width, self.job.path)
        self._collectors = [self._collector(network) for network in self._networks]

    def _collector(self, network: Network) -> Collector:
        wanted = {
            item.feature_set: item for item in network.extractors if item.feature_set in self.job.feature_sets
        }

        def keep(rows: Rows) -> Rows:
            return {name: rows[name].to(getattr(torch, str(item.dtype))) for name, item in wanted.items()}

        sink = FeatureBuffer(keep, self._folder)
        if network.backbone.clips is not None:
            return ClipBatcher(network, sink)
        frame_indices = network.frame_rule.frame_indices
        return FrameCollector(
            self._batches[id(network)],
            sink,
            None if frame_indices is None else frame_indices(self.frames or 0),
        )

    def _end(self, end: VideoEnd) -> None:
        self.ended = True
        if self._error is not None:
            return
        total = len(self._seconds)
        if self._counts and self.frames != total:
            self.frames, self.miscounted = total, True
            return
        for collector in self._collectors:
            collector.finish(total)
        self._table = FrameTable(np.asarray(self._seconds, dtype=np.float64), end.source)
        self._fail_with_sinks()

    def _fail_with_sinks(self) -> None:
        self._error = next(
            (collector.sink.error for collector in self._collectors if collector.sink.error is not None), None
        )


def _on_device(frames: Tensor, device: torch.device) -> Tensor:
    """Return the bytes on the device; a GPU takes them from pinned memory, while the processor goes on."""
    return frames if device.type == "cpu" else frames.pin_memory().to(device, non_blocking=True)


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Resources:
    """What an extraction may use.

    Attributes:
        device: where the networks run.
        workers: decoding processes; 0 decodes in this process, where a codec that crashes or hangs takes
            everything with it.
        batch_frames: most frames that go through a network together in fp16 or bf16 on a GPU; None for as
            many as fit. In fp32, and on a CPU, where it is fastest, each frame is computed alone, so that its
            row depends on nothing else.
        memory_bytes: of the device; None for four fifths of what is free.
        timeout_seconds: how long decoding may stand still before a video counts as hung.
        hardware_decoder: decode on the GPU (NVDEC); its first frames are compared with the processor's.
        limits: beyond which a video is refused.
    """

    device: torch.device = CPU
    workers: int = 2
    batch_frames: int | None = None
    memory_bytes: int | None = None
    timeout_seconds: float = 120.0
    hardware_decoder: bool = False
    limits: DecodeLimits = field(default_factory=DecodeLimits)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ArgumentError(f"workers is {self.workers}; it has to be at least 0.")
        if self.batch_frames is not None and self.batch_frames < 1:
            raise ArgumentError(f"batch is {self.batch_frames} frames; it has to be at least 1.")
        if self.hardware_decoder and self.device.type != "cuda":
            raise ArgumentError(
                f"decoder 'nvdec' decodes on a GPU, but the device is '{self.device}'; use --decoder cpu."
            )


class Pipeline:
    """Networks on a device with decoding processes before them; use it as a context, for as many videos as
    there are.

    Args:
        on_frames: told how many frames were done, for a progress line.
        folder: where the rows of long videos may wait; the system's place for temporary files where it is
            none on a disk.
    """

    def __init__(
        self,
        extractors: Sequence[FeatureExtractor],
        resources: Resources | None = None,
        on_frames: Callable[[int], object] = lambda count: None,
        folder: StorePath | None = None,
    ) -> None:
        self._resources = resources or Resources()
        device = self._resources.device
        self._on_frames, self._folder = on_frames, folder if isinstance(folder, Path) else None
        self._networks = shared_networks(extractors, device)
        self._budget = MemoryBudget(self._resources.memory_bytes, device, self._resources.workers)
        self._batches = {
            id(network): FrameBatcher(network, partial(self._batch_size, network))
            for network in self._networks
        }
        workers = self._resources.workers
        self._pool = DecodePool[VideoState](workers, self._resources.timeout_seconds) if workers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close()

    @property
    def videos_at_once(self) -> int:
        """How many videos are in work at a time."""
        return max(1, self._resources.workers)

    def outcomes(self, jobs: Iterable[VideoTask]) -> Iterator[VideoResult]:
        """Extract videos and yield each when it is done; the order is that in which they end."""
        waiting = iter(jobs)
        again: deque[VideoState] = deque()
        in_work: list[VideoState] = []

        def next_job() -> tuple[VideoState, DecodeJob] | None:
            job = None if again else next(waiting, None)
            video = again.popleft() if again else self._begin(job) if job is not None else None
            if video is None:
                return None
            in_work.append(video)
            return video, video.decode_job(
                "cuda" if self._resources.hardware_decoder else None, self._resources.limits
            )

        for video, message in self._messages(next_job):
            with torch.inference_mode():
                video.take(message)
            if isinstance(message, Chunk):
                self._on_frames(len(message.seconds))
            if video.miscounted:
                in_work.remove(video)
                again.append(self._begin(video.job, video.frames))
            if video.ended and not any(other.size == video.size and not other.ended for other in in_work):
                self._flush(video.size)
            for done in [other for other in in_work if other.done]:
                in_work.remove(done)
                yield done.outcome()

    def _messages(
        self, next_job: Callable[[], tuple[VideoState, DecodeJob] | None]
    ) -> Iterator[tuple[VideoState, Message]]:
        if self._pool is not None:
            yield from self._pool.messages(next_job)
            return
        while (given := next_job()) is not None:
            for message in decode_here(given[1]):
                yield given[0], message

    def _begin(self, job: VideoTask, frames: int | None = None) -> VideoState:
        wanted = set(job.feature_sets)
        networks = [
            network
            for network in self._networks
            if wanted & {item.feature_set for item in network.extractors}
        ]
        return VideoState(job, networks, self._batches, self._budget, frames, self._folder)

    def _batch_size(self, network: Network, height: int, width: int) -> int:
        if self._resources.device.type == "cpu" or network.precision == "fp32":
            return 1
        return self._budget.batch(network, height, width, self._resources.batch_frames)

    def _flush(self, size: tuple[int, int] | None) -> None:
        if size is not None:
            for batches in self._batches.values():
                with torch.inference_mode():
                    batches.flush(size)


def extract_video(
    path: Path,
    extractors: Sequence[FeatureExtractor],
    raw: RawGeometry | None = None,
    resources: Resources | None = None,
    on_frames: Callable[[int], object] = lambda count: None,
) -> ExtractedVideo:
    """Decode one video once, in this process unless told otherwise, and compute the rows of every feature
    set.

    Raises:
        VideoError: the video does not decode as a whole, is too small or too large, or a row is not finite.
    """
    job = VideoTask(path.name, path, raw, tuple(extractor.feature_set for extractor in extractors))
    with Pipeline(extractors, resources or Resources(workers=0), on_frames) as pipeline:
        return next(pipeline.outcomes([job])).extracted()
