"""Splits on Ray's workers leave the run folder of one process, also where a worker is killed."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import crashing_fit_worker
from tests.helpers.fits import SPLITS, files_of, small_fit
from tests.helpers.stores import MakeStore
from vqafeat.cluster import ClusterOptions
from vqafeat.errors import TrainingError
from vqafeat.training import ray_backend

pytest.importorskip("ray", reason="Ray is not installed: pip install vqafeat[ray]")
pytestmark = pytest.mark.faults  # a cluster starts, and workers die
MORE = SPLITS * 4  # two groups


@pytest.mark.parametrize("memory_bytes", [None, 1], ids=["held", "read from the store"])
def test_ray_backend__the_run_folder_is_that_of_one_process(
    cluster: Any, make_store: MakeStore, tmp_path: Path, memory_bytes: int | None
) -> None:
    expected, seen = small_fit(make_store(), tmp_path / "alone", splits=MORE), list[tuple[int, int]]()
    run = small_fit(
        make_store(),
        tmp_path / "spread",
        splits=MORE,
        cluster=ClusterOptions(),
        memory_bytes=memory_bytes,
        progress=lambda split, record: seen.append((split, record.epoch)),
    )
    assert files_of(run.path) == files_of(expected.path)
    assert sorted(seen) == [(split, epoch) for split in range(8) for epoch in (1, 2, 3)]


def test_ray_backend__a_killed_task_resumes(
    cluster: Any, make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small_fit(make_store(), tmp_path / "alone")
    monkeypatch.setattr(ray_backend, "_worker_main", crashing_fit_worker.dying_work)
    run = small_fit(make_store(), tmp_path / "spread", cluster=ClusterOptions(retries=1))
    assert (tmp_path / "died").exists()
    assert files_of(run.path) == files_of(expected.path)


def test_ray_backend__reports_a_task_that_dies_each_time(
    cluster: Any, make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_backend, "_worker_main", crashing_fit_worker.deadly_work)
    with pytest.raises(
        TrainingError,
        match=r"a worker of the fit died 2 times, the last time because: .* run the same command again",
    ):
        small_fit(make_store(), tmp_path / "run", cluster=ClusterOptions(retries=1))
    monkeypatch.undo()
    assert not small_fit(make_store(), tmp_path / "run").was_finished
