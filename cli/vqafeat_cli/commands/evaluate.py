"""`vqafeat evaluate`."""

from pathlib import Path

import click

from vqafeat.json_text import json_text
from vqafeat_cli.options import dataset_option, json_option, store_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@dataset_option(required=False)
@store_option
@click.option("--mapping", help="Before PLCC and RMSE: logistic, logistic-li or none.  [default: the run's own]")
@click.option("--skip-missing", is_flag=True, help="Leave out videos without complete features.")
@click.option("--any-features", is_flag=True, help="Allow features that were made otherwise than those of the training.")
@click.option("--order", help="As in `fit`, with the run's first letter: O or S in testing.  [default: the run's own]")
@click.option("--sampling", help="Frames that are taken; `vqafeat list samplings`.  [default: the run's own]")
@click.option("--draws", type=int, help="Draws of random frames that a score is the mean of.  [default: the run's own]")
@json_option
def evaluate(
    run: Path,
    dataset: str | None,
    store: Path,
    mapping: str | None,
    skip_missing: bool,
    any_features: bool,
    json: bool,
    **frames: str | int | None,
) -> None:
    """Measure a run on a data set of the store.

    On the data set it was trained on, each head is measured on the test part of its own split; on another one, each head on all videos.

    \b
    Examples:
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset live-vqc
      vqafeat evaluate runs/konvid-resnet50-sub-gru --dataset konvid --order OS --draws 10
    """
    from vqafeat.modeling import evaluating
    from vqafeat.modeling.summary import MEASURES
    from vqafeat_cli.datasets import open_store
    from vqafeat_cli.fit_report import metrics_lines

    found = evaluating.evaluate(
        run,
        open_store(store, dataset),
        mapping=mapping,
        skip_missing=skip_missing,
        any_features=any_features,
        frame_changes={key: value for key, value in frames.items() if value is not None},
    )
    if json:
        means = {name: getattr(found.summary, name).mean for name in MEASURES}
        videos = len({row.video for row in found.predictions})
        click.echo(json_text({**means, "n": videos, "heads": len(found.summary.n), "notes": found.summary.notes}))
        return
    click.echo(f"{run} on {found.measured_on}; mean over {len(found.summary.n)} heads")
    for line in metrics_lines(found.summary):
        click.echo(line)
