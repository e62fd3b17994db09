"""Run folders of heads that the released code of VSFA, MDTVSFA or Li et al. trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqafeat.backbones.weights import read_state_dict
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.heads import build_head, head_options
from vqafeat.io import summarize_problems, write_json
from vqafeat.losses import LabelScaling
from vqafeat.metrics import DEFAULT_MAPPING
from vqafeat.training.results import (
    CONFIG,
    METRICS,
    SPLITS,
    MetricsSummary,
    load_checked,
    weights_path,
    write_weights,
)
from vqafeat.training.run_config import RunConfig, TrainingDataset, software_versions

# VQAmodel.py of MDTVSFA and of TCSVT-2022-BVQA call data sets by a letter
_LETTERS = {
    "K": "konvid",
    "C": "cvd2014",
    "L": "live-qualcomm",
    "N": "live-vqc",
    "Y": "youtube-ugc",
    "Q": "lsvq",
}
_LINES = "lm."  # prefix of the parameters of each data set's linear mapping
_SPATIAL = "resnet50"
# Li et al. join spatial features of a quality-aware ResNet-50 and motion features, 4096 + 512
_FEATURES_BY_WIDTH = {4608: "iqa-resnet50+slowfast-fast"}

Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class ConvertedHead:
    """A released head in this package's terms.

    Attributes:
        head: name in the registry of heads.
        options: of that head.
        channels: width of a frame's features.
        weights: state dict; parameters that the released file does not hold keep their start.
        on_label_scale: the scores are on the label scale already.
    """

    head: str
    options: dict[str, Any]
    channels: int
    weights: Weights
    on_label_scale: bool


@dataclass(frozen=True)
class Layout:
    """The parameter names of a released network.

    Attributes:
        described: what it is, for messages.
        names: released name → name in this package.
        unused: names that the released network makes but never runs.
        lines: it holds a linear mapping for each of several data sets.
        matrices: released names of the (reduced, channel) and the (1, hidden) matrix.
        build: (renamed weights, released weights, data set whose scale is required) → head.
    """

    described: str
    names: Mapping[str, str]
    unused: tuple[str, ...]
    lines: bool
    matrices: tuple[str, str]
    build: Callable[[Weights, Mapping[str, Tensor], str], ConvertedHead]

    def problems(self, released: Mapping[str, Tensor]) -> list[str]:
        """Return how a state dict differs from this layout, in words."""
        lines = {name for name in released if self.lines and name.startswith(_LINES)}
        known = {*self.names, *self.unused, *lines}
        return [
            *(f"{name} is missing" for name in self.names if name not in released),
            *(f"{name} is not of that network" for name in released if name not in known),
            *(
                f"{name} has {released[name].ndim} dimension(s)"
                for name in self.matrices
                if name in released and released[name].ndim != 2
            ),
        ]


def read_layout(released: Mapping[str, Tensor], where: str, dataset: str) -> ConvertedHead:
    """Return a released head, recognised by the names of its parameters.

    Args:
        released: the state dict.
        where: the file, for messages.
        dataset: whose scale the score is to have, where the file holds several.

    Raises:
        WeightsError: it is of no known layout; the first differences from the nearest one are named.
        ArgumentError: the file has no scale of `dataset`.
    """
    layout, problems = min(
        ((layout, layout.problems(released)) for layout in _LAYOUTS), key=lambda pair: len(pair[1])
    )
    if problems:
        expected = f"Expected are {', '.join(layout.names)}."
        raise WeightsError(f"{where} is not {layout.described}: {summarize_problems(problems)}. {expected}")
    renamed = {name: released[key].float() for key, name in layout.names.items()}
    return layout.build(renamed, released, dataset)


def _recurrent(prefix: str) -> dict[str, str]:
    parts = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return {f"{prefix}.{part}": f"recurrence.{part}" for part in parts}


def _vsfa(weights: Weights, released: Mapping[str, Tensor], dataset: str) -> ConvertedHead:
    reduced, channels = weights["reduce.linear.weight"].shape
    options = {"reduced": reduced, "hidden": weights["score.weight"].shape[1]}
    return ConvertedHead("sub-gru", options, channels, weights, on_label_scale=False)


def _mdtvsfa(weights: Weights, released: Mapping[str, Tensor], dataset: str) -> ConvertedHead:
    letters = list(dict.fromkeys(name.split(".")[1] for name in released if name.startswith(_LINES)))
    names = [_LETTERS.get(letter, letter) for letter in letters]
    if dataset not in names:
        known = ", ".join(names) or "none"
        raise ArgumentError(
            f"dataset is '{dataset}', but the file has scales of {known}; name one of them with --dataset."
        )
    for name, part in (("slopes", "weight"), ("offsets", "bias")):
        parameters = [released.get(f"{_LINES}{letter}.{part}", torch.empty(0)) for letter in letters]
        if any(value.numel() != 1 for value in parameters):
            required = f"need one weight and one bias each, for {', '.join(letters)}"
            raise WeightsError(f"the lines {_LINES}* of the file {required}.")
        weights[name] = torch.cat([value.float().flatten() for value in parameters])
    reduced, channels = weights["inner.reduce.linear.weight"].shape
    hidden = weights["inner.score.weight"].shape[1]
    options = {"reduced": reduced, "hidden": hidden, "datasets": "+".join(names), "scale_of": dataset}
    return ConvertedHead("mdtvsfa", options, channels, weights, on_label_scale=True)


_LAYOUTS = (
    # class VSFA in VSFA.py of https://github.com/lidq92/VSFA
    Layout(
        described="VSFA's released head",
        names={
            "ann.fc0.weight": "reduce.linear.weight",
            "ann.fc0.bias": "reduce.linear.bias",
            **_recurrent("rnn"),
            "q.weight": "score.weight",
            "q.bias": "score.bias",
        },
        unused=("ann.fc.weight", "ann.fc.bias"),
        lines=False,
        matrices=("ann.fc0.weight", "q.weight"),
        build=_vsfa,
    ),
    # class VQAModel in VQAmodel.py of https://github.com/lidq92/MDTVSFA and of
    # https://github.com/zwx8981/TCSVT-2022-BVQA
    Layout(
        described="the released head of MDTVSFA or of Li et al.",
        names={
            "dimemsion_reduction.weight": "inner.reduce.linear.weight",
            "dimemsion_reduction.bias": "inner.reduce.linear.bias",
            **{key: f"inner.{name}" for key, name in _recurrent("feature_aggregation").items()},
            "regression.weight": "inner.score.weight",
            "regression.bias": "inner.score.bias",
            "nlm.0.weight": "steepen.weight",
            "nlm.0.bias": "steepen.bias",
            "nlm.2.weight": "stretch.weight",
            "nlm.2.bias": "stretch.bias",
        },
        unused=(),
        lines=True,
        matrices=("dimemsion_reduction.weight", "regression.weight"),
        build=_mdtvsfa,
    ),
)


def import_head(
    path: Path,
    out: Path,
    score_scale: float | None = None,
    dataset: str = "konvid",
    score_name: str = "MOS",
    mos_range: tuple[float, float] = (1.22, 4.64),
    feature_sets: str | None = None,
) -> Path:
    """Make a run folder of a released head of VSFA, MDTVSFA or Li et al., and return it; the names in the
    file say which it is.

    Args:
        path: the state dict, for example VSFA.pt or MDTVSFA.pt.
        out: the run folder to make.
        score_scale: VSFA alone: the largest MOS of the data set, by which its labels were divided; without it
            the end of `mos_range`.
        dataset: the data set that it was trained on; of several, the one whose scale the score is to have.
        score_name: what its labels are.
        mos_range: smallest and largest label.
        feature_sets: the features that it takes; without it, by their width: 4608 is Li et al.'s fusion, else
            GAP ‖ GSP of ResNet-50.

    Raises:
        WeightsError: the file cannot be loaded safely, or is of no known network.
        ArgumentError: `out` exists, `score_scale` is not above 0 or not used, or the file has no scale of
            `dataset`.
    """
    if score_scale is not None and not score_scale > 0:
        allowed = "it has to be the largest label of its data set, as 4.64 for KoNViD-1k"
        raise ArgumentError(f"score_scale is {score_scale}; {allowed}.")
    if out.exists():
        raise ArgumentError(f"'{out}' is there already; name another folder with --out.")
    where = f"weights file '{path}'"
    released = read_layout(read_state_dict(path), where, dataset)
    if released.on_label_scale and score_scale is not None:
        raise ArgumentError(
            f"score_scale is {score_scale}, but {where} brings the line to the labels of '{dataset}' with "
            "it; leave --score-scale out."
        )
    options = head_options(released.head, released.options)
    head = build_head(released.head, released.channels, options)
    load_checked(head, {**head.state_dict(), **released.weights}, f"weights in '{path}'")
    scaling = LabelScaling(1.0 if released.on_label_scale else float(score_scale or mos_range[1]))
    config = RunConfig(
        head=released.head,
        options=options,
        recipe={},
        seed=0,
        feature_sets=feature_sets or _FEATURES_BY_WIDTH.get(released.channels, _SPATIAL),
        identities={},
        channels=released.channels,
        datasets=(TrainingDataset(dataset, "", score_name, mos_range, (scaling,)),),
        split_kind="unknown (imported)",
        mapping=DEFAULT_MAPPING,
        origin=f"imported from {path.name}",
        versions=software_versions(),
    )
    write_json(out / CONFIG, config.as_dict())
    write_json(out / SPLITS, {"kind": config.split_kind, "skipped": [], "splits": []})
    write_weights(weights_path(out, 0), head.state_dict())
    metrics = MetricsSummary.of([], ["imported head: its training and test videos are not known"])
    write_json(out / METRICS, metrics.as_dict())
    return out
