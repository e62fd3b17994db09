"""`vqafeat table` and `vqafeat report`."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import count
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import IntRange, option

from vqafeat.io import json_text, write_bytes
from vqafeat.registry import named
from vqafeat.remote import StorePath
from vqafeat_cli import options
from vqafeat_cli.console import TimeLeft
from vqafeat_cli.options import PATH, flag, several

if TYPE_CHECKING:
    from vqafeat.paper_tables.run import TableResult
    from vqafeat.paper_tables.sources import FeatureStores
    from vqafeat.paper_tables.table import PaperTable
    from vqafeat.store.features import FeatureReader


_DATASET = "Data set to use; repeatable. demo replaces all data sets.  [default: all in the store]"
_PROTOCOL = "Split protocol in place of the table's: content, video, stored or official."
_RECIPE = "Recipe in place of the table's, such as li for li-released; `vqafeat list recipes` names them."
_CHECK = "Exit with code 3 if a difference exceeds the table's tolerance, or if there is nothing to compare."
_PUBLISHED = "Fill the table from these published predictions (.npz) instead of training."


@click.command()
@click.argument("names", metavar="NAME [NAME …]", nargs=-1)
@flag("--all", "every", help="Fill all tables of `vqafeat list tables`.")
@several("--dataset", "datasets", metavar="NAME", help=_DATASET)
@options.read_store_options
@option("--runs", type=PATH, help="Folder of run folders; finished runs are reused.  [default: runs]")
@option("--recipe", help=_RECIPE)
@option("--protocol", help=_PROTOCOL)
@option("--published-predictions", type=PATH, help=_PUBLISHED)
@option("--format", "form", default="md", help="Format: md, latex (booktabs), csv (a line per cell) or html.")
@flag("--check", "checks", help=_CHECK)
@option("--out", type=PATH, help="Folder to write one file per table to, instead of stdout.")
@option("--plots", type=PATH, help="Folder for PNG plots of tables that are figures of a paper.")
@several(
    "--images", metavar="NAME=FOLDER", help="Images for li-figure-3: imagenet, bid, clive, koniq or spaq."
)
@options.weights_option
@options.skip_missing_option
@options.training_options
@flag("--costs", help="With --all, also measure the time and operations of networks, which takes minutes.")
@options.json_option
def table(
    names: tuple[str, ...],
    every: bool,
    datasets: tuple[str, ...],
    store: StorePath,
    cache: int | None,
    runs: Path | None,
    recipe: str | None,
    protocol: str | None,
    published_predictions: Path | None,
    form: str,
    checks: bool,
    out: Path | None,
    plots: Path | None,
    images: tuple[str, ...],
    weights: tuple[str, ...],
    skip_missing: bool,
    jobs: int | None,
    device: str | None,
    costs: bool,
    json: bool,
) -> int:
    """Fill tables of the papers from stored features: measured next to published values.

    NAME is one of `vqafeat list tables`, or the path of your own .toml. Finished runs are reused; if features
    are missing, the table names the commands that extract them. --recipe and --protocol replace the settings
    of the whole table; rows and columns that set their own keep them. The exit code is 3 if a fit failed, or
    if a named table, or every table of --all, has no measured cell.

    \b
    Examples:
      vqafeat table fontanel-1
      vqafeat table li-14 --dataset demo --format latex
      vqafeat table li-14 --recipe li
      vqafeat table li-3 --published-predictions li2022_predictions.npz --check
      vqafeat table li-figure-3 --images imagenet=sample/ --images koniq=koniq10k/ --plots plots/
    """
    from vqafeat.paper_tables import table_names
    from vqafeat.paper_tables.format import RENDERERS
    from vqafeat.paper_tables.load import load_table
    from vqafeat.paper_tables.run import measurable, recorded_result, run_table
    from vqafeat.paper_tables.sources import FitCache

    if bool(names) == every:
        raise click.UsageError("name one table or more (`vqafeat list tables`), or give --all.")
    if checks and "demo" in datasets:
        reason = "--check compares with published figures, which the demo data set is not meant to reach"
        raise click.UsageError(f"{reason}; leave one out.")
    if published_predictions is not None and (recipe or protocol):
        raise click.UsageError("--published-predictions trains nothing; leave out --recipe and --protocol.")
    named("format of a table", form, RENDERERS)
    changes = {"recipe": recipe, "protocol": protocol}
    tables = [load_table(name, **changes) for name in (table_names() if every else names)]
    with ExitStack() as stack:
        if published_predictions is not None:
            results = (recorded_result(table, published_predictions) for table in tables)
        else:
            stores, default_runs = _feature_stores(datasets, store, skip_missing)
            inputs = _images_and_weights(tables, images, weights)
            copies = _local_copies(stack, tables, cache)
            jobs = jobs or len(os.sched_getaffinity(0))
            fits = FitCache(
                *(stores, runs or default_runs, jobs, device or "cpu", skip_missing, *inputs, copies),
                costs=costs or not every,
            )
            on_cell = _cell_counter(sum(len(measurable(table, fits)) for table in tables))
            results = (run_table(table, fits, on_cell) for table in tables)
        return _write_results(results, store, "json" if json else form, checks, out, plots, every)


def _cell_counter(total: int) -> Callable[[str], None]:
    """Return a function that reports on stderr which cell is measured, of how many, and until when."""
    numbers, time_left = count(), TimeLeft(inf)

    def show(cell: str) -> None:
        done = next(numbers)
        left = time_left.text(done, total)
        click.echo(f"[{done + 1}/{total}{left and ', '}{left}] {cell}", err=True)

    return show


def _write_results(
    results: "Iterable[TableResult]",
    store: StorePath,
    form: str,
    checks: bool,
    out: Path | None,
    plots: Path | None,
    every: bool,
) -> int:
    """Print or write each table as soon as it is filled, then its failures; return the exit code."""
    from vqafeat.paper_tables.figures import plot_table
    from vqafeat.paper_tables.format import RENDERERS, as_dict
    from vqafeat.paper_tables.run import check

    texts, passed, some_measured = [], True, False
    for result in results:
        text = json_text(as_dict(result, store)) if form == "json" else RENDERERS[form](result, store)
        texts.append(text)
        if out is not None:
            path = out / f"{result.table.name}.{'tex' if form == 'latex' else form}"
            write_bytes(path, f"{text}\n".encode())
            click.echo(f"wrote {path}", err=True)
        elif form != "json":
            click.echo(f"{text}\n")
        for plot in plot_table(result, plots) if plots is not None else ():
            click.echo(f"wrote {plot}", err=True)
        lines = [f"failed: {failure}" for failure in result.failures]
        passed &= not result.failures and (every or bool(result.measured))
        some_measured |= bool(result.measured)
        if not (result.measured or every):
            lines.append("no cell was measured")
        if checks:
            compared, beyond = check(result)
            counts = f"{compared} cells checked, {len(beyond)} beyond the tolerance"
            nothing = "; no measured figure has a published value with a tolerance"
            lines += [counts if compared else counts + nothing, *beyond]
            passed &= compared > 0 and not beyond
        for line in lines:
            click.echo(f"{result.table.name}: {line}", err=True)
    if form == "json" and out is None:
        click.echo(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    if every and not some_measured:
        click.echo("no cell of any table was measured; the tables name what is missing.", err=True)
    return 0 if passed and some_measured else options.FINISHED_WITH_FAILURES


def _feature_stores(
    datasets: tuple[str, ...], folder: StorePath, skip_missing: bool
) -> tuple["FeatureStores", Path]:
    """Return the stores that tables read, and the default folder of runs."""
    from vqafeat.demo import DEMO_NAME, make_demo
    from vqafeat.paper_tables.sources import DemoStores, FeatureStores
    from vqafeat.store import FeatureStore, store_path
    from vqafeat_cli.demo_run import demo_store

    if "demo" not in datasets:
        return FeatureStores(folder, datasets, skip_missing), Path("runs")
    if len(datasets) > 1:
        others = ", ".join(name for name in datasets if name != "demo")
        raise click.UsageError(f"demo stands for every data set; leave out {others}.")
    if (stored := store_path(folder, "demo")).is_dir():
        return DemoStores(FeatureStore.open(stored)), Path("runs")
    out = Path("demo")
    return DemoStores(demo_store(make_demo(out / DEMO_NAME), out, "imagenet", err=True)), out / "runs"


def _local_copies(
    stack: ExitStack, tables: "list[PaperTable]", cache_bytes: int | None
) -> "Callable[[FeatureReader, str], FeatureReader]":
    """Return a function that replaces stores at a URL by local copies, until the stack is closed.

    One copy of a data set serves all tables, with every feature set that they read.
    """
    from vqafeat.store import FeatureStore
    from vqafeat.store.features import split_feature_sets
    from vqafeat_cli.stores import local_copies

    copies: dict[StorePath, FeatureReader] = {}
    required = defaultdict(set)
    for cell in (cell for table in tables for cell in table.cells if cell.request):
        for need in cell.options.required(cell.request):
            required[need.dataset].add(need.feature_set)

    def copy(source: "FeatureReader", feature_sets: str) -> "FeatureReader":
        if not isinstance(source, FeatureStore):
            return source
        if source.path not in copies:
            stored = required[source.dataset_name].intersection(source.feature_sets())
            names = stored.union(split_feature_sets(feature_sets))
            copies[source.path] = stack.enter_context(local_copies(source, names, cache_bytes))
        return copies[source.path]

    return copy


def _images_and_weights(
    tables: "list[PaperTable]", images: tuple[str, ...], weights: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the folders of images by name, and the weights of the networks that process them."""
    cells = [cell for table in tables for cell in table.cells if cell.kind == "coral" and cell.request]
    used = {name for cell in cells for name in cell.options.images}
    folders = dict(option.partition("=")[::2] for option in images)
    for name, folder in folders.items():
        if name not in used or not folder:
            allowed = ", ".join(sorted(used)) or "no images"
            raise click.UsageError(f"--images {name}={folder}: the tables take {allowed}, as NAME=FOLDER.")
    feature_sets = [cell.request.features for cell in cells if cell.request]
    return folders, options.network_weights(weights, feature_sets)


