"""Extractions of a few clips with random weights, and the files they leave."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.datasets import csv_dataset
from vqafeat.backbones import Backbone
from vqafeat.backbones.feature_set import FeatureExtractor, backbone_names
from vqafeat.backbones.weights import LoadedNetwork, load_network
from vqafeat.datasets import Dataset
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import ExtractedVideo, Pipeline, Resources, VideoTask
from vqafeat.extraction.results import ExtractionSummary, NullProgress
from vqafeat.store import FeatureStore

NAMES = ["a.mp4", "b.mp4", "c.mp4"]
SQUEEZENET = ("squeezenet1_0",)
DEFAULT_WORKERS = tuple(f"vqafeat.extraction.{module}.default_workers" for module in ("extract", "pipeline"))


@pytest.fixture
def decode_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start no decoding process by default: it takes longer to start than tiny clips take to decode."""
    for name in DEFAULT_WORKERS:
        monkeypatch.setattr(name, lambda device: 0)


_networks: dict[tuple[str, str], LoadedNetwork] = {}


@pytest.fixture
def networks_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each extractor a copy of random weights: to draw those of a ResNet takes ten times as long."""

    def load(backbone: Backbone, weights: str) -> LoadedNetwork:
        if not weights.startswith("random"):
            return load_network(backbone, weights)
        key = backbone.name, weights
        if key not in _networks:
            _networks[key] = load_network(backbone, weights)
        return replace(_networks[key], network=deepcopy(_networks[key].network))

    monkeypatch.setattr("vqafeat.backbones.feature_set.load_network", load)


def extract_random(
    dataset: Dataset, store: Path | FeatureStore, feature_sets: tuple[str, ...] = SQUEEZENET, **options: Any
) -> ExtractionSummary:
    """Extract with random weights; this process decodes too, unless `options` say otherwise."""
    if isinstance(store, Path):
        store = FeatureStore.create(store, dataset)
    options = {
        "weights": dict.fromkeys(backbone_names(feature_sets), "random"),
        "resources": Resources(workers=0),
        **options,
    }
    return extract_features(dataset, feature_sets, store, **options)


def run(
    videos: Path, store: Path, feature_sets: tuple[str, ...] = SQUEEZENET, names: list[str] = NAMES
) -> ExtractionSummary:
    return extract_random(csv_dataset(videos, names), store, feature_sets)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def extract_video(
    path: Path,
    extractors: Sequence[FeatureExtractor],
    resources: Resources | None = None,
    on_frames: Callable[[int], object] = lambda count: None,
) -> ExtractedVideo:
    """Decode one video once and compute all feature sets; in this process, unless `resources` has workers."""
    task = VideoTask(path.name, path, None, tuple(extractor.feature_set for extractor in extractors))
    with Pipeline(extractors, resources or Resources(workers=0), on_frames) as pipeline:
        return next(pipeline.results([task])).extracted()


class RecordedProgress(NullProgress):
    """Keeps the names of the videos that begin, and the number extracted after each that is done."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def video(self, name: str) -> None:
        self.events.append(name)

    def done(self, summary: ExtractionSummary) -> None:
        self.events.append(summary.extracted)

    @property
    def names(self) -> list[str]:
        return [event for event in self.events if isinstance(event, str)]
