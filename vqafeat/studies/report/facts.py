"""Everything that decided a run, as groups of names and values."""

from collections.abc import Mapping
from typing import Any

from vqafeat.store.types import FeatureSetIdentity
from vqafeat.training.run import RunConfig

Facts = dict[str, list[tuple[str, str]]]


def facts_of(config: RunConfig, folder: str) -> Facts:
    """Return what a run's configuration records, group by group, in words; groups without a value are left out."""
    run = {
        "folder": folder,
        "origin": config.origin,
        "head": config.head,
        "feature sets": config.feature_sets,
        "channels": config.channels,
        "frames": config.frame_input.words,
        "seed": config.seed,
        "splits": f"{config.splits}, {config.split_kind}",
        "digest of the splits": config.splits_digest,
        "mapping before PLCC and RMSE": config.mapping,
        "digest of the configuration": config.digest,
    }
    groups: dict[str, Mapping[str, Any]] = {"Run": run, "Recipe": config.recipe, "Head options": config.options}
    for name, identity in config.identities.items():
        groups[f"Features {name}"] = {**identity, "digest of the identity": FeatureSetIdentity.from_dict(identity).digest()}
    for one in config.datasets:
        scale = f"{one.mos_range[0]:g} to {one.mos_range[1]:g}"
        groups[f"Data set {one.name}"] = {"labels": one.score_name, "range": scale, "digest": one.digest}
    groups["Software"] = config.versions
    return {group: rows for group, values in groups.items() if (rows := _rows(values))}


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), text) for name, value in values.items() if (text := _text(value))]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
