"""Files of a run folder, and `MetricsSummary`: the metrics over the splits."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import summarize, write_bytes
from vqafeat.metrics import FEW_VIDEOS, Metrics

CONFIG, SPLITS, METRICS, CALIBRATION = "config.json", "splits.json", "metrics.json", "calibration.json"
PREDICTIONS, CURVE, TRAINING_FEATURES = "predictions.csv", "curve.csv", "training-features.safetensors"
WEIGHTS, STATE, TENSORBOARD = "weights", "state", "tensorboard"  # folders
FINAL = "final"  # the folder in a run's with the run of its final head
# what reading a damaged file raises
_DAMAGE = (ArgumentError, AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError)


def weights_path(folder: Path, split: int) -> Path:
    """Return the path of the weights of a split's head."""
    return folder / WEIGHTS / f"split-{split:02d}.safetensors"


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dict as safetensors."""
    write_bytes(path, save_safetensors({name: value.contiguous() for name, value in weights.items()}))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Report a file of a run folder that is missing, or damaged where reading it raises an error."""
    if not path.is_file():
        if not path.parent.is_dir():
            missing = "" if path.parent.exists() else "does not exist and "
            next_step = "give the folder that `vqafeat fit` wrote, such as runs/NAME"
            raise WeightsError(f"'{path.parent}' {missing}is no run folder; {next_step}.")
        reason = "this is no run folder, or its fit did not finish"
        raise WeightsError(f"'{path}' is missing: {reason}; run `vqafeat fit` again.")
    try:
        yield
    except (*_DAMAGE, SafetensorError) as error:
        kind = type(error).__name__
        raise WeightsError(f"'{path}' is damaged ({kind}: {error}); run `vqafeat fit` again.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a run."""
    with reading(path):
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise TypeError(f"a {type(values).__name__} in place of an object")
        return values


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file."""
    with reading(path):
        return load_safetensors(path.read_bytes())


def load_checked(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict into a network after comparing every name and shape."""
    expected = {name: str(tuple(value.shape)) for name, value in network.state_dict().items()}
    given = {name: str(tuple(value.shape)) for name, value in weights.items()}
    problems = [
        f"{name} is {given.get(name, 'missing')} in place of {expected.get(name, 'nothing')}"
        for name in {**expected, **given}
        if given.get(name) != expected.get(name)
    ]
    if problems:
        raise WeightsError(f"{where} do not fit the head: {summarize(problems, 3, '; ')}.")
    network.load_state_dict(dict(weights))


MEASURES = ("srocc", "krocc", "plcc", "rmse")
# those without a mapping: of the heads' output, and of the calibrated scores that `predict` prints
PLAIN_MEASURES = ("plcc_plain", "rmse_plain", "rmse_calibrated")
EVERY_MEASURE = (*MEASURES, *PLAIN_MEASURES)
_IN_LABELS_UNIT = ("rmse", "rmse_plain", "rmse_calibrated")


@dataclass(frozen=True)
class Summary:
    """One measure over the splits where it is defined; NaN where these are too few."""

    mean: float
    std: float  # of the sample (n − 1)
    median: float
    values: tuple[float, ...]  # one for each split, NaN where it is not defined

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Return the summary of one value for each split."""
        defined = [value for value in values if isfinite(value)]
        return cls(
            mean=float(np.mean(defined)) if defined else nan,
            std=float(np.std(defined, ddof=1)) if len(defined) > 1 else nan,
            median=float(np.median(defined)) if defined else nan,
            values=tuple(float(value) for value in values),
        )


_UNKNOWN = Summary.of(())


@dataclass(frozen=True)
class MetricsSummary:
    """SROCC, KROCC, PLCC and RMSE over the splits, the last two after the run's mapping."""

    srocc: Summary
    krocc: Summary
    plcc: Summary
    rmse: Summary
    n: tuple[int, ...]  # number of videos that each split was measured on
    notes: tuple[str, ...]
    plcc_plain: Summary = _UNKNOWN  # of the heads' output, without a mapping
    rmse_plain: Summary = _UNKNOWN
    rmse_calibrated: Summary = _UNKNOWN
    datasets: Mapping[str, "MetricsSummary"] = field(default_factory=dict)  # where there are several

    def __repr__(self) -> str:
        return ", ".join(f"{name.upper()} {getattr(self, name).mean:.3f}" for name in MEASURES)

    @classmethod
    def of(
        cls, metrics: Sequence[Metrics], notes: Sequence[str] = (), rmse_calibrated: Sequence[float] = ()
    ) -> "MetricsSummary":
        """Return the summary of one `Metrics` for each split."""
        own_notes = numbered_notes([item.note for item in metrics])
        names = (*MEASURES, "plcc_plain", "rmse_plain")
        summaries: dict[str, Any] = {
            name: Summary.of([getattr(item, name) for item in metrics]) for name in names
        }
        summaries["rmse_calibrated"] = Summary.of(rmse_calibrated)
        return cls(**summaries, n=tuple(item.n for item in metrics), notes=(*notes, *own_notes))

    @classmethod
    def weighted(
        cls, datasets: Mapping[str, "MetricsSummary"], notes: Sequence[str] = ()
    ) -> "MetricsSummary":
        """Return the mean over data sets weighted by their measured videos, as in Li et al., table VI."""
        counts = np.array([own.n for own in datasets.values()], dtype=np.float64)
        total = counts.sum(axis=0)
        summaries = {name: Summary.of([nan] * len(total)) for name in _IN_LABELS_UNIT}
        for name in ("srocc", "krocc", "plcc", "plcc_plain"):
            values = np.array([getattr(own, name).values for own in datasets.values()])
            summaries[name] = Summary.of(((values * counts).sum(axis=0) / total).tolist())
        weights = "the mean over the data sets is weighted by their test videos"
        weights += "; RMSE has none, since their scales differ"
        own_notes = [f"{name}: {note}" for name, own in datasets.items() for note in own.notes]
        n = tuple(total.astype(int).tolist())
        return cls(**summaries, n=n, notes=(*notes, weights, *own_notes), datasets=datasets)

    @property
    def few_videos(self) -> str:
        """A warning where splits were measured on few videos, or empty."""
        few = [
            count
            for own in self.datasets.values() or [self]
            for count, srocc in zip(own.n, own.srocc.values, strict=True)
            if isfinite(srocc) and count < FEW_VIDEOS
        ]
        if not few:
            return ""
        counts = f"{min(few)} to {max(few)}" if min(few) < max(few) else f"{min(few)}"
        measured = f"measured on only {counts} test videos per split"
        return f"{measured}: with fewer than {FEW_VIDEOS}, one video moves a figure visibly"

    def with_plain(self, other: "MetricsSummary") -> "MetricsSummary":
        """Return this summary with the measures of another one that need no mapping."""
        datasets = {name: own.with_plain(other.datasets[name]) for name, own in self.datasets.items()}
        return replace(self, **{name: getattr(other, name) for name in PLAIN_MEASURES}, datasets=datasets)

    def across_scales(self) -> "MetricsSummary":
        """Return the summary of scores on another scale than the labels', without RMSE that needs theirs."""
        mapped = [
            nan if value == plain else value
            for value, plain in zip(self.rmse.values, self.rmse_plain.values, strict=True)
        ]
        unknown = Summary.of([nan] * len(mapped))
        return replace(self, rmse=Summary.of(mapped), rmse_plain=unknown, rmse_calibrated=unknown)

    def as_dict(self) -> dict[str, Any]:
        """Return the values as JSON stores them."""
        values: dict[str, Any] = {name: vars(getattr(self, name)) for name in EVERY_MEASURE}
        values |= {"n": list(self.n), "few_videos": bool(self.few_videos), "notes": list(self.notes)}
        if self.datasets:
            values["datasets"] = {name: summary.as_dict() for name, summary in self.datasets.items()}
        return values

    def as_json(self, videos: Mapping[str, int]) -> dict[str, Any]:
        """Return what `--json` of every command prints.

        Args:
            videos: data set → how many different videos were measured.
        """

        def every(key: str) -> dict[str, Any]:
            return {name: getattr(getattr(self, name), key) for name in EVERY_MEASURE}

        values = {
            **every("mean"),
            **{"medians": every("median"), "stds": every("std"), "values": {**every("values"), "n": self.n}},
            **{"n": sum(videos.values()), "heads": len(self.n), "few_videos": bool(self.few_videos)},
            "notes": self.notes,
        }
        datasets = {name: own.as_json({name: videos[name]}) for name, own in self.datasets.items()}
        return {**values, "datasets": datasets} if datasets else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MetricsSummary":
        """Return the summary that `as_dict` described; an earlier version stored fewer measures."""
        summaries = {
            name: Summary.of([nan if value is None else value for value in values[name]["values"]])
            for name in EVERY_MEASURE
            if name in values or name in MEASURES
        }
        datasets = {name: cls.from_dict(own) for name, own in values.get("datasets", {}).items()}
        return cls(**summaries, n=tuple(values["n"]), notes=tuple(values["notes"]), datasets=datasets)


def numbered_notes(notes: Sequence[str]) -> list[str]:
    """Return each note once, as `split 3: …` or `7 of 10 splits: …`; a single split has no number."""
    different = [note for note in dict.fromkeys(notes) if note]
    if len(notes) == 1:
        return different

    def prefix(note: str) -> str:
        count = notes.count(note)
        return f"split {notes.index(note)}" if count == 1 else f"{count} of {len(notes)} splits"

    return [f"{prefix(note)}: {note}" for note in different]
