"""A finished store → one sharded array a feature set, and back; what is written is read again and compared
before anything is replaced.
"""

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from vqafeat.errors import ArgumentError, StoreError
from vqafeat.remote import StorePath, remove_tree
from vqafeat.store.content import StoreContents, content_digest, contents
from vqafeat.store.layout import PACKED, PLAIN
from vqafeat.store.lock import exclusive_lock
from vqafeat.store.packed import TABLE
from vqafeat.store.store import SCHEMA_OF_LAYOUT, FeatureStore, label_attributes
from vqafeat.store.types import FrameTable
from vqafeat.store.zarr_io import failure_log_path, open_root, store_key

SHARD_BYTES = 64 << 20
CHUNK_BYTES = 256 << 10  # small against a video's rows, so that a read takes little besides them
SHORT_CHUNK_BYTES = 16 << 10  # of frame indices and times, which are a thousandth of that


@dataclass(frozen=True)
class PackResult:
    """A store that was packed or unpacked.

    Attributes:
        path: where it lies now.
        digest: its content digest, the same before and after.
        videos: complete entries over all feature sets.
        left_out: one sentence for each video that was not whole.
        found: there was nothing to do.
    """

    path: StorePath
    digest: str
    videos: int
    left_out: tuple[str, ...] = ()
    found: bool = False

    def __post_init__(self) -> None:
        if len(self.digest) != 64 or self.videos < 0:
            raise ArgumentError(
                f"a store has a digest of 64 digits and at least no videos, got '{self.digest}' and "
                f"{self.videos}."
            )


def pack_store(
    path: StorePath, out: StorePath | None = None, shard_bytes: int = SHARD_BYTES, skip_missing: bool = False
) -> PackResult:
    """Turn the store at a path into one sharded array a feature set, which the same methods read.

    Args:
        path: of the store.
        out: where the packed store goes; without it, it replaces the store once it is written and found
            equal.
        shard_bytes: most bytes of features in one shard, which is one file or object.
        skip_missing: leave out what is incomplete or damaged.

    Raises:
        StoreError: a video is incomplete or damaged and not to be left out, another process is writing, or
            `out` exists.
        ArgumentError: a row does not fit into a shard.
    """

    def write(store: FeatureStore, whole: StoreContents, target: StorePath, digest: str) -> None:
        _Packer(store, target, shard_bytes).write(whole, digest)

    return _repacked(path, out, PACKED, write, skip_missing)


def unpack_store(path: StorePath, out: StorePath | None = None, skip_missing: bool = False) -> PackResult:
    """Turn a packed store into one that can be written to, as `pack_store` does the reverse; raises the
    same.
    """
    return _repacked(path, out, PLAIN, _write_plain, skip_missing)


def _repacked(
    path: StorePath,
    out: StorePath | None,
    layout: str,
    write: Callable[[FeatureStore, StoreContents, StorePath, str], None],
    skip_missing: bool,
) -> PackResult:
    if isinstance(path, Path):
        _finish_replacing(path)
    store = FeatureStore.open(path)
    if out is not None and out.exists():
        raise StoreError(f"--out '{out}' exists already; name another place, or delete it.")
    # a packed store does not change, and may lie where one may only read
    with exclusive_lock(path) if out is None or store.layout.name == PLAIN else nullcontext():
        whole = contents(store, readable=skip_missing)
        videos = sum(map(len, whole.rows.values()))
        if out is None and store.layout.name == layout:
            return PackResult(path, content_digest(store, whole), videos, whole.left_out, found=True)
        if whole.left_out and not skip_missing:
            raise StoreError(
                f"{len(whole.left_out)} entries of '{path}' are not whole (first: {whole.left_out[0]}); run "
                f"`vqafeat extract` again, or "
                "leave them out with --skip-missing."
            )
        with _write_to(path, out) if out is not None else _replace_in_place(path) as target:
            digest = content_digest(store, whole)
            write(store, whole, target, digest)
            if content_digest(FeatureStore.open(target)) != digest:
                raise StoreError(
                    f"'{target}' does not hold what '{path}' does, which stays as it is; is the disk sound? "
                    f"Run it again."
                )
    return PackResult(out or path, digest, videos, whole.left_out)


# --- the place of the result
# ------------------------------------------------------------------------------------------------------


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _finish_replacing(path: Path) -> None:
    """Bring a store back to its name, whose replacement was stopped between two renames."""
    if not path.exists() and _old(path).exists():
        _old(path).rename(path)


@contextmanager
def _replace_in_place(path: StorePath) -> Iterator[StorePath]:
    """Lend a new place beside a store; at the end, what is there takes the store's place. A stop at any time
    loses nothing.
    """
    if not isinstance(path, Path):
        raise StoreError(
            f"'{path}' lies in an object store, where nothing can be replaced at once; name another place "
            f"with --out."
        )
    for leftover in (_new(path), _old(path)):
        if leftover.exists():
            remove_tree(leftover)
    yield _new(path)
    os.sync()  # all of the new before any of the old goes, should the machine stop
    path.rename(_old(path))
    _new(path).rename(path)
    remove_tree(_old(path))
    for lock in (".lock", ".writers.lock"):
        _new(path).with_suffix(lock).unlink(missing_ok=True)


