"""Training on several devices: one process for each, which computes its share of every batch."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed

from vqafeat.errors import TrainingError
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.images import PairBatch
from vqafeat.pretraining.network import PairLoss, QualityNetwork, pair_loss
from vqafeat.system import STOPPING_SECONDS, Report, full_float32, run_in_processes

# the others wait while the first process validates; a process that ends is noticed by the parent process
_LONGEST_WAIT = timedelta(days=30)


class DataParallel:
    """A network on this process's device, which takes the same steps as its copies in other processes.

    As under `nn.DataParallel` in the released code, batch norms see each device's share alone, and the
    statistics of the first device are kept.
    """

    def __init__(
        self, network: QualityNetwork, device: torch.device, precision: str, rank: int = 0, processes: int = 1
    ) -> None:
        self.network, self.device, self.rank, self.processes = network.to(device), device, rank, processes
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]

    def autocast(self) -> Any:
        """Return the context in which the device computes."""
        return nullcontext() if self._dtype is None else torch.autocast(self.device.type, self._dtype)

    def loss(self, batch: PairBatch, recipe: PretrainingRecipe) -> PairLoss:
        """Return the two terms of a batch's loss, on the device."""
        first, second, probability, std_order, *_ = (
            part.to(self.device, non_blocking=True) for part in batch[:4]
        )
        with self.autocast():
            # one after the other: batch norms take the statistics of first and second images apart, as in the
            # released code
            outputs = self.network(first), self.network(second)
        return pair_loss(*outputs, probability, std_order, recipe.margin, recipe.detach_variance)

    def backward(self, batch: PairBatch, recipe: PretrainingRecipe, scaler: Any) -> Tensor:
        """Compute the gradients of a step, of which `batch` is a share; return its terms, (2,) on the device.

        The host does not wait for the device. All processes get equal gradients and terms.
        """
        if len(batch.pairs):
            loss = self.loss(batch, recipe)
        else:  # fewer pairs than processes
            loss = PairLoss(*(self.network.fc.bias * 0).unbind())
        scaler.scale(loss.total * batch.share).backward()
        terms = torch.stack(loss).detach() * batch.share
        if self.processes > 1:
            trained = [value for value in self.network.parameters() if value.requires_grad]
            for value in trained:
                value.grad = torch.zeros_like(value) if value.grad is None else value.grad
            self._exchange([terms, *(value.grad for value in trained)], distributed.all_reduce)
        return terms

    def broadcast_parameters(self) -> None:
        """Give all processes the first one's parameters."""
        if self.processes > 1:
            self._exchange(list(self.network.parameters()), partial(distributed.broadcast, src=0))

    @torch.no_grad()
    def _exchange(self, tensors: Sequence[Tensor | None], collective: Callable[[Tensor], Any]) -> None:
        """Apply a collective operation to tensors, in place, as one message."""
        values = [value for value in tensors if value is not None]
        message = torch.cat([value.flatten() for value in values])
        try:
            collective(message)
        except RuntimeError:
            # usually another process ended, and the parent process, which knows the reason, stops this one
            time.sleep(STOPPING_SECONDS)
            raise
        for value, part in zip(
            values, torch.split(message, [value.numel() for value in values]), strict=True
        ):
            value.copy_(part.view_as(value))

    def train(self, head_alone: bool) -> None:
        """Set training mode; batch norms take statistics even if the head trains alone."""
        self.network.train().backbone.requires_grad_(not head_alone)


@contextmanager
def reproducible_fp32() -> Iterator[None]:
    """Let cuDNN repeat its results, and GPUs compute fp32 without TF32."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        with full_float32():
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def train_in_processes(
    work: Callable[[int, Report], Any], devices: Sequence[torch.device], report: Report
) -> Any:
    """Call `work(rank, report)` in one process for each device, joined by torch.distributed.

    Return what the first process returned; its events are reported here.
    """
    threads = max(1, torch.get_num_threads() // len(devices))
    resume = "before the training was done; the same command resumes after the last complete epoch"
    with tempfile.TemporaryDirectory(prefix="vqafeat-") as folder:
        join_group = partial(_join_group, f"file://{folder}/group", tuple(devices), threads)
        return run_in_processes(
            [partial(_train_in_group, work, join_group, rank) for rank in range(len(devices))],
            [f"process {rank} of {len(devices)}, on device '{one}'," for rank, one in enumerate(devices, 1)],
            report,
            lambda ended: TrainingError(f"{ended} {resume}."),
        )[0]


def _train_in_group(
    work: Callable[[int, Report], Any], join_group: Callable[[int], None], rank: int, report: Report
) -> Any:
    join_group(rank)
    result = work(rank, report if rank == 0 else lambda _event: None)
    distributed.destroy_process_group()
    return result if rank == 0 else None


def _join_group(address: str, devices: Sequence[torch.device], threads: int, rank: int) -> None:
    torch.set_num_threads(threads)
    device = devices[rank]
    indices = {other.index or 0 for other in devices}
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
        # NCCL takes each GPU once
        backend = "nccl" if len(indices) == len(devices) and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, address, _LONGEST_WAIT, len(devices), rank)
