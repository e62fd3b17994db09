"""The fast pathway of SlowFast 8x8 R50 (Feichtenhofer et al. 2019), Li et al.'s motion features.

Lateral connections run from the fast to the slow pathway only, so the fast pathway alone gives the whole
network's values.
"""

import warnings
from collections import OrderedDict

from torch import Tensor, nn

_STAGES = 5  # the stem and four residual stages; the head follows


def build_fast_pathway() -> nn.Module:
    """Return the stages of the fast pathway, under the names that they have in the published file."""
    with warnings.catch_warnings():
        # fvcore, which pytorchvideo imports, calls torch.jit.script on import, of which newer torch warns
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated")
        # imported here because it takes seconds
        from pytorchvideo.models.slowfast import create_slowfast
    blocks = list(create_slowfast().get_submodule("blocks"))[:_STAGES]
    fast = [block.get_submodule("multipathway_blocks.1") for block in blocks]
    return _under(
        "blocks", nn.Sequential(*(_under("multipathway_blocks", _under("1", part)) for part in fast))
    )


def _under(name: str, module: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict({name: module}))


class FastPathway(nn.Module):
    """The stages of the fast pathway, of which the last one can be kept."""

    def __init__(self, network: nn.Module, taps: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Return {"res5": (batch, 256, T, H / 32, W / 32)} for (batch, 3, T, H, W), sides rounded up."""
        return {"res5": self.network(clips)}
