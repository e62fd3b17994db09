"""Packed stores: read as plain ones are, equal in content, refused for writing, damaged and stopped on
purpose.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.helpers.datasets import bare_dataset
from tests.helpers.small_stores import IDENTITY, ROWS, frame_table, values_of
from vqafeat.errors import ArgumentError, StoreError
from vqafeat.store import FeatureStore, content_digest, pack, pack_store, unpack_store, verify_store
from vqafeat.store.types import FrameTable, VideoFeatures

NAMES = ["a.mp4", "b/c.mp4", "x" * 230, "d.mp4"]
SMALL_SHARD = 4 * 12  # four rows of six channels in float16


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    dataset = replace(
        bare_dataset(NAMES), stored_permutations=np.array([[2, 0], [1, 1], [0, 2], [3, 3]], np.int32)
    )
    made = FeatureStore.create(tmp_path / "small.zarr", dataset)
    made.add_feature_set("tiny", IDENTITY)
    made.add_feature_set("tiny:other@full", replace(IDENTITY, network="other"))
    for number, name in enumerate(NAMES):
        made.write_frames(name, frame_table(2 * ROWS[number], sha256=f"{number}"))
        made.write_features("tiny", name, values_of(number), f"{number}")
        made.write_features(
            "tiny:other@full", name, values_of(number, np.float32 if number % 2 else np.float16), ""
        )
    return FeatureStore.open(made.path)


def small_shards(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, chunk_rows: int = 2) -> FeatureStore:
    monkeypatch.setattr(pack, "CHUNK_BYTES", chunk_rows * 12)
    monkeypatch.setattr(pack, "SHORT_CHUNK_BYTES", 24)
    pack_store(store.path, shard_bytes=SMALL_SHARD)
    return FeatureStore.open(store.path)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pack_store__reads_as_the_plain_store(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {(s, v): store.read(s, v) for s in store.feature_sets() for v in NAMES}
    dataset, times = store.dataset, {name: store.seconds(name) for name in NAMES}
    packed = small_shards(store, monkeypatch)
    assert (packed.layout.name, packed.feature_sets(), packed.path) == (
        "packed",
        store.feature_sets(),
        store.path,
    )
    assert packed.dataset.videos == dataset.videos
    assert packed.dataset.digest == dataset.digest
    np.testing.assert_array_equal(packed.dataset.stored_permutations, dataset.stored_permutations)
    for (feature_set, name), plain in before.items():
        for checked in (False, True):
            read = packed.read(feature_set, name, checked)
            np.testing.assert_array_equal(read.values, plain.values)
            np.testing.assert_array_equal(read.frame, plain.frame)
            assert read.values.dtype == plain.values.dtype
        assert packed.identity(feature_set).network == ("tiny" if feature_set == "tiny" else "other")
        assert packed.complete_videos(feature_set) == NAMES
    for number, name in enumerate(NAMES):
        np.testing.assert_array_equal(packed.seconds(name), times[name])
        assert packed.source(name) == {"sha256": f"{number}"}
    assert packed.source("nobody.mp4") is None
    assert list(verify_store(packed)) == []


def test_content_digest__is_equal_plain_packed_and_unpacked(store: FeatureStore) -> None:
    before, nodes = content_digest(store), files(store.path)
    assert pack_store(store.path).digest == before
    assert content_digest(FeatureStore.open(store.path)) == before
    in_tables = {path for path in files(store.path) if "/videos/" in path}
    assert len(files(store.path) - in_tables) < len(nodes)
    assert unpack_store(store.path).digest == before
    assert content_digest(FeatureStore.open(store.path)) == before
    assert files(store.path) == nodes
    assert [path.name for path in store.path.parent.iterdir() if path.suffix != ".lock"] == ["small.zarr"]


@pytest.mark.parametrize("what", ["values", "frame", "seconds", "identity", "label"])
def test_content_digest__follows_each_part_of_the_content(store: FeatureStore, what: str) -> None:
    before, written = content_digest(store), FeatureStore.open(store.path, writable=True)
    own = values_of(0)
    changes: dict[str, Callable[[], object]] = {
        "values": lambda: written.write_features(
            "tiny", NAMES[0], VideoFeatures(own.values + np.float16(1), own.frame), "0"
        ),
        "frame": lambda: written.write_features(
            "tiny", NAMES[0], VideoFeatures(own.values, own.frame + np.int32(1)), "0"
        ),
        "seconds": lambda: written.write_frames(NAMES[0], FrameTable(np.arange(10) / 30, {"sha256": "0"})),
        "identity": lambda: written.add_feature_set("more", IDENTITY),
        "label": lambda: FeatureStore.create(
            store.path, replace(store.dataset, score_name="DMOS", digest="another")
        ),
    }
    changes[what]()
    assert content_digest(FeatureStore.open(store.path)) != before


def test_pack_store__is_readable_by_plain_zarr(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    small_shards(store, monkeypatch)
    root = zarr.open(store.path, mode="r")
    table = {name: array[...].tolist() for name, array in root["features/tiny/videos"].arrays()}
    values = root["features/tiny/float16/values"]
    assert values.shards == (4, 6)
    assert values.shape == (sum(ROWS), 6)
    for name, start, rows in zip(table["video"], table["start"], table["rows"], strict=True):
        np.testing.assert_array_equal(values[start : start + rows], values_of(NAMES.index(name)).values)


def test_pack_store__bounds_shards_and_reads_those_of_the_video(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = small_shards(store, monkeypatch)
    shards = sorted((packed.path / "features/tiny/float16/values/c").rglob("0"))
    sizes = [path.stat().st_size for path in shards if path.is_file()]
    assert len(sizes) == 5
    assert max(sizes) <= SMALL_SHARD + 2 * (16 + 4) + 4
    rows = packed.layout._rows("features/tiny/float16/values")
    packed.read("tiny", "a.mp4")
    assert rows._opened.cache_info().currsize == 2


def test_read__maps_rows_that_are_in_one_chunk(store: FeatureStore) -> None:
    pack_store(store.path)
    assert isinstance(FeatureStore.open(store.path).read("tiny", "d.mp4").values, np.memmap)


def test_packed_store__refuses_writing_with_the_next_step(store: FeatureStore) -> None:
    pack_store(store.path)
    packed = FeatureStore.open(store.path)
    for write in (
        lambda: FeatureStore.open(store.path, writable=True),
        lambda: FeatureStore.create(store.path, store.dataset),
        lambda: packed.write_frames("a.mp4", frame_table()),
        lambda: packed.write_features("tiny", "a.mp4", values_of(0), "0"),
        lambda: packed.add_feature_set("new", IDENTITY),
    ):
        with pytest.raises(StoreError, match=r"is packed; `vqafeat unpack .*small.zarr` makes it writable"):
            write()


def test_pack_store__refuses_an_incomplete_store_or_leaves_out_the_rest(
    store: FeatureStore, tmp_path: Path
) -> None:
    FeatureStore.open(store.path, writable=True).write_frames("a.mp4", frame_table(10, sha256="another file"))
    failure_log = tmp_path / "small.failures.jsonl"
    failure_log.write_text("{}\n")
    with pytest.raises(
        StoreError, match=r"1 entries of .* are not whole \(first: tiny/a.mp4: not complete\).*--skip-missing"
    ):
        pack_store(store.path)
    assert FeatureStore.open(store.path).layout.name == "plain"
    done = pack_store(store.path, tmp_path / "there" / "packed.zarr", skip_missing=True)
    assert done.left_out == ("tiny/a.mp4: not complete",)
    packed = FeatureStore.open(tmp_path / "there" / "packed.zarr")
    assert packed.complete_videos("tiny") == NAMES[1:]
    assert (packed.source("a.mp4") or {})["sha256"] == "another file"
    assert (tmp_path / "there" / "packed.failures.jsonl").read_text() == failure_log.read_text() == "{}\n"
    with pytest.raises(StoreError, match=r"video 'a.mp4' is not complete in feature set 'tiny'"):
        packed.read("tiny", "a.mp4")


@pytest.mark.parametrize("node", ["values/c/0/0", "frame/c/0"])
def test_pack_store__never_packs_damage_under_a_new_check_sum(store: FeatureStore, node: str) -> None:
    chunk = store.path / "features" / "tiny" / "d.mp4" / node
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    with pytest.raises(StoreError, match="does not have its checksum"):
        pack_store(store.path)
    assert FeatureStore.open(store.path).layout.name == "plain"
    assert [words[:10] for words in pack_store(store.path, skip_missing=True).left_out] == ["tiny/d.mp4"]


def test_pack_store__damaged_times_leave_out_what_depends_on_them(store: FeatureStore) -> None:
    chunk = store.path / "frames" / "d.mp4" / "c" / "0"
    chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"frames/d.mp4/c/0' does not have its checksum"):
        pack_store(store.path)
    left_out = pack_store(store.path, skip_missing=True).left_out
    assert [words.split(":")[0] for words in left_out] == ["frames/d.mp4", "tiny/d.mp4"]
    assert FeatureStore.open(store.path).complete_videos("tiny:other@full") == NAMES


def test_verify_store__names_the_videos_of_a_damaged_shard(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = small_shards(store, monkeypatch)
    videos = packed.layout.stored_videos("tiny")
    start = {name: packed.layout._videos("tiny")[name][0] for name in videos}
    shard = packed.path / "features/tiny/float16/values/c" / str(start["b/c.mp4"] // 4) / "0"
    whole = shard.read_bytes()
    offset = (start["b/c.mp4"] % 4 // 2) * (2 * 12 + 4)
    shard.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
    problems = list(verify_store(FeatureStore.open(store.path)))
    assert any(problem.startswith("tiny/b/c.mp4: cannot be read") for problem in problems)
    assert len(problems) <= 2
    shard.write_bytes(whole[:-1])
    assert any(
        "its index does not have its checksum" in problem
        for problem in verify_store(FeatureStore.open(store.path))
    )
    shard.unlink()
    assert any("it is missing or empty" in problem for problem in verify_store(FeatureStore.open(store.path)))
    with pytest.raises(StoreError, match=r"is damaged: it is missing or empty; run `vqafeat verify`"):
        FeatureStore.open(store.path).read("tiny", "b/c.mp4")
    (packed.path / "frames/seconds/c/0").unlink()
    assert any(problem.startswith("frames/") for problem in verify_store(FeatureStore.open(store.path)))


def test_packed_store__reports_a_damaged_table(store: FeatureStore) -> None:
    pack_store(store.path)
    (store.path / "features" / "tiny" / "videos" / "start" / "c" / "0").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match=r"table 'features/tiny/videos' .* cannot be read"):
        FeatureStore.open(store.path).complete_videos("tiny")


def test_unpack_store__of_a_damaged_store_gives_what_is_whole(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = small_shards(store, monkeypatch)
    shard = packed.path / "features/tiny/float16/values/c/0/0"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    with pytest.raises(StoreError, match="checksum"):
        unpack_store(store.path)
    done = unpack_store(store.path, skip_missing=True)
    assert [words.split(":")[0] for words in done.left_out] == ["tiny/a.mp4"]
    assert FeatureStore.open(store.path, writable=True).complete_videos("tiny") == NAMES[1:]


def test_pack_store__a_stop_loses_nothing(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = content_digest(store), Path.rename

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pack._Packer, "_write_set", stopped)
        with pytest.raises(KeyboardInterrupt):
            pack_store(store.path)
    assert content_digest(FeatureStore.open(store.path)) == before
    with pytest.raises(
        StoreError,
        match=r"small.zarr.new' was not packed to its end; delete it, and run `vqafeat pack` again",
    ):
        FeatureStore.open(store.path.with_name("small.zarr.new"))

    def stopped_between(path: Path, target: Path) -> Path:
        return stopped() if path.name.endswith(".new") else rename(path, target)  # type: ignore[return-value]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", stopped_between)
        with pytest.raises(KeyboardInterrupt):
            pack_store(store.path)
    with pytest.raises(
        StoreError, match=r"packing was stopped.*run `vqafeat pack` or `vqafeat unpack` again"
    ):
        FeatureStore.open(store.path)
    assert pack_store(store.path).digest == before
    assert {path.name for path in store.path.parent.iterdir()} == {
        "small.zarr",
        "small.lock",
        "small.writers.lock",
    }


def test_pack_store__does_not_swap_in_a_different_result(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pack._ShardWriter.append
    monkeypatch.setattr(
        pack._ShardWriter, "append", lambda self, rows: write(self, rows + rows.dtype.type(1))
    )
    with pytest.raises(StoreError, match="which stays as it is"):
        pack_store(store.path)
    assert FeatureStore.open(store.path).layout.name == "plain"


def test_pack_store__replaces_what_a_link_points_to(store: FeatureStore, tmp_path: Path) -> None:
    link = tmp_path / "links" / "small.zarr"
    link.parent.mkdir()
    link.symlink_to(store.path)
    assert pack_store(link).path == store.path
    assert link.is_symlink()
    assert FeatureStore.open(link).layout.name == "packed"
    assert FeatureStore.open(store.path).layout.name == "packed"
    assert [path.name for path in link.parent.iterdir()] == ["small.zarr"]


def test_pack_store__takes_the_present_folder(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.path)
    assert pack_store(".").path == store.path
    assert FeatureStore.open(store.path).layout.name == "packed"


def test_pack_store__leaves_a_packed_store_as_it_is(store: FeatureStore) -> None:
    assert not pack_store(store.path).unchanged
    assert pack_store(store.path).unchanged
    assert not unpack_store(store.path).unchanged
    assert unpack_store(store.path).unchanged


def test_pack_store__refuses_wrong_paths_and_sizes(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"--out '.*' exists already; name another path, or delete it"):
        pack_store(store.path, tmp_path)
    with pytest.raises(
        ArgumentError, match=r"--shard-size 8: a row of 'features/tiny/float16/values' needs 12 bytes"
    ):
        pack_store(store.path, shard_bytes=8)
    with (
        FeatureStore.open(store.path, writable=True).exclusive(),
        pytest.raises(StoreError, match="another process is writing to"),
    ):
        pack_store(store.path)
    with pytest.raises(StoreError, match=r"none\.zarr' does not exist"):
        pack_store(tmp_path / "none.zarr")
    with pytest.raises(ArgumentError, match="have to be 64 digits and 0 or more, got 'ab' and 0"):
        pack.PackResult(store.path, "ab", 0)


def test_pack_store__takes_a_store_without_frame_times_or_videos(tmp_path: Path) -> None:
    made = FeatureStore.create(tmp_path / "bare.zarr", bare_dataset(["a"]))
    made.add_feature_set("tiny", IDENTITY)
    done = pack_store(made.path, skip_missing=True)
    packed = FeatureStore.open(made.path)
    assert (done.videos, packed.feature_sets(), packed.complete_videos("tiny"), packed.seconds("a")) == (
        0,
        ["tiny"],
        [],
        None,
    )
