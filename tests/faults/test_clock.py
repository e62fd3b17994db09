"""Clocks that jump: times decide nothing, neither of the system nor of files."""

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import killed_writers
from tests.helpers.extractions import tree
from tests.helpers.killed_writers import Whole

pytestmark = pytest.mark.faults
YEAR_SECONDS = 365 * 86400.0


def test_extract__survives_a_clock_that_jumps(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, jumps = time.time(), itertools.cycle([0.0, -YEAR_SECONDS, YEAR_SECONDS, -50 * YEAR_SECONDS])
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int((now + next(jumps)) * 1e9))
    killed_writers.extract(whole.videos, tmp_path / "v.zarr", workers=1, built=whole.extractors)
    assert tree(tmp_path / "v.zarr") == whole.files


def test_extract__resumes_a_store_whose_files_are_of_another_age(whole: Whole, tmp_path: Path) -> None:
    """As after a restored backup, or with the clock of another machine: half of it from the future, the rest
    from 1970.
    """
    store, random = tmp_path / "v.zarr", np.random.default_rng(0)
    process = killed_writers.started(killed_writers.killed_at, whole.videos, store, 150)
    process.join()
    for path in [*store.rglob("*"), *tmp_path.glob("*.lock")]:
        seconds = time.time() + 20 * YEAR_SECONDS if random.uniform() < 0.5 else 1.0
        os.utime(path, (seconds, seconds))
    whole.resumed(store)


def test_extract__does_not_decode_again_videos_of_another_age(whole: Whole, tmp_path: Path) -> None:
    videos, store = killed_writers.made_clips(tmp_path / "videos"), tmp_path / "v.zarr"
    killed_writers.extract(videos, store, built=whole.extractors)
    before = tree(store)
    for number, name in enumerate(killed_writers.NAMES):
        os.utime(videos / name, (1.0 + number, time.time() + (number - 1) * YEAR_SECONDS))
    again = killed_writers.extract(videos, store, built=whole.extractors)
    assert (again.extracted, again.skipped) == (0, len(killed_writers.NAMES))
    assert tree(store) == before
