"""The demos: of both stages on the demo data set, and of the pre-training on the demo images."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import numpy as np
import torch

import vqafeat as vf
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.datasets import load_dataset
from vqafeat.demo import DEMO_NAME, make_demo
from vqafeat.demo.image_set import DISPUTED_STD, IMAGE_KINDS, make_image_demo
from vqafeat.evaluation.predict import Scorer
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import ExtractionSummary
from vqafeat.metrics import evaluate_predictions
from vqafeat.plots import plot_scores
from vqafeat.pretraining.config import PRETRAINING_RECIPES
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.image_sets import load_image_set
from vqafeat.pretraining.images import ImageLoader
from vqafeat.pretraining.network import QualityNetwork, start_network
from vqafeat.pretraining.pairs import DrawnPairs, draw_pairs
from vqafeat.pretraining.pretrain import PretrainingRequest, pretrain
from vqafeat.pretraining.trainer import ComputeOptions, PretrainingRecord, Step, pair_accuracy, predict
from vqafeat.store import store_key, store_path
from vqafeat.training.parallel import one_thread
from vqafeat_cli.console import fit_progress, metrics_lines, run_shown, shown_progress
from vqafeat_cli.predict import score_text

RECIPE, SPLITS = "demo", 10
BACKBONE, FEATURES, HEAD = "efficientnet-lite0", "efficientnet-lite0:stages", "mdtvsfa"
PRETRAINED, PRETRAINED_HEAD = "resnet18", "sub-gru"
PAIRS, HELD_OUT_PERCENT = 1500, 25
REPEAT_PAIRS, REPEAT_EPOCHS = 32, 2
CPU = torch.device("cpu")


def run_demo(out: Path, seed: int, weights: str) -> None:
    """Generate the demo data set, extract, fit, score a held-out clip and plot; finished steps are reused."""
    build_extractors([FEATURES], {BACKBONE: weights})  # an absent package is reported before videos are made
    versions = "a pristine and twelve distorted versions of each content"
    click.echo(f"1/5  videos: two photographs, moving cameras, {versions}")
    labels = make_demo(out / DEMO_NAME, seed)
    click.echo(f"2/5  features: {FEATURES}, weights {weights}")
    store = demo_store(labels, out, weights)
    click.echo(f"3/5  fit: {HEAD}, {SPLITS} splits grouped by content")
    run = _fit(store, FEATURES, HEAD, seed, out / "runs" / HEAD)
    click.echo("\n".join(metrics_lines(run.metrics, run.config.mapping)))
    tests = [row for row in run.predictions if row.part == "test"]
    tested, middle = Counter(row.video for row in tests), median(video.mos for video in store.dataset.videos)
    # of the videos that most splits test, the one with the label closest to the median
    video = min(store.dataset.videos, key=lambda one: (-tested[one.name], abs(one.mos - middle), one.name))
    path = labels.parent / video.name
    scored = Scorer(vf.Model.load(run.path), {BACKBONE: weights}, held_out=True).score(path)
    heads = f"{len(scored.splits)} of {SPLITS} heads that were not fitted on it"
    click.echo(f"4/5  one clip, scored by the {heads}: {path}")
    click.echo(f"     score {score_text(scored)}; its label is {video.mos:.1f}\n     ({scored.scale})")
    title = f"{HEAD} on {FEATURES}, test videos of {SPLITS} splits"
    scores, mos = [row.score for row in tests], [row.mos for row in tests]
    plot = plot_scores(scores, mos, run.config.datasets[0].score_name, title, out / "demo.png")
    click.echo(f"5/5  plot: {plot}\n     run folder: {run.path}   features: {store.path}")


def demo_store(labels: Path, out: Path, weights: str, err: bool = False) -> vf.FeatureStore:
    """Return the store of the demo data set, extracted if it is missing; with `err`, report on stderr."""
    folder = out / "features" / store_key(Path(weights).stem.replace(":", "-"))
    # on frames of 256x144, a second thread costs more than it saves: 8.7 against 6.1 ms per frame
    with one_thread():
        store, summary = _extract(labels, [FEATURES], {BACKBONE: weights}, folder)
    extracted = f"{summary.extracted} videos extracted ({summary.frames} frames)"
    click.echo(f"     {extracted}, {summary.skipped} already done", err=err)
    return store


def _extract(
    labels: Path, features: Sequence[str], weights: Mapping[str, str], folder: Path
) -> tuple[vf.FeatureStore, ExtractionSummary]:
    dataset, compute = load_dataset(DEMO_NAME, labels.parent), Resources()
    with shown_progress(len(dataset.videos)) as progress:
        summary = extract_features(
            dataset, features, folder, weights=weights, resources=compute, progress=progress
        )
    return vf.FeatureStore.open(store_path(folder, DEMO_NAME)), summary


def _fit(store: vf.FeatureStore, features: str, head: str, seed: int, folder: Path) -> vf.Run:
    config = vf.FitConfig(features, head, recipe=RECIPE, splits=SPLITS, seed=seed)
    jobs = min(len(os.sched_getaffinity(0)), SPLITS)
    with fit_progress(SPLITS, config.epochs) as progress:
        return vf.fit(store, config, folder, jobs=jobs, overwrite=True, progress=progress)


def run_demo_pretrain(out: Path, seed: int) -> None:
    """Generate images, pre-train, repeat, resume, and compare the features before and after."""
    image_set = load_image_set(f"demo-images={make_image_demo(out / 'images', seed)}")
    (pairs,) = draw_pairs([image_set], {}, HELD_OUT_PERCENT, seed, default_pairs=PAIRS)
    images, validation = len(pairs.image_set.images), len(pairs.validation)
    click.echo(f"1/5  images: {images} crops of two photographs, {validation} of other places held out")
    recipe, file = PRETRAINING_RECIPES.get(RECIPE), out / f"iqa-{PRETRAINED}.safetensors"
    computing = ComputeOptions((CPU,), "fp32", len(os.sched_getaffinity(0)) - 1)
    request = PretrainingRequest(PRETRAINED, f"random:{seed}", (pairs,), recipe, seed, computing, file)
    training = f"{PAIRS} pairs, {request.recipe.epochs} epochs"
    click.echo(f"2/5  {PRETRAINED} from random weights, {training}; on the held-out images:")
    start, _ = start_network(PRETRAINED, request.weights, seed, request.recipe.start_std)
    click.echo(f"     before   {_held_out(start, pairs, request)}")
    network = run_shown(request, overwrite=True)
    start.load_state_dict(network.result.best_weights)
    click.echo(f"     after    {_held_out(start, pairs, request)}   (epoch {network.result.best_epoch})")
    click.echo(f"3/5  the same seed: {_repeated(request, out / 'repeated')}")
    weights = {PRETRAINED: f"random:{seed}", network.backbone: str(network.out)}
    folder = out / "features" / f"pretrained-{network.weights_sha256[:12]}"
    store, _ = _extract(make_demo(out / DEMO_NAME, seed), list(weights), weights, folder)
    splits = f"{SPLITS} splits grouped by content"
    click.echo(f"4/5  {PRETRAINED_HEAD} on the data set demo, {splits}, test SROCC on the features of:")
    for title, features in (("without pre-training", PRETRAINED), ("with pre-training", network.backbone)):
        run_folder = out / "runs" / f"{PRETRAINED_HEAD}-{features}"
        srocc = _fit(store, features, PRETRAINED_HEAD, seed, run_folder).metrics.srocc
        values = f"mean {srocc.mean:.3f}   std {srocc.std:.3f}   median {srocc.median:.3f}"
        click.echo(f"     {PRETRAINED} {title:22} {values}")
    click.echo(f"5/5  weights: {network.out}   model card: {network.card}")


def _held_out(network: QualityNetwork, pairs: DrawnPairs, request: PretrainingRequest) -> str:
    """Measure a network on the held-out images."""
    from sklearn.metrics import roc_auc_score

    images = pairs.validation_images
    loader = ImageLoader(images, request.recipe, 0)
    means, stds = predict(DataParallel(network, CPU, "fp32"), loader).T
    mos = np.array([image.mos for image in images])
    disputed = [kind for kind in IMAGE_KINDS if IMAGE_KINDS[kind].opinion_std == DISPUTED_STD]
    is_disputed = [any(f"_{kind}" in image.name for kind in disputed) for image in images]
    srocc = evaluate_predictions(means, mos, mapping="none").srocc
    # the chance that an image of a disputed kind has a larger standard deviation than another
    auc = float(roc_auc_score(is_disputed, stds))
    in_order = f"pairs in order {pair_accuracy(means, mos):.3f}"
    return f"{in_order}   SROCC {srocc:6.3f}   uncertainty AUC {auc:.3f}"


def _repeated(whole: PretrainingRequest, folder: Path) -> str:
    """Train briefly twice, and once stopped after an epoch and resumed; compare the files."""
    few = tuple(replace(pairs, rows=pairs.rows[:REPEAT_PAIRS]) for pairs in whole.sets)
    recipe = whole.recipe.overridden({"epochs": REPEAT_EPOCHS})
    short = replace(whole, sets=few, recipe=recipe, computing=ComputeOptions())
    files = []
    for name in ("first", "again", "resumed"):
        request = replace(short, out=folder / f"{name}.safetensors")
        if name == "resumed":
            with suppress(_StopTrainingError):
                pretrain(request, _stop_after_an_epoch, overwrite=True)
        files.append(pretrain(request, overwrite=name != "resumed").out.read_bytes())
    shutil.rmtree(folder)
    again, resumed = ("the same file" if content == files[0] else "ANOTHER FILE" for content in files[1:])
    return f"trained again, {again}; stopped after an epoch and resumed, {resumed}"


class _StopTrainingError(Exception):
    """Ends a training as an interruption would."""


def _stop_after_an_epoch(event: Step | PretrainingRecord) -> None:
    if isinstance(event, PretrainingRecord):
        raise _StopTrainingError
