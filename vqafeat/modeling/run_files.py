"""The files of a run folder, each written at once: beside its place, then renamed, so that none is ever half there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from vqafeat.errors import WeightsError
from vqafeat.io import list_first, write_bytes

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


def weights_path(folder: Path, split: int) -> Path:
    """Return where a run keeps the weights of a split's head."""
    return folder / WEIGHTS / f"split-{split:02d}.safetensors"


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
