"""`vqafeat pretrain` and `vqafeat coral`."""

import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import click
from click import IntRange, option

from vqafeat.io import json_text
from vqafeat_cli import options
from vqafeat_cli.console import print_result, progress_bar, run_shown
from vqafeat_cli.options import PATH, flag, several

_IMAGES = "Labelled image set (see `vqafeat list image-sets`), or CSV image,mos,std[,content]; repeatable."
_PAIRS = "Number of pairs per image set; repeatable.  [default: as published, or ten per training image]"
_RECIPE = "[default: from the recipe]"
_PREPARATION = "Random crops of training images, or whole images resized to a square."
_DETACH = "Train the standard deviations by the hinge loss alone."


@click.command()
@option("--backbone", required=True, metavar="NAME", help="Network: resnet18, resnet34, resnet50 or vit-b16.")
@several("--images", required=True, metavar="NAME=FOLDER|NAME=FILE.csv", help=_IMAGES)
@option("--weights", default="imagenet", metavar="FILE|imagenet|random[:SEED]", help="Initial weights.")
@several("--pairs", metavar="NUMBER|NAME=NUMBER", help=_PAIRS)
@option("--validation-percent", default=20, help="Share of contents for validation, in percent; 0 for none.")
@option("--recipe", default="li-released", help="Training settings; see `vqafeat list pretraining-recipes`.")
@option("--learning-rate", type=float, help=f"Initial learning rate.  {_RECIPE}")
@option("--epochs", type=int, help=f"Total number of epochs.  {_RECIPE}")
@option("--head-epochs", type=int, help=f"First epochs, which train only the quality head.  {_RECIPE}")
@option("--batch-size", type=int, help=f"Pairs per batch.  {_RECIPE}")
@option("--head-batch-size", type=int, help=f"Pairs per batch in the epochs of --head-epochs.  {_RECIPE}")
@option("--short-side", type=int, help=f"Short side of the resized images, in pixels.  {_RECIPE}")
@option("--crop-side", type=int, help=f"Side of the square crops, in pixels.  {_RECIPE}")
@option("--preparation", metavar="crop|square", help=f"{_PREPARATION}  {_RECIPE}")
@option("--weight-decay", type=float, help=f"Factor of the L2 term in the gradient.  {_RECIPE}")
@option("--margin", type=float, help=f"Margin η of the hinge loss on the standard deviations.  {_RECIPE}")
@option("--detach-variance/--no-detach-variance", default=None, help=f"{_DETACH}  {_RECIPE}")
@option("--seed", default=0, type=IntRange(0), help="Random seed of the pairs and the training.")
@options.devices_option
@options.precision_option
@option("--workers", type=IntRange(0), help="Processes that load images.  [default: one per core]")
@option("--out", required=True, type=PATH, help="Weights file to write (.safetensors), with a model card.")
@flag("--overwrite", help="Replace a finished file, and restart a stopped run.")
@options.json_option
def pretrain(
    backbone: str,
    images: tuple[str, ...],
    weights: str,
    pairs: tuple[str, ...],
    validation_percent: int,
    recipe: str,
    seed: int,
    device: str | None,
    precision: str | None,
    workers: int | None,
    out: Path,
    overwrite: bool,
    json: bool,
    **overrides: Any,
) -> None:
    """Train a network to rank pairs of images by quality.

    The command writes weights of the network `iqa-BACKBONE`, whose features reflect distortions (UNIQUE; Li
    et al., section III-A). The same command resumes a stopped run after its last complete epoch.

    \b
    Examples:
      vqafeat pretrain --backbone resnet50 --images bid=BID --images clive=ChallengeDB_release \\
          --images koniq=koniq10k --images spaq=SPAQ --out iqa-resnet50.safetensors
      vqafeat extract --dataset konvid --backbone iqa-resnet50 --weights iqa-resnet50=iqa-resnet50.safetensors
    """
    from vqafeat.backbones.network import resolve_precision
    from vqafeat.pretraining.config import PRETRAINING_RECIPES
    from vqafeat.pretraining.image_sets import load_image_set
    from vqafeat.pretraining.images import check_images
    from vqafeat.pretraining.pairs import draw_pairs, parse_pairs
    from vqafeat.pretraining.pretrain import PretrainingRequest, check_new
    from vqafeat.pretraining.trainer import ComputeOptions

    config = PRETRAINING_RECIPES.get(recipe).overridden(options.given(overrides))
    used = tuple(options.devices(device))
    loaders = len(os.sched_getaffinity(0)) if workers is None else workers
    computing = ComputeOptions(used, resolve_precision(precision, used[0]), loaders)
    pairs_of_set, pairs_of_all = parse_pairs(pairs)
    loaded = [load_image_set(argument) for argument in images]
    sets = draw_pairs(loaded, pairs_of_set, validation_percent, seed, default_pairs=pairs_of_all)
    request = PretrainingRequest(backbone, weights, sets, config, seed, computing, out)
    if not overwrite:
        check_new(out)
    paths = [image.path for item in sets for image in item.image_set.images]
    with progress_bar("checking images", len(paths)) as update:
        check_images(paths, loaders, lambda done: update(completed=done))
    network = run_shown(request, overwrite)
    result, digest = network.result, network.weights_sha256
    names = {"file": str(network.out), "card": str(network.card), "network": network.backbone}
    curve = {"kept_epoch": result.best_epoch, "curve": [asdict(record) for record in result.curve]}
    kept = f"{network.out}: {network.backbone}, epoch {result.best_epoch} kept: {result.kept_because}"
    lines = [kept, f"digest of its feature sets: {digest}", f"model card: {network.card}"]
    print_result(json, {**names, "weights_sha256": digest, **curve}, lines)


