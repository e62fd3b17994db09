"""All heads × five splits on konvid-mini and konvid58: predictions off the labels' scale, and RMSE of test
videos, before and after.

    python tests/bench/bench_calibration.py [--sets konvid58 konvid-mini recorded] [--heads no-time …] [--jobs
    1]

"before" is the default recipe of version 1 (3e-4, no start at the mean label) and the head's own output;
"output" is the head's own output with the present default recipe, "score" the calibrated score, as `predict`
prints it. RMSE is plain: no mapping is fitted to test videos. konvid-mini (14 videos, 40/30/30) is extracted
with EfficientNet-Lite0's stages; konvid58 (60/20/20) are published ResNet-50 features. recorded compares
rules on Li et al.'s recorded predictions: fitted to half of a test part, RMSE of the other half, mean over 20
splits.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import print_row, start_table

from vqafeat.datasets import load_dataset, locate_videos
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.importers import import_vsfa, vsfa_dataset
from vqafeat.extraction.pipeline import Resources
from vqafeat.heads import HEADS
from vqafeat.metrics import fit_logistic
from vqafeat.paper_tables.sources import DemoShare
from vqafeat.splits import make_split
from vqafeat.store import FeatureStore
from vqafeat.training.config import FitConfig, is_gradient_based
from vqafeat.training.fit import fit
from vqafeat.training.predictions import Prediction, fit_calibration

DATA = Path(__file__).parents[3] / "shared" / "data"
SPLITS = 5
VERSION_1: dict[str, Any] = {"learning_rate": 3e-4, "start_at_mean": False}
RATIOS = {"konvid58": "60/20/20", "konvid-mini": "40/30/30"}


def konvid58(folder: Path) -> FeatureStore:
    """Import the published features."""
    dataset = vsfa_dataset(DATA / "konvid58", "konvid58")
    store = FeatureStore.create(folder / "konvid58.zarr", dataset)
    import_vsfa(DATA / "konvid58", dataset, store)
    return store


def konvid_mini(folder: Path) -> FeatureStore:
    """Extract the fourteen videos."""
    labels = DATA / "konvid-mini" / "mos.csv"
    dataset = locate_videos(load_dataset(str(labels)), labels.parent).dataset
    store = FeatureStore.create(folder / "konvid-mini.zarr", dataset)
    extract_features(dataset, ["efficientnet-lite0:stages"], store, resources=Resources())
    return store


STORES = {"konvid58": konvid58, "konvid-mini": konvid_mini}


def tested(
    store: FeatureStore, head: str, name: str, folder: Path, overrides: dict[str, Any], jobs: int
) -> list[Prediction]:
    """Fit a head and return what it says of its test videos."""
    (feature_set,) = store.feature_sets()
    splits = [make_split(store.dataset, "content", run, ratio=RATIOS[name]) for run in range(SPLITS)]
    changes = overrides if is_gradient_based(head) else {}
    source: Any = store
    options: dict[str, Any] = {}
    if head == "a2inet":  # its two branches read the one feature set
        source, feature_set, options = (
            DemoShare(store, feature_set),
            f"{feature_set}+{feature_set}-again",
            {"width": 32},
        )
    config = FitConfig(feature_set, head, options, overrides=changes)
    run = fit(source, config, folder, splits=splits, jobs=jobs)
    return [row for row in run.predictions if row.part == "test"]


def figures(rows: Sequence[Prediction], values: Sequence[float], mos_range: tuple[float, float]) -> str:
    """Return the share outside of the labels' range and the mean RMSE over the splits."""
    low, high = mos_range
    outside = np.mean([not low - 1e-9 <= value <= high + 1e-9 for value in values])
    errors = [
        [value - row.mos for row, value in zip(rows, values, strict=True) if row.split == split]
        for split in range(SPLITS)
    ]
    return f"{100 * outside:.0f} % | {np.mean([np.sqrt(np.mean(np.square(own))) for own in errors]):.3f}"


RECORDED = {"K": "KoNViD-1k", "N": "LIVE-VQC", "L": "LIVE-Qualcomm", "C": "CVD2014", "Y": "YouTube-UGC"}


def recorded_line(archive: Any, key: str) -> list[str]:
    """Return the row of a data set: RMSE of its aligned scores as they are, by a least squares line, as
    calibrated, and by a logistic.
    """
    errors, rng = [], np.random.default_rng(0)
    for split in range(20):
        scores, mos = (archive[f"{key}/{split:02d}/{name}"].astype(np.float64) for name in ("aq", "sq"))
        order = rng.permutation(len(mos))
        own, other = order[: len(mos) // 2], order[len(mos) // 2 :]
        low, high = float(mos.min()), float(mos.max())
        slope, offset = np.polyfit(scores[own], mos[own], 1)
        ways = [
            scores[other],
            slope * scores[other] + offset,
            fit_calibration(scores[own], mos[own], (low, high), "validation").scores(scores[other]),
            fit_logistic(scores[own], mos[own]).mapped(scores[other]),
        ]
        limited = [ways[0], *(np.clip(way, low, high) for way in ways[1:])]
        errors.append([np.sqrt(np.mean((way - mos[other]) ** 2)) for way in limited])
    return [f"{RECORDED[key]} ({len(own)} videos)", *(f"{value:.3f}" for value in np.mean(errors, axis=0))]


def show_recorded() -> None:
    """Print the table of the recorded predictions."""
    start_table("recorded", "output", "least squares line", "calibrated", "logistic")
    with np.load(DATA / "recorded" / "li2022_predictions.npz") as archive:
        for key in RECORDED:
            print_row(*recorded_line(archive, key))


def main() -> None:
    """Print a table a data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=[*STORES, "recorded"], choices=[*STORES, "recorded"])
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"data is absent: {DATA}")
    for name in arguments.sets:
        if name == "recorded":
            show_recorded()
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            store = STORES[name](folder)
            mos_range = store.dataset.mos_range
            print(f"\n{name}: labels {mos_range[0]:g} to {mos_range[1]:g}, {SPLITS} splits {RATIOS[name]}\n")
            values = [
                f"{value}: {what}"
                for value in ("before", "output", "score")
                for what in ("off the scale", "RMSE")
            ]
            start_table("head", *values)
            for head in arguments.heads:
                before = tested(store, head, name, folder / head / "before", VERSION_1, arguments.jobs)
                rows = tested(store, head, name, folder / head / "now", {}, arguments.jobs)
                columns = [figures(before, [row.prediction for row in before], mos_range)]
                columns += [
                    figures(rows, [getattr(row, key) for row in rows], mos_range)
                    for key in ("prediction", "score")
                ]
                print_row(head, *columns)


if __name__ == "__main__":
    main()
