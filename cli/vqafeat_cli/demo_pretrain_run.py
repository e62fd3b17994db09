"""The demo of the pre-training: images, a network trained on them, and videos on its features."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

import vqafeat as vf
from vqafeat.demo import DEMO_NAME, make_demo
from vqafeat.demo.image_set import DISPUTED_STD, IMAGE_KINDS, make_image_demo
from vqafeat.metrics import evaluate_predictions
from vqafeat.pretraining.config import PRETRAINING_RECIPES
from vqafeat.pretraining.data_loading import ImageLoader, usual_workers
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.image_sets import load_image_set
from vqafeat.pretraining.network import QualityNetwork, start_network
from vqafeat.pretraining.pairs import DrawnPairs, draw_pairs
from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest, prepare_out, pretrain
from vqafeat.pretraining.trainer import ComputeOptions, PretrainingRecord, Step, pair_accuracy, predict
from vqafeat_cli.console import run_shown
from vqafeat_cli.demo_run import extract_demo, fit_demo

BACKBONE, RECIPE, PAIRS, HELD_OUT_PERCENT = "resnet18", "demo", 1500, 25
HEAD, FIT_RECIPE, SPLITS = "sub-gru", "demo", 10
REPEAT_PAIRS, REPEAT_EPOCHS = 32, 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class HeldOut:
    """How a network predicts images that it was not trained on."""

    pair_accuracy: float  # share of pairs in the labels' order
    srocc: float
    uncertainty_auc: float  # chance that an image of a disputed kind has a larger deviation than another

    def __str__(self) -> str:
        pairs, auc = f"pairs in order {self.pair_accuracy:.3f}", f"uncertainty AUC {self.uncertainty_auc:.3f}"
        return f"{pairs}   SROCC {self.srocc:6.3f}   {auc}"


def run_demo_pretrain(out: Path, seed: int) -> None:
    """Generate images, pre-train, repeat, resume, and compare the features before and after."""
    image_set = load_image_set(f"demo-images={make_image_demo(out / 'images', seed)}")
    (pairs,) = draw_pairs([image_set], {}, HELD_OUT_PERCENT, seed, default_pairs=PAIRS)
    images, validation = len(pairs.image_set.images), len(pairs.validation)
    click.echo(f"1/5  images: {images} crops of two photographs, {validation} of other places held out")
    request = _request(pairs, out / f"iqa-{BACKBONE}.safetensors", seed)
    training = f"{PAIRS} pairs, {request.recipe.epochs} epochs"
    click.echo(f"2/5  {BACKBONE} from random weights, {training}; on the held-out images:")
    start = start_network(BACKBONE, request.weights, seed, request.recipe.start_std).network
    click.echo(f"     before   {held_out(start, pairs, request)}")
    prepare_out(request.out, overwrite=True)
    network = run_shown(request)
    start.load_state_dict(network.result.best_weights)
    click.echo(f"     after    {held_out(start, pairs, request)}   (epoch {network.result.best_epoch})")
    click.echo(f"3/5  the same seed: {_repeated(pairs, out / 'repeated', seed)}")
    store = _features(out, seed, network)
    splits = f"{SPLITS} splits grouped by content"
    click.echo(f"4/5  {HEAD} on the data set demo, {splits}, test SROCC on the features of:")
    before, after = (_fitted(store, name, out, seed) for name in (BACKBONE, network.backbone))
    for title, run in (("without pre-training", before), ("with pre-training", after)):
        srocc = run.metrics.srocc
        values = f"mean {srocc.mean:.3f}   std {srocc.std:.3f}   median {srocc.median:.3f}"
        click.echo(f"     {BACKBONE} {title:22} {values}")
    click.echo(f"5/5  weights: {network.out}   model card: {network.card}")


def held_out(network: QualityNetwork, pairs: DrawnPairs, request: PretrainingRequest) -> HeldOut:
    """Measure a network on the images that no pair was drawn from."""
    images = pairs.validation_images
    loader = ImageLoader(images, request.recipe, 0)
    means, deviations = predict(DataParallel(network, [CPU], "fp32"), loader).T
    mos = np.array([image.mos for image in images])
    disputed = [kind for kind in IMAGE_KINDS if IMAGE_KINDS[kind].opinion_std == DISPUTED_STD]
    is_disputed = [any(f"_{kind}" in image.name for kind in disputed) for image in images]
    srocc = evaluate_predictions(means, mos, mapping="none").srocc
    return HeldOut(pair_accuracy(means, mos), srocc, float(roc_auc_score(is_disputed, deviations)))


def _request(pairs: DrawnPairs, out: Path, seed: int) -> PretrainingRequest:
    computing = ComputeOptions((CPU,), "fp32", max(usual_workers() - 1, 0))
    recipe = PRETRAINING_RECIPES.get(RECIPE)
    return PretrainingRequest(BACKBONE, f"random:{seed}", (pairs,), recipe, seed, computing, out)


def _repeated(pairs: DrawnPairs, folder: Path, seed: int) -> str:
    """Train briefly twice, and once stopped after an epoch and resumed; compare the files."""
    short = PRETRAINING_RECIPES.get(RECIPE).overridden({"epochs": REPEAT_EPOCHS})
    few = replace(pairs, rows=pairs.rows[:REPEAT_PAIRS])
    files = []
    for name in ("first", "again", "resumed"):
        request = _request(few, folder / f"{name}.safetensors", seed)
        request = replace(request, recipe=short, computing=ComputeOptions())
        prepare_out(request.out, overwrite=True)
        if name == "resumed":
            _pretrain_one_epoch(request)
        files.append(pretrain(request).out.read_bytes())
    shutil.rmtree(folder)
    again, resumed = ("the same file" if content == files[0] else "ANOTHER FILE" for content in files[1:])
    return f"trained again, {again}; stopped after an epoch and resumed, {resumed}"


class _StopTrainingError(Exception):
    """Ends a training as an interruption would."""


def _pretrain_one_epoch(request: PretrainingRequest) -> None:
    def stop(event: Step | PretrainingRecord) -> None:
        if isinstance(event, PretrainingRecord):
            raise _StopTrainingError

    with suppress(_StopTrainingError):
        pretrain(request, stop)


def _features(out: Path, seed: int, made: PretrainedNetwork) -> vf.FeatureStore:
    weights = {BACKBONE: f"random:{seed}", made.backbone: str(made.out)}
    folder = out / "features" / f"pretrained-{made.weights_sha256[:12]}"
    return extract_demo(make_demo(out / DEMO_NAME, seed), list(weights), weights, folder)[0]


def _fitted(store: vf.FeatureStore, features: str, out: Path, seed: int) -> vf.Run:
    config = vf.FitConfig(features, HEAD, recipe=FIT_RECIPE, splits=SPLITS, seed=seed)
    return fit_demo(store, config, out / "runs" / f"{HEAD}-{features}")
