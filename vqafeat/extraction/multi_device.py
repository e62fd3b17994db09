"""One data set over several devices: a process each, with a share of the videos, all writing to one store."""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from vqafeat.backbones.feature_set import ExtractorSpec, FeatureExtractor
from vqafeat.datasets import Dataset
from vqafeat.errors import ExtractionError, VqafeatError
from vqafeat.extraction.loop import (
    ExtractionLoop,
    ExtractionSummary,
    Failure,
    FailureLog,
    NullProgress,
    Progress,
    locked_store,
)
from vqafeat.extraction.pipeline import Pipeline, Resources
from vqafeat.remote import RemoteFile, StorePath, VideoFile
from vqafeat.store import FeatureStore, worker_lock

_STOPPING_SECONDS = 60.0  # for a write in hand


def extract_on_devices(
    dataset: Dataset,
    store: FeatureStore,
    extractors: Sequence[FeatureExtractor],
    request: ExtractorSpec,
    devices: Sequence[torch.device],
    missing: Sequence[str] = (),
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> ExtractionSummary:
    """Extract as `extract_dataset` does, with one process a device; the decoding processes are divided among
    them.

    Args:
        request: what the extractors were built from; each process builds its own.

    Raises:
        ExtractionError: the process of a device ended before its share was done.
        StoreError, IdentityError, DatasetError: as `extract_dataset`.
    """
    given = resources or Resources()
    used = devices[: max(1, len(dataset.videos))]
    each = [replace(given, device=device, workers=max(1, given.workers // len(used))) for device in used]
    context = multiprocessing.get_context("spawn")
    shown = progress or NullProgress()
    with locked_store(dataset, store, extractors, missing) as failure_log:
        followed: dict[Connection[Any, Any], _DeviceShare] = {}
        try:
            for share, own in zip(shares(dataset, len(used)), each, strict=True):
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_extract_share, args=(theirs, share, store.path, request, own), daemon=False
                )
                process.start()
                theirs.close()
                followed[ours] = _DeviceShare(process, str(own.device))
            return _follow(followed, failure_log, shown)
        finally:
            _stop([share.process for share in followed.values()])


def shares(dataset: Dataset, count: int) -> list[Dataset]:
    """Divide the videos by the size of their files: the largest first, each to the share that has least."""
    sizes = [_size_bytes(video.path) for video in dataset.videos]
    rows: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
        least = loads.index(min(loads))
        rows[least].append(row)
        loads[least] += max(1, sizes[row])
    return [dataset.subset(sorted(chosen)) for chosen in rows]


def _size_bytes(path: VideoFile | None) -> int:
    if isinstance(path, RemoteFile):
        return path.size_bytes
    return path.stat().st_size if path is not None and path.exists() else 0


@dataclass
class _DeviceShare:
    process: BaseProcess
    device: str
    summary: ExtractionSummary = field(default_factory=lambda: ExtractionSummary(0, 0, (), 0))
    ended: bool = False


def _follow(
    followed: "dict[Connection[Any, Any], _DeviceShare]", failure_log: FailureLog, progress: Progress
) -> ExtractionSummary:
    """Pass on what the processes tell until all have ended."""
    while open_pipes := [pipe for pipe, share in followed.items() if not share.ended]:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            share = followed[pipe]
            try:
                what, told = pipe.recv()
            except EOFError:
                share.process.join()
                raise ExtractionError(
                    f"the process on device '{share.device}' ended with code {share.process.exitcode} "
                    f"before its videos were done; "
                    "what is stored is whole, and the same command goes on from there."
                ) from None
            if what == "error":
                raise told
            if what == "failure":
                failure_log.add(told)
            elif what == "video":
                progress.video(told)
            elif what == "frames":
                progress.frames(told)
            else:
                share.summary, share.ended = told, what == "end"
                progress.done(_total(followed, failure_log))
    return _total(followed, failure_log)


def _total(
    followed: "Mapping[Connection[Any, Any], _DeviceShare]", failure_log: FailureLog
) -> ExtractionSummary:
    summaries = [share.summary for share in followed.values()]
    return ExtractionSummary(
        extracted=sum(summary.extracted for summary in summaries),
        skipped=sum(summary.skipped for summary in summaries),
        failures=tuple(failure_log.failures),
        frames=sum(summary.frames for summary in summaries),
    )


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join(_STOPPING_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


class _PipeLogger:
    """Ledger and progress of a share: tells the parent."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe
        self.failures: list[Failure] = []

    def add(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._pipe.send(("failure", failure))

    def video(self, name: str) -> None:
        self._pipe.send(("video", name))

    def frames(self, count: int) -> None:
        self._pipe.send(("frames", count))

    def done(self, summary: ExtractionSummary) -> None:
        self._pipe.send(("done", summary))


def _extract_share(
    pipe: "Connection[Any, Any]",
    dataset: Dataset,
    store: StorePath,
    request: ExtractorSpec,
    resources: Resources,
) -> None:
    teller = _PipeLogger(pipe)
    try:
        extractors = request.build()
        with worker_lock(store), Pipeline(extractors, resources, teller.frames, store) as pipeline:
            run = ExtractionLoop(dataset, FeatureStore.open(store, writable=True), extractors, teller, teller)
            pipe.send(("end", run.run(pipeline)))
    except VqafeatError as error:
        pipe.send(("error", error))
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the parent stops, or is gone
