"""`vqafeat compare`."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vqafeat.io import json_text
from vqafeat_cli.options import json_option

if TYPE_CHECKING:
    from vqafeat.evaluation.compare import ComparedPair, ComparedRuns


@click.command()
@click.argument("runs", metavar="RUN RUN [RUN …]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--measure",
    default="srocc",
    show_default=True,
    help="srocc, krocc, plcc, rmse, plcc_plain, rmse_plain or rmse_calibrated.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    help="Run that each other one is compared with.  [default: all pairs]",
)
@click.option("--test", default="t", show_default=True, help="Paired test over the splits: t or wilcoxon.")
@click.option(
    "--resamples",
    default=2000,
    show_default=True,
    type=click.IntRange(1),
    help="Draws of the videos for each interval.",
)
@json_option
def compare(
    runs: tuple[Path, ...], measure: str, baseline: Path | None, test: str, resamples: int, json: bool
) -> None:
    """Say whether runs differ by more than chance; they have to be tested on the same videos.

    For each two runs, the command prints the difference in a measure, which is the mean over the splits; its
    95 % bootstrap interval; the p of a paired test over the splits; and p by Holm's correction for the number
    of comparisons. For the interval, the test videos of all splits are drawn anew, with replacement, and each
    split is measured again in both runs; a mapping stays as it was fitted. The interval holds for these
    splits and these trained heads. Random splits of one data set share videos, so a small p is weaker
    evidence than over as many data sets.

    \b
    Examples:
      vqafeat compare runs/konvid-resnet50-sub-gru runs/konvid-resnet50-no-time
      vqafeat compare runs/konvid-resnet50-* --baseline runs/konvid-resnet50-no-time --measure plcc --test wilcoxon
    """
    from vqafeat.evaluation.compare import compare_runs

    found = compare_runs(runs, measure=measure, test=test, baseline=baseline, resamples=resamples)
    if json:
        click.echo(json_text(found.as_dict()))
        return
    for line in [*_run_lines(found), *_pair_lines(found)]:
        click.echo(line)


def _run_lines(found: "ComparedRuns") -> list[str]:
    from vqafeat_cli.console import aligned, number

    splits = len(next(iter(found.runs.values())).values)
    rows = [("", "mean", "std", "median", *(name.partition("_")[2] for name in found.shown_too))]
    for name, spread in found.runs.items():
        summary = found.summaries[name]
        more = (getattr(summary, other).mean for other in found.shown_too)
        few = " *" if summary.few_videos else ""
        rows.append(
            (f"{name}{few}", *(number(value) for value in (spread.mean, spread.std, spread.median, *more)))
        )
    few_videos = dict.fromkeys(
        f"  * {summary.few_videos}" for summary in found.summaries.values() if summary.few_videos
    )
    notes = [f"  note: {name}: {note}" for name, summary in found.summaries.items() for note in summary.notes]
    return [
        f"{_words(found.measure)} on '{found.dataset}', {splits} splits",
        *aligned(rows),
        *few_videos,
        *notes,
    ]


def _words(measure: str) -> str:
    kind, _, of = measure.partition("_")
    return f"{kind.upper()}, {of}" if of else kind.upper()


def _pair_lines(found: "ComparedRuns") -> list[str]:
    from vqafeat_cli.console import aligned

    header = ("", "difference", "95 % interval", "p", "p, Holm")
    splits = len(next(iter(found.runs.values())).values)
    over = f"mean difference over {splits} split(s), 95 % interval over {found.videos} redrawn test videos"
    title = f"{over}; paired test: {found.test}; {len(found.pairs)} comparison(s)"
    return [
        title,
        *aligned([header, *(_cells(pair) for pair in found.pairs)]),
        *(f"  note: {note}" for note in _pair_notes(found)),
    ]


def _title(pair: "ComparedPair") -> str:
    return f"{pair.comparison.first} − {pair.comparison.second}"


def _cells(pair: "ComparedPair") -> tuple[str, ...]:
    from vqafeat_cli.console import NOTHING, number

    test, interval = pair.comparison.test, pair.interval
    ends = (
        NOTHING
        if isnan(interval.low)
        else f"[{number(interval.low, '+.3f')}, {number(interval.high, '+.3f')}]"
    )
    return (
        _title(pair),
        number(interval.difference, "+.3f"),
        ends,
        number(test.p, ".3g"),
        number(pair.comparison.p_holm, ".3g"),
    )


def _pair_notes(found: "ComparedRuns") -> list[str]:
    notes = []
    for pair in found.pairs:
        notes += [f"{_title(pair)}: {pair.comparison.test.note}"] if pair.comparison.test.note else []
        notes += [f"{_title(pair)}, interval: {pair.interval.note}"] if pair.interval.note else []
    return notes
