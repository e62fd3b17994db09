"""A stopped fit resumes to the same run; a finished one is not repeated; other runs are kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.fits import FAST, MORE, SPLITS, StoppedError, files_of, small_fit, stopping_after
from tests.helpers.stores import MakeStore
from vqafeat.errors import ArgumentError
from vqafeat.training import checkpoint, parallel
from vqafeat.training.checkpoint import EpochRecord
from vqafeat.training.parallel import SplitGroup
from vqafeat.training.trainer import SplitTask


@pytest.mark.parametrize("head", ["sub-gru", "transformer", "svr"])
@pytest.mark.parametrize("records", [3, 5, 8])
def test_fit__resumes_a_stopped_run_to_the_same_files(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, records: int
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(parallel, "SPLITS_PER_GROUP", 2)
    plain: dict[str, Any] = {"options": {"epsilon": 0.2}, "overrides": {}} if head == "svr" else {}
    changes = {"head": head, "splits": MORE, **({"options": {}} if head == "transformer" else {}), **plain}
    whole = small_fit(make_store(), tmp_path / "whole", **changes)
    if head != "svr":
        with pytest.raises(StoppedError):
            small_fit(make_store(), tmp_path / "run", progress=stopping_after(records), **changes)
        assert not (tmp_path / "run" / "metrics.json").exists()
        assert list((tmp_path / "run" / "state").iterdir()) != []
    again: list[tuple[int, int]] = []
    run = small_fit(
        make_store(),
        tmp_path / "run",
        progress=lambda split, record: again.append((split, record.epoch)),
        **changes,
    )
    assert files_of(run.path) == files_of(whole.path)
    assert not run.was_finished
    assert not (tmp_path / "run" / "state").exists()


def test_fit__does_not_train_again_what_was_trained(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "SPLITS_PER_GROUP", 1)
    with pytest.raises(StoppedError):
        small_fit(make_store(), tmp_path / "run", splits=MORE, progress=stopping_after(5))
    trained, train = list[int](), parallel.TRAINERS["epochs"]

    def noted(data: Any, tasks: list[SplitTask], *arguments: Any) -> Any:
        trained.extend(task.number for task in tasks)
        return train(data, tasks, *arguments)

    monkeypatch.setitem(parallel.TRAINERS, "epochs", noted)
    seen: list[tuple[int, int]] = []
    small_fit(
        make_store(),
        tmp_path / "run",
        splits=MORE,
        progress=lambda split, record: seen.append((split, record.epoch)),
    )
    assert trained == [1, 2]
    # what an earlier call trained is reported too
    assert seen == [(split, epoch) for split in range(3) for epoch in (1, 2, 3)]


def test_checkpoint__is_written_no_more_often_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = checkpoint.Checkpoint(tmp_path, [0])
    own.save_if_due(lambda: {0: {"epoch": 1}})
    assert own.read() == {}
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    own.save_if_due(lambda: {0: {"epoch": 2}})
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 3600.0)
    own.save_if_due(lambda: {0: {"epoch": 3}})
    assert own.read() == {0: {"epoch": 2}}


def test_fit__finds_a_finished_run(make_store: MakeStore, tmp_path: Path) -> None:
    first = small_fit(make_store(), tmp_path / "run")
    before = files_of(tmp_path / "run")
    again = small_fit(make_store(), tmp_path / "run", jobs=2, progress=stopping_after(1))
    assert again.was_finished
    assert (again.metrics, again.predictions, again.kept_epochs) == (
        first.metrics,
        first.predictions,
        first.kept_epochs,
    )
    assert files_of(tmp_path / "run") == before
    assert not small_fit(make_store(), tmp_path / "run", overwrite=True).was_finished


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 6}, "run-seed=6"),
        ({"overrides": {"epochs": 3, "learning_rate": 0.02, "batch_size": 5}}, "run-batch_size=5"),
        ({"options": {"reduced": 4, "hidden": 2}}, "run-hidden=2"),
        ({"splits": SPLITS[:1]}, "run-splits=1"),
        ({"mapping": "logistic"}, "run-mapping=logistic"),
        ({"features": "tiny+sparse"}, "run-features=tiny+sparse"),
        ({"splits": SPLITS[::-1]}, "run-{digest}"),
    ],
)
def test_fit__another_configuration_is_another_run(
    make_store: MakeStore, tmp_path: Path, change: dict[str, Any], name: str
) -> None:
    small_fit(make_store(), tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"holds a finished run of another configuration"):
        small_fit(make_store(), tmp_path / "run", **change)
    beside = small_fit(make_store(), tmp_path / "run", reuse=True, **change)
    assert beside.path.name == name.format(digest=beside.config.digest[:8])
    assert (
        small_fit(make_store(), tmp_path / "run", reuse=True, progress=stopping_after(1), **change).path
        == beside.path
    )


def test_fit__overwrites_only_its_own_run_beside_another(make_store: MakeStore, tmp_path: Path) -> None:
    other = small_fit(make_store(), tmp_path / "run")
    written = (other.path / "metrics.json").stat().st_mtime_ns
    for _ in range(2):
        run = small_fit(make_store(), tmp_path / "run", seed=6, reuse=True, overwrite=True)
        assert (run.path.name, run.was_finished) == ("run-seed=6", False)
    assert (other.path / "metrics.json").stat().st_mtime_ns == written


def test_fit__keeps_an_unfinished_run_of_another_configuration(make_store: MakeStore, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        small_fit(make_store(), tmp_path / "run", progress=stopping_after(1))
    with pytest.raises(ArgumentError, match=r"holds an unfinished run of another configuration"):
        small_fit(make_store(), tmp_path / "run", seed=9)
    assert small_fit(make_store(), tmp_path / "run", seed=9, overwrite=True).config.seed == 9


def test_fit__changed_labels_are_another_run(make_store: MakeStore, tmp_path: Path) -> None:
    small_fit(make_store(), tmp_path / "run")
    with pytest.raises(ArgumentError, match=r"another configuration"):
        small_fit(make_store(digest="d2"), tmp_path / "run")


def test_checkpoint__is_read_without_the_device_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    own = checkpoint.Checkpoint(tmp_path, [3, 4])
    own.save_if_due(lambda: {3: {"epoch": 1}})
    load, devices = torch.load, list[str]()

    def recorded(path: Path, **options: Any) -> Any:
        devices.append(options["map_location"])
        return load(path, **options)

    monkeypatch.setattr(torch, "load", recorded)
    assert own.read() == {3: {"epoch": 1}}
    assert devices == ["cpu"]


@pytest.mark.parametrize("records", [1, 4, 5])
def test_fit__resumes_what_another_device_grouped_otherwise(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    def in_one_group(data: Any, tasks: list[SplitTask], *_: Any) -> list[SplitGroup]:
        return [SplitGroup(0, tuple(tasks))]

    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    whole = small_fit(make_store(), tmp_path / "whole", splits=MORE)
    one_each = parallel.groups_of
    for number, grouping in enumerate([(one_each, in_one_group), (in_one_group, one_each)]):
        monkeypatch.setattr(parallel, "groups_of", grouping[0])
        with pytest.raises(StoppedError):
            small_fit(make_store(), tmp_path / f"{number}", splits=MORE, progress=stopping_after(records))
        monkeypatch.setattr(parallel, "groups_of", grouping[1])
        seen: list[tuple[int, int]] = []
        run = small_fit(
            make_store(),
            tmp_path / f"{number}",
            splits=MORE,
            progress=lambda split, record, seen=seen: seen.append((split, record.epoch)),
        )
        assert run.kept_epochs == whole.kept_epochs
        for one, other in zip(run.predictions, whole.predictions, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.faults
@pytest.mark.parametrize("jobs", [1, 2])
def test_fit__ctrl_c_keeps_the_epochs_that_were_trained(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_COPIES", 0.0)  # workers keep their second
    fits: dict[str, Any] = {"overrides": {**FAST["overrides"], "epochs": 100}}
    reported: list[tuple[int, int]] = []

    def ctrl_c(split: int, record: EpochRecord) -> None:
        reported.append((split, record.epoch))
        if len(reported) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_fit(make_store(), tmp_path / "run", jobs=jobs, progress=ctrl_c, **fits)
    saved = {path.name: path for path in (tmp_path / "run" / "state").iterdir()}
    if jobs == 1:
        assert len(torch.load(saved["split-00.pt"], weights_only=True)["curve"]) >= 19
    assert saved != {}  # a worker may have finished its split by then
    run = small_fit(make_store(), tmp_path / "run", **fits)
    whole = small_fit(make_store(), tmp_path / "whole", **fits)
    assert files_of(run.path) == files_of(whole.path)
