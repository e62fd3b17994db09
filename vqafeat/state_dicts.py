"""Reading weights that others saved, without running anything that a file brings along."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vqafeat.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state")  # training scripts; pytorchvideo


class _Number:
    """Takes the place of a NumPy number that a training script saved beside the weights; nobody looks at it."""

    def __init__(self, *arguments: object) -> None:
        """Take what NumPy would be given."""

    def __setstate__(self, state: object) -> None:
        """Take what NumPy would be given."""


# UNIQUE's and Li et al.'s files hold correlations as NumPy numbers, which torch refuses as code
_NUMPY_NUMBERS: list[Any] = [
    type(name, (_Number,), {"__module__": module})
    for module, name in (("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"))
]


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
        state = load_file(path) if path.suffix == ".safetensors" else _load_without_code(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file '{path}' is a pickle that needs code to load, which could do anything on this machine; "
            "save its state dict alone with torch.save(model.state_dict(), FILE) or as .safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"weights file '{path}' cannot be read ({error}); expected a state dict saved by torch.save or safetensors."
        ) from error
    return unwrapped(state, f"weights file '{path}'")


def _load_without_code(path: Path) -> object:
    with torch.serialization.safe_globals(_NUMPY_NUMBERS):
        return torch.load(path, map_location="cpu", weights_only=True)


def unwrapped(saved: object, source: str) -> Mapping[str, Tensor]:
    """Return the tensors that were saved alone, under `state_dict` as training scripts do, or under `model_state` as pytorchvideo does.

    Args:
        source: where they come from, in words, for the message.

    Raises:
        WeightsError: there are none, or something else lies among them.
    """
    if isinstance(saved, dict):
        saved = next((saved[key] for key in _WRAPPERS if isinstance(saved.get(key), dict)), saved)
    if not isinstance(saved, dict) or not saved or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in saved.items()):
        raise WeightsError(f"{source} holds no state dict (names with tensors); save model.state_dict() alone.")
    return saved
