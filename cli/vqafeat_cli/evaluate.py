"""`vqafeat evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import option

from vqafeat.io import json_text
from vqafeat.remote import parse_path
from vqafeat_cli import options
from vqafeat_cli.options import PATH, flag

if TYPE_CHECKING:
    from vqafeat.evaluation.groups import GroupEvaluation
    from vqafeat.training.results import MetricsSummary

_OWN = "[default: that of the run]"
_BY = "Also measure groups of videos; see `vqafeat list groupings`, or give a CSV video,group."
_THRESHOLD = "Label between low and high for --by quality.  [default: middle of the data set's range]"


@click.command()
@click.argument("run", type=PATH)
@options.stored_dataset_option
@options.store_option
@options.cache_option
@option("--mapping", help=f"{options.MAPPING}  {_OWN}")
@flag("--skip-missing", help="Leave out videos without complete features.")
@flag("--any-features", help="Allow features that were computed differently from those in training.")
@option("--order", help=f"Order of the frames, as in `fit`; same first letter as the run.  {_OWN}")
@option("--sampling", help=f"Frames to use of each video; see `vqafeat list samplings`.  {_OWN}")
@option("--draws", type=int, help=f"Random draws of frames to average over.  {_OWN}")
@option("--part", help="Measure all videos of this official part, such as test-1080p.")
@option("--by", metavar="GROUPING|FILE.csv", help=_BY)
@option("--quality-threshold", type=float, help=_THRESHOLD)
@options.json_option
def evaluate(
    run: Path,
    dataset: str | None,
    store: str,
    storage_options: tuple[str, ...],
    cache: int | None,
    mapping: str | None,
    skip_missing: bool,
    any_features: bool,
    part: str | None,
    by: str | None,
    quality_threshold: float | None,
    json: bool,
    **frames: str | int | None,
) -> None:
    """Measure the heads of a run on a data set of the store.

    On the data set of the run, each head is measured on the test part of its split; on another data set, on
    all videos. With --part, heads that were trained or validated on any of its videos are refused. Li et al.
    use --quality-threshold 3.5536 on a scale of 1 to 5.

    \b
    Examples:
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset live-vqc --by resolution
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset konvid --order OS --draws 10
      vqafeat evaluate runs/lsvq-resnet50-sub-gru --dataset lsvq --part test-1080p
    """
    from vqafeat.evaluation import evaluate, groups
    from vqafeat.store.features import split_feature_sets
    from vqafeat.training.run import Run
    from vqafeat_cli.console import metrics_lines
    from vqafeat_cli.stores import local_copies, open_store

    if quality_threshold is not None and by is None:
        raise click.UsageError("--quality-threshold divides the groups of --by quality; give both.")
    if by is not None:
        groups.check_grouping(by, quality_threshold)
    source = open_store(parse_path(store, storage_options), dataset)
    allowed = {"skip_missing": skip_missing, "any_features": any_features}
    with local_copies(source, split_feature_sets(Run(run).config.feature_sets), cache) as copy:
        changes = {name: value for name, value in frames.items() if value is not None}
        result = evaluate.evaluate(run, copy, mapping=mapping, part=part, frame_changes=changes, **allowed)
    grouped = groups.evaluate_groups(result, source, by, quality_threshold=quality_threshold) if by else None
    if json:
        values = _as_json(result.summary, len({row.video for row in result.predictions}))
        if grouped is not None:
            own = {group.name: _as_json(group.summary, group.videos) for group in grouped.groups}
            values |= {"by": grouped.by, "groups": own, "ungrouped": grouped.ungrouped}
        click.echo(json_text(values))
        return
    click.echo(f"{run} on {result.measured_on}; mean over {len(result.summary.n)} heads")
    for line in metrics_lines(result.summary, result.mapping):
        click.echo(line)
    for line in _group_lines(grouped, result.mapping) if grouped else []:
        click.echo(line)


def _as_json(summary: "MetricsSummary", videos: int) -> dict[str, Any]:
    from vqafeat.training.results import EVERY_MEASURE

    means = {name: getattr(summary, name).mean for name in EVERY_MEASURE}
    medians = {name: getattr(summary, name).median for name in EVERY_MEASURE}
    counts = {"n": videos, "heads": len(summary.n), "few_videos": bool(summary.few_videos)}
    return {**means, "medians": medians, **counts, "notes": summary.notes}


def _group_lines(grouped: "GroupEvaluation", mapping: str) -> list[str]:
    from vqafeat_cli.console import aligned, shown_measures, summary_cell

    measures = shown_measures(mapping)
    rows = [["", "videos", *(title for _, title in measures)]]
    few_videos, notes = [], []
    for group in grouped.groups:
        few = group.summary.few_videos
        cells = [summary_cell(getattr(group.summary, name)) for name, _ in measures]
        rows.append([group.name, f"{group.videos}{' *' if few else ''}", *cells])
        few_videos += [f"  * {group.name}: {few}"] if few else []
        notes += [f"  note: {group.name}: {note}" for note in group.summary.notes]
    if grouped.ungrouped:
        notes.append(f"  note: {grouped.ungrouped} measured videos are in no group")
    title = f"by {grouped.by}: {grouped.words}; mean ± std (median) over the heads"
    return [title, *aligned(rows), *few_videos, *notes]
