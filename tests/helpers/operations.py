"""Tensor operations of a block, and those among them for which the host waits for a GPU."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2"}


class Operations(TorchDispatchMode):
    """Counts copies, and operations whose result the host needs.

    Attributes:
        copies: for each copy between devices, the target device and whether the copy is non-blocking.
        waiting: names of operations for which the host waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[tuple[str, bool]] = []
        self.waiting: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, options = function.overloadpacket.__name__, kwargs or {}
        if name in _WAITING:
            self.waiting.append(name)
        device = options.get("device")
        if name == "_to_copy" and device is not None and torch.device(device) != args[0].device:
            self.copies.append((torch.device(device).type, options.get("non_blocking", False)))
        return function(*args, **options)
