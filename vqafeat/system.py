"""Memory, devices and processes; torch is imported only for a device, since decoding processes do without."""

import multiprocessing
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING

from vqafeat.errors import ArgumentError

if TYPE_CHECKING:
    import torch

_MEMINFO = Path("/proc/meminfo")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str) -> int:
    """Return the bytes for a text such as `1500M`, `1.5G` or `4GiB`, in powers of 1024."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None or float(match[1]) == 0:
        raise ArgumentError(f"memory is '{text}'; write an amount such as 1500M, 1.5G or 16G.")
    return int(float(match[1]) * _UNITS[match[2]])


def free_bytes() -> int:
    """Return the free memory of this machine; half of its memory if the system does not report it."""
    if not _MEMINFO.is_file():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def anonymous_file(size: int, name: str) -> int:
    """Return a descriptor of unnamed memory, which is freed with the last process that holds it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def device_named(name: str | None) -> "torch.device":
    """Return the device `cpu`, `cuda` or `cuda:NUMBER`; without a name, a GPU if there is one."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ArgumentError(f"device is '{name}'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'.")
    device, count = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        problem = f"device is '{name}', but PyTorch finds {count} CUDA device(s) here, counted from 0"
        raise ArgumentError(f"{problem}; use one of them, or 'cpu'.")
    return device


def process_context(preloaded: Sequence[str]) -> BaseContext:
    """Return a context that never forks this process: a fork after PyTorch's threads were used can hang.

    Args:
        preloaded: modules that the fork server imports once, for all new processes.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Start processes that do not run the user's script again, which a script without a main guard needs."""
    main = sys.modules["__main__"]
    hidden: dict[str, object] = {
        name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)
