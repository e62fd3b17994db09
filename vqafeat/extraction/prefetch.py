"""Videos at a URL on their way to this machine's disk: a few ahead of their decoding, and gone once they are
decoded.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from vqafeat.errors import VideoError
from vqafeat.extraction.pipeline import VideoTask
from vqafeat.remote import RemoteFile, cache_folder, network_errors, translate_cache_errors

Failed = Callable[[VideoTask, VideoError], None]


class Fetching:
    """Passes jobs on; those of videos at a URL with a copy that is decoded in their place.

    Args:
        jobs: those at a URL are passed on as their copies come, which need not be in order.
        ahead: copies that are made before they are asked for.
        failed: told of each video that could not be fetched; it is passed over.

    Raises:
        StoreError: the disk is full, or the cache folder cannot be written to.
    """

    def __init__(self, jobs: Iterable[VideoTask], ahead: int, failed: Failed) -> None:
        self._jobs, self._ahead, self._failed = iter(jobs), ahead, failed
        self._held = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        self._folder = Path()
        self._waiting: dict[Future[None], VideoTask] = {}
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._held.close()

    def __iter__(self) -> Iterator[VideoTask]:
        for job in self._jobs:
            if not isinstance(job.path, RemoteFile):
                yield job
                continue
            self._begin(job, job.path)
            if len(self._waiting) > self._ahead:
                yield from self._next()
        while self._waiting:
            yield from self._next()

    def release(self, job: VideoTask) -> None:
        """Delete the copy of a video that was decoded."""
        if job.fetched is not None:
            job.fetched.unlink(missing_ok=True)

    def _begin(self, job: VideoTask, file: RemoteFile) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._ahead, "fetching")
            self._folder = self._held.enter_context(_own_folder(cache_folder("videos")))
        self._count += 1
        own = replace(job, fetched=self._folder / f"{self._count}{file.suffix}")
        self._waiting[self._pool.submit(file.fetch, own.file)] = own

    def _next(self) -> Iterator[VideoTask]:
        """Yield the job whose copy is there first, unless that failed."""
        done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
        fetched = next(future for future in self._waiting if future in done)
        job = self._waiting.pop(fetched)
        try:
            fetched.result()
        except network_errors() as error:
            self.release(job)
            self._failed(
                job,
                VideoError(
                    "cannot-open", f"'{job.path}' cannot be fetched ({type(error).__name__}: {error})."
                ),
            )
        else:
            yield job


@contextmanager
def _own_folder(above: Path) -> Iterator[Path]:
    """Lend a folder for this process, and remove those that killed ones left."""
    with translate_cache_errors(above), _alone(above):
        for left in above.glob("*/in-use.lock"):
            _remove_unless_in_use(left)
        folder = Path(tempfile.mkdtemp(dir=above))
        lock = (folder / "in-use.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        with lock, _alone(above):
            shutil.rmtree(folder)


@contextmanager
def _alone(above: Path) -> Iterator[None]:
    """Decide on folders, which are there and whose, one process at a time."""
    above.mkdir(parents=True, exist_ok=True)
    with (above / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unless_in_use(lock: Path) -> None:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.parent)
