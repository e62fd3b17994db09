"""Epochs of sub-gru with features in memory, read from the store ahead of their use, and read when they are
needed; length buckets.

python tests/bench/bench_streaming.py [--videos N] [--repeats N]
"""

import argparse
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from measuring import print_row, start_table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.train_alone import config_of, task_of
from vqafeat.datasets import Dataset, Video
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.features import FeatureDataset, load_features, to_shared_memory
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.training import batching
from vqafeat.training.config import RECIPES, Recipe
from vqafeat.training.loop import train_splits

CHANNELS = 4096


def made(folder: Path, videos: int) -> FeatureStore:
    """Make a store of synthetic features of 60 to 360 frames, as wide as ResNet-50's."""
    random = np.random.default_rng(0)
    rows = tuple(Video(f"{number}.mp4", float(random.uniform(1, 5)), str(number)) for number in range(videos))
    dataset = Dataset("made", "Made", "MOS", (1.0, 5.0), rows, "made", "made")
    store = FeatureStore.create(folder / "made.zarr", dataset)
    taps = ("last",)
    store.add_feature_set(
        "made",
        FeatureSetIdentity(
            "made", "0" * 64, taps, "gap+gsp", "full", "every", "none", "none", "float16", CHANNELS
        ),
    )
    for video in rows:
        count = int(random.integers(60, 361))
        values = random.standard_normal((count, CHANNELS), np.float32).astype(np.float16)
        store.write_features("made", video.name, VideoFeatures(values, np.arange(count, dtype=np.int32)), "")
    return FeatureStore.open(store.path)


def epoch_seconds(sequences: FeatureDataset, recipe: Recipe, repeats: int) -> float:
    """Return the median seconds of an epoch with its validation; the first one warms up."""
    count = len(sequences)
    split = Split(
        tuple(range(count * 3 // 4)), tuple(range(count * 3 // 4, count - 3)), tuple(range(count - 3, count))
    )
    ends: list[float] = []
    recipe = recipe.overridden({"epochs": repeats + 1})
    task, config = task_of(sequences, split, 0, recipe), config_of("sub-gru", {}, recipe)
    train_splits(sequences, [task], config, progress=lambda *record: ends.append(time.perf_counter()))
    return statistics.median(end - start for start, end in pairwise(ends))


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES.get("default")
    with tempfile.TemporaryDirectory() as folder:
        stored = load_features(made(Path(folder), given.videos), "made")
        inside = to_shared_memory(stored, 1 << 40)
        ahead = batching.PREPARED_AHEAD
        gib = sum(stored.lengths) * CHANNELS * 2 / 2**30
        start_table(f"{given.videos} videos, {gib:.2f} GiB", "s an epoch")
        print_row("in memory", f"{epoch_seconds(inside, recipe, given.repeats):.2f}")
        print_row("read ahead", f"{epoch_seconds(stored, recipe, given.repeats):.2f}")
        batching.PREPARED_AHEAD = 0
        print_row("read when needed", f"{epoch_seconds(stored, recipe, given.repeats):.2f}")
        batching.PREPARED_AHEAD = ahead
        bucketed = recipe.overridden({"length_bucket_size": 8})
        seconds = epoch_seconds(inside, bucketed, given.repeats)
        print_row("in memory, buckets of 8 batches", f"{seconds:.2f}")


if __name__ == "__main__":
    main()
