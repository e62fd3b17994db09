"""Reading weights that others saved, without running anything that a file brings along."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vqafeat.errors import WeightsError


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a .safetensors, .pth or .pt file without running any code.

    Raises:
        WeightsError: the file is missing, is no such file, or needs code to load.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights file '{path}' does not exist; name a .pth, .pt or .safetensors file "
            "(for a network, imagenet, random and random:SEED are allowed too)."
        )
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file '{path}' is a pickle that needs code to load, which could do anything on this machine; "
            "save its state dict alone with torch.save(model.state_dict(), FILE) or as .safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"weights file '{path}' cannot be read ({error}); expected a state dict saved by torch.save or safetensors."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"weights file '{path}' holds no state dict (names with tensors); save model.state_dict() alone.")
    return state
