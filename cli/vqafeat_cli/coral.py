"""`vqafeat coral`."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import option

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.options import A_GPU, PATH, several

if TYPE_CHECKING:
    import torch

    from vqafeat.pretraining.coral import DomainFeatures

_FEATURES = "Feature set to compare, read from stores and computed for images; repeatable."
_DEVICE = f"Device of the networks, for images: cpu, cuda or cuda:NUMBER.  {A_GPU}"


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@several("--features", default=["resnet50"], metavar="SET", help=_FEATURES)
@options.weights_option
@option("--device", metavar="NAME", help=_DEVICE)
@option("--plot", type=PATH, help="PNG file for a bar plot of the distances.")
@options.storage_option
@options.json_option
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
    """Measure the CORAL distance of each SOURCE to the TARGET.

    Each is a domain: a store (features/konvid.zarr), a labelled image set (koniq=FOLDER, mine=FILE.csv), or
    any folder of images under a name of your choice (imagenet=FOLDER). A video is represented by the mean
    features of its frames. Distances in different feature sets have different scales (Li et al., figure 3).

    \b
    Example:
      vqafeat coral imagenet=sample/ koniq=koniq10k/ features/konvid.zarr \\
          --features resnet50 --features iqa-resnet50 --weights iqa-resnet50=iqa-resnet50.safetensors
    """
    from vqafeat.pretraining.coral import domain_distance

    paths = options.parse_paths({domain: domain for domain in (*sources, target)}, storage_options)
    read = _domain_reader(paths, options.network_weights(weights, features), options.devices(device)[0])
    distances: dict[str, dict[str, float]] = {}
    for feature_set in features:
        end = read(target, feature_set)
        values = distances[feature_set] = {}
        for source in sources:
            start = read(source, feature_set)
            name = start.name if start.name not in values else source
            values[name] = domain_distance(start, end)
            if not json:
                sizes = f"{len(start.values)} and {len(end.values)} samples, {end.values.shape[1]} channels"
                click.echo(f"{feature_set}: {name} to {end.name}  {values[name]:.4e}  ({sizes})")
    if json:
        click.echo(json_text({"target": end.name, "distances": distances}))
    if plot is not None:
        from vqafeat.plots import plot_distances

        click.echo(f"plot: {plot_distances(distances, end.name, plot)}", err=True)


def _domain_reader(
    paths: Mapping[str, StorePath], weights: dict[str, str], device: "torch.device"
) -> Callable[[str, str], "DomainFeatures"]:
    """Return a function that reads the features of a domain, or computes those of images on the device."""
    from vqafeat.backbones.feature_set import build_extractors
    from vqafeat.pretraining.coral import image_features, image_paths, store_features
    from vqafeat_cli.console import progress_bar

    extractors = cache(lambda feature_set: build_extractors([feature_set], weights))

    def read(domain: str, feature_set: str) -> "DomainFeatures":
        if "=" not in domain or Path(domain).is_dir():
            return store_features(paths[domain], feature_set)
        name, images = image_paths(domain)
        (extractor,) = extractors(feature_set)
        with progress_bar(f"features of {name}", len(images)) as update:
            return image_features(name, images, extractor, device, lambda done: update(completed=done))

    return read
