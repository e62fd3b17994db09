"""The training of a network on pairs: epochs, checkpoints, validation."""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan, nan
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vqafeat.errors import ArgumentError, TrainingError, WeightsError
from vqafeat.io import summarize, write_bytes
from vqafeat.metrics import evaluate_predictions
from vqafeat.pretraining.config import PretrainingRecipe
from vqafeat.pretraining.data_loading import ImageLoader, PairBatch, PairLoader
from vqafeat.pretraining.data_parallel import DataParallel
from vqafeat.pretraining.network import QualityNetwork, weights_of
from vqafeat.pretraining.pairs import DrawnPairs


@dataclass(frozen=True)
class PretrainingRecord:
    """One epoch of the curve.

    Attributes:
        epoch: counted from 1.
        fidelity, hinge: means over the epoch's pairs.
        validation_srocc: by set, after the epoch.
        pairs: number of pairs in the epoch.
        seconds: of its steps, validation left out; not part of what a resumed run has to repeat.
    """

    epoch: int
    learning_rate: float
    fidelity: float
    hinge: float
    validation_srocc: Mapping[str, float]
    pairs: int
    seconds: float = field(compare=False)


@dataclass(frozen=True)
class Step:
    """One step; epochs and steps are counted from 1, the speed is that of the epoch so far."""

    epoch: int
    number: int
    steps: int
    loss: float
    images_per_second: float


# called after each step and after each epoch
Progress = Callable[[Step | PretrainingRecord], None]


@dataclass(eq=False)
class TrainingState:
    """What a training has reached, and its result.

    Attributes:
        curve: one record a finished epoch.
        best_weights: state dict of the kept epoch.
        best_epoch: the kept epoch, counted from 1; 0 before there is one.
        best_srocc: mean over sets in that epoch; NaN without validation.
    """

    curve: list[PretrainingRecord] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_srocc: float = nan

    def add(self, record: PretrainingRecord, network: QualityNetwork) -> None:
        """Add an epoch, and keep its weights where none before ranked validation images better; without
        validation, the last ones.
        """
        self.curve.append(record)
        srocc = mean_srocc(record.validation_srocc)
        if isnan(self.best_srocc) or srocc > self.best_srocc:
            self.best_weights, self.best_epoch = dict(weights_of(network)), record.epoch
            self.best_srocc = srocc

    @property
    def kept_because(self) -> str:
        """Why the best epoch was kept, in words."""
        if isnan(self.best_srocc):
            return "last epoch: there is no validation part, or its SROCC was never defined"
        return f"highest mean validation SROCC over the sets ({self.best_srocc:.4f})"


def checkpoint_path(out: Path) -> Path:
    """Return the path of the checkpoint of a weights file."""
    return out.with_name(f"{out.name}.checkpoint")


def write_checkpoint(
    path: Path, config: Mapping[str, Any], state: TrainingState, states: Mapping[str, Any]
) -> None:
    """Write a training's state, the state dicts of network, optimiser and gradient scaler, and its
    configuration at once.
    """
    content = io.BytesIO()
    progress = {**vars(state), "curve": [asdict(record) for record in state.curve]}
    torch.save({"config": dict(config), "progress": progress, "states": dict(states)}, content)
    write_bytes(path, content.getvalue())


def read_checkpoint(path: Path, config: Mapping[str, Any]) -> tuple[TrainingState, Mapping[str, Any]] | None:
    """Return the state of a stopped run and its state dicts; None where there is no checkpoint.

    Raises:
        WeightsError: the checkpoint is damaged, or of another configuration.
    """
    if not path.is_file():
        return None
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
    return state, states


def _differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    differences: list[str] = []
    for key in dict.fromkeys([*current, *stored]):
        old, new = stored.get(key), current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            differences += [f"{key} {item}" for item in _differences(old, new)]
        elif old != new:
            differences.append(f"{key} {old!r} there, {new!r} here")
    return differences


class Validation:
    """The validation images of all sets; sets without any are left out."""

    def __init__(
        self, sets: Sequence[DrawnPairs], recipe: PretrainingRecipe, workers: int, pinned: bool = False
    ) -> None:
        self._sets = [item for item in sets if item.validation]
        images = [item.image_set.images[row] for item in self._sets for row in item.validation]
        self._loader = ImageLoader(images, recipe, workers, pinned)

    def sroccs(self, replicas: DataParallel) -> dict[str, float]:
        """Return the SROCC of the means by set; NaN where scores are constant or not finite."""
        if not self._sets:
            return {}
        means = predict(replicas, self._loader)[:, 0]
        parts = np.split(means, np.cumsum([len(item.validation) for item in self._sets])[:-1])
        return {item.image_set.name: _srocc(part, item) for item, part in zip(self._sets, parts, strict=True)}


@torch.no_grad()
def predict(replicas: DataParallel, images: ImageLoader) -> npt.NDArray[np.float64]:
    """Return (image, 2) mean and deviation of whole images, in eval mode on the first device."""
    network, device = replicas.network.eval(), replicas.devices[0]
    rows = []
    for image in images:
        with replicas.autocast(device):
            mean, std = network(image.to(device, non_blocking=True))
        rows.append(torch.stack([mean, std], dim=1))
    return torch.cat(rows).double().cpu().numpy()


def mean_srocc(sroccs: Mapping[str, float]) -> float:
    """Return the mean over sets; NaN where there are none, or one is not defined."""
    return float(np.mean(list(sroccs.values()))) if sroccs else nan


