"""x."""

from vqafeat.modeling.engines.base import Fit
from vqafeat.modeling.group_state import SplitOutcome
from vqafeat.modeling.parallel import Progress, fit_splits


def run_fit(work: Fit, progress: Progress | None) -> list[SplitOutcome]:
    """Train all splits; raises as `fit_splits` and `fit_on_ray` do."""
    if work.cluster is not None:
        from vqafeat.modeling.engines.on_ray import fit_on_ray

        return fit_on_ray(work, work.cluster, progress)
    return fit_splits(work.sequences, work.splits, work.plan, work.jobs, progress)
