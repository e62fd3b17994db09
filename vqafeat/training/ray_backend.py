"""Training beyond one machine: each group of splits is a Ray task, repeated where a machine dies."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.cluster import ClusterOptions, connected, enter, reason, result_of, workers_that_fit
from vqafeat.errors import TrainingError
from vqafeat.splits import Split
from vqafeat.store.features import FeatureDataset, SharedFeatures
from vqafeat.training.loop import Progress
from vqafeat.training.parallel import (
    FitJob,
    SplitGroup,
    SplitResult,
    fit_group,
    groups_of,
    one_thread,
    worker_data,
)

_SECONDS_BETWEEN_LOOKS = 0.5


def fit_on_ray(
    data: FeatureDataset, splits: Sequence[Split], job: FitJob, cluster: ClusterOptions, progress: Progress
) -> list[SplitResult]:
    """Train on the machines of a Ray cluster, which share the file system of the store and the run folder.

    A repeated task resumes from the state that its group left in the run folder.
    """
    groups = groups_of(data, splits, job)
    with connected(cluster) as ray:
        from ray.util.queue import Queue

        records = Queue(actor_options={"num_cpus": 0})
        try:
            return _Groups(ray, data, job, cluster, records, progress).run(groups)
        finally:
            records.shutdown()


class _Groups:
    """Submits groups, no more at once than the cluster holds."""

    def __init__(
        self,
        ray: Any,
        data: FeatureDataset,
        job: FitJob,
        cluster: ClusterOptions,
        records: Any,
        progress: Progress,
    ) -> None:
        self._ray, self._job, self._cluster, self._records = ray, job, cluster, records
        self._progress, self._most = progress, workers_that_fit(ray.nodes(), cluster)
        self._task = ray.remote(_worker_main).options(
            num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker, max_retries=cluster.retries
        )
        shared = data.shared
        self._layout = None if shared is None else shared.layout
        # one copy a machine in Ray's object store, whatever the number of its workers
        self._block = None if shared is None else ray.put(shared.block)

    def run(self, groups: list[SplitGroup]) -> list[SplitResult]:
        waiting, busy, results = deque(groups), dict[Any, int](), dict[int, list[SplitResult]]()
        while waiting or busy:
            while waiting and len(busy) < self._most:
                group = waiting.popleft()
                busy[self._submit(group)] = group.number
            done, _ = self._ray.wait(list(busy), timeout=_SECONDS_BETWEEN_LOOKS)
            self._report_progress()
            for reference in done:
                results[busy.pop(reference)] = self._results(reference)
        self._report_progress()
        return [result for group in groups for result in results[group.number]]

    def _submit(self, group: SplitGroup) -> Any:
        return self._task.remote(Path.cwd(), self._job, group, self._block, self._layout, self._records)

    def _results(self, reference: Any) -> list[SplitResult]:
        names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError")
        try:
            results: list[SplitResult] = result_of(self._ray, reference)
        except tuple(getattr(self._ray.exceptions, name) for name in names) as error:
            times = f"{count} times" if (count := self._cluster.retries + 1) > 1 else "once"
            raise TrainingError(
                f"a worker of the fit died {times}, the last because: {reason(error)}; the same command "
                "resumes from what the others have done, with more --retries if need be."
            ) from error
        return results

    def _report_progress(self) -> None:
        while count := self._records.size():
            for number, record in self._records.get_nowait_batch(count):
                self._progress(number, record)


def _worker_main(
    folder: Path,
    job: FitJob,
    group: SplitGroup,
    block: npt.NDArray[np.uint8] | None,
    layout: tuple[tuple[int, ...], int, np.dtype[Any]] | None,
    records: Any,
) -> list[SplitResult]:
    """Train a group in a process of the cluster."""
    enter(folder)
    features = None if block is None or layout is None else SharedFeatures(*layout, block)
    with one_thread():
        data = worker_data(job, features)
        return fit_group(data, group, job, lambda *record: records.put(record))
