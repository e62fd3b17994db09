"""Copies of stores at a URL: made once, found again, bounded, removed by age, left alone while they are
read.
"""

import itertools
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.datasets import bare_dataset
from tests.helpers.s3 import LoopbackS3
from tests.helpers.small_stores import IDENTITY, NAMES, ROWS, at, features, filled, frame_table, values_of
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.remote import RemoteFile, cache_folder
from vqafeat.store import FeatureStore, content_digest, pack_store, verify_store
from vqafeat.store.cache import Cache, cached_copy
from vqafeat.store.types import VideoFeatures


@pytest.fixture
def packed(s3: LoopbackS3, tmp_path: Path) -> FeatureStore:
    return FeatureStore.open(pack_store(filled(tmp_path / "small.zarr").path, at(s3) / "small.zarr").path)


def test_cached_copy__is_made_once_and_equal(packed: FeatureStore, s3: LoopbackS3, tmp_path: Path) -> None:
    messages, cache = list[str](), Cache(tmp_path / "cache")
    with cached_copy(packed, ["tiny"], cache, messages.append) as copy:
        assert isinstance(copy.path, Path)
        assert copy.path.is_relative_to(tmp_path / "cache")
        assert content_digest(copy) == packed.content
    assert messages == [f"copying 0.00 GiB of s3://bucket/features/small.zarr to {copy.path.parent}, once"]
    with s3.seen() as requests, cached_copy(packed, ["tiny"], cache, messages.append) as again:
        np.testing.assert_array_equal(again.read("tiny", "a.mp4").values, values_of(0).values)
    assert (again.path, requests) == (copy.path, [])
    assert messages[1:] == [f"reading the copy of s3://bucket/features/small.zarr in {copy.path.parent}"]


