"""Fits of a second on tiny stores, and the files they leave."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from vqafeat.splits import Split
from vqafeat.store.features import FeatureReader
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput
from vqafeat.training.run import Run

SPLITS = [
    Split(tuple(range(10)), tuple(range(10, 15)), tuple(range(15, 20))),
    Split(tuple(range(8, 20)), (), tuple(range(8))),
]


MORE = [*SPLITS, SPLITS[0]]

FAST: dict[str, Any] = {
    "recipe": "default",
    "overrides": {"epochs": 3, "learning_rate": 0.02, "batch_size": 4},
    "options": {"reduced": 4, "hidden": 3},
    "mapping": "none",
}
IN_CONFIG = {item.name for item in fields(FitConfig)} - {"splits"}


def fit_with(store: FeatureReader, out: Path, values: dict[str, Any]) -> Run:
    """Fit with values of `FitConfig`, the frames given as `frame_input`, and arguments of `fit`."""
    frames: FrameInput = values.pop("frame_input", WHOLE_VIDEOS)
    values |= {"order": frames.order, "sampling": frames.sampling, "draws": frames.draws}
    config = FitConfig(**{key: value for key, value in values.items() if key in IN_CONFIG})
    return fit(store, config, out, **{key: value for key, value in values.items() if key not in IN_CONFIG})


def small_fit(store: FeatureReader, out: Path, **changes: Any) -> Run:
    return fit_with(store, out, {"features": "tiny", "splits": SPLITS, "seed": 5, **FAST, **changes})


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class StoppedError(Exception):
    """A fit ends here."""


def stopping_after(records: int) -> Callable[[int, EpochRecord], None]:
    """Return a progress that stops a fit at its n-th record."""
    seen: list[int] = []

    def watch(split: int, record: EpochRecord) -> None:
        seen.append(record.epoch)
        if len(seen) == records:
            raise StoppedError

    return watch
