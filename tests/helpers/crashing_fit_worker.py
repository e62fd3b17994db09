"""A task of a fit that is killed in its middle, once."""

import os
import signal
from pathlib import Path
from typing import Any

from vqafeat.training import ray_backend, trainer
from vqafeat.training.parallel import SplitResult

WORK = ray_backend._worker_main


class _NewsThenDeath:
    def __init__(self, news: Any, note: Path) -> None:
        self._news, self._note, self._told = news, note, 0

    def put(self, record: Any) -> None:
        self._told += 1
        if self._told == 4 and not self._note.exists():
            self._note.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._news.put(record)


def dying_work(folder: Path, plan: Any, group: Any, values: Any, held: Any, news: Any) -> list[SplitResult]:
    """Work, but die once after a few epochs."""
    trainer.SECONDS_BETWEEN = 0.0
    return WORK(folder, plan, group, values, held, _NewsThenDeath(news, plan.out.parent / "died"))


def deadly_work(*arguments: Any) -> list[SplitResult]:
    """Die."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
