"""Fits of a second on tiny stores, and the files they leave."""

from pathlib import Path
from typing import Any

from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.training.fit import FittedRun, fit

SPLITS = [
    Split(tuple(range(10)), tuple(range(10, 15)), tuple(range(15, 20))),
    Split(tuple(range(8, 20)), (), tuple(range(8))),
]


FAST: dict[str, Any] = {
    "recipe": "default",
    "overrides": {"epochs": 3, "learning_rate": 0.02, "batch_size": 4},
    "options": {"reduced": 4, "hidden": 3},
    "mapping": "none",
}


def small_fit(store: FeatureStore, out: Path, **changes: Any) -> FittedRun:
    values: dict[str, Any] = {
        "feature_sets": "tiny",
        "head": "sub-gru",
        "splits": SPLITS,
        "seed": 5,
        **FAST,
        **changes,
    }
    return fit(store, out=out, **values)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
