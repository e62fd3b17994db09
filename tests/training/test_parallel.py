"""How the splits of a fit are grouped on CPUs, GPUs and clusters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import RECURRENT_OPTIONS, SPLIT, TRANSFORMER_OPTIONS, config_of, task_of
from vqafeat.errors import TrainingError
from vqafeat.training import parallel
from vqafeat.training.config import Recipe
from vqafeat.training.parallel import FitJob, SplitGroup, fit_group, groups_of
from vqafeat.training.progress import no_progress

RECIPE = Recipe("own", learning_rate=0.01, batch_size=4, epochs=1)


@pytest.mark.parametrize(
    ("head", "device", "splits", "places", "sizes"),
    [
        ("sub-gru", "cuda", 10, 1, [10]),
        ("mdtvsfa", "cuda", 3, 1, [3]),
        ("sub-gru", "cuda", 10, 2, [5, 5]),
        ("sub-gru", "cuda:1", 25, 1, [10, 10, 5]),
        ("sub-gru", "cuda", 3, 8, [1, 1, 1]),
        ("sub-gru", "cpu", 3, 1, [1, 1, 1]),
        ("transformer", "cuda", 3, 1, [3]),
        ("a2inet", "cuda", 3, 1, [1, 1, 1]),
    ],
)
def test_groups_of__all_splits_of_a_gpu_train_together(
    head: str, device: str, splits: int, places: int, sizes: list[int]
) -> None:
    data = tiny_sequences()
    options = {"transformer": TRANSFORMER_OPTIONS, "a2inet": {"first_channels": 2}}
    config = config_of(head, options.get(head, RECURRENT_OPTIONS), RECIPE)
    task = task_of(data, SPLIT, 0, RECIPE)
    tasks = [replace(task, number=number) for number in range(splits)]
    job = FitJob(None, config, (), (device,), Path())  # type: ignore[arg-type]
    groups = groups_of(data, tasks, job, places)
    assert [len(group.tasks) for group in groups] == sizes
    assert [own.number for group in groups for own in group.tasks] == list(range(splits))


def test_fit_group__halves_what_a_gpu_has_no_memory_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, sizes = tiny_sequences(), list[int]()
    config = config_of("no-time", {"reduced": 4}, RECIPE)
    tasks = [replace(task_of(data, SPLIT, seed, RECIPE), number=seed) for seed in range(5)]
    job = FitJob(None, config, (), ("cpu",), tmp_path)  # type: ignore[arg-type]
    most, train = 2, parallel.TRAINERS["epochs"]

    def with_little_memory(data: Any, tasks: Any, *arguments: Any) -> Any:
        sizes.append(len(tasks))
        if len(tasks) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(data, tasks, *arguments)

    whole = fit_group(data, SplitGroup(0, tuple(tasks)), job, no_progress)
    (tmp_path / "state").rename(tmp_path / "before")
    monkeypatch.setitem(parallel.TRAINERS, "epochs", with_little_memory)
    halved = fit_group(data, SplitGroup(0, tuple(tasks)), job, no_progress)
    for one, other in zip(whole, halved, strict=True):
        assert other.scores["test"] == pytest.approx(one.scores["test"], rel=1e-5)
    assert sizes == [5, 2, 3, 1, 2]
    (tmp_path / "state").rename(tmp_path / "halved")
    most = 0
    with pytest.raises(TrainingError, match="memory of cpu is too small to train one split; lower --batch"):
        fit_group(data, SplitGroup(0, tuple(tasks)), job, no_progress)
