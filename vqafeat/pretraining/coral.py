"""How far apart two domains lie: CORAL distances between sets of features (Sun and Saenko 2016; Li et al.,
section III-A, fig. 3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vqafeat.backbones.feature_set import FeatureExtractor
from vqafeat.backbones.network import shared_networks
from vqafeat.errors import ArgumentError, DatasetError, IdentityError, StoreError
from vqafeat.pretraining.image_sets import IMAGE_SETS, load_image_set
from vqafeat.pretraining.images import read_picture
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore
from vqafeat.training.data import FeatureReader

_FEWEST_SAMPLES = 2


@dataclass(frozen=True)
class DomainFeatures:
    """One row a sample of a domain.

    Attributes:
        name: of the domain.
        values: (sample, channel) float64; of a video the mean over its frames, as Li et al. take it.
        weights_sha256: digest of the network's weights; empty where it is not known.

    Raises:
        ArgumentError: there are fewer than two samples, or values that are not finite.
    """

    name: str
    values: npt.NDArray[np.float64]
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) < _FEWEST_SAMPLES:
            raise ArgumentError(
                f"'{self.name}' has features of shape {self.values.shape}; a covariance takes at least two "
                f"samples."
            )
        if not np.isfinite(self.values).all():
            bad = int((~np.isfinite(self.values).all(1)).sum())
            raise ArgumentError(
                f"'{self.name}' has {bad} sample(s) with features that are not finite; leave them out, or "
                f"extract them again."
            )


def coral_distance(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return ‖C1 − C2‖²_F / (4 d²) of the unbiased covariances of two sets of features (Sun and Saenko 2016,
    eqs 1 to 3).

    Args:
        first, second: (sample, channel) with the same channels.

    Raises:
        ArgumentError: the channels differ in number.
    """
    if first.shape[1] != second.shape[1]:
        raise ArgumentError(
            f"features of {first.shape[1]} and {second.shape[1]} channels cannot be compared; take them "
            f"from one network."
        )
    difference = _covariance(first) - _covariance(second)
    return float(np.square(difference).sum() / (4 * first.shape[1] ** 2))


def _covariance(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = values - values.mean(0)
    return np.asarray(centred.T @ centred / (len(values) - 1))


def domain_distance(source: DomainFeatures, target: DomainFeatures) -> float:
    """Return the CORAL distance between two domains.

    Raises:
        ArgumentError: the channels differ in number.
        IdentityError: the features are of networks with different weights.
    """
    _check_same_weights(source, target)
    return coral_distance(source.values, target.values)


def _check_same_weights(source: DomainFeatures, target: DomainFeatures) -> None:
    known = source.weights_sha256, target.weights_sha256
    if all(known) and known[0] != known[1]:
        raise IdentityError(
            f"features of '{source.name}' and '{target.name}' are of different weights ({known[0][:12]}… "
            f"and {known[1][:12]}…); a distance "
            "between them says nothing of the domains. Take both from one network, with --weights for the "
            "images."
        )


def store_features(path: StorePath, feature_set: str) -> DomainFeatures:
    """Return the mean features of each complete video of a store.

    Raises:
        StoreError: the store lacks the feature set.
    """
    store = FeatureStore.open(path)
    if feature_set not in store.feature_sets():
        there = ", ".join(store.feature_sets()) or "none"
        raise StoreError(
            f"'{path}' has no feature set '{feature_set}' (it has: {there}); name one of these with "
            f"--features."
        )
    return mean_features(store, feature_set)


def mean_features(source: FeatureReader, feature_set: str) -> DomainFeatures:
    """Return the mean features of each complete video of a source that has the feature set."""
    rows = [
        source.read(feature_set, video).values.mean(0, dtype=np.float64)
        for video in source.complete_videos(feature_set)
    ]
    values = np.stack(rows) if rows else np.empty((0, source.identity(feature_set).channels))
    return DomainFeatures(source.dataset.name, values, source.identity(feature_set).weights_sha256)


def concatenated(domains: Sequence[DomainFeatures]) -> DomainFeatures:
    """Return the samples of several domains as one, as Li et al. combine their image and their video sets.

    Raises:
        IdentityError: the features are of networks with different weights.
    """
    for other in domains[1:]:
        _check_same_weights(domains[0], other)
    known = next((domain.weights_sha256 for domain in domains if domain.weights_sha256), "")
    return DomainFeatures(
        " + ".join(domain.name for domain in domains),
        np.concatenate([domain.values for domain in domains]),
        known,
    )


def image_paths(argument: str) -> tuple[str, list[Path]]:
    """Return the name and the images that `NAME=FOLDER` or `NAME=FILE.csv` names: a labelled set's, or all
    below any other folder.

    Raises:
        ArgumentError: the argument has no such form.
        DatasetError: the set cannot be read, or the folder holds no images.
    """
    name, _, place = argument.partition("=")
    if not place or name in IMAGE_SETS or not Path(place).is_dir():
        found = load_image_set(argument)
        return name, [image.path for image in found.images]
    endings = Image.registered_extensions()
    paths = sorted(path for path in Path(place).rglob("*") if path.suffix.lower() in endings)
    if not paths:
        raise DatasetError(
            f"'{place}' holds no images that Pillow knows by their ending; give the folder of '{name}'."
        )
    return name, paths


def image_features(
    name: str,
    images: Sequence[Path],
    extractor: FeatureExtractor,
    device: torch.device,
    on_image: Callable[[int], None] | None = None,
) -> DomainFeatures:
    """Return the features of each image, as the extraction computes them of a frame of that size.

    Args:
        name: of the domain.
        extractor: of a network that sees single frames.
        device: where it computes.
        on_image: is told how many are done.

    Raises:
        ArgumentError: the network sees clips, or an image is too small for it.
        DatasetError: an image cannot be read.
    """
    backbone = extractor.loaded.backbone
    if backbone.clips is not None:
        raise ArgumentError(
            f"--features {extractor.feature_set}: '{backbone.name}' sees clips of video; take a network "
            f"that sees single images."
        )
    (network,) = shared_networks([extractor], device)
    rows = []
    for done, image in enumerate(images, start=1):
        frame = torch.from_numpy(np.array(read_picture(image))).permute(2, 0, 1).unsqueeze(0)
        if min(frame.shape[2:]) < backbone.smallest_side:
            raise ArgumentError(
                f"'{image}' is {frame.shape[3]}x{frame.shape[2]}; '{backbone.name}' needs sides of at least "
                f"{backbone.smallest_side}."
            )
        rows.append(network.frame_rows(frame.to(device))[extractor.feature_set][0].double().cpu().numpy())
        if on_image is not None:
            on_image(done)
    return DomainFeatures(name, np.stack(rows), extractor.loaded.weights_sha256)
