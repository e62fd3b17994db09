"""Training beyond one machine: each group of splits is a Ray task, repeated where a machine dies."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vqafeat.cluster import ClusterOptions, connected, enter, reason, result_of, workers_that_fit
from vqafeat.errors import TrainingError
from vqafeat.store.features import FeatureDataset, SharedFeatures
from vqafeat.training.checkpoint import SplitResult
from vqafeat.training.parallel import FitJob, SplitGroup, fit_group, groups_of, one_thread, worker_data
from vqafeat.training.progress import Progress
from vqafeat.training.trainer import SplitTask


def fit_on_ray(
    data: FeatureDataset, tasks: Sequence[SplitTask], job: FitJob, cluster: ClusterOptions, progress: Progress
) -> list[SplitResult]:
    """Train on the machines of a Ray cluster, which share the file system of the store and the run folder.

    A repeated task resumes from the state that its group left in the run folder.
    """
    with connected(cluster) as ray:
        from ray.util.queue import Queue

        task = ray.remote(_worker_main).options(
            num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker, max_retries=cluster.retries
        )
        # one copy a machine in Ray's object store, whatever the number of its workers
        shared = data.shared
        features = (None, None) if shared is None else (ray.put(shared.block), shared.layout)
        most = workers_that_fit(ray.nodes(), cluster)
        groups = groups_of(data, tasks, job, most)
        records = Queue(actor_options={"num_cpus": 0})
        waiting, busy, results = deque(groups), dict[Any, int](), dict[int, list[SplitResult]]()
        try:
            while waiting or busy:
                while waiting and len(busy) < most:
                    group = waiting.popleft()
                    busy[task.remote(Path.cwd(), job, group, *features, records)] = group.number
                done, _ = ray.wait(list(busy), timeout=0.5)
                _report_progress(records, progress)
                for reference in done:
                    results[busy.pop(reference)] = _results(ray, reference, cluster)
            _report_progress(records, progress)
        finally:
            records.shutdown()
    return [result for group in groups for result in results[group.number]]


def _results(ray: Any, reference: Any, cluster: ClusterOptions) -> list[SplitResult]:
    names = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError")
    try:
        return result_of(ray, reference)  # type: ignore[no-any-return]
    except tuple(getattr(ray.exceptions, name) for name in names) as error:
        times = f"{count} times" if (count := cluster.retries + 1) > 1 else "once"
        raise TrainingError(
            f"a worker of the fit died {times}, the last time because: {reason(error)}; run the same command "
            "again to resume, with a larger --retries if workers often die."
        ) from error


def _report_progress(records: Any, progress: Progress) -> None:
    while count := records.size():
        for number, record in records.get_nowait_batch(count):
            progress(number, record)


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
