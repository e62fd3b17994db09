"""`vqafeat fit`."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click import IntRange, option

import vqafeat as vf
from vqafeat.remote import StorePath
from vqafeat_cli import options as shared
from vqafeat_cli.console import fit_progress, metrics_lines, print_result
from vqafeat_cli.options import PATH, flag, several

# name of the first parameter of each group of options in the help text → title
_GROUPS = {
    "datasets": "Data",
    "head": "Head",
    "order": "Frames",
    "loss": "Loss [default: from the recipe]",
    "learning_rate": "Training [default: from the recipe]",
    "jobs": "Computing and output",
}
_DATASET = f"Data set in the store; repeat it to train on several.  {shared.ONLY_ONE}"
_START_AT_MEAN = "Whether the scores of the untrained head start at the mean training label."
_FINAL = "After the splits, train one more head on all videos, which `predict` then uses."
_TENSORBOARD = "Write TensorBoard event files to the folder tensorboard in the run folder."
_SHARE = "Share of the training part for validation, if an official split has no validation part."


class _GroupedCommand(click.Command):
    """A command whose help text shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        title, groups = "", defaultdict(list)
        for parameter in self.get_params(ctx):
            title = _GROUPS.get(parameter.name or "", title)
            if (record := parameter.get_help_record(ctx)) is not None:
                groups[title].append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


