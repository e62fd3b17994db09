"""CPU seconds and multiplications of an epoch, with its validation, of each head, next to sub-gru.

python tests/bench/bench_heads.py [--videos N] [--shortest FRAMES] [--rounds N]

Multiplications are those of matrix products; PyTorch does not count those of an LSTM.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measuring import print_row, start_table
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.train_alone import config_of, task_of
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training.config import RECIPES
from vqafeat.training.loop import train_splits

CHANNELS, LONGEST = 4096, 240
HEADS = ("sub-gru", "no-time", "avg-gru", "sub-lstm", "transformer", "mdtvsfa")


def random_features(videos: int, shortest: int) -> FeatureDataset:
    random = np.random.default_rng(0)
    lengths = random.integers(shortest, LONGEST + 1, videos)
    features = [random.standard_normal((length, CHANNELS), np.float32) for length in lengths]
    names = tuple(f"v{number}" for number in range(videos))
    return FeatureDataset(names, names, random.uniform(1, 5, videos), features)


def epoch_seconds(data: FeatureDataset, head: str) -> float:
    cut = len(data) * 3 // 4
    split = Split(tuple(range(cut)), tuple(range(cut, len(data) - 1)), (len(data) - 1,))
    recipe = RECIPES.get("default").overridden({"epochs": 2})
    config, ends = config_of(head, {}, recipe), [0.0]
    task = task_of(data, split, 0, recipe)
    train_splits(data, [task], config, progress=lambda *_: ends.append(time.process_time()))
    return ends[-1] - ends[-2]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=64)
    parser.add_argument("--shortest", type=int, default=LONGEST)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = random_features(options.videos, options.shortest)
    products = dict[str, int]()
    for head in HEADS:
        with FlopCounterMode(display=False) as counter:
            epoch_seconds(data, head)
        products[head] = counter.get_total_flops()
    rounds = [{head: epoch_seconds(data, head) for head in HEADS} for _ in range(options.rounds)]
    start_table("head", "CPU seconds an epoch", "times sub-gru", "by multiplications")
    for head in HEADS:
        ratio = statistics.median(own[head] / own["sub-gru"] for own in rounds)
        seconds = statistics.median(own[head] for own in rounds)
        print_row(head, f"{seconds:.2f}", f"{ratio:.2f}", f"{products[head] / products['sub-gru']:.2f}")


if __name__ == "__main__":
    main()
