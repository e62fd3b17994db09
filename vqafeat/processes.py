"""Processes that each do a part of one call's work, and report to it; all end as soon as one fails."""

import os
import pickle
import signal
import time
from collections.abc import Callable, Collection, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from vqafeat.errors import VqafeatError
from vqafeat.system import exit_with_parent, main_module_hidden, process_context

STOPPING_SECONDS = 60.0  # for a write in progress

Report = Callable[[Any], None]


def run_in_processes(
    works: Sequence[Callable[[Report], Any]],
    names: Sequence[str],
    report: Report,
    ended_early: Callable[[str], VqafeatError],
) -> list[Any]:
    """Run each work in a separate process and return the results; a work can report events to `report`.

    Works are pickled, so that a process shares no memory of tensors with this one. If a process dies, the
    error is that of `ended_early`, which gets a sentence such as "<name> was killed by signal 9".
    """
    context = process_context(["torch"])
    processes: dict[Connection[Any, Any], BaseProcess] = {}
    try:
        for work, name in zip(works, names, strict=True):
            ours, theirs = context.Pipe()
            arguments = (theirs, dict(os.environ), pickle.dumps(work))
            process = context.Process(target=_process_main, args=arguments, name=name)  # type: ignore[attr-defined]
            with main_module_hidden():
                process.start()
            theirs.close()
            processes[ours] = process
        return _follow(processes, report, ended_early)
    finally:
        _stop(processes.values())


def _follow(
    processes: "dict[Connection[Any, Any], BaseProcess]",
    report: Report,
    ended_early: Callable[[str], VqafeatError],
) -> list[Any]:
    results: dict[Connection[Any, Any], Any] = {}
    while running := [pipe for pipe in processes if pipe not in results]:
        for pipe in wait(running):
            assert isinstance(pipe, Connection)
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionError):
                raise ended_early(_how_it_ended(processes[pipe])) from None
            if kind == "error":
                raise value
            if kind == "end":
                results[pipe] = value
            else:
                report(value)
    for process in processes.values():
        process.join(STOPPING_SECONDS)
    return [results[pipe] for pipe in processes]


def _how_it_ended(process: BaseProcess) -> str:
    process.join(STOPPING_SECONDS)
    code = process.exitcode or 0
    killed = f"was killed by signal {-code} (often for want of memory)"
    return f"{process.name} {killed if code < 0 else f'ended with code {code}'}"


def _stop(processes: Collection[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
    end = time.monotonic() + STOPPING_SECONDS
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _process_main(pipe: "Connection[Any, Any]", environment: dict[str, str], pickled: bytes) -> None:
    os.environ.update(environment)  # the fork server has an older one
    exit_with_parent(pipe)
    try:
        try:
            result = pickle.loads(pickled)(lambda event: pipe.send(("event", event)))
        except VqafeatError as error:
            pipe.send(("error", error))
        else:
            pipe.send(("end", result))
    except (KeyboardInterrupt, BrokenPipeError):
        # the parent process stops this one, perhaps with another signal, or has ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)
