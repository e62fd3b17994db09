"""What `show` says of a run: what it measured, and what decided its numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqafeat.training.calibration import calibration_words
from vqafeat.training.results import CONFIG, METRICS, PREDICTIONS, SPLITS, load_calibrations, read_json, read_summary
from vqafeat.training.run import RunConfig
from vqafeat_cli.accounts import WORDS, line, made
from vqafeat_cli.fit_report import metrics_lines


def run_lines(folder: Path) -> Iterator[str]:
    """Yield what a run measured, and what decided its numbers.

    Raises:
        WeightsError: the run's configuration cannot be read.
    """
    config = RunConfig.from_dict(read_json(folder / CONFIG), f"'{folder / CONFIG}'")
    yield f"{folder}: {config.head} on {config.feature_sets} of {config.dataset}, by {config.origin}"
    yield from _measured(folder, config)
    recipe = f"recipe {config.recipe['name']}, " if config.recipe else ""
    yield line("heads", f"{config.splits}, one a split, in weights/; {recipe}seed {config.seed}; {_options(config.options)}")
    for name, value in config.recipe.items():
        yield f"    {name:{WORDS}} {value}"
    frames = config.frame_input
    yield line("frames", f"order {frames.order}, sampling {frames.sampling}, {frames.draws} draw{'s' * (frames.draws != 1)}")
    yield line("splits", f"{config.split_kind}; {SPLITS}, digest {config.splits_digest or 'not known'}")
    for dataset in config.datasets:
        low, high = dataset.mos_range
        yield line("labels", f"{dataset.name}, {dataset.score_name} {low:g} to {high:g}, digest {dataset.digest or 'not known'}")
    for name, identity in config.identities.items():
        yield line("features", f"{name}: {made(identity)}")
    yield line("software", ", ".join(f"{name} {version}" for name, version in config.versions.items()))
    yield line("run", f"digest {config.digest}; {CONFIG} has every value")


def _measured(folder: Path, config: RunConfig) -> Iterator[str]:
    if not (folder / METRICS).is_file():
        yield line("metrics", f"{METRICS} is missing: the fit did not finish; the same command goes on with it")
        return
    values = read_json(folder / METRICS)
    if not values["n"]:
        yield from (line("metrics", note) for note in values["notes"] or ["none: these heads were not measured; see `vqafeat evaluate`"])
        return
    yield line(
        "metrics", f"over {config.splits} splits, from the test parts in {PREDICTIONS}; PLCC and RMSE after mapping '{config.mapping}'"
    )
    kept, reasons = values.get("kept_epochs", []), values.get("kept_because", [])
    yield from metrics_lines(read_summary(folder, config), config.mapping)
    for one, own in zip(config.datasets, load_calibrations(folder, config) or (), strict=False):
        few, many = min(item.videos for item in own), max(item.videos for item in own)
        yield line("scores", f"{one.name}: {calibration_words(own)}, {few if few == many else f'{few} to {many}'} a split")
    for split, (epoch, reason) in enumerate(zip(kept, reasons, strict=False)):
        yield line("" if split else "kept", f"split {split}: epoch {epoch}, {reason}")


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"
