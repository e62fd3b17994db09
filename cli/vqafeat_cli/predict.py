"""`vqafeat predict` and `vqafeat score`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import IntRange, option

from vqafeat.errors import VideoError
from vqafeat.io import json_text, write_csv
from vqafeat_cli import options
from vqafeat_cli.options import PATH, flag

if TYPE_CHECKING:
    from vqafeat.datasets import RawGeometry
    from vqafeat.evaluation.predict import ScoredVideo

_FILE = click.Path(dir_okay=False, path_type=Path)
_COLUMNS = ("video", "score", "std", "low", "high", "curve", "kind", "error")


_SPLIT = "Use only the head of this split.  [default: the final head, or the mean of all heads]"
_SCORE_SCALE = "Data set of the training whose label scale is used.  [default: the first]"


@click.command()
@click.argument("run", type=PATH)
@click.argument("videos", nargs=-1, required=True, type=PATH)
@option("--split", type=IntRange(0), help=_SPLIT)
@option("--score-scale", metavar="DATASET", help=_SCORE_SCALE)
@options.network_options
@option("--raw", metavar="WIDTHxHEIGHT:FORMAT@RATE", help="Format of .yuv files, such as 640x480:yuv420p@30.")
@flag("--per-frame", help="Also write the scores of the frames to CSV and PNG files.")
@option("--out", type=PATH, default=".", help="Folder for the files of --per-frame.")
@flag("--any-features", help="Allow features that are computed differently from those of the training.")
@flag("--uncalibrated", help="Print the output of the heads, which is not on the label scale.")
@flag("--held-out", help="Use only heads that were not trained or validated on the video.")
@option("--csv", "table", type=_FILE, help="Also write a CSV with a row per video, failures included.")
@options.json_option
def predict(
    run: Path,
    videos: tuple[Path, ...],
    split: int | None,
    score_scale: str | None,
    weights: tuple[str, ...],
    raw: str | None,
    per_frame: bool,
    out: Path,
    any_features: bool,
    uncalibrated: bool,
    held_out: bool,
    table: Path | None,
    json: bool,
    **compute: Any,
) -> int:
    """Score videos, or all videos in and below folders, with the heads of a run or with a published model.

    RUN is a run folder, a name of `vqafeat list models`, or the file of such a model. A published model is
    fetched once into the cache and checked by its SHA-256. The scale of its scores is printed.

    A run of `fit --final` scores with its final head; --split and --held-out use the heads of its splits.
    Scores of a run are on the scale of its labels: the output of each head is calibrated on the validation
    videos of its split, or on the training videos if there are none. With several heads, the mean is printed
    with its standard deviation and range. A warning is printed if the heads disagree, if a score is at an end
    of the label range, if the run was trained or validated on the video, or if the features of the video are
    unlike those of all training videos.

    \b
    Examples:
      vqafeat predict runs/konvid-resnet50-sub-gru clip.mp4
      vqafeat predict runs/konvid-resnet50-sub-gru folder/ --per-frame --out curves --csv scores.csv
      vqafeat predict vsfa folder/
    """
    from vqafeat.datasets import RawGeometry
    from vqafeat.evaluation.model import Model
    from vqafeat.evaluation.predict import Scorer
    from vqafeat.store.features import split_feature_sets

    files = _videos_among(videos)
    geometry = RawGeometry.parse(raw) if raw else None
    # a final head is fitted on all videos, and belongs to no split
    of_splits = held_out or split is not None
    model = Model.load(run, score_scale, calibrated=not uncalibrated, final=not of_splits)
    all_weights = options.network_weights(weights, split_feature_sets(model.config.feature_sets))
    scorer = Scorer(model, all_weights, split, any_features, held_out)
    if not scorer.checks.fitted_on:
        click.echo("note: the run does not record its videos; training videos are not detected.", err=True)
    rows, names = [], Counter(path.name for path in files)
    try:
        for path, result in scorer.score_all(files, geometry, options.resources(**compute)):
            scored = _with_times(result) if per_frame else result
            rows.append(row := _as_json(path, scored))
            if isinstance(scored, VideoError):
                click.echo(f"{scored.kind}: {scored}", err=True)
                continue
            if not json:
                click.echo(f"{path}  {score_text(scored)}  ({scored.scale})")
            for warning in scored.warnings:
                click.echo(f"warning: {path}: {warning}", err=True)
            if per_frame:
                # a number distinguishes files that have the same name in several folders
                prefix = f"{len(rows):03d}-" if names[path.name] > 1 else ""
                row["curve"] = str(_write_curve(scored, out, f"{prefix}{path.name}", geometry))
    finally:  # what was scored before Ctrl-C is kept
        if rows:
            _write_results(rows, table, json)
    if failed := sum(row["error"] is not None for row in rows):
        click.echo(f"{failed} of {len(files)} videos could not be scored.", err=True)
    return options.FINISHED_WITH_FAILURES if failed else 0


_SCORE_HELP = """Score videos, or all videos in and below folders, with a published model, as `predict` does.

