"""Released heads → run folders."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.modeling.heads import build_head, head_options
from vqafeat.modeling.run_files import CONFIG, METRICS, SPLITS, list_first, load_checked, weights_path, write_json, write_weights
from vqafeat.modeling.summary import MetricsSummary
from vqafeat.modeling.trained import RunConfig, software_versions
from vqafeat.state_dicts import read_state_dict

# class VSFA in VSFA.py of https://github.com/lidq92/VSFA
_VSFA_NAMES = {
    "ann.fc0.weight": "reduce.linear.weight",
    "ann.fc0.bias": "reduce.linear.bias",
    "rnn.weight_ih_l0": "recurrence.weight_ih_l0",
    "rnn.weight_hh_l0": "recurrence.weight_hh_l0",
    "rnn.bias_ih_l0": "recurrence.bias_ih_l0",
    "rnn.bias_hh_l0": "recurrence.bias_hh_l0",
    "q.weight": "score.weight",
    "q.bias": "score.bias",
}
# a second layer that the released network makes but never runs
_VSFA_UNUSED = ("ann.fc.weight", "ann.fc.bias")


def import_vsfa(
    path: Path,
    out: Path,
    score_scale: float,
    dataset: str = "konvid",
    score_name: str = "MOS",
    mos_range: tuple[float, float] = (1.22, 4.64),
    feature_sets: str = "resnet50",
) -> Path:
    """Make a run folder of a head that the released VSFA.py trained.

    Args:
        path: the state dict, for example VSFA.pt.
        out: the run folder to make.
        score_scale: the largest MOS of the data set that it was trained on, by which the labels were divided; 4.64 for KoNViD-1k.
        dataset: name of that data set.
        score_name: what its labels are.
        mos_range: smallest and largest label.
        feature_sets: the features that it takes, GAP ‖ GSP of ResNet-50.

    Returns:
        The run folder.

    Raises:
        WeightsError: the file cannot be loaded safely, or is not of that network; the first names that differ are given.
        ArgumentError: `out` is there already, or `score_scale` is not above 0.
    """
    if not score_scale > 0:
        raise ArgumentError(f"score_scale is {score_scale}; it has to be the largest label of its data set, as 4.64 for KoNViD-1k.")
    if out.exists():
        raise ArgumentError(f"'{out}' is there already; name another folder with --out.")
    weights = _vsfa_weights(read_state_dict(path), path)
    options = head_options("sub-gru", {"reduced": weights["reduce.linear.weight"].shape[0], "hidden": weights["score.weight"].shape[1]})
    channels = weights["reduce.linear.weight"].shape[1]
    head = build_head("sub-gru", channels, options)
    load_checked(head, {**head.state_dict(), **weights}, f"weights in '{path}'")
    config = RunConfig(
        head="sub-gru",
        options=options,
        recipe={},
        seed=0,
        feature_sets=feature_sets,
        identities={},
        channels=channels,
        label_factors=(float(score_scale),),
        dataset=dataset,
        dataset_digest="",
        score_name=score_name,
        mos_range=mos_range,
        split_kind="unknown (imported)",
        mapping="logistic",
        origin=f"imported from {path.name}",
        versions=software_versions(),
    )
    write_json(out / CONFIG, config.as_dict())
    write_json(out / SPLITS, {"kind": config.split_kind, "skipped": [], "splits": []})
    write_weights(weights_path(out, 0), head.state_dict())
    write_json(out / METRICS, MetricsSummary.of([], ["imported head: its training and test videos are not known"]).as_dict())
    return out


def _vsfa_weights(released: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    problems = [f"{name} is missing" for name in _VSFA_NAMES if name not in released]
    problems += [f"{name} is not of that network" for name in released if name not in _VSFA_NAMES and name not in _VSFA_UNUSED]
    problems += [
        f"{name} has {released[name].ndim} dimension(s)"
        for name in ("ann.fc0.weight", "q.weight")
        if name in released and released[name].ndim != 2
    ]
    if problems:
        raise WeightsError(
            f"weights file '{path}' is not VSFA's released head: {list_first(problems)}. Expected are {', '.join(_VSFA_NAMES)}."
        )
    return {own: released[name].float() for name, own in _VSFA_NAMES.items()}
