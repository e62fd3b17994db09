"""`vqafeat fit`."""

import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.options import (
    cache_option,
    cluster,
    cluster_options,
    datasets_option,
    json_option,
    split_options,
    store_option,
)

if TYPE_CHECKING:
    from vqafeat.training.run import Run


@click.command()
@click.option(
    "--head", default="sub-gru", show_default=True, help="Head to train; `vqafeat list heads` names them."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the head, as fusion=concat; may be given several times.",
)
@datasets_option
@click.option(
    "--features",
    metavar="SET[+SET]",
    help="Feature sets to train on, fused with +.  [default: the only one in the store]",
)
@store_option
@cache_option
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    help="Named set of everything that decides training; `vqafeat list recipes`.",
)
@click.option(
    "--loss",
    metavar="LOSS[+LOSS]",
    help="Loss, or several joined by +, over the recipe's; `vqafeat list losses`.",
)
@click.option(
    "--loss-weight", type=float, help="Of the second and later losses joined by +, over the recipe's."
)
@click.option("--soft-rank", help="Regularisation of srcc's soft ranks (l2, kl), over the recipe's.")
@click.option(
    "--soft-rank-strength", type=float, help="Of that regularisation: small ranks truly, over the recipe's."
)
@click.option(
    "--select",
    help="Part whose SROCC chooses the epoch: validation, or test to repeat such a table; metrics are then "
    "marked.",
)
@click.option(
    "--mixing",
    help="Of several data sets: losses (one each, combined) or pooled (as one data set), over the recipe's.",
)
@click.option("--ranks-read", help="Score that losses of order read: relative or mapped, over the recipe's.")
@click.option(
    "--label-scale",
    help="What labels become before a loss sees them, over the recipe's; `vqafeat list label-scales`.",
)
@click.option("--pooling", help="Temporal pooling variant (released, paper), over the recipe's.")
@click.option("--learning-rate", type=float, help="Over the recipe's.")
@click.option("--batch-size", type=int, help="Videos a step, over the recipe's.")
@click.option("--epochs", type=int, help="Over the recipe's.")
@click.option("--weight-decay", type=float, help="Over the recipe's.")
@click.option("--schedule", help="Of the learning rate: none, cosine or step, over the recipe's.")
@click.option("--decay", type=float, help="Factor of the schedule step, over the recipe's.")
@click.option("--decay-every", type=int, help="Epochs between its steps, over the recipe's.")
@click.option(
    "--bucket-batches",
    type=int,
    help="Sort this many batches' worth of videos by length at a time, over the recipe's.",
)
@click.option(
    "--order",
    default="OO",
    show_default=True,
    help="O original, S shuffled: first letter training, second testing.",
)
@click.option(
    "--sampling",
    default="all",
    show_default=True,
    help="Frames that are taken, before any shuffle; `vqafeat list samplings`.",
)
@click.option(
    "--draws", default=1, show_default=True, help="Draws of random frames that a test score is the mean of."
)
@click.option(
    "--splits",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Number of splits, each with a head of its own.",
)
@click.option(
    "--protocol",
    default="content",
    show_default=True,
    help="How splits are drawn: content (grouped), video, stored or official.",
)
@click.option(
    "--ratio",
    default="60/20/20",
    show_default=True,
    help="Training/validation/test share; 80/20 has no validation part.",
)
@click.option(
    "--test-part", default="test", show_default=True, help="Of an official split: test or test-1080p."
)
@click.option(
    "--validation-share",
    default=0.2,
    show_default=True,
    help="Of an official training part without a validation part.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed gives the same run."
)
@click.option(
    "--mapping",
    default="logistic-increasing",
    show_default=True,
    help="Before PLCC and RMSE: logistic-increasing, logistic, logistic-li or none.",
)
@click.option(
    "--jobs", type=click.IntRange(1), help="Processes that share the splits.  [default: the number of cores]"
)
@click.option(
    "--device", help="Where heads train, as PyTorch names it; several share the splits: A,B.  [default: cpu]"
)
@cluster_options
@click.option(
    "--memory",
    metavar="AMOUNT",
    help="Largest features to hold in memory, for example 8G.  [default: half of what is free]",
)
@click.option("--skip-missing", is_flag=True, help="Leave out videos without complete features.")
@click.option(
    "--any-features",
    is_flag=True,
    help="Of several data sets: allow features that were computed differently.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/<data set>-<features>-<head>]"
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace the run in the folder, instead of going on with it or refusing another one.",
)
@json_option
def fit(
    datasets: tuple[str, ...],
    store: StorePath,
    cache: str | None,
    features: str | None,
    options: tuple[str, ...],
    jobs: int | None,
    device: str | None,
    backend: str,
    memory: str | None,
    any_features: bool,
    out: Path | None,
    overwrite: bool,
    json: bool,
    **values: Any,
) -> None:
    """Train a head on stored features, once for each split, and measure it on the test parts.

    The run folder keeps the resolved configuration, splits, predictions, metrics, weights and curve. The same
    command again resumes a fit that was stopped, and does not repeat one that is finished. Several data sets
    are trained on together, each with its own loss.

    \b
    Examples:
      vqafeat fit --head sub-gru
      vqafeat fit --head avg-gru --dataset konvid --features resnet50 --protocol stored --recipe vsfa
      vqafeat fit --head sub-gru --loss plcc+srcc --soft-rank-strength 0.01
      vqafeat fit --head sub-gru --dataset konvid --order SS --sampling sample-16 --out runs/konvid-shuffled
      vqafeat fit --head mdtvsfa --recipe mdtvsfa --dataset konvid --dataset live-vqc --features resnet50
      vqafeat fit --head sub-gru --store s3://bucket/features --dataset lsvq --cache 80G
      vqafeat fit --head a2inet --features iqa-resnet34:stages+resnet50:stages --option fusion=fgin --option catm=no
      vqafeat fit --head sub-gru --dataset lsvq --splits 100 --backend ray --address 10.0.0.1:6379
    """
    from vqafeat.heads.base import options_from_text
    from vqafeat.system import parse_bytes
    from vqafeat.training import fit as training
    from vqafeat.training.config import FitConfig
    from vqafeat_cli.console import fit_progress
    from vqafeat_cli.stores import chosen_features, open_stores, with_local_copies

    cluster_values, values = split_options(values)
    ray = cluster(backend, cluster_values, {"device": device, "jobs": jobs})
    source = open_stores(store, datasets, any_features)
    known = {item.name for item in fields(FitConfig)}
    config = FitConfig(
        features=chosen_features(source, features),
        options=options_from_text(values["head"], options),
        overrides={key: value for key, value in values.items() if key not in known and value is not None},
        **{key: value for key, value in values.items() if key in known},
    )
    with ExitStack() as stack, fit_progress(config.splits, config.epochs) as progress:
        run = training.fit(
            with_local_copies(stack, source, config.features, cache),
            config,
            out or Path("runs") / config.folder_name(source.dataset.name),
            jobs=jobs or min(len(os.sched_getaffinity(0)), config.splits),
            overwrite=overwrite,
            device=device or "cpu",
            memory_bytes=None if memory is None else parse_bytes(memory),
            reuse=out is None,
            cluster=ray,
            progress=progress,
        )
    if json:
        click.echo(json_text(run.metrics.as_dict()))
    else:
        _print_run(run)


def _print_run(run: "Run") -> None:
    from vqafeat.training.frame_sampling import WHOLE_VIDEOS
    from vqafeat_cli.console import metrics_lines

    config = run.config
    click.echo(
        f"{config.head} on {config.feature_sets} of {config.dataset}: {config.splits} splits, {config.split_kind}"
    )
    if config.frame_input != WHOLE_VIDEOS:
        click.echo(f"  frames: {config.frame_input.words}")
    for line in metrics_lines(run.metrics, config.mapping):
        click.echo(line)
    click.echo(f"run folder: {run.path}{' (finished before, not repeated)' if run.found else ''}")
