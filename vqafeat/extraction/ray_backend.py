"""The engine beyond one machine: Ray places workers, restarts them, and shows them; each extracts as one
machine does.
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vqafeat.backbones.feature_set import ExtractorSpec
from vqafeat.cluster import ClusterOptions, connected, described, enter, reason, result_of, workers_that_fit
from vqafeat.datasets import Dataset, Video
from vqafeat.errors import ClusterError, VideoError
from vqafeat.extraction.loop import (
    Extraction,
    ExtractionLoop,
    ExtractionSummary,
    Failure,
    FailureLog,
    NullProgress,
    Progress,
    locked_store,
    pending_extractors,
)
from vqafeat.extraction.pipeline import Pipeline, Resources
from vqafeat.remote import RemoteFile, StorePath
from vqafeat.store import FeatureStore, remove_partial_files_after_workers, worker_lock
from vqafeat.video.reader import stated_samples


class _ListSink:
    """The failures of a share, which the driver writes to the failure log."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def add(self, failure: Failure) -> None:
        self.failures.append(failure)


class ExtractionWorker:
    """One process of a cluster that extracts shares of videos, one after another.

    Args:
        folder: that the driver works in; relative paths count from it.
        store: where all machines see it.
        request: what extractors are built from.
        resources: of this process.
    """

    def __init__(self, folder: Path, store: StorePath, request: ExtractorSpec, resources: Resources) -> None:
        self._folder, self._path, self._request, self._resources = folder, store, request, resources
        self._pipeline: Pipeline | None = None
        self._held = ExitStack()

    def prepare(self) -> int:
        """Load the networks, unless they are, and return the number of this process.

        Raises:
            ClusterError: this machine does not see the driver's folder.
            StoreError: this machine does not see the store.
            IdentityError: this machine's networks or decoder are not those of the store.
            WeightsError: it does not have the weights.
        """
        if self._pipeline is None:
            enter(self._folder)
            self._store = FeatureStore.open(self._path, writable=True)
            self._extractors = self._request.build()
            for extractor in self._extractors:
                self._store.add_feature_set(extractor.feature_set, extractor.identity)
            self._held.enter_context(worker_lock(self._path))  # until this process ends
            self._pipeline = Pipeline(self._extractors, self._resources, folder=self._path)
        return os.getpid()

    def extract(self, share: Dataset) -> ExtractionSummary:
        """Extract the videos of a share, as a run on one machine does; raises as `prepare`, and StoreError
        where a write fails.
        """
        self.prepare()
        assert self._pipeline is not None
        return ExtractionLoop(share, self._store, self._extractors, _ListSink(), NullProgress()).run(
            self._pipeline
        )


_READING = 8  # headers at a time: on a network's file system each waits for several round trips


def estimate_costs(dataset: Dataset) -> list[int]:
    """Return frames × pixels of each video as its header states them; 0 where it cannot be opened, which is
    soon found out.

    Of videos at a URL it is their bytes, which the listing told: each header would cost several requests.
    """

    def cost(row: int) -> int:
        video = dataset.videos[row]
        assert video.path is not None
        if isinstance(video.path, RemoteFile):
            return video.path.size_bytes
        try:
            return stated_samples(video.path, dataset.raw_for(video))
        except VideoError:
            return 0  # whoever decodes it says why

    with ThreadPoolExecutor(_READING, "headers") as pool:
        return list(pool.map(cost, range(len(dataset.videos))))


def longest_first(dataset: Dataset, size: int) -> list[Dataset]:
    """Divide the videos into shares of `size`, those that cost most first."""
    known = estimate_costs(dataset)
    rows = sorted(range(len(known)), key=lambda row: -known[row])
    bare = replace(
        dataset, stored_permutations=None
    )  # these splits are of no use to a share, and cutting them takes long
    return [bare.subset(rows[start : start + size]) for start in range(0, len(rows), size)]


WORKER_DIED = "worker-died"
_SECONDS_BETWEEN_LOOKS = 1.0


