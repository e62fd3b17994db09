"""A task of a fit that is killed in its middle, once."""

import os
import signal
from pathlib import Path
from typing import Any

from vqafeat.training import checkpoint, ray_backend
from vqafeat.training.checkpoint import SplitResult

WORK = ray_backend._worker_main


class _RecordsThenDeath:
    def __init__(self, records: Any, note: Path) -> None:
        self._records, self._note, self._count = records, note, 0

    def put(self, record: Any) -> None:
        self._count += 1
        if self._count == 2 and not self._note.exists():
            self._note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._records.put(record)


def dying_work(
    folder: Path, job: Any, group: Any, block: Any, layout: Any, records: Any
) -> list[SplitResult]:
    """Work, but die once after a few epochs."""
    checkpoint.SECONDS_BETWEEN = 0.0
    return WORK(folder, job, group, block, layout, _RecordsThenDeath(records, job.out.parent / "died"))


def deadly_work(*arguments: Any) -> list[SplitResult]:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
