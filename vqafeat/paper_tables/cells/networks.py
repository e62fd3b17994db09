"""timing: seconds and floating-point operations that features of a clip take, by the height of its frames."""

import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from vqafeat.backbones.feature_set import backbone_names, build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.errors import ArgumentError
from vqafeat.paper_tables.cells.base import CELL_TYPES, CellType, Measured, Task, nothing_needed
from vqafeat.paper_tables.fits import FitCache
from vqafeat.paper_tables.table import Cell
from vqafeat.pretraining.coral import (
    DomainFeatures,
    concatenated,
    domain_distance,
    image_features,
    image_paths,
    mean_features,
)
from vqafeat.system import device_named

_SMALLER = 6
_SIDES = 16 / 9


@dataclass(frozen=True)
class Clip:
    """The clip.

    Attributes:
        height: of its frames; the width is 16/9 of it.
        frames: of the clip.
        timed: frames that are computed to tell the time of one; those of one input, for a network that sees
            clips.

    Raises:
        ArgumentError: a number is below 1.
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


def measure_timing(task: Task) -> Measured:
    """Return what the networks take for the clip, with random weights and without decoding; the first run is
    not timed.
    """
    options, device = task.cell.options, device_named(task.fits.device)
    height = options.height // _SMALLER if task.fits.stores.stands_in else options.height
    sets = (
        task.fits.stores.adapt(task.request) if task.fits.stores.stands_in else task.request
    ).features.split("+")
    names = [name for name in sets if not name.endswith("-again")]
    extractors = build_extractors(
        names, dict.fromkeys((name.partition("@")[0].partition(":")[0] for name in names), "random")
    )
    total = sum(
        _taken(network, height, options, task.cell.measure, device)
        for network in shared_networks(extractors, device)
    )
    return Measured.single(total)


def _taken(network: Network, height: int, clip: Clip, measure: str, device: torch.device) -> float:
    clips, frame_indices = network.backbone.clips, network.frame_rule.frame_indices
    width = round(height * _SIDES / 2) * 2
    frames = torch.zeros((clips.inputs if clips else clip.timed, 3, height, width), dtype=torch.uint8)
    seen = clips.window if clips else clip.timed
    whole = len(frame_indices(clip.frames)) if frame_indices and not clips else clip.frames
    one = (
        _operations(network, frames) / 1e9
        if measure == "gflops"
        else _seconds(network, frames.to(device), device)
    )
    return one * whole / seen


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


CELL_TYPES.add(
    "timing",
    CellType(
        "time and operations of the networks",
        measure_timing,
        Clip,
        needs=nothing_needed,
        measures=("seconds", "gflops"),
        fits=False,
    ),
)


@dataclass(frozen=True)
class ImageDomain:
    """The images, of one set or of several taken together.

    Raises:
        ArgumentError: no set is named.
    """

    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise ArgumentError("images is empty; name the sets, as coral = { images = ['koniq', 'spaq'] }.")


def images_lacked(cell: Cell, fits: FitCache) -> tuple[str, ...]:
    """Say which images are not at hand."""
    if fits.stores.stands_in:
        return ()
    return tuple(
        f"no images of {name}; name them with --images {name}=FOLDER"
        for name in cell.options.images
        if name not in fits.images
    )


def measure_coral(task: Task) -> Measured:
    """Return the CORAL distance of the images to the videos of all data sets, a video as the mean of its
    frames.
    """
    fits = task.fits
    asked = fits.stores.adapt(task.request)
    if fits.stores.stands_in:
        images, videos = (
            mean_features(source, asked.features) for source in fits.stores.sources(("images", "videos"))
        )
    else:
        images = concatenated([_of_images(name, asked.features, fits) for name in task.cell.options.images])
        videos = concatenated([mean_features(source, asked.features) for source in fits.datasets(asked)])
    sizes = f"{images.name} to {videos.name}: {len(images.values)} and {len(videos.values)} samples of {videos.values.shape[1]} channels"
    return Measured.single(domain_distance(images, videos), notes=(sizes,))


def _of_images(name: str, feature_set: str, fits: FitCache) -> DomainFeatures:
    own = {
        network: file for network, file in fits.weights.items() if network in backbone_names([feature_set])
    }
    (extractor,) = build_extractors([feature_set], own)
    _, paths = image_paths(f"{name}={fits.images[name]}")
    return image_features(name, paths, extractor, device_named(fits.device))


CELL_TYPES.add(
    "coral",
    CellType(
        "CORAL distance of images to videos",
        measure_coral,
        ImageDomain,
        measures=("distance",),
        missing=images_lacked,
    ),
)
