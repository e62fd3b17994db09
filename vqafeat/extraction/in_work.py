"""A video on its way: from the messages of its decoder to its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqafeat.backbones.network import Network
from vqafeat.datasets import RawGeometry
from vqafeat.errors import VideoError
from vqafeat.extraction.collecting import ClipCollector, Collector, FrameBatches, FrameCollector, Rows, RowSink
from vqafeat.extraction.memory import MemoryBudget
from vqafeat.remote import VideoFile
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.video import Chunk, DecodeJob, Expected, Message, VideoEnd, VideoFailed
from vqafeat.video.reader import DecodeLimits
from vqafeat.video.rgb import to_rgb


@dataclass(frozen=True)
class VideoJob:
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
class Outcome:
    """How a video ended: with rows, which may still lie on the device, or with an error."""

    job: VideoJob
    table: FrameTable | None
    sinks: tuple[RowSink, ...]
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


class VideoInWork:
    """What is known of a video so far.

    Args:
        networks: those that it passes.
        batches: by a network's id, for those that see single frames.
        frames: how many there are, where an earlier pass has counted them.
        folder: where the rows of a long video may wait.
    """

    def __init__(
        self,
        job: VideoJob,
        networks: Sequence[Network],
        batches: Mapping[int, FrameBatches],
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
        self._counts = any(network.frame_rule.picks is not None for network in networks)

    def decode_job(self, hardware: str | None, limits: DecodeLimits) -> DecodeJob:
        """Return what its decoder has to do."""
        return DecodeJob(self.job.file, self.job.raw, self._counts and self.frames is None, hardware, limits)

    @property
    def done(self) -> bool:
        """Nothing of it is left to compute."""
        return self.ended and (self._error is not None or all(collector.sink.waiting == 0 for collector in self._collectors))

    def outcome(self) -> Outcome:
        """Return how it ended."""
        if self._error is None:
            self._fail_with_sinks()
        return Outcome(self.job, self._table, tuple(collector.sink for collector in self._collectors), self._error)

    def take(self, message: Message) -> None:
        """Go on with what the decoder tells."""
        match message:
            case Expected():
                self.frames = message.frames
            case Chunk():
                self._take_frames(message)
            case VideoFailed():
                words = message.message.replace(str(self.job.file), str(self.job.path))  # a copy is of no interest to the reader
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
            # a GPU is kept busy by whole chunks; a processor's caches, and its memory, are kept free by single frames
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
                    f"'{self.job.path}' is {width}x{height}; '{backbone.name}' takes no side below {backbone.smallest_side} samples.",
                )
        self._budget.check(self._networks, height, width, self.job.path)
        self._collectors = [self._collector(network) for network in self._networks]

    def _collector(self, network: Network) -> Collector:
        wanted = {item.feature_set: item for item in network.extractors if item.feature_set in self.job.feature_sets}

        def keep(rows: Rows) -> Rows:
            return {name: rows[name].to(getattr(torch, str(item.dtype))) for name, item in wanted.items()}

        sink = RowSink(keep, self._folder)
        if network.backbone.clips is not None:
            return ClipCollector(network, sink)
        picks = network.frame_rule.picks
        return FrameCollector(self._batches[id(network)], sink, None if picks is None else picks(self.frames or 0))

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
        self._error = next((collector.sink.error for collector in self._collectors if collector.sink.error is not None), None)


def _on_device(frames: Tensor, device: torch.device) -> Tensor:
    """Return the bytes on the device; a GPU takes them from pinned memory, while the processor goes on."""
    return frames if device.type == "cpu" else frames.pin_memory().to(device, non_blocking=True)
