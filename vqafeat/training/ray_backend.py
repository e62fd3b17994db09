"""The engine beyond one machine: each group of splits is a task of Ray's, which places it and tries it again
where a machine dies.
"""

from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.cluster import ClusterOptions, connected, enter, reason, result_of, workers_that_fit
from vqafeat.errors import TrainingError
from vqafeat.training.data import SharedFeatures, load_sequences
from vqafeat.training.parallel import (
    Fit,
    FitJob,
    Progress,
    SplitGroup,
    SplitResult,
    fit_group,
    groups_of,
    one_thread,
)

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True, eq=False)
class _LentBlock:
    """Memory of Ray's object store, which all workers of a machine map."""

    values: npt.NDArray[np.uint8]


def fit_on_ray(given: Fit, cluster: ClusterOptions, progress: Progress | None) -> list[SplitResult]:
    """Train on the machines of a Ray cluster; features and the run folder lie on a file system that all of
    them share.

    A task that is tried again goes on from the state that its group left in the run folder.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be reached, or no machine holds a worker.
        TrainingError: a fit went astray, or its worker died time after time.
    """
    groups = groups_of(given.sequences, given.splits, given.plan)
    with connected(cluster) as ray:
        from ray.util.queue import Queue

        news = Queue(actor_options={"num_cpus": 0})
        try:
            return _Groups(ray, given, cluster, news, progress).follow(groups)
        finally:
            news.shutdown()


class _Groups:
    """Groups on their way; no more are handed out at once than the cluster holds."""

    def __init__(
        self, ray: Any, given: Fit, cluster: ClusterOptions, news: Any, progress: Progress | None
    ) -> None:
        self._ray, self._given, self._cluster, self._news, self._progress = (
            ray,
            given,
            cluster,
            news,
            progress,
        )
        self._most = workers_that_fit(ray.nodes(), cluster)
        self._task = ray.remote(_worker_main).options(
            num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker, max_retries=cluster.retries
        )
        features = given.sequences.features
        self._held = features if isinstance(features, SharedFeatures) else None
        # one copy a machine, whatever the number of its workers
        self._values = None if self._held is None else ray.put(self._held.block.values)

    def follow(self, groups: list[SplitGroup]) -> list[SplitResult]:
        todo, busy, found = deque(groups), dict[Any, int](), dict[int, list[SplitResult]]()
        while todo or busy:
            while todo and len(busy) < self._most:
                group = todo.popleft()
                busy[self._start(group)] = group.number
            done, _ = self._ray.wait(list(busy), timeout=_SECONDS_BETWEEN_LOOKS)
            self._tell()
            for reference in done:
                found[busy.pop(reference)] = self._outcomes(reference)
        self._tell()
        return [outcome for group in groups for outcome in found[group.number]]

    def _start(self, group: SplitGroup) -> Any:
        bare = None if self._held is None else replace(self._held, block=_LentBlock(np.empty(0, np.uint8)))
        return self._task.remote(Path.cwd(), self._given.plan, group, self._values, bare, self._news)

    def _outcomes(self, reference: Any) -> list[SplitResult]:
        errors = self._ray.exceptions
        try:
            outcomes: list[SplitResult] = result_of(self._ray, reference)
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as error:
            raise TrainingError(
                f"a worker of the fit died {_times(self._cluster)}, the last because: {reason(error)}; the "
                f"same command goes on "
                "from what the others have done, with more --retries if need be."
            ) from error
        return outcomes

    def _tell(self) -> None:
        while waiting := self._news.size():
            for number, record in self._news.get_nowait_batch(waiting):
                if self._progress is not None:
                    self._progress(number, record)


def _times(cluster: ClusterOptions) -> str:
    return "once" if cluster.retries == 0 else f"{cluster.retries + 1} times"


def _worker_main(
    folder: Path,
    plan: FitJob,
    group: SplitGroup,
    values: npt.NDArray[np.uint8] | None,
    held: SharedFeatures | None,
    news: Any,
) -> list[SplitResult]:
    """Train a group in a process of the cluster."""
    enter(folder)
    sequences = load_sequences(plan.source, plan.feature_sets, plan.rows)
    if values is not None and held is not None:
        sequences = replace(sequences, features=replace(held, block=_LentBlock(values)))
    with one_thread():
        return fit_group(
            sequences, group, plan, lambda split_number, record: news.put((split_number, record))
        )
