"""Cells of networks: time and operations for a clip, and CORAL distances."""

import time
from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch.utils.flop_counter import FlopCounterMode

from vqafeat.backbones.feature_set import backbone_names, build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.paper_tables.cells.base import CELL_TYPES, CellType, Measured, Task
from vqafeat.paper_tables.sources import AGAIN, FitCache
from vqafeat.pretraining import coral
from vqafeat.schema import NonEmpty
from vqafeat.system import device_named
from vqafeat.training.results import Summary

_STAND_IN_SCALE = 6
_ASPECT_RATIO = 16 / 9


@CELL_TYPES.register("timing")
@dataclass(frozen=True)
class TimingCell(CellType):
    """The time or the operations of networks for a clip, with random weights and without decoding.

    Attributes:
        height: of the frames, whose width is 16/9 of it.
        frames: of the clip.
        timed: frames that are computed; a network that processes clips takes one input instead.
    """

    measures = ("seconds", "gflops")
    reads_features = False

    height: PositiveInt
    frames: PositiveInt = 300
    timed: PositiveInt = 2

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Return that costs are not to be measured, unless they are."""
        reason = "the costs of networks are not measured with --all; name the table, or add --costs"
        return () if fits.costs else (reason,)

    def measured(self, task: Task) -> Measured:
        """Return the sum over the networks; a first run of each is not timed."""
        stores, device = task.fits.stores, device_named(task.fits.device)
        height = self.height // _STAND_IN_SCALE if stores.stands_in else self.height
        features = stores.adapt(task.request).features.split("+")
        names = [name for name in features if not name.endswith(AGAIN)]
        extractors = build_extractors(names, dict.fromkeys(backbone_names(names), "random"))
        networks = shared_networks(extractors, device)
        costs = [_cost(network, height, self, task.measure, device) for network in networks]
        return Measured(Summary.of([sum(costs)]))


def _cost(network: Network, height: int, clip: TimingCell, measure: str, device: torch.device) -> float:
    clips, frame_indices = network.backbone.clips, network.frame_rule.frame_indices
    width = round(height * _ASPECT_RATIO / 2) * 2
    frames = torch.zeros((clips.inputs if clips else clip.timed, 3, height, width), dtype=torch.uint8)
    seen = clips.window if clips else clip.timed
    whole = len(frame_indices(clip.frames)) if frame_indices and not clips else clip.frames
    if measure == "gflops":
        return _operations(network, frames) / 1e9 * whole / seen
    return _seconds(network, frames.to(device), device) * whole / seen


def _operations(network: Network, frames: torch.Tensor) -> float:
    """Return the operations of the network; a multiplication and its addition count as two."""
    parts = network.view.parts(frames.float())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for part in parts:
            network.plain_module.cpu()(part.movedim(0, 1).unsqueeze(0) if network.backbone.clips else part)
    return float(counter.get_total_flops())


def _seconds(network: Network, frames: torch.Tensor, device: torch.device) -> float:
    start = 0.0
    for _ in range(2):  # the second run is timed
        start = time.perf_counter()
        network.frame_rows(frames)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - start


@CELL_TYPES.register("coral")
@dataclass(frozen=True)
class CoralCell(CellType):
    """The CORAL distance of joined image sets to the videos of all data sets."""

    measures = ("distance",)

    images: NonEmpty[tuple[str, ...]]

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
            images = coral.concatenated([_of_images(name, features, fits) for name in self.images])
            videos = coral.concatenated([coral.mean_features(source, features) for source in sources])
        counts = f"{len(images.values)} and {len(videos.values)} samples of {videos.values.shape[1]} channels"
        distance = Summary.of([coral.coral_distance(images, videos)])
        return Measured(distance, notes=(f"{images.name} to {videos.name}: {counts}",))


def _of_images(name: str, feature_set: str, fits: FitCache) -> coral.DomainFeatures:
    (extractor,) = build_extractors([feature_set], fits.weights)
    _, paths = coral.image_paths(f"{name}={fits.images[name]}")
    return coral.image_features(name, paths, extractor, device_named(fits.device))
