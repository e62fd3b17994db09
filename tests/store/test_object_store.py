"""Stores at a URL: written, packed, read, refused and retried on a loopback S3."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.s3 import LoopbackS3
from tests.helpers.small_stores import NAMES, at, filled, values_of
from vqafeat.errors import StoreError
from vqafeat.extraction.results import Failure, FailureLog, read_failure_log
from vqafeat.remote import parse_path
from vqafeat.store import FeatureStore, content_digest, pack_store, stores_in, unpack_store, verify_store
from vqafeat.store.zarr_io import failure_log_path


def test_feature_store__is_written_read_and_verified_at_a_url(s3: LoopbackS3, tmp_path: Path) -> None:
    remote, local = filled(at(s3) / "small.zarr"), filled(tmp_path / "small.zarr")
    assert content_digest(remote) == content_digest(local)
    assert (remote.feature_sets(), remote.complete_videos("tiny")) == (["tiny"], NAMES)
    with s3.seen() as requests:
        np.testing.assert_array_equal(remote.read("tiny", "a.mp4").values, values_of(0).values)
    assert [request.split()[0] for request in requests] == [
        "GET",
        "GET",
        "GET",
    ]  # metadata of the rows, the rows, and their frames
    assert list(verify_store(remote)) == []
    assert [str(path) for path in stores_in(at(s3))] == ["s3://bucket/features/small.zarr"]
    chunk = remote.path / "features/tiny/d%2Fe.mp4/values/c/0/0"
    chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])
    assert any(problem.startswith("features/tiny/d%2Fe.mp4/values") for problem in verify_store(remote))
    with pytest.raises(StoreError, match="does not have its checksum"):
        remote.read("tiny", "d/e.mp4")
    chunk.unlink()
    with pytest.raises(StoreError, match="is missing or empty; run `vqafeat verify`"):
        remote.read("tiny", "d/e.mp4")


def test_pack_store__to_a_url_keeps_content_and_failure_log(s3: LoopbackS3, tmp_path: Path) -> None:
    local = filled(tmp_path / "small.zarr")
    failure_log_path(local.path).write_text("{}\n")
    done = pack_store(local.path, at(s3) / "small.zarr")
    assert failure_log_path(done.path).read_text() == "{}\n"
    packed = FeatureStore.open(at(s3) / "small.zarr")
    assert (packed.content, content_digest(packed)) == (done.digest, done.digest)
    assert list(verify_store(packed)) == []
    assert unpack_store(packed.path, tmp_path / "back.zarr").digest == done.digest


def test_read__of_a_packed_store_at_a_url_takes_few_requests(s3: LoopbackS3, tmp_path: Path) -> None:
    pack_store(filled(tmp_path / "small.zarr").path, at(s3) / "small.zarr")
    with s3.seen() as requests:
        packed = FeatureStore.open(at(s3) / "small.zarr")
        assert (packed.feature_sets(), packed.complete_videos("tiny"), packed.dataset.name) == (
            ["tiny"],
            NAMES,
            "small",
        )
    assert len(requests) <= 22  # two tables of four and five arrays, however many videos there are
    with s3.seen() as requests:
        first = packed.read("tiny", "a.mp4")
    assert len(requests) == 4  # index and rows, of values and of frames
    with s3.seen() as requests:
        np.testing.assert_array_equal(packed.read("tiny", "d/e.mp4").values, values_of(1).values)
    assert len(requests) == 2
    np.testing.assert_array_equal(first.values, values_of(0).values)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(packed)).read("tiny", "a.mp4").values, first.values
    )


def test_open__takes_the_text_of_a_url(s3: LoopbackS3, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(at(s3) / "small.zarr")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    store = FeatureStore.open("s3://bucket/features/small.zarr")
    assert (repr(store), store.complete_videos("tiny")) == ("small: 2 videos; tiny (6)", NAMES)


def test_read__reports_a_damaged_shard_at_a_url(s3: LoopbackS3, tmp_path: Path) -> None:
    packed = FeatureStore.open(pack_store(filled(tmp_path / "small.zarr").path, at(s3) / "small.zarr").path)
    shard = packed.path / "features/tiny/float16/values/c/0/0"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    with pytest.raises(StoreError, match="checksum"):
        FeatureStore.open(packed.path).read("tiny", "a.mp4")
    assert any(problem.startswith("tiny/a.mp4") for problem in verify_store(FeatureStore.open(packed.path)))
    shard.unlink()
    with pytest.raises(StoreError, match="it is missing or empty"):
        FeatureStore.open(packed.path).read("tiny", "a.mp4")


def test_pack_store__refuses_packing_in_place_at_a_url(s3: LoopbackS3) -> None:
    store = filled(at(s3) / "small.zarr")
    with pytest.raises(
        StoreError, match=r"is in an object store and cannot be replaced; choose another --out"
    ):
        pack_store(store.path)
    assert content_digest(FeatureStore.open(store.path))


def test_exclusive__refuses_a_second_writer_at_a_url(s3: LoopbackS3) -> None:
    store = filled(at(s3) / "small.zarr")
    with (
        store.exclusive(),
        pytest.raises(
            StoreError, match=r"another process .*\(process \d+ on .*delete 's3://bucket/features/small.lock'"
        ),
    ):
        store.exclusive().__enter__()
    with store.exclusive():
        pass


def test_feature_store__repeats_requests_on_busy_replies(s3: LoopbackS3, tmp_path: Path) -> None:
    pack_store(filled(tmp_path / "small.zarr").path, at(s3) / "small.zarr")
    packed = FeatureStore.open(at(s3) / "small.zarr")
    s3.refused = 3
    np.testing.assert_array_equal(packed.read("tiny", "a.mp4").values, values_of(0).values)
    assert s3.refused == 0


def test_feature_store__gives_up_and_repeats_slow_replies(s3: LoopbackS3, tmp_path: Path) -> None:
    pack_store(filled(tmp_path / "small.zarr").path, at(s3) / "small.zarr")
    packed = FeatureStore.open(
        at(s3, 'config_kwargs={"read_timeout": 2, "retries": {"max_attempts": 3}}') / "small.zarr"
    )
    assert packed.complete_videos("tiny") == NAMES
    s3.delayed, s3.delay_seconds = 1, 6.0
    with s3.seen() as requests:
        np.testing.assert_array_equal(packed.read("tiny", "a.mp4").values, values_of(0).values)
    assert len(requests) >= 5  # four, and what was given up; a busy machine may be slow in others


def test_feature_store__unreachable_storage_is_a_store_error(
    s3: LoopbackS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = 'config_kwargs={"connect_timeout": 1, "retries": {"max_attempts": 0}}'
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    filled(at(s3) / "small.zarr")
    s3.refused = 1000
    with pytest.raises(
        StoreError, match=r"'s3://bucket/features/small.zarr' cannot be reached .*AWS_ACCESS_KEY_ID"
    ) as caught:
        FeatureStore.open(at(s3, once) / "small.zarr")
    assert "secret" not in str(caught.value)
    nowhere = parse_path("s3://bucket/features", ["endpoint_url=http://127.0.0.1:9", once])
    with pytest.raises(StoreError, match=r"cannot be reached .*--storage-option endpoint_url"):
        FeatureStore.open(nowhere / "small.zarr")
    s3.refused = 0


def test_failure_log__at_a_url_is_one_object(s3: LoopbackS3) -> None:
    path = at(s3) / "small.failures.jsonl"
    failure_log = FailureLog(path, ["a"])
    for name in ("a", "b"):
        failure_log.add(Failure(name, f"/videos/{name}", "damaged", "it breaks"))
    assert [failure.video for failure in read_failure_log(path)] == ["a", "b"]
    FailureLog(path, ["a"])
    assert [failure.video for failure in read_failure_log(path)] == ["b"]
