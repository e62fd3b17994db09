"""Clips, their networks, and the store that an extraction leaves which nothing interrupts."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import killed_writers
from tests.helpers.extractions import tree
from vqafeat.backbones.feature_set import FeatureExtractor
from vqafeat.extraction.loop import ExtractionSummary
from vqafeat.store import FeatureStore, verify_store


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
        summary = killed_writers.extract(self.videos, store, built=self.extractors)
        assert summary.failures == ()
        assert tree(store) == self.files
        assert list(verify_store(FeatureStore.open(store))) == []
        return summary


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    videos, built = killed_writers.made_clips(folder / "videos"), killed_writers.extractors()
    killed_writers.extract(videos, folder / "v.zarr", built=built)
    return Whole(videos, tree(folder / "v.zarr"), built)
