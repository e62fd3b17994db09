"""The progress of a fit: what is called after each epoch, and TensorBoard's event files."""

import shutil
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.config import FitConfig

# called with a split's number and each epoch's record
Progress = Callable[[int, EpochRecord], None]

# attribute of an epoch's record → its tag in event files
EVENT_TAGS = {
    "loss": "training/loss",
    "learning_rate": "training/learning_rate",
    "validation_srocc": "validation/srocc",
    "validation_plcc": "validation/plcc",
    "validation_rmse": "validation/rmse",
    "test_srocc": "test/srocc",
}


def no_progress(number: int, record: EpochRecord) -> None:
    """Report nothing."""


def check_event_files(config: FitConfig) -> None:
    """Refuse a fit without epochs, whose metrics event files hold, or without TensorBoard's package."""
    if config.epochs is None:
        raise ArgumentError(
            f"head '{config.head}' is not trained in epochs, which event files describe; leave out "
            "--tensorboard."
        )
    _summary_writer()


def _summary_writer() -> Callable[[Path], Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        problem = f"--tensorboard needs a package that cannot be imported here ({error})"
        raise ArgumentError(f"{problem}; install it with `pip install 'vqafeat[tensorboard]'`.") from error
    return SummaryWriter


class EventFiles:
    """Writes the event files of TensorBoard, one folder per split, and passes the progress on.

    A resumed split reports its epochs from the first one, so its earlier files are replaced. After `epochs`
    the files of a split are closed.
    """

    def __init__(self, folder: Path, epochs: int | None, progress: Progress = no_progress) -> None:
        self._folder, self._epochs, self._progress = folder, epochs, progress
        self._writers: dict[int, Any] = {}

    def __call__(self, number: int, record: EpochRecord) -> None:
        """Write the metrics of an epoch."""
        if record.epoch == 1:
            folder = self._folder / f"split-{number:02d}"
            shutil.rmtree(folder, ignore_errors=True)
            self._writers[number] = _summary_writer()(folder)
        writer = self._writers[number]
        for name, tag in EVENT_TAGS.items():
            if isfinite(value := getattr(record, name)):
                writer.add_scalar(tag, value, record.epoch)
        writer.flush()
        if record.epoch == self._epochs:
            writer.close()
        self._progress(number, record)
