"""Cells of networks: time and operations for a clip, and CORAL distances."""

import time
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from pydantic import PositiveInt
from torch.utils.flop_counter import FlopCounterMode

from vqafeat.backbones.feature_set import backbone_names, build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.paper_tables.sources import AGAIN, FitCache
from vqafeat.paper_tables.table import CELL_TYPES, CellType, Measured, Task
from vqafeat.pretraining import coral
from vqafeat.schema import NonEmpty
from vqafeat.system import device_named
from vqafeat.training.results import Summary

_STAND_IN_SCALE = 6
_ASPECT_RATIO = 16 / 9


@CELL_TYPES.register("timing")
@dataclass(frozen=True)
class TimingCell(CellType):
    """The time or the operations of networks for a video, with random weights and without decoding."""

    measures = ("seconds", "gflops")
    reads_features = False

    height: PositiveInt  # of the frames, whose width is 16/9 of it
    frames: PositiveInt = 300  # of the video
    timed: PositiveInt = 2  # frames that are computed; a network that processes clips takes one input instead
    repeats: PositiveInt = 1  # number of measured times, of which the cell shows the mean

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Return why costs are not measured."""
        reason = "the costs of networks are not measured with --all; name the table, or add --costs"
        return () if fits.costs else (reason,)

    def measured(self, task: Task) -> Measured:
        """Return the sums over the networks; a first run of each is not timed."""
        stores, device = task.fits.stores, device_named(task.fits.device)
        small = replace(self, height=self.height // _STAND_IN_SCALE, repeats=1)
        features = stores.adapt(task.request).features.split("+")
        names = [name for name in features if not name.endswith(AGAIN)]
        extractors = build_extractors(names, dict.fromkeys(backbone_names(names), "random"))
        networks = shared_networks(extractors, device)
        cell = small if stores.stands_in else self
        costs = [_costs(network, cell, task.measure, device) for network in networks]
        return Measured(Summary.of(np.sum(costs, axis=0).tolist()))


def _costs(network: Network, clip: TimingCell, measure: str, device: torch.device) -> list[float]:
    """Return the operations for the whole video, or the seconds of each repeat."""
    clips, frame_indices = network.clips, network.frame_rule.frame_indices
    height, width = clip.height, round(clip.height * _ASPECT_RATIO / 2) * 2
    frames = torch.zeros((clips.inputs if clips else clip.timed, 3, height, width), dtype=torch.uint8)
    whole = len(frame_indices(clip.frames)) if frame_indices and not clips else clip.frames
    # the last clip is the video's last frames, and costs as much as the others
    times = ceil(whole / clips.stride / clips.window) if clips else whole / clip.timed
    if measure == "gflops":
        return [_operations(network, frames) / 1e9 * times]
    return [times * seconds for seconds in _seconds(network, frames.to(device), device, clip.repeats)]


def _operations(network: Network, frames: torch.Tensor) -> float:
    """Return the operations of the network; a multiplication and its addition count as two."""
    parts = network.view.parts(frames.float())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for part in parts:
            network.plain_module.cpu()(part.movedim(0, 1).unsqueeze(0) if network.backbone.clips else part)
    return float(counter.get_total_flops())


def _seconds(network: Network, frames: torch.Tensor, device: torch.device, repeats: int) -> list[float]:
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        network.frame_rows(frames)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


@CELL_TYPES.register("coral")
@dataclass(frozen=True)
class CoralCell(CellType):
    """The CORAL distance of joined image sets to the videos of all data sets."""

    measures = ("distance",)

    images: NonEmpty[tuple[str, ...]]
    sample: PositiveInt | None = None  # images that are drawn of each folder without labels; None for all

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Return which images are missing."""
        missing = () if fits.stores.stands_in else [name for name in self.images if name not in fits.images]
        return tuple(f"no images of {name}; name them with --images {name}=FOLDER" for name in missing)

    def measured(self, task: Task) -> Measured:
        """Return the distance; the features of a video are the mean over its frames."""
        fits, features = task.fits, task.fits.stores.adapt(task.request).features
        if fits.stores.stands_in:
            sources = fits.stores.sources(("images", "videos"))
            images, videos = (coral.mean_features(source, features) for source in sources)
        else:
            sources = fits.sources(task.request)
            images = coral.concatenated([self._of(name, features, fits) for name in self.images])
            videos = coral.concatenated([coral.mean_features(source, features) for source in sources])
        counts = f"{len(images.values)} and {len(videos.values)} samples of {videos.values.shape[1]} channels"
        distance = Summary.of([coral.coral_distance(images, videos)])
        return Measured(distance, notes=(f"{images.name} to {videos.name}: {counts}",))

    def _of(self, name: str, feature_set: str, fits: FitCache) -> coral.DomainFeatures:
        (extractor,) = build_extractors([feature_set], fits.weights)
        _, paths = coral.image_paths(f"{name}={fits.images[name]}", self.sample)
        return coral.image_features(name, paths, extractor, device_named(fits.device))
