"""Cells of networks: what features of a clip cost, by the height of its frames, and CORAL distances."""

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from vqafeat.backbones.feature_set import backbone_names, build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.cells.base import CellOptions, Measured, NoFeatures, Task, cell_type
from vqafeat.paper_tables.fits import FitCache
from vqafeat.paper_tables.sources import AGAIN
from vqafeat.pretraining.coral import (
    DomainFeatures,
    concatenated,
    domain_distance,
    image_features,
    image_paths,
    mean_features,
)
from vqafeat.system import device_named

_STAND_IN_SCALE = 6
_ASPECT_RATIO = 16 / 9


@dataclass(frozen=True)
class TimingOptions(NoFeatures):
    """The clip.

    Attributes:
        height: of its frames; the width is 16/9 of it.
        frames: of the clip.
        timed: frames that are computed to measure the time of one; those of one input, for a network that
            sees clips.
    """

    height: int = 0
    frames: int = 300
    timed: int = 2

    def __post_init__(self) -> None:
        if min(self.height, self.frames, self.timed) < 1:
            raise ArgumentError(
                f"height is {self.height}, frames {self.frames}, timed {self.timed}; each has to be at "
                f"least 1."
            )


@cell_type(
    "timing", "time and operations of the networks", TimingOptions, measures=("seconds", "gflops"), fits=False
)
def measure_timing(task: Task) -> Measured:
    """Return what the networks take for the clip, with random weights and without decoding; the first run is
    not timed.
    """
    options, stores, device = task.cell.options, task.fits.stores, device_named(task.fits.device)
    height = options.height // _STAND_IN_SCALE if stores.stands_in else options.height
    features = stores.adapt(task.request).features.split("+")
    names = [name for name in features if not name.endswith(AGAIN)]
    networks = (name.partition("@")[0].partition(":")[0] for name in names)
    extractors = build_extractors(names, dict.fromkeys(networks, "random"))
    costs = [
        _cost(network, height, options, task.cell.measure, device)
        for network in shared_networks(extractors, device)
    ]
    return Measured.single(sum(costs))


def _cost(network: Network, height: int, clip: TimingOptions, measure: str, device: torch.device) -> float:
    clips, frame_indices = network.backbone.clips, network.frame_rule.frame_indices
    width = round(height * _ASPECT_RATIO / 2) * 2
    frames = torch.zeros((clips.inputs if clips else clip.timed, 3, height, width), dtype=torch.uint8)
    seen = clips.window if clips else clip.timed
    whole = len(frame_indices(clip.frames)) if frame_indices and not clips else clip.frames
    if measure == "gflops":
        return _operations(network, frames) / 1e9 * whole / seen
    return _seconds(network, frames.to(device), device) * whole / seen


def _operations(network: Network, frames: torch.Tensor) -> float:
    """Return the operations of the network as published, two for each multiplication with its sum."""
    parts = network.view.parts(frames.float())
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for part in parts:
            network.plain_module.cpu()(part.movedim(0, 1).unsqueeze(0) if network.backbone.clips else part)
    return float(counter.get_total_flops())


def _seconds(network: Network, frames: torch.Tensor, device: torch.device) -> float:
    run = network.clip_rows if network.backbone.clips else network.frame_rows
    run(frames)
    _wait(device)
    start = time.perf_counter()
    run(frames)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class CoralOptions(CellOptions):
    """The image sets, taken together."""

    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise ArgumentError("images is empty; name the sets, as coral = { images = ['koniq', 'spaq'] }.")

    def missing(self, fits: FitCache) -> tuple[str, ...]:
        """Say which images are missing."""
        names = () if fits.stores.stands_in else self.images
        return tuple(
            f"no images of {name}; name them with --images {name}=FOLDER"
            for name in names
            if name not in fits.images
        )


@cell_type("coral", "CORAL distance of images to videos", CoralOptions, measures=("distance",))
def measure_coral(task: Task) -> Measured:
    """Return the CORAL distance of the images to the videos of all data sets, a video as the mean of its
    frames.
    """
    fits, request = task.fits, task.fits.stores.adapt(task.request)
    if fits.stores.stands_in:
        images, videos = (
            mean_features(source, request.features) for source in fits.stores.sources(("images", "videos"))
        )
    else:
        images = concatenated([_of_images(name, request.features, fits) for name in task.cell.options.images])
        videos = concatenated([mean_features(source, request.features) for source in fits.datasets(request)])
    counts = f"{len(images.values)} and {len(videos.values)} samples of {videos.values.shape[1]} channels"
    distance = domain_distance(images, videos)
    return Measured.single(distance, notes=(f"{images.name} to {videos.name}: {counts}",))


def _of_images(name: str, feature_set: str, fits: FitCache) -> DomainFeatures:
    networks = backbone_names([feature_set])
    weights = {network: file for network, file in fits.weights.items() if network in networks}
    (extractor,) = build_extractors([feature_set], weights)
    _, paths = image_paths(f"{name}={fits.images[name]}")
    return image_features(name, paths, extractor, device_named(fits.device))
