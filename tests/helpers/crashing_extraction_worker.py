"""Workers that are killed in the middle of a video, as a machine's lack of memory does it."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from vqafeat.extraction.pipeline import VideoTask
from vqafeat.extraction.ray_backend import ExtractionWorker
from vqafeat.extraction.results import ExtractionSummary

DEADLY, DEADLY_ONCE = "deadly.mp4", "deadly-once.mp4"


class DyingWorker(ExtractionWorker):
    """Dies after the first frames of `deadly.mp4`, each time, and of `deadly-once.mp4`, once."""

    def extract(self, batch: Sequence[VideoTask]) -> ExtractionSummary:
        names, path = {task.name for task in batch}, batch[0].file
        once = path.parent / "died-once"  # not the others' note, whose death may come first
        if DEADLY in names or (DEADLY_ONCE in names and not once.exists()):
            self.prepare()
            assert self._pipeline is not None
            (self._setup.store / "zarr.0123.partial").touch()  # as one that is being written
            self._pipeline._on_frames = lambda count: self._die(
                path.parent / "died", once if DEADLY_ONCE in names else None
            )
        return super().extract(batch)

    @staticmethod
    def _die(note: Path, once: Path | None) -> None:
        if once is not None:
            once.touch()
        with note.open("a") as file:
            file.write("died\n")
        os.kill(os.getpid(), signal.SIGKILL)
