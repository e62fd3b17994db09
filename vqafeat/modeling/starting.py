"""The head that a training starts from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vqafeat.heads import NeuralHead, build_head
from vqafeat.modeling.batching import as_tensor
from vqafeat.modeling.recipes import Recipe
from vqafeat.modeling.rows import RowPicks, every_row, selected
from vqafeat.modeling.sequences import Sequences
from vqafeat.splits import Split

# below this share of the median channel's deviation a channel counts as nearly constant: one odd video must not blow it up
_SMALLEST_DEVIATION = 0.1


def frame_statistics(sequences: Sequences, rows: Sequence[int], picks: RowPicks = every_row) -> tuple[Tensor, Tensor]:
    """Return (channel,) mean and deviation over the picked frames of the videos in `rows`, without `picks` over all of them.

    Deviations below a tenth of the median channel's are raised to it.
    """
    counts, means, squares = 0, torch.zeros(sequences.channels, dtype=torch.float64), torch.zeros(sequences.channels, dtype=torch.float64)
    for frames in _frames_of(sequences, rows, picks):
        variance, mean = torch.var_mean(frames, dim=0, correction=0)
        gap, total = mean.double() - means, counts + len(frames)
        squares += variance.double() * len(frames) + gap.square() * (counts * len(frames) / total)
        means += gap * (len(frames) / total)
        counts = total
    deviation = (squares / counts).sqrt()
    varying = deviation[deviation > 0]
    if len(varying) == 0:
        return means.float(), torch.ones(sequences.channels)
    return means.float(), deviation.clamp_min(_SMALLEST_DEVIATION * float(varying.median())).float()


def _frames_of(sequences: Sequences, rows: Sequence[int], picks: RowPicks) -> Iterator[Tensor]:
    return (as_tensor(selected(sequences.features[row], picks(row))).float() for row in rows)


def new_head(
    sequences: Sequences,
    split: Split,
    head_name: str,
    options: Mapping[str, Any],
    recipe: Recipe,
    labels: Tensor,
    groups: Tensor,
    seed: int,
    reachable: RowPicks,
) -> NeuralHead:
    """Return an untrained head, seeded, that has seen what its recipe lets it see of the training part.

    Args:
        labels: (video,) scaled labels of all videos.
        groups: (video,) number of the data set that a video's label scale belongs to.
        reachable: the rows that training can pick.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(head_name, sequences.channels, options)
    assert isinstance(head, NeuralHead)
    head.see_labels(labels[list(split.train)], groups[list(split.train)])
    if recipe.standardise:
        head.standardise_by(*frame_statistics(sequences, split.train, reachable))
    if recipe.start_at_mean:
        head.start_at(float(labels[list(split.train)].mean()))
    return head
