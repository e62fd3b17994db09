"""Stage 2: temporal heads, trained on cached per-frame features; it never opens a video.

What `vqafeat list` names is here, so that listing does not import PyTorch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqafeat.io import read_toml
from vqafeat.registry import Registry

if TYPE_CHECKING:
    from vqafeat.training.recipes import Recipe

RECIPE_TABLE = read_toml(Path(__file__).with_name("recipes.toml"), "recipes")
_MAIN_SETTINGS = ("learning_rate", "batch_size", "epochs", "loss")


def recipe_summary(values: Mapping[str, Any]) -> str:
    """Return the settings of a recipe as text: the main ones, then the others that `values` has."""
    main = "Adam {learning_rate:g}, batch {batch_size}, {epochs} epochs, {loss}".format(**values)
    others = {**values, **values.get("head_options", {})}
    for key in sorted(others.keys() - {*_MAIN_SETTINGS, "head_options"}):
        value = others[key]
        main += f", {key}={value:.3g}" if isinstance(value, float) else f", {key}={value}"
    return main


RECIPES: "Registry[Recipe]" = Registry(
    "recipe",
    {
        name: (f"vqafeat.training.recipes:{name}", recipe_summary(values))
        for name, values in RECIPE_TABLE.items()
    },
)
# form → what it takes
SAMPLINGS = {
    "all": "every frame as stored (also: sample-0, rate-own)",
    "sample-K": "one random frame of each K, another one in each epoch (Fang et al.: K = 4, 8, 16)",
    "stride-N": "every N-th frame",
    "uniform-N": "N frames at equal intervals",
    "rate-R": "R frames a second: those nearest to multiples of 1/R seconds, by the stored times "
    "(Fontanel et al.: R = 25, 20, 10, 5)",
}
ORDERS = {
    "OO": "trained and tested on frames in their original order",
    "OS": "trained on frames in their original order, tested on shuffled ones",
    "SO": "trained on shuffled frames, tested on frames in their original order",
    "SS": "trained and tested on shuffled frames",
}
