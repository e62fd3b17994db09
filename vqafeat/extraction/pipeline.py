"""Many videos through all networks, each in one decode pass: decoding processes first, then the networks."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vqafeat.backbones.feature_set import FeatureExtractor
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.extraction.batching import ClipBatcher, FeatureBuffer, FrameBatcher, FrameCollector, Size
from vqafeat.extraction.memory_budget import MemoryBudget
from vqafeat.extraction.upload import Uploader
from vqafeat.remote import StorePath, VideoFile
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.video import Chunk, DecodeJob, DecodePool, Expected, Message, VideoEnd, VideoFailed, decode_here
from vqafeat.video.frame import DecodeLimits
from vqafeat.video.nvdec import DeviceDecodePool

CPU = torch.device("cpu")
SWITCH_SECONDS = 0.0002


@dataclass(frozen=True)
class VideoTask:
    """A video and the feature sets to extract from it; `fetched` is the local copy of a remote video."""

    name: str
    path: VideoFile
    raw: RawGeometry | None
    feature_sets: tuple[str, ...]
    fetched: Path | None = None

    @property
    def file(self) -> Path:
        """The local file that is decoded."""
        file = self.fetched or self.path
        assert isinstance(file, Path)
        return file


@dataclass(frozen=True)
class ExtractedVideo:
    """The frames and the features of one video, from one decode pass."""

    table: FrameTable
    features: dict[str, VideoFeatures]


class VideoState:
    """State of one video during extraction; `frames` is known if an earlier pass has counted them."""

    def __init__(
        self,
        task: VideoTask,
        batchers: Sequence[FrameBatcher],
        uploader: Uploader,
        budget: MemoryBudget,
        frames: int | None,
        folder: Path | None,
    ) -> None:
        self.task, self.frames = task, frames
        self.size: Size = (0, 0)  # (height, width), once a frame was seen
        self.ended = self.miscounted = False
        self.refused: dict[str, VideoError] = {}  # feature set → why its network does not take the video
        self._batchers, self._uploader, self._budget, self._folder = batchers, uploader, budget, folder
        self._collectors: list[FrameCollector | ClipBatcher] = []  # empty once the last frame was seen
        self._buffers: list[FeatureBuffer] = []
        self._seconds: list[float] = []
        self._table: FrameTable | None = None
        self.error: VideoError | None = None  # why no feature set can be extracted
        self._needs_count = any(item.network.frame_rule.frame_indices is not None for item in batchers)

    def decode_job(self, resources: "Resources") -> DecodeJob:
        """Return what its decoder has to do."""
        count_frames = self._needs_count and self.frames is None
        hardware = str(resources.device) if resources.hardware_decoder else None
        return DecodeJob(self.task.file, self.task.raw, count_frames, hardware, resources.limits)

    @property
    def done(self) -> bool:
        """Whether nothing is left to compute."""
        waiting = any(buffer.waiting for buffer in self._buffers)
        return self.ended and (self.error is not None or not waiting)

    @property
    def refusal(self) -> VideoError | None:
        """Why feature sets are missing from a video that is done."""
        errors = list(self.refused.values())
        return VideoError(errors[0].kind, " ".join(dict.fromkeys(map(str, errors)))) if errors else None

    def extracted(self) -> ExtractedVideo:
        """Return the frames and features of a video that is done; rows are fetched from the device.

        Feature sets that are `refused` are missing; VideoError is raised if all are.
        """
        if self.error is not None or self._table is None:
            raise self.error or VideoError("no-frames", f"'{self.task.path}' was not decoded.")
        features: dict[str, VideoFeatures] = {}
        for buffer in self._buffers:
            if buffer.error is not None:
                self.refused |= dict.fromkeys(buffer.dtypes, buffer.error)
                continue
            frame = np.asarray(buffer.frames, dtype=np.int32)
            for name, values in buffer.arrays().items():
                features[name] = VideoFeatures(values, frame)
                if not features[name].finite:
                    message = f"features '{name}' of '{self.task.path}' are not finite as {values.dtype}"
                    hint = "store them with --dtype float32, or check the weights"
                    self.refused[name] = VideoError("not-finite", f"{message}; {hint}.")
                    del features[name]
        if not features and self.refusal is not None:
            raise self.refusal
        return ExtractedVideo(self._table, features)

    @torch.inference_mode()
    def take(self, message: Message) -> None:
        """Process a message of the decoder."""
        match message:
            case Expected():
                self.frames = message.frames
            case Chunk():
                self._take_frames(message)
            case VideoFailed():
                # name the video, not its local copy
                text = message.message.replace(str(self.task.file), str(self.task.path))
                self.error, self.ended = VideoError(message.kind, text), True
            case VideoEnd():
                self.ended = True
                if self.error is None:
                    self._finish(message)
        if self.error is not None:
            self._collectors = []

    def _take_frames(self, chunk: Chunk) -> None:
        self._seconds.extend(chunk.seconds)
        if self.error is not None:
            return
        try:
            if not self._buffers:
                self._begin(*reversed(chunk.layout.shown_size))
            first = chunk.first
            for frames in self._uploader.frames(chunk):
                for collector in self._collectors:
                    collector.push(first, frames)
                first += len(frames)
        except VideoError as error:
            self.error = error

    def _begin(self, height: int, width: int) -> None:
        self.size = (height, width)
        accepted: list[Network] = []
        for batcher in self._batchers:
            network = batcher.network
            own = [item for item in network.extractors if item.feature_set in self.task.feature_sets]
            try:
                self._check(network, accepted)
            except VideoError as error:
                self.refused |= {item.feature_set: error for item in own}
                continue
            accepted.append(network)
            dtypes = {item.feature_set: getattr(torch, str(item.dtype)) for item in own}
            self._buffers.append(FeatureBuffer(dtypes, self._folder))
            rule = network.frame_rule
            indices = None if rule.frame_indices is None else rule.frame_indices(self.frames or 0)
            if network.clips is None:
                self._collectors.append(FrameCollector(batcher, self._buffers[-1], indices))
            else:
                around = indices if rule.stride == 1 else None
                self._collectors.append(ClipBatcher(batcher, self._buffers[-1], around))
        if not accepted and self.refusal is not None:
            raise self.refusal

    def _check(self, network: Network, others: Sequence[Network]) -> None:
        """Refuse frames that are too small for a network, or too large for it next to the others."""
        height, width = self.size
        name, smallest = network.backbone.name, network.backbone.smallest_side
        if min(network.view.size(height, width)) < smallest:
            limit = f"'{name}' takes no side below {smallest} samples"
            raise VideoError("too-small", f"'{self.task.path}' is {width}x{height}; {limit}.")
        self._budget.check([*others, network], height, width, self.task.path)

    def _finish(self, end: VideoEnd) -> None:
        total = len(self._seconds)
        if self._needs_count and self.frames != total:
            self.frames, self.miscounted = total, True
            return
        for collector in self._collectors:
            collector.finish(total)
        self._collectors = []
        self._table = FrameTable(np.asarray(self._seconds, dtype=np.float64), end.source)


def default_workers(device: torch.device) -> int:
    """Return the number of decoding processes that a device needs: 2 for a CPU, one per core for a GPU."""
    return 2 if device.type == "cpu" else len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Resources:
    """What an extraction may use."""

    device: torch.device = CPU
    # decoding processes; with 0, this process decodes, and a codec can crash or hang it
    workers: int = 2
    # most frames that go through a network together in fp16 or bf16 on a GPU; None for as many as fit. In
    # fp32, and on a CPU, each frame is computed alone, so that its row depends on nothing else.
    batch_frames: int | None = None
    memory_bytes: int | None = None  # of the device; None for four fifths of what is free
    timeout_seconds: float = 120.0  # how long decoding may stand still before a video counts as hung
    hardware_decoder: bool = False  # decode on the GPU (NVDEC), and compare the first frames with the CPU's
    limits: DecodeLimits = field(default_factory=DecodeLimits)  # beyond which a video is refused

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ArgumentError(f"workers is {self.workers}; it has to be at least 0.")
        if self.batch_frames is not None and self.batch_frames < 1:
            raise ArgumentError(f"batch is {self.batch_frames} frames; it has to be at least 1.")
        if not self.timeout_seconds > 0:
            raise ArgumentError(f"timeout is {self.timeout_seconds:g} seconds; it has to be positive.")
        if self.hardware_decoder and self.device.type != "cuda":
            raise ArgumentError(f"decoder 'nvdec' needs a GPU, device is '{self.device}'; use --decoder cpu.")


class Pipeline(ExitStack):
    """Networks on a device, and the decoding processes that feed them; a context for any number of videos.

    `on_frames` gets numbers of decoded frames. Rows of long videos are spilled to `folder` if it is local.
    """

    def __init__(
        self,
        extractors: Sequence[FeatureExtractor],
        resources: Resources | None = None,
        on_frames: Callable[[int], object] = lambda count: None,
        folder: StorePath | None = None,
    ) -> None:
        super().__init__()
        resources = self._resources = resources or Resources()
        device, workers = resources.device, resources.workers
        self._on_frames, self._folder = on_frames, folder if isinstance(folder, Path) else None
        if resources.hardware_decoder:
            # FFmpeg decodes on the default stream, which networks would keep busy
            self.enter_context(torch.cuda.stream(torch.cuda.Stream(device)))  # type: ignore[no-untyped-call]
        networks = shared_networks(extractors, device)
        self._budget = MemoryBudget(resources.memory_bytes, device, workers, resources.hardware_decoder)
        self._batchers = [FrameBatcher(network, partial(self._batch_size, network)) for network in networks]
        self._uploader = Uploader(device)
        self.callback(self._uploader.close)
        if device.type == "cuda":
            self.enter_context(torch.cuda.device(device))
            # each launch gives the interpreter's lock up, and would wait 5 ms for the thread that writes
            self.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(SWITCH_SECONDS)
        self._pool: DecodePool[VideoState] | DeviceDecodePool[VideoState] | None = None
        if resources.hardware_decoder:
            self._pool = DeviceDecodePool(device, workers, resources.timeout_seconds)
        elif workers:
            self._pool = DecodePool(workers, resources.timeout_seconds)
        if self._pool is not None:
            self.callback(self._pool.close)

    @property
    def videos_at_once(self) -> int:
        """How many videos are decoded at a time."""
        return max(1, self._resources.workers)

    def results(self, tasks: Iterable[VideoTask]) -> Iterator[VideoState]:
        """Extract videos and yield each when it is done, which need not be in order."""
        new = map(self._begin, tasks)
        again: deque[VideoState] = deque()
        in_work: list[VideoState] = []

        def next_job() -> tuple[VideoState, DecodeJob] | None:
            video = again.popleft() if again else next(new, None)
            if video is None:
                return None
            in_work.append(video)
            return video, video.decode_job(self._resources)

        for video, message in self._messages(next_job):
            video.take(message)
            if isinstance(message, Chunk):
                self._on_frames(len(message.seconds))
            if video.miscounted:
                in_work.remove(video)
                again.append(self._begin(video.task, video.frames))
            if video.ended and not any(other.size == video.size and not other.ended for other in in_work):
                for batcher in self._batchers:
                    batcher.flush(video.size)
            for done in [other for other in in_work if other.done]:
                in_work.remove(done)
                yield done

    def _messages(
        self, next_job: Callable[[], tuple[VideoState, DecodeJob] | None]
    ) -> Iterator[tuple[VideoState, Message]]:
        if self._pool is not None:
            yield from self._pool.messages(next_job)
            return
        while (pair := next_job()) is not None:
            video, job = pair
            for message in decode_here(job):
                yield video, message

    def _begin(self, task: VideoTask, frames: int | None = None) -> VideoState:
        required = set(task.feature_sets)
        batchers = [
            batcher
            for batcher in self._batchers
            if not required.isdisjoint(item.feature_set for item in batcher.network.extractors)
        ]
        return VideoState(task, batchers, self._uploader, self._budget, frames, self._folder)

    def _batch_size(self, network: Network, height: int, width: int) -> int:
        if self._resources.device.type == "cpu" or network.precision == "fp32":
            return 1
        return self._budget.batch(network, height, width, self._resources.batch_frames)
