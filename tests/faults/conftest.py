"""Clips, their networks, and the store that an extraction leaves which nothing interrupts."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.extraction.test_runner import tree
from tests.faults import victims
from vqafeat.backbones.feature_set import Extractor
from vqafeat.extraction.loop import ExtractionSummary
from vqafeat.store import FeatureStore, verify_store


@dataclass(frozen=True)
class Whole:
    """What every store has to become in the end."""

    videos: Path
    files: dict[str, bytes]
    extractors: list[Extractor]

    def resumed(self, store: Path) -> ExtractionSummary:
        """Extract again what is missing, and compare labels, feature arrays, frame tables, and everything else."""
        summary = victims.extract(self.videos, store, built=self.extractors)
        assert summary.failures == ()
        assert tree(store) == self.files
        assert list(verify_store(FeatureStore.open(store))) == []
        return summary


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    videos, built = victims.made_clips(folder / "videos"), victims.extractors()
    victims.extract(videos, folder / "v.zarr", built=built)
    return Whole(videos, tree(folder / "v.zarr"), built)
