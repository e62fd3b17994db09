"""`vqafeat pretrain`."""

from pathlib import Path
from typing import Any

import click

from vqafeat.io import json_text
from vqafeat_cli.options import devices, json_option


@click.command()
@click.option(
    "--backbone", required=True, metavar="NAME", help="Network to train: resnet18, resnet34 or resnet50."
)
@click.option(
    "--images",
    required=True,
    multiple=True,
    metavar="NAME=FOLDER|NAME=FILE.csv",
    help="Labelled images: a known set (`vqafeat list image-sets`) in its folder, or your CSV "
    "(image,mos,std[,content]); repeatable.",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="FILE|imagenet|random[:SEED]",
    help="That training starts from.",
)
@click.option(
    "--pairs",
    multiple=True,
    metavar="NUMBER|NAME=NUMBER",
    help="Pairs to draw, in every set or in one.  [default: the papers' numbers; of other sets ten a "
    "training image]",
)
@click.option(
    "--validation-percent",
    default=20,
    show_default=True,
    help="Of each set's contents, which pairs are not drawn from; 0 for none.",
)
@click.option(
    "--recipe",
    default="li-released",
    show_default=True,
    help="Named set of everything else; `vqafeat list pretraining-recipes`.",
)
@click.option("--learning-rate", type=float, help="Over the recipe's.")
@click.option("--epochs", type=int, help="Of both phases together, over the recipe's.")
@click.option(
    "--head-epochs", type=int, help="First epochs, that train the quality head alone, over the recipe's."
)
@click.option("--batch-size", type=int, help="Pairs a step, over the recipe's.")
@click.option(
    "--head-batch-size", type=int, help="Pairs a step while the head is trained alone, over the recipe's."
)
@click.option("--short-side", type=int, help="Samples that images are made smaller to, over the recipe's.")
@click.option("--crop-side", type=int, help="Samples of the square that is cut out, over the recipe's.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed gives the same file."
)
@click.option(
    "--device",
    metavar="NAME[,NAME…]",
    help="cpu, cuda or cuda:NUMBER; several share each batch.  [default: a GPU where there is one]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Mixed precision below fp32.  [default: fp32 on a CPU, fp16 on a GPU]",
)
@click.option("--workers", type=click.IntRange(0), help="Processes that load images.  [default: one a core]")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Weights file to make, .safetensors; its model card lies beside it.",
)
@click.option("--overwrite", is_flag=True, help="Replace a finished file, and start a stopped run anew.")
@json_option
def pretrain(
    backbone: str,
    images: tuple[str, ...],
    weights: str,
    pairs: tuple[str, ...],
    validation_percent: int,
    recipe: str,
    seed: int,
    device: str | None,
    precision: str | None,
    workers: int | None,
    out: Path,
    overwrite: bool,
    json: bool,
    **overrides: Any,
) -> None:
    """Teach a ResNet image quality on pairs of labelled images, for features that know distortions (UNIQUE;
    Li et al., section III-A).

    A stopped run goes on from its last whole epoch with the same command. The result is the weights of
    `iqa-BACKBONE`.

    \b
    Example:
      vqafeat pretrain --backbone resnet50 --images bid=BID --images clive=ChallengeDB_release --images koniq=koniq10k --images spaq=SPAQ \\
          --out iqa-resnet50.safetensors
      vqafeat extract --dataset konvid --backbone iqa-resnet50 --weights iqa-resnet50=iqa-resnet50.safetensors
    """
    from vqafeat.backbones.network import chosen_precision
    from vqafeat.pretraining.config import PRETRAINING_RECIPES
    from vqafeat.pretraining.data_loading import usual_workers
    from vqafeat.pretraining.image_sets import load_image_set
    from vqafeat.pretraining.images import check_pictures
    from vqafeat.pretraining.pairs import draw_pairs, parse_pairs
    from vqafeat.pretraining.pretrain import PretrainingRequest, prepare_out
    from vqafeat.pretraining.trainer import ComputeOptions
    from vqafeat_cli.console import check_progress, run_shown

    changes = {key: value for key, value in overrides.items() if value is not None}
    chosen = PRETRAINING_RECIPES.get(recipe).overridden(changes)
    where = tuple(devices(device))
    computing = ComputeOptions(
        where, chosen_precision(precision, where[0]), usual_workers() if workers is None else workers
    )
    named, for_all = parse_pairs(pairs)
    sets = draw_pairs(
        [load_image_set(argument) for argument in images],
        named,
        validation_percent,
        seed,
        default_pairs=for_all,
    )
    request = PretrainingRequest(backbone, weights, sets, chosen, seed, computing, out)
    prepare_out(out, overwrite)
    paths = [image.path for item in sets for image in item.image_set.images]
    with check_progress(len(paths)) as on_checked:
        check_pictures(paths, max(computing.workers, 1), on_checked)
    made = run_shown(request)
    if json:
        found = {
            "file": str(made.out),
            "card": str(made.card),
            "network": made.backbone,
            "weights_sha256": made.weights_sha256,
        }
        click.echo(
            json_text(
                {
                    **found,
                    "kept_epoch": made.result.kept_epoch,
                    "curve": [record.as_dict() for record in made.result.curve],
                }
            )
        )
        return
    click.echo(
        f"{made.out}: {made.backbone}, epoch {made.result.kept_epoch} kept: {made.result.kept_because}"
    )
    click.echo(f"digest of its feature sets: {made.weights_sha256}")
    click.echo(f"model card: {made.card}")
