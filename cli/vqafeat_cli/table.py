"""`vqafeat table`."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqafeat.io import json_text
from vqafeat.remote import StorePath
from vqafeat_cli.options import (
    FINISHED_WITH_FAILURES,
    cache_option,
    json_option,
    store_option,
    weights_option,
)

if TYPE_CHECKING:
    from vqafeat.paper_tables.run import TableResult
    from vqafeat.paper_tables.sources import FeatureStores
    from vqafeat.paper_tables.table import PaperTable


_ENDINGS = {"md": "md", "latex": "tex", "csv": "csv", "html": "html", "json": "json"}


@click.command()
@click.argument("names", metavar="NAME [NAME …]", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All tables, in the order of `vqafeat list tables`.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Fill only what this data set allows, or several; demo stands in for every one, small and quick.  "
    "[default: all of the store]",
)
@store_option
@cache_option
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Folder of run folders, where finished runs are found.  [default: runs]",
)
@click.option(
    "--recorded",
    type=click.Path(path_type=Path),
    help="Fill the table from recorded predictions (.npz) instead of training.",
)
@click.option(
    "--format",
    "form",
    default="md",
    show_default=True,
    help="md, latex (with booktabs), csv (one line a cell) or html.",
)
@click.option(
    "--check",
    "checks",
    is_flag=True,
    help="End with exit code 3 where a difference is beyond the table's stated tolerance.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write one file a table to, instead of standard output.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    help="Folder to draw the papers' figures to, as PNG; tables have none.",
)
@click.option(
    "--images",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Images of li-figure-3: imagenet, bid, clive, koniq, spaq. Repeat for each.",
)
@weights_option
@click.option("--skip-missing", is_flag=True, help="Do with the videos that have complete features.")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Processes that share the splits of a fit.  [default: the number of cores]",
)
@click.option("--device", default="cpu", show_default=True, help="Where heads train, as PyTorch names it.")
@json_option
def table(
    names: tuple[str, ...],
    every: bool,
    datasets: tuple[str, ...],
    store: StorePath,
    cache: str | None,
    runs: Path | None,
    recorded: Path | None,
    form: str,
    checks: bool,
    out: Path | None,
    plots: Path | None,
    images: tuple[str, ...],
    weights: tuple[str, ...],
    skip_missing: bool,
    jobs: int | None,
    device: str,
    json: bool,
) -> int:
    """Fill tables of the papers: run what the store allows, put measured beside published, say what is
    missing and how to make it.

    NAME is one of `vqafeat list tables`, or the path of one's own .toml. Runs that are finished are found and
    not repeated.

    \b
    Examples:
      vqafeat table fontanel-1
      vqafeat table li-14 --dataset demo --format latex
      vqafeat table li-3 --recorded li2022_predictions.npz --check
      vqafeat table li-figure-3 --images imagenet=sample/ --images koniq=koniq10k/ --plots plots/
    """
    from vqafeat.paper_tables.figures import plot_table
    from vqafeat.paper_tables.fits import FitCache
    from vqafeat.paper_tables.format import RENDERERS
    from vqafeat.paper_tables.load import load_table, table_names
    from vqafeat.paper_tables.run import recorded_result, run_table
    from vqafeat_cli.stores import local_copies_for_tables

    if bool(names) == every:
        raise click.UsageError("name one table or more (`vqafeat list tables`), or give --all.")
    if checks and "demo" in datasets:
        raise click.UsageError(
            "--check holds numbers against published ones, which those of demo are not meant to reach; "
            "leave one out."
        )
    RENDERERS.get(form)
    tables = [load_table(name) for name in (table_names() if every else names)]
    copies = ExitStack()
    if recorded is not None:
        results = (recorded_result(table, recorded) for table in tables)
    else:
        stores, folder = _shelf(datasets, store, skip_missing)
        pictures = _pictures(tables, images, weights)
        copied = local_copies_for_tables(copies, cache, _wanted(tables))
        fits = FitCache(
            stores,
            runs or folder,
            jobs or len(os.sched_getaffinity(0)),
            device,
            skip_missing,
            *pictures,
            copied,
        )
        results = (run_table(table, fits, lambda words: click.echo(words, err=True)) for table in tables)
    texts, passed = [], []
    with copies:
        for found in results:
            texts.append(_text(found, store, "json" if json else form))
            if out is not None:
                _write(out / f"{found.table.name}.{_ENDINGS['json' if json else form]}", texts[-1])
            elif not json:
                click.echo(f"{texts[-1]}\n")
            if plots is not None:
                for path in plot_table(found, plots):
                    click.echo(f"wrote {path}", err=True)
            passed.append(_passed(found, checks))
    if json and out is None:
        click.echo(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return 0 if all(passed) else FINISHED_WITH_FAILURES


def _shelf(datasets: tuple[str, ...], store: StorePath, skip_missing: bool) -> tuple["FeatureStores", Path]:
    """Return where features come from, and where runs go without --runs."""
    from vqafeat.paper_tables.sources import StandInShelf, StoreShelf
    from vqafeat.store import FeatureStore, store_path

    if "demo" not in datasets:
        return StoreShelf(store, datasets, skip_missing), Path("runs")
    if len(datasets) > 1:
        raise click.UsageError(
            f"demo stands in for every data set; leave out "
            f"{', '.join(name for name in datasets if name != 'demo')}."
        )
    stored = store_path(store, "demo")
    if stored.is_dir():
        return StandInShelf(FeatureStore.open(stored)), Path("runs")
    from vqafeat_cli.demo_run import demo_store

    return StandInShelf(demo_store(Path("demo"), seed=0)), Path("demo") / "runs"


def _wanted(tables: list["PaperTable"]) -> dict[str, set[str]]:
    """Return the feature sets that tables take of each data set."""
    from vqafeat.paper_tables.cells import CELL_TYPES

    found: dict[str, set[str]] = {}
    for cell in (cell for table in tables for cell in table.cells if not cell.quoted):
        for need in CELL_TYPES.get(cell.kind).needs(cell):
            found.setdefault(need.dataset, set()).add(need.feature_set)
    return found


def _pictures(
    tables: list["PaperTable"], images: tuple[str, ...], weights: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return where the images lie that the tables ask for, and the weights of the networks that see them."""
    from vqafeat.backbones.feature_set import backbone_names
    from vqafeat.backbones.weights import parse_weights

    cells = [cell for table in tables for cell in table.cells if cell.kind == "coral" and cell.request]
    asked = {name for cell in cells for name in cell.options.images}
    places = dict(option.partition("=")[::2] for option in images)
    for name, place in places.items():
        if name not in asked or not place:
            raise click.UsageError(
                f"--images {name}={place}: the tables take {', '.join(sorted(asked)) or 'no images'}, as "
                f"NAME=FOLDER."
            )
    return places, parse_weights(
        weights, backbone_names([cell.request.features for cell in cells if cell.request])
    )


def _text(result: "TableResult", store: StorePath, form: str) -> str:
    from vqafeat.paper_tables.format import RENDERERS, as_dict

    return json_text(as_dict(result, store)) if form == "json" else RENDERERS.get(form)(result, store)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")
    click.echo(f"wrote {path}", err=True)


def _passed(result: "TableResult", checks: bool) -> bool:
    """Tell whether nothing failed and, where it is asked for, no difference is beyond its tolerance."""
    from vqafeat.paper_tables.run import check

    for failure in result.failures:
        click.echo(f"{result.table.name}: failed: {failure}", err=True)
    if not checks:
        return not result.failures
    found = check(result)
    nothing = "" if found.compared else "; nothing that was measured has a published value with a tolerance"
    click.echo(
        f"{result.table.name}: {found.compared} cells checked, {len(found.beyond)} beyond the "
        f"tolerance{nothing}",
        err=True,
    )
    for words in found.beyond:
        click.echo(f"  {words}", err=True)
    return found.passed and not result.failures
