"""The training of a network on pairs: epochs, validation, checkpoints."""

import io
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from math import ceil, isfinite, isnan, nan
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError, TrainingError, WeightsError
from vqafeat.io import summarize, write_bytes
from vqafeat.metrics import evaluate_predictions
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.data_parallel import DataParallel, reproducible_fp32, train_in_processes
from vqafeat.pretraining.images import ImageLoader, PairBatch, PairLoader
from vqafeat.pretraining.network import QualityNetwork, weights_of
from vqafeat.pretraining.pairs import DrawnPairs

# steps between readings of their losses, which wait for a GPU
_STEPS_A_READING = {"cpu": 1, "cuda": 8}


@dataclass(frozen=True)
class PretrainingRecord:
    """One epoch, counted from 1: mean losses over its pairs, and the validation SROCC of each image set."""

    epoch: int
    learning_rate: float
    fidelity: float
    hinge: float
    validation_srocc: Mapping[str, float]
    pairs: int
    seconds: float = field(compare=False)  # without the validation


@dataclass(frozen=True)
class Step:
    """One step; epochs and steps are counted from 1, and the speed is the epoch's mean until now."""

    epoch: int
    number: int
    steps: int
    loss: float
    images_per_second: float


# called for each step and after each epoch
Progress = Callable[[Step | PretrainingRecord], None]


