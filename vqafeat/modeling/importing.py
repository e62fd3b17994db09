"""Released heads → run folders."""

from pathlib import Path

from vqafeat.backbones.weights import read_state_dict
from vqafeat.errors import ArgumentError
from vqafeat.heads import build_head, head_options
from vqafeat.io import write_json
from vqafeat.losses import LabelLine
from vqafeat.metrics import DEFAULT_MAPPING
from vqafeat.modeling.layouts import read_layout
from vqafeat.modeling.run_config import RunConfig, TrainedOn, software_versions
from vqafeat.modeling.run_files import CONFIG, METRICS, SPLITS, load_checked, weights_path, write_weights
from vqafeat.modeling.summary import MetricsSummary

_SPATIAL = "resnet50"
# Li et al. join spatial features of a quality-aware ResNet-50 and motion features, 4096 + 512
_FEATURES_BY_WIDTH = {4608: "iqa-resnet50+slowfast-fast"}


def import_head(
    path: Path,
    out: Path,
    score_scale: float | None = None,
    dataset: str = "konvid",
    score_name: str = "MOS",
    mos_range: tuple[float, float] = (1.22, 4.64),
    feature_sets: str | None = None,
) -> Path:
    """Make a run folder of a head that the released code of VSFA, MDTVSFA or Li et al. trained; the names in the file say which it is.

    Args:
        path: the state dict, for example VSFA.pt or MDTVSFA.pt.
        out: the run folder to make.
        score_scale: VSFA alone: the largest MOS of the data set, by which its labels were divided; without it the end of `mos_range`.
        dataset: the data set that it was trained on; of several, the one whose scale the score is to have.
        score_name: what its labels are.
        mos_range: smallest and largest label.
        feature_sets: the features that it takes; without it, by their width: 4608 is Li et al.'s fusion, else GAP ‖ GSP of ResNet-50.

    Returns:
        The run folder.

    Raises:
        WeightsError: the file cannot be loaded safely, or is of no known network; the first names that differ are given.
        ArgumentError: `out` is there already, `score_scale` is not above 0 or not wanted, or the file has no scale of `dataset`.
    """
    if score_scale is not None and not score_scale > 0:
        raise ArgumentError(f"score_scale is {score_scale}; it has to be the largest label of its data set, as 4.64 for KoNViD-1k.")
    if out.exists():
        raise ArgumentError(f"'{out}' is there already; name another folder with --out.")
    where = f"weights file '{path}'"
    found = read_layout(read_state_dict(path), where, dataset)
    if found.on_label_scale and score_scale is not None:
        raise ArgumentError(
            f"score_scale is {score_scale}, but {where} brings the line to the labels of '{dataset}' with it; leave --score-scale out."
        )
    options = head_options(found.head, found.options)
    head = build_head(found.head, found.channels, options)
    load_checked(head, {**head.state_dict(), **found.weights}, f"weights in '{path}'")
    line = LabelLine(1.0 if found.on_label_scale else float(score_scale or mos_range[1]))
    config = RunConfig(
        head=found.head,
        options=options,
        recipe={},
        seed=0,
        feature_sets=feature_sets or _FEATURES_BY_WIDTH.get(found.channels, _SPATIAL),
        identities={},
        channels=found.channels,
        datasets=(TrainedOn(dataset, "", score_name, mos_range, (line,)),),
        split_kind="unknown (imported)",
        mapping=DEFAULT_MAPPING,
        origin=f"imported from {path.name}",
        versions=software_versions(),
    )
    write_json(out / CONFIG, config.as_dict())
    write_json(out / SPLITS, {"kind": config.split_kind, "skipped": [], "splits": []})
    write_weights(weights_path(out, 0), head.state_dict())
    write_json(out / METRICS, MetricsSummary.of([], ["imported head: its training and test videos are not known"]).as_dict())
    return out
