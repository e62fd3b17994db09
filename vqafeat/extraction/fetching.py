"""Videos at a URL on their way to this machine's disk: a few ahead of their decoding, and gone once they are decoded."""

import errno
import fcntl
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from vqafeat.errors import ExtractionError, VideoError
from vqafeat.extraction.in_work import VideoJob
from vqafeat.places import cache_folder, network_errors
from vqafeat.remote_files import RemoteFile

Failed = Callable[[VideoJob, VideoError], None]


class Fetching:
    """Passes jobs on; those of videos at a URL with a copy that is decoded in their place.

    Args:
        jobs: in order.
        ahead: copies that are made before they are asked for.
        failed: told of each video that could not be fetched; it is passed over.

    Raises:
        ExtractionError: the disk is full.
    """

    def __init__(self, jobs: Iterable[VideoJob], ahead: int, failed: Failed) -> None:
        self._jobs, self._ahead, self._failed = iter(jobs), ahead, failed
        self._held = ExitStack()
        self._pool: ThreadPoolExecutor | None = None
        self._folder = Path()
        self._waiting: deque[tuple[VideoJob, Future[None]]] = deque()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._held.close()

    def __iter__(self) -> Iterator[VideoJob]:
        for job in self._jobs:
            if not isinstance(job.path, RemoteFile):
                yield job
                continue
            self._begin(job, job.path)
            if len(self._waiting) > self._ahead:
                yield from self._first()
        while self._waiting:
            yield from self._first()

    def release(self, job: VideoJob) -> None:
        """Delete the copy of a video that was decoded."""
        if job.fetched is not None:
            job.fetched.unlink(missing_ok=True)

    def _begin(self, job: VideoJob, file: RemoteFile) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._ahead, "fetching")
            self._folder = self._held.enter_context(_own_folder(cache_folder("videos")))
        self._count += 1
        own = replace(job, fetched=self._folder / f"{self._count}{file.suffix}")
        self._waiting.append((own, self._pool.submit(file.fetch, own.file)))

    def _first(self) -> Iterator[VideoJob]:
        job, fetched = self._waiting.popleft()
        try:
            fetched.result()
        except network_errors() as error:
            self.release(job)
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise ExtractionError(
                    f"no room for '{job.path}' in '{self._folder.parent}' ({error}); make room, or name a folder on another disk in "
                    "XDG_CACHE_HOME, then run the same command again."
                ) from error
            self._failed(job, VideoError("cannot-open", f"'{job.path}' cannot be fetched ({type(error).__name__}: {error})."))
        else:
            yield job


@contextmanager
def _own_folder(above: Path) -> Iterator[Path]:
    """Lend a folder for this process, and remove those that killed ones left."""
    above.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with (above / ".lock").open("w") as alone:  # whose folder has a lock is decided by one process at a time
            fcntl.flock(alone, fcntl.LOCK_EX)
            for left in above.glob("*/in-use.lock"):
                _remove_unless_in_use(left)
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=above)))
            lock = held.enter_context((folder / "in-use.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _remove_unless_in_use(lock: Path) -> None:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.parent)
