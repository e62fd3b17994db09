"""Training in processes: equal to one process, and no process is left behind."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.image_sets import MakeSet, TinyResNet
from tests.helpers.operations import Operations
from vqafeat.errors import DatasetError, TrainingError
from vqafeat.pretraining import data_parallel
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.data_parallel import DataParallel, train_in_processes
from vqafeat.pretraining.images import PairBatch, PairLoader
from vqafeat.pretraining.network import QualityNetwork, pair_loss, start_network
from vqafeat.pretraining.pairs import DrawnPairs
from vqafeat.pretraining.trainer import ComputeOptions, PretrainingRecord, Step, TrainingState, train

CPU = torch.device("cpu")
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)
Sets = tuple[DrawnPairs, ...]
Gradients = dict[str, Tensor]


class Stop(Exception):  # noqa: N818
    """Ends a training as an interruption would."""


def ignore(_event: object) -> None:
    """Follow a training without doing anything."""


def without_norms() -> QualityNetwork:
    """A network whose output for an image does not depend on the other images of its batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = TinyResNet()
    for stage in (backbone.conv1, backbone.layer4):
        stage[1] = nn.Identity()
    return QualityNetwork(backbone, 0)


def run(
    network: QualityNetwork,
    sets: Sets,
    recipe: PretrainingRecipe,
    processes: int,
    progress: Callable[[Step | PretrainingRecord], None] = ignore,
    checkpoint: Path | None = None,
) -> TrainingState:
    return train(network, sets, recipe, 0, ComputeOptions((CPU,) * processes), checkpoint, progress=progress)


def one_batch(pair_sets: Sets, recipe: PretrainingRecipe) -> PairBatch:
    return next(PairLoader(pair_sets, recipe, 0, 0).batches(1))


def gradients(network: QualityNetwork) -> Gradients:
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def first_step(
    network: QualityNetwork, sets: Sets, recipe: PretrainingRecipe, rank: int, _report: Any
) -> bytes:
    """Compute the first step's gradients in one of two processes."""
    parallel = DataParallel(network, CPU, "fp32", rank, 2)
    parallel.train(head_alone=False)
    batch = next(PairLoader(sets, recipe, 0, 0, rank=rank, processes=2).batches(1))
    terms = parallel.backward(batch, recipe, NO_SCALER)
    return pickle.dumps((terms, gradients(network)))


def test_data_parallel__two_devices_give_the_gradient_of_their_shares(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    """Batch norms see each share alone, so the sum is that of the halves, weighted by their sizes."""
    recipe = recipe.overridden({"head_batch_size": 11})
    batch = one_batch(pair_sets, recipe)
    network, _ = start_network("tiny", "random:1", 0)
    work = partial(first_step, network, pair_sets, recipe)
    terms, actual = pickle.loads(train_in_processes(work, (CPU, CPU), ignore))
    expected_terms = torch.zeros(2)
    for half in (slice(0, 5), slice(5, 11)):
        loss = pair_loss(
            network(batch.first[half]),
            network(batch.second[half]),
            batch.probability[half],
            batch.std_order[half],
            recipe.margin,
            recipe.detach_variance,
        )
        (loss.total * len(batch.pairs[half]) / 11).backward()
        expected_terms += torch.stack(loss).detach() * len(batch.pairs[half]) / 11
    torch.testing.assert_close(terms, expected_terms)
    expected = gradients(network)
    assert expected.keys() == actual.keys()
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], msg=name)


@pytest.mark.faults
def test_data_parallel__processes_train_as_one_and_resume(
    pair_sets: Sets, recipe: PretrainingRecipe, tmp_path: Path
) -> None:
    """40 pairs in steps of 13: the last step has one pair, which is fewer than there are processes."""
    recipe = recipe.overridden({"batch_size": 13, "epochs": 2})
    one, two, resumed = without_norms(), without_norms(), without_norms()
    state = run(one, pair_sets, recipe, 1)
    events: list[Step | PretrainingRecord] = []
    spread = run(two, pair_sets, recipe, 2, events.append)
    for name, value in two.state_dict().items():
        torch.testing.assert_close(value, one.state_dict()[name], msg=name)
    for first, second in zip(state.curve, spread.curve, strict=True):
        assert (first.fidelity, first.hinge) == pytest.approx((second.fidelity, second.hinge), rel=1e-5)
    assert [event.number for event in events if isinstance(event, Step)] == [1, 2, 3, 1, 2, 3, 4]
    assert events[3] == spread.curve[0]

    def stop(event: Step | PretrainingRecord) -> None:
        if isinstance(event, PretrainingRecord):
            raise Stop

    with pytest.raises(Stop):
        run(without_norms(), pair_sets, recipe, 2, stop, tmp_path / "c")
    assert multiprocessing.active_children() == []
    again = run(resumed, pair_sets, recipe, 2, checkpoint=tmp_path / "c")
    assert again.curve == spread.curve
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in resumed.state_dict().items())
    assert {path.name for path in tmp_path.iterdir()} == {"c", "scores"}


