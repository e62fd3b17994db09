"""A tiny store in place of all data sets, and small tables."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.stores import identity, tiny_features
from vqafeat.datasets import Dataset, Video
from vqafeat.paper_tables.load import table_of
from vqafeat.paper_tables.table import PaperTable
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures

VIDEOS = 48
MakeTable = Callable[..., PaperTable]
OWN_TABLE = """
title = "own"
paper = "ours"
label = "Table 1"
tolerance = { srocc = 0.1 }
columns = [{ name = "SROCC", measure = "srocc" }]
rows = [{ name = "no-time", head = "no-time", published = "5" }]

[run]
datasets = "konvid"
features = "resnet18"
splits = 2
overrides = { epochs = 1 }
"""


def make_store(
    folder: Path, name: str, feature_sets: tuple[str, ...] = ("resnet18",), first: int = 0
) -> FeatureStore:
    """Return a store of twelve contents with four videos each, with the times of their frames."""
    features = {f"clip{number}.mp4": tiny_features(first + number) for number in range(VIDEOS)}
    videos = tuple(
        Video(video, 1.0 + float(values[:, 0].mean()), f"scene {number // 4}")
        for number, (video, values) in enumerate(features.items())
    )
    dataset = Dataset(
        name=name,
        title=name,
        score_name="MOS",
        mos_range=(0.8, 3.3),
        videos=videos,
        label_list="made",
        digest=name,
    )
    store = FeatureStore.create(folder / f"{name}.zarr", dataset)
    for feature_set in feature_sets:
        store.add_feature_set(feature_set, identity(feature_set))
    for number, (video, values) in enumerate(features.items()):
        digest, frame = f"{number:064}", np.arange(len(values), dtype=np.int32)
        store.write_frames(
            video,
            FrameTable(0.04 * frame.astype(np.float64), {"sha256": digest, "width": 1280, "height": 720}),
        )
        for feature_set in feature_sets:
            store.write_features(feature_set, video, VideoFeatures(values, frame), digest)
    return FeatureStore.open(store.path)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stores of demo, konvid and live-vqc, to be read only."""
    folder = tmp_path_factory.mktemp("features")
    for number, name in enumerate(("demo", "konvid", "live-vqc")):
        make_store(folder, name, first=100 * number)
    return folder


@cache
def _quick() -> dict[str, Any]:
    return {
        "datasets": "konvid",
        "features": "resnet18",
        "splits": 3,
        "overrides": {"epochs": 2, "learning_rate": 0.01},
    }


@pytest.fixture
def make_table() -> MakeTable:
    """Return a maker of tables, with one column for SROCC unless columns are given."""

    def make(
        rows: list[dict[str, Any]], columns: list[dict[str, Any]] | None = None, **others: Any
    ) -> PaperTable:
        run = {**_quick(), **others.pop("run", {})}
        columns = columns or [{"name": "SROCC", "measure": "srocc"}]
        values = {
            "title": "tiny",
            "paper": "nobody's",
            "label": "Table 0",
            "run": run,
            "columns": columns,
            "rows": rows,
            **others,
        }
        return table_of(values, "tiny-0")

    return make
