"""Where networks and heads compute."""

import re

import torch

from vqafeat.errors import ArgumentError

_NAME = re.compile(r"cpu|cuda(:\d+)?")


def device_named(name: str | None) -> torch.device:
    """Return the device `cpu`, `cuda` or `cuda:NUMBER`; without a name, a GPU where one is.

    Raises:
        ArgumentError: it is none of these, or not there.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not _NAME.fullmatch(name):
        raise ArgumentError(f"device is '{name}'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'.")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ArgumentError(f"device is '{name}', but PyTorch finds no CUDA device here; use 'cpu'.")
    device = torch.device(name)
    if (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(f"device is '{name}', but there are {torch.cuda.device_count()} CUDA device(s) here, counted from 0.")
    return device
