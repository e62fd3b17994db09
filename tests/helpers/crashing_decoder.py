"""A decoding process whose codec crashes, hangs or breaks on videos of certain names."""

import os
import time
from pathlib import Path
from typing import Any

from vqafeat.video import chunks, pool

START = (
    "import sys; sys.path[:] = sys.argv[3:]; from tests.helpers import crashing_decoder; "
    "crashing_decoder.main(int(sys.argv[1]), int(sys.argv[2]))"
)
_reader: Any = chunks.VideoReader


def misbehaving_reader(path: Path, *arguments: Any) -> Any:
    if "crash" in path.name:
        os.abort()
    if "hang" in path.name:
        time.sleep(1000)
    if "bug" in path.name:
        raise ZeroDivisionError("a codec's bindings broke")
    return _reader(path, *arguments)


def main(connection: int, memory: int) -> None:
    setattr(chunks, "VideoReader", misbehaving_reader)  # noqa: B010
    pool.worker_main(connection, memory)
