"""Packing of a store into one sharded array per feature set, and unpacking; the result is compared first."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from numpy.dtypes import StringDType
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from vqafeat.errors import ArgumentError, StoreError
from vqafeat.remote import StorePath, parse_path, remove_tree
from vqafeat.store.content import StoreContents, content_digest, contents
from vqafeat.store.layout import FRAME_COLUMNS, TABLE, VIDEO_COLUMNS, PackedLayout, PlainLayout
from vqafeat.store.lock import exclusive_lock
from vqafeat.store.store import FeatureStore, Layout, label_attributes
from vqafeat.store.types import FrameTable
from vqafeat.store.zarr_io import ARRAY_OPTIONS, failure_log_path, open_root, store_key

SHARD_BYTES = 64 << 20
CHUNK_BYTES = 256 << 10  # smaller than most videos' rows, so that a read fetches few bytes of other videos
SHORT_CHUNK_BYTES = 16 << 10  # for frame indices and times, which take a thousandth of the space


@dataclass(frozen=True)
class PackResult:
    """A store that was packed or unpacked."""

    path: StorePath
    digest: str  # of the content, the same before and after
    videos: int  # number of complete videos, summed over the feature sets
    left_out: tuple[str, ...] = ()  # one sentence for each video that was not complete
    unchanged: bool = False  # the store already had the layout

    def __post_init__(self) -> None:
        if len(self.digest) != 64 or self.videos < 0:
            values = f"'{self.digest}' and {self.videos}"
            raise ArgumentError(f"digest and videos have to be 64 digits and 0 or more, got {values}.")


def pack_store(
    path: StorePath | str,
    out: StorePath | str | None = None,
    shard_bytes: int = SHARD_BYTES,
    skip_missing: bool = False,
) -> PackResult:
    """Turn a store into one sharded array per feature set, which the same methods read.

    Args:
        out: path of the result; without it, the result replaces the store once it is written and compared.
        shard_bytes: most bytes of features in one shard, which is one file or object.
        skip_missing: leave out incomplete and damaged videos instead of refusing them.
    """
    return _convert(path, out, PackedLayout, skip_missing, shard_bytes)


def unpack_store(
    path: StorePath | str, out: StorePath | str | None = None, skip_missing: bool = False
) -> PackResult:
    """Turn a packed store into one that can be written to; see `pack_store` for the arguments."""
    return _convert(path, out, PlainLayout, skip_missing)


def _convert(
    path: StorePath | str,
    out: StorePath | str | None,
    layout: type[Layout],
    skip_missing: bool,
    shard_bytes: int = SHARD_BYTES,
) -> PackResult:
    path, out = parse_path(path), None if out is None else parse_path(out)
    if isinstance(path, Path):
        if path.is_symlink() or path.name in ("", ".."):
            path = path.resolve()  # what a link points to is replaced, not the link
        if not path.exists() and (old := path.with_name(f"{path.name}.old")).exists():
            old.rename(path)  # its replacement was stopped between two renames
    store = FeatureStore.open(path)
    if out is not None and out.exists():
        raise StoreError(f"--out '{out}' exists already; name another path, or delete it.")
    # a packed store does not change, and may be read-only
    needs_lock = out is None or isinstance(store.layout, PlainLayout)
    with exclusive_lock(path) if needs_lock else nullcontext():
        complete = contents(store, readable=skip_missing)
        videos = sum(map(len, complete.rows.values()))
        if out is None and isinstance(store.layout, layout):
            return PackResult(path, content_digest(store, complete), videos, complete.left_out, True)
        if complete.left_out and not skip_missing:
            count, first = len(complete.left_out), complete.left_out[0]
            hint = "run `vqafeat extract` again, or leave them out with --skip-missing"
            raise StoreError(f"{count} entries of '{path}' are not whole (first: {first}); {hint}.")
        with _replace_in_place(path) if out is None else nullcontext(out) as target:
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = content_digest(store, complete)
            if layout is PackedLayout:
                _Packer(store, target, shard_bytes).write(complete, digest)
            else:
                _write_plain(store, complete, target)
            if content_digest(FeatureStore.open(target)) != digest:
                raise StoreError(f"'{target}' differs from '{path}', which stays as it is; check the disk.")
        if out is not None and failure_log_path(path).is_file():
            failure_log_path(out).write_bytes(failure_log_path(path).read_bytes())
    return PackResult(out or path, digest, videos, complete.left_out)


@contextmanager
def _replace_in_place(path: StorePath) -> Iterator[StorePath]:
    """Yield a path next to a store; what is written there replaces it, and a stop loses nothing."""
    if not isinstance(path, Path):
        raise StoreError(f"'{path}' is in an object store and cannot be replaced; choose another --out.")
    new, old = (path.with_name(f"{path.name}.{age}") for age in ("new", "old"))
    for leftover in (new, old):
        if leftover.exists():
            remove_tree(leftover)
    yield new
    os.sync()  # the new store is on disk before the old one is deleted, in case the machine stops
    path.rename(old)
    new.rename(path)
    remove_tree(old)
    for lock in (".lock", ".writers.lock"):
        new.with_suffix(lock).unlink(missing_ok=True)


def _write_plain(store: FeatureStore, complete: StoreContents, target: StorePath) -> None:
    copy = FeatureStore.create(target, store.dataset)
    for name in complete.timed:
        copy.write_frames(name, FrameTable(store.layout.seconds(name), store.source(name) or {}))
    for feature_set, videos in complete.rows.items():
        copy.add_feature_set(feature_set, store.identity(feature_set))
        for video in videos:
            features = store.read(feature_set, video.video, checked=True)
            copy.write_features(feature_set, video.video, features, video.source_sha256)


class _Packer:
    """Writes what is complete in a store as a packed one; the mark of completeness is written last."""

    def __init__(self, store: FeatureStore, target: StorePath, shard_bytes: int) -> None:
        self._store = store
        attributes = {"dataset": store.dataset.name, "manifest_digest": store.dataset.digest}
        self._root = open_root(target, "w-", {"schema_version": PackedLayout.schema_version, **attributes})
        self._sharded = partial(_ShardWriter, self._root, shard_bytes)

    def write(self, complete: StoreContents, digest: str) -> None:
        """Write labels, frame times and all feature sets, with one shard of an array in memory at a time."""
        dataset = self._store.dataset
        self._root.create_group("labels", attributes=label_attributes(dataset))
        if dataset.stored_permutations is not None:
            self._write_small("labels/permutations", dataset.stored_permutations.astype(np.int32))
        self._root.create_group("frames")
        array = self._sharded("frames/seconds", np.float64)
        table: dict[str, list[Any]] = {name: [] for name in FRAME_COLUMNS}
        for name in complete.timed:
            table["video"].append(name)
            seconds = self._store.layout.seconds(name)
            table["start"].append(array.append(seconds))
            table["rows"].append(len(seconds))
            table["source"].append(json.dumps(self._store.source(name)))
        array.flush()
        self._write_table("frames", FRAME_COLUMNS, table)
        self._root.create_group("features")
        for feature_set in complete.rows:
            self._write_set(feature_set, complete)
        self._root.attrs.update({"content": digest, "complete": True})
        with warnings.catch_warnings():
            # a store on the network opens with one request for it; other readers of Zarr ignore it
            warnings.filterwarnings("ignore", message="Consolidated metadata", category=ZarrUserWarning)
            zarr.consolidate_metadata(self._root.store, zarr_format=3)

    def _write_set(self, feature_set: str, complete: StoreContents) -> None:
        key, videos = f"features/{store_key(feature_set)}", complete.rows[feature_set]
        identity = self._store.identity(feature_set)
        self._root.create_group(key, attributes={"name": feature_set, "identity": identity.as_dict()})
        starts = dict[str, int]()
        for dtype in sorted({video.dtype for video in videos}):
            values = self._sharded(f"{key}/{dtype}/values", np.dtype(dtype).type, (identity.channels,))
            frame = self._sharded(f"{key}/{dtype}/frame", np.int32)
            for name in [video.video for video in videos if video.dtype == dtype]:
                features = self._store.read(feature_set, name, checked=True)
                starts[name] = values.append(features.values)
                frame.append(features.frame)
            values.flush()
            frame.flush()
        table = {
            name: [starts[video.video] if name == "start" else getattr(video, name) for video in videos]
            for name in VIDEO_COLUMNS
        }
        self._write_table(key, VIDEO_COLUMNS, table)

    def _write_table(
        self, group: str, columns: Mapping[str, type], table: Mapping[str, Sequence[Any]]
    ) -> None:
        self._root.create_group(f"{group}/{TABLE}")
        for name, dtype in columns.items():
            values = np.array(table[name], StringDType() if dtype is str else dtype)
            self._write_small(f"{group}/{TABLE}/{name}", values)

    def _write_small(self, key: str, values: npt.NDArray[Any]) -> None:
        chunks, codecs = (max(1, len(values)), *values.shape[1:]), [ZstdCodec(), Crc32cCodec()]
        self._root.create_array(key, data=values, chunks=chunks, compressors=codecs, **ARRAY_OPTIONS)


class _ShardWriter:
    """Appends rows to a sharded array; keeps one shard in memory."""

    def __init__(
        self, root: zarr.Group, shard_bytes: int, key: str, dtype: type, row_shape: tuple[int, ...] = ()
    ) -> None:
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(row_shape))
        if row_bytes > shard_bytes:
            raise ArgumentError(f"--shard-size {shard_bytes}: a row of '{key}' needs {row_bytes} bytes.")
        chunk_rows = max(1, min(CHUNK_BYTES if row_shape else SHORT_CHUNK_BYTES, shard_bytes) // row_bytes)
        shard_rows = shard_bytes // row_bytes // chunk_rows * chunk_rows
        self._array = root.create_array(
            key,
            shape=(0, *row_shape),
            dtype=dtype,
            chunks=(chunk_rows, *row_shape),
            shards=(shard_rows, *row_shape),
            compressors=[Crc32cCodec()],
            **ARRAY_OPTIONS,
        )
        self._buffer: npt.NDArray[Any] = np.empty((shard_rows, *row_shape), dtype)
        self._filled = self._written = 0

    def append(self, rows: npt.NDArray[Any]) -> int:
        """Add rows after the last one, and return the index of the first of them."""
        start = self._written + self._filled
        while len(rows):
            part = rows[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]
            if self._filled == len(self._buffer):
                self.flush()
        return start

    def flush(self) -> None:
        """Write the rows in memory."""
        if self._filled:
            end = self._written + self._filled
            self._array.resize((end, *self._array.shape[1:]))
            self._array[self._written : end] = self._buffer[: self._filled]
            self._written, self._filled = end, 0
