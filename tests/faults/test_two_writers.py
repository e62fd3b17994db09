"""Two runs on one store at once: one works, the other is refused, and nothing is lost; a run waits for the
orphans of a killed one.
"""

import time
from pathlib import Path

import pytest

from tests.helpers import killed_writers
from tests.helpers.killed_writers import Whole
from vqafeat.errors import StoreError
from vqafeat.store import worker_lock

pytestmark = pytest.mark.faults
REFUSED = 7


def refused_or_done(videos: Path, store: Path) -> None:
    try:
        killed_writers.extract(videos, store)
    except StoreError as error:
        raise SystemExit(REFUSED if "another process is writing to" in str(error) else str(error)) from error


@pytest.mark.parametrize("round_number", range(5))
def test_extract__two_runs_that_start_together(whole: Whole, tmp_path: Path, round_number: int) -> None:
    store = tmp_path / "v.zarr"
    both = [killed_writers.started(refused_or_done, whole.videos, store) for _ in range(2)]
    for process in both:
        process.join()
    codes = sorted(process.exitcode or 0 for process in both)
    assert codes in ([0, REFUSED], [0, 0]), codes  # the second may have begun when the first had ended
    assert whole.resumed(store).extracted == 0


def spread(videos: Path, store: Path) -> None:
    killed_writers.extract(videos, store, devices=["cpu", "cpu"])


def test_extract_on_devices__waits_for_the_processes_of_a_killed_run(whole: Whole, tmp_path: Path) -> None:
    store = tmp_path / "v.zarr"
    process = killed_writers.started(spread, whole.videos, store)
    while process.is_alive() and not (store / "frames").exists():
        time.sleep(0.001)
    process.kill()
    process.join()
    whole.resumed(store)


def test_exclusive__reports_orphans_that_do_not_end(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqafeat.store.lock._ORPHANS_SECONDS", 0.2)
    with worker_lock(tmp_path / "v.zarr"), pytest.raises(StoreError, match="another process is writing to"):
        killed_writers.extract(whole.videos, tmp_path / "v.zarr", built=whole.extractors)
    whole.resumed(tmp_path / "v.zarr")