def extract_on_ray(given: Extraction, cluster: ClusterOptions, progress: Progress) -> ExtractionSummary:
    """Extract on the machines of a Ray cluster; the store and the videos lie where all of them see them.

    Raises:
        ClusterError: Ray is not installed, the cluster cannot be reached, or no worker can start.
        StoreError, IdentityError, DatasetError: as `extract_dataset`, of this process or of a worker.
    """
    with locked_store(given.dataset, given.store, given.extractors, given.missing) as failure_log:
        counts = _Totals(failure_log, progress)
        pending = _pending(given, counts)
        shares = (
            longest_first(given.dataset.subset(pending), _videos_at_once(given, cluster)) if pending else []
        )
        if not shares:
            return counts.summary()
        with connected(cluster) as ray:
            spread = _Scheduler(ray, given, cluster, shares, counts)
            try:
                return spread.run()
            finally:
                spread.stop()
                if spread.lost_a_worker:
                    remove_partial_files_after_workers(given.store.path)


def _videos_at_once(given: Extraction, cluster: ClusterOptions) -> int:
    """Return the videos of a share: a GPU needs many decoders at once, a processor is kept busy by one
    video.
    """
    return max(1, given.resources.workers) if cluster.gpus_per_worker else 1


def _pending(given: Extraction, counts: "_Totals") -> list[int]:
    rows = []
    for row, video in enumerate(given.dataset.videos):
        try:
            if pending_extractors(given.store, video, given.dataset.raw_for(video), given.extractors):
                rows.append(row)
            else:
                counts.add(skipped=1)
        except VideoError as error:
            counts.fail(Failure(video.name, str(video.path), error.kind, str(error)))
    return rows


class _Workers:
    """The workers that there are; Ray places them where there is room, now or later."""

    def __init__(self, ray: Any, given: Extraction, cluster: ClusterOptions) -> None:
        resources = replace(given.resources, device=torch.device(cluster.device_name))
        memory = resources.memory_bytes if cluster.device_name == "cpu" else None
        reserved = {
            "num_cpus": cluster.cpus_per_worker,
            "num_gpus": cluster.gpus_per_worker,
            "memory": memory,
        }
        self._ray, self._actor = ray, ray.remote(ExtractionWorker).options(**reserved)
        self._arguments = (Path.cwd(), given.store.path, given.request, resources)
        self._alive: list[Any] = []

    def new(self) -> Any:
        self._alive.append(self._actor.remote(*self._arguments))
        return self._alive[-1]

    def end(self, worker: Any) -> None:
        self._alive.remove(worker)
        self._ray.kill(worker)

    def end_all(self) -> None:
        for worker in list(self._alive):
            self.end(worker)


class _Totals:
    """What the whole run has done so far, told to the failure log and the progress line."""

    def __init__(self, failure_log: FailureLog, progress: Progress) -> None:
        self._failure_log, self.progress = failure_log, progress
        self._extracted = self._skipped = self._frames = 0

    def add(self, extracted: int = 0, skipped: int = 0, frames: int = 0) -> None:
        self._extracted, self._skipped, self._frames = (
            self._extracted + extracted,
            self._skipped + skipped,
            self._frames + frames,
        )
        if frames:
            self.progress.frames(frames)
        for _ in range(extracted + skipped):
            self.progress.done(self.summary())

    def fail(self, failure: Failure) -> None:
        self._failure_log.add(failure)
        self.progress.done(self.summary())

    def summary(self) -> ExtractionSummary:
        return ExtractionSummary(
            self._extracted, self._skipped, tuple(self._failure_log.failures), self._frames
        )


@dataclass(frozen=True)
class _Batch:
    """Videos that a worker holds at once, and how many workers died over them."""

    dataset: Dataset
    deaths: int = 0