@pytest.mark.faults
def test_train_in_processes__a_killed_one_ends_the_run(pair_sets: Sets, recipe: PretrainingRecipe) -> None:
    def kill(event: Step | PretrainingRecord) -> None:
        (second,) = (
            child for child in multiprocessing.active_children() if child.name.startswith("process 2")
        )
        assert second.pid is not None
        os.kill(second.pid, signal.SIGKILL)

    with pytest.raises(
        TrainingError,
        match=r"^process 2 of 2, on device 'cpu', was killed by signal 9 \(often for want of memory\) before "
        r"the training was done; the same command resumes after the last complete epoch\.$",
    ):
        run(without_norms(), pair_sets, recipe.overridden({"epochs": 1000}), 2, kill)
    assert multiprocessing.active_children() == []


def test_train_in_processes__an_error_arrives_as_it_was_raised(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    image = pair_sets[0].image_set.images[pair_sets[0].training[0]]
    image.path.write_bytes(image.path.read_bytes()[:60])
    with pytest.raises(DatasetError, match=rf"{image.path.name}' is a damaged image"):
        run(without_norms(), pair_sets, recipe, 2)
    assert multiprocessing.active_children() == []


def exit_in_second(rank: int, _report: Any) -> None:
    if rank == 1:
        os._exit(7)
    torch.distributed.barrier()


@pytest.mark.faults
def test_train_in_processes__names_the_code_of_a_process_that_ended() -> None:
    with pytest.raises(TrainingError, match=r"^process 2 of 2, on device 'cpu', ended with code 7 before"):
        train_in_processes(exit_in_second, (CPU, CPU), ignore)


def group_exists(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


LOADING = """
import sys, time
from vqafeat.pretraining.config import PRETRAINING_RECIPES
from vqafeat.pretraining.images import ImageLoader
from vqafeat.pretraining.image_sets import load_image_set
if __name__ == "__main__":
    images = load_image_set(sys.argv[1]).images
    for _ in ImageLoader(images, PRETRAINING_RECIPES.get("demo"), 1):
        print("loaded", flush=True)
        time.sleep(60)
"""


@pytest.mark.faults
def test_image_loader__workers_end_with_a_killed_process(make_set: MakeSet, tmp_path: Path) -> None:
    script = tmp_path / "loading.py"
    script.write_text(LOADING)
    command = [sys.executable, str(script), f"mine={make_set()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
        process.kill()
    deadline = time.monotonic() + 30
    while group_exists(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not group_exists(process.pid)


@pytest.mark.parametrize(
    ("names", "backend", "current"),
    [
        (("cuda:0", "cuda:1"), "nccl", [1]),
        (("cuda", "cuda:0"), "gloo", [0]),  # one GPU twice
        (("cpu", "cpu"), "gloo", []),
    ],
)
def test_join_group__takes_nccl_for_different_gpus(
    names: tuple[str, str], backend: str, current: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[Any] = []
    indices: list[int] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *arguments: groups.append(arguments))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", indices.append)
    monkeypatch.setattr(torch, "set_num_threads", ignore)
    data_parallel._join_group("file:///group", [torch.device(name) for name in names], 1, 1)
    assert groups == [(backend, "file:///group", data_parallel._LONGEST_WAIT, 2, 1)]
    assert indices == current


def test_data_parallel__a_step_does_not_wait_for_the_device(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    """On the device `meta`, which computes nothing: reading a value there would fail."""
    batch = one_batch(pair_sets, recipe)
    parallel = DataParallel(start_network("tiny", "random:1", 0)[0], torch.device("meta"), "fp32")
    parallel.train(head_alone=False)
    with Operations() as operations:
        terms = parallel.backward(batch, recipe, NO_SCALER)
    assert terms.device.type == "meta"
    assert parallel.network.fc.weight.grad is not None
    # the two images and the two labels
    assert operations.copies == [("meta", True)] * 4
    assert operations.waiting == []


def test_data_parallel__bf16_computes_in_bfloat16_and_keeps_weights_whole(
    pair_sets: Sets, recipe: PretrainingRecipe
) -> None:
    batch = one_batch(pair_sets, recipe)
    seen: list[torch.dtype] = []
    losses = {}
    for precision in ("fp32", "bf16"):
        replicas = DataParallel(start_network("tiny", "random:1", 0)[0], CPU, precision)
        replicas.network.backbone.layer4.register_forward_hook(lambda *call: seen.append(call[2].dtype))  # type: ignore[union-attr]
        losses[precision] = replicas.loss(batch, recipe).total
    assert set(seen[:2]) == {torch.float32}
    assert set(seen[2:]) == {torch.bfloat16}
    assert losses["bf16"].dtype == torch.float32
    torch.testing.assert_close(losses["bf16"], losses["fp32"], rtol=0.05, atol=0.02)
    network, _ = start_network("tiny", "random:1", 0)
    result = train(network, pair_sets, recipe, 0, ComputeOptions(precision="bf16"))
    assert {value.dtype for value in result.best_weights.values()} == {torch.float32, torch.int64}
