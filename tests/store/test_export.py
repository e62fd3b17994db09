"""Exported features, read back as other programs read them."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.helpers.stores import MakeStore, identity, tiny_dataset, tiny_features, tiny_seconds
from vqafeat.datasets import Dataset
from vqafeat.datasets.label_readers import NoOptions, read_info_mat
from vqafeat.errors import ArgumentError, DatasetError, StoreError, UnknownNameError
from vqafeat.extraction.importers import import_vsfa, vsfa_dataset
from vqafeat.store import FeatureStore
from vqafeat.store.content import content_digest
from vqafeat.store.export import ExportSummary, export_features
from vqafeat.store.types import VideoFeatures

Read = Callable[[Path, str], dict[str, Any]]


def read_npy(out: Path, video: str) -> dict[str, Any]:
    return {
        "features": np.load(out / f"{video}.npy"),
        "frame": np.load(out / f"{video}.frame.npy"),
        "seconds": np.load(out / f"{video}.seconds.npy"),
        **labels(out, video),
    }


def read_pt(out: Path, video: str) -> dict[str, Any]:
    stored = torch.load(out / f"{video}.pt", weights_only=True)
    assert labels(out, video) == {"mos": stored["mos"], "content": stored["content"]}
    return {name: np.asarray(value) for name, value in stored.items() if name != "video"}


def labels(out: Path, video: str) -> dict[str, Any]:
    with (out / "videos.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["video"] == video]
    assert (out / row["file"]).is_file()
    return {"mos": float(row["mos"]), "content": row["content"]}


def read_hdf5(out: Path, video: str) -> dict[str, Any]:
    with h5py.File(out) as file:
        group = file[video]
        attributes = {name: group.attrs[name] for name in ("mos", "content")}
        return {**{name: group[name][...] for name in ("features", "frame", "seconds")}, **attributes}


def read_parquet(out: Path, video: str) -> dict[str, Any]:
    from pyarrow import parquet

    columns = parquet.read_table(out, filters=[("video", "==", video)]).to_pydict()
    values = np.array(columns.pop("features"), np.float32)
    assert len(set(columns["mos"])) == 1
    times = {name: np.array(columns[name]) for name in ("frame", "seconds")}
    return {"features": values, **times, "mos": columns["mos"][0], "content": columns["content"][0]}


READERS: dict[str, Read] = {"npy": read_npy, "pt": read_pt, "hdf5": read_hdf5, "parquet": read_parquet}


@pytest.mark.parametrize("format", READERS)
def test_export_features__holds_what_the_store_holds(
    timed_store: FeatureStore, tmp_path: Path, format: str
) -> None:
    summary = export_features(timed_store, tmp_path / "out", format, "tiny")
    assert (summary.out, summary.videos, summary.channels) == (tmp_path / "out", 20, 6)
    for number, video in enumerate(tiny_dataset(20).videos):
        read = READERS[format](tmp_path / "out", video.name)
        np.testing.assert_array_equal(read["features"], tiny_features(number))
        assert read["features"].dtype == (np.float32 if format == "parquet" else np.float16)
        np.testing.assert_array_equal(read["frame"], np.arange(len(tiny_features(number))))
        np.testing.assert_array_equal(read["seconds"], tiny_seconds(number))
        assert (float(read["mos"]), str(read["content"])) == (video.mos, video.content)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("format", READERS)
def test_export_features__joins_feature_sets_at_shared_frames(
    timed_store: FeatureStore, tmp_path: Path, format: str
) -> None:
    export_features(timed_store, tmp_path / "out", format, "tiny+sparse")
    read = READERS[format](tmp_path / "out", "clip,3.mp4")
    values = tiny_features(3)[::2]
    np.testing.assert_array_equal(read["features"], np.concatenate([values, values[:, :2]], axis=1))
    np.testing.assert_array_equal(read["frame"], np.arange(len(tiny_features(3)))[::2])
    np.testing.assert_array_equal(read["seconds"], tiny_seconds(3)[::2])


def test_export_features__says_what_the_features_are(timed_store: FeatureStore, tmp_path: Path) -> None:
    from pyarrow import parquet

    export_features(timed_store, tmp_path / "npy", "npy", "tiny")
    export_features(timed_store, tmp_path / "hdf5", "hdf5", "tiny")
    export_features(timed_store, tmp_path / "parquet", "parquet", "tiny")
    description = json.loads((tmp_path / "npy" / "features.json").read_text())
    assert description["feature_sets"] == {"tiny": identity().as_dict()}
    assert (description["dataset"], description["score_name"], description["mos_range"]) == (
        "tiny",
        "MOS",
        [-1, 5],
    )
    with h5py.File(tmp_path / "hdf5") as file:
        assert json.loads(file.attrs["description"]) == description
    metadata = parquet.read_schema(tmp_path / "parquet").metadata
    assert json.loads(metadata[b"description"]) == description


def test_export_features__of_videos_in_folders_without_times_or_labels(tmp_path: Path) -> None:
    whole = tiny_dataset(2)
    videos = tuple(replace(video, name=f"a/{video.name}", mos=nan, labelled=False) for video in whole.videos)
    store = filled(tmp_path, replace(whole, videos=videos, mos_range=(nan, nan)))
    export_features(store, tmp_path / "npy", "npy")
    export_features(store, tmp_path / "hdf5", "hdf5")
    assert sorted(path.name for path in (tmp_path / "npy" / "a").iterdir()) == [
        "clip,0.mp4.frame.npy",
        "clip,0.mp4.npy",
        "clip,1.mp4.frame.npy",
        "clip,1.mp4.npy",
    ]
    assert 'a/clip,0.mp4",,scene 0,"a/clip,0.mp4.npy"' in (tmp_path / "npy" / "videos.csv").read_text()
    with h5py.File(tmp_path / "hdf5") as file:
        assert sorted(file["a/clip,1.mp4"]) == ["features", "frame"]
    with pytest.raises(DatasetError, match="the 2 videos of 'tiny' have no labels"):
        export_features(store, tmp_path / "vsfa", "vsfa")
    assert not (tmp_path / "vsfa").exists()


def filled(folder: Path, dataset: Dataset, channels: int = 6) -> FeatureStore:
    store = FeatureStore.create(folder / "made.zarr", dataset)
    store.add_feature_set("resnet50", identity("resnet50", channels))
    for number, video in enumerate(dataset.videos):
        values = tiny_features(number, channels)
        features = VideoFeatures(values, np.arange(len(values), dtype=np.int32))
        store.write_features("resnet50", video.name, features, "")
    return FeatureStore.open(store.path)


# --- the folder of VSFA, MDTVSFA and Li et al.


def test_export_features__vsfa_is_imported_back_to_equal_bits(tmp_path: Path) -> None:
    dataset = tiny_dataset(12)
    store = filled(tmp_path, dataset)
    export_features(store, tmp_path / "vsfa", "vsfa")
    again = FeatureStore.create(tmp_path / "again.zarr", dataset)
    assert import_vsfa(tmp_path / "vsfa", dataset, again).imported == 12
    for video in dataset.videos:
        before, after = store.read("resnet50", video.name), again.read("resnet50", video.name)
        assert (before.values.dtype, before.values.tobytes()) == (after.values.dtype, after.values.tobytes())
        assert before.frame.tobytes() == after.frame.tobytes()
    mine = vsfa_dataset(tmp_path / "vsfa", "mine")
    assert [video.mos for video in mine.videos] == [video.mos for video in dataset.videos]


def test_export_features__vsfa_gives_the_released_files_back(shared_data: Path, tmp_path: Path) -> None:
    released = shared_data / "konvid58"
    dataset = vsfa_dataset(released, "konvid58")
    store = FeatureStore.create(tmp_path / "konvid58.zarr", dataset)
    import_vsfa(released, dataset, store)
    export_features(store, tmp_path / "out", "vsfa")
    for index, video in enumerate(dataset.videos):
        for ending in ("_resnet-50_res5c.npy", "_ResNet-50_last_conv.npy"):
            written = (tmp_path / "out" / f"{index}{ending}").read_bytes()
            assert written == (released / f"{video.name}_resnet-50_res5c.npy").read_bytes()
        own, other = (
            np.load(path)
            for path in (tmp_path / "out" / f"{index}_score.npy", released / f"{video.name}_score.npy")
        )
        assert float(own) == float(np.ravel(other)[0])


def test_export_features__vsfa_joins_li_et_als_two_sets(tmp_path: Path) -> None:
    dataset, random = tiny_dataset(3), np.random.default_rng(0)
    store = FeatureStore.create(tmp_path / "li.zarr", dataset)
    files = [random.normal(size=(8, 4096 + 512)).astype(np.float32) for _ in dataset.videos]
    frame = np.arange(0, 16, 2, dtype=np.int32)
    for name, columns in (("iqa-resnet50", slice(4096)), ("slowfast-fast", slice(4096, None))):
        store.add_feature_set(name, identity(name, files[0][:, columns].shape[1]))
        for video, values in zip(dataset.videos, files, strict=True):
            store.write_features(name, video.name, VideoFeatures(values[:, columns].copy(), frame), "")
    export_features(store, tmp_path / "out", "vsfa", "iqa-resnet50+slowfast-fast")
    for index, values in enumerate(files):
        np.testing.assert_array_equal(
            np.load(tmp_path / "out" / f"{index}_SpatialMotion_last_conv.npy"), values
        )
    assert vsfa_dataset(tmp_path / "out", "mine").videos[2].mos == dataset.videos[2].mos
    assert not list((tmp_path / "out").glob("*res5c*"))


def test_export_features__vsfa_writes_the_info_mat_of_the_scripts(tmp_path: Path) -> None:
    """The expressions are those of VSFA.py and MDTVSFA.py."""
    dataset = tiny_dataset(12)  # two videos of each of six contents
    export_features(filled(tmp_path, dataset), tmp_path / "out", "vsfa")
    with h5py.File(tmp_path / "out" / "tinyinfo.mat", "r") as info:
        index = info["index"]
        assert index.shape == (6, 1000)
        index = index[:, 3 % index.shape[1]]
        ref_ids = info["ref_ids"][0, :]
        assert int(info["max_len"][0, 0]) == max(len(tiny_features(number)) for number in range(12))
        assert info["scores"][0, :].max() == max(video.mos for video in dataset.videos)
        names = [info[info["video_names"][0, :][i]][()].tobytes()[::2].decode() for i in range(len(ref_ids))]
    assert names == [video.name for video in dataset.videos]
    train = index[0 : int(np.ceil(0.6 * len(index)))]
    in_train = [ref_id in train for ref_id in ref_ids]
    assert sum(in_train) == 8
    assert in_train[::2] == in_train[1::2]


def test_export_features__vsfa_keeps_stored_permutations(tmp_path: Path) -> None:
    order = np.stack([np.random.default_rng(seed).permutation(5) for seed in range(4)], axis=1)
    dataset = replace(tiny_dataset(5), stored_permutations=order)
    dataset = replace(dataset, videos=(replace(dataset.videos[0], name="äß-名.mp4"), *dataset.videos[1:]))
    export_features(filled(tmp_path, dataset), tmp_path / "out", "vsfa")
    read = read_info_mat(tmp_path / "out" / "tinyinfo.mat", NoOptions())
    np.testing.assert_array_equal(read.permutations, order)
    assert [(row.raw_name, row.mos) for row in read.rows] == [(row.name, row.mos) for row in dataset.videos]


def test_export_features__vsfa_copies_where_links_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    store = filled(tmp_path, tiny_dataset(2))
    monkeypatch.setattr("os.link", refuse)
    export_features(store, tmp_path / "out", "vsfa")
    one, two = (tmp_path / "out" / f"1_{name}.npy" for name in ("resnet-50_res5c", "ResNet-50_last_conv"))
    assert one.read_bytes() == two.read_bytes()


# --- what is refused


def test_export_features__leaves_out_only_by_request(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(videos=6, missing=(2,))
    with pytest.raises(StoreError, match=r"1 of 6 videos of 'tiny' .*clip,2.mp4.*leave them out with --skip"):
        export_features(store, tmp_path / "out", "npy", "tiny")
    assert not (tmp_path / "out").exists()
    summary = export_features(store, tmp_path / "out", "vsfa", "tiny", skip_missing=True)
    assert (summary.videos, summary.left_out) == (5, ("clip,2.mp4",))
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "2_resnet-50_res5c.npy"), tiny_features(3))
    assert np.load(tmp_path / "out" / "2_score.npy") == tiny_dataset(6).videos[3].mos


def test_export_features__refuses_what_exists_and_unknown_formats(
    make_store: MakeStore, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ArgumentError, match=r"--out '.*out' exists already; name another path, or delete it"):
        export_features(make_store(), tmp_path / "out", "npy", "tiny")
    with pytest.raises(UnknownNameError, match=r"unknown format 'numpy'.*npy"):
        export_features(make_store(), tmp_path / "new", "numpy", "tiny")
    with pytest.raises(StoreError, match="holds the feature sets sparse, tiny; name one"):
        export_features(make_store(), tmp_path / "new", "npy")


def test_export_features__leaves_nothing_whole_looking_behind(
    timed_store: FeatureStore, tmp_path: Path
) -> None:
    chunk = timed_store.path / "features" / "tiny" / "clip,5.mp4" / "values" / "c" / "0" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[0] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(StoreError, match="checksum"):
        export_features(timed_store, tmp_path / "out", "npy", "tiny")
    assert not (tmp_path / "out").exists()
    damaged[0] ^= 1
    chunk.write_bytes(damaged)
    export_features(timed_store, tmp_path / "out", "npy", "tiny")
    assert not (tmp_path / "out.partial").exists()


def test_export_features__names_the_extra_of_parquet(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ArgumentError, match=r"PyArrow; run `pip install 'vqafeat\[parquet\]'`"):
        export_features(make_store(), tmp_path / "out", "parquet", "tiny")


def test_export_features__of_a_packed_store(shared_data: Path, tmp_path: Path) -> None:
    plain = FeatureStore.open(next((shared_data / "v1" / "store").glob("*.zarr")))
    packed = FeatureStore.open(next((shared_data / "v1" / "packed").glob("*.zarr")))
    assert content_digest(plain) == content_digest(packed)
    name = plain.feature_sets()[0]
    for number, store in enumerate((plain, packed)):
        export_features(store, tmp_path / f"{number}", "npy", name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / f"{n}").rglob("*.*")} for n in (0, 1))
    assert one == two


def test_export_summary__refuses_nothing() -> None:
    with pytest.raises(ArgumentError, match="an export has at least one video and channel, got 0 and 6"):
        ExportSummary(Path("out"), 0, 6)