@click.command(cls=_GroupedCommand)
@several("--dataset", "datasets", metavar="NAME|FILE", help=_DATASET)
@option("--features", metavar="SET[+SET]", help=f"Feature sets, joined by +.  {shared.ONLY_ONE}")
@shared.read_store_options
@flag("--any-features", help="Allow several data sets whose features were computed in different ways.")
@shared.skip_missing_option
@option("--splits", default=10, type=IntRange(1), help="Number of splits; each trains one head.")
@flag("--final", help=_FINAL)
@option("--protocol", default="content", help="How to split: content (grouped), video, stored or official.")
@option("--ratio", default="60/20/20", help="Training/validation/test in percent; 80/20 has no validation.")
@option("--test-part", default="test", help="Test part of an official split: test or test-1080p.")
@option("--validation-share", default=0.2, help=_SHARE)
@option("--mapping", default="logistic-increasing", help=shared.MAPPING)
@option("--head", default="sub-gru", help="Head to train; see `vqafeat list heads`.")
@several("--option", "options", metavar="NAME=VALUE", help="Option of the head; repeatable.")
@option("--recipe", default="default", help="Named set of training settings; see `vqafeat list recipes`.")
@option("--seed", default=0, type=IntRange(0), help="Random seed of the splits and the training.")
@option("--order", default="OO", help="Frame order in training, then testing: O original, S shuffled.")
@option("--sampling", default="all", help="Frames to use of each video; see `vqafeat list samplings`.")
@option("--draws", default=1, help="Random draws of frames over which a test score is averaged.")
@option("--loss", help="Loss, or several joined by +; see `vqafeat list losses`.")
@option("--loss-weight", type=float, help="Weight of the second and later losses.")
@option("--soft-rank", help="Regularization of the soft ranks of the loss srcc: l2 or kl.")
@option("--soft-rank-strength", type=float, help="Regularization strength; smaller is closer to hard ranks.")
@option("--rank-input", help="Score of mdtvsfa heads that ranking losses read: relative, mapped or aligned.")
@option("--label-scaling", help="Scaling of the labels for the loss; see `vqafeat list label-scales`.")
@option("--multi-dataset", help="Loss of several data sets: losses (one per data set) or pooled.")
@option("--learning-rate", type=float, help="Initial learning rate.")
@option("--batch-size", type=int, help="Videos per batch.")
@option("--epochs", type=int, help="Epochs of each split.")
@option("--weight-decay", type=float, help="Decoupled weight decay (AdamW).")
@option("--schedule", help="Schedule of the learning rate: none, cosine or step.")
@option("--decay", type=float, help="Factor at each step of `--schedule step`.")
@option("--decay-every", type=int, help="Epochs between the steps of `--schedule step`.")
@option("--length-bucket-size", type=int, help="Number of batches within which videos are sorted by length.")
@option("--select", help="Part whose SROCC selects the epoch: validation, or test (a note warns of it).")
@option("--start-at-mean/--no-start-at-mean", default=None, help=_START_AT_MEAN)
@option("--pooling", help="Temporal pooling as in the released code or the paper: released or paper.")
@shared.training_options
@shared.cluster_options
@shared.amount_option("--memory", help="Memory for features, such as 8G.  [default: half the free memory]")
@option("--out", type=PATH, help="Run folder to write.  [default: runs/<data set>-<features>-<head>]")
@flag("--tensorboard", help=_TENSORBOARD)
@flag("--overwrite", help="Replace the run in the folder, instead of resuming or refusing it.")
@shared.json_option
def fit(
    datasets: tuple[str, ...],
    store: StorePath,
    cache: int | None,
    features: str | None,
    options: tuple[str, ...],
    jobs: int | None,
    device: str | None,
    memory: int | None,
    any_features: bool,
    out: Path | None,
    overwrite: bool,
    final: bool,
    tensorboard: bool,
    json: bool,
    **values: Any,
) -> None:
    """Train a head on stored features and measure it on the test parts.

    One head is trained per split, and with --final one more on all videos, for use on new ones. The run
    folder holds the resolved configuration, splits, predictions, metrics, weights and training curve. The
    same command resumes a stopped fit, and does not repeat a finished one.

    \b
    Examples:
      vqafeat fit --head sub-gru
      vqafeat fit --head avg-gru --dataset konvid --features resnet50 --protocol stored --recipe vsfa
      vqafeat fit --head sub-gru --final
      vqafeat fit --head sub-gru --loss plcc+srcc --soft-rank-strength 0.01
      vqafeat fit --head sub-gru --dataset konvid --order SS --sampling sample-16
      vqafeat fit --head mdtvsfa --recipe mdtvsfa --dataset konvid --dataset live-vqc
      vqafeat fit --head sub-gru --store s3://bucket/features --dataset lsvq --cache 80G
      vqafeat fit --head a2inet --features iqa-resnet34:stages+resnet50:stages --option fusion=fgin
      vqafeat fit --head sub-gru --dataset lsvq --splits 100 --backend ray --address 10.0.0.1:6379
    """
    from vqafeat.heads.base import options_from_text
    from vqafeat.store.features import only_feature_sets, split_feature_sets
    from vqafeat.training import fit as training
    from vqafeat_cli.stores import local_copies, open_stores

    _refuse_unused(values["protocol"])
    ray = shared.take_cluster(values, {"device": device, "jobs": jobs})
    source = open_stores(store, datasets, any_features)
    known = {item.name for item in fields(vf.FitConfig)}
    config = vf.FitConfig(
        features=features or only_feature_sets(source),
        options=options_from_text(values["head"], options),
        overrides=shared.given({key: value for key, value in values.items() if key not in known}),
        **{key: value for key, value in values.items() if key in known},
    )
    copies = local_copies(source, split_feature_sets(config.features), cache)
    with copies as copied, fit_progress(config.splits, config.epochs, final=final) as progress:
        run = training.fit(
            copied,
            config,
            out or Path("runs") / config.folder_name(source.dataset.name),
            final=final,
            jobs=jobs or min(len(os.sched_getaffinity(0)), config.splits),
            overwrite=overwrite,
            device=device or "cpu",
            memory_bytes=memory,
            reuse=out is None,
            cluster=ray,
            tensorboard=tensorboard,
            progress=progress,
        )
    print_result(json, run.as_json(), _run_lines(run))


def _refuse_unused(protocol: str) -> None:
    """Refuse options that have no effect with the protocol."""
    advice = f"with --protocol {protocol}; leave it out"
    if protocol == "official":
        shared.refuse_unused(["ratio"], advice)
    else:
        shared.refuse_unused(["test_part", "validation_share"], f"{advice}, or use --protocol official")


def _run_lines(run: "vf.Run") -> Iterator[str]:
    from vqafeat.training.frame_sampling import WHOLE_VIDEOS

    config = run.config
    data = f"{config.feature_sets} of {config.dataset}"
    yield f"{config.head} on {data}: {config.splits} splits, {config.split_kind}"
    if config.frame_input != WHOLE_VIDEOS:
        yield f"  frames: {config.frame_input.words}"
    yield from metrics_lines(run.metrics, config.mapping)
    if run.final is not None:
        kind = run.final.config.split_kind
        yield f"final head: {kind}; the metrics above, of the other heads, estimate how good it is"
    yield f"run folder: {run.path}{' (its splits were finished before)' if run.was_finished else ''}"
