"""The files of a run folder, each written at once: beside its place, then renamed, so that none is ever half there."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from vqafeat.csv_text import guarded
from vqafeat.errors import WeightsError
from vqafeat.json_text import json_text

CONFIG, SPLITS, PREDICTIONS, CALIBRATION, TRAINING_FEATURES, METRICS, CURVE, WEIGHTS, STATE = (
    "config.json",
    "splits.json",
    "predictions.csv",
    "calibration.json",
    "training-features.safetensors",
    "metrics.json",
    "curve.csv",
    "weights",
    "state",
)
_NAMED_AT_MOST = 3


def weights_path(folder: Path, split: int) -> Path:
    """Return where a run keeps the weights of a split's head."""
    return folder / WEIGHTS / f"split-{split:02d}.safetensors"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file at once, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON; NaN, which JSON does not have, becomes null."""
    write_bytes(path, (json_text(values) + "\n").encode())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV in UTF-8 with the shortest digits that give the same float64 back; NaN becomes an empty cell, text no formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_bytes(path, text.getvalue().encode())


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors."""
    write_bytes(path, save_safetensors({name: value.contiguous() for name, value in weights.items()}))


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a run.

    Raises:
        WeightsError: the file is missing or is no JSON object.
    """
    if not path.is_file():
        raise WeightsError(f"'{path}' is missing: '{path.parent}' is no run folder, or its fit did not finish; run `vqafeat fit` again.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"'{path}' is not JSON ({error}); run `vqafeat fit` again.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"'{path}' holds a {type(values).__name__} in place of an object; run `vqafeat fit` again.")
    return values


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"weights file '{path}' is missing; run `vqafeat fit` again.")
    try:
        return load_safetensors(path.read_bytes())
    except SafetensorError as error:
        raise WeightsError(f"weights file '{path}' is damaged ({error}); run `vqafeat fit` again.") from error


def load_checked(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict into a network after comparing every name and shape.

    Raises:
        WeightsError: they differ; the first differences are named.
    """
    own = network.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is not of this network" for name in weights if name not in own]
    problems += [
        f"{name} is {tuple(value.shape)} in place of {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    if problems:
        raise WeightsError(f"{where} do not fit the head: {list_first(problems)}.")
    network.load_state_dict(dict(weights))


def list_first(problems: Sequence[str]) -> str:
    """Join the first few of many words."""
    more = len(problems) - _NAMED_AT_MOST
    return "; ".join(problems[:_NAMED_AT_MOST]) + (f"; and {more} more" if more > 0 else "")


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if isnan(value) else repr(float(value))
    return guarded(value) if isinstance(value, str) else value
