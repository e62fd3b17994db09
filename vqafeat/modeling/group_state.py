"""What a fit keeps of each group of splits while it runs, so that a stopped one goes on."""

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from vqafeat.io import write_bytes
from vqafeat.modeling.checkpoints import Checkpoint
from vqafeat.modeling.records import EpochRecord
from vqafeat.modeling.run_files import STATE
from vqafeat.splits import Split


@dataclass(frozen=True)
class Group:
    """Splits that train together, by their numbers."""

    number: int
    splits: dict[int, Split]


@dataclass(frozen=True)
class SplitOutcome:
    """What one split leaves beside its weights file.

    Attributes:
        scores: part → scores of its videos on the data set's scale, in the order of the split.
        kept_epoch: counted from 1; 0 where the head is not trained in epochs.
        kept_because: in words.
        curve: one record an epoch.
    """

    scores: dict[str, tuple[float, ...]]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


class GroupState:
    """The files of a group below a run folder: states between epochs, and outcomes once it is done.

    Args:
        out: the run folder.
        number: of the group.
    """

    def __init__(self, out: Path, number: int) -> None:
        self._done = out / STATE / f"group-{number:02d}.json"
        self._between = out / STATE / f"group-{number:02d}.pt"
        self.checkpoint = Checkpoint(self._between)

    def outcomes(self) -> list[SplitOutcome] | None:
        """Return the outcomes of a group that is done, or None."""
        if not self._done.is_file():
            return None
        return [
            SplitOutcome(
                scores={part: tuple(scores) for part, scores in own["scores"].items()},
                kept_epoch=own["kept_epoch"],
                kept_because=own["kept_because"],
                curve=tuple(EpochRecord(*record) for record in own["curve"]),
            )
            for own in json.loads(self._done.read_bytes())
        ]

    def finish(self, outcomes: list[SplitOutcome]) -> None:
        """Keep the outcomes; the states between epochs are of no more use."""
        # NaN stays NaN here, since nobody else reads it
        told = [{**asdict(own), "curve": [astuple(record) for record in own.curve]} for own in outcomes]
        write_bytes(self._done, json.dumps(told).encode())
        self._between.unlink(missing_ok=True)
