"""Run folders as a fit writes them, with predictions given by the test instead of a head."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, pearsonr, spearmanr

from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.training.frame_sampling import WHOLE_VIDEOS
from vqafeat.training.run_config import FORMAT_VERSION, TrainingDataset

VIDEOS = 30
MOS = np.random.default_rng(7).uniform(1, 5, VIDEOS)
CONFIG: dict[str, Any] = {
    "head": "no-time",
    "options": {"reduced": 4},
    "recipe": {"loss": "l1"},
    "seed": 0,
    "feature_sets": "tiny",
    "identities": {},
    "channels": 6,
    "split_kind": "by hand",
    "mapping": "none",
    "origin": "test",
    "versions": {},
    "frame_input": WHOLE_VIDEOS.as_dict(),
    "splits_digest": "s1",
    "format_version": FORMAT_VERSION,
}


def tested_rows(split: int) -> list[int]:
    """Twelve videos; those of neighbouring splits overlap in part."""
    return [(5 * split + step) % VIDEOS for step in range(12)]


def scores_of(noise: float, seed: int, splits: int = 4) -> dict[tuple[int, int], float]:
    """Return (split, video) → label plus noise."""
    rng = np.random.default_rng(seed)
    return {
        (split, row): float(MOS[row] + rng.normal(scale=noise))
        for split in range(splits)
        for row in tested_rows(split)
    }


def write_run(
    folder: Path, scores: dict[tuple[int, int], float], dataset: str = "tiny", **changes: Any
) -> Path:
    """Write config.json, splits.json, predictions.csv and metrics.json by SciPy's own measures."""
    numbers = sorted({split for split, _ in scores})
    folder.mkdir(parents=True)
    trained_on = TrainingDataset(dataset, "d1", "MOS", (1.0, 5.0), (LabelScaling(1.0),) * len(numbers))
    config = {**CONFIG, "datasets": [asdict(trained_on)], **changes}
    (folder / "config.json").write_text(json.dumps(config))
    named = [
        {"train": ["t0"], "validation": [], "test": [f"v{row}" for split, row in scores if split == number]}
        for number in numbers
    ]
    (folder / "splits.json").write_text(json.dumps({"kind": "by hand", "splits": named}))
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "part", "video", "content", "mos", "prediction"])
        writer.writerow([0, "train", "t0", "t0", 3.0, ""])
        writer.writerows(
            [split, "test", f"v{row}", f"c{row}", repr(float(MOS[row])), repr(score)]
            for (split, row), score in scores.items()
        )
    (folder / "metrics.json").write_text(json.dumps(_metrics(scores, numbers)))
    return folder


def _metrics(scores: dict[tuple[int, int], float], numbers: list[int]) -> dict[str, Any]:
    metrics: dict[str, Any] = {name: {"values": []} for name in ("srocc", "krocc", "plcc", "rmse")}
    for number in numbers:
        rows = [row for split, row in scores if split == number]
        predicted = np.array([scores[number, row] for row in rows])
        defined = bool(np.ptp(predicted))
        for name, rule in (("srocc", spearmanr), ("krocc", kendalltau), ("plcc", pearsonr)):
            metrics[name]["values"].append(float(rule(predicted, MOS[rows]).statistic) if defined else None)
        metrics["rmse"]["values"].append(float(np.sqrt(np.mean((predicted - MOS[rows]) ** 2))))
    return {**metrics, "n": [sum(split == number for split, _ in scores) for number in numbers], "notes": []}