class _Scheduler:
    """Shares on their way to workers and back.

    A worker that died is replaced by a new one, and its share goes to whichever is free next. Ray's own
    restart and retry would keep the share waiting for that very worker, for ever where its machine is gone
    and no other has room.
    """

    def __init__(
        self, ray: Any, given: Extraction, cluster: ClusterOptions, shares: Sequence[Dataset], counts: _Totals
    ) -> None:
        self._ray, self._cluster, self._counts, self._workers = (
            ray,
            cluster,
            counts,
            _Workers(ray, given, cluster),
        )
        self._todo = deque(map(_Batch, shares))
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, _Batch]] = {}
        self._deaths = (
            ray.exceptions.RayActorError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
        )
        self._last_sign, self._last_death = time.monotonic(), ""
        for _ in range(min(workers_that_fit(ray.nodes(), cluster), len(shares))):
            self._start_one()

    def run(self) -> ExtractionSummary:
        while self._todo or self._busy:
            while self._todo and self._idle:
                self._hand_out(self._idle.pop(), self._todo.popleft())
            found, _ = self._ray.wait([*self._busy, *self._starting], timeout=_SECONDS_BETWEEN_LOOKS)
            for reference in found:
                if reference in self._starting:
                    self._started(reference)
                else:
                    self._returned(reference)
            if self._idle or self._busy:
                self._last_sign = time.monotonic()
            self._check_startup_timeout()
        return self._counts.summary()

    @property
    def lost_a_worker(self) -> bool:
        """Whether one died, which may have left something half written."""
        return bool(self._last_death)

    def stop(self) -> None:
        self._workers.end_all()

    def _start_one(self) -> None:
        worker = self._workers.new()
        self._starting[worker.prepare.remote()] = worker

    def _replace(self, worker: Any, error: BaseException) -> None:
        self._last_death = f"; the last one died because: {reason(error)}"
        self._workers.end(worker)  # one that is only out of reach would go on writing
        self._start_one()

    def _hand_out(self, worker: Any, share: _Batch) -> None:
        self._counts.progress.video(share.dataset.videos[0].name)
        self._busy[worker.extract.remote(share.dataset)] = (worker, share)

    def _started(self, reference: Any) -> None:
        worker = self._starting.pop(reference)
        try:
            result_of(self._ray, reference)
        except self._deaths as error:
            self._replace(worker, error)
        else:
            self._idle.append(worker)

    def _returned(self, reference: Any) -> None:
        worker, share = self._busy.pop(reference)
        try:
            summary: ExtractionSummary = result_of(self._ray, reference)
        except self._deaths as error:
            self._lost(share, error)
            self._replace(worker, error)
            return
        self._idle.append(worker)
        # what an earlier worker stored before it died is found done; it was extracted in this run all the
        # same
        self._counts.add(extracted=summary.extracted + summary.skipped, frames=summary.frames)
        for failure in summary.failures:
            self._counts.fail(failure)

    def _lost(self, share: _Batch, error: BaseException) -> None:
        """Try each video of a lost share by itself, after all others, or give it up: the one that is to blame
        stops no other.
        """
        deaths = share.deaths + 1
        for row, video in enumerate(share.dataset.videos):
            if deaths <= self._cluster.retries:
                self._todo.append(_Batch(share.dataset.subset([row]), deaths))
            else:
                self._counts.fail(_given_up(video, deaths, error))

    def _check_startup_timeout(self) -> None:
        if time.monotonic() - self._last_sign > self._cluster.startup_timeout_seconds:
            raise ClusterError(
                f"no worker with {described(self._cluster.reserved)} could start for "
                f"{self._cluster.startup_timeout_seconds:g} seconds, with "
                f"{len(self._todo)} shares of videos left and {_free(self._ray)} free on the "
                f"cluster{self._last_death}. Lower what a "
                "worker reserves, give --startup-timeout where machines take longer to come, or add machines; the "
                "same command goes on from here."
            )


def _free(ray: Any) -> str:
    free = ray.available_resources()
    return f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU"


def _given_up(video: Video, deaths: int, error: BaseException) -> Failure:
    message = f"'{video.path}' was in work on {deaths} worker(s) that died, the last because: {reason(error)}; it is not tried again."
    return Failure(video.name, str(video.path), WORKER_DIED, message)
