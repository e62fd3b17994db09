"""Extractions of tiny clips in processes that are there to be killed; the server that starts them has
imported everything already.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import tree
from vqafeat.backbones.feature_set import FeatureExtractor, build_extractors
from vqafeat.extraction.extract import extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import ExtractionSummary
from vqafeat.store import FeatureStore, verify_store, zarr_io
from vqafeat.system import process_context

NAMES = ["a.mp4", "b.mp4", "c.mp4"]
FEATURE_SETS, WEIGHTS = ("squeezenet1_0", "squeezenet1_0@uniform128"), {"squeezenet1_0": "random"}
# what the system is asked to do with files; each is a moment to be killed at
FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "shutil.rmtree"}


def made_clips(folder: Path) -> Path:
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        write_clip(folder / name, noise_frames(5 + seed, 48, 32, seed))
    csv_dataset(folder, NAMES)
    return folder


def extractors() -> list[FeatureExtractor]:
    return build_extractors(FEATURE_SETS, WEIGHTS)


def extract(
    videos: Path, store: Path, workers: int = 0, built: list[FeatureExtractor] | None = None, **options: Any
) -> ExtractionSummary:
    torch.set_num_threads(1)
    dataset = csv_dataset_as_it_is(videos)
    opened, resources = FeatureStore.create(store, dataset), Resources(workers=workers)
    return extract_features(
        dataset, built or FEATURE_SETS, opened, weights=WEIGHTS, resources=resources, **options
    )


def csv_dataset_as_it_is(videos: Path) -> Any:
    from vqafeat.datasets import load_dataset, locate_videos

    return locate_videos(load_dataset(str(videos / "scores.csv")), videos).dataset


def started(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = process_context(["tests.helpers.killed_writers"]).Process(target=target, args=arguments)  # type: ignore[attr-defined]
    process.start()
    assert isinstance(process, BaseProcess)
    return process


def plain(videos: Path, store: Path, workers: int) -> None:
    """Extract, to be killed from outside."""
    extract(videos, store, workers)


def killed_at(videos: Path, store: Path, event: int, counted: Path | None = None) -> None:
    """Extract, and be killed just before the file event of that number below the store; without a kill, note
    how many there are.
    """
    lock, seen = threading.Lock(), [0]
    below = str(store)

    def count() -> None:
        with lock:
            seen[0] += 1
            if seen[0] == event:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        if name in FILE_EVENTS and arguments and str(arguments[0]).startswith(below):
            count()

    class Counting:
        """The checksum follows the values into the file; the moment before it is counted too."""

        @staticmethod
        def value(chunk: bytes) -> int:
            count()
            return int(_CRC.value(chunk))

    zarr_io.google_crc32c = Counting  # type: ignore[assignment]
    sys.addaudithook(watch)
    extract(videos, store)
    if counted is not None:
        counted.write_text(str(seen[0]))


_CRC = zarr_io.google_crc32c


@dataclass(frozen=True)
class Whole:
    """What every store has to become in the end."""

    videos: Path
    files: dict[str, bytes]
    extractors: list[FeatureExtractor]

    def resumed(self, store: Path) -> ExtractionSummary:
        """Extract again what is missing, and compare labels, feature arrays, frame tables, and everything
        else.
        """
        summary = extract(self.videos, store, built=self.extractors)
        assert summary.failures == ()
        assert tree(store) == self.files
        assert list(verify_store(FeatureStore.open(store))) == []
        return summary
