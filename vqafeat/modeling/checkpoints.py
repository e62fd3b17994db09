"""The state of a training between epochs, kept so that a stopped one goes on where it was."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vqafeat.io import write_bytes

SECONDS_BETWEEN = 60.0


class Checkpoint:
    """A file that holds the states of runs that train together, as they were at most a minute and an epoch ago."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, time.monotonic()

    def read(self) -> list[dict[str, Any]]:
        """Return the states that were written last, or none."""
        if not self._path.is_file():
            return []
        states: list[dict[str, Any]] = torch.load(self._path, weights_only=True)
        return states

    def offer(self, states: Callable[[], list[dict[str, Any]]]) -> None:
        """Write the states where the last ones are old enough."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        content = io.BytesIO()
        torch.save(states(), content)
        write_bytes(self._path, content.getvalue())
        self._last = time.monotonic()