@pytest.mark.parametrize("layout", ["plain", "packed"])
def test_cached_copy__resumes_a_stopped_copy(
    layout: str, packed: FeatureStore, s3: LoopbackS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = packed if layout == "packed" else filled(at(s3) / "plain" / "small.zarr")
    cache, fetch, came, number = Cache(tmp_path / "cache"), RemoteFile.fetch, list[str](), itertools.count()

    def fetching(file: RemoteFile, to: Path) -> None:
        if "/c/0" not in str(file) or next(number) >= 4:
            raise KeyboardInterrupt
        fetch(file, to)
        came.append(str(file))

    monkeypatch.setattr(RemoteFile, "fetch", fetching)
    with pytest.raises(KeyboardInterrupt), cached_copy(store, ["tiny"], cache, lambda _: None):
        pass
    monkeypatch.undo()
    with s3.seen() as requests, cached_copy(store, ["tiny"], cache, lambda _: None) as copy:
        assert content_digest(copy) == packed.content
    assert came
    assert not {f"GET /{name.removeprefix('s3://')}" for name in came}.intersection(requests)


def test_cached_copy__of_a_plain_store_holds_only_what_is_needed(s3: LoopbackS3, tmp_path: Path) -> None:
    names = [*NAMES, "not yet.mp4", "Grüße 🎬\n#1?.zarr", ".hidden.mp4"]
    store = FeatureStore.create(at(s3) / "small.zarr", bare_dataset(names))
    with store.exclusive():
        for feature_set in ("tiny", "other"):
            store.add_feature_set(feature_set, IDENTITY)
        for number, name in enumerate(names):
            store.write_frames(name, frame_table(2 * ROWS[number % 2], sha256=f"{number}"))
            store.write_features(
                "tiny", name, values_of(number % 2), f"{number}" if name != names[2] else "of another file"
            )
        store.write_features("other", names[0], values_of(1), "0")
    whole = [name for name in names if name != names[2]]
    with (
        s3.seen() as requests,
        cached_copy(store, ["tiny"], Cache(tmp_path / "cache"), lambda _: None) as copy,
    ):
        assert (copy.feature_sets(), copy.complete_videos("tiny")) == (["tiny"], whole)
        assert [path.name for path in (copy.path / "features").glob("*/")] == ["tiny"]
        assert (copy.source("d/e.mp4"), copy.dataset.videos) == (
            store.source("d/e.mp4"),
            store.dataset.videos,
        )
        assert list(verify_store(copy)) == []
        for name in whole:
            np.testing.assert_array_equal(copy.read("tiny", name).values, store.read("tiny", name).values)
    assert not [request for request in requests if "not yet" in request and not request.endswith("zarr.json")]


def test_cached_copy__of_a_packed_store_holds_only_what_is_needed(s3: LoopbackS3, tmp_path: Path) -> None:
    plain = filled(tmp_path / "small.zarr")
    with plain.exclusive():
        written = FeatureStore.open(plain.path, writable=True)
        written.add_feature_set("other", IDENTITY)
        written.write_features("other", NAMES[0], values_of(0), "0")
    store = FeatureStore.open(pack_store(plain.path, at(s3) / "small.zarr", skip_missing=True).path)
    cache = Cache(tmp_path / "cache")
    with cached_copy(store, ["tiny"], cache, lambda _: None) as part:
        assert (part.feature_sets(), part.complete_videos("tiny"), part.content) == (["tiny"], NAMES, "")
        assert [path.name for path in (part.path / "features").glob("*/")] == ["tiny"]
        assert list(verify_store(part)) == []
    with cached_copy(store, ["tiny", "other"], cache, lambda _: None) as both:
        assert (both.feature_sets(), both.content) == (["other", "tiny"], store.content)


def test_cached_copy__follows_no_keys_that_lead_out_of_its_folder(
    packed: FeatureStore, s3: LoopbackS3, tmp_path: Path
) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=s3.url)
    outside = tmp_path / "outside"
    for key in (f"/{outside}", "labels/../../../../../outside", "labels/./outside", f"frames/{outside}"):
        client.put_object(Bucket="bucket", Key=f"features/small.zarr/{key}", Body=b"evil")
    client.close()
    with cached_copy(packed, ["tiny"], Cache(tmp_path / "cache"), lambda _: None) as copy:
        assert content_digest(copy) == packed.content
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize(
    ("layout", "part", "problem"),
    [
        ("packed", "/values/c/", "checksum"),
        ("packed", "/frames/seconds/c/", "checksum"),
        ("plain", "d%2Fe.mp4/values/c/", "checksum"),
        ("plain", "frames/d%2Fe.mp4/c/", "checksum"),
        ("plain", "frames/d%2Fe.mp4/zarr.json", "the rows of 'd/e.mp4' differ from those at the URL"),
        ("plain", "features/tiny/zarr.json", "feature set 'tiny' is not in"),
        ("plain", "features/tiny/d%2Fe.mp4/zarr.json", "the rows of 'd/e.mp4' differ from those at the URL"),
        ("plain", "labels/zarr.json", "the labels in .* are missing or damaged"),
        ("plain", "labels/permutations/c/", "the labels in .* are missing or damaged"),
    ],
)
def test_cached_copy__reports_and_drops_what_arrives_damaged(
    layout: str, part: str, problem: str, s3: LoopbackS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = np.array([[0, 1], [1, 0]])
    local = filled(tmp_path / "with splits.zarr", stored_permutations=splits)
    if layout == "packed":
        store = FeatureStore.open(pack_store(local.path, at(s3) / "small.zarr").path)
    else:
        store = filled(at(s3) / "small.zarr", stored_permutations=splits)
    cache, fetch, damaged = Cache(tmp_path / "cache"), RemoteFile.fetch, list[str]()

    def damaging(file: RemoteFile, to: Path) -> None:
        fetch(file, to)
        if part in str(file):
            damaged.append(str(file))
            to.write_bytes(b"\x01" + to.read_bytes()[1:])
            os.utime(to, ns=(file.modified_ns, file.modified_ns))

    monkeypatch.setattr(RemoteFile, "fetch", damaging)
    damage = r"'s3://.*/small.zarr' came damaged or was changed while it was copied"
    message = rf"{damage} \(.*{problem}.*; run the same command again"
    with pytest.raises(StoreError, match=message), cached_copy(store, ["tiny"], cache, lambda _: None):
        pass
    assert len(damaged) == 1
    monkeypatch.undo()
    with s3.seen() as requests, cached_copy(store, ["tiny"], cache, lambda _: None) as copy:
        assert content_digest(copy) == content_digest(local)
    whole = [request for request in requests if "a.mp4" in request and "/c/0" in request]
    assert layout == "packed" or not whole  # of a plain store, only what was damaged is requested again


def test_cached_copy__fetches_again_what_was_rewritten_after_a_stop(
    s3: LoopbackS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache, read = filled(at(s3) / "small.zarr"), Cache(tmp_path / "cache"), FeatureStore.read
    other = VideoFeatures(values_of(0).values + 1, values_of(0).frame)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "read", stopped)
    with pytest.raises(KeyboardInterrupt), cached_copy(store, ["tiny"], cache, lambda _: None):
        pass
    monkeypatch.setattr(FeatureStore, "read", read)
    time.sleep(1.1)  # an object store tells times in seconds
    with store.exclusive():
        FeatureStore.open(store.path, writable=True).write_features("tiny", NAMES[0], other, "0")
    with cached_copy(FeatureStore.open(store.path), ["tiny"], cache, lambda _: None) as copy:
        np.testing.assert_array_equal(copy.read("tiny", NAMES[0]).values, other.values)


@pytest.mark.parametrize("change", ["gone", "of another size"])
def test_cached_copy__reports_what_changes_while_it_is_copied(
    change: str, s3: LoopbackS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fetch = filled(at(s3) / "small.zarr"), RemoteFile.fetch
    changed = store.path / "features" / "tiny" / "a.mp4" / "values" / "c" / "0" / "0"

    def changing(file: RemoteFile, to: Path) -> None:
        if str(file) == str(changed):
            changed.unlink() if change == "gone" else changed.write_bytes(b"other")
        fetch(file, to)

    monkeypatch.setattr(RemoteFile, "fetch", changing)
    with (
        pytest.raises(
            StoreError, match=r"a.mp4/values/c/0/0' changed while it was copied .*; run the command again"
        ),
        cached_copy(store, ["tiny"], Cache(tmp_path / "cache"), lambda _: None),
    ):
        pass


def test_cached_copy__of_another_content_is_another_copy(s3: LoopbackS3, tmp_path: Path) -> None:
    store, cache = filled(at(s3) / "small.zarr"), Cache(tmp_path / "cache")
    with cached_copy(store, ["tiny"], cache, lambda _: None) as first:
        pass
    with store.exclusive():
        FeatureStore.open(store.path, writable=True).write_features("tiny", NAMES[0], features(3), "0")
    with cached_copy(FeatureStore.open(store.path), ["tiny"], cache, lambda _: None) as second:
        assert second.path != first.path
        np.testing.assert_array_equal(second.read("tiny", NAMES[0]).values, features(3).values)


def test_cached_copy__reads_in_place_what_is_larger_than_the_cache(
    packed: FeatureStore, tmp_path: Path
) -> None:
    messages = list[str]()
    with cached_copy(packed, ["tiny"], Cache(tmp_path / "cache", 10), messages.append) as same:
        assert same is packed
    assert messages == [
        "0.00 GiB of s3://bucket/features/small.zarr exceed the 0.00 GiB of --cache; each access reads "
        "it there"
    ]
    assert not (tmp_path / "cache").exists()


def test_cached_copy__removes_the_oldest_copy_that_nobody_reads(
    s3: LoopbackS3, packed: FeatureStore, tmp_path: Path
) -> None:
    size = sum(info.bytes for name in NAMES if (info := packed.stored("tiny", name)))
    messages, cache = list[str](), Cache(tmp_path / "cache", size + 1)
    shutil.copytree(tmp_path / "small.zarr", tmp_path / "other" / "small.zarr")
    other = FeatureStore.open(
        pack_store(tmp_path / "other" / "small.zarr", at(s3) / "other" / "small.zarr").path
    )
    with (
        cached_copy(packed, ["tiny"], cache, messages.append) as first,
        cached_copy(other, ["tiny"], cache, messages.append) as second,
    ):
        assert second is other
        assert messages[-1].startswith("copies in use leave no room")
    with cached_copy(other, ["tiny"], cache, messages.append) as second:
        assert isinstance(second.path, Path)
    assert not first.path.exists()
    assert any(message.startswith(f"removing the copy {first.path.parent}") for message in messages)


def test_cached_copy__leaves_a_local_store_where_it_is(tmp_path: Path) -> None:
    store = filled(tmp_path / "small.zarr")
    with cached_copy(store, ["tiny"], Cache(tmp_path / "cache"), print) as same:
        assert same is store


def test_cache_folder__follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("stores") == tmp_path / "vqafeat" / "stores"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("stores") == Path.home() / ".cache" / "vqafeat" / "stores"
    with pytest.raises(ArgumentError, match="--cache is -1 bytes; it has to be 0 or more"):
        Cache(tmp_path, -1)
    assert Cache(tmp_path / "new").limit_bytes > 0
