"""The fast pathway of SlowFast 8x8 R50 (Feichtenhofer et al. 2019), Li et al.'s motion features (FACTS § 2).

Lateral connections run from the fast to the slow pathway only, so the fast pathway alone gives the whole
network's values.
"""

import warnings
from typing import cast

from torch import Tensor, nn

_STAGES = 5  # the stem and four residual stages; the head follows


def _whole_slowfast() -> nn.Module:
    with warnings.catch_warnings():
        # fvcore, which pytorchvideo imports, calls torch.jit.script on import, of which newer torch warns
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated")
        # imported here because it takes seconds
        from pytorchvideo.models.slowfast import create_slowfast
    return cast(nn.Module, create_slowfast())


class _Stage(nn.Module):
    """The fast part of one stage, under the names of the published file."""

    def __init__(self, fast: nn.Module) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleDict({"1": fast})

    def forward(self, clips: Tensor) -> Tensor:
        return cast(Tensor, self.multipathway_blocks["1"](clips))


class FastPathway(nn.Module):
    """The stem and the residual stages of the fast pathway, with the parameter names of the whole network."""

    def __init__(self) -> None:
        super().__init__()
        blocks = cast(nn.ModuleList, _whole_slowfast().get_submodule("blocks"))
        self.blocks = nn.Sequential(
            *(_Stage(block.get_submodule("multipathway_blocks.1")) for block in blocks[:_STAGES])
        )

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Return {"res5": (batch, 256, T, H / 32, W / 32)} for (batch, 3, T, H, W), sides rounded up."""
        return {"res5": self.blocks(clips)}


def whole(network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    """Return the network, which computes only the one layer that can be kept."""
    return network
