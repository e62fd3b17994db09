"""Count the project's files whose functions run in a command, and list them.

    python tests/bench/count_files.py fit --head sub-gru --jobs 1 --store features --out /tmp/run
    python tests/bench/count_files.py extract --dataset mine.csv --backbone resnet18 --weights random

The arguments are those of `vqafeat`. Code that runs while modules are imported does not count; the decoding
processes are not seen.
"""

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from vqafeat_cli.main import main

ROOTS = tuple(str(Path(__file__).parents[2] / folder) for folder in ("vqafeat", "cli"))
FUNCTIONS: set[tuple[str, str, int]] = set()


def profile(frame: FrameType, event: str, _: object) -> None:
    """Note the function that is called."""
    code = frame.f_code
    if event == "call" and code.co_filename.startswith(ROOTS) and not _is_import(frame):
        FUNCTIONS.add((code.co_filename, code.co_qualname, code.co_firstlineno))


def _is_import(frame: FrameType | None) -> bool:
    """Whether a module's own code, or a class body, is on the stack below the project's functions."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(ROOTS):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        main(sys.argv[1:])
    finally:
        sys.setprofile(None)
        files = Counter(file for file, _, _ in FUNCTIONS)
        for file, functions in sorted(files.items()):
            print(f"{functions:4} functions  {Path(file).relative_to(Path(__file__).parents[2])}")
        print(f"{len(files)} files, {len(FUNCTIONS)} functions")
