"""Features that others computed: what comes in, what is refused, what is left out."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers.command_line import Run
from tests.helpers.datasets import bare_dataset
from vqafeat.errors import ArgumentError, DatasetError, IdentityError
from vqafeat.extraction.importers import import_matrix, import_vsfa, read_matrix, vsfa_dataset
from vqafeat.store import FeatureStore, verify_store

SCORES = {0: 3.5, 2: 1.25, 10: 4.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "vsfa"
    made.mkdir()
    for index, score in SCORES.items():
        values = (
            np.random.default_rng(index)
            .normal(size=(3 + index, 8))
            .astype(np.float16 if index else np.float32)
        )
        np.save(made / f"{index}_resnet-50_res5c.npy", values)
        np.save(made / f"{index}_score.npy", np.array([score]))
    return made


def test_vsfa_dataset__takes_a_folder_under_a_name_of_the_user(folder: Path, tmp_path: Path) -> None:
    dataset = vsfa_dataset(folder, "mine")
    assert [(video.name, video.mos) for video in dataset.videos] == [("0", 3.5), ("2", 1.25), ("10", 4.0)]
    store = FeatureStore.create(tmp_path / "mine.zarr", dataset)
    summary = import_vsfa(folder, dataset, store)
    assert (summary.imported, summary.channels, summary.left_out) == (3, 8, ())
    for index in SCORES:
        expected = np.load(folder / f"{index}_resnet-50_res5c.npy")
        result = store.read("resnet50", str(index))
        np.testing.assert_array_equal(result.values, expected)
        assert result.values.dtype == expected.dtype
    assert store.seconds("0") is None
    assert store.complete_videos("resnet50") == ["0", "2", "10"]
    assert list(verify_store(store)) == []
    assert store.identity("resnet50").origin == "import vsfa vsfa"
    assert store.identity("resnet50").weights_sha256.startswith("unknown; imported from SHA-256 ")


def test_import_vsfa__takes_the_names_of_mdtvsfa(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*_resnet-50_res5c.npy"):
        path.rename(path.with_name(path.name.replace("_resnet-50_res5c", "_ResNet-50_last_conv")))
    dataset = vsfa_dataset(folder, "mine")
    store = FeatureStore.create(tmp_path / "mine.zarr", dataset)
    assert (import_vsfa(folder, dataset, store).feature_set, len(store.complete_videos("resnet50"))) == (
        "resnet50",
        3,
    )
    np.testing.assert_array_equal(
        store.read("resnet50", "2").values, np.load(folder / "2_ResNet-50_last_conv.npy")
    )


def test_import_vsfa__counts_in_the_published_list(folder: Path, tmp_path: Path) -> None:
    dataset = bare_dataset([f"v{index}" for index in range(11)])
    for index in SCORES:
        np.save(folder / f"{index}_score.npy", np.array([[float(index)]]))
    store = FeatureStore.create(tmp_path / "small.zarr", dataset)
    import_vsfa(folder, dataset, store)
    assert store.complete_videos("resnet50") == ["v0", "v2", "v10"]
    np.save(folder / "2_score.npy", np.array([9.0]))
    with pytest.raises(
        DatasetError, match=r"1 of 3 scores in .* are not those of 'small' .*first: \[2\].*--labels"
    ):
        import_vsfa(folder, dataset, store)
    with pytest.raises(DatasetError, match=r"2 of 3 scores .*first: \[2, 10\]"):
        import_vsfa(folder, bare_dataset(["v0", "v1", "v2"]), store)


def test_import_vsfa__takes_apart_what_li_et_al_fused(folder: Path, tmp_path: Path) -> None:
    random, fused = np.random.default_rng(0), tmp_path / "li"
    fused.mkdir()
    files = {index: random.normal(size=(32, 4096 + 512)).astype(np.float32) for index in SCORES}
    for index, values in files.items():
        np.save(fused / f"{index}_SpatialMotion_last_conv.npy", values)
        np.save(fused / f"{index}_score.npy", np.array(SCORES[index]))
    dataset = vsfa_dataset(fused, "mine")
    store = FeatureStore.create(tmp_path / "mine.zarr", dataset)
    summary = import_vsfa(fused, dataset, store)
    assert (summary.feature_set, summary.imported, summary.channels) == (
        "iqa-resnet50+slowfast-fast",
        3,
        4608,
    )
    assert [store.identity(name).channels for name in store.feature_sets()] == [4096, 512]
    features = store.features("iqa-resnet50+slowfast-fast")
    for row, index in enumerate(SCORES):
        frames, mos = features[row]
        np.testing.assert_array_equal(frames.numpy(), files[index])
        assert float(mos) == SCORES[index]
    np.save(fused / "0_resnet-50_res5c.npy", files[0])
    with pytest.raises(DatasetError, match=r"holds files named <index>_resnet-50_res5c.npy or .*; move"):
        vsfa_dataset(fused, "mine")
    (fused / "0_resnet-50_res5c.npy").unlink()
    for index in SCORES:
        np.save(fused / f"{index}_SpatialMotion_last_conv.npy", np.zeros((3, 4096), np.float32))
    with pytest.raises(DatasetError, match="has 4096 channels, which leaves none for slowfast-fast; give"):
        import_vsfa(fused, dataset, store)


def test_vsfa_dataset__refuses_incomplete_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no file named <index>_resnet-50_res5c.npy"):
        vsfa_dataset(tmp_path, "mine")
    for score in (np.array([np.nan]), np.zeros(0)):
        np.save(folder / "2_score.npy", score)
        with pytest.raises(DatasetError, match="holds nan, no score"):
            vsfa_dataset(folder, "mine")
    np.save(folder / "2_score.npy", np.array(["text"]))
    with pytest.raises(DatasetError, match=r"is damaged \(it holds <U4 in place of numbers\); copy it again"):
        vsfa_dataset(folder, "mine")
    (folder / "2_score.npy").unlink()
    with pytest.raises(DatasetError, match=r"2_score.npy' is missing next to its features"):
        vsfa_dataset(folder, "mine")
    for content in (b"", b"no array"):
        (folder / "2_score.npy").write_bytes(content)
        with pytest.raises(DatasetError, match="is no NumPy file or is damaged"):
            vsfa_dataset(folder, "mine")
    np.save(folder / "2_score.npy", np.array([1.25]))
    for values, message in (
        (np.zeros(8, np.float32), r"has shape \(8,\)"),
        (np.zeros((3, 5), np.float32), r"shape \(3, 5\), not \(frame, 8\)"),
    ):
        np.save(folder / "2_resnet-50_res5c.npy", values)
        dataset = vsfa_dataset(folder, "mine")
        with pytest.raises(DatasetError, match=message):
            import_vsfa(folder, dataset, FeatureStore.create(tmp_path / "mine.zarr", dataset))
        assert FeatureStore.open(tmp_path / "mine.zarr").feature_sets() == []


def test_import_matrix__stores_one_row_a_video_and_leaves_out_nan(tmp_path: Path) -> None:
    matrix = np.arange(12.0).reshape(3, 4)
    matrix[1, 2] = np.nan
    savemat(tmp_path / "brisque.mat", {"feats_mat": matrix})
    dataset = bare_dataset(["a", "b", "c"])
    store = FeatureStore.create(tmp_path / "small.zarr", dataset)
    summary = import_matrix(tmp_path / "brisque.mat", dataset, store, "brisque")
    assert (summary.imported, summary.left_out) == (2, ("b",))
    np.testing.assert_array_equal(store.read("brisque", "c").values, matrix[2:].astype(np.float32))
    assert "SHA-256" in store.identity("brisque").weights_sha256
    savemat(tmp_path / "other.mat", {"feats_mat": matrix + 1})
    with pytest.raises(IdentityError, match="weights_sha256"):
        import_matrix(tmp_path / "other.mat", dataset, store, "brisque")
    with pytest.raises(ArgumentError, match=r"--name 'a\+b' holds \+ or @"):
        import_matrix(tmp_path / "brisque.mat", dataset, store, "a+b")
    with pytest.raises(
        DatasetError, match=r"has 3 rows, 'small' has 2 videos in labels.csv; name its --labels"
    ):
        import_matrix(tmp_path / "brisque.mat", bare_dataset(["a", "b"]), store, "brisque")


@pytest.mark.parametrize(
    ("file", "channels", "name"),
    [
        ("CVD2014_ResNet-50_feature", 4096, "resnet50"),
        ("my_iqa-resnet50_stages", 7680, "iqa-resnet50:stages"),
        ("x_slowfast_fast", 512, "slowfast-fast"),
        ("CVD2014_ResNet-50_feature", 4095, "CVD2014_ResNet-50_feature"),
        ("wideresnet50", 4096, "wideresnet50"),
        ("ResNet-501", 4096, "ResNet-501"),
        ("brisque", 4096, "brisque"),
    ],
)
def test_import_matrix__is_named_after_the_network(
    tmp_path: Path, file: str, channels: int, name: str
) -> None:
    savemat(tmp_path / f"{file}.mat", {"feats_mat": np.ones((1, channels))})
    dataset = bare_dataset(["a"])
    assert import_matrix(tmp_path / f"{file}.mat", dataset, tmp_path / "s.zarr").feature_set == name
    assert FeatureStore.open(tmp_path / "s.zarr").complete_videos(name) == ["a"]


def test_importers__make_no_store_if_they_refuse(folder: Path, tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"feats_mat": np.ones((3, 4))})
    with pytest.raises(DatasetError, match="has 3 rows, 'small' has 1 videos"):
        import_matrix(tmp_path / "a.mat", bare_dataset(["a"]), tmp_path / "s.zarr")
    dataset = vsfa_dataset(folder, "mine")
    np.save(folder / "2_resnet-50_res5c.npy", np.zeros(8, np.float32))
    with pytest.raises(DatasetError, match=r"has shape \(8,\)"):
        import_vsfa(folder, dataset, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


def test_read_matrix__reads_both_versions_of_matlab_files(tmp_path: Path) -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    savemat(tmp_path / "five.mat", {"a": matrix, "b": matrix + 1})
    with h5py.File(tmp_path / "seven.mat", "w") as file:
        file["a"] = matrix.T
    np.testing.assert_array_equal(read_matrix(tmp_path / "seven.mat"), matrix)
    np.testing.assert_array_equal(read_matrix(tmp_path / "five.mat", "b"), matrix + 1)
    with pytest.raises(DatasetError, match=r"no --key is given; those in .*five\.mat' are: a, b"):
        read_matrix(tmp_path / "five.mat")
    (tmp_path / "cut.mat").write_bytes((tmp_path / "seven.mat").read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"cut\.mat' is damaged \(.*truncated.*\); copy it again"):
        read_matrix(tmp_path / "cut.mat")
    (tmp_path / "text.mat").write_text("no matrix")
    with pytest.raises(DatasetError, match="is not a MATLAB file"):
        read_matrix(tmp_path / "text.mat")
    with pytest.raises(DatasetError, match="does not exist"):
        read_matrix(tmp_path / "none.mat")
    whole = (tmp_path / "five.mat").read_bytes()
    for cut in (200, len(whole) - 20):
        (tmp_path / "cut.mat").write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match="is not a MATLAB file"):
            read_matrix(tmp_path / "cut.mat")


def test_import_command__prints_notes_and_what_is_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("Name;Score\n" + "".join(f"v{row}.mp4;{row}\n" for row in range(6)))
    matrix = np.ones((6, 4))
    savemat("brisque.mat", {"feats_mat": matrix})
    ended = run("import", "mat", "brisque.mat", "--dataset", "own.csv", "--store", "whole")
    assert (ended.code, "left out" in ended.err) == (0, False)
    assert "own.csv: video is the column 'Name', mos is the column 'Score'" in ended.err
    matrix[1:5, 2] = np.nan
    savemat("brisque.mat", {"feats_mat": matrix})
    ended = run("import", "mat", "brisque.mat", "--dataset", "own.csv")
    assert ended.code == 3
    assert ended.out == "features/own.zarr: 2 videos imported as 'brisque', 4 channels.\n"
    reason = "their features are not finite (first: v1.mp4, v2.mp4, v3.mp4)."
    assert f"4 videos were left out: {reason}\n" in ended.err
