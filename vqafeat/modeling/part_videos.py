"""The videos of one official part, to be measured in place of a run's own test parts; LSVQ's heads are trained once and tested on two."""

from collections.abc import Mapping, Sequence

from vqafeat.datasets import SPLIT_NAMES, Dataset
from vqafeat.errors import ArgumentError
from vqafeat.modeling.leaks import LeakReport
from vqafeat.modeling.recipes import SELECTIONS
from vqafeat.modeling.run_config import RunConfig
from vqafeat.modeling.trained import TrainedModel
from vqafeat.splits import Split

UNKNOWN_TRAINING = "the head's own training videos are not known and may be among the measured ones"
CHANGED_SINCE = "the data set's labels or videos have changed since the fit"

NamedSplits = Sequence[Mapping[str, list[str]]]


def videos_of_part(part: str, splits: NamedSplits, model: TrainedModel, dataset: Dataset) -> tuple[list[list[str]], str, list[str]]:
    """Return the names for each head, where they are from in words, and notes.

    Args:
        part: official part of the data set.
        splits: the run's own ones of this data set; none where it was not trained on it, or where they are not known.
        model: of the run, on the label scale of this data set where it has that.
        dataset: to be measured on.

    Raises:
        ArgumentError: no video is in the part, or one was in a head's own training or validation part.
    """
    videos = [video.name for video in dataset.videos if video.split == part]
    if not videos:
        raise ArgumentError(
            f"no video of '{dataset.name}' is in the official part '{part}' ({_parts(dataset)}); name a part that is there."
        )
    config, notes = model.config, list[str]()
    if splits:
        _refuse_seen(part, videos, splits)
        changed = CHANGED_SINCE if dataset.digest != model.trained_on.digest else ""
        notes = [note for note in (changed, _leak_note(videos, splits, dataset), _selection_note(videos, splits, config)) if note]
    elif not config.splits_digest:
        notes = [UNKNOWN_TRAINING]
    return [videos] * len(model.heads), f"all {len(videos)} videos of the official part '{part}' of '{dataset.name}'", notes


def _parts(dataset: Dataset) -> str:
    counts = {part: sum(video.split == part for video in dataset.videos) for part in SPLIT_NAMES}
    there = ", ".join(f"{part} {count}" for part, count in counts.items() if count)
    return f"there: {there}" if there else "its label list names no parts"


def _refuse_seen(part: str, videos: Sequence[str], splits: NamedSplits) -> None:
    for number, split in enumerate(splits):
        fitted = {*split["train"], *split["validation"]}
        if seen := [video for video in videos if video in fitted]:
            raise ArgumentError(
                f"{len(seen)} of the {len(videos)} videos of the part '{part}' were in the training or validation part of the run's head "
                f"{number} (first: {seen[0]}); name a part that no head was fitted on, or fit with --protocol official."
            )


def _leak_note(videos: Sequence[str], splits: NamedSplits, dataset: Dataset) -> str:
    """Return what the measured videos share with training; the run's own report is of its own test parts."""
    row = {video.name: number for number, video in enumerate(dataset.videos)}
    measured = tuple(row[name] for name in videos)
    trained = [tuple(row[name] for name in split["train"] if name in row) for split in splits]
    drawn = [Split(rows, (), measured) for rows in trained if rows]
    return LeakReport.of(drawn, [video.content for video in dataset.videos]).note


def _selection_note(videos: Sequence[str], splits: NamedSplits, config: RunConfig) -> str:
    tested = {name for split in splits for name in split["test"]}
    return SELECTIONS.get(config.recipe.get("select", "validation")).note if tested & set(videos) else ""
