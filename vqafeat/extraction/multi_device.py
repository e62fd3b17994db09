"""Extraction on several devices of one machine: one process for each, all writing to one store."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import methodcaller

import torch

from vqafeat.errors import ExtractionError
from vqafeat.extraction.extract import WorkerSetup, extract_tasks
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.extraction.results import ExtractionSummary, Tally
from vqafeat.remote import RemoteFile
from vqafeat.system import Report, device_named, run_in_processes


def extract_on_devices(
    tasks: Sequence[VideoTask], setup: WorkerSetup, devices: Sequence[str | torch.device], tally: Tally
) -> None:
    """Extract videos with one process on each device; the decoding processes are divided among them."""
    if not tasks:
        return
    used = [device_named(str(device)) for device in devices[: len(tasks)]]
    workers = max(1, setup.resources.workers // len(used))
    setups = [
        replace(setup, resources=replace(setup.resources, device=device, workers=workers)) for device in used
    ]
    works = [partial(_extract_share, *own) for own in zip(shares(tasks, len(used)), setups, strict=True)]
    resume = "before its videos were done; stored features are complete, and the same command resumes"
    run_in_processes(
        works,
        [f"the process on device '{device}'" for device in used],
        lambda event: methodcaller(*event)(tally),
        lambda ended: ExtractionError(f"{ended} {resume}."),
    )


def shares(tasks: Sequence[VideoTask], count: int) -> list[list[VideoTask]]:
    """Divide videos by the size of their files: the largest first, each to the share that has least."""
    sizes = [_size_bytes(task) for task in tasks]
    rows: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
        least = loads.index(min(loads))
        rows[least].append(row)
        loads[least] += max(1, sizes[row])
    return [[tasks[row] for row in sorted(selected)] for selected in rows]


def _size_bytes(task: VideoTask) -> int:
    if isinstance(task.path, RemoteFile):
        return task.path.size_bytes
    return task.path.stat().st_size if task.path.exists() else 0


class _ReportingTally(Tally):
    """Reports events to the parent process, which counts them in its tally."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def video(self, name: str) -> None:
        self._report(("video", name))

    def frames(self, count: int) -> None:
        self._report(("frames", count))

    def add(self, result: ExtractionSummary) -> None:
        self._report(("add", result))


def _extract_share(tasks: Sequence[VideoTask], setup: WorkerSetup, report: Report) -> None:
    tally = _ReportingTally(report)
    with setup.opened(tally.frames) as (store, pipeline):
        extract_tasks(tasks, store, pipeline, tally)
