"""How much memory a network needs, measured before it runs, and how much of a budget that leaves."""

import math
import resource
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vqafeat.backbones.network import Network
from vqafeat.backbones.views import VIEWS
from vqafeat.errors import VideoError
from vqafeat.system import free_bytes
from vqafeat.video.nvdec import MOST_THREADS

LARGEST_BATCH = 64
BATCH_SAMPLES = LARGEST_BATCH * 960 * 540  # larger batches are 1 % faster alone, but wait for the decoders
WORKER_BYTES = 100 << 20  # an interpreter with FFmpeg's libraries, and three chunks of frames
SCRATCH = 1.25  # of oneDNN and cuDNN, over the feature maps
MOST_ELEMENTS = (1 << 31) - 1  # of one tensor: kernels of cuDNN and of PyTorch index it in 32 bits
DECODER_BYTES = 600 << 20  # of a decoder on the GPU, for 32 pictures of 4K and the chunks that wait
GIB = 1 << 30


def used_bytes() -> int:
    """Return the memory that this process uses now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def free_on(device: torch.device) -> int:
    """Return the bytes that are free on a device now."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_bytes()


class MemoryBudget:
    """The part of a memory budget that is left for frames and feature maps.

    The budget is `total` bytes of the device, by default four fifths of what is free there. What the decoding
    processes need counts if the device is the processor, or if they decode on it.
    """

    def __init__(
        self, total: int | None, device: torch.device, workers: int, hardware_decoder: bool = False
    ) -> None:
        used = used_bytes() if device.type == "cpu" else 0
        self.total = total if total is not None else used + free_on(device) * 4 // 5
        self._videos = max(1, workers)  # at a time
        self._footprint = cache(footprint)  # measured once for each network and size
        of_workers = workers * WORKER_BYTES if device.type == "cpu" else 0
        if hardware_decoder:
            of_workers = min(workers, MOST_THREADS) * DECODER_BYTES
        self._left = self.total - used - of_workers

    def check(self, networks: Sequence[Network], height: int, width: int, path: object) -> None:
        """Refuse a video of which not even one frame or clip fits, and name the amount that is enough."""
        held = self._videos * sum(held_bytes(network, height, width) for network in networks)
        largest = max(networks, key=lambda network: self._footprint(network, height, width).nbytes)
        need = held + self._footprint(largest, height, width).nbytes
        if need > self._left:
            least, allowed = (self.total - self._left + need) / GIB, self.total / GIB
            needs = f"'{path}' of {width}x{height} needs about {least:.1f} GiB with '{largest.backbone.name}'"
            views = VIEWS["short540"], largest.view
            short, seen = (math.prod(view.size(height, width)) for view in views)
            hint = f"give --memory {math.ceil(least * 10) / 10 + 0.1:.1f}G"
            hint += " or a smaller view (@short540)" if short < seen else ""
            raise VideoError("over-memory", f"{needs}, more than the {allowed:.1f} GiB allowed; {hint}.")

    def batch(self, network: Network, height: int, width: int, most: int | None) -> int:
        """Return how many frames go through a network together: as many as fit, and at most `most`."""
        one = self._footprint(network, height, width)
        if most is None:
            most = min(LARGEST_BATCH, BATCH_SAMPLES // math.prod(network.view.size(height, width)))
        return max(1, min(most, self._left // one.nbytes, MOST_ELEMENTS // one.elements))


def held_bytes(network: Network, height: int, width: int) -> int:
    """Return the bytes of the 8-bit frames that a temporal network holds back; 0 for others."""
    return network.clips.window * 3 * height * width if network.clips else 0


@dataclass(frozen=True)
class Footprint:
    """What one frame or clip takes."""

    nbytes: int  # inputs, feature maps, their pooling and the library's scratch space
    elements: int  # of the largest tensor


def footprint(network: Network, height: int, width: int) -> Footprint:
    """Return what one frame or clip of this size takes."""
    frames = network.backbone.clips.inputs if network.backbone.clips else 1
    part_height, part_width = network.view.size(height, width)
    inputs = frames * 3 * (2 * 4 * height * width + 2 * 4 * part_height * part_width)
    maps = activations(network, part_height, part_width)
    return Footprint(inputs + int(SCRATCH * maps.nbytes), max(maps.elements, frames * 3 * height * width))


def activations(network: Network, height: int, width: int) -> Footprint:
    """Return the largest sum of feature maps alive at a time and the largest map, measured without data."""
    size = (network.backbone.clips.inputs, height, width) if network.backbone.clips else (height, width)
    module = network.plain_module
    state = {
        key: value.to("meta", torch.float32 if value.is_floating_point() else value.dtype)
        for key, value in (*module.named_parameters(), *module.named_buffers())
    }
    with torch.inference_mode(), _Watermark() as watermark:
        maps = functional_call(module, state, torch.empty(1, 3, *size, device="meta", dtype=torch.float32))
    item_bytes = torch.finfo(network.dtype).bits // 8
    # pooled in float32, one map at a time: a copy, and the differences from its mean
    pooling = 2 * 4 * max(values.numel() for values in maps.values())
    kept = sum(values.numel() for values in maps.values()) * item_bytes
    return Footprint(max(watermark.peak * item_bytes // 4, kept + pooling), watermark.largest // 4)


class _Watermark(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that are alive, and keeps the largest sum and the largest storage, in bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.largest = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._seen:
            self._seen.add(key)
            self.live += size
            self.peak, self.largest = max(self.peak, self.live), max(self.largest, size)
            weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size
