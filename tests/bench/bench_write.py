"""Write the features of videos to a store, and the same arrays by Zarr, in turn.

python tests/bench/bench_write.py --videos 50 --rounds 5
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from tests.bench.measuring import print_row, start_table
from tests.helpers.datasets import bare_dataset
from tests.helpers.small_stores import IDENTITY
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures

Make = Callable[[Path, VideoFeatures, FrameTable], Callable[[str], None]]
FRAMES, CHANNELS = 240, 4096
SOURCE = {"sha256": "aa", "codec": "h264", "width": 960, "height": 540}


def by_zarr(folder: Path, features: VideoFeatures, table: FrameTable) -> Callable[[str], None]:
    """Return what writes a video as Zarr does: arrays first, then their attributes."""
    root = zarr.open_group(folder, mode="w", zarr_format=3)

    def write(name: str) -> None:
        group = root.create_group(f"features/tiny/{name}")
        arrays = {f"frames/{name}": table.seconds, f"features/tiny/{name}/values": features.values}
        for key, values in {**arrays, f"features/tiny/{name}/frame": features.frame}.items():
            array = root.create_array(
                key, shape=values.shape, dtype=values.dtype, chunks=values.shape, compressors=[Crc32cCodec()]
            )
            array[...] = values
        root[f"frames/{name}"].attrs.update({"source": SOURCE, "complete": True})
        group.attrs.update({"rows": FRAMES, "complete": True})

    return write


def by_store(folder: Path, features: VideoFeatures, table: FrameTable) -> Callable[[str], None]:
    """Return what writes a video as an extraction does."""
    store = FeatureStore.create(folder, bare_dataset(["a.mp4"]))
    store.add_feature_set("tiny", replace(IDENTITY, channels=CHANNELS))

    def write(name: str) -> None:
        store.write_frames(name, table)
        store.write_features("tiny", name, features, "aa")

    return write


def milliseconds(make: Make, features: VideoFeatures, table: FrameTable, videos: int) -> float:
    """Return the mean time of writing a video, after a first one."""
    with tempfile.TemporaryDirectory() as folder:
        write = make(Path(folder) / "small.zarr", features, table)
        write("first.mp4")
        start = time.perf_counter()
        for number in range(videos):
            write(f"{number}.mp4")
        return (time.perf_counter() - start) / videos * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    values = np.random.default_rng(0).standard_normal((FRAMES, CHANNELS)).astype(np.float16)
    features = VideoFeatures(values, np.arange(FRAMES, dtype=np.int32))
    table = FrameTable(np.arange(FRAMES) / 30, SOURCE)
    rounds = [
        [milliseconds(make, features, table, given.videos) for make in (by_zarr, by_store)]
        for _ in range(given.rounds)
    ]
    zarr_ms, own_ms = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(own / zarrs for zarrs, own in rounds)
    start_table("video of 240 frames, 4096 channels", "ms", "ratio")
    print_row("by Zarr", f"{zarr_ms:.1f}", "1")
    print_row("by vqafeat", f"{own_ms:.1f}", f"{ratio:.2f}")


if __name__ == "__main__":
    main()
