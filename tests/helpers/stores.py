"""Tiny stores of synthetic features whose label can be learnt: a video's MOS follows one channel's mean."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from vqafeat.datasets import Dataset, Video
from vqafeat.store import FeatureStore
from vqafeat.store.features import FeatureDataset
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures

CHANNELS = 6
MakeStore = Callable[..., FeatureStore]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny products gain nothing from threads, and wait for one another on a busy machine."""
    torch.set_num_threads(1)


def identity(network: str = "tiny", channels: int = CHANNELS, view: str = "full") -> FeatureSetIdentity:
    return FeatureSetIdentity(
        network=network,
        weights_sha256="0" * 64,
        taps=("last",),
        pooling="gap+gsp",
        view=view,
        frame_rule="every",
        normalisation="imagenet",
        decoder="none",
        precision="float32",
        channels=channels,
    )


def tiny_features(video: int, channels: int = CHANNELS) -> np.ndarray:
    rng = np.random.default_rng(video)
    values = rng.normal(scale=0.3, size=(int(rng.integers(3, 30)), channels))
    values[:, 0] += rng.uniform(0, 2)
    return values.astype(np.float16)


def tiny_dataset(videos: int, name: str = "tiny", digest: str = "d1") -> Dataset:
    rows = tuple(
        Video(f"clip,{number}.mp4", 1.0 + float(tiny_features(number)[:, 0].mean()), f"scene {number // 2}")
        for number in range(videos)
    )
    return Dataset(
        name=name,
        title="Tiny",
        score_name="MOS",
        mos_range=(-1.0, 5.0),
        videos=rows,
        label_list="made",
        digest=digest,
    )


def tiny_sequences(videos: int = 20) -> FeatureDataset:
    rows = tiny_dataset(videos).videos
    return FeatureDataset(
        names=tuple(video.name for video in rows),
        contents=tuple(video.content for video in rows),
        mos=np.array([video.mos for video in rows]),
        features=tuple(tiny_features(number) for number in range(videos)),
    )


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FeatureStore]:
    """Return a maker of stores, to be read only: the same one is made once."""

    @cache
    def make(
        videos: int = 20,
        name: str = "tiny",
        digest: str = "d1",
        missing: tuple[int, ...] = (),
        view: str = "full",
    ) -> FeatureStore:
        dataset = tiny_dataset(videos, name, digest)
        store = FeatureStore.create(tmp_path_factory.mktemp("stores") / f"{name}.zarr", dataset)
        store.add_feature_set("tiny", identity(view=view))
        store.add_feature_set("sparse", identity("sparse", 2))
        for number, video in enumerate(dataset.videos):
            if number in missing:
                continue
            values = tiny_features(number)
            frame = np.arange(len(values), dtype=np.int32)
            store.write_features("tiny", video.name, VideoFeatures(values, frame), "")
            sparse = np.stack([frame[::2], -frame[::2]], axis=1).astype(np.float32)
            store.write_features("sparse", video.name, VideoFeatures(sparse, frame[::2].copy()), "")
        return FeatureStore.open(store.path)

    return make


def tiny_seconds(video: int) -> np.ndarray:
    """Return the times of a tiny video's frames, unsteady as those of a phone."""
    return 0.5 + np.cumsum(np.random.default_rng(1000 + video).uniform(0.01, 0.08, len(tiny_features(video))))


@pytest.fixture
def timed_store(_timed_store: Path, tmp_path: Path) -> FeatureStore:
    """Return a store with the times of its frames, as extraction leaves it."""
    return FeatureStore.open(shutil.copytree(_timed_store, tmp_path / "timed.zarr"))


@pytest.fixture(scope="session")
def _timed_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dataset = tiny_dataset(20)
    store = FeatureStore.create(tmp_path_factory.mktemp("stores") / "timed.zarr", dataset)
    store.add_feature_set("tiny", identity())
    store.add_feature_set("sparse", identity("sparse", 2))
    for number, video in enumerate(dataset.videos):
        values = tiny_features(number)
        frame = np.arange(len(values), dtype=np.int32)
        store.write_frames(video.name, FrameTable(tiny_seconds(number), {"sha256": f"{number:064}"}))
        store.write_features("tiny", video.name, VideoFeatures(values, frame), f"{number:064}")
        store.write_features(
            "sparse", video.name, VideoFeatures(values[::2, :2].copy(), frame[::2].copy()), f"{number:064}"
        )
    return store.path