@click.command()
@click.argument("inputs", metavar="RUN|TABLE.json [RUN|TABLE.json …]", nargs=-1, required=True, type=PATH)
@option("--out", type=PATH, default="report.html", help="HTML page to write.")
@option("--store", metavar="FOLDER|URL", help="Folder of the feature stores; adds the scores of frames.")
@options.paths_option("store")
@option("--videos", type=PATH, help="Folder of the videos; adds players to the page.")
@option("--curves", default=20, type=IntRange(0), help="Videos per run with frame scores, worst first.")
@option("--plots", type=PATH, help="Folder for PNG plots of the calibrated scores and the training of runs.")
@option("--title", help="Title of the page.  [default: the question that the runs answer]")
@flag("--overwrite", help="Replace an existing page.")
def report(
    inputs: tuple[Path, ...],
    out: Path,
    videos: Path | None,
    plots: Path | None,
    overwrite: bool,
    **content: Any,
) -> None:
    """Write an HTML page about finished runs and tables.

    The page shows the metrics of each run, calibrated scores against labels, the largest errors (score minus
    label), the training curves, and the configuration. If several runs were tested on the same videos, the
    page begins with a comparison of each with the run of the highest mean SROCC, as by `vqafeat compare`. A
    table that `vqafeat table NAME --json --out FOLDER` wrote is shown with its runs, measured values next to
    published ones.

    The page is a single file that loads nothing from the network. With --videos it plays the video files, as
    long as neither they nor the page are moved. With --store it shows the score of each frame of the worst
    videos of each run, synchronized with the player.

    \b
    Examples:
      vqafeat report runs/konvid-resnet50-sub-gru
      vqafeat report runs/konvid-resnet50-* --out konvid.html --store features --videos /data/konvid
      vqafeat report tables/li-14.json --out li-14.html
    """
    from vqafeat.report import build_report, write_report
    from vqafeat.report.charts import plot_run
    from vqafeat.report.content import is_table
    from vqafeat.report.page import check_out

    check_out(out, overwrite)
    tables = [path for path in inputs if is_table(path)]
    runs = [path for path in inputs if path not in tables]
    page = build_report(runs, out.parent, tables=tables, videos=videos, **content)
    for run in page.runs:
        for note in run.notes:
            click.echo(f"{run.name}: {note}", err=True)
        if videos is not None:
            playable = sum(bool(video.address) for video in run.videos.values())
            click.echo(f"{run.name}: files of {playable} of {len(run.videos)} videos", err=True)
        for plot in plot_run(run, plots) if plots is not None else ():
            click.echo(f"{run.name}: wrote {plot}", err=True)
    click.echo(write_report(page, out))
