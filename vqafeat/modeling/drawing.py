"""The splits of a fit, drawn by protocol, ratio and seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vqafeat.datasets import Dataset
from vqafeat.modeling.mixing import joint_splits
from vqafeat.modeling.recipes import RECIPES
from vqafeat.splits import Split, SplitRequest, make_split, shared_contents


@dataclass(frozen=True)
class DrawnSplits:
    """Splits, and how they were drawn in words, leaks of content included."""

    splits: tuple[Split, ...]
    words: str


def drawn_splits(
    members: Sequence[Dataset],
    protocol: str,
    count: int,
    seed: int,
    ratio: str,
    recipe: str,
    test_part: str = "test",
    validation_share: float = 0.0,
) -> DrawnSplits:
    """Draw the splits of a fit, of several data sets each by itself; the recipe says how a stored permutation is cut."""
    rounding = RECIPES.get(recipe).split_rounding
    asked = SplitRequest(0, seed, ratio, rounding, test_part, validation_share)  # type: ignore[arg-type]
    drawn = [[make_split(member, protocol, replace(asked, run=run)) for run in range(count)] for member in members]
    leaks = [
        len(shared_contents(split, [video.content for video in member.videos]))
        for member, splits in zip(members, drawn, strict=True)
        for split in splits
    ]
    leak = f"up to {max(leaks)} test contents also in training" if any(leaks) else "no content shared between training and test"
    how = {"official": f"tested on '{test_part}', {validation_share:g} of training for validation", "stored": ratio}
    words = f"{protocol}, {how.get(protocol, f'{ratio}, seed {seed}')}; {leak}"
    return DrawnSplits(tuple(joint_splits(drawn, [len(member.videos) for member in members])), words)
