"""`vqafeat list`."""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click
from click import Choice, Context, Parameter
from click.shell_completion import CompletionItem
from click.types import StringParamType

from vqafeat.errors import ArgumentError
from vqafeat.io import summarize
from vqafeat.registry import Registry

Rows = Iterable[tuple[str, str]]  # name, and what it is


def _datasets() -> Rows:
    from vqafeat.datasets import load_manifest, manifest_names

    for name in manifest_names():
        manifest = load_manifest(name)
        low, high = manifest.mos_range
        yield name, f"{manifest.title}: {manifest.score_name} {low:g} to {high:g}"


def _backbones() -> Rows:
    from vqafeat.backbones import BACKBONES

    for name in BACKBONES:
        backbone = BACKBONES.get(name)
        clips = f"; {backbone.clips}" if backbone.clips else ""
        for key, variant in backbone.variants.items():
            channels = backbone.row_channels(variant)
            words = f"{channels} channels (GAP ‖ GSP of {', '.join(variant.taps)}){clips}"
            yield f"{name}:{key}" if key else name, words


def _views() -> Rows:
    from vqafeat.backbones.views import FRAME_RULES, VIEWS

    yield from ((f"@{name}", view.described) for name, view in VIEWS.items())
    yield from ((f"@{name}", rule.described) for name, rule in FRAME_RULES.items())


def _image_sets() -> Rows:
    from vqafeat.pretraining.image_sets import IMAGE_SETS

    for name, reader in IMAGE_SETS.items():
        pairs = f"{reader.pairs} pairs" if reader.pairs else "ten pairs per training image"
        yield name, f"{reader.described}; {pairs}"


def _pretraining_recipes() -> Rows:
    from vqafeat.pretraining.config import PREPARATIONS, PRETRAINING_RECIPES

    for name in PRETRAINING_RECIPES:
        recipe = PRETRAINING_RECIPES.get(name)
        head = f", the first {recipe.head_epochs} of the head alone" if recipe.head_epochs else ""
        seen = f"{recipe.crop_side}x{recipe.crop_side}, {PREPARATIONS[recipe.preparation]}"
        yield name, f"Adam {recipe.learning_rate:g}, {recipe.epochs} epochs{head}; {seen}"


def _summaries(module: str, table: str) -> Rows:
    entries = getattr(import_module(f"vqafeat.{module}"), table)
    entries = entries() if callable(entries) else entries
    summaries = entries.summaries() if isinstance(entries, Registry) else entries
    return ((name, getattr(entry, "described", entry)) for name, entry in summaries.items())


_TIMM = "vqafeat.backbones.timm_models:timm_models"
LISTS: dict[str, Callable[[], Rows]] = {
    "datasets": _datasets,
    "backbones": _backbones,
    "views": _views,
    "models": partial(_summaries, "evaluation.models", "MODELS"),
    "heads": partial(_summaries, "heads", "HEADS"),
    "losses": partial(_summaries, "losses", "LOSSES"),
    "label-scales": partial(_summaries, "losses.label_scaling", "LABEL_SCALES"),
    "recipes": partial(_summaries, "training", "RECIPES"),
    "samplings": partial(_summaries, "training", "SAMPLINGS"),
    "orders": partial(_summaries, "training", "ORDERS"),
    "groupings": partial(_summaries, "evaluation", "GROUPINGS"),
    "image-sets": _image_sets,
    "pretraining-recipes": _pretraining_recipes,
    "tables": partial(_summaries, "paper_tables", "table_summaries"),
}


class _Name(StringParamType):
    """A text that the shell completes to the names of a list and of stored data sets, or else to files."""

    def __init__(self, what: str) -> None:
        self._what = what

    def shell_complete(self, ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
        names = [name for name, _ in LISTS[self._what]()]
        if self._what == "datasets":
            names += [path.stem for path in sorted(Path("features").glob("*.zarr")) if path.stem not in names]
        items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return items or [CompletionItem(incomplete, type="file")]


class _RunFolder(click.Path):
    """A path that the shell completes to the folders in runs/ that hold a run, or else to files."""

    def shell_complete(self, ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
        runs = sorted(str(path.parent) for path in Path("runs").glob("*/config.json"))
        items = [CompletionItem(run) for run in runs if run.startswith(incomplete)]
        return items or super().shell_complete(ctx, param, incomplete)


_RUN = _RunFolder(path_type=Path)
# name of a parameter → what the shell completes it to
_COMPLETIONS: "dict[str, click.types.ParamType[Any]]" = {
    **{"head": _Name("heads"), "dataset": _Name("datasets"), "datasets": _Name("datasets")},
    **{"loss": _Name("losses"), "sampling": _Name("samplings"), "names": _Name("tables")},
    **dict.fromkeys(("run", "first", "second", "baseline", "inputs"), _RUN),
}


def complete_names(group: click.Group) -> None:
    """Let the shell complete heads, data sets and runs wherever a command takes one."""
    for command in group.commands.values():
        for parameter in command.params:
            is_runs = parameter.name == "runs" and isinstance(parameter, click.Argument)
            parameter.type = _RUN if is_runs else _COMPLETIONS.get(parameter.name or "", parameter.type)


def _lists() -> Rows:
    for name, rows in LISTS.items():
        names = [entry for entry, _ in rows()]
        yield name, f"{len(names)}: {summarize(names, 3)}"


@click.command(name="list")
@click.argument("what", type=Choice(list(LISTS)), required=False)
@click.option(
    "--timm", metavar="PATTERN", help="With `backbones`: timm's models whose names match, such as conv*."
)
def listing(what: str | None, timm: str | None) -> None:
    """List the names that the options of other commands accept; without an argument, show all lists.

    \b
    Examples:
      vqafeat list datasets
      vqafeat list backbones --timm 'convnext*'
    """
    if timm is not None and what != "backbones":
        raise ArgumentError(f"--timm lists backbones, but the list is '{what}'; leave it out.")
    entries = LISTS[what] if what else _lists
    rows = list(entries() if timm is None else resolve_name(_TIMM)(timm))
    width = max(len(name) for name, _ in rows)
    for name, words in rows:
        click.echo(f"{name:{width}}  {words}")
