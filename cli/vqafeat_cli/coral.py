"""`vqafeat coral`."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.options import devices, json_option, storage_option, weights_option

if TYPE_CHECKING:
    import torch

    from vqafeat.backbones.feature_set import FeatureExtractor
    from vqafeat.pretraining.coral import DomainFeatures


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@click.option(
    "--features",
    multiple=True,
    default=["resnet50"],
    show_default=True,
    metavar="SET",
    help="Features to compare in: a feature set of the stores, which is computed for images. Repeat it for "
    "more groups of bars.",
)
@weights_option
@click.option(
    "--device",
    metavar="NAME",
    help="Where images are computed: cpu, cuda or cuda:NUMBER.  [default: a GPU where there is one]",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Bar plot to write, as PNG.")
@storage_option
@json_option
def coral(
    sources: tuple[str, ...],
    target: str,
    features: tuple[str, ...],
    weights: tuple[str, ...],
    device: str | None,
    plot: Path | None,
    storage_options: tuple[str, ...],
    json: bool,
) -> None:
    """Tell how far each SOURCE lies from the TARGET: CORAL distances between sets of features (Li et al.,
    fig. 3).

    A domain is a store (features/konvid.zarr), a labelled image set (koniq=FOLDER, mine=FILE.csv), or any
    folder of images under a name of your own (imagenet=FOLDER). A video counts with the mean of its frames'
    features. Distances in different features have different scales.

    \b
    Example:
      vqafeat coral imagenet=sample/ koniq=koniq10k/ features/konvid.zarr --features resnet50 --features iqa-resnet50 \\
          --weights iqa-resnet50=iqa-resnet50.safetensors --plot coral.png
    """
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights
    from vqafeat.pretraining.coral import domain_distance
    from vqafeat.remote import parse_paths

    domains = (*sources, target)
    places = dict(zip(domains, parse_paths(domains, storage_options), strict=True))
    reader = DomainReader(places, parse_weights(weights, backbone_names(features)), devices(device)[0])
    distances: dict[str, dict[str, float]] = {}
    for feature_set in features:
        end = reader.features(target, feature_set)
        found = distances[feature_set] = {}
        for source in sources:
            start = reader.features(source, feature_set)
            name = start.name if start.name not in found else source
            found[name] = domain_distance(start, end)
            if not json:
                sizes = f"{len(start.values)} and {len(end.values)} samples, {end.values.shape[1]} channels"
                click.echo(f"{feature_set}: {name} to {end.name}  {found[name]:.4e}  ({sizes})")
    if json:
        click.echo(json_text({"target": end.name, "distances": distances}))
    if plot is not None:
        from vqafeat.plots import plot_distances

        click.echo(f"plot: {plot_distances(distances, end.name, plot)}", err=True)


class DomainReader:
    """Reads domains by the words they are named with; images are computed once for each feature set.

    Args:
        places: of the domains that are stores.
        weights: by backbone, for images; stores have their features.
        device: where images are computed.
    """

    def __init__(
        self, places: Mapping[str, StorePath], weights: dict[str, str], device: "torch.device"
    ) -> None:
        self._places, self._weights, self._device = places, weights, device
        self._extractor = cache(self._loaded)

    def features(self, domain: str, feature_set: str) -> "DomainFeatures":
        """Return the features of a domain."""
        from vqafeat.pretraining.coral import image_features, image_paths, store_features
        from vqafeat_cli.console import check_progress

        path = Path(domain)
        if "=" not in domain or path.is_dir():
            return store_features(self._places[domain], feature_set)
        name, paths = image_paths(domain)
        extractor = self._extractor(feature_set)
        with check_progress(len(paths), f"features of {name}") as on_image:
            return image_features(name, paths, extractor, self._device, on_image)

    def _loaded(self, feature_set: str) -> "FeatureExtractor":
        from vqafeat.backbones.feature_set import build_extractors

        (extractor,) = build_extractors([feature_set], self._weights)
        return extractor
