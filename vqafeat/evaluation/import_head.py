"""Import of released heads of VSFA, MDTVSFA or Li et al. as run folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqafeat.backbones.weights import read_state_dict
from vqafeat.datasets.manifest import Manifest
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.heads.base import Head, build_head, head_options
from vqafeat.io import summarize, write_json
from vqafeat.losses.label_scaling import LabelScaling
from vqafeat.metrics import DEFAULT_MAPPING
from vqafeat.store.features import split_feature_sets
from vqafeat.training import results
from vqafeat.training.run_config import RunConfig, TrainingDataset, software_versions

# VQAmodel.py of MDTVSFA and of TCSVT-2022-BVQA name data sets by a letter
_DATASETS = ("konvid", "cvd2014", "live-qualcomm", "live-vqc", "youtube-ugc", "lsvq")
_LETTERS = dict(zip("KCLNYQ", _DATASETS, strict=True))
_LINES = "lm."  # prefix of the parameters of each data set's linear mapping
# Li et al. join features of a quality-aware ResNet-50 and motion features, 4096 + 512 channels
_FEATURES_BY_WIDTH = {4608: "iqa-resnet50+slowfast-fast"}

_LINEAR = ("weight", "bias")
_GRU = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True)
class Layout:
    """The layers of a released network."""

    head: str  # its name in this package
    described: str
    layers: Mapping[str, str]  # released name → name in `head`
    others: str  # prefix of the parameters that are not part of the head

    @property
    def names(self) -> dict[str, str]:
        """Released name of each parameter → name in `head`."""
        return {
            f"{released}.{kind}": f"{own}.{kind}"
            for released, own in self.layers.items()
            for kind in (_GRU if own.endswith("recurrence") else _LINEAR)
        }

    def problems(self, released: Mapping[str, Tensor]) -> list[str]:
        """Return how a state dict differs from this layout, in words."""
        names = self.names
        foreign = [name for name in released if name not in names and not name.startswith(self.others)]
        missing = [f"{name} is missing" for name in names if name not in released]
        return missing + [f"{name} is not of that network" for name in foreign]


_LAYOUTS = (
    # class VSFA in VSFA.py of https://github.com/lidq92/VSFA, which creates but never runs `ann.fc`
    Layout(
        "sub-gru",
        "VSFA's released head",
        {"ann.fc0": "reduce.linear", "rnn": "recurrence", "q": "score"},
        others="ann.fc.",
    ),
    # class VQAModel in VQAmodel.py of https://github.com/lidq92/MDTVSFA and of
    # https://github.com/zwx8981/TCSVT-2022-BVQA
    Layout(
        "mdtvsfa",
        "the released head of MDTVSFA or of Li et al.",
        {
            "dimemsion_reduction": "inner.reduce.linear",
            "feature_aggregation": "inner.recurrence",
            "regression": "inner.score",
            "nlm.0": "steepen",
            "nlm.2": "stretch",
        },
        others=_LINES,
    ),
)


def read_head(
    released: Mapping[str, Tensor], where: str, dataset: str
) -> tuple[str, int, dict[str, Any], dict[str, Tensor]]:
    """Return the name, channels and options of a released head, and the weights in the file.

    `where` names the file in messages. A head with several data sets scores on the scale of `dataset`.
    """
    differences = [(layout, layout.problems(released)) for layout in _LAYOUTS]
    layout, problems = min(differences, key=lambda pair: len(pair[1]))
    if problems:
        listed, expected = summarize(problems, 3, "; "), ", ".join(layout.names)
        raise WeightsError(f"{where} is not {layout.described}: {listed}. Expected are {expected}.")
    weights = {own: released[name].float() for name, own in layout.names.items()}
    prefix = "inner." if layout.head == "mdtvsfa" else ""
    # from the numbers of values, because shapes are checked when the weights are loaded
    reduced = weights[f"{prefix}reduce.linear.bias"].numel()
    channels = weights[f"{prefix}reduce.linear.weight"].numel() // max(reduced, 1)
    options: dict[str, Any] = {"reduced": reduced, "hidden": weights[f"{prefix}score.weight"].numel()}
    if layout.head == "mdtvsfa":
        datasets, lines = _read_lines(released)
        if dataset not in datasets:
            known = f"the file has scales of {', '.join(datasets) or 'none'}"
            raise ArgumentError(f"dataset is '{dataset}', but {known}; name one of them with --dataset.")
        options |= {"datasets": "+".join(datasets), "scale_of": dataset}
        weights |= lines
    return layout.head, channels, options, weights


def _read_lines(released: Mapping[str, Tensor]) -> tuple[list[str], dict[str, Tensor]]:
    """Return the data sets that have a linear mapping in a released head, and their weights."""
    letters = list(dict.fromkeys(name.split(".")[1] for name in released if name.startswith(_LINES)))
    lines = {}
    for own, kind in (("slopes", "weight"), ("offsets", "bias")):
        values = [released.get(f"{_LINES}{letter}.{kind}", torch.empty(0)) for letter in letters]
        if any(value.numel() != 1 for value in values):
            required = f"need one weight and one bias each, for {', '.join(letters)}"
            raise WeightsError(f"the lines {_LINES}* of the file {required}.")
        lines[own] = torch.cat([value.float().flatten() for value in values]) if values else torch.empty(0)
    return [_LETTERS.get(letter, letter) for letter in letters], lines


def read_released(
    path: Path, dataset: Manifest, largest_label: float | None = None, feature_sets: str | None = None
) -> tuple[RunConfig, Head]:
    """Return the configuration and the head in a state dict, for example VSFA.pt or MDTVSFA.pt.

    Args:
        dataset: the data set of the training; of several, the one on whose scale the head is to score.
        largest_label: of VSFA, the largest MOS, by which its labels were divided; by default the data set's.
        feature_sets: by default, for 4608 channels Li et al.'s fusion, else GAP ‖ GSP of ResNet-50.
    """
    if largest_label is not None and not largest_label > 0:
        allowed = "it has to be the largest label of its data set, such as 4.64 for KoNViD-1k"
        raise ArgumentError(f"largest_label is {largest_label}; {allowed}.")
    if feature_sets is not None:
        split_feature_sets(feature_sets)  # checks the names
    where = f"weights file '{path}'"
    name, channels, options, weights = read_head(read_state_dict(path), where, dataset.name)
    on_label_scale = name == "mdtvsfa"
    if on_label_scale and largest_label is not None:
        line = f"{where} maps its outputs to the labels of '{dataset.name}'"
        raise ArgumentError(f"largest_label is {largest_label}, but {line}; leave --largest-label out.")
    options = head_options(name, options)
    head = build_head(name, channels, options)
    results.load_checked(head, {**head.state_dict(), **weights}, f"weights in '{path}'")
    scaling = LabelScaling(1.0 if on_label_scale else float(largest_label or dataset.mos_range[1]))
    trained_on = TrainingDataset(dataset.name, "", dataset.score_name, dataset.mos_range, (scaling,))
    config = RunConfig(
        head=name,
        options=options,
        recipe={},
        seed=0,
        feature_sets=feature_sets or _FEATURES_BY_WIDTH.get(channels, "resnet50"),
        identities={},
        channels=channels,
        datasets=(trained_on,),
        split_kind="unknown (imported)",
        mapping=DEFAULT_MAPPING,
        origin=f"imported from {path.name}",
        versions=software_versions(),
    )
    return config, head


def import_head(
    path: Path,
    out: Path,
    dataset: Manifest,
    largest_label: float | None = None,
    feature_sets: str | None = None,
) -> Path:
    """Make a run folder of a released head, and return it; see `read_released` for the arguments."""
    if out.exists():
        raise ArgumentError(f"'{out}' exists; name another folder with --out.")
    config, head = read_released(path, dataset, largest_label, feature_sets)
    write_json(out / results.CONFIG, config.as_dict())
    write_json(out / results.SPLITS, {"kind": config.split_kind, "skipped": [], "splits": []})
    results.write_weights(results.weights_path(out, 0), head.state_dict())
    metrics = results.MetricsSummary.of([], ["imported head: its training and test videos are not known"])
    write_json(out / results.METRICS, metrics.as_dict())
    return out