\b
Examples:
  vqafeat score clip.mp4
  vqafeat score folder/ --weights resnet50=resnet50-0676ba61.pth --offline
"""
_MODEL = "Name (`vqafeat list models`), file of a published model, or run folder."
_model = click.Option(["--model", "run"], type=PATH, default="vsfa", metavar="NAME|FILE|RUN", help=_MODEL)
score = click.Command(
    "score", callback=predict.callback, params=[*predict.params[1:], _model], help=_SCORE_HELP
)


def _videos_among(paths: tuple[Path, ...]) -> list[Path]:
    """Return the named files, and in place of each folder the videos in and below it, sorted."""
    from vqafeat.datasets.dataset import FileRules
    from vqafeat.datasets.locate import VIDEO_EXTENSIONS, index_videos

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise VideoError("cannot-open", f"'{path}' does not exist; name a video or a folder of videos.")
        inside = [path]
        if path.is_dir():
            indexed = index_videos(path, FileRules()).files
            inside = [file for _, file in sorted(indexed.items()) if isinstance(file, Path)]
        if not inside:
            allowed = f"name files ({', '.join(VIDEO_EXTENSIONS[:4])} …) or folders"
            raise VideoError("cannot-open", f"'{path}' is not a video or a folder with videos; {allowed}.")
        files += inside
    return files


def _with_times(scored: "ScoredVideo | VideoError") -> "ScoredVideo | VideoError":
    """Return the score, or an error if the video has no times for a curve."""
    if isinstance(scored, VideoError) or not scored.times_problem:
        return scored
    frames = f"the times of the frames of '{scored.path}' {scored.times_problem}"
    return VideoError("bad-times", f"{frames}; leave out --per-frame, or correct the file's time stamps.")


def score_text(scored: "ScoredVideo") -> str:
    """Return a score as text; of several heads also their standard deviation and range."""
    heads = scored.head_scores
    if len(heads) == 1:
        return f"{scored.score:.4g}"
    low_high = f"{heads.min():.4g} to {heads.max():.4g}"
    return f"{scored.score:.4g} ± {scored.std:.2g}, {low_high} over {len(heads)} heads"


def _as_json(path: Path, scored: "ScoredVideo | VideoError") -> dict[str, Any]:
    """Return the values of a video; those of a failure are None, as are the curve and error of others."""
    keys = ("score", "std", "scale", "calibrated", "warnings", "low", "high", "heads", "curve")
    values = {"video": str(path), **dict.fromkeys((*keys, "kind", "error"))}
    if isinstance(scored, VideoError):
        return {**values, "kind": scored.kind, "error": str(scored)}
    values |= {name: getattr(scored, name) for name in keys[:5]}
    heads = dict(zip(map(str, scored.splits), scored.head_scores.tolist(), strict=True))
    return {**values, "low": min(heads.values()), "high": max(heads.values()), "heads": heads}


def _write_results(rows: list[dict[str, Any]], table: Path | None, json: bool) -> None:
    try:
        if json:
            click.echo(json_text(rows))
    finally:  # a reader that ends early, such as `head`, costs no CSV, and a full disk no JSON
        if table is not None:
            write_csv(table, _COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])


def _write_curve(scored: "ScoredVideo", out: Path, stem: str, raw: "RawGeometry | None") -> Path:
    from vqafeat.plots import plot_frame_curve, worst_and_best
    from vqafeat.video.files import read_frames

    table = out / f"{stem}.frames.csv"
    columns = (scored.frames.tolist(), scored.seconds.tolist(), scored.frame_scores.tolist())
    write_csv(table, ["frame", "seconds", "score"], zip(*columns, strict=True))
    moments = {int(scored.frames[index]) for index in worst_and_best(scored).values()}
    plot = plot_frame_curve(scored, out / f"{stem}.frames.png", read_frames(scored.path, moments, raw))
    click.echo(f"curve: {table}, {plot}", err=True)
    return table
