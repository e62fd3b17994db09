"""The fast pathway of SlowFast 8x8 R50 (Feichtenhofer et al. 2019), Li et al.'s motion features (FACTS § 2).

Lateral connections run from the fast to the slow pathway only, so the fast pathway alone gives the whole
network's values.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vqafeat.backbones.base import BACKBONES, Backbone, ClipRule, Variant
from vqafeat.backbones.weights import unwrap_state_dict


@dataclass(frozen=True)
class UrlWeights:
    """A file of weights without a published checksum; a feature set's identity records what was loaded."""

    name: str
    url: str

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> Mapping[str, Tensor]:
        """Return the tensors; a hash is checked only where the file's name carries one."""
        saved = torch.hub.load_state_dict_from_url(
            self.url, map_location="cpu", progress=progress, check_hash=check_hash, weights_only=weights_only
        )
        return unwrap_state_dict(saved, f"'{self.url}'")


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


BACKBONES.add(
    "slowfast-fast",
    Backbone(
        "slowfast-fast",
        FastPathway,
        with_feature_layers=lambda network, taps: network,
        channels={"res5": 256},
        variants={
            # Li et al.'s released fork normalises as for ImageNet, the weights were trained with the others
            "": Variant(("res5",)),
            "kinetics": Variant(("res5",), (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
        },
        unused=r"blocks\.\d+\.multipathway_(blocks\.0|fusion)\.|blocks\.6\.",
        published=UrlWeights(
            "Kinetics-400 SLOWFAST_8x8_R50",
            "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth",
        ),
        clips=ClipRule(window=64, inputs=32, steps=32),
    ),
)
