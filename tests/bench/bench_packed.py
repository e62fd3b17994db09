"""Opening a store and reading all of it, plain against packed, from the disk and (with moto) from an object
store on loopback.

python tests/bench/bench_packed.py [--videos N] [--channels D] [--s3] [--most N]
"""

import argparse
import importlib.util
import multiprocessing
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import print_row, start_table

from vqafeat.datasets import Dataset, Video
from vqafeat.remote import StorePath, map_concurrently, parse_path
from vqafeat.store import FeatureStore, pack_store
from vqafeat.store.cache import Cache, cached_copy
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures

FRAMES = 240
ACCOUNT = "123456789012"  # moto's own


def made(folder: Path, videos: int, channels: int) -> FeatureStore:
    """Make a store of synthetic features, the same for each video."""
    random = np.random.default_rng(0)
    rows = tuple(Video(f"{number}.mp4", float(random.uniform(1, 5)), str(number)) for number in range(videos))
    store = FeatureStore.create(
        folder / "made.zarr", Dataset("made", "Made", "MOS", (1.0, 5.0), rows, "made", "made")
    )
    taps = ("last",)
    store.add_feature_set(
        "made",
        FeatureSetIdentity(
            "made", "0" * 64, taps, "gap+gsp", "full", "every", "none", "none", "float16", channels
        ),
    )
    first, *others = (video.name for video in rows)
    store.write_frames(first, FrameTable(np.arange(FRAMES) / 30, {"sha256": ""}))
    values = random.standard_normal((FRAMES, channels), np.float32).astype(np.float16)
    store.write_features("made", first, VideoFeatures(values, np.arange(FRAMES, dtype=np.int32)), "")
    for parent in (store.path / "frames", store.path / "features" / "made"):
        for name in others:  # writing each through Zarr would take most of an hour for 10 000
            shutil.copytree(parent / first, parent / name)
            node = parent / name / "zarr.json"
            node.write_text(node.read_text().replace(f'"{first}"', f'"{name}"'))
    return FeatureStore.open(store.path)


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def opened(path: StorePath) -> None:
    """Do what a fit does before it reads rows."""
    store = FeatureStore.open(path)
    store.complete_videos("made")


def epoch(path: StorePath, most: int) -> tuple[float, int]:
    """Read videos once, in a random order; over a network many at a time, as copies and fits do. Return the
    seconds and how many.
    """
    store = FeatureStore.open(path)
    names = [video.name for video in store.dataset.videos]
    order = np.random.default_rng(1).permutation(len(names))[:most]

    def read(number: int) -> None:
        store.read("made", names[number]).values.sum(dtype=np.float32)

    return timed(lambda: map_concurrently(path, read, order.tolist())), len(order)


def line(name: str, path: StorePath, local: Path, rounds: int = 3, most: int = sys.maxsize) -> None:
    """Print the medians of a few runs, caches warm; `local` is the same store on the disk, `most` how many
    videos are read.
    """
    files = sum(one.is_file() for one in local.rglob("*"))
    opening = statistics.median(timed(lambda: opened(path)) for _ in range(rounds))
    reading, videos = statistics.median(epoch(path, most) for _ in range(rounds))
    print_row(name, videos, files, f"{opening:.3f}", f"{reading:.2f}", f"{1000 * reading / videos:.2f}")


def serve(port: int, folders: list[Path]) -> None:
    """Be an S3 that holds some folders; what is in them does not come over the network, which would take
    longer than all that is timed.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    backend = s3_backends[ACCOUNT]["aws"]
    backend.create_bucket("bucket", "us-east-1")
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                backend.put_object(
                    "bucket", f"bench/{folder.name}/{file.relative_to(folder)}", file.read_bytes()
                )
    make_server(
        "127.0.0.1",
        port,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=Quiet,
    ).serve_forever()


def object_store_lines(stores: dict[str, Path], videos: int, most: int) -> None:
    """Print the same for moto's S3 server on loopback, in a separate process, and how long a copy for a fit
    takes, with an epoch from it.

    Of a packed store, `most` videos are read at each access, since moto reads a whole shard for each; of a
    plain one all, and it is copied where that is no more than `most`.
    """
    os.environ.update(
        AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION="us-east-1"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(port, list(stores.values())), daemon=True
    )
    server.start()
    url = parse_path("s3://bucket/bench", [f"endpoint_url=http://127.0.0.1:{port}"])
    while not answers(port):
        time.sleep(0.5)
    for name, path in stores.items():
        line(
            f"{name}, S3, at each access",
            url / path.name,
            path,
            rounds=1,
            most=most if name == "packed" else sys.maxsize,
        )
        if name == "packed" or videos <= most:
            as_a_fit_does(f"{name}, S3, copied", url / path.name)
    server.terminate()


def as_a_fit_does(name: str, url: StorePath) -> None:
    """Print how long the copy of a store at a URL takes, and an epoch from it."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore.open(url)
        start = time.perf_counter()
        with cached_copy(store, ["made"], Cache(Path(folder)), lambda _: None) as copy:
            copied = time.perf_counter() - start
            reading, videos = epoch(copy.path, sys.maxsize)
        each = 1000 * (copied + reading) / videos
        print_row(name, videos, "", "", f"{copied:.2f} + {reading:.2f}", f"{each:.2f}")


def answers(port: int) -> bool:
    """Tell whether the server is there; it first takes in all objects."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def both(folder: Path, videos: int, channels: int) -> tuple[Path, Path]:
    """Make a store and its packed twin, and say how large they are."""
    plain, packed = made(folder, videos, channels), folder / "packed.zarr"
    seconds = timed(lambda: pack_store(plain.path, packed))
    print(f"\n{videos} videos, {channels} channels, {gib_of(packed):.2f} GiB; packed in {seconds:.1f} s\n")
    start_table("store", "videos", "files", "open, s", "epoch, s", "ms a video")
    return plain.path, packed


def gib_of(path: StorePath) -> float:
    """Return how large all rows are."""
    store = FeatureStore.open(path)
    return (
        sum(info.bytes for name in store.complete_videos("made") if (info := store.stored("made", name)))
        / 2**30
    )


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument(
        "--s3",
        nargs="?",
        const="plain packed",
        default="",
        help="also from an object store on loopback; `packed` alone: faster",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=1000,
        help="videos of a packed store that are read from there at each access",
    )
    given = parser.parse_args()
    if given.s3 and not all(importlib.util.find_spec(module) for module in ("moto", "s3fs", "upath")):
        parser.error("--s3 needs moto and vqafeat[s3], which are not installed here")
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = both(Path(folder), given.videos, given.channels)
        line("plain", plain, plain)
        line("packed", packed, packed)
        if "packed" in given.s3:
            object_store_lines(
                {name: path for name, path in (("plain", plain), ("packed", packed)) if name in given.s3},
                given.videos,
                given.most,
            )


if __name__ == "__main__":
    main()
