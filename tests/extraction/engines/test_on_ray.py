"""Ray's workers leave the store of one process; what kills them is tried again, then told."""

from pathlib import Path
from typing import Any

import pytest

from tests.clips import noise_frames, write_clip
from tests.datasets import csv_dataset
from tests.extraction.test_runner import Watching, tree
from vqafeat.cluster import ClusterOptions
from vqafeat.extraction.engines import ENGINES, Extraction
from vqafeat.extraction.ledger import ledger_path, read_ledger
from vqafeat.extraction.runner import ExtractionSummary, extract_dataset
from vqafeat.extraction.spreading import ExtractorRequest
from vqafeat.manifest import Dataset
from vqafeat.store import FeatureStore

REQUEST = ExtractorRequest(("squeezenet1_0",), {"squeezenet1_0": "random"}, "float16", "fp32")
NAMES = [f"{index}.mp4" for index in range(5)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "videos"
    folder.mkdir()
    for index, name in enumerate(NAMES):
        write_clip(folder / name, noise_frames(4 + 4 * index, seed=index))
    return csv_dataset(folder, NAMES)


def spread(dataset: Dataset, store: FeatureStore, watching: Watching | None = None, **asked: Any) -> ExtractionSummary:
    work = Extraction(dataset, store, REQUEST.build(), REQUEST, cluster=ClusterOptions(**asked))
    return ENGINES.get("ray").run(work, watching or Watching())


def test_two_workers_leave_the_store_of_one_process(two_cores: Any, dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.videos[1].path
    assert path is not None
    path.write_bytes(b"no video")
    alone = FeatureStore.create(tmp_path / "alone" / "videos.zarr", dataset)
    expected = extract_dataset(dataset, alone, REQUEST.build())
    store, watching = FeatureStore.create(tmp_path / "spread" / "videos.zarr", dataset), Watching()
    summary = spread(dataset, store, watching)
    assert (summary.extracted, summary.skipped, summary.frames) == (4, 0, expected.frames)
    assert [failure.kind for failure in summary.failures] == ["cannot-open"]
    assert read_ledger(ledger_path(store)) == list(summary.failures)
    assert tree(store.path) == tree(alone.path)
    assert [told for told in watching.told if isinstance(told, str)] == ["4.mp4", "3.mp4", "2.mp4", "0.mp4", "1.mp4"]
    again = spread(dataset, store)
    assert (again.extracted, again.skipped, len(again.failures)) == (0, 4, 1)
