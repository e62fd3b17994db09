"""Where a training stands after an epoch, in one file beside the result, so that a stopped run goes on as if it had not stopped."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import nan
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vqafeat.errors import WeightsError
from vqafeat.io import write_bytes


@dataclass(frozen=True)
class PretrainingRecord:
    """One row of the curve.

    Attributes:
        epoch: counted from 1.
        learning_rate: of the epoch.
        fidelity, hinge: means over the epoch's pairs.
        validation_srocc: by set, after the epoch.
        pairs: that the epoch took.
        seconds: of its steps, validation left out; not part of what a resumed run has to repeat.
    """

    epoch: int
    learning_rate: float
    fidelity: float
    hinge: float
    validation_srocc: Mapping[str, float]
    pairs: int
    seconds: float = field(compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return asdict(self)


@dataclass(eq=False)
class Progress:
    """What a training has reached; the loop adds to it.

    Attributes:
        curve: one record a finished epoch.
        best_weights: of the kept epoch.
        best_epoch: counted from 1; 0 before there is one.
        best_srocc: mean over sets in that epoch; NaN without validation.
    """

    curve: list[PretrainingRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_srocc: float = nan

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs."""
        return len(self.curve)


def checkpoint_path(out: Path) -> Path:
    """Return where the training of a weights file keeps its checkpoint."""
    return out.with_name(f"{out.name}.checkpoint")


def write_checkpoint(path: Path, config: Mapping[str, Any], progress: Progress, states: Mapping[str, Any]) -> None:
    """Write where a training stands, at once.

    Args:
        config: all that decides the run.
        progress: what it has reached.
        states: state dicts of network, optimiser and gradient scaler.
    """
    content = io.BytesIO()
    reached = {**vars(progress), "curve": [record.as_dict() for record in progress.curve]}
    torch.save({"config": dict(config), "progress": reached, "states": dict(states)}, content)
    write_bytes(path, content.getvalue())


def read_checkpoint(path: Path, config: Mapping[str, Any]) -> tuple[Progress, Mapping[str, Any]] | None:
    """Return what a stopped run of the same configuration has reached, and its states; None where there is no checkpoint.

    Raises:
        WeightsError: the checkpoint is damaged, or of another configuration.
    """
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found, reached, states = saved["config"], dict(saved["progress"]), saved["states"]
        progress = Progress(**{**reached, "curve": [PretrainingRecord(**record) for record in reached["curve"]]})
    except (UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise WeightsError(f"checkpoint '{path}' is damaged ({error}); start anew with --overwrite.") from error
    if different := _differences(found, config):
        raise WeightsError(
            f"checkpoint '{path}' is of a run with another configuration: {'; '.join(different)}. Go on with that one, start anew with "
            "--overwrite, or name another file with --out."
        )
    return progress, states


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    keys = list(dict.fromkeys([*wanted, *found]))
    different = [key for key in keys if found.get(key) != wanted.get(key)]
    said: list[str] = []
    for key in different:
        mine, theirs = found.get(key), wanted.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            said += [f"{key} {item}" for item in _differences(mine, theirs)]
        else:
            said.append(f"{key} {mine!r} there, {theirs!r} here")
    return said