_FEATURES = "Feature set to compare, read from stores and computed for images; repeatable."
_SAMPLE = "Images to use of each folder without labels, evenly over its subfolders.  [default: all]"


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target")
@several("--features", default=["resnet50"], metavar="SET", help=_FEATURES)
@option("--sample", type=IntRange(1), metavar="N", help=_SAMPLE)
@option("--seed", default=0, type=IntRange(0), help="Random seed of --sample.")
@options.weights_option
@options.device_option
@option("--plot", type=PATH, help="PNG file for a bar plot of the distances.")
@options.storage_option
@options.json_option
def coral(
    sources: tuple[str, ...],
    target: str,
    features: tuple[str, ...],
    sample: int | None,
    seed: int,
    weights: tuple[str, ...],
    device: str | None,
    plot: Path | None,
    storage_options: tuple[str, ...],
    json: bool,
) -> None:
    """Measure the CORAL distance of each SOURCE to the TARGET.

    A SOURCE or TARGET is a store (features/konvid.zarr), a labelled image set (koniq=FOLDER, mine=FILE.csv),
    or any folder of images with a name of your choice (imagenet=FOLDER). A video is represented by the mean
    features of its frames. Distances in different feature sets have different scales and cannot be compared
    (Li et al., figure 3).

    \b
    Example:
      vqafeat coral imagenet=ILSVRC/train/ koniq=koniq10k/ features/konvid.zarr --sample 22946 \\
          --features resnet50 --features iqa-resnet50 --weights iqa-resnet50=iqa-resnet50.safetensors
    """
    from vqafeat.backbones.feature_set import build_extractors
    from vqafeat.pretraining import coral as domains
    from vqafeat.store import FeatureStore

    paths = options.parse_paths({domain: domain for domain in (*sources, target)}, storage_options)
    own_weights, used = options.network_weights(weights, features), options.devices(device)[0]
    extractors = cache(lambda feature_set: build_extractors([feature_set], own_weights))

    def read(domain: str, feature_set: str) -> domains.DomainFeatures:
        if "=" not in domain or Path(domain).is_dir():
            return domains.mean_features(FeatureStore.open(paths[domain]), feature_set)
        name, images = domains.image_paths(domain, sample, seed)
        (extractor,) = extractors(feature_set)
        with progress_bar(f"features of {name}", len(images)) as update:
            return domains.image_features(name, images, extractor, used, lambda done: update(completed=done))

    distances: dict[str, dict[str, float]] = {}
    for feature_set in features:
        end = read(target, feature_set)
        values = distances[feature_set] = {}
        for source in sources:
            start = read(source, feature_set)
            name = start.name if start.name not in values else source
            values[name] = domains.coral_distance(start, end)
            if not json:
                sizes = f"{len(start.values)} and {len(end.values)} samples, {end.values.shape[1]} channels"
                click.echo(f"{feature_set}: {name} to {end.name}  {values[name]:.4e}  ({sizes})")
    if json:
        click.echo(json_text({"target": end.name, "distances": distances}))
    if plot is not None:
        from vqafeat.plots import plot_bars

        label = f"CORAL distance to {end.name} (lower is closer)"
        click.echo(f"plot: {plot_bars(distances, label, '', plot)}", err=True)