@dataclass(eq=False)
class TrainingState:
    """The state of a training after its last finished epoch, which becomes its result."""

    curve: list[PretrainingRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_srocc: float = nan  # mean over the sets in the best epoch; NaN without validation

    def add(self, record: PretrainingRecord, network: QualityNetwork) -> None:
        """Add an epoch; keep its weights if its validation SROCC is the best, or none has been defined."""
        self.curve.append(record)
        srocc = mean_srocc(record.validation_srocc)
        if isnan(self.best_srocc) or srocc > self.best_srocc:
            self.best_weights, self.best_epoch, self.best_srocc = weights_of(network), record.epoch, srocc

    @property
    def kept_because(self) -> str:
        """Why the best epoch was kept, in words."""
        if isnan(self.best_srocc):
            return "last epoch: there is no validation part, or its SROCC was never defined"
        return f"highest mean validation SROCC over the sets ({self.best_srocc:.4f})"


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how a training computes."""

    # of one type; with several, one process for each computes its share of each batch
    devices: tuple[torch.device, ...] = (torch.device("cpu"),)
    # `fp32`, in which GPUs do not round to TF32; or `bf16` or `fp16` for mixed precision
    precision: str = "fp32"
    workers: int = 0  # processes that load images; the result does not depend on them

    def __post_init__(self) -> None:
        if len({device.type for device in self.devices}) != 1:
            names = ", ".join(map(str, self.devices)) or "missing"
            raise ArgumentError(f"devices are {names}; name at least one, and devices of one kind.")
        if self.workers < 0:
            raise ArgumentError(f"workers is {self.workers}; it has to be at least 0.")


def train(
    network: QualityNetwork,
    sets: Sequence[DrawnPairs],
    recipe: PretrainingRecipe,
    seed: int,
    computing: ComputeOptions,
    checkpoint: Path | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TrainingState:
    """Train a network on pairs, in place; a stopped run of the same `config` resumes from its checkpoint.

    The same start, pairs, recipe, seed, machine and devices give the same weights, with any number of
    workers, whether the run is stopped and resumed or not.
    """
    report = progress or (lambda _event: None)
    arguments = network, sets, recipe, seed, computing, checkpoint, config or {}
    if len(computing.devices) == 1:
        return _train(*arguments, 0, report)
    result = train_in_processes(partial(_train_and_pickle, *arguments), computing.devices, report)
    state, weights = pickle.loads(result)
    network.load_state_dict(weights)
    return cast(TrainingState, state)


def _train_and_pickle(network: QualityNetwork, *arguments: Any) -> bytes:
    """Train in a process of several; return the state and the weights by value."""
    state = _train(network, *arguments)
    return pickle.dumps((state, weights_of(network)))


def _train(
    network: QualityNetwork,
    sets: Sequence[DrawnPairs],
    recipe: PretrainingRecipe,
    seed: int,
    computing: ComputeOptions,
    checkpoint: Path | None,
    config: Mapping[str, Any],
    rank: int,
    report: Progress,
) -> TrainingState:
    """Train in one of the processes; the first one validates, writes the checkpoint and reports."""
    device, processes = computing.devices[rank], len(computing.devices)
    parallel = DataParallel(network, device, computing.precision, rank, processes)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scaler = torch.amp.GradScaler(device.type, enabled=computing.precision == "fp16")
    stateful = {"network": network, "optimiser": optimiser, "scaler": scaler}
    state = _read_checkpoint(checkpoint, config, stateful)
    loading = ceil(computing.workers / processes), device.type == "cuda"
    pairs = PairLoader(sets, recipe, seed, *loading, rank, processes)
    validated = [item for item in sets if item.validation]
    images = ImageLoader([image for item in validated for image in item.validation_images], recipe, *loading)
    with reproducible_fp32():
        for epoch in range(len(state.curve) + 1, recipe.epochs + 1):
            losses, count, seconds = _train_epoch(parallel, pairs, optimiser, scaler, recipe, epoch, report)
            if rank > 0:
                continue
            sroccs = _validation_sroccs(parallel, validated, images)
            record = PretrainingRecord(epoch, recipe.rate(epoch), *losses, sroccs, count, seconds)
            state.add(record, network)
            if checkpoint is not None:
                _write_checkpoint(checkpoint, config, state, stateful)
            report(record)
    return state


def _train_epoch(
    parallel: DataParallel,
    loader: PairLoader,
    optimiser: torch.optim.Optimizer,
    scaler: Any,
    recipe: PretrainingRecipe,
    epoch: int,
    report: Progress,
) -> tuple[tuple[float, float], int, float]:
    """Train on all pairs once; return the mean fidelity and hinge loss, the number of pairs, and seconds."""
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate(epoch)
    parallel.broadcast_parameters()
    parallel.train(recipe.head_alone(epoch))

    def step(batch: PairBatch) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        terms = parallel.backward(batch, recipe, scaler)
        scaler.step(optimiser)
        scaler.update()
        return terms

    steps, batches, start = loader.steps(epoch), loader.batches(epoch), time.perf_counter()
    number, pairs, sums = 0, 0, np.zeros(2)
    while unread := [step(batch) for batch in islice(batches, _STEPS_A_READING[parallel.device.type])]:
        values = torch.stack(unread).tolist()  # waits for the device
        seconds = time.perf_counter() - start
        for terms in values:
            loss, trained = sum(terms), steps[number]
            number += 1
            if not isfinite(loss):
                names = summarize(loader.images.names(trained))
                raise TrainingError(
                    f"the loss became {loss} in epoch {epoch}, step {number}, on the images {names}; lower "
                    f"--learning-rate ({recipe.learning_rate:g}), or compute with --precision fp32."
                )
            pairs += len(trained)
            sums += np.multiply(terms, len(trained))
            report(Step(epoch, number, len(steps), loss, 2 * pairs / seconds))
    fidelity, hinge = (sums / pairs).tolist()
    return (fidelity, hinge), pairs, seconds


def _validation_sroccs(
    parallel: DataParallel, sets: Sequence[DrawnPairs], images: ImageLoader
) -> dict[str, float]:
    """Return the SROCC of the predicted means by set; NaN where they are constant or not finite."""
    if not sets:
        return {}
    means = predict(parallel, images)[:, 0]
    parts = np.split(means, np.cumsum([len(item.validation) for item in sets])[:-1])
    sroccs = dict.fromkeys((item.image_set.name for item in sets), nan)
    for item, part in zip(sets, parts, strict=True):
        mos = [image.mos for image in item.validation_images]
        if np.isfinite(part).all():
            sroccs[item.image_set.name] = evaluate_predictions(part, mos, mapping="none").srocc
    return sroccs


@torch.no_grad()
def predict(parallel: DataParallel, images: ImageLoader) -> npt.NDArray[np.float64]:
    """Return (image, 2) mean and standard deviation of whole images, in eval mode."""
    network = parallel.network.eval()
    rows = []
    for image in images:
        with parallel.autocast():
            mean, std = network(image.to(parallel.device, non_blocking=True))
        rows.append(torch.stack([mean, std], dim=1))
    return torch.cat(rows).double().cpu().numpy()


def mean_srocc(sroccs: Mapping[str, float]) -> float:
    """Return the mean over sets; NaN if there are none, or one is not defined."""
    return float(np.mean(list(sroccs.values()))) if sroccs else nan


def pair_accuracy(means: npt.ArrayLike, mos: npt.ArrayLike) -> float:
    """Return the share of pairs with different labels that (image,) means order as (image,) labels do.

    Pairs with equal means count half.
    """
    predicted, labels = np.asarray(means, dtype=float), np.asarray(mos, dtype=float)
    first, second = np.triu_indices(len(labels), 1)
    order = np.sign(labels[first] - labels[second])
    agreed = np.sign(predicted[first] - predicted[second]) * order
    return float((1 + agreed[order != 0]).mean() / 2)


def checkpoint_path(out: Path) -> Path:
    """Return the path of the checkpoint of a weights file."""
    return out.with_name(f"{out.name}.checkpoint")


def _write_checkpoint(
    path: Path, config: Mapping[str, Any], state: TrainingState, stateful: Mapping[str, Any]
) -> None:
    content = io.BytesIO()
    progress = {**vars(state), "curve": [asdict(record) for record in state.curve]}
    states = {name: part.state_dict() for name, part in stateful.items()}
    torch.save({"config": dict(config), "progress": progress, "states": states}, content)
    write_bytes(path, content.getvalue())


def _read_checkpoint(
    path: Path | None, config: Mapping[str, Any], stateful: Mapping[str, Any]
) -> TrainingState:
    """Return the state of a stopped run, and load the state dicts; a new state if there is no checkpoint."""
    if path is None or not path.is_file():
        return TrainingState()
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        stored, progress, states = saved["config"], dict(saved["progress"]), saved["states"]
        curve = [PretrainingRecord(**record) for record in progress.pop("curve")]
        state = TrainingState(curve, **progress)
    except (UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise WeightsError(
            f"checkpoint '{path}' is damaged ({error}); start anew with --overwrite."
        ) from error
    if different := _differences(stored, config):
        raise WeightsError(
            f"checkpoint '{path}' is of a run with another configuration: {'; '.join(different)}. Continue "
            f"with that one, start anew with --overwrite, or name another file with --out."
        )
    for name, part in stateful.items():
        part.load_state_dict(states[name])
    return state


def _differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    differences: list[str] = []
    for key in dict.fromkeys([*current, *stored]):
        old, new = stored.get(key), current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [f"{key} {item}" for item in _differences(old, new)]
        elif old != new:
            differences.append(f"{key} {old!r} there, {new!r} here")
    return differences
