"""What the benchmarks share: times, peaks of memory, and the tables that they print."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import av
import torch

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "konvid-mini"


def clip_540p(name: str = "10053703034.mp4") -> Path:
    """Return a KoNViD-1k clip of 8 s at 960x540, or stop where the shared data are absent."""
    if not CLIPS.is_dir():
        sys.exit(f"clips are absent: {CLIPS}")
    return CLIPS / name


def median_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Return the median time of a few rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def sgemm_gflops(size: int = 2048) -> float:
    """Return the rate of a large float32 matrix product."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    left @ right
    return 2 * size**3 / median_seconds(lambda: left @ right, 9) / 1e9


def machine() -> str:
    """Name what the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    cores = len(os.sched_getaffinity(0))
    versions = f"Python {sys.version.split()[0]}, torch {torch.__version__}, PyAV {av.__version__}"
    return f"{cores} cores ({model}), {versions}"


def start_table(*columns: str) -> None:
    """Print the command, the machine and the date, and the head of a Markdown table."""
    print(f"\n`python {' '.join(sys.argv)}`, {machine()}, {date.today()}\n")
    print_row(*columns)
    print_row(*["---"] * len(columns))


def print_row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


@dataclass(frozen=True)
class Run:
    """A command's time and the highest sum of its processes' memory (proportional set size)."""

    seconds: float
    peak_gib: float
    output: str


def run_measured(command: Sequence[str]) -> Run:
    """Run a command to its end, looking at the memory of its processes several times a second."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    ) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_kib, _family(process.pid))))
            time.sleep(0.2)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {output}")
    return Run(time.perf_counter() - start, peak / (1 << 20), output)


def _family(process: int) -> list[int]:
    family = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            family += [member for child in task.read_text().split() for member in _family(int(child))]
        except OSError:
            continue
    return family


def _proportional_kib(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
