"""What every engine of a fit is given, and the table of engines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import ArgumentError
from vqafeat.modeling.group_state import SplitOutcome
from vqafeat.modeling.parallel import Plan, Progress
from vqafeat.modeling.sequences import Sequences
from vqafeat.registry import Registry
from vqafeat.splits import Split


@dataclass(frozen=True, eq=False)
class Fit:
    """The splits of one fit, as they are handed to an engine.

    Attributes:
        sequences: the features.
        splits: rows count within `sequences`.
        plan: what the splits share.
        jobs: processes of this machine.
        cluster: what is asked of a cluster.

    Raises:
        ArgumentError: there is no split, or no process.
    """

    sequences: Sequences
    splits: Sequence[Split]
    plan: Plan
    jobs: int
    cluster: ClusterOptions

    def __post_init__(self) -> None:
        if not self.splits or self.jobs < 1:
            raise ArgumentError(f"a fit has {len(self.splits)} splits and {self.jobs} jobs; it takes at least 1 of each.")


@dataclass(frozen=True)
class FitEngine:
    """What drives the splits.

    Attributes:
        run: trains them, telling the progress; raises TrainingError where a fit goes astray.
        beyond_one_machine: whether it reads `Fit.cluster`, in place of jobs and devices.
    """

    run: Callable[[Fit, Progress | None], list[SplitOutcome]]
    beyond_one_machine: bool


ENGINES: Registry[FitEngine] = Registry("engine")
