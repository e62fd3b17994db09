"""The demo: the embedded data set through both stages."""

import os
from pathlib import Path

import click

from vqafeat.demo import DEMO_NAME, make_demo
from vqafeat.errors import WeightsError
from vqafeat.extraction.backbones import BACKBONES
from vqafeat.extraction.extractors import build_extractors
from vqafeat.extraction.runner import extract_dataset
from vqafeat.extraction.weights import published_state
from vqafeat.manifest import load_dataset, locate_videos
from vqafeat.modeling.drawing import drawn_splits
from vqafeat.modeling.fitting import FittedRun, fit
from vqafeat.modeling.scoring import Scorer
from vqafeat.modeling.trained import TrainedModel
from vqafeat.store import FeatureStore, store_key, store_path
from vqafeat.studies.plots import plot_predictions
from vqafeat_cli.fit_report import epochs_of, fit_progress, metrics_lines
from vqafeat_cli.progress import shown_progress

BACKBONE, HEAD, RECIPE, SPLITS = "resnet18", "sub-gru", "demo", 10


def run_demo(out: Path, seed: int, weights: str | None) -> None:
    """Make the demo set, extract, fit, score one clip, and leave a plot; what is done already is found again."""
    click.echo("1/5  videos: two photographs, moving cameras, seven versions of each content")
    labels = make_demo(out / DEMO_NAME, seed)
    chosen, words = chosen_weights(weights, seed)
    click.echo(f"2/5  features: {BACKBONE}, weights {words}")
    store = _extracted(labels, out, chosen)
    click.echo(f"3/5  fit: {HEAD}, splits grouped by content")
    run = _fitted(store, out, seed)
    for line in metrics_lines(run.summary, run.config.mapping):
        click.echo(line)
    video = store.dataset.videos[1]
    path = labels.parent / video.name
    scored = Scorer(TrainedModel.load(run.folder), {BACKBONE: chosen}).score(path)
    click.echo(f"4/5  one clip: {path}\n     score {scored.score:.1f} ({scored.scale}), its label {video.mos:.1f}")
    plot = _plotted(run, out / "demo.png")
    click.echo(f"5/5  plot: {plot}\n     run folder: {run.folder}   features: {store.path}")


def demo_store(out: Path, seed: int) -> FeatureStore:
    """Return the store of the demo set, made where it is missing; what is told goes to standard error."""
    labels = make_demo(out / DEMO_NAME, seed)
    chosen, _ = chosen_weights(None, seed)
    return _extracted(labels, out, chosen, err=True)


def chosen_weights(weights: str | None, seed: int) -> tuple[str, str]:
    """Return the weights for the demo and what they mean: ImageNet's where they can be had, else seeded random ones."""
    if weights is not None:
        return weights, weights
    try:
        published_state(BACKBONES.get(BACKBONE))
    except WeightsError as error:
        click.echo(f"     {error}", err=True)
        return f"random:{seed}", (
            f"random, seed {seed}: ImageNet weights cannot be had here, so the network has never seen a picture;\n"
            "     its features still react to distortions, but expect better scores with --weights FILE"
        )
    return "imagenet", "imagenet: features that know the content of pictures"


def _extracted(labels: Path, out: Path, weights: str, err: bool = False) -> FeatureStore:
    dataset = locate_videos(load_dataset(DEMO_NAME, labels.parent), labels.parent).dataset
    extractors = build_extractors([BACKBONE], {BACKBONE: weights})
    store = FeatureStore.create(store_path(out / "features" / store_key(Path(weights).stem.replace(":", "-")), DEMO_NAME), dataset)
    with shown_progress(len(dataset.videos)) as progress:
        summary = extract_dataset(dataset, store, extractors, progress=progress)
    click.echo(f"     {summary.extracted} videos extracted ({summary.frames} frames), {summary.skipped} already done", err=err)
    return store


def _fitted(store: FeatureStore, out: Path, seed: int) -> FittedRun:
    drawn = drawn_splits(store.members, "content", SPLITS, seed, "60/20/20", RECIPE)
    jobs = min(len(os.sched_getaffinity(0)), SPLITS)
    with fit_progress(SPLITS, epochs_of(HEAD, RECIPE, None)) as progress:
        return fit(
            store,
            BACKBONE,
            HEAD,
            drawn.splits,
            out / "runs" / HEAD,
            recipe=RECIPE,
            seed=seed,
            jobs=jobs,
            split_kind=drawn.words,
            overwrite=True,
            progress=progress,
        )


def _plotted(run: FittedRun, path: Path) -> Path:
    tests = [row for row in run.predictions if row.part == "test"]
    title = f"{HEAD} on {BACKBONE}, test parts of {SPLITS} splits"
    return plot_predictions([row.prediction for row in tests], [row.mos for row in tests], run.config.datasets[0].score_name, title, path)
