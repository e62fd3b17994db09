"""Extraction on several devices of one machine: one process for each, all writing to one store."""

import multiprocessing
import os
import signal
from collections.abc import Collection, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from vqafeat.errors import ExtractionError, VqafeatError
from vqafeat.extraction.extract import WorkerSetup, extract_tasks
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.extraction.results import ExtractionSummary, Tally
from vqafeat.remote import RemoteFile
from vqafeat.system import device_named, main_module_hidden

_STOPPING_SECONDS = 60.0  # for the write in progress


def extract_on_devices(
    tasks: Sequence[VideoTask], setup: WorkerSetup, devices: Sequence[str | torch.device], tally: Tally
) -> None:
    """Extract videos with one process on each device; the decoding processes are divided among them."""
    used = [device_named(str(device)) for device in devices[: len(tasks)]]
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection[Any, Any], BaseProcess] = {}
    try:
        for share, device in zip(shares(tasks, len(used)), used, strict=True):
            ours, theirs = context.Pipe(duplex=False)
            workers = max(1, setup.resources.workers // len(used))
            own = replace(setup, resources=replace(setup.resources, device=device, workers=workers))
            process = context.Process(target=_worker_main, args=(theirs, share, own), name=str(device))
            with main_module_hidden():
                process.start()
            theirs.close()
            processes[ours] = process
        _follow(processes, tally)
    finally:
        _stop(processes.values())


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


def _follow(processes: "dict[Connection[Any, Any], BaseProcess]", tally: Tally) -> None:
    """Pass the events of the processes on until all have ended."""
    running = dict(processes)
    while running:
        for pipe in wait(list(running)):
            assert isinstance(pipe, Connection)
            try:
                event, value = pipe.recv()
            except EOFError:
                process = running[pipe]
                process.join()
                raise ExtractionError(
                    f"the process on device '{process.name}' ended with code {process.exitcode} before its "
                    "videos were done; stored features are complete, and the same command resumes."
                ) from None
            if event == "error":
                raise value
            if event == "end":
                del running[pipe]
            else:
                getattr(tally, event)(value)


def _stop(processes: Collection[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    for process in processes:
        process.join(_STOPPING_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


class _PipeTally(Tally):
    """Sends events to the parent process, which counts them in its tally."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        super().__init__()
        self._pipe = pipe

    def video(self, name: str) -> None:
        self._pipe.send(("video", name))

    def frames(self, count: int) -> None:
        self._pipe.send(("frames", count))

    def add(self, result: ExtractionSummary) -> None:
        self._pipe.send(("add", result))


def _worker_main(pipe: "Connection[Any, Any]", tasks: Sequence[VideoTask], setup: WorkerSetup) -> None:
    tally = _PipeTally(pipe)
    try:
        with setup.opened(tally.frames) as (store, pipeline):
            extract_tasks(tasks, store, pipeline, tally)
        pipe.send(("end", None))
    except VqafeatError as error:
        pipe.send(("error", error))
    except (KeyboardInterrupt, BrokenPipeError):
        return  # the parent stops, or has ended
