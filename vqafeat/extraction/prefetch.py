"""Download remote videos ahead of decoding and delete them afterwards."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from vqafeat.errors import VideoError
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.remote import RemoteFile, cache_folder, network_errors, translate_cache_errors
from vqafeat.store.lock import try_lock


class Prefetcher(ExitStack):
    """Iterates over tasks; those of remote videos come when a local copy is complete, in any order.

    Up to `ahead` copies are made ahead of the iteration. `failed` gets each video that cannot be fetched.
    """

    def __init__(
        self, tasks: Iterable[VideoTask], ahead: int, failed: Callable[[VideoTask, VideoError], None]
    ) -> None:
        super().__init__()
        self._tasks, self._ahead, self._failed = tasks, ahead, failed
        self._pool: ThreadPoolExecutor | None = None
        self._folder = Path()
        self._fetching: dict[Future[None], VideoTask] = {}
        self._numbers = count(1)

    def __iter__(self) -> Iterator[VideoTask]:
        for task in self._tasks:
            if not isinstance(task.path, RemoteFile):
                yield task
                continue
            if self._pool is None:
                self._folder = self.enter_context(_process_folder(cache_folder("videos")))
                self._pool = ThreadPoolExecutor(self._ahead, "fetching")
                self.callback(self._pool.shutdown, cancel_futures=True)
            copied = replace(task, fetched=self._folder / f"{next(self._numbers)}{task.path.suffix}")
            self._fetching[self._pool.submit(task.path.fetch, copied.file)] = copied
            if len(self._fetching) > self._ahead:
                yield from self._next()
        while self._fetching:
            yield from self._next()

    def release(self, task: VideoTask) -> None:
        """Delete the local copy of a video that was decoded."""
        if task.fetched is not None:
            task.fetched.unlink(missing_ok=True)

    def _next(self) -> Iterator[VideoTask]:
        """Yield the task whose copy is complete first, unless the copy failed."""
        done, _ = wait(self._fetching, return_when=FIRST_COMPLETED)
        future = next(future for future in self._fetching if future in done)
        task = self._fetching.pop(future)
        try:
            future.result()
        except network_errors() as error:
            self.release(task)
            message = f"'{task.path}' cannot be fetched ({type(error).__name__}: {error})."
            self._failed(task, VideoError("cannot-open", message))
        else:
            yield task


@contextmanager
def _process_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for the copies of this process, and remove those that killed processes left."""
    with translate_cache_errors(parent), _locked(parent):
        for left in parent.glob("*/in-use.lock"):
            with left.open("w") as lock:
                if try_lock(lock):
                    shutil.rmtree(left.parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = (folder / "in-use.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        with lock, _locked(parent):
            shutil.rmtree(folder)


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """One process at a time makes and removes folders."""
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
