"""`vqafeat list`."""

from collections.abc import Callable, Iterable

import click


def _datasets() -> Iterable[tuple[str, str]]:
    from vqafeat.manifest import load_manifest, manifest_names

    for name in manifest_names():
        manifest = load_manifest(name)
        low, high = manifest.mos_range
        yield name, f"{manifest.title}: {manifest.score_name} {low:g} to {high:g}"


def _backbones() -> Iterable[tuple[str, str]]:
    from vqafeat.extraction.backbones import BACKBONES

    for name in BACKBONES:
        backbone = BACKBONES.get(name)
        yield name, f"{2 * backbone.channels} channels (GAP ‖ GSP of {', '.join(backbone.taps)})"


def _heads() -> Iterable[tuple[str, str]]:
    from vqafeat.modeling.heads import HEADS

    return ((name, (HEADS.get(name).__doc__ or "").strip().splitlines()[0]) for name in HEADS)


def _losses() -> Iterable[tuple[str, str]]:
    from vqafeat.modeling.losses import LOSSES

    return ((name, (LOSSES.get(name).__doc__ or "").strip().splitlines()[0]) for name in LOSSES)


def _recipes() -> Iterable[tuple[str, str]]:
    from vqafeat.modeling.recipes import RECIPES

    for name in RECIPES:
        recipe = RECIPES.get(name)
        yield name, f"Adam {recipe.learning_rate:g}, batch {recipe.batch_size}, {recipe.epochs} epochs, {recipe.loss}"


LISTS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "datasets": _datasets,
    "backbones": _backbones,
    "heads": _heads,
    "losses": _losses,
    "recipes": _recipes,
}


@click.command(name="list")
@click.argument("what", type=click.Choice(list(LISTS)))
def listing(what: str) -> None:
    """List the names that other commands take.

    \b
    Example:
      vqafeat list datasets
    """
    for name, words in LISTS[what]():
        click.echo(f"{name:16} {words}")
