"""Finished runs for reports: one fitted on a tiny store, with videos of unpleasant names, and larger ones
with chosen scores.
"""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.recorded_runs import CONFIG
from tests.helpers.stores import identity, tiny_features, tiny_seconds
from vqafeat.datasets import Dataset, Video
from vqafeat.io import write_csv, write_json
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit
from vqafeat.training.predictions import (
    Prediction,
    fit_calibrations,
    summarise,
    with_scores,
    write_calibrations,
    write_predictions,
)
from vqafeat.training.run_config import RunConfig, TrainingDataset

NASTY = "<img src=x onerror=alert(1)>.mp4"
ENDING = "clip </script><b>&amp;\u2028.mp4"
VIDEOS = 12
SPLITS = (
    Split(train=(0, 1, 2, 3, 4), validation=(5, 6, 7), test=(8, 9, 10, 11)),
    Split(train=(7, 8, 9, 10, 11), validation=(4, 5, 6), test=(0, 1, 2, 3)),
)


def names() -> list[str]:
    """Return the names of the fitted run's videos; the first two are unpleasant."""
    return [NASTY, ENDING, *(f"night/clip {number}.mp4" for number in range(2, VIDEOS))]


def fitted_run(folder: Path, name: str = "fitted", epochs: int = 2) -> tuple[Path, Path]:
    """Fit a tiny head and return the folders of the run and of its feature stores."""
    videos = tuple(
        Video(video, 1.0 + float(tiny_features(number)[:, 0].mean()), f"scene {number // 2}")
        for number, video in enumerate(names())
    )
    dataset = Dataset(
        name="tiny",
        title="Tiny",
        score_name="MOS",
        mos_range=(-1.0, 5.0),
        videos=videos,
        label_list="made",
        digest="d1",
    )
    store = FeatureStore.create(folder / "features" / "tiny.zarr", dataset)
    store.add_feature_set("tiny", identity())
    for number, video in enumerate(videos):
        values = tiny_features(number)
        frames = np.arange(len(values), dtype=np.int32)
        store.write_frames(video.name, FrameTable(tiny_seconds(number), {"sha256": f"{number:064}"}))
        store.write_features("tiny", video.name, VideoFeatures(values, frames), f"{number:064}")
    run = folder / "runs" / name
    config = FitConfig("tiny", "no-time", overrides={"epochs": epochs})
    fit(FeatureStore.open(store.path), config, run, splits=SPLITS)
    return run, folder / "features"


def recorded_run(
    folder: Path,
    *,
    videos: int = 40,
    splits: int = 3,
    datasets: tuple[str, ...] = ("tiny",),
    noise: float = 0.4,
    **changes: Any,
) -> Path:
    """Write a finished run of `videos` videos a data set, each with an output and a calibrated score in each
    split.
    """
    rng = np.random.default_rng(3)
    rows, named = (
        list[Prediction](),
        [dict[str, list[str]](train=[], validation=[], test=[]) for _ in range(splits)],
    )
    for number, dataset in enumerate(datasets):
        prefix = f"{dataset}/" if len(datasets) > 1 else ""
        top = (5.0, 100.0)[number % 2]
        for video in range(videos):
            mos = float(rng.uniform(0.2, 1) * top)
            for split in range(splits):
                draw = rng.random()
                part = "test" if draw < 0.2 or video < 8 else "validation" if draw < 0.4 else "train"
                named[split][part].append(f"{prefix}v{video:04}.mp4")
                score = mos + float(rng.normal(scale=noise * top / 5))
                rows.append(
                    Prediction(
                        split, part, f"{prefix}v{video:04}.mp4", f"{prefix}scene {video // 2}", mos, score
                    )
                )
    lines = (LabelScaling(1.0),) * splits
    trained = [
        asdict(TrainingDataset(name, "d1", "MOS", (0.0, (5.0, 100.0)[number % 2]), lines))
        for number, name in enumerate(datasets)
    ]
    config = {**CONFIG, "mapping": "logistic", "datasets": trained, **changes}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_json(folder / "splits.json", {"kind": "by hand", "splits": named})
    resolved = RunConfig.from_dict(config, "the test's configuration")
    calibrations = fit_calibrations(rows, resolved)
    write_calibrations(folder, resolved, calibrations)
    scored = with_scores(rows, resolved, calibrations)
    write_predictions(folder, scored)
    epochs = [
        (split, epoch, 2 / epoch + 0.1 * split, 0.9 - 0.5 / epoch - 0.02 * split)
        for split in range(splits)
        for epoch in range(1, 21)
    ]
    write_csv(folder / "curve.csv", ("split", "epoch", "loss", "validation_srocc"), epochs)
    summary = summarise(scored, splits, config["mapping"], ["made for a test"], datasets)
    write_json(
        folder / "metrics.json", {**summary.as_dict(), "kept_epochs": [20 - split for split in range(splits)]}
    )
    return folder


def scores_in(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a run's predictions.csv as text."""
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
