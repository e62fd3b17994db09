"""Compare training recipes on the 58 published KoNViD-1k feature files, to choose the default one by
VALIDATION.

    python tests/bench/choose_recipe.py [CANDIDATE …] [--splits 10] [--head sub-gru] [--data FOLDER] [--record
    FILE]

Ten seeded video-level splits (35 train, 12 validation, 11 test), one thread. `kept` is the validation SROCC
of the epoch that was kept (a maximum over the epochs, so it favours long runs), `last` that of the last five
epochs' mean, which no choice of an epoch has flattered. The test column is for the report only. One JSON line
a fit goes to --record; fits that stand there already are not repeated.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.train_alone import finish, train
from vqafeat.heads.base import build_head
from vqafeat.metrics import evaluate_predictions
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset
from vqafeat.training.batching import Batcher
from vqafeat.training.config import RECIPES, Recipe
from vqafeat.training.trainer import predict

PLAIN: dict[str, Any] = {
    "batch_size": 16,
    "epochs": 20,
    "weight_decay": 0.0,
    "schedule": "none",
    "standardise": False,
    "start_at_mean": False,
}
MEAN = {**PLAIN, "start_at_mean": True}
ALL = {**MEAN, "weight_decay": 0.01, "schedule": "cosine", "standardise": True}
CANDIDATES: dict[str, dict[str, Any]] = {
    "vsfa": {},
    "plain 1e-4": {**PLAIN, "learning_rate": 1e-4},
    "plain 3e-4": {**PLAIN, "learning_rate": 3e-4},
    "plain 1e-3": {**PLAIN, "learning_rate": 1e-3},
    "plain 3e-4, 40 epochs": {**PLAIN, "learning_rate": 3e-4, "epochs": 40},
    "plain 3e-4, batch 8": {**PLAIN, "learning_rate": 3e-4, "batch_size": 8},
    "plain 3e-4, batch 8, 40 epochs": {**PLAIN, "learning_rate": 3e-4, "batch_size": 8, "epochs": 40},
    "plain 1e-3, 40 epochs": {**PLAIN, "learning_rate": 1e-3, "epochs": 40},
    "cosine 3e-4": {**PLAIN, "learning_rate": 3e-4, "schedule": "cosine"},
    "cosine 1e-3": {**PLAIN, "learning_rate": 1e-3, "schedule": "cosine"},
    "mean 3e-4": {**MEAN, "learning_rate": 3e-4},
    "mean 3e-4, 40 epochs": {**MEAN, "learning_rate": 3e-4, "epochs": 40},
    "mean 1e-4, 40 epochs": {**MEAN, "learning_rate": 1e-4, "epochs": 40},
    "mean 1e-4, 80 epochs": {**MEAN, "learning_rate": 1e-4, "epochs": 80},
    "mean, cosine 3e-4": {**MEAN, "learning_rate": 3e-4, "schedule": "cosine"},
    "mean, cosine 1e-3": {**MEAN, "learning_rate": 1e-3, "schedule": "cosine"},
    "standardise 3e-4": {**PLAIN, "learning_rate": 3e-4, "standardise": True},
    "all 1e-4": {**ALL, "learning_rate": 1e-4},
    "all 3e-4": {**ALL, "learning_rate": 3e-4},
}


def load(folder: Path) -> FeatureDataset:
    """Read the feature files, videos in the order of their numbers."""
    numbers = sorted(int(path.name.split("_")[0]) for path in folder.glob("*_score.npy"))
    return FeatureDataset(
        names=tuple(str(number) for number in numbers),
        contents=tuple(str(number) for number in numbers),
        mos=np.array([float(np.load(folder / f"{number}_score.npy").item()) for number in numbers]),
        features=tuple(np.load(folder / f"{number}_resnet-50_res5c.npy") for number in numbers),
    )


def video_level_split(videos: int, number: int) -> Split:
    """Return the 60/20/20 split of this number, cut with "ceil" as VSFA does."""
    rows = [int(row) for row in np.random.default_rng(number).permutation(videos)]
    first, second = ceil(0.6 * videos), ceil(0.8 * videos)
    return Split(tuple(rows[:first]), tuple(rows[first:second]), tuple(rows[second:]))


def recipe_of(candidate: str) -> Recipe:
    """Return the recipe of a candidate."""
    return RECIPES.get("vsfa" if candidate == "vsfa" else "default").overridden(CANDIDATES[candidate])


def fit(sequences: FeatureDataset, candidate: str, head_name: str, number: int) -> dict[str, Any]:
    """Train on one split and return its figures."""
    split, began = video_level_split(len(sequences), number), time.perf_counter()
    result = finish(train(sequences, split, head_name, {}, recipe_of(candidate), number))
    seconds = time.perf_counter() - began
    head = build_head(head_name, sequences.channels)
    head.load_state_dict(result.weights)
    test = evaluate_predictions(
        predict(head, Batcher(sequences), split.test), sequences.mos[list(split.test)], mapping="none"
    )
    return {
        "candidate": candidate,
        "head": head_name,
        "split": number,
        "kept": result.curve[result.kept_epoch - 1].validation_srocc,
        "last": float(np.mean([record.validation_srocc for record in result.curve[-5:]])),
        "test": test.srocc,
        "kept_epoch": result.kept_epoch,
        "seconds": seconds,
    }


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the comparison, in Markdown."""
    yield "| head | candidate | splits | validation, kept | validation, last | test SROCC | seconds a fit |"
    yield "|---|---|---|---|---|---|---|"
    for head, candidate in dict.fromkeys((row["head"], row["candidate"]) for row in rows):
        own = [row for row in rows if (row["head"], row["candidate"]) == (head, candidate)]
        cells = [
            f"{np.mean([row[key] for row in own]):.3f} ± {np.std([row[key] for row in own]):.3f}"
            for key in ("kept", "last", "test")
        ]
        cells.append(f"{np.mean([row['seconds'] for row in own]):.1f}")
        yield f"| {head} | {candidate} | {len(own)} | {' | '.join(cells)} |"


def main() -> None:
    """Run the candidates and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "candidates",
        nargs="*",
        default=[name for name in CANDIDATES if name != "vsfa"],
        help="any of: " + ", ".join(CANDIDATES),
    )
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--head", default="sub-gru")
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "konvid58"
    )
    parser.add_argument("--record", type=Path, default=Path("choose_recipe.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sequences = load(arguments.data)
    done = (
        [json.loads(line) for line in arguments.record.read_text().splitlines()]
        if arguments.record.is_file()
        else []
    )
    known = {(row["candidate"], row["head"], row["split"]) for row in done}
    for candidate in arguments.candidates:
        for number in range(arguments.splits):
            if (candidate, arguments.head, number) not in known:
                done.append(fit(sequences, candidate, arguments.head, number))
                with arguments.record.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
    print("\n".join(table(done)))


if __name__ == "__main__":
    main()