def pair_accuracy(means: npt.ArrayLike, mos: npt.ArrayLike) -> float:
    """Return the share of all pairs with different labels that (image,) means put in the labels' order; equal
    means count as half right.
    """
    predicted, labels = np.asarray(means, dtype=float), np.asarray(mos, dtype=float)
    first, second = np.triu_indices(len(labels), 1)
    order = np.sign(labels[first] - labels[second])
    agreed = np.sign(predicted[first] - predicted[second]) * order
    return float((1 + agreed[order != 0]).mean() / 2)


def _srocc(means: npt.NDArray[np.float64], item: DrawnPairs) -> float:
    if not np.isfinite(means).all():
        return nan
    mos = [item.image_set.images[row].mos for row in item.validation]
    return evaluate_predictions(means, mos, mapping="none").srocc


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how a training computes.

    Attributes:
        devices: that share each batch.
        precision: `fp32`, or `bf16` or `fp16` for mixed precision.
        workers: processes that load images; the result does not depend on them.
    """

    devices: tuple[torch.device, ...] = (torch.device("cpu"),)
    precision: str = "fp32"
    workers: int = 0

    def __post_init__(self) -> None:
        if not self.devices or self.workers < 0:
            raise ArgumentError(
                f"devices are {self.devices}, workers {self.workers}; at least one device and 0 workers are "
                f"needed."
            )
        if len({device.type for device in self.devices}) > 1:
            raise ArgumentError(
                f"devices {', '.join(map(str, self.devices))} are of several kinds; name devices of one kind."
            )


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
    """Train a network on pairs, in place.

    The same start, pairs, recipe, seed, machine and devices give the same weights, with any number of
    workers, stopped and resumed or not.

    Args:
        seed: of orders, crops and mirroring.
        checkpoint: file that each finished epoch is written to, and that a stopped run is resumed from; None
            for neither.
        config: all that decides the run, which a checkpoint has to agree with.

    Raises:
        TrainingError: a loss is not finite.
        DatasetError: an image cannot be read.
        WeightsError: the checkpoint is damaged or of another run.
    """
    replicas = DataParallel(network, computing.devices, computing.precision)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    scaler = torch.amp.GradScaler(computing.devices[0].type, enabled=computing.precision == "fp16")
    stateful: dict[str, Any] = {"network": network, "optimiser": optimiser, "scaler": scaler}
    report = progress or (lambda _event: None)
    state = _resume(checkpoint, config or {}, stateful)
    replicas.broadcast_parameters()
    pinned = computing.devices[0].type == "cuda"
    loader = PairLoader(sets, recipe, seed, computing.workers, pinned)
    validation = Validation(sets, recipe, computing.workers, pinned)
    with _deterministic_cudnn():
        for epoch in range(len(state.curve) + 1, recipe.epochs + 1):
            losses = _train_epoch(replicas, loader, optimiser, scaler, recipe, epoch, report)
            fidelity, hinge, seconds = losses
            sroccs, pairs = validation.sroccs(replicas), len(loader.images)
            record = PretrainingRecord(epoch, recipe.rate(epoch), fidelity, hinge, sroccs, pairs, seconds)
            state.add(record, network)
            if checkpoint is not None:
                states = {name: part.state_dict() for name, part in stateful.items()}
                write_checkpoint(checkpoint, config or {}, state, states)
            report(record)
    return state


def _train_epoch(
    replicas: DataParallel,
    loader: PairLoader,
    optimiser: torch.optim.Optimizer,
    scaler: Any,
    recipe: PretrainingRecipe,
    epoch: int,
    report: Progress,
) -> tuple[float, float, float]:
    """Take all pairs once; return the means of the two losses over pairs, and the seconds."""
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate(epoch)
    replicas.train(recipe.head_alone(epoch))
    steps, start, taken = loader.steps(epoch), time.perf_counter(), 0
    sums = [0.0, 0.0]
    for number, batch in enumerate(loader.batches(epoch), start=1):
        loss = replicas.loss(batch, recipe)
        terms = torch.stack([loss.fidelity, loss.hinge]).detach().tolist()
        _refuse_not_finite(sum(terms), batch, loader, recipe, epoch, number)
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss.total).backward()
        replicas.collect_gradients()
        scaler.step(optimiser)
        scaler.update()
        replicas.broadcast_parameters()
        taken += len(batch.pairs)
        sums = [total + term * len(batch.pairs) for total, term in zip(sums, terms, strict=True)]
        report(Step(epoch, number, steps, sum(terms), 2 * taken / (time.perf_counter() - start)))
    return sums[0] / taken, sums[1] / taken, time.perf_counter() - start


def _refuse_not_finite(
    loss: float, batch: PairBatch, loader: PairLoader, recipe: PretrainingRecipe, epoch: int, number: int
) -> None:
    if not isfinite(loss):
        names = summarize(loader.images.names(batch.pairs))
        raise TrainingError(
            f"the loss became {loss} in epoch {epoch}, step {number}, on the images {names}; lower "
            f"--learning-rate ({recipe.learning_rate:g}), or compute with --precision fp32."
        )


def _resume(checkpoint: Path | None, config: Mapping[str, Any], stateful: Mapping[str, Any]) -> TrainingState:
    """Return the state of a stopped run, its state dicts loaded; an empty one where there is none."""
    saved = read_checkpoint(checkpoint, config) if checkpoint is not None else None
    if saved is None:
        return TrainingState()
    state, states = saved
    for name, part in stateful.items():
        part.load_state_dict(states[name])
    return state


@contextmanager
def _deterministic_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
