"""The engine of one machine: this process, or several."""

from vqafeat.modeling.engines.base import ENGINES, Fit, FitEngine
from vqafeat.modeling.group_state import SplitOutcome
from vqafeat.modeling.parallel import Progress, fit_splits


def fit_here(given: Fit, progress: Progress | None) -> list[SplitOutcome]:
    """Train on this machine; raises as `fit_splits` does."""
    return fit_splits(given.sequences, given.splits, given.plan, given.jobs, progress)


ENGINES.add("local", FitEngine(fit_here, beyond_one_machine=False))
