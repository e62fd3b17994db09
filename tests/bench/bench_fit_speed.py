"""Epochs of sub-gru on konvid58 with their validation: the way of the released VSFA.py, vqafeat, and the
products of the FC alone.

python tests/bench/bench_fit_speed.py [--epochs N] [--splits N] [--rounds N]
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import torch
from measuring import print_row, start_table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.train_alone import config_of, task_of
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training.config import RECIPES
from vqafeat.training.loop import train_splits

CACHE = Path(__file__).parents[3] / "shared" / "data" / "konvid58"


def read_cache() -> FeatureDataset:
    """Read the published features into memory."""
    if not CACHE.is_dir():
        sys.exit(f"features are absent: {CACHE}")
    paths = sorted(CACHE.glob("*_resnet-50_res5c.npy"), key=lambda path: int(path.name.split("_")[0]))
    features = [np.load(path).astype(np.float16) for path in paths]
    scores = [np.load(path.with_name(path.name.replace("resnet-50_res5c", "score"))) for path in paths]
    mos = np.array([np.asarray(score, dtype=np.float64).item() for score in scores])
    names = tuple(path.name for path in paths)
    return FeatureDataset(names, names, mos, features)


def random_splits(count: int, videos: int) -> list[Split]:
    """Draw 60/20/20 splits."""
    orders = [np.random.default_rng(seed).permutation(videos).tolist() for seed in range(count)]
    first, second = int(0.6 * videos), int(0.8 * videos)
    return [
        Split(tuple(order[:first]), tuple(order[first:second]), tuple(order[second:])) for order in orders
    ]


class ReleasedHead(nn.Module):
    """The network of the released VSFA.py: padded batches, pooling video by video."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.recurrence, self.score = (
            nn.Linear(4096, 128),
            nn.GRU(128, 32, batch_first=True),
            nn.Linear(32, 1),
        )

    def forward(self, padded: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch,) scores of (batch, longest, channel) features."""
        quality = self.score(self.recurrence(self.reduce(padded), torch.zeros(1, len(padded), 32))[0])
        return torch.stack(
            [pooled(quality[index, : int(length)]).mean() for index, length in enumerate(lengths)]
        )


def pooled(quality: Tensor, window: int = 12, beta: float = 0.5) -> Tensor:
    """Pool (time, 1) qualities as the released `TP` does."""
    row = quality.T.unsqueeze(0)
    memory = -nn.functional.max_pool1d(
        torch.cat([torch.full((1, 1, window - 1), -torch.inf), -row], 2), window, stride=1
    )
    behind = torch.full((1, 1, window - 1), torch.inf)
    weighted = nn.functional.avg_pool1d(
        torch.cat([row * torch.exp(-row), torch.zeros(1, 1, window - 1)], 2), window, stride=1
    )
    weights = nn.functional.avg_pool1d(torch.cat([torch.exp(-row), torch.exp(-behind)], 2), window, stride=1)
    return beta * weighted / weights + (1 - beta) * memory


def released_way(sequences: FeatureDataset, splits: list[Split], epochs: int) -> float:
    """Return the seconds of the epochs of all splits, one split after another."""
    longest = max(sequences.lengths)
    padded = np.zeros((len(sequences), longest, 4096))
    for row, values in enumerate(sequences.features):
        padded[row, : len(values)] = values
    labels = torch.from_numpy(sequences.mos / sequences.mos.max()).float()
    lengths = torch.tensor(sequences.lengths)
    start = time.perf_counter()
    for split in splits:
        head = ReleasedHead()
        optimiser = torch.optim.Adam(head.parameters(), 1e-5)
        for _ in range(epochs):
            order = np.random.permutation(split.train)
            for rows in np.array_split(order, range(16, len(order), 16)):
                loss = nn.functional.l1_loss(
                    head(torch.from_numpy(padded[rows]).float(), lengths[rows]), labels[rows]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                for row in [
                    *split.validation,
                    *split.test,
                ]:  # the released loop scores both after each epoch, video by video
                    head(torch.from_numpy(padded[row : row + 1]).float(), lengths[row : row + 1])
    return time.perf_counter() - start


def group(splits: list[Split], epochs: int) -> None:
    """Train the heads of a group of splits together, on one thread."""
    recipe = RECIPES.get("vsfa").overridden({"epochs": epochs, "warmup_fraction": 0.0})
    data = to_shared_memory()
    tasks = [task_of(data, split, seed, recipe) for seed, split in enumerate(splits)]
    train_splits(data, tasks, config_of("sub-gru", {}, recipe))


@cache
def to_shared_memory() -> FeatureDataset:
    """Return the features, read once a process."""
    torch.set_num_threads(1)
    return read_cache()


def ours(pool: ProcessPoolExecutor, splits: list[Split], epochs: int) -> float:
    """Return the same of the training loop as `fit --jobs 2` runs it: one split after another in each of two
    processes that are there already.
    """
    groups = [[split] for split in splits]
    start = time.perf_counter()
    list(pool.map(group, groups, [epochs] * len(groups)))
    return time.perf_counter() - start


def products_alone(sequences: FeatureDataset, splits: list[Split], epochs: int) -> float:
    """Return the seconds of the FC's matrix products alone: forward and gradient in training, forward in
    validation.
    """
    weight, split = torch.randn(128, 4096), splits[0]
    frames = {row: torch.randn(sequences.lengths[row], 4096) for row in (*split.train, *split.validation)}
    start = time.perf_counter()
    for _ in range(5):
        for row in split.train:
            (frames[row] @ weight.T).T @ frames[row]
        for row in split.validation:
            frames[row] @ weight.T
    return (time.perf_counter() - start) / 5 * epochs * len(splits)


def main() -> None:
    """Print the medians of the three over rounds, and of their ratios within a round, since machines
    drift.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20, help="in each round")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sequences = read_cache()
    splits = random_splits(given.splits, len(sequences))
    rounds = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as pool:
        list(pool.map(group, [splits[:2]] * 4, [1] * 4))  # both read the features and take their memory
        for _ in range(given.rounds):
            own = ours(pool, splits, given.epochs)
            rounds.append(
                (
                    own,
                    released_way(sequences, splits, given.epochs),
                    products_alone(sequences, splits, given.epochs),
                )
            )
            print("  ".join(f"{seconds:.1f} s" for seconds in rounds[-1]), flush=True)
    start_table("", "seconds", "ms for an epoch of a split, with validation")
    for name, values in zip(
        ("vqafeat", "released way", "the FC's products alone"), zip(*rounds, strict=True), strict=True
    ):
        print_row(name, f"{median(values):.1f}", f"{median(values) / given.epochs / given.splits * 1e3:.0f}")
    print(
        f"{median(released / own for own, released, _ in rounds):.2f} times the released way; "
        f"{median(products / own for own, _, products in rounds):.0%} of the rate of the products alone"
    )


if __name__ == "__main__":
    main()
