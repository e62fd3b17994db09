"""Stores of a few random rows, in a folder or on the loopback S3, for the tests of the store."""

from dataclasses import replace
from typing import Any

import numpy as np

from tests.helpers.datasets import bare_dataset
from tests.helpers.s3 import LoopbackS3
from vqafeat.remote import StorePath, parse_path
from vqafeat.store import FeatureStore
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures

NAMES = ["a.mp4", "d/e.mp4"]
ROWS = [5, 1, 9, 4]
IDENTITY = FeatureSetIdentity(
    network="tiny",
    weights_sha256="ab",
    taps=("layer4",),
    pooling="GAP",
    view="full",
    frame_rule="every frame",
    normalisation="none",
    decoder="PyAV",
    precision="float16",
    channels=6,
)


def features(rows: int = 4, seed: int = 0, dtype: type = np.float16) -> VideoFeatures:
    values = np.random.default_rng(seed).normal(size=(rows, 6)).astype(dtype)
    return VideoFeatures(values, np.arange(rows, dtype=np.int32))


def frame_table(rows: int = 4, sha256: str = "aa") -> FrameTable:
    return FrameTable(np.arange(rows) / 25, {"sha256": sha256})


def values_of(number: int, dtype: type = np.float16) -> VideoFeatures:
    values = np.random.default_rng(number).normal(size=(ROWS[number], 6)).astype(dtype)
    return VideoFeatures(values, 2 * np.arange(ROWS[number], dtype=np.int32))


def filled(path: StorePath, **of_the_dataset: Any) -> FeatureStore:
    made = FeatureStore.create(path, replace(bare_dataset(NAMES), **of_the_dataset))
    with made.exclusive():
        made.add_feature_set("tiny", IDENTITY)
        for number, name in enumerate(NAMES):
            made.write_frames(name, frame_table(2 * ROWS[number], sha256=f"{number}"))
            made.write_features("tiny", name, values_of(number), f"{number}")
    return FeatureStore.open(path)


def at(s3: LoopbackS3, *options: str) -> StorePath:
    return parse_path("s3://bucket/features", [f"endpoint_url={s3.url}", *options])
