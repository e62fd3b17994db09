"""The store: read back through plain Zarr, damaged on purpose, and stopped halfway."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.helpers.datasets import bare_dataset
from tests.helpers.s3 import LoopbackS3
from tests.helpers.small_stores import IDENTITY, features, frame_table
from vqafeat.errors import ArgumentError, IdentityError, StoreError
from vqafeat.remote import parse_path
from vqafeat.store import (
    FeatureStore,
    open_store,
    pack_store,
    problems,
    remove_partial_files_after_workers,
    store_key,
    store_path,
    verify_store,
    worker_lock,
)
from vqafeat.store.types import FeatureSetIdentity, FrameTable, StoredVideo, VideoFeatures


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore.create(tmp_path / "small.zarr", bare_dataset(["a.mp4", "b/c.mp4"]))
    made.add_feature_set("tiny", IDENTITY)
    return made


def fill(store: FeatureStore, video: str = "a.mp4", seed: int = 0) -> VideoFeatures:
    written = features(seed=seed)
    store.write_frames(video, frame_table())
    store.write_features("tiny", video, written, "aa")
    return written


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_read__by_mapping_and_by_plain_zarr_gives_what_was_written(store: FeatureStore, dtype: type) -> None:
    written = features(dtype=dtype)
    store.write_frames("b/c.mp4", frame_table())
    store.write_features("tiny", "b/c.mp4", written, "aa")
    read = FeatureStore.open(store.path).read("tiny", "b/c.mp4")
    np.testing.assert_array_equal(read.values, written.values)
    assert (read.values.dtype, isinstance(read.values, np.memmap)) == (dtype, True)
    plain = zarr.open(store.path, mode="r")
    np.testing.assert_array_equal(plain["features/tiny/b%2Fc.mp4/values"][...], written.values)
    np.testing.assert_array_equal(plain["features/tiny/b%2Fc.mp4/frame"][...], [0, 1, 2, 3])
    np.testing.assert_array_equal(plain["frames/b%2Fc.mp4"][...], store.seconds("b/c.mp4"))
    assert plain["features/tiny/b%2Fc.mp4/values"].nchunks == 1


def test_write_features__writes_out_rows_of_zeros(store: FeatureStore) -> None:
    store.write_frames("a.mp4", frame_table())
    store.write_features(
        "tiny", "a.mp4", VideoFeatures(np.zeros((4, 6), np.float16), np.arange(4, dtype=np.int32)), "aa"
    )
    assert not store.read("tiny", "a.mp4").values.any()
    assert list(verify_store(store)) == []


def test_create__stores_the_labels(tmp_path: Path) -> None:
    dataset = replace(bare_dataset(["a", "b", "c"]), stored_permutations=np.array([[2, 0], [1, 1], [0, 2]]))
    FeatureStore.create(tmp_path / "small.zarr", dataset)
    stored = FeatureStore.open(tmp_path / "small.zarr").dataset
    assert stored.videos == dataset.videos
    assert (stored.name, stored.score_name, stored.mos_range, stored.digest) == (
        dataset.name,
        "MOS",
        dataset.mos_range,
        dataset.digest,
    )
    np.testing.assert_array_equal(stored.stored_permutations, dataset.stored_permutations)


@pytest.mark.parametrize(
    ("node", "old", "new"),
    [
        ("features/tiny", '"rows": 4', '"rows": 0'),
        ("features/tiny", '"rows": 4', '"rows": 5'),
        ("features/tiny", '"rows"', '"rowz"'),
        ("frames", '"source"', '"sourze"'),
        ("frames", '"sha256"', '"sha257"'),
        ("frames", '"shape"', '"shapz"'),
    ],
)
def test_verify_store__reports_metadata_with_a_wrong_letter(
    store: FeatureStore, node: str, old: str, new: str
) -> None:
    fill(store)
    path = store.path / node / "a.mp4" / "zarr.json"
    path.write_text(path.read_text().replace(old, new))
    assert {video for video, _ in problems(store)} == {"a.mp4"}
    assert store.is_complete("tiny", "a.mp4") == (new in ('"rows": 5', '"shapz"'))


def test_verify_store__allows_the_repeated_frames_of_short_clips(store: FeatureStore) -> None:
    store.write_frames("a.mp4", frame_table())
    frame = np.array([0, 0, 1, 1], np.int32)
    store.write_features("tiny", "a.mp4", replace(features(), frame=frame), "aa")
    assert list(verify_store(store)) == []


def test_create__renews_the_labels_of_a_store_at_a_url(s3: LoopbackS3) -> None:
    path = parse_path("s3://bucket/small.zarr", [f"endpoint_url={s3.url}"])
    former = bare_dataset(["a", "b"])
    FeatureStore.create(path, former)
    changed = replace(former, title="with another title", digest="other")
    assert FeatureStore.create(path, changed).dataset.title == "with another title"


@pytest.mark.parametrize("damage", [b"\x07", b"", None])
def test_create__renews_damaged_splits(damage: bytes | None, tmp_path: Path) -> None:
    dataset = replace(bare_dataset(["a", "b"]), stored_permutations=np.array([[0, 1], [1, 0]]))
    path = FeatureStore.create(tmp_path / "small.zarr", dataset).path
    chunk = tmp_path / "small.zarr/labels/permutations/c/0/0"
    if damage is None:
        chunk.unlink()
    else:
        chunk.write_bytes(damage + chunk.read_bytes()[1:] * bool(damage))
    with pytest.raises(StoreError, match=r"the labels in .* are missing or damaged; run `vqafeat extract`"):
        _ = FeatureStore.open(path).dataset
    renewed = FeatureStore.create(path, dataset).dataset
    np.testing.assert_array_equal(renewed.stored_permutations, dataset.stored_permutations)


def test_feature_store_repr__names_videos_and_feature_sets(store: FeatureStore) -> None:
    assert repr(store) == "small: 2 videos; tiny (6)"
    store.add_feature_set("tiny:other@full", replace(IDENTITY, channels=512))
    assert repr(FeatureStore.open(store.path)) == "small: 2 videos; tiny (6), tiny:other@full (512)"
    pack_store(store.path, skip_missing=True)
    assert repr(FeatureStore.open(store.path)) == "small: 2 videos; tiny (6), tiny:other@full (512)"


def test_feature_store_repr__works_without_features_or_labels(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "bare.zarr", bare_dataset(["a"]))
    assert repr(store) == "small: 1 videos; no features"
    (store.path / "labels" / "zarr.json").write_text("{")
    assert repr(FeatureStore.open(store.path)) == "small: labels are missing; no features"


def test_open_store__takes_text_or_path(tmp_path: Path) -> None:
    created = FeatureStore.create(str(tmp_path / "small.zarr"), bare_dataset(["a"]))
    assert created.path == tmp_path / "small.zarr"
    assert open_store(str(created.path)).path == open_store(created.path).path == created.path
    assert FeatureStore.open(str(created.path), writable=True).dataset_name == "small"
    assert pack_store(str(created.path), str(tmp_path / "packed.zarr")).path == tmp_path / "packed.zarr"


def test_create__renews_changed_labels_and_keeps_features(store: FeatureStore) -> None:
    fill(store)
    more = bare_dataset(["a.mp4", "b/c.mp4", "d.mp4"])
    again = FeatureStore.create(store.path, more)
    assert again.dataset.videos == more.videos
    assert again.complete_videos("tiny") == ["a.mp4"]


def test_create__refuses_a_store_within_a_store(store: FeatureStore) -> None:
    folder = store.path.parent
    message = f"'{store.path}' is a store, not a folder of stores; name its folder, '{folder}', with --store"
    with pytest.raises(StoreError, match=re.escape(message)):
        FeatureStore.create(store.path / "small.zarr", bare_dataset(["a.mp4"]))
    assert not (store.path / "small.zarr").exists()


def test_create__refuses_another_data_set_of_the_same_name(store: FeatureStore) -> None:
    with pytest.raises(
        StoreError, match=r"holds another data set called 'small': 0 of its 2 videos are in the new one"
    ):
        FeatureStore.create(store.path, bare_dataset(["x", "y"]))
    turned = bare_dataset(["b/c.mp4", "a.mp4"])
    with pytest.raises(
        StoreError,
        match=r"2 of its 2 videos are in the new one, 2 of those with another label. Give one of the two "
        r"another name",
    ):
        FeatureStore.create(store.path, turned)
    assert FeatureStore.open(store.path).dataset.videos[0].name == "a.mp4"


def test_verify_store__reports_damaged_metadata(store: FeatureStore) -> None:
    fill(store)
    node = store.path / "features" / "tiny" / "a.mp4" / "zarr.json"
    node.write_text("")
    assert store.complete_videos("tiny") == []
    assert any(
        "features/tiny/a.mp4" in problem or "tiny/a.mp4: not complete" in problem
        for problem in verify_store(store)
    )
    (store.path / "labels" / "zarr.json").write_text("{")
    with pytest.raises(StoreError, match=r"the labels in .* are missing or damaged; run `vqafeat extract`"):
        _ = FeatureStore.open(store.path).dataset
    renewed = FeatureStore.create(store.path, bare_dataset(["a.mp4", "b/c.mp4"]))
    assert len(renewed.dataset.videos) == 2
    (store.path / "features" / "tiny" / "zarr.json").write_text("")
    assert any("features/tiny: its zarr.json is damaged" in problem for problem in verify_store(store))
    (store.path / "zarr.json").write_text("")
    with pytest.raises(StoreError, match=r"zarr.json' is damaged"):
        FeatureStore.open(store.path)


def test_create__keeps_the_features_of_a_store_without_its_metadata(store: FeatureStore) -> None:
    fill(store)
    (store.path / "zarr.json").write_text("")
    dataset = bare_dataset(["a.mp4", "b/c.mp4"])
    with pytest.raises(StoreError, match=r"delete this file and extract again, which keeps the features"):
        FeatureStore.create(store.path, dataset)
    (store.path / "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"is no feature store \(stores in this folder: none\)"):
        FeatureStore.open(store.path)
    assert FeatureStore.create(store.path, dataset).complete_videos("tiny") == ["a.mp4"]


def test_is_complete__needs_the_mark(store: FeatureStore) -> None:
    fill(store)
    group = zarr.open_group(store.path / "features" / "tiny" / "a.mp4")
    group.attrs.put({key: value for key, value in group.attrs.items() if key != "complete"})
    assert store.complete_videos("tiny") == []
    with pytest.raises(
        StoreError, match=r"video 'a.mp4' is not complete in feature set 'tiny'.*run `vqafeat extract` again"
    ):
        store.read("tiny", "a.mp4")
    assert any("not complete" in problem for problem in verify_store(store))


def test_is_complete__is_false_for_features_of_a_replaced_file(store: FeatureStore) -> None:
    fill(store)
    store.write_frames("a.mp4", frame_table(sha256="bb"))
    assert not store.is_complete("tiny", "a.mp4")
    assert any("made from another file" in problem for problem in verify_store(store))


def test_is_complete__is_false_after_a_stop_while_frames_are_rewritten(store: FeatureStore) -> None:
    fill(store)
    shutil.rmtree(store.path / "frames" / "a.mp4")
    assert not store.is_complete("tiny", "a.mp4")


def test_add_feature_set__refuses_another_identity_and_prints_both(store: FeatureStore) -> None:
    store.add_feature_set("tiny", replace(IDENTITY, weights="other words", origin="imported"))
    with pytest.raises(
        IdentityError, match=r"weights_sha256: 'ab' against 'cd'; decoder: 'PyAV' against 'new'"
    ):
        store.add_feature_set("tiny", replace(IDENTITY, weights_sha256="cd", decoder="new"))


def test_feature_set_identity__survives_json_and_digests_what_is_compared() -> None:
    assert FeatureSetIdentity(**json.loads(json.dumps(IDENTITY.as_dict()))) == IDENTITY
    assert replace(IDENTITY, weights="x").digest() == IDENTITY.digest()
    assert replace(IDENTITY, view="crops").digest() != IDENTITY.digest()
    with pytest.raises(ArgumentError, match="channels of 'tiny' is 0"):
        replace(IDENTITY, channels=0)


def test_verify_store__finds_flipped_bytes_cut_chunks_and_missing_ones(store: FeatureStore) -> None:
    chunk = store.path / "features" / "tiny" / "a.mp4" / "values" / "c" / "0" / "0"
    for damage in (lambda data: bytes([data[0] ^ 1]) + data[1:], lambda data: data[:-6]):
        fill(store)
        assert list(verify_store(store)) == []
        chunk.write_bytes(damage(chunk.read_bytes()))
        assert [problem for problem in verify_store(store) if "features/tiny/a.mp4/values" in problem]
    with pytest.raises(StoreError, match=r"has 46 bytes instead of 52; run `vqafeat verify`"):
        store.read("tiny", "a.mp4")
    chunk.unlink()
    assert list(verify_store(store)) == ["features/tiny/a.mp4/values: a chunk is missing"]
    with pytest.raises(StoreError, match=r"values/c/0/0' is missing or empty; run `vqafeat verify`"):
        store.read("tiny", "a.mp4")


def test_write_features__refuses_rows_that_do_not_fit(store: FeatureStore) -> None:
    with pytest.raises(StoreError, match="not finite as float16; store them with --dtype float32"):
        store.write_features(
            "tiny", "a.mp4", VideoFeatures(np.full((1, 6), np.inf, np.float16), np.zeros(1, np.int32)), "aa"
        )
    with pytest.raises(StoreError, match="has 5 channels, feature set 'tiny' has 6"):
        store.write_features(
            "tiny", "a.mp4", VideoFeatures(np.ones((1, 5), np.float16), np.zeros(1, np.int32)), "aa"
        )
    for values, frame, message in (
        (np.ones((2, 6), np.float16), np.zeros(1, np.int32), r"shapes \(2, 6\) and \(1,\) are not"),
        (np.ones((2, 6)), np.zeros(2, np.int32), "float16 or 32"),
        (np.ones((0, 6), np.float16), np.zeros(0, np.int32), "at least one row"),
    ):
        with pytest.raises(ArgumentError, match=message):
            VideoFeatures(values, frame)
    with pytest.raises(ArgumentError, match="is empty or not"):
        FrameTable(np.zeros(0), {"sha256": ""})
    with pytest.raises(ArgumentError, match="'sha256'"):
        FrameTable(np.zeros(1), {})


def test_stored_video__refuses_metadata_that_make_no_sense() -> None:
    assert StoredVideo("a.mp4", 2, 6, "float16", "").bytes == 2 * (6 * 2 + 4)
    for rows, channels, dtype in ((0, 6, "float16"), (2, 0, "float16"), (2, 6, "int8")):
        shape = f"metadata of video 'a.mp4' are damaged: {rows} rows of {channels} channels as '{dtype}'"
        with pytest.raises(StoreError, match=f"{shape}; extract it again"):
            StoredVideo("a.mp4", rows, channels, dtype, "")


@pytest.mark.parametrize(
    ("node", "values", "problem"),
    [
        ("frame", [0, 2, 1, 3], "tiny/a.mp4: frame indices decrease"),
        ("frame", [0, 1, 2, 9], "tiny/a.mp4: row of frame 9, but only 4 frames were decoded"),
        ("values", np.nan, "features/tiny/a.mp4/values: holds NaN or infinity"),
    ],
    ids=["order", "beyond", "nan"],
)
def test_verify_store__reports_rows_that_make_no_sense(
    store: FeatureStore, node: str, values: object, problem: str
) -> None:
    fill(store)
    zarr.open_array(store.path / "features" / "tiny" / "a.mp4" / node, mode="r+")[...] = values
    assert list(verify_store(store)) == [problem]


def test_content__of_a_store_that_may_change_is_empty(store: FeatureStore) -> None:
    assert store.content == ""


def test_feature_store__wrong_stores_are_named_with_the_next_step(
    tmp_path: Path, store: FeatureStore
) -> None:
    with pytest.raises(
        StoreError, match=r"none.zarr' does not exist \(stores in this folder: .*small.zarr\); give the path"
    ):
        FeatureStore.open(tmp_path / "none.zarr")
    with pytest.raises(StoreError, match="holds the data set 'small', not 'other'"):
        FeatureStore.create(store.path, bare_dataset(["a"], name="other"))
    with pytest.raises(StoreError, match=r"feature set 'huge' is not in .* \(there: tiny\)"):
        store.identity("huge")
    zarr.open_group(store.path).attrs["schema_version"] = 99
    with pytest.raises(StoreError, match="schema version 99, this vqafeat reads 1"):
        FeatureStore.open(store.path)


@pytest.mark.parametrize(
    "name",
    [
        "../../x.mp4",
        "/etc/passwd",
        ".hidden",
        "__init__",
        "a\nb.mp4",
        "x" * 255,
        "😀" * 60,
        "a%2Fb",
        "c:d",
        "a\\b",
    ],
)
def test_store_key__never_leaves_its_folder(name: str) -> None:
    key = store_key(name)
    assert "/" not in key
    assert len(key.encode()) <= 200
    assert not key.startswith((".", "__"))
    assert key.isprintable()


@pytest.mark.parametrize(
    "name", [".hidden", "__init__", "a\nb.mp4", "é😀.mp4", "x" * 255, "😀" * 60, "a%2Fb", "a/b/c.mp4"]
)
def test_feature_store__stores_awkward_names(tmp_path: Path, name: str) -> None:
    store = FeatureStore.create(store_path(tmp_path, "small"), bare_dataset([name]))
    store.add_feature_set("tiny", IDENTITY)
    written = fill(store, name)
    np.testing.assert_array_equal(store.read("tiny", name).values, written.values)
    assert store.complete_videos("tiny") == [name]
    assert {path.name for path in tmp_path.iterdir()} <= {"small.zarr", "small.lock", "small.writers.lock"}


def test_exclusive__refuses_a_second_writer_and_removes_partial_files(store: FeatureStore) -> None:
    leftover = store.path / "features" / "zarr.0123.partial"
    leftover.touch()
    with store.exclusive():
        assert not leftover.exists()
        with (
            pytest.raises(StoreError, match="another process is writing to"),
            FeatureStore.open(store.path, writable=True).exclusive(),
        ):
            pass
    with store.exclusive():
        pass


def test_exclusive__locks_the_store_behind_a_link(store: FeatureStore, tmp_path: Path) -> None:
    link = tmp_path / "links" / "v.zarr"
    link.parent.mkdir()
    link.symlink_to(store.path)
    linked = FeatureStore.open(link, writable=True)
    with store.exclusive(), pytest.raises(StoreError, match="another process is writing"), linked.exclusive():
        pass


def test_exclusive__locks_a_store_by_the_present_folder(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.path)
    with FeatureStore.open(".", writable=True).exclusive():
        assert store.path.with_suffix(".lock").is_file()


def test_store_key__differs_for_different_names() -> None:
    names = ["a/b", "a%2Fb", "a\\b", "a:b", "x" * 230 + "1", "x" * 230 + "2", "..", "%2E.", "__a", "_a"]
    assert len({store_key(name) for name in names}) == len(names)


def test_exclusive__waits_for_the_workers_of_a_killed_run(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqafeat.store.lock._ORPHANS_SECONDS", 0.1)
    refused = pytest.raises(StoreError, match="another process is writing to")
    with worker_lock(store.path), worker_lock(store.path), refused, store.exclusive():
        pass
    with store.exclusive(), worker_lock(store.path):
        pass


def test_remove_partial_files_after_workers__waits_for_all_workers(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqafeat.store.lock._ORPHANS_SECONDS", 0.1)
    leftover = store.path / "zarr.0123.partial"
    leftover.touch()
    with store.exclusive():
        leftover.touch()
        with worker_lock(store.path):
            remove_partial_files_after_workers(store.path)
            assert leftover.exists()  # it may be that writer's, who is alive
        remove_partial_files_after_workers(store.path)
        assert not leftover.exists()


def test_exclusive__refuses_a_store_that_cannot_be_written(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "small.lock").unlink()
    (tmp_path / "small.lock").mkdir()  # as nobody may write there, the superuser neither
    with (
        pytest.raises(
            StoreError,
            match=r"small.zarr' cannot be written to \(Is a directory\); make room or make it writable",
        ),
        store.exclusive(),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"new.zarr' cannot be written to \((Not a directory|File exists)\)"):
        FeatureStore.create(tmp_path / "file" / "new.zarr", bare_dataset(["a.mp4"]))
