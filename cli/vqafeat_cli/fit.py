"""`vqafeat fit`."""

import os
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import click
from click import IntRange, option

import vqafeat as vf
from vqafeat.io import json_text
from vqafeat.remote import parse_path
from vqafeat_cli import options as shared
from vqafeat_cli.options import PATH, flag, several

# values of the recipe: option, type, help
_RECIPE_OPTIONS: dict[str, list[tuple[str, type, str]]] = {
    "Loss, over the recipe's": [
        ("--loss", str, "Loss, or several joined by +; `vqafeat list losses`."),
        ("--loss-weight", float, "Of the second and later losses joined by +."),
        ("--soft-rank", str, "Regularisation of srcc's soft ranks: l2 or kl."),
        ("--soft-rank-strength", float, "Of that regularisation: small ranks truly."),
        ("--rank-input", str, "Score that losses of order read: relative or mapped."),
        ("--label-scaling", str, "What labels become before a loss sees them; `vqafeat list label-scales`."),
        ("--multi-dataset", str, "Of several data sets: losses (one each, combined) or pooled (as one)."),
    ],
    "Training, over the recipe's": [
        ("--learning-rate", float, "At the start."),
        ("--batch-size", int, "Videos a step."),
        ("--epochs", int, "Passes over the training part."),
        ("--weight-decay", float, "Decoupled from the gradient (AdamW)."),
        ("--schedule", str, "Of the learning rate: none, cosine or step."),
        ("--decay", float, "Factor of the schedule step."),
        ("--decay-every", int, "Epochs between its steps."),
        ("--length-bucket-size", int, "Sort this many batches' worth of videos by length at a time."),
        ("--select", str, "Part whose SROCC selects the epoch: validation; or test, which marks metrics."),
        ("--start-at-mean/--no-start-at-mean", bool, "First scores at the mean training label, or not."),
        ("--pooling", str, "Temporal pooling variant: released or paper."),
    ],
}
_RECIPE = list(chain(*_RECIPE_OPTIONS.values()))
# the other options, by their parameters
_GROUPS = {
    "Data": [
        *("datasets", "features", "store", "storage_options", "cache", "any_features", "skip_missing"),
        *("splits", "protocol", "ratio", "test_part", "validation_share", "mapping"),
    ],
    "Head": ["head", "options", "recipe", "seed"],
    "Frames": ["order", "sampling", "draws"],
}


class _GroupedCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {item.name: item.get_help_record(ctx) for item in self.get_params(ctx)}
        groups = dict(_GROUPS)
        for title, options in _RECIPE_OPTIONS.items():
            groups[title] = [name.split("/")[0][2:].replace("-", "_") for name, *_ in options]
        groups["Computing and output"] = [name for name in records if name not in chain(*groups.values())]
        for title, names in groups.items():
            with formatter.section(title):
                formatter.write_dl([record for name in names if (record := records[name]) is not None])


@click.command(cls=_GroupedCommand)
@option("--head", default="sub-gru", help="Head to train; `vqafeat list heads` names them.")
@several("--option", "options", metavar="NAME=VALUE", help="Head's option, as fusion=concat; repeatable.")
@shared.datasets_option
@option("--features", metavar="SET[+SET]", help=f"Feature sets, fused with +.  {shared.ONLY_ONE}")
@shared.store_option
@shared.cache_option
@option("--recipe", default="default", help="Everything that decides training; `vqafeat list recipes`.")
@shared.together(*(option(name, type=kind, default=None, help=words) for name, kind, words in _RECIPE))
@option("--order", default="OO", help="O original, S shuffled: first letter training, second testing.")
@option("--sampling", default="all", help="Frames that are taken before a shuffle; `vqafeat list samplings`.")
@option("--draws", default=1, help="Draws of random frames that a test score is the mean of.")
@option("--splits", default=10, type=IntRange(1), help="Number of splits, each with its own head.")
@option("--protocol", default="content", help="How to split: content (grouped), video, stored or official.")
@option("--ratio", default="60/20/20", help="Training/validation/test share; 80/20 has no validation part.")
@option("--test-part", default="test", help="Of an official split: test or test-1080p.")
@option("--validation-share", default=0.2, help="Of an official training part without a validation part.")
@option("--seed", default=0, type=IntRange(0), help="The same seed gives the same run.")
@option("--mapping", default="logistic-increasing", help=f"Before PLCC and RMSE: {shared.MAPPINGS}.")
@shared.jobs_option
@option("--device", help="Where heads train, as PyTorch names it; A,B share the splits.  [default: cpu]")
@shared.cluster_options
@shared.amount_option("--memory", "Most features in memory, such as 8G.  [default: half of what is free]")
@flag("--skip-missing", help="Leave out videos without complete features.")
@flag("--any-features", help="Of several data sets: allow features that were computed differently.")
@option("--out", type=PATH, help="Run folder.  [default: runs/<data set>-<features>-<head>]")
@flag("--overwrite", help="Replace the run in the folder, instead of resuming it or refusing another one.")
@shared.json_option
def fit(
    datasets: tuple[str, ...],
    store: str,
    storage_options: tuple[str, ...],
    cache: int | None,
    features: str | None,
    options: tuple[str, ...],
    jobs: int | None,
    device: str | None,
    memory: int | None,
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
      vqafeat fit --head a2inet --features iqa-resnet34:stages+resnet50:stages --option fusion=fgin
      vqafeat fit --head sub-gru --dataset lsvq --splits 100 --backend ray --address 10.0.0.1:6379
    """
    from vqafeat.heads.base import options_from_text
    from vqafeat.store.features import split_feature_sets
    from vqafeat.training import fit as training
    from vqafeat_cli.console import fit_progress
    from vqafeat_cli.stores import local_copies, open_stores, selected_features

    ray = shared.take_cluster(values, {"device": device, "jobs": jobs})
    source = open_stores(parse_path(store, storage_options), datasets, any_features)
    known = {item.name for item in fields(vf.FitConfig)}
    config = vf.FitConfig(
        features=selected_features(source, features),
        options=options_from_text(values["head"], options),
        overrides={key: value for key, value in values.items() if key not in known and value is not None},
        **{key: value for key, value in values.items() if key in known},
    )
    copies = local_copies(source, split_feature_sets(config.features), cache)
    with copies as copied, fit_progress(config.splits, config.epochs) as progress:
        run = training.fit(
            copied,
            config,
            out or Path("runs") / config.folder_name(source.dataset.name),
            jobs=jobs or min(len(os.sched_getaffinity(0)), config.splits),
            overwrite=overwrite,
            device=device or "cpu",
            memory_bytes=memory,
            reuse=out is None,
            cluster=ray,
            progress=progress,
        )
    if json:
        click.echo(json_text(run.metrics.as_dict()))
    else:
        _print_run(run)


def _print_run(run: "vf.Run") -> None:
    from vqafeat.training.frame_sampling import WHOLE_VIDEOS
    from vqafeat_cli.console import metrics_lines

    config = run.config
    data = f"{config.feature_sets} of {config.dataset}"
    click.echo(f"{config.head} on {data}: {config.splits} splits, {config.split_kind}")
    if config.frame_input != WHOLE_VIDEOS:
        click.echo(f"  frames: {config.frame_input.words}")
    click.echo("\n".join(metrics_lines(run.metrics, config.mapping)))
    click.echo(f"run folder: {run.path}{' (finished before, not repeated)' if run.was_finished else ''}")
