"""What training gives, epoch by epoch and at its end, and the files that a stopped fit resumes from."""

import io
import json
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import inf, nan
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vqafeat.errors import WeightsError
from vqafeat.io import write_bytes
from vqafeat.schema import parse
from vqafeat.training.results import STATE

SECONDS_BETWEEN = 60.0  # from one write to the next
_SECONDS_BETWEEN_COPIES = 1.0  # which an interrupted training writes: at most this much is lost


@dataclass(frozen=True)
class EpochRecord:
    """One row of the training curve; epochs count from 1, and metrics that are not defined are NaN.

    Attributes:
        loss: mean over the epoch's steps, on scaled labels.
        validation_srocc, test_srocc: mean over the data sets; of the test part only if it selects the epoch.
        validation_plcc, validation_rmse: see `SplitTrainer.metrics`.
        learning_rate: in the last step of the epoch.
    """

    epoch: int
    loss: float
    validation_srocc: float
    test_srocc: float = nan
    validation_plcc: float = nan
    validation_rmse: float = nan
    learning_rate: float = nan


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The state dict of a split's kept epoch, which is 0 where the head is not trained in epochs."""

    weights: dict[str, Tensor]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class SplitResult:
    """The result of a split: by part the scores of its videos on the labels' scale, and the curve."""

    scores: dict[str, tuple[float, ...]]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


class Checkpoint:
    """Files of splits to resume a stopped fit from: states of training, and final results.

    Each split has its own, so that a fit resumes on another device, where splits are grouped differently.
    """

    def __init__(self, out: Path, numbers: Iterable[int]) -> None:
        self._paths = {number: out / STATE / f"split-{number:02d}.pt" for number in numbers}
        self._states: dict[int, dict[str, Any]] = {}
        self._written, self._copied = time.monotonic(), -inf
        self._lock = Lock()  # a thread saves when the fit's main process has ended

    def read(self) -> dict[int, dict[str, Any]]:
        """Return the state of each split that was written last; splits without one are left out."""
        paths = {number: path for number, path in self._paths.items() if path.is_file()}
        # a state of a GPU has to be readable without one; the trainer moves it to its device
        return {
            number: torch.load(path, map_location="cpu", weights_only=True) for number, path in paths.items()
        }

    def save_if_due(self, states: Callable[[], dict[int, dict[str, Any]]]) -> None:
        """Copy the states at the end of an epoch for `save`, and write them if a minute has passed."""
        now = time.monotonic()
        is_due = now - self._written >= SECONDS_BETWEEN
        if is_due or now - self._copied >= _SECONDS_BETWEEN_COPIES:
            copies = deepcopy(states())
            with self._lock:
                self._states, self._copied = copies, now
        if is_due:
            self.save()

    def save(self) -> None:
        """Write the states that were copied last."""
        with self._lock:
            for number, state in self._states.items():
                content = io.BytesIO()
                torch.save(state, content)
                write_bytes(self._paths[number], content.getvalue())
            self._written = time.monotonic()

    def results(self) -> dict[int, SplitResult]:
        """Return the results of the splits that are done."""
        paths = {number: path.with_suffix(".json") for number, path in self._paths.items()}
        return {
            number: parse(SplitResult, json.loads(path.read_bytes()), f"'{path}'", WeightsError)
            for number, path in paths.items()
            if path.is_file()
        }

    def finish(self, number: int, result: SplitResult) -> None:
        """Write the result of a split and remove its state."""
        path = self._paths[number]
        with self._lock:
            self._states.pop(number, None)
        # NaN stays NaN here, since nobody else reads it
        write_bytes(path.with_suffix(".json"), json.dumps(asdict(result)).encode())
        path.unlink(missing_ok=True)
