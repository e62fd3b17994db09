"""Extraction by one and two Ray workers against this process: frames a second, and what a worker costs for
each video.

python tests/bench/bench_ray.py [--videos N] [--frames N] [--backbone NAME]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # one thread a worker, here and there
sys.path.insert(0, str(Path(__file__).parents[2]))

import ray
import torch
from measuring import print_row, start_table

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import extract_random
from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import ExtractionSummary, NullProgress


class Timed(NullProgress):
    """Seconds from the first video that begins to the last that is done: without the start of processes and
    networks.
    """

    def __init__(self) -> None:
        self._begin = self.seconds = 0.0

    def video(self, name: str) -> None:
        self._begin = self._begin or time.perf_counter()

    def done(self, summary: ExtractionSummary) -> None:
        self.seconds = time.perf_counter() - self._begin


def made(folder: Path, videos: int, frames: int, width: int, height: int) -> Dataset:
    """Make clips of noise."""
    folder.mkdir()
    names = [f"{number}.mp4" for number in range(videos)]
    for number, name in enumerate(names):
        write_clip(folder / name, noise_frames(frames, width, height, number))
    return csv_dataset(folder, names)


def seconds_of(backend: str, dataset: Dataset, backbone: str, workers: int) -> tuple[float, float]:
    """Return the seconds of work, and those of the whole call."""
    with tempfile.TemporaryDirectory() as folder:
        timed, options = Timed(), {"resources": Resources(workers=1)}
        cluster = ClusterOptions(workers=workers) if backend == "ray" else None
        start = time.perf_counter()
        path = Path(folder) / "videos.zarr"
        summary = extract_random(dataset, path, (backbone,), progress=timed, cluster=cluster, **options)
        assert (summary.extracted, summary.failures) == (len(dataset.videos), ())
        return timed.seconds, time.perf_counter() - start


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--backbone", default="resnet18")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        ordinary = made(Path(folder) / "ordinary", given.videos, given.frames, 480, 270)
        tiny = made(Path(folder) / "tiny", 4 * given.videos, 1, 64, 48)
        environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=environment,
        )
        print(
            f"Ray {ray.__version__}; {given.videos} clips of {given.frames} frames, {4 * given.videos} of one"
        )
        start_table(given.backbone, "frames/s", "start, s", "ms for a video of one frame")
        for name, backend, workers in (
            ("local", "local", 1),
            ("ray, 1 worker", "ray", 1),
            ("ray, 2 workers", "ray", 2),
        ):
            seconds, whole = seconds_of(backend, ordinary, given.backbone, workers)
            short, _ = seconds_of(backend, tiny, given.backbone, workers)
            rate, each = given.videos * given.frames / seconds, short / len(tiny.videos) * 1000
            print_row(name, f"{rate:.1f}", f"{whole - seconds:.1f}", f"{each:.1f}")
        ray.shutdown()


if __name__ == "__main__":
    main()
