"""How the splits of a fit are grouped on CPUs, GPUs and clusters."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.stores import tiny_sequences
from tests.helpers.train_alone import RECURRENT_OPTIONS, SPLIT, TRANSFORMER_OPTIONS, config_of, task_of
from vqafeat.training.config import Recipe
from vqafeat.training.parallel import FitJob, groups_of

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
