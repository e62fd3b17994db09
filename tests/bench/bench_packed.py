"""Opening a store and reading all of it, plain against packed, from the disk and (with moto) from an object store on loopback.

python tests/bench/bench_packed.py [--videos N] [--channels D] [--s3-videos N]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from measuring import machine

from vqafeat.features import FeatureSetIdentity, FrameTable, VideoFeatures
from vqafeat.manifest import Dataset, Video
from vqafeat.places import Place
from vqafeat.store import FeatureStore, pack_store


def made(folder: Path, videos: int, channels: int) -> FeatureStore:
    """Make a store of synthetic features of 60 to 360 frames."""
    random = np.random.default_rng(0)
    rows = tuple(Video(f"{number}.mp4", float(random.uniform(1, 5)), str(number)) for number in range(videos))
    store = FeatureStore.create(folder / "made.zarr", Dataset("made", "Made", "MOS", (1.0, 5.0), rows, "made", "made"))
    taps = ("last",)
    store.add_feature_set(
        "made", FeatureSetIdentity("made", "0" * 64, taps, "gap+gsp", "full", "every", "none", "none", "float16", channels)
    )
    for video in rows:
        count = int(random.integers(60, 361))
        store.write_frames(video.name, FrameTable(np.arange(count) / 30, {"sha256": video.name}))
        values = random.standard_normal((count, channels), np.float32).astype(np.float16)
        store.write_features("made", video.name, VideoFeatures(values, np.arange(count, dtype=np.int32)), video.name)
    return FeatureStore.open(store.path)


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def opened(path: Place) -> None:
    """Do what a fit does before it reads rows."""
    store = FeatureStore.open(path)
    store.complete_videos("made")


def epoch(path: Place, checked: bool = False) -> float:
    """Read each video once, in a random order."""
    store = FeatureStore.open(path)
    names = store.complete_videos("made")
    order = np.random.default_rng(1).permutation(len(names))

    def read() -> None:
        for number in order:
            store.read("made", names[number], checked).values.sum(dtype=np.float32)

    return timed(read)


def line(name: str, path: Place, files: int, gib: float) -> None:
    """Print the medians of a few runs, caches warm."""
    opening = sorted(timed(lambda: opened(path)) for _ in range(3))[1]
    reading = sorted(epoch(path) for _ in range(3))[1]
    print(f"| {name} | {files} | {opening:.3f} | {reading:.2f} | {gib / reading:.2f} |", flush=True)


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=256)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder, ExitStack():
        plain = made(Path(folder), given.videos, given.channels)
        packed = Path(folder) / "packed.zarr"
        seconds = timed(lambda: pack_store(plain.path, packed))
        gib = sum(said.bytes for name in plain.complete_videos("made") if (said := plain.stored("made", name))) / 2**30
        print(f"{given.videos} videos, {given.channels} channels, {gib:.2f} GiB; packed in {seconds:.1f} s\n")
        print("| store | files | opened, all videos known (s) | all rows read (s) | GiB/s |\n|---|---|---|---|---|")
        for name, path in (("plain", plain.path), ("packed", packed)):
            line(name, path, sum(one.is_file() for one in path.rglob("*")), gib)


if __name__ == "__main__":
    main()
