"""What `fit`, `evaluate` and `demo` say of splits, progress and metrics."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from vqafeat.manifest import Dataset
from vqafeat.modeling.mixing import joint_splits
from vqafeat.modeling.parallel import Progress
from vqafeat.modeling.recipes import RECIPES
from vqafeat.modeling.records import EpochRecord
from vqafeat.modeling.summary import MEASURES, MetricsSummary
from vqafeat.splits import Split, SplitRequest, make_split, shared_contents


@dataclass(frozen=True)
class DrawnSplits:
    """Splits, and how they were drawn in words, leaks of content included."""

    splits: tuple[Split, ...]
    words: str


def drawn_splits(
    members: Sequence[Dataset],
    protocol: str,
    count: int,
    seed: int,
    ratio: str,
    recipe: str,
    test_part: str = "test",
    validation_share: float = 0.0,
) -> DrawnSplits:
    """Draw the splits of a fit, of several data sets each by itself; the recipe says how a stored permutation is cut."""
    rounding = RECIPES.get(recipe).split_rounding
    asked = SplitRequest(0, seed, ratio, rounding, test_part, validation_share)  # type: ignore[arg-type]
    drawn = [[make_split(member, protocol, replace(asked, run=run)) for run in range(count)] for member in members]
    leaks = [
        len(shared_contents(split, [video.content for video in member.videos]))
        for member, splits in zip(members, drawn, strict=True)
        for split in splits
    ]
    leak = f"up to {max(leaks)} test contents also in training" if any(leaks) else "no content shared between training and test"
    how = {"official": f"tested on '{test_part}', {validation_share:g} of training for validation", "stored": ratio}
    words = f"{protocol}, {how.get(protocol, f'{ratio}, seed {seed}')}; {leak}"
    return DrawnSplits(tuple(joint_splits(drawn, [len(member.videos) for member in members])), words)


def metrics_lines(summary: MetricsSummary) -> list[str]:
    """Return the metrics of a fit as lines of text: mean, deviation and median over the splits."""
    lines = [f"  {'':6}   mean     std  median"]
    for name in MEASURES:
        spread = getattr(summary, name)
        lines.append(f"  {name.upper():6} {_cell(spread.mean)}  {_cell(spread.std)}  {_cell(spread.median)}")
    for name, own in summary.datasets.items():
        values = "  ".join(f"{measure.upper()} {_cell(getattr(own, measure).mean).strip()}" for measure in MEASURES)
        lines.append(f"  {name}: {values}")
    low, high = min(summary.n), max(summary.n)
    lines.append(f"  on {low if low == high else f'{low} to {high}'} test videos a split")
    return [*lines, *(f"  note: {note}" for note in summary.notes)]


def _cell(value: float) -> str:
    return f"{value:6.3f}" if isfinite(value) else "     –"


@contextmanager
def fit_progress(splits: int) -> Iterator[Progress | None]:
    """Show the epochs of each split and its validation SROCC on standard error while a terminal is there."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Bar(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn(), console=console
    ) as bar:
        task = bar.add_task("fit", total=None, state="")
        last: dict[int, int] = {}

        def show(split: int, record: EpochRecord) -> None:
            last[split] = record.epoch
            done = f"{sum(last.values())} epochs in {len(last)} of {splits} splits"
            state = f"{done}; split {split}: validation SROCC {record.validation_srocc:.3f}"
            bar.update(task, state=state)

        yield show
