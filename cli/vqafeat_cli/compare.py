"""`vqafeat compare` and `vqafeat ensemble`."""

from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import IntRange, option

from vqafeat.io import json_text
from vqafeat_cli.options import MAPPING, PATH, json_option

if TYPE_CHECKING:
    from vqafeat.evaluation.compare import ComparedRuns

_KAPPA = "Weight of FIRST, 0 to 1.  [default: selected on the validation part of each split]"
_MEASURES = "Measure: srocc, krocc, plcc, rmse, plcc_plain, rmse_plain or rmse_calibrated."


@click.command()
@click.argument("runs", metavar="RUN RUN [RUN …]", nargs=-1, required=True, type=PATH)
@option("--measure", default="srocc", help=_MEASURES)
@option("--baseline", type=PATH, help="Run to compare each other run with.  [default: compare all pairs]")
@option("--test", default="t", help="Paired test over the splits: t or wilcoxon.")
@option("--resamples", default=2000, type=IntRange(1), help="Bootstrap samples of each interval.")
@json_option
def compare(
    runs: tuple[Path, ...], measure: str, baseline: Path | None, test: str, resamples: int, json: bool
) -> None:
    """Test whether runs differ by more than chance.

    All runs must have been tested on the same videos. For each pair, the command prints the mean difference
    over the splits, its 95 % bootstrap interval, the p-value of a paired test over the splits, and that after
    Holm's correction for the number of comparisons.

    The bootstrap resamples the test videos of all splits with replacement and measures both runs again, with
    the mappings as fitted, so the interval holds for these splits and these trained heads. Random splits of
    one data set share videos, so a small p-value is weaker evidence than one over as many data sets.

    \b
    Examples:
      vqafeat compare runs/konvid-resnet50-sub-gru runs/konvid-resnet50-no-time
      vqafeat compare runs/konvid-resnet50-* --baseline runs/konvid-resnet50-no-time --test wilcoxon
    """
    from vqafeat.evaluation.compare import compare_runs

    result = compare_runs(runs, measure=measure, test=test, baseline=baseline, resamples=resamples)
    if json:
        click.echo(json_text(result.as_dict()))
        return
    for line in [*_run_lines(result), *_pair_lines(result)]:
        click.echo(line)


def _run_lines(result: "ComparedRuns") -> Iterator[str]:
    from vqafeat_cli.console import aligned, number

    splits = len(next(iter(result.runs.values())).values)
    kind, _, variant = result.measure.partition("_")
    title = f"{kind.upper()}, {variant}" if variant else kind.upper()
    yield f"{title} on '{result.dataset}', {splits} splits"
    rows = [["", "mean", "std", "median", *(name.partition("_")[2] for name in result.shown_too)]]
    few_videos, notes = {}, []
    for name, values in result.runs.items():
        summary = result.summaries[name]
        more = [getattr(summary, other).mean for other in result.shown_too]
        cells = [number(value) for value in (values.mean, values.std, values.median, *more)]
        rows.append([f"{name}{' *' if summary.few_videos else ''}", *cells])
        if summary.few_videos:
            few_videos[f"  * {summary.few_videos}"] = name
        notes += [f"  note: {name}: {note}" for note in summary.notes]
    yield from [*aligned(rows), *few_videos, *notes]


def _pair_lines(result: "ComparedRuns") -> Iterator[str]:
    from vqafeat_cli.console import NO_VALUE, aligned, number

    splits = len(next(iter(result.runs.values())).values)
    over = f"mean difference over {splits} split(s), 95 % interval over {result.videos} redrawn test videos"
    yield f"{over}; paired test: {result.test}; {len(result.pairs)} comparison(s)"
    rows, notes = [["", "difference", "95 % interval", "p", "p, Holm"]], []
    for pair in result.pairs:
        interval, test = pair.interval, pair.comparison.test
        title = f"{pair.comparison.first} − {pair.comparison.second}"
        difference, low, high = (
            number(value, "+.3f") for value in (interval.difference, interval.low, interval.high)
        )
        ends = NO_VALUE if isnan(interval.low) else f"[{low}, {high}]"
        rows.append([title, difference, ends, number(test.p, ".3g"), number(pair.comparison.p_holm, ".3g")])
        notes += [f"  note: {title}: {test.note}"] if test.note else []
        notes += [f"  note: {title}, interval: {interval.note}"] if interval.note else []
    yield from [*aligned(rows), *notes]


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@option("--kappa", type=float, help=_KAPPA)
@option("--mapping", help=f"{MAPPING}  [default: that of FIRST]")
@json_option
def ensemble(first: Path, second: Path, kappa: float | None, mapping: str | None, json: bool) -> None:
    """Measure the blended scores of two runs on the test parts.

    The blend is kappa · FIRST + (1 − kappa) · SECOND. Both runs must have the same splits.

    \b
    Example:
      vqafeat ensemble runs/konvid-resnet50-sub-gru runs/konvid-resnet50-transformer
    """
    from vqafeat.evaluation.compare import ensemble as blend
    from vqafeat_cli.console import metrics_lines

    result = blend(first, second, kappa=kappa, mapping=mapping)
    if json:
        blended = {"kappas": result.kappas, "chosen": result.selection}
        click.echo(json_text({**result.summary.as_dict(), **blended}))
        return
    kappas = ", ".join(f"{value:.2f}" for value in result.kappas)
    click.echo(f"{first} and {second}: kappa {kappas} ({result.selection})")
    click.echo("\n".join(metrics_lines(result.summary, result.mapping)))
