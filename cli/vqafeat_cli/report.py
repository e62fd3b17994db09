"""`vqafeat report`."""

from pathlib import Path

import click

from vqafeat.remote import StorePath
from vqafeat_cli.options import with_store_paths


@click.command()
@click.argument(
    "shown",
    metavar="RUN|TABLE.json [RUN|TABLE.json …]",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="report.html", show_default=True, help="The page."
)
@click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Folder or URL of the feature stores, for curves of the frames' scores.",
)
@with_store_paths("store")
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    help="Folder of the video files, for playing them from the page.",
)
@click.option(
    "--curves",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Most videos of each run, worst first, with a curve.",
)
@click.option(
    "--plots",
    type=click.Path(path_type=Path),
    help="Folder to draw each run's calibrated scores and training to, as PNG.",
)
@click.option("--title", help="Of the page.  [default: the runs' names]")
@click.option("--overwrite", is_flag=True, help="Replace the page where it exists.")
def report(
    shown: tuple[Path, ...],
    out: Path,
    store: StorePath | None,
    videos: Path | None,
    curves: int,
    plots: Path | None,
    title: str | None,
    overwrite: bool,
) -> None:
    """Write one page for finished runs: metrics, calibrated scores against labels, the largest errors,
    training, and what decided each run.

    A score is on the scale of the labels, and an error is score minus label. A table that `vqafeat table NAME
    --json --out FOLDER` wrote comes with the runs behind it, and shows measured and published figures.

    The page is one file that loads nothing from elsewhere. Videos play where --videos names their folder and
    the page stays where it was written; with --store each run's worst videos have the score of each frame,
    tied to the player.

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

    check_out(out, overwrite)
    tables, runs = [path for path in shown if is_table(path)], [path for path in shown if not is_table(path)]
    page = build_report(
        runs, out.parent, tables=tables, title=title, store=store, videos=videos, curves=curves
    )
    for run in page.runs:
        for note in run.notes:
            click.echo(f"{run.name}: {note}", err=True)
        if videos is not None:
            found = sum(bool(video.address) for video in run.videos)
            click.echo(f"{run.name}: files of {found} of {len(run.videos)} videos", err=True)
        for picture in plot_run(run, plots) if plots is not None else ():
            click.echo(f"{run.name}: wrote {picture}", err=True)
    click.echo(write_report(page, out))
