"""`vqafeat predict`."""

import csv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqafeat.io import json_text
from vqafeat_cli.options import (
    FINISHED_WITH_FAILURES,
    compute_options,
    json_option,
    resources,
    weights_option,
)

if TYPE_CHECKING:
    from vqafeat.datasets import RawGeometry
    from vqafeat.evaluation.predict import ScoredVideo


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.IntRange(0),
    help="Ask the head of this split alone.  [default: the mean over all heads of the run]",
)
@click.option(
    "--scale-of",
    metavar="NAME",
    help="Of a run on several data sets: the one whose scale to score on.  [default: the first]",
)
@weights_option
@compute_options
@click.option(
    "--raw",
    metavar="WIDTHxHEIGHT:FORMAT@RATE",
    help="How .yuv files are read, for example 1920x1080:yuvj420p@30.",
)
@click.option(
    "--per-frame",
    is_flag=True,
    help="Also write each video's curve as CSV and PNG, with its worst and best moments.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=".", show_default=True, help="Folder for the curves."
)
@click.option(
    "--any-features", is_flag=True, help="Allow networks or decoders other than those of the training."
)
@click.option(
    "--uncalibrated", is_flag=True, help="Print the heads' own output instead of scores on the labels' scale."
)
@click.option(
    "--held-out", is_flag=True, help="Score a video of the run only by the heads that were not fitted on it."
)
@json_option
@click.pass_context
def predict(
    context: click.Context,
    /,
    run: Path,
    videos: tuple[Path, ...],
    split: int | None,
    scale_of: str | None,
    weights: tuple[str, ...],
    raw: str | None,
    per_frame: bool,
    out: Path,
    any_features: bool,
    uncalibrated: bool,
    held_out: bool,
    json: bool,
    **compute: Any,
) -> None:
    """Score videos, files or folders of them, with the heads of a run.

    A score is on the scale of the labels that the run was trained on: each head's output is calibrated on the
    validation videos of its split, or on its training videos where there are none. With several heads, their
    mean is printed with its deviation and range. A warning follows where the heads disagree, where the video
    is one that the run was trained on, and where its features are unlike those of all training videos.

    \b
    Examples:
      vqafeat predict runs/konvid-resnet50-sub-gru clip.mp4
      vqafeat predict runs/konvid-resnet50-sub-gru folder/ --per-frame --out curves
    """
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights
    from vqafeat.datasets import RawGeometry
    from vqafeat.errors import VideoError
    from vqafeat.evaluation.model import Model
    from vqafeat.evaluation.predict import ScoreChecks, Scorer, videos_among
    from vqafeat.training.data import split_feature_sets

    files = videos_among(videos)
    geometry = RawGeometry.parse(raw) if raw else None
    model = Model.load(run, scale_of, calibrated=not uncalibrated)
    backbones = backbone_names(split_feature_sets(model.config.feature_sets))
    checks = ScoreChecks.read(run, model.config, model.trained_on.name)
    scorer = Scorer(model, parse_weights(weights, backbones), split, any_features, checks, held_out)
    if not checks.fitted_on:
        click.echo(
            "note: the run does not know the files of its videos, so a training video is not recognised.",
            err=True,
        )
    rows, failed, names = [], 0, Counter(path.name for path in files)
    for path, scored in scorer.score_all(files, geometry, resources(**compute)):
        if isinstance(scored, VideoError):
            failed += 1
            click.echo(f"{scored.kind}: {scored}", err=True)
            continue
        rows.append(_as_json(scored))
        if not json:
            click.echo(f"{path}  {score_text(scored)}  ({scored.scale})")
        for warning in scored.warnings:
            click.echo(f"warning: {path}: {warning}", err=True)
        if per_frame:
            _write_curve(scored, out, geometry, len(rows) if names[path.name] > 1 else None)
    if json:
        click.echo(json_text(rows))
    if failed:
        click.echo(f"{failed} of {len(files)} videos could not be scored.", err=True)
        context.exit(FINISHED_WITH_FAILURES)


def score_text(scored: "ScoredVideo") -> str:
    """Return a score, with the deviation and range of several heads."""
    heads = scored.head_scores
    if len(heads) == 1:
        return f"{scored.score:.4g}"
    return f"{scored.score:.4g} ± {scored.std:.2g}, {heads.min():.4g} to {heads.max():.4g} over {len(heads)} heads"


def _as_json(scored: "ScoredVideo") -> dict[str, Any]:
    heads = dict(zip(map(str, scored.splits), scored.head_scores.tolist(), strict=True))
    spread = {
        "std": scored.std,
        "low": float(scored.head_scores.min()),
        "high": float(scored.head_scores.max()),
    }
    return {
        "video": str(scored.path),
        "score": scored.score,
        **spread,
        "scale": scored.scale,
        "calibrated": scored.calibrated,
        "heads": heads,
        "warnings": scored.warnings,
    }


def _write_curve(scored: "ScoredVideo", out: Path, raw: "RawGeometry | None", number: int | None) -> None:
    """Write a curve's table and plot; videos of one name from several folders are told apart by their number
    in the output.
    """
    from vqafeat.plots import plot_frame_curve, worst_and_best
    from vqafeat.video.files import read_frames

    out.mkdir(parents=True, exist_ok=True)
    stem = scored.path.name if number is None else f"{number:03d}-{scored.path.name}"
    table = out / f"{stem}.frames.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["frame", "seconds", "score"])
        writer.writerows(
            zip(scored.frames.tolist(), scored.seconds.tolist(), scored.frame_scores.tolist(), strict=True)
        )
    moments = {int(scored.frames[place]) for place in worst_and_best(scored).values()}
    picture = plot_frame_curve(scored, out / f"{stem}.frames.png", read_frames(scored.path, moments, raw))
    click.echo(f"curve: {table}, {picture}", err=True)
