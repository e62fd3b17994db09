"""The demo: the embedded data set through both stages."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

import vqafeat as vf
from vqafeat.datasets import Video, load_dataset, locate_videos
from vqafeat.demo import DEMO_NAME, make_demo
from vqafeat.evaluation.predict import Scorer
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import ExtractionSummary
from vqafeat.plots import plot_scores
from vqafeat.store import store_key, store_path
from vqafeat.training.parallel import one_thread
from vqafeat_cli.console import fit_progress, metrics_lines, shown_progress
from vqafeat_cli.predict import score_text

BACKBONE, FEATURES = "efficientnet-lite0", "efficientnet-lite0:stages"
HEAD, RECIPE, SPLITS = "mdtvsfa", "demo", 10


def run_demo(out: Path, seed: int, weights: str) -> None:
    """Generate the demo set, extract, fit, score one held-out clip, and plot; finished steps are reused."""
    versions = "a pristine and twelve distorted versions of each content"
    click.echo(f"1/5  videos: two photographs, moving cameras, {versions}")
    labels = make_demo(out / DEMO_NAME, seed)
    click.echo(f"2/5  features: {FEATURES}, weights {weights}")
    store = _features(labels, out, weights)
    click.echo(f"3/5  fit: {HEAD}, {SPLITS} splits grouped by content")
    config = vf.FitConfig(FEATURES, HEAD, recipe=RECIPE, splits=SPLITS, seed=seed)
    run = fit_demo(store, config, out / "runs" / HEAD)
    click.echo("\n".join(metrics_lines(run.metrics, run.config.mapping)))
    video = held_out_video(run, store.dataset.videos)
    path = labels.parent / video.name
    scored = Scorer(vf.Model.load(run.path), {BACKBONE: weights}, held_out=True).score(path)
    heads = f"{len(scored.splits)} of {SPLITS} heads that were not fitted on it"
    click.echo(f"4/5  one clip, scored by the {heads}: {path}")
    click.echo(f"     score {score_text(scored)}; its label is {video.mos:.1f}\n     ({scored.scale})")
    plot = _plotted(run, out / "demo.png")
    click.echo(f"5/5  plot: {plot}\n     run folder: {run.path}   features: {store.path}")


def held_out_video(run: vf.Run, videos: Sequence[Video]) -> Video:
    """Return the video that most splits test; of several, the one with the label closest to the median."""
    tested = Counter(row.video for row in run.predictions if row.part == "test")
    middle = float(np.median([video.mos for video in videos]))
    return min(videos, key=lambda video: (-tested[video.name], abs(video.mos - middle), video.name))


def demo_store(out: Path, seed: int) -> vf.FeatureStore:
    """Return the store of the demo set, extracted if it is missing; progress goes to stderr."""
    return _features(make_demo(out / DEMO_NAME, seed), out, "imagenet", err=True)


def _features(labels: Path, out: Path, weights: str, err: bool = False) -> vf.FeatureStore:
    folder = out / "features" / store_key(Path(weights).stem.replace(":", "-"))
    # frames of 256x144 are so small that a second thread costs more than it saves: 8.7 against 6.1 ms a frame
    # on two cores
    with one_thread():
        store, summary = extract_demo(labels, [FEATURES], {BACKBONE: weights}, folder)
    extracted = f"{summary.extracted} videos extracted ({summary.frames} frames)"
    click.echo(f"     {extracted}, {summary.skipped} already done", err=err)
    return store


def extract_demo(
    labels: Path, features: Sequence[str], weights: Mapping[str, str], folder: Path
) -> tuple[vf.FeatureStore, ExtractionSummary]:
    """Extract features of the demo set at its label file, with a progress bar."""
    dataset = locate_videos(load_dataset(DEMO_NAME, labels.parent), labels.parent).dataset
    with shown_progress(len(dataset.videos)) as progress:
        summary = extract_features(
            dataset, features, folder, weights=weights, resources=Resources(), progress=progress
        )
    return vf.FeatureStore.open(store_path(folder, DEMO_NAME)), summary


def fit_demo(store: vf.FeatureStore, config: vf.FitConfig, folder: Path) -> vf.Run:
    """Fit a head on the demo set on all cores, with a progress bar; a finished fit is replaced."""
    jobs = min(len(os.sched_getaffinity(0)), config.splits)
    with fit_progress(config.splits, config.epochs) as progress:
        return vf.fit(store, config, folder, jobs=jobs, overwrite=True, progress=progress)


def _plotted(run: vf.Run, path: Path) -> Path:
    tests = [row for row in run.predictions if row.part == "test"]
    title = f"{HEAD} on {FEATURES}, test videos of {SPLITS} splits"
    scores, labels = [row.score for row in tests], [row.mos for row in tests]
    return plot_scores(scores, labels, run.config.datasets[0].score_name, title, path)
