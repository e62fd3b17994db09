"""`vqafeat report`."""

from pathlib import Path

import click
from click import IntRange, option

from vqafeat_cli.options import PATH, flag, parse_paths, storage_option


@click.command()
@click.argument("inputs", metavar="RUN|TABLE.json [RUN|TABLE.json …]", nargs=-1, required=True, type=PATH)
@option("--out", type=PATH, default="report.html", help="HTML page to write.")
@option("--store", metavar="FOLDER|URL", help="Folder of the feature stores; adds the scores of frames.")
@storage_option
@option("--videos", type=PATH, help="Folder of the videos; adds players to the page.")
@option("--curves", default=20, type=IntRange(0), help="Videos per run with frame scores, worst first.")
@option("--plots", type=PATH, help="Folder for PNG plots of the calibrated scores and the training of runs.")
@option("--title", help="Title of the page.  [default: the names of the runs]")
@flag("--overwrite", help="Replace an existing page.")
def report(
    inputs: tuple[Path, ...],
    out: Path,
    store: str | None,
    storage_options: tuple[str, ...],
    videos: Path | None,
    curves: int,
    plots: Path | None,
    title: str | None,
    overwrite: bool,
) -> None:
    """Write an HTML page about finished runs and tables.

    The page shows the metrics of each run, calibrated scores against labels, the largest errors (score minus
    label), the training curves, and the configuration. A table that `vqafeat table NAME --json --out FOLDER`
    wrote is shown with its runs, measured next to published figures.

    The page is a single file that loads nothing from the network. With --videos it plays the video files as
    long as it is not moved. With --store it shows the score of each frame of the worst videos of each run,
    synchronized with the player.

    \b
    Examples:
      vqafeat report runs/konvid-resnet50-sub-gru
      vqafeat report runs/konvid-resnet50-* --out konvid.html --store features --videos /data/konvid
      vqafeat report tables/li-14.json --out li-14.html
    """
    from vqafeat.report import build_report, write_report
    from vqafeat.report.page import check_out
    from vqafeat.report.plots import plot_run
    from vqafeat.report.tables import is_table

    stores = parse_paths({"store": store}, storage_options).get("store")
    check_out(out, overwrite)
    tables = [path for path in inputs if is_table(path)]
    runs = [path for path in inputs if path not in tables]
    page = build_report(
        runs, out.parent, tables=tables, title=title, store=stores, videos=videos, curves=curves
    )
    for run in page.runs:
        for note in run.notes:
            click.echo(f"{run.name}: {note}", err=True)
        if videos is not None:
            playable = sum(bool(video.address) for video in run.videos)
            click.echo(f"{run.name}: files of {playable} of {len(run.videos)} videos", err=True)
        for plot in plot_run(run, plots) if plots is not None else ():
            click.echo(f"{run.name}: wrote {plot}", err=True)
    click.echo(write_report(page, out))
