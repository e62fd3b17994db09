"""CORAL distances between features of two domains (Sun and Saenko 2016; Li et al., section III-A, fig. 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqafeat.backbones.feature_set import FeatureExtractor
from vqafeat.backbones.network import shared_networks
from vqafeat.errors import ArgumentError, DatasetError, IdentityError
from vqafeat.pretraining.image_sets import IMAGE_SETS, load_image_set
from vqafeat.pretraining.images import as_tensor, read_image
from vqafeat.store.features import FeatureReader


@dataclass(frozen=True)
class DomainFeatures:
    """The features of a domain's samples, (sample, channel) float64, and the digest of their weights."""

    name: str
    values: npt.NDArray[np.float64]
    weights_sha256: str = ""  # empty where it is not known

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) < 2:
            problem = f"'{self.name}' has features of shape {self.values.shape}"
            raise ArgumentError(f"{problem}; a covariance takes at least two samples.")
        if bad := np.count_nonzero(~np.isfinite(self.values).all(axis=1)):
            problem = f"'{self.name}' has {bad} sample(s) with features that are not finite"
            raise ArgumentError(f"{problem}; leave them out, or extract them again.")


def coral_distance(source: DomainFeatures, target: DomainFeatures) -> float:
    """Return ‖C1 − C2‖²_F / (4 d²) of two domains with d channels (Sun and Saenko, eqs 1 to 3)."""
    _check_same_weights(source, target)
    channels, others = source.values.shape[1], target.values.shape[1]
    if channels != others:
        problem = f"features of {channels} and {others} channels cannot be compared"
        raise ArgumentError(f"{problem}; take them from one network.")
    difference = np.cov(source.values, rowvar=False) - np.cov(target.values, rowvar=False)
    return float(np.square(difference).sum() / (4 * channels**2))


def _check_same_weights(source: DomainFeatures, target: DomainFeatures) -> None:
    first, second = source.weights_sha256, target.weights_sha256
    if first and second and first != second:
        names, weights = f"'{source.name}' and '{target.name}'", f"{first[:12]}… and {second[:12]}…"
        next_step = "take both from one network, with --weights for the images"
        raise IdentityError(f"features of {names} are of different weights ({weights}); {next_step}.")


def mean_features(source: FeatureReader, feature_set: str) -> DomainFeatures:
    """Return the mean over the frames of each complete video, as in Li et al."""
    identity, videos = source.identity(feature_set), source.complete_videos(feature_set)
    rows = [source.read(feature_set, video).values.mean(0, dtype=np.float64) for video in videos]
    values = np.reshape(rows, (len(rows), identity.channels))
    return DomainFeatures(source.dataset.name, values, identity.weights_sha256)


def concatenated(domains: Sequence[DomainFeatures]) -> DomainFeatures:
    """Return the samples of several domains as one domain, as Li et al. combine image sets."""
    for other in domains[1:]:
        _check_same_weights(domains[0], other)
    known = next((domain.weights_sha256 for domain in domains if domain.weights_sha256), "")
    name = " + ".join(domain.name for domain in domains)
    return DomainFeatures(name, np.concatenate([domain.values for domain in domains]), known)


def image_paths(argument: str, sample: int | None = None, seed: int = 0) -> tuple[str, list[Path]]:
    """Return the name and the images of `NAME=FOLDER` or `NAME=FILE.csv`: a labelled set, or any folder.

    Of a folder that is not a labelled set, `sample` images are drawn; see `sample_evenly`.
    """
    name, _, folder = argument.partition("=")
    if not folder or name in IMAGE_SETS or not Path(folder).is_dir():
        return name, [image.path for image in load_image_set(argument).images]
    endings = Image.registered_extensions()
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in endings)
    if not paths:
        problem = f"'{folder}' holds no images that Pillow knows by their ending"
        raise DatasetError(f"{problem}; give the folder of '{name}'.")
    return name, paths if sample is None else sample_evenly(paths, sample, seed)


def sample_evenly(images: Sequence[Path], number: int, seed: int) -> list[Path]:
    """Return a random sample with equally many images of each folder, or all of a folder that has fewer.

    Li et al. sample the categories of ImageNet in this way; each is a folder.
    """
    folders: dict[Path, list[Path]] = {}
    for index in np.random.default_rng(seed).permutation(len(images)):
        folders.setdefault(images[index].parent, []).append(images[index])
    turns = zip_longest(*folders.values())  # an image of each folder
    return sorted([image for turn in turns for image in turn if image is not None][:number])


def image_features(
    name: str,
    images: Sequence[Path],
    extractor: FeatureExtractor,
    device: torch.device,
    on_image: Callable[[int], None] | None = None,  # gets the number of images that are done
) -> DomainFeatures:
    """Return the features of each image of the domain `name`, computed as for a frame of that size."""
    backbone = extractor.loaded.backbone
    if backbone.clips is not None:
        problem = f"--features {extractor.feature_set}: '{backbone.name}' processes clips of video"
        raise ArgumentError(f"{problem}; name a network that processes single images.")
    (network,) = shared_networks([extractor], device)
    rows = []
    for done, image in enumerate(images, start=1):
        frame = as_tensor(read_image(image)).permute(2, 0, 1).unsqueeze(0)
        if min(frame.shape[2:]) < backbone.smallest_side:
            least = f"'{backbone.name}' needs sides of at least {backbone.smallest_side}"
            raise ArgumentError(f"'{image}' is {frame.shape[3]}x{frame.shape[2]}; {least}.")
        rows.append(network.frame_rows(frame.to(device))[extractor.feature_set][0].double().cpu().numpy())
        if on_image is not None:
            on_image(done)
    return DomainFeatures(name, np.stack(rows), extractor.loaded.weights_sha256)
