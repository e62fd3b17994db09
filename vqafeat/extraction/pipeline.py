"""Many videos through all networks, each in one decode pass: decoding processes ahead, the networks behind them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from vqafeat.backbones.feature_set import Extractor
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError
from vqafeat.extraction.collecting import FrameBatches
from vqafeat.extraction.in_work import ExtractedVideo, Outcome, VideoInWork, VideoJob
from vqafeat.extraction.memory import MemoryBudget
from vqafeat.remote import Place
from vqafeat.video import Chunk, DecodeJob, DecodePool, Message, decode_here
from vqafeat.video.reader import DecodeLimits

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Resources:
    """What an extraction may use.

    Attributes:
        device: where the networks run.
        workers: decoding processes; 0 decodes in this process, where a codec that crashes or hangs takes everything with it.
        batch_frames: most frames that go through a network together in fp16 or bf16 on a GPU; None for as many as fit. In fp32, and on
            a CPU, where it is fastest, each frame is computed alone, so that its row depends on nothing else.
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
            raise ArgumentError(f"decoder 'nvdec' decodes on a GPU, but the device is '{self.device}'; use --decoder cpu.")


class Pipeline:
    """Networks on a device with decoding processes before them; use it as a context, for as many videos as there are.

    Args:
        on_frames: told how many frames were done, for a progress line.
        folder: where the rows of long videos may wait; the system's place for temporary files where it is none on a disk.
    """

    def __init__(
        self,
        extractors: Sequence[Extractor],
        resources: Resources | None = None,
        on_frames: Callable[[int], object] = lambda count: None,
        folder: Place | None = None,
    ) -> None:
        self._resources = resources or Resources()
        device = self._resources.device
        self._on_frames, self._folder = on_frames, folder if isinstance(folder, Path) else None
        self._networks = shared_networks(extractors, device)
        self._budget = MemoryBudget(self._resources.memory_bytes, device, self._resources.workers)
        self._batches = {id(network): FrameBatches(network, partial(self._batch_size, network)) for network in self._networks}
        workers = self._resources.workers
        self._pool = DecodePool[VideoInWork](workers, self._resources.timeout_seconds) if workers else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.close()

    @property
    def videos_at_once(self) -> int:
        """How many videos are in work at a time."""
        return max(1, self._resources.workers)

    def outcomes(self, jobs: Iterable[VideoJob]) -> Iterator[Outcome]:
        """Extract videos and yield each when it is done; the order is that in which they end."""
        waiting = iter(jobs)
        again: deque[VideoInWork] = deque()
        in_work: list[VideoInWork] = []

        def next_job() -> tuple[VideoInWork, DecodeJob] | None:
            job = None if again else next(waiting, None)
            video = again.popleft() if again else self._begin(job) if job is not None else None
            if video is None:
                return None
            in_work.append(video)
            return video, video.decode_job("cuda" if self._resources.hardware_decoder else None, self._resources.limits)

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

    def _messages(self, next_job: Callable[[], tuple[VideoInWork, DecodeJob] | None]) -> Iterator[tuple[VideoInWork, Message]]:
        if self._pool is not None:
            yield from self._pool.messages(next_job)
            return
        while (given := next_job()) is not None:
            for message in decode_here(given[1]):
                yield given[0], message

    def _begin(self, job: VideoJob, frames: int | None = None) -> VideoInWork:
        wanted = set(job.feature_sets)
        networks = [network for network in self._networks if wanted & {item.feature_set for item in network.extractors}]
        return VideoInWork(job, networks, self._batches, self._budget, frames, self._folder)

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
    extractors: Sequence[Extractor],
    raw: RawGeometry | None = None,
    resources: Resources | None = None,
    on_frames: Callable[[int], object] = lambda count: None,
) -> ExtractedVideo:
    """Decode one video once, in this process unless told otherwise, and compute the rows of every feature set.

    Raises:
        VideoError: the video does not decode as a whole, is too small or too large, or a row is not finite.
    """
    job = VideoJob(path.name, path, raw, tuple(extractor.feature_set for extractor in extractors))
    with Pipeline(extractors, resources or Resources(workers=0), on_frames) as pipeline:
        return next(pipeline.outcomes([job])).extracted()
