"""`vqafeat evaluate`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.options import cache_option, dataset_option, json_option, store_option

if TYPE_CHECKING:
    from vqafeat.evaluation.groups import GroupEvaluation
    from vqafeat.training.results import MetricsSummary


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@dataset_option(required=False)
@store_option
@cache_option
@click.option(
    "--mapping",
    help="Before PLCC and RMSE: logistic-increasing, logistic, logistic-li or none.  [default: the run's "
    "own]",
)
@click.option("--skip-missing", is_flag=True, help="Leave out videos without complete features.")
@click.option(
    "--any-features",
    is_flag=True,
    help="Allow features that were computed differently than those of the training.",
)
@click.option(
    "--order", help="As in `fit`, with the run's first letter: O or S in testing.  [default: the run's own]"
)
@click.option("--sampling", help="Frames that are taken; `vqafeat list samplings`.  [default: the run's own]")
@click.option(
    "--draws", type=int, help="Draws of random frames that a score is the mean of.  [default: the run's own]"
)
@click.option(
    "--videos",
    "part",
    metavar="PART",
    help="Measure each head on all videos of an official part, as test-1080p, instead.",
)
@click.option(
    "--by",
    metavar="GROUPING|FILE.csv",
    help="Also measure each group of videos; `vqafeat list groupings`, or a CSV video,group.",
)
@click.option(
    "--quality-threshold",
    type=float,
    help="Label that --by quality parts low and high at; Li et al. take 3.5536 of 1 to 5.  [default: middle "
    "of the data set's range]",
)
@json_option
def evaluate(
    run: Path,
    dataset: str | None,
    store: StorePath,
    cache: str | None,
    mapping: str | None,
    skip_missing: bool,
    any_features: bool,
    part: str | None,
    by: str | None,
    quality_threshold: float | None,
    json: bool,
    **frames: str | int | None,
) -> None:
    """Measure a run on a data set of the store.

    On the data set it was trained on, each head is measured on the test part of its own split; on another
    one, each head on all videos. --videos takes all videos of an official part instead, of which no head may
    have been trained or validated on any.

    \b
    Examples:
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset live-vqc --by resolution
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset konvid --order OS --draws 10
      vqafeat evaluate runs/lsvq-resnet50-sub-gru --dataset lsvq --videos test-1080p
    """
    from vqafeat.evaluation import evaluate, groups
    from vqafeat_cli.console import metrics_lines
    from vqafeat_cli.stores import open_store, with_local_copies

    if quality_threshold is not None and by is None:
        raise click.UsageError("--quality-threshold parts the groups of --by quality; give both.")
    if by is not None:
        groups.check_grouping(by, quality_threshold)
    feature_store = open_store(store, dataset)
    with ExitStack() as stack:
        found = evaluate.evaluate(
            run,
            with_local_copies(stack, feature_store, evaluate.feature_sets_of(run), cache),
            mapping=mapping,
            skip_missing=skip_missing,
            any_features=any_features,
            frame_changes={key: value for key, value in frames.items() if value is not None},
            part=part,
        )
    grouped = (
        groups.evaluate_groups(found, feature_store, by, quality_threshold=quality_threshold) if by else None
    )
    if json:
        videos = len({row.video for row in found.predictions})
        click.echo(
            json_text({**_as_json(found.summary, videos), **(_groups_as_json(grouped) if grouped else {})})
        )
        return
    click.echo(f"{run} on {found.measured_on}; mean over {len(found.summary.n)} heads")
    for line in [
        *metrics_lines(found.summary, found.mapping),
        *(_group_lines(grouped, found.mapping) if grouped else []),
    ]:
        click.echo(line)


def _as_json(summary: "MetricsSummary", videos: int) -> dict[str, Any]:
    from vqafeat.training.results import EVERY_MEASURE

    means = {name: getattr(summary, name).mean for name in EVERY_MEASURE}
    medians = {name: getattr(summary, name).median for name in EVERY_MEASURE}
    counts = {"n": videos, "heads": len(summary.n), "few_videos": bool(summary.few_videos)}
    return {**means, "medians": medians, **counts, "notes": summary.notes}


def _groups_as_json(grouped: "GroupEvaluation") -> dict[str, Any]:
    groups = {group.name: _as_json(group.summary, group.videos) for group in grouped.groups}
    return {"by": grouped.by, "groups": groups, "ungrouped": grouped.ungrouped}


def _group_lines(grouped: "GroupEvaluation", mapping: str) -> list[str]:
    from vqafeat_cli.console import aligned, shown_measures, spread_cell

    shown = shown_measures(mapping)
    rows = [("", "videos", *(words for _, words in shown))]
    for group in grouped.groups:
        few = " *" if group.summary.few_videos else ""
        rows.append(
            (
                group.name,
                f"{group.videos}{few}",
                *(spread_cell(getattr(group.summary, name)) for name, _ in shown),
            )
        )
    notes = [f"{group.name}: {note}" for group in grouped.groups for note in group.summary.notes]
    few_videos = [
        f"  * {group.name}: {group.summary.few_videos}"
        for group in grouped.groups
        if group.summary.few_videos
    ]
    notes += [f"{grouped.ungrouped} measured videos are in no group"] if grouped.ungrouped else []
    title = f"by {grouped.by}: {grouped.words}; mean ± std (median) over the heads"
    return [title, *aligned(rows), *few_videos, *(f"  note: {note}" for note in notes)]
