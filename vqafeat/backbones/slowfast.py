"""The fast pathway of SlowFast 8x8 R50 (Feichtenhofer et al. 2019), Li et al.'s motion features.

Lateral connections run from the fast to the slow pathway only, so the fast pathway alone gives the whole
network's values.
"""

import re
import warnings
from collections import OrderedDict

from torch import Tensor, nn

_STAGES = 5  # the stem and four residual stages; the head follows
_PYSLOWFAST = (  # s2.pathway1_res0.branch2.a_bn.weight
    r"s(?P<stage>\d)\.pathway(?P<path>\d)_(?:stem|res(?P<block>\d+))\."
    r"(?:branch)?(?P<branch>1|2\.[abc]|conv|bn)(?P<norm>_bn)?\.(?P<part>\w+)"
)
_CAFFE2 = (  # t_res2_0_branch2a_bn_s, of the files in PySlowFast's model zoo; t_ is the fast pathway
    r"(?P<path>t_)?(?:(?:res_)?conv1|res(?P<stage>\d)_(?P<block>\d+)_branch(?P<branch>1|2[abc]))"
    r"(?P<norm>_bn)?_(?P<part>w|s|b|rm|riv)"
)
_CAFFE2_PARTS = {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}


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


def pytorchvideo_name(name: str) -> str:
    """Return the name in the published file of a tensor of PySlowFast, or of its Caffe2 files."""
    match = re.fullmatch(_PYSLOWFAST, name) or re.fullmatch(_CAFFE2, name)
    if match is None:
        return name
    block, branch = match["block"], match["branch"]
    layer = "norm" if match["norm"] or branch == "bn" else "conv"
    if block is not None:
        of_branch = f"branch1_{layer}" if branch == "1" else f"branch2.{layer}_{branch[-1]}"
        layer = f"res_blocks.{block}.{of_branch}"
    stage, path = int(match["stage"] or 1) - 1, int(match["path"] in ("t_", "1"))
    part = _CAFFE2_PARTS.get(match["part"], match["part"])
    return f"blocks.{stage}.multipathway_blocks.{path}.{layer}.{part}"


def _under(name: str, module: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict({name: module}))


class FastPathway(nn.Module):
    """The stages of the fast pathway; the map of the last one is kept."""

    def __init__(self, network: nn.Module, taps: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Return {"res5": (batch, 256, T, H / 32, W / 32)} for (batch, 3, T, H, W), sides rounded up."""
        return {"res5": self.network(clips)}
