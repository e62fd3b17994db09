"""A network on several devices, which divide every batch; the optimiser uses the sum of their gradients."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.data_loading import PairBatch
from vqafeat.pretraining.network import PairLoss, QualityNetwork, pair_loss


class DataParallel:
    """A network and its equal copies on further devices.

    As with `nn.DataParallel` in the released code, batch norms take the statistics of each device's share,
    and those of the first device are kept. CUDA devices compute at the same time, because their kernels are
    queued. The arguments are those of `ComputeOptions`.
    """

    def __init__(self, network: QualityNetwork, devices: Sequence[torch.device], precision: str) -> None:
        self.devices = tuple(devices)
        self.network = network.to(self.devices[0])
        self._networks = [self.network, *(deepcopy(network).to(device) for device in self.devices[1:])]
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]

    def autocast(self, device: torch.device) -> Any:
        """Return the context in which a device computes."""
        return torch.autocast(device.type, self._dtype or torch.bfloat16, enabled=self._dtype is not None)

    def loss(self, batch: PairBatch, recipe: PretrainingRecipe) -> PairLoss:
        """Return the two terms of a batch's loss, on the first device."""
        pairs, devices = len(batch.pairs), len(self.devices)
        bounds = pairwise(pairs * number // devices for number in range(devices + 1))
        shares = [slice(start, stop) for start, stop in bounds if start < stop]
        terms = [
            self._share_loss(number, PairBatch(*(part[share] for part in batch)), recipe)
            for number, share in enumerate(shares)
        ]
        weights = [(share.stop - share.start) / pairs for share in shares]
        return PairLoss(*(self._weighted_sum(values, weights) for values in zip(*terms, strict=True)))

    def _weighted_sum(self, values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        weighted = [value.to(self.devices[0]) * weight for value, weight in zip(values, weights, strict=True)]
        return torch.stack(weighted).sum()

    def _share_loss(self, number: int, batch: PairBatch, recipe: PretrainingRecipe) -> PairLoss:
        device, network = self.devices[number], self._networks[number]
        with self.autocast(device):
            # separately, as in the released code: batch norms take the statistics of each side
            first = network(batch.first.to(device, non_blocking=True))
            second = network(batch.second.to(device, non_blocking=True))
        labels = batch.probability.to(device), batch.std_order.to(device)
        return pair_loss(first, second, *labels, recipe.margin, recipe.detach_variance)

    def collect_gradients(self) -> None:
        """Add the copies' gradients to the network's."""
        for copy in self._networks[1:]:
            for parameter, other in zip(self.network.parameters(), copy.parameters(), strict=True):
                # a copy without a share of the batch has no gradient
                if parameter.grad is not None and other.grad is not None:
                    parameter.grad += other.grad.to(self.devices[0])
                    other.grad = None

    @torch.no_grad()
    def broadcast_parameters(self) -> None:
        """Give the copies the network's parameters."""
        for copy in self._networks[1:]:
            for parameter, other in zip(self.network.parameters(), copy.parameters(), strict=True):
                other.copy_(parameter)

    def train(self, head_alone: bool) -> None:
        """Set all networks to training mode; batch norms take statistics even if the head trains alone."""
        for network in self._networks:
            network.train().backbone.requires_grad_(not head_alone)