@contextmanager
def _write_to(path: StorePath, out: StorePath) -> Iterator[StorePath]:
    """Lend the place that was asked for; at the end, the failure log goes there too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    yield out
    if failure_log_path(path).is_file():
        failure_log_path(out).write_bytes(failure_log_path(path).read_bytes())


# --- writing
# ----------------------------------------------------------------------------------------------------------------------


def _write_plain(store: FeatureStore, whole: StoreContents, target: StorePath, _: str) -> None:
    written = FeatureStore.create(target, store.dataset)
    for video in whole.timed:
        seconds, source = store.seconds(video), store.source(video)
        assert seconds is not None
        assert source is not None
        written.write_frames(video, FrameTable(seconds, source))
    for feature_set, videos in whole.rows.items():
        written.add_feature_set(feature_set, store.identity(feature_set))
        for said in videos:
            written.write_features(
                feature_set, said.video, store.read(feature_set, said.video, checked=True), said.source_sha256
            )


class _Packer:
    """Writes what is whole in a store as a packed one, the mark of completeness last."""

    def __init__(self, store: FeatureStore, target: StorePath, shard_bytes: int) -> None:
        self._store, self._target, self._shard_bytes = store, target, shard_bytes
        dataset = store.dataset
        attributes = {
            "schema_version": SCHEMA_OF_LAYOUT[PACKED],
            "dataset": dataset.name,
            "manifest_digest": dataset.digest,
        }
        self._root = open_root(target, "w-", attributes)

    def write(self, whole: StoreContents, digest: str) -> None:
        """Write labels, frame times and all feature sets, one shard in memory at a time."""
        dataset = self._store.dataset
        self._root.create_group("labels", attributes=label_attributes(dataset))
        if dataset.stored_permutations is not None:
            self._small("labels/permutations", dataset.stored_permutations.astype(np.int32))
        self._write_times(whole.timed)
        self._root.create_group("features")
        for feature_set in whole.rows:
            self._write_set(feature_set, whole)
        self._root.attrs.update({"content": digest, "complete": True})
        with warnings.catch_warnings():
            # a store on the network opens with one request for it; other readers of Zarr pass over it
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=ZarrUserWarning)
            zarr.consolidate_metadata(self._root.store, zarr_format=3)

    def _write_times(self, videos: Sequence[str]) -> None:
        self._root.create_group("frames")
        rows = list[int]()
        with self._rows("frames/seconds", np.dtype(np.float64), ()) as seconds:
            for video in videos:
                own = self._store.seconds(video)
                assert own is not None
                seconds.append(own)
                rows.append(len(own))
        sources = [self._store.source(video) for video in videos]
        self._table(
            "frames", {"video": list(videos), "start": _starts(rows), "rows": rows, "source": sources}
        )

    def _write_set(self, feature_set: str, whole: StoreContents) -> None:
        key, videos = f"features/{store_key(feature_set)}", whole.rows[feature_set]
        identity = self._store.identity(feature_set)
        self._root.create_group(key, attributes={"name": feature_set, "identity": identity.as_dict()})
        starts, ends = list[int](), Counter[str]()
        for said in videos:
            starts.append(ends[said.dtype])
            ends[said.dtype] += said.rows
        for dtype in sorted(ends):
            with (
                self._rows(f"{key}/{dtype}/values", np.dtype(dtype), (identity.channels,)) as values,
                self._rows(f"{key}/{dtype}/frame", np.dtype(np.int32), ()) as frame,
            ):
                for said in videos:
                    if said.dtype == dtype:
                        own = self._store.read(feature_set, said.video, checked=True)
                        values.append(own.values)
                        frame.append(own.frame)
        columns = {
            name: [getattr(said, name) for said in videos]
            for name in ("video", "rows", "dtype", "source_sha256")
        }
        self._table(key, {**columns, "start": starts})

    @contextmanager
    def _rows(self, key: str, dtype: np.dtype[Any], row_shape: tuple[int, ...]) -> "Iterator[_ShardWriter]":
        writer = _ShardWriter(self._root, key, dtype, row_shape, self._shard_bytes)
        yield writer
        writer.close()

    def _table(self, key: str, columns: dict[str, list[Any]]) -> None:
        self._small(f"{key}/{TABLE}", np.frombuffer(json.dumps(columns).encode(), np.uint8))

    def _small(self, key: str, values: npt.NDArray[Any]) -> None:
        compressors = [ZstdCodec(), Crc32cCodec()]
        self._root.create_array(
            key,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=compressors,
            fill_value=0,
            config={"write_empty_chunks": True},
        )[...] = values


class _ShardWriter:
    """Rows, appended to a sharded array of any length; one shard waits in memory."""

    def __init__(
        self, root: zarr.Group, key: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], shard_bytes: int
    ) -> None:
        row_bytes = dtype.itemsize * int(np.prod(row_shape))
        if row_bytes > shard_bytes:
            raise ArgumentError(
                f"--shard-size {shard_bytes} bytes holds no row of '{key}', which has {row_bytes}; give at "
                f"least as many."
            )
        chunk_rows = max(1, min(CHUNK_BYTES if row_shape else SHORT_CHUNK_BYTES, shard_bytes) // row_bytes)
        shard_rows = shard_bytes // row_bytes // chunk_rows * chunk_rows
        self._array = root.create_array(
            key,
            shape=(0, *row_shape),
            dtype=dtype,
            chunks=(chunk_rows, *row_shape),
            shards=(shard_rows, *row_shape),
            compressors=[Crc32cCodec()],
            fill_value=0,
            config={"write_empty_chunks": True},
        )
        self._waiting = np.empty((shard_rows, *row_shape), dtype)
        self._filled = self._written = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows after the last."""
        while len(rows):
            taken = rows[: len(self._waiting) - self._filled]
            self._waiting[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            rows = rows[len(taken) :]
            if self._filled == len(self._waiting):
                self.close()

    def close(self) -> None:
        """Write what waits."""
        if self._filled:
            end = self._written + self._filled
            self._array.resize((end, *self._array.shape[1:]))
            self._array[self._written : end] = self._waiting[: self._filled]
            self._written, self._filled = end, 0


def _starts(rows: Sequence[int]) -> list[int]:
    return list(accumulate(rows[:-1], initial=0)) if rows else []
