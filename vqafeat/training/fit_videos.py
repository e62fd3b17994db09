"""The videos of a fit: how they are split, and which of them have features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.splits import PARTS, Split, leakage, make_split, shared_contents
from vqafeat.store.features import FeatureDataset, FeatureReader, complete_rows, load_features
from vqafeat.training.config import FitConfig
from vqafeat.training.joint_store import joint_splits
from vqafeat.training.predictions import FEWEST_TO_MEASURE


def draw_splits(datasets: Sequence[Dataset], config: FitConfig) -> tuple[list[Split], str]:
    """Return the splits of the data sets of a fit, and how they are drawn, in words."""
    options = {name: getattr(config, name) for name in ("seed", "ratio", "test_part", "validation_share")}
    options["rounding"] = config.resolved_recipe.split_rounding
    splits = [
        [make_split(dataset, config.protocol, run, **options) for run in range(config.splits)]
        for dataset in datasets
    ]
    leaks = [
        len(shared_contents(split, [video.content for video in dataset.videos]))
        for dataset, own in zip(datasets, splits, strict=True)
        for split in own
    ]
    leak = (
        f"up to {max(leaks)} test contents also in training"
        if any(leaks)
        else "no content shared between training and test"
    )
    how = {
        "official": f"tested on '{config.test_part}', {config.validation_share:g} of training for validation",
        "stored": config.ratio,
    }.get(config.protocol, f"{config.ratio}, seed {config.seed}")
    joined = joint_splits(splits, [len(dataset.videos) for dataset in datasets])
    return joined, f"{config.protocol}, {how}; {leak}"


@dataclass(frozen=True, eq=False)
class FitVideos:
    """The videos that a fit uses.

    Attributes:
        rows: positions of the videos in the store.
        splits: positions in `rows`.
        words: how the splits were drawn.
        skipped: names of the videos without features.
        epochs: where training stops; see `SplitTask`.
    """

    rows: tuple[int, ...]
    data: FeatureDataset
    splits: tuple[Split, ...]
    words: str
    skipped: tuple[str, ...]
    epochs: int | None = None

    @classmethod
    def of_splits(
        cls, store: FeatureReader, config: FitConfig, splits: Sequence[Split] | None
    ) -> "FitVideos":
        """Return the videos of the splits, with features; without splits, of those that `config` draws."""
        splits, words = draw_splits(store.datasets, config) if splits is None else (splits, "given")
        if not splits:
            raise ArgumentError("splits is empty; give at least one split, as with --splits 10.")
        videos = store.dataset.videos
        required = sorted({row for split in splits for part in PARTS for row in getattr(split, part)})
        if required[-1] >= len(videos):
            raise TrainingError(
                f"a split names video {required[-1]}, '{store.dataset.name}' has 0 to {len(videos) - 1}; use "
                "splits of this data set."
            )
        rows, skipped = _with_features(store, config, required)
        local = tuple(_restrict_split(split, number, rows) for number, split in enumerate(splits))
        return cls(rows, load_features(store, config.features, rows), local, words, skipped)

    @classmethod
    def of_final_head(cls, store: FeatureReader, config: FitConfig) -> "FitVideos":
        """Return all videos of the data sets as one split that only has a training part."""
        rows, skipped = _with_features(store, config, range(len(store.dataset.videos)))
        splits = (Split(tuple(range(len(rows))), (), ()),)
        return cls(rows, load_features(store, config.features, rows), splits, "", skipped)

    def until_median_of(self, kept_epochs: Sequence[int]) -> "FitVideos":
        """Return the videos of a final head, trained for the median of the epochs that the splits kept."""
        epochs = median_low(kept_epochs) or None  # 0 is of a head without epochs
        words = f"all {len(self.rows)} videos train one head"
        if epochs is not None:
            words += f", for {epochs} epoch(s): the median of those that {len(kept_epochs)} split(s) kept"
        return replace(self, words=words, epochs=epochs)

    def named_splits(self) -> dict[str, Any]:
        """Return what the digest of the splits is of; its leak is of contents alone, as in earlier runs."""
        names, leak = self.data.names, leakage(self.splits, self.data.contents)
        splits = [{part: [names[row] for row in getattr(one, part)] for part in PARTS} for one in self.splits]
        return {"kind": self.words, "skipped": self.skipped, "leak": leak, "splits": splits}


def _with_features(
    store: FeatureReader, config: FitConfig, required: Sequence[int]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the rows in use, and the names of the videos that are skipped."""
    complete = set(complete_rows(store, config.features)) if config.skip_missing else set(required)
    skipped = tuple(store.dataset.videos[row].name for row in required if row not in complete)
    return tuple(row for row in required if row in complete), skipped


def _restrict_split(split: Split, number: int, rows: Sequence[int]) -> Split:
    """Return the split as positions in `rows`, without the videos that are not among them."""
    index = {row: position for position, row in enumerate(rows)}
    parts = {part: tuple(index[row] for row in getattr(split, part) if row in index) for part in PARTS}
    if not parts["train"] or len(parts["test"]) < FEWEST_TO_MEASURE:
        raise TrainingError(
            f"split {number} has {len(parts['train'])} training, {len(parts['test'])} test video(s) with "
            f"features; it takes at least 1 and {FEWEST_TO_MEASURE}. Use more videos, or larger parts, as "
            "--ratio 40/30/30."
        )
    return Split(**parts)
