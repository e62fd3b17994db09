"""The store that an extraction leaves which nothing interrupts."""

import pytest

from tests.helpers import killed_writers
from tests.helpers.extractions import tree
from tests.helpers.killed_writers import Whole


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    videos, built = killed_writers.made_clips(folder / "videos"), killed_writers.extractors()
    killed_writers.extract(videos, folder / "v.zarr", built=built)
    return Whole(videos, tree(folder / "v.zarr"), built)
