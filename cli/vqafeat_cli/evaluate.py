"""`vqafeat evaluate`, `vqafeat compare` and `vqafeat ensemble`."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import IntRange, option

from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.console import NO_VALUE, aligned, metrics_lines, number, print_result, shown_measures
from vqafeat_cli.options import PATH, flag

if TYPE_CHECKING:
    from vqafeat.evaluation.compare import ComparedRuns
    from vqafeat.evaluation.evaluate import Evaluation
    from vqafeat.evaluation.groups import GroupEvaluation

_OWN = "[default: that of the run]"
_IN_STORE = "Data set in the store.  [default: the only one there, or else that of the run]"
_BY = "Also measure groups of videos; see `vqafeat list groupings`, or give a CSV video,group."
_THRESHOLD = "Smallest label of high quality, for --by quality.  [default: middle of the label range]"


@click.command()
@click.argument("run", type=PATH)
@option("--dataset", metavar="NAME|FILE", help=_IN_STORE)
@options.read_store_options
@option("--mapping", help=f"{options.MAPPING}  {_OWN}")
@options.skip_missing_option
@flag("--any-features", help="Allow features that were computed differently from those of the training.")
@option("--order", help=f"Frame order, as for `fit`; the first letter has to be that of the run.  {_OWN}")
@option("--sampling", help=f"Frames to use of each video; see `vqafeat list samplings`.  {_OWN}")
@option("--draws", type=int, help=f"Random draws of frames to average over.  {_OWN}")
@option("--part", help="Measure all videos of this official part, such as test-1080p.")
@option("--by", metavar="GROUPING|FILE.csv", help=_BY)
@option("--quality-threshold", type=float, help=_THRESHOLD)
@option(
    "--out", type=PATH, help="Write predictions.csv and predictions.png to this folder.  [default: neither]"
)
@options.json_option
def evaluate(
    run: Path,
    dataset: str | None,
    store: StorePath,
    cache: int | None,
    by: str | None,
    quality_threshold: float | None,
    out: Path | None,
    json: bool,
    **measured: Any,
) -> None:
    """Measure the heads of a run on a data set of the store.

    On the data set of the run, each head is measured on the test part of its split; on another data set, on
    all videos. --part refuses a run with a head that was trained or validated on any video of the part. The
    paper of Li et al. has the --quality-threshold 3.5536 on a scale of 1 to 5.

    \b
    Examples:
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset live-vqc --by resolution
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset konvid --order OS --draws 10
      vqafeat evaluate runs/lsvq-resnet50-sub-gru --dataset lsvq --part test-1080p --out lsvq-1080p
    """
    from vqafeat.evaluation import evaluate, groups
    from vqafeat.store.features import split_feature_sets
    from vqafeat.training.run import Run
    from vqafeat_cli.stores import local_copies, open_store

    if quality_threshold is not None and by is None:
        raise click.UsageError("--quality-threshold divides the groups of --by quality; give both.")
    if by is not None:
        groups.check_grouping(by, quality_threshold)
    config = Run(run).config
    source = open_store(store, dataset, config.dataset)
    frames = options.given({name: measured.pop(name) for name in ("order", "sampling", "draws")})
    with local_copies(source, split_feature_sets(config.feature_sets), cache) as copy:
        result = evaluate.evaluate(run, copy, frame_changes=frames, **measured)
    videos = {row.video for row in result.predictions}
    values = result.summary.as_json({source.dataset.name: len(videos)})
    lines = [f"{run} on {result.measured_on}; mean over {len(result.summary.n)} heads"]
    lines += metrics_lines(result.summary, result.mapping)
    if by is not None:
        grouped = groups.evaluate_groups(result, source, by, quality_threshold=quality_threshold)
        own = {group.name: group.summary.as_json({group.name: group.videos}) for group in grouped.groups}
        values |= {"by": grouped.by, "groups": own, "ungrouped": grouped.ungrouped}
        lines += _group_lines(grouped, result.mapping)
    print_result(json, values, lines)
    if out is not None:
        _write_predictions(result, source.dataset.score_name, f"{run} on {source.dataset.name}", out)


def _write_predictions(result: "Evaluation", score_name: str, title: str, out: Path) -> None:
    """Write the table of all predictions, and their scatter against the labels."""
    import numpy as np

    from vqafeat.plots import plot_predictions
    from vqafeat.training.predictions import write_predictions

    out.mkdir(parents=True, exist_ok=True)
    write_predictions(out, result.predictions)
    rows = [row for row in result.predictions if np.isfinite(row.prediction)]
    scores, labels = ([getattr(row, name) for row in rows] for name in ("prediction", "mos"))
    plot_predictions(scores, labels, score_name, title, out / "predictions.png", result.mapping)


def _group_lines(grouped: "GroupEvaluation", mapping: str) -> list[str]:
    measures = shown_measures(mapping)
    rows = [["", "videos", *(title for _, title in measures)]]
    few_videos, notes = [], []
    for group in grouped.groups:
        few = group.summary.few_videos
        summaries = [getattr(group.summary, name) for name, _ in measures]
        cells = [
            NO_VALUE if isnan(one.mean) else f"{number(one.mean)} ± {number(one.std)} ({number(one.median)})"
            for one in summaries
        ]
        rows.append([group.name, f"{group.videos}{' *' if few else ''}", *cells])
        few_videos += [f"  * {group.name}: {few}"] if few else []
        notes += [f"  note: {group.name}: {note}" for note in group.summary.notes]
    if grouped.ungrouped:
        notes.append(f"  note: {grouped.ungrouped} measured videos are in no group")
    title = f"by {grouped.by}: {grouped.words}; mean ± std (median) over the heads"
    return [title, *aligned(rows), *few_videos, *notes]


_KAPPA = "Weight of FIRST, 0 to 1.  [default: selected on the validation part of each split]"
_MEASURES = "Measure: srocc, krocc, plcc, rmse, plcc_plain, rmse_plain or rmse_calibrated."


@click.command()
@click.argument("runs", metavar="RUN RUN [RUN …]", nargs=-1, required=True, type=PATH)
@option("--measure", default="srocc", help=_MEASURES)
@option("--baseline", type=PATH, help="Run to compare each other run with.  [default: compare all pairs]")
@option("--test", default="t", help="Paired test over the splits: t or wilcoxon.")
@option("--resamples", default=2000, type=IntRange(1), help="Bootstrap samples of each interval.")
@options.json_option
def compare(runs: tuple[Path, ...], json: bool, **settings: Any) -> None:
    """Test whether runs differ by more than chance.

    All runs must have been tested on the same videos. For each pair, the command prints the mean difference
    over the splits, its 95 % bootstrap interval, the p-value of a paired test over the splits, and the
    p-value after Holm's correction for the number of comparisons.

    The bootstrap resamples the test videos of all splits with replacement and measures both runs again,
    without fitting the mappings again, so the interval holds for these splits and these trained heads. Random
    splits of one data set share videos, so a small p over ten splits is weaker evidence than over ten data
    sets.

    \b
    Examples:
      vqafeat compare runs/konvid-resnet50-sub-gru runs/konvid-resnet50-no-time
      vqafeat compare runs/konvid-resnet50-* --baseline runs/konvid-resnet50-no-time --test wilcoxon
    """
    from vqafeat.evaluation.compare import compare_runs

    result = compare_runs(runs, **settings)
    print_result(json, result.as_dict(), _comparison_lines(result))


def _comparison_lines(result: "ComparedRuns") -> Iterator[str]:
    splits = len(next(iter(result.runs.values())).values)
    kind, _, variant = result.measure.partition("_")
    title = f"{kind.upper()}, {variant}" if variant else kind.upper()
    yield f"{title} on '{result.dataset}', {splits} splits"
    rows = [["", "mean", "std", "median", *(name.partition("_")[2] for name in result.shown_too)]]
    few_videos, notes = {}, []
    for name, values in result.runs.items():
        summary = result.summaries[name]
        more = [getattr(summary, other).mean for other in result.shown_too]
        cells = [number(value) for value in (values.mean, values.std, values.median, *more)]
        rows.append([f"{name}{' *' if summary.few_videos else ''}", *cells])
        if summary.few_videos:
            few_videos[f"  * {summary.few_videos}"] = name
        notes += [f"  note: {name}: {note}" for note in summary.notes]
    yield from [*aligned(rows), *few_videos, *notes]

    over = f"mean difference over {splits} split(s), 95 % interval over {result.videos} resampled test videos"
    yield f"{over}; paired test: {result.test}; {len(result.pairs)} comparison(s)"
    rows, notes = [["", "difference", "95 % interval", "p", "p, Holm"]], []
    for pair in result.pairs:
        interval, test = pair.interval, pair.test
        title = f"{pair.first} − {pair.second}"
        difference, low, high = (
            number(value, "+.3f") for value in (interval.difference, interval.low, interval.high)
        )
        ends = NO_VALUE if isnan(interval.low) else f"[{low}, {high}]"
        rows.append([title, difference, ends, number(test.p, ".3g"), number(pair.p_holm, ".3g")])
        notes += [f"  note: {title}: {test.note}"] if test.note else []
        notes += [f"  note: {title}, interval: {interval.note}"] if interval.note else []
    yield from [*aligned(rows), *notes]


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@option("--kappa", type=float, help=_KAPPA)
@option("--mapping", help=f"{options.MAPPING}  [default: that of FIRST]")
@options.json_option
def ensemble(first: Path, second: Path, kappa: float | None, mapping: str | None, json: bool) -> None:
    """Measure the blended scores of two runs on the test parts.

    The blend is kappa · FIRST + (1 − kappa) · SECOND. Both runs must have the same splits.

    \b
    Example:
      vqafeat ensemble runs/konvid-resnet50-sub-gru runs/konvid-resnet50-transformer
    """
    from vqafeat.evaluation.compare import ensemble as blend

    result = blend(first, second, kappa=kappa, mapping=mapping)
    values = {
        **result.summary.as_json(result.tested_videos),
        "kappas": result.kappas,
        "chosen": result.selection,
    }
    kappas = ", ".join(f"{value:.2f}" for value in result.kappas)
    title = f"{first} and {second}: kappa {kappas} ({result.selection})"
    print_result(json, values, [title, *metrics_lines(result.summary, result.mapping)])
