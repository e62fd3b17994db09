"""Stage 2: temporal heads, trained on cached per-frame features; it never opens a video.

What `vqafeat list` names is here, so that listing does not import PyTorch.
"""

from typing import TYPE_CHECKING

from vqafeat.registry import Registry

if TYPE_CHECKING:
    from vqafeat.training.recipes import Recipe

RECIPES: "Registry[Recipe]" = Registry(
    "recipe",
    {
        name: (f"vqafeat.training.recipes:{name.upper().replace('-', '_')}", summary)
        for name, summary in {
            "vsfa": "Adam 1e-05, batch 16, 2000 epochs, l1",
            "default": "Adam 0.0001, batch 16, 40 epochs, l1",
            "demo": "Adam 0.001, batch 16, 120 epochs, l1",
            "mdtvsfa": "Adam 0.0001, batch 32, 40 epochs, plcc+rank-mdtvsfa+l1",
            "li-released": "Adam 0.0005, batch 32, 40 epochs, plcc+srcc",
            "li": "Adam 0.0005, batch 32, 40 epochs, plcc+srcc",
            "li-rescaled": "Adam 0.0005, batch 32, 40 epochs, l1",
            "fang": "Adam 1e-05, batch 128, 2000 epochs, l1",
            "a2inet": "Adam 2e-05, batch 8, 40 epochs, l1+rank",
        }.items()
    },
)
# form → what it takes
SAMPLINGS = {
    "all": "every frame as stored (also: sample-0, rate-own)",
    "sample-K": "one random frame of each K; drawn anew each epoch (Fang et al.: K = 4, 8, 16)",
    "stride-N": "every N-th frame",
    "uniform-N": "N frames at equal intervals",
    "rate-R": "R frames a second: the frame nearest to each tick, by the stored times (Fontanel et al.: "
    "R = 25, 20, 10, 5)",
}
ORDERS = {
    "OO": "trained and tested on frames in their original order",
    "OS": "trained on frames in their original order, tested on shuffled ones",
    "SO": "trained on shuffled frames, tested on frames in their original order",
    "SS": "trained and tested on shuffled frames",
}
