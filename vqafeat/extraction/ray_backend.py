"""Extraction on the machines of a Ray cluster, by workers each of which extracts as one machine does."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vqafeat.cluster import ClusterOptions, connected, described, enter, reason, result_of, workers_that_fit
from vqafeat.errors import ClusterError, VideoError
from vqafeat.extraction.extract import WorkerSetup, extract_tasks, pending_feature_sets
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.extraction.results import ExtractionSummary, Tally
from vqafeat.remote import RemoteFile
from vqafeat.store import remove_partial_files_after_workers
from vqafeat.video.files import stated_frames

WORKER_DIED = "worker-died"
_POLL_SECONDS = 1.0
_HEADERS_AT_ONCE = 8  # on a network file system each waits for several round trips


class ExtractionWorker:
    """A process of a cluster that extracts batches of videos; paths are relative to the driver's `folder`."""

    def __init__(self, folder: Path, setup: WorkerSetup) -> None:
        self._folder, self._setup = folder, setup

    def prepare(self) -> None:
        """Load the networks, which stay until this process ends."""
        enter(self._folder)
        self._exit = ExitStack()
        self._store, self._pipeline = self._exit.enter_context(self._setup.opened())

    def extract(self, batch: Sequence[VideoTask]) -> ExtractionSummary:
        """Extract the videos that an earlier worker did not store before it died."""
        tally = Tally()
        tasks = (task for task in batch if pending_feature_sets(self._store, task))
        extract_tasks(tasks, self._store, self._pipeline, tally)
        return tally.summary


def estimate_costs(tasks: Sequence[VideoTask]) -> list[int]:
    """Return frames × pixels of each video as its header states them; 0 where it cannot be opened.

    For remote videos it is their bytes, which are known: each header would cost several requests.
    """

    def cost(task: VideoTask) -> int:
        if isinstance(task.path, RemoteFile):
            return task.path.size_bytes
        try:
            frames, pixels = stated_frames(task.path, task.raw)
            return max(1, frames * pixels)
        except VideoError:
            return 0  # the worker that decodes it reports why

    with ThreadPoolExecutor(_HEADERS_AT_ONCE, "headers") as pool:
        return list(pool.map(cost, tasks))


def longest_first(tasks: Sequence[VideoTask], size: int) -> list[list[VideoTask]]:
    """Divide videos into batches of `size`, those that cost most first."""
    costs = estimate_costs(tasks)
    ordered = [tasks[row] for row in sorted(range(len(tasks)), key=lambda row: -costs[row])]
    return [ordered[start : start + size] for start in range(0, len(tasks), size)]


def extract_on_ray(
    tasks: Sequence[VideoTask], setup: WorkerSetup, cluster: ClusterOptions, tally: Tally
) -> None:
    """Extract videos on the machines of a cluster, all of which see the store and the videos."""
    resources, folder = setup.resources, Path.cwd()
    # a GPU needs many decoders at once; one video keeps a processor busy
    batches = longest_first(tasks, max(1, resources.workers) if cluster.gpus_per_worker else 1)
    if not batches:
        return
    with connected(cluster) as ray:
        memory = resources.memory_bytes if cluster.device_name == "cpu" else None
        actor = ray.remote(ExtractionWorker).options(
            num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker, memory=memory
        )
        scheduler = _Scheduler(ray, cluster, batches, lambda: actor.remote(folder, setup), tally)
        try:
            scheduler.run()
        finally:
            scheduler.stop()
            if scheduler.last_death:  # which may have left a partial file
                remove_partial_files_after_workers(setup.store)


@dataclass(frozen=True)
class _Batch:
    """Videos that a worker has at a time, and how many workers died while they had them."""

    tasks: Sequence[VideoTask]
    deaths: int = 0


class _Scheduler:
    """Hands batches to workers and collects the results.

    A worker that died is replaced by a new one, and its batch goes to whichever is free next. Ray's own
    restart and retry would keep the batch waiting for that very worker, for ever where its machine is gone
    and no other has room.
    """

    def __init__(
        self,
        ray: Any,
        cluster: ClusterOptions,
        batches: Sequence[Sequence[VideoTask]],
        new_worker: Callable[[], Any],
        tally: Tally,
    ) -> None:
        self._ray, self._cluster, self._new_worker, self._tally = ray, cluster, new_worker, tally
        self._todo = deque(map(_Batch, batches))
        self._idle: list[Any] = []
        self._pending: dict[Any, tuple[Any, _Batch | None]] = {}  # a worker without a batch is starting
        errors = ray.exceptions
        self._deaths = (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError)
        self._last_sign, self.last_death = time.monotonic(), ""
        for _ in range(min(workers_that_fit(ray.nodes(), cluster), len(batches))):
            self._start_worker()

    def run(self) -> None:
        while self._todo or self._busy:
            while self._todo and self._idle:
                worker, batch = self._idle.pop(), self._todo.popleft()
                self._tally.video(batch.tasks[0].name)
                self._pending[worker.extract.remote(batch.tasks)] = (worker, batch)
            done, _ = self._ray.wait(list(self._pending), timeout=_POLL_SECONDS)
            for reference in done:
                self._collect(reference)
            if self._idle or self._busy:
                self._last_sign = time.monotonic()
            self._check_startup_timeout()

    @property
    def _busy(self) -> bool:
        return any(batch is not None for _, batch in self._pending.values())

    def stop(self) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._pending.values())]:
            self._ray.kill(worker)

    def _start_worker(self) -> None:
        worker = self._new_worker()
        self._pending[worker.prepare.remote()] = (worker, None)

    def _collect(self, reference: Any) -> None:
        try:
            summary: ExtractionSummary = result_of(self._ray, reference)
        except self._deaths as error:
            self._replace_worker(*self._pending.pop(reference), error)
            return
        worker, batch = self._pending.pop(reference)
        self._idle.append(worker)
        if batch is not None:
            self._tally.frames(summary.frames)
            # those that an earlier worker stored before it died were extracted in this run, too
            extracted = len(batch.tasks) - len(summary.failures)
            self._tally.add(replace(summary, extracted=extracted, skipped=0))

    def _replace_worker(self, worker: Any, batch: _Batch | None, error: BaseException) -> None:
        self.last_death = f"; the last one died because: {reason(error)}"
        self._ray.kill(worker)  # one that is only out of reach would continue to write
        self._start_worker()
        if batch is None:
            return
        deaths = batch.deaths + 1
        for task in batch.tasks:
            if deaths <= self._cluster.retries:
                # each separately, and after all others: the video at fault stops none
                self._todo.append(_Batch([task], deaths))
                continue
            problem = f"{deaths} worker(s) died while extracting '{task.path}', the last one because"
            message = f"{problem}: {reason(error)}; run the same command again to retry the video."
            self._tally.fail(task, VideoError(WORKER_DIED, message))

    def _check_startup_timeout(self) -> None:
        seconds = self._cluster.startup_timeout_seconds
        if time.monotonic() - self._last_sign <= seconds:
            return
        free = self._ray.available_resources()
        raise ClusterError(
            f"no worker with {described(self._cluster.reserved)} could start for {seconds:g} seconds, with "
            f"{len(self._todo)} batches of videos left and {free.get('CPU', 0):g} CPU and "
            f"{free.get('GPU', 0):g} GPU free on the cluster{self.last_death}. Let a worker reserve less, "
            "add machines, or give --startup-timeout if they take longer; the same command resumes."
        )
