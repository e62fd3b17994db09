"""Amounts of memory, and memory that several processes share; imports no torch, which decoding processes do without."""

import os
import re
import tempfile
from pathlib import Path

from vqafeat.errors import ArgumentError

_MEMINFO = Path("/proc/meminfo")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str) -> int:
    """Return the bytes that a text such as `1500M`, `1.5G` or `4GiB` means, in powers of 1024.

    Raises:
        ArgumentError: it is no amount of memory.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if found is None or float(found.group(1)) == 0:
        raise ArgumentError(f"memory is '{text}'; write an amount such as 1500M, 1.5G or 16G.")
    return int(float(found.group(1)) * _UNITS[found.group(2)])


def free_bytes() -> int:
    """Return the memory of this machine that is free now; where the system does not tell, half of what there is."""
    if not _MEMINFO.is_file():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) << 10


def anonymous_file(size: int, name: str) -> int:
    """Return a descriptor of memory without a name, which is gone with the last process that holds it, however that ends."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
