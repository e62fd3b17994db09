"""x."""

from collections.abc import Sequence
from dataclasses import dataclass

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import ArgumentError
from vqafeat.modeling.parallel import Plan
from vqafeat.modeling.sequences import Sequences
from vqafeat.splits import Split


@dataclass(frozen=True, eq=False)
class Fit:
    """The splits of one fit, as they are handed to a backend.

    Attributes:
        sequences: the features.
        splits: rows count within `sequences`.
        plan: what the splits share.
        jobs: processes of this machine.
        cluster: the Ray cluster whose machines train; None trains on this machine.

    Raises:
        ArgumentError: there is no split, or no process.
    """

    sequences: Sequences
    splits: Sequence[Split]
    plan: Plan
    jobs: int
    cluster: ClusterOptions | None = None

    def __post_init__(self) -> None:
        if not self.splits or self.jobs < 1:
            raise ArgumentError(f"a fit has {len(self.splits)} splits and {self.jobs} jobs; it takes at least 1 of each.")
