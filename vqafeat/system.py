"""Memory, devices and processes. Decoding processes import this, so torch is imported only for a device."""

import os
import pickle
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqafeat.errors import ArgumentError, VqafeatError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess

    import torch

STOPPING_SECONDS = 60.0  # for a write in progress
Report = Callable[[Any], None]
_MEMINFO = Path("/proc/meminfo")
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# controllers → files of limit and usage, and the name in `memory.stat` of the file cache that can be freed
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_bytes(text: str, name: str) -> int:
    """Return the bytes for an amount such as `1.5G` or `4GiB`; `name` is the argument, for messages."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None or float(match[1]) == 0:
        raise ArgumentError(f"{name} is '{text}'; write an amount such as 1500M, 1.5G or 16G.")
    return int(float(match[1]) * _UNITS[match[2]])


def free_bytes() -> int:
    """Return the free memory of this machine, or of this process's control groups where that is less."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # where the system reports nothing
    if _MEMINFO.is_file():
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) << 10
    return min([free, *_free_in_control_groups()])


def _free_in_control_groups() -> Iterator[int]:
    """Yield what each memory limit leaves free, such as that of a container (cgroup v1 and v2)."""
    lines = _OWN_GROUPS.read_text().splitlines() if _OWN_GROUPS.is_file() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers not in ("", "memory"):
            continue
        mount = _GROUPS / controllers
        folder = mount / path.strip("/")
        # a container may see its own group as the root of the mount
        folder = folder if folder.is_dir() else mount
        limit, usage, cache = _GROUP_FILES[controllers]
        for group in (folder, *folder.parents):
            if not group.is_relative_to(mount):
                break
            with suppress(OSError, ValueError):  # `max`, and a group without the file, do not limit
                used = int((group / usage).read_text())
                fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                yield max(0, int((group / limit).read_text()) - used + int(fields.get(cache, 0)))


def provide_cache_folders() -> None:
    """Make libraries keep their caches in a temporary folder if this user has no writable home folder."""
    try:
        has_home = os.access(Path.home(), os.W_OK)
    except RuntimeError:  # no HOME, and a user id without an entry
        has_home = False
    if has_home:
        return
    import tempfile

    folder = Path(tempfile.gettempdir()) / f"vqafeat-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="vqafeat-"))
    os.environ.setdefault("XDG_CACHE_HOME", str(folder))
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def anonymous_file(size: int, name: str) -> int:
    """Return a descriptor of unnamed memory, which is freed with the last process that holds it."""
    descriptor = os.memfd_create(name)
    os.ftruncate(descriptor, size)
    return descriptor


def device_named(name: str | None) -> "torch.device":
    """Return the device `cpu`, `cuda` or `cuda:NUMBER`; without a name, a GPU if there is one."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ArgumentError(f"device is '{name}'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'.")
    device, count = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        those = f"{count} CUDA device(s) here, counted from 0; use one of them, or 'cpu'"
        those = those if count else "no CUDA device here; use 'cpu'"
        raise ArgumentError(f"device is '{name}', but PyTorch finds {those}.")
    return device


@contextmanager
def full_float32() -> Iterator[None]:
    """Let a GPU multiply float32 numbers as such; TF32, cuDNN's default, keeps 10 bits of 23."""
    import torch

    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, cudnn.allow_tf32
    products.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, cudnn.allow_tf32 = before


def process_context(preloaded: Sequence[str]) -> "BaseContext":
    """Return a context that never forks this process: a fork after PyTorch's threads were used can hang."""
    import multiprocessing
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))  # imported once, for all new processes
    resource_tracker.ensure_running()  # not below, since it unblocks SIGINT
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:  # the server inherits the mask: Ctrl-C would end its imports with a traceback
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Start processes that do not run the user's script again, since it may lack a main guard."""
    main = sys.modules["__main__"]
    hidden: dict[str, object] = {
        name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)


def exit_with_parent(parent: "Connection[Any, Any]", at_exit: Callable[[], object] = lambda: None) -> None:
    """End this process as soon as the one at the other end of a pipe ends, even if that was killed."""

    def watch() -> None:
        parent.poll(None)
        try:
            at_exit()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
    from multiprocessing.connection import Connection, wait

    results: dict[Connection[Any, Any], Any] = {}
    while running := [pipe for pipe in processes if pipe not in results]:
        for pipe in wait(running):
            assert isinstance(pipe, Connection)
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionError):
                process = processes[pipe]
                process.join(STOPPING_SECONDS)
                code = process.exitcode or 0
                killed = f"was killed by signal {-code} (often for want of memory)"
                how = killed if code < 0 else f"ended with code {code}"
                raise ended_early(f"{process.name} {how}") from None
            if kind == "error":
                raise value
            if kind == "end":
                results[pipe] = value
            else:
                report(value)
    for process in processes.values():
        process.join(STOPPING_SECONDS)
    return [results[pipe] for pipe in processes]


def _stop(processes: "Collection[BaseProcess]") -> None:
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
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which the fork server blocks
        try:
            result = pickle.loads(pickled)(lambda event: pipe.send(("event", event)))
        except VqafeatError as error:
            pipe.send(("error", error))
        else:
            pipe.send(("end", result))
    except (KeyboardInterrupt, BrokenPipeError):
        # the parent process stops this one, perhaps with another signal, or has ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)
