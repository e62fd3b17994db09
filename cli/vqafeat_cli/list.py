"""`vqafeat list`."""

from collections.abc import Callable, Iterable

import click
from click import Choice


def _datasets() -> Iterable[tuple[str, str]]:
    from vqafeat.datasets import load_manifest, manifest_names

    for name in manifest_names():
        manifest = load_manifest(name)
        low, high = manifest.mos_range
        yield name, f"{manifest.title}: {manifest.score_name} {low:g} to {high:g}"


def _backbones() -> Iterable[tuple[str, str]]:
    from vqafeat.backbones import BACKBONES

    for name in BACKBONES:
        backbone = BACKBONES.get(name)
        for key, variant in backbone.variants.items():
            width = 2 * sum(backbone.channels[tap] for tap in variant.taps)
            clips = f"; {backbone.clips}" if backbone.clips else ""
            yield (
                f"{name}:{key}" if key else name,
                f"{width} channels (GAP ‖ GSP of {', '.join(variant.taps)}){clips}",
            )


def _views() -> Iterable[tuple[str, str]]:
    from vqafeat.backbones.views import FRAME_RULES, VIEWS

    yield from ((f"@{name}", VIEWS[name].described) for name in VIEWS)
    yield from ((f"@{name}", FRAME_RULES[name].described) for name in FRAME_RULES)


def _heads() -> Iterable[tuple[str, str]]:
    from vqafeat.heads import HEADS

    return HEADS.summaries().items()


def _losses() -> Iterable[tuple[str, str]]:
    from vqafeat.losses import LOSSES

    return LOSSES.summaries().items()


def _label_scales() -> Iterable[tuple[str, str]]:
    from vqafeat.losses.label_scaling import LABEL_SCALES

    return ((name, scale.described) for name, scale in LABEL_SCALES.items())


def _recipes() -> Iterable[tuple[str, str]]:
    from vqafeat.training import RECIPES

    return RECIPES.summaries().items()


def _samplings() -> Iterable[tuple[str, str]]:
    from vqafeat.training import SAMPLINGS

    return SAMPLINGS.items()


def _orders() -> Iterable[tuple[str, str]]:
    from vqafeat.training import ORDERS

    return ORDERS.items()


def _groupings() -> Iterable[tuple[str, str]]:
    from vqafeat.evaluation import GROUPINGS

    return GROUPINGS.summaries().items()


def _image_sets() -> Iterable[tuple[str, str]]:
    from vqafeat.pretraining.image_sets import IMAGE_SETS

    for name, reader in IMAGE_SETS.items():
        yield (
            name,
            f"{reader.described}; "
            f"{f'{reader.pairs} pairs' if reader.pairs else 'ten pairs a training image'}",
        )


def _pretraining_recipes() -> Iterable[tuple[str, str]]:
    from vqafeat.pretraining.config import PREPARATIONS, PRETRAINING_RECIPES

    for name in PRETRAINING_RECIPES:
        recipe = PRETRAINING_RECIPES.get(name)
        head = f", the first {recipe.head_epochs} of the head alone" if recipe.head_epochs else ""
        seen = f"{recipe.crop_side}x{recipe.crop_side}, {PREPARATIONS[recipe.preparation]}"
        yield name, f"Adam {recipe.learning_rate:g}, {recipe.epochs} epochs{head}; {seen}"


def _tables() -> Iterable[tuple[str, str]]:
    from vqafeat.paper_tables import table_summaries

    return table_summaries().items()


_FUNCTIONS = (
    *(_datasets, _backbones, _views, _heads, _losses, _label_scales, _recipes, _samplings, _orders),
    *(_groupings, _image_sets, _pretraining_recipes, _tables),
)
LISTS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    function.__name__[1:].replace("_", "-"): function for function in _FUNCTIONS
}


@click.command(name="list")
@click.argument("what", type=Choice(list(LISTS)))
def listing(what: str) -> None:
    """List the names that other commands take.

    \b
    Example:
      vqafeat list datasets
    """
    rows = list(LISTS[what]())
    width = max(len(name) for name, _ in rows)
    for name, words in rows:
        click.echo(f"{name:{width}}  {words}")
