"""`vqafeat compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqafeat.json_text import json_text
from vqafeat_cli.options import json_option

if TYPE_CHECKING:
    from vqafeat.modeling.comparing import ComparedPair, ComparedRuns


@click.command()
@click.argument("runs", metavar="RUN RUN [RUN …]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--measure", default="srocc", show_default=True, help="srocc, krocc, plcc or rmse, as the runs recorded it for each split.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Run that each other one is compared with.  [default: all pairs]")
@click.option("--test", default="t", show_default=True, help="Paired test over the splits: t or wilcoxon.")
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(1), help="Draws of the videos for each interval.")
@json_option
def compare(runs: tuple[Path, ...], measure: str, baseline: Path | None, test: str, resamples: int, json: bool) -> None:
    """Say whether runs differ by more than chance; they have to be tested on the same videos of one data set.

    For each two runs: the mean difference over the splits, a paired test's p, p by Holm's correction for the number of comparisons, and a
    95 % bootstrap interval of the difference in SROCC, KROCC or PLCC (without a logistic) on the same videos. There a video's prediction is
    the mean over the splits that tested it. Random splits of one data set share videos, so a small p is weaker evidence than over as many
    data sets.

    \b
    Examples:
      vqafeat compare runs/konvid-resnet50-sub-gru runs/konvid-resnet50-no-time
      vqafeat compare runs/konvid-resnet50-* --baseline runs/konvid-resnet50-no-time --measure plcc --test wilcoxon
    """
    from vqafeat.modeling.comparing import compare_runs

    found = compare_runs(runs, measure=measure, test=test, baseline=baseline, resamples=resamples)
    if json:
        click.echo(json_text(found.as_dict()))
        return
    for line in [*_run_lines(found), *_pair_lines(found)]:
        click.echo(line)


def _run_lines(found: "ComparedRuns") -> list[str]:
    from vqafeat_cli.tables import aligned, number

    splits = len(next(iter(found.runs.values())).values)
    rows = [(name, number(spread.mean), number(spread.std), number(spread.median)) for name, spread in found.runs.items()]
    notes = [f"  note: {name}: {note}" for name in found.runs for note in found.notes[name]]
    return [f"{found.measure.upper()} on '{found.dataset}', {splits} splits", *aligned([("", "mean", "std", "median"), *rows]), *notes]


def _pair_lines(found: "ComparedRuns") -> list[str]:
    from vqafeat_cli.tables import aligned

    header = ("", "difference", "p", "p, Holm", "on the same videos, 95 % interval")
    intervals = any(pair.interval for pair in found.pairs)
    rows = [_cells(pair) for pair in found.pairs]
    kept = slice(None if intervals else -1)
    title = f"paired test: {found.test}; {len(found.pairs)} comparison(s)" + (f"; interval over {found.videos} videos" if intervals else "")
    return [title, *aligned([header[kept], *(row[kept] for row in rows)]), *(f"  note: {note}" for note in _pair_notes(found))]


def _title(pair: "ComparedPair") -> str:
    return f"{pair.comparison.first} − {pair.comparison.second}"


def _cells(pair: "ComparedPair") -> tuple[str, ...]:
    from vqafeat_cli.tables import NOTHING, number

    test, interval = pair.comparison.test, pair.interval
    cells = (_title(pair), number(test.mean_difference, "+.3f"), number(test.p, ".3g"), number(pair.comparison.p_holm, ".3g"))
    if interval is None:
        return (*cells, NOTHING)
    ends = f"[{number(interval.low, '+.3f')}, {number(interval.high, '+.3f')}]"
    return (*cells, f"{number(interval.difference, '+.3f')} {ends}")


def _pair_notes(found: "ComparedRuns") -> list[str]:
    told = []
    for pair in found.pairs:
        told += [f"{_title(pair)}: {pair.comparison.test.note}"] if pair.comparison.test.note else []
        told += [f"{_title(pair)}, interval: {pair.interval.note}"] if pair.interval is not None and pair.interval.note else []
    return told
