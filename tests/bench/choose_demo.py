"""Compare heads, losses and recipes on the embedded set and on konvid58, to choose the demo's and the default
recipe by VALIDATION.

    python tests/bench/choose_demo.py demo|default [--demo FOLDER] [--jobs 2]

`demo` fits candidates for the demo on the store that `vqafeat demo --out FOLDER` left; `default` fits four
heads with candidates for the default recipe on that store and on konvid58. `kept` is the validation SROCC of
the kept epoch, `last` that of the last five epochs' mean, which no choice of an epoch has flattered.
`outside` is the share of the heads' own outputs off the labels' scale, on test videos.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_calibration import DATA, konvid58
from measuring import start_table

from vqafeat.splits import make_split
from vqafeat.store import FeatureStore
from vqafeat.training.config import FitConfig, is_gradient_based
from vqafeat.training.fit import fit
from vqafeat.training.results import CURVE
from vqafeat.training.run import Run

# head, changes to the recipe `demo`
DEMO: list[tuple[str, dict[str, Any]]] = [
    ("mdtvsfa", {}),
    ("mdtvsfa", {"epochs": 80}),
    ("mdtvsfa", {"epochs": 80, "learning_rate": 5e-4}),
    ("mdtvsfa", {"epochs": 40}),
    ("mdtvsfa", {"epochs": 40, "loss": "plcc+srcc"}),
    ("sub-gru", {"epochs": 40}),
    ("sub-gru", {"epochs": 40, "loss": "plcc"}),
    ("sub-gru", {"epochs": 40, "loss": "l1+plcc"}),
    ("svr", {}),
]
# changes to the recipe `default`; the first is that of version 1
DEFAULT: list[dict[str, Any]] = [{"learning_rate": 3e-4, "start_at_mean": False}, {"learning_rate": 3e-4}, {}]
HEADS = ("no-time", "avg-gru", "sub-gru", "mdtvsfa")


@dataclass(frozen=True)
class Fits:
    """A store and how many splits of it are fitted, in so many processes."""

    store: FeatureStore
    splits: int
    jobs: int

    def line(self, head: str, recipe: str, changes: dict[str, Any]) -> str:
        """Fit a candidate and return its row of the table."""
        (feature_set,) = self.store.feature_sets()
        splits = [make_split(self.store.dataset, "content", run) for run in range(self.splits)]
        overrides = changes if is_gradient_based(head) else {}
        with tempfile.TemporaryDirectory() as folder:
            config = FitConfig(feature_set, head, recipe=recipe, overrides=overrides)
            run = fit(self.store, config, folder, splits=splits, jobs=self.jobs)
            validation = validation_text(run)
        low, high = self.store.dataset.mos_range
        outputs = np.array([row.prediction for row in run.predictions if row.part == "test"])
        outside = 100 * np.mean((outputs < low) | (outputs > high))
        words = ", ".join(f"{name} {value}" for name, value in changes.items()) or f"recipe {recipe}"
        srocc, plcc = run.metrics.srocc, run.metrics.plcc
        test = f"{srocc.mean:.3f} ± {srocc.std:.3f} | {plcc.mean:.3f} | {outside:.0f} %"
        return f"| {head} | {words} | {validation} | {test} |"


def validation_text(run: Run) -> str:
    """Return the validation SROCC, of the kept epochs and of the last five, each the mean over the splits."""
    curves: dict[str, list[float]] = {}
    with (run.path / CURVE).open(newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault(row["split"], []).append(float(row["validation_srocc"] or "nan"))
    if not curves:
        return "–"
    kept = np.mean([np.nanmax(curve) for curve in curves.values()])
    return f"{kept:.3f} / {np.mean([np.nanmean(curve[-5:]) for curve in curves.values()]):.3f}"


def show(title: str, fits: Fits, candidates: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Print a table, row by row."""
    print(f"\n{title}, {fits.splits} splits by content")
    start_table("head", "recipe", "validation, kept / last", "test SROCC", "test PLCC", "outside")
    for candidate in candidates:
        print(fits.line(*candidate), flush=True)


def main() -> None:
    """Print the table of the choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("choice", choices=["demo", "default"])
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    embedded = Fits(
        FeatureStore.open(arguments.demo / "features" / "imagenet" / "demo.zarr"), 10, arguments.jobs
    )
    if arguments.choice == "demo":
        show("demo", embedded, [(head, "demo", changes) for head, changes in DEMO])
        return
    candidates = [(head, "default", changes) for changes in DEFAULT for head in HEADS]
    show("demo", embedded, candidates)
    if not DATA.is_dir():
        sys.exit(f"data is absent: {DATA}")
    with tempfile.TemporaryDirectory() as folder:
        show("konvid58", Fits(konvid58(Path(folder)), 5, arguments.jobs), candidates)


if __name__ == "__main__":
    main()
