"""Extractions of a few clips with random weights, and the files they leave."""

from pathlib import Path

from tests.helpers.datasets import csv_dataset
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.extraction.loop import ExtractionSummary, NullProgress, extract_dataset
from vqafeat.store import FeatureStore

NAMES = ["a.mp4", "b.mp4", "c.mp4"]


RANDOM = {"squeezenet1_0": "random", "resnet18": "random"}


def run(
    videos: Path, store: Path, feature_sets: tuple[str, ...] = ("squeezenet1_0",), names: list[str] = NAMES
) -> ExtractionSummary:
    dataset = csv_dataset(videos, names)
    return extract_dataset(
        dataset, FeatureStore.create(store, dataset), build_extractors(feature_sets, RANDOM)
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class RecordedProgress(NullProgress):
    def __init__(self) -> None:
        self.events: list[object] = []

    def video(self, name: str) -> None:
        self.events.append(name)

    def done(self, summary: ExtractionSummary) -> None:
        self.events.append(summary.extracted)
