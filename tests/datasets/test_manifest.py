"""Data sets: the shipped manifests against the real lists, the checks on loading, and finding files."""

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import numpy as np
import pytest

from vqafeat import datasets as package
from vqafeat.datasets import (
    Dataset,
    FileRules,
    RawGeometry,
    Video,
    default_root,
    load_dataset,
    load_manifest,
    locate_videos,
    manifest,
    manifest_names,
)
from vqafeat.datasets.dataset import with_digest
from vqafeat.datasets.label_readers import LABEL_READERS
from vqafeat.datasets.locate import Located
from vqafeat.errors import DatasetError, UnknownNameError

UGC = "YOUTUBE_UGC_metadata.csv"
SHIPPED = ["cvd2014", "demo", "konvid", "live-apv", "live-qualcomm", "live-vqc", "lsvq", "youtube-ugc"]
MANIFEST = """
title = "Mine"
score_name = "MOS"
scale = "1 to 5"
mos_range = [1.0, 5.0]
[files]
folders = ["clips"]
extensions = [".mp4"]
pattern = '(?:^|/)(\\d+)(?:_\\w+)?(?:\\.mp4)?$'
name = '\\1.mp4'
[content]
pattern = '^(\\d)'
[[labels]]
file = ["mos.csv", "old.csv"]
reader = "table"
video = "id"
mos = "mos"
videos = 3
contents = 2
mos_range = [1.5, 4.0]
"""
LABELS = "id,mos\n11,1.5\n12,3\n21_x.mp4,4.0\n"


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VQAFEAT_DATA", raising=False)


def own_manifest(folder: Path, text: str = MANIFEST, labels: str = LABELS) -> str:
    (folder / "mine.toml").write_text(text)
    (folder / "mos.csv").write_text(labels)
    return str(folder / "mine.toml")


def own_csv(folder: Path, text: str, name: str = "set.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def made(*names: str, files: FileRules | None = None, **more: Any) -> Dataset:
    videos = tuple(Video(name, float(row), name) for row, name in enumerate(names))
    return Dataset(
        "made", "Made", "MOS", (0.0, 100.0), videos, "list", "", files=files or FileRules(), **more
    )


# --- the shipped manifests


def test_load_manifest__reads_every_shipped_manifest() -> None:
    assert manifest_names() == SHIPPED
    for name in SHIPPED:
        manifest = load_manifest(name)
        assert manifest.name == name
        assert manifest.scale
        assert (manifest.score_name == "proxy score") == (name == "demo")
        assert manifest.homepage.startswith("https://") or name == "demo"
        assert manifest.citation or name == "demo"
        assert all(entry.reader in LABEL_READERS for entry in manifest.labels)
        # A count could not be verified for one shipped spreadsheet alone.
        assert [entry.file[0] for entry in manifest.labels if entry.videos is None] == (
            ["MOS_for_YouTube_UGC_dataset.csv"] if name == "youtube-ugc" else []
        )


@pytest.mark.parametrize(
    ("name", "file", "videos", "contents", "low", "high"),
    [
        ("konvid", "KoNViD-1kinfo.mat", 1200, 1200, 1.220, 4.640),
        ("konvid", "KONVID_1K_metadata.csv", 1200, 1200, 1.220, 4.640),
        ("live-vqc", "LIVE-VQCinfo.mat", 585, 585, 6.2237, 94.2865),
        ("live-vqc", "LIVE_VQC_metadata.csv", 585, 585, 6.2237, 94.2865),
        ("cvd2014", "CVD2014info.mat", 234, 5, -6.50, 93.38),
        ("live-qualcomm", "LIVE-Qualcomminfo.mat", 208, 54, 16.5621, 73.6428),
        ("youtube-ugc", "YouTube-UGCinfo.mat", 1142, 1142, 1.242, 4.677),
        ("youtube-ugc", "YOUTUBE_UGC_metadata.csv", 1380, 1380, 1.242, 4.698),
        ("lsvq", "LSVQ_labels.txt", 10759, 10759, 8.4667, 91.4194),
        ("lsvq", "LSVQ_labels_test.txt", 7186, 7186, 8.4667, 91.0333),
        ("lsvq", "LSVQ_labels_1080p.txt", 3573, 3573, 17.7222, 91.4194),
        ("live-apv", "LIVE-APV_scores.csv", 315, 45, 16.8903, 72.5813),
    ],
)
def test_load_dataset__real_label_files_give_the_published_figures(
    shared_data: Path, name: str, file: str, videos: int, contents: int, low: float, high: float
) -> None:
    dataset = load_dataset(name, labels=shared_data / "labels" / file)
    assert len(dataset.videos) == videos
    assert len({video.content for video in dataset.videos}) == contents
    assert min(video.mos for video in dataset.videos) == pytest.approx(low, abs=1e-4)
    assert max(video.mos for video in dataset.videos) == pytest.approx(high, abs=1e-4)
    assert dataset.label_list == file
    assert (dataset.stored_permutations is not None) == file.endswith("info.mat")
    assert all(dataset.files.canonical(video.name) == video.name for video in dataset.videos)


def test_load_dataset__takes_a_list_by_its_name(shared_data: Path, tmp_path: Path) -> None:
    # first and last of the rows, counted from 1, that VIDEVAL's script deletes
    labels = shared_data / "labels"
    dataset = load_dataset("youtube-ugc", root=labels, labels="1323")
    whole = [video.name for video in load_dataset("youtube-ugc", labels=labels / UGC).videos]
    grey = [row for row, name in enumerate(whole, 1) if name not in {video.name for video in dataset.videos}]
    assert (len(dataset.videos), len(grey), grey[:3], grey[-3:]) == (1323, 57, [3, 6, 10], [1336, 1344, 1380])
    assert dataset.label_list == f"{UGC}, list 1323"
    with pytest.raises(DatasetError, match=rf"needs a label file.*looked for {UGC}"):
        load_dataset("youtube-ugc", root=tmp_path, labels="1323")


def test_manifests__know_every_real_label_file(shared_data: Path) -> None:
    known = {
        Path(file).name for name in SHIPPED for entry in load_manifest(name).labels for file in entry.file
    }
    assert {path.name for path in (shared_data / "labels").iterdir()} - {"README.md"} <= known


@pytest.mark.parametrize(
    ("name", "one", "other", "tolerance"),
    [
        ("konvid", "KoNViD-1kinfo.mat", "KONVID_1K_metadata.csv", 5e-5),
        ("live-vqc", "LIVE-VQCinfo.mat", "LIVE_VQC_metadata.csv", 0),
        ("youtube-ugc", "YouTube-UGCinfo.mat", "YOUTUBE_UGC_metadata.csv", 0),
    ],
)
def test_load_dataset__lists_of_one_data_set_agree(
    shared_data: Path, name: str, one: str, other: str, tolerance: float
) -> None:
    first = {
        video.name: video.mos for video in load_dataset(name, labels=shared_data / "labels" / one).videos
    }
    second = {
        video.name: video.mos for video in load_dataset(name, labels=shared_data / "labels" / other).videos
    }
    assert first.keys() <= second.keys()
    assert len(first) == len(second) or name == "youtube-ugc"
    assert max(abs(mos - second[video]) for video, mos in first.items()) <= tolerance


def test_load_dataset__combines_the_lsvq_lists_with_official_parts(shared_data: Path) -> None:
    folder = shared_data / "labels"
    dataset = load_dataset("lsvq", labels=[folder / "LSVQ_labels_test.txt", folder / "LSVQ_labels_1080p.txt"])
    parts = [video.split for video in dataset.videos]
    assert (parts.count("test"), parts.count("test-1080p"), len(parts)) == (7186, 3573, 10759)
    assert dataset.label_list == "LSVQ_labels_test.txt + LSVQ_labels_1080p.txt"
    union = load_dataset("lsvq", labels=folder / "LSVQ_labels.txt")
    assert {video.name: video.mos for video in union.videos} == {
        video.name: video.mos for video in dataset.videos
    }
    with pytest.raises(DatasetError, match="names 3573 of them more than once"):
        load_dataset("lsvq", labels=[folder / "LSVQ_labels_1080p.txt", folder / "LSVQ_labels.txt"])


def test_load_dataset__loads_and_locates_konvid_mini(shared_data: Path) -> None:
    path = str(shared_data / "konvid-mini" / "mos.csv")
    dataset = load_dataset(path)
    assert (dataset.name, len(dataset.videos), dataset.mos_range) == ("konvid-mini", 14, (2.26, 4.64))
    root = default_root(path)
    assert root is not None
    assert all(video.path == root / video.name for video in locate_videos(dataset, root).dataset.videos)
    whole = load_dataset("konvid", labels=shared_data / "labels" / "KoNViD-1kinfo.mat")
    located = locate_videos(whole, root, skip_missing=True)
    assert {video.name: round(video.mos, 3) for video in located.dataset.videos} == {
        v.name: round(v.mos, 3) for v in dataset.videos
    }
    assert len(located.missing) == 1186
    assert located.dataset.stored_permutations is not None
    assert located.dataset.stored_permutations.shape == (14, 1000)


def test_load_dataset__live_apv_takes_the_frame_rate_from_the_name(shared_data: Path) -> None:
    dataset = load_dataset("live-apv", labels=shared_data / "labels" / "LIVE-APV_scores.csv")
    rates = {
        video.name: geometry.frame_rate_hz
        for video in dataset.videos
        if (geometry := video.raw or dataset.raw) is not None
    }
    assert len(rates) == 315
    assert all(rate == (25.0 if "_25fps_" in name else 30.0) for name, rate in rates.items())
    assert list(rates.values()).count(25.0) == 7 * 7


def test_load_dataset__live_apv_has_the_size_that_the_label_file_states(shared_data: Path) -> None:
    file = shared_data / "labels" / "LIVE-APV_scores.csv"
    dataset = load_dataset("live-apv", labels=file)
    stated = {row["video"]: row["resolution"] for row in csv.DictReader(file.read_text().splitlines())}
    sizes = {"4k": (3840, 2160), "1080p": (1920, 1080)}
    for video in dataset.videos:
        geometry = video.raw or dataset.raw
        assert geometry is not None
        assert (geometry.width, geometry.height) == sizes[stated[video.name]], video.name
    assert list(stated.values()).count("1080p") == 154


def shipped_like(name: str, folder: Path) -> None:
    """Write files as the data sets ship them, with too few rows, so that reading ends at the count."""
    if name == "konvid":
        (folder / "KoNViD_1k_mos.csv").write_text("flickr_id,mos\n3339962845,4.64\n8171831850,4.444\n")
    elif name == "cvd2014":
        (folder / "CVD2014_ratings").mkdir()
        (folder / "CVD2014_ratings" / "Realignment_MOS.csv").write_text(
            "Content;File_name;Realignment MOS\nCity;Test01_City_D01;58,32\nTalking "
            "head;Test06_Talking_head_D16;10,5\n;;\n"
        )
    elif name == "youtube-ugc":
        (folder / "MOS_for_YouTube_UGC_dataset.csv").write_text(
            "vid,category,MOS full\nHDR_2160P-06ae,HDR,3.1\nVlog_720P-6d56,Vlog,1.242\n"
        )


@pytest.mark.parametrize("name", ["konvid", "cvd2014"])
def test_load_dataset__finds_reads_and_counts_shipped_lists(tmp_path: Path, name: str) -> None:
    shipped_like(name, tmp_path)
    known = {"konvid": 1200, "cvd2014": 234}[name]
    with pytest.raises(
        DatasetError, match=f"has 2 rows instead of {known}; the last one is .*Fetch the list again"
    ):
        load_dataset(name, root=tmp_path)


def test_load_dataset__takes_a_list_without_a_known_count_as_it_is(tmp_path: Path) -> None:
    shipped_like("youtube-ugc", tmp_path)
    dataset = load_dataset("youtube-ugc", root=tmp_path)
    assert [(video.name, video.mos) for video in dataset.videos] == [
        ("HDR_2160P-06ae.mkv", 3.1),
        ("Vlog_720P-6d56.mkv", 1.242),
    ]


@pytest.mark.parametrize(
    ("name", "raw_name", "canonical"),
    [
        ("konvid", "3339962845_original_centercrop_960x540_8s.mp4", "3339962845.mp4"),
        ("konvid", "KoNViD_1k_videos/5319047612_cut_centercrop_960x540_8s.mp4", "5319047612.mp4"),
        ("konvid", "3339962845", "3339962845.mp4"),
        ("live-vqc", "A012NEW.mp4", "A012.mp4"),
        ("live-vqc", "Video/A012.mp4", "A012.mp4"),
        ("cvd2014", "Test6/Talking_head/Test06_Talking_head_D08.avi", "Test06_Talking_head_D08.avi"),
        ("cvd2014", "Test01_City_D01", "Test01_City_D01.avi"),
        (
            "live-qualcomm",
            "Color\\0913playSand_GS5_20150913_183702.yuv",
            "0913playSand_GS5_20150913_183702.yuv",
        ),
        ("youtube-ugc", "Animation/1080P/Animation_1080P-01b3.mkv", "Animation_1080P-01b3.mkv"),
        ("youtube-ugc", "Gaming_720P-25aa_crf_10_ss_00_t_20.0.mp4", "Gaming_720P-25aa.mkv"),
        ("lsvq", "yfcc-batch1/722", "yfcc-batch1/722.mp4"),
        ("lsvq", "./ia-batch1/722.mp4", "ia-batch1/722.mp4"),
        ("konvid", "A012.mp4", None),
        ("live-vqc", "3339962845.mp4", None),
    ],
)
def test_canonical__listed_names_become_canonical_ones(
    name: str, raw_name: str, canonical: str | None
) -> None:
    assert load_manifest(name).files.canonical(raw_name) == canonical


def test_manifest_folder__is_found_in_a_wheel_and_next_to_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manifest.manifest_folder() == Path(package.__file__).parents[2] / "manifests"
    touch(tmp_path, "vqafeat/manifests/other.toml")
    monkeypatch.setattr(manifest, "package_files", lambda _: tmp_path / "vqafeat")
    assert manifest.manifest_folder() == tmp_path / "vqafeat" / "manifests"
    assert manifest_names() == ["other"]


# --- the schema


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", r"manifest 'mine\.toml': unknown key 'titel': did you mean title\?"),
        ("folders", "folder", r"files: unknown key 'folder': did you mean folders\?"),
        (
            "videos = 3",
            "video_count = 3",
            r"\[\[labels\]\] \['mos\.csv', 'old\.csv'\]: unknown key 'video_count': did you mean video",
        ),
        ('reader = "table"', 'reader = "tabel"', "unknown label reader 'tabel': did you mean table"),
        ('video = "id"\n', "", r"\[\[labels\]\] \['mos\.csv', 'old\.csv'\]: missing key 'video'; add it"),
        ('score_name = "MOS"\n', "", r"missing key 'score_name'; add it"),
        (
            "mos_range = [1.0, 5.0]",
            "mos_range = [5.0, 1.0]",
            r"mos_range \[5\.0, 1\.0\] must be \[smallest, largest\]",
        ),
        ("mos_range = [1.0, 5.0]", "mos_range = [5.0]", r"mos_range: item 2 is missing; add it"),
        ("videos = 3", "videos = 3.5", r"videos: 3\.5 must be a valid integer"),
        ("videos = 3", "videos = true", r"videos: True must be a valid integer"),
        ('title = "Mine"', "title = 3", r"title: 3 must be a valid string"),
        ('folders = ["clips"]', "folders = 3", r"files\.folders: 3 must be a valid array"),
        (
            'folders = ["clips"]',
            'folders = ["../x"]',
            r"file rules: folders \.\./x must be below the root, without '\.\.'",
        ),
        (
            'extensions = [".mp4"]',
            'extensions = ["mp4"]',
            r"extensions mp4 must begin with a dot, like '\.mp4'",
        ),
        ("name = '\\1.mp4'\n", "", r"file rules: pattern and name come together"),
        ("pattern = '(?:^", "pattern = '((?:^", r"file rules: pattern .* is not a regular expression"),
        ("'^(\\d)'", "'^\\d'", r"content: pattern '\^\\d' has no group; put the part"),
        ("'^(\\d)'", "'^(\\d'", r"content: pattern '\^\(\\d' is not a regular expression"),
        (
            "[files]",
            "class_pattern = 'a'\n[files]",
            r"class_pattern: pattern 'a' has no group; put the part that names the class in parentheses",
        ),
        (
            "[files]",
            "class_pattern = '(a'\n[files]",
            r"class_pattern: pattern '\(a' is not a regular expression",
        ),
        (
            "videos = 3",
            'split = "dev"\nvideos = 3',
            r"split: 'dev' must be 'train', 'validation', 'test' or 'test-1080p'",
        ),
        ("title =", "name =", r"manifest 'mine\.toml': unknown key 'name'"),
        (
            "[content]",
            "[[raw.where]]\npattern = 'a'\nwidht = 4\n[content]",
            r"raw_where\[0\]: unknown key 'widht': did you mean width",
        ),
        ("[content]", "[content", r"manifest '.*mine\.toml' is not valid TOML"),
        (
            "[content]",
            "[raw]\nwidth = 0\nheight = 4\npixel_format = 'yuv420p'\nframe_rate_hz = 30\n[content]",
            r"width 0 must be a positive number",
        ),
        ("[[labels]]", "[labels]", r"labels: \{.*\} must be a valid array"),
    ],
)
def test_load_manifest__refuses_with_the_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in MANIFEST
    path = own_manifest(tmp_path, MANIFEST.replace(old, new, 1))
    with pytest.raises((DatasetError, UnknownNameError), match=message):
        load_manifest(path)


def test_load_manifest__refuses_a_manifest_without_lists_or_file(tmp_path: Path) -> None:
    header = MANIFEST.partition("[[labels]]")[0]
    with pytest.raises(DatasetError, match="missing key 'labels'; add it"):
        load_manifest(own_manifest(tmp_path, header))
    with pytest.raises(DatasetError, match="labels is empty; name at least one"):
        load_manifest(own_manifest(tmp_path, f"labels = []\n{header}"))
    with pytest.raises(DatasetError, match=r"\[\[labels\]\]: 'mos.csv' must be a table"):
        load_manifest(own_manifest(tmp_path, f"labels = ['mos.csv']\n{header}"))
    with pytest.raises(DatasetError, match=r"manifest '.*none\.toml' does not exist; give the path"):
        load_manifest(str(tmp_path / "none.toml"))
    with pytest.raises(DatasetError, match=r"\[\[labels\]\] \[\]: file is empty; name at least one"):
        load_manifest(own_manifest(tmp_path, MANIFEST.replace('["mos.csv", "old.csv"]', "[]")))


def test_raw_geometry__has_exceptions_by_name(tmp_path: Path) -> None:
    raw = "[raw]\nwidth = 8\nheight = 4\npixel_format = 'yuv420p'\nframe_rate_hz = 30\n"
    raw += "[[raw.where]]\npattern = '^2'\nframe_rate_hz = 25\nwidth = 16\n"
    dataset = load_dataset(own_manifest(tmp_path, MANIFEST.replace("[content]", raw + "[content]")))
    assert dataset.raw == RawGeometry(8, 4, "yuv420p", 30.0)
    assert [video.raw for video in dataset.videos] == [None, None, RawGeometry(16, 4, "yuv420p", 25.0)]
    assert [video.raw or dataset.raw for video in dataset.videos][1:] == [
        dataset.raw,
        RawGeometry(16, 4, "yuv420p", 25.0),
    ]


# --- checks on loading


def test_load_dataset__own_manifest_loads_from_its_folder_and_below_it(tmp_path: Path) -> None:
    path = own_manifest(tmp_path)
    dataset = load_dataset(path)
    assert (dataset.name, dataset.title, dataset.scale, dataset.label_list) == (
        "mine",
        "Mine",
        "1 to 5",
        "mos.csv",
    )
    assert [(video.name, video.mos, video.content) for video in dataset.videos] == [
        ("11.mp4", 1.5, "1"),
        ("12.mp4", 3.0, "1"),
        ("21.mp4", 4.0, "2"),
    ]
    (tmp_path / "other" / "labels").mkdir(parents=True)
    (tmp_path / "mos.csv").rename(tmp_path / "other" / "labels" / "old.csv")
    assert load_dataset(path, root=tmp_path / "other").label_list == "old.csv"
    assert load_dataset(path, labels=tmp_path / "other").label_list == "old.csv"
    assert load_dataset(path, labels=tmp_path / "other" / "labels" / "old.csv").videos == dataset.videos


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("id,mos\n11,1.5\n12,3\n", r"has 2 rows instead of 3; the last one is 12\.mp4"),
        (LABELS + "22,2\n", r"has 4 rows instead of 3; the last one is 22\.mp4"),
        (
            "id,mos\n11,1.5\n12,3\n11_x,4.0\n",
            r"data set 'mine' of 3 videos: 'mos\.csv' names 1 of them more than once: 11\.mp4; keep one row",
        ),
        (
            "id,mos\n11,1.5\n12,\n21,NaN\n",
            r"label list 'mos\.csv' of 'mine': 2 of 3 rows are wrong: video '12\.mp4' has the label nan; "
            r"labels are finite numbers\. video '21\.mp4' has the label nan; .*\. Correct or drop them",
        ),
        (
            "id,mos\n11,1.5\n12,5.1\n21,0.99\n",
            r"2 of 3 labels are outside 1 to 5: 12\.mp4 \(5\.1\), 21\.mp4 \(0\.99\); correct them",
        ),
        (
            "id,mos\n11,1.5\n,3\n21,4\n",
            r"1 of 3 rows are wrong: '' \(label 3\) is not a name of this data set's videos\. Cor",
        ),
        (
            "id,mos\n11,1.5\nA3,3\n21,4\n",
            r"1 of 3 rows are wrong: 'A3' \(label 3\) is not a name .*\. .* or give the list of this",
        ),
        (
            "id,mos\n11,1.5\n12,3\n13,4\n",
            r"has 1 contents instead of 2; the names were changed, or \[content\] does not fit",
        ),
        (
            "id,mos\n11,1.5\n12,3\n21,3.9\n",
            r"has labels from 1\.5 to 3\.9 instead of 1\.5 to 4; it was rescaled or changed",
        ),
        ("id,mos\n", r"label list 'mos\.csv' of 'mine' holds no rows; it must name at least one video"),
        (
            "id,mos\n" + "".join(f"{number},9\n" for number in range(10, 17)),
            r"7 of 7 labels are outside 1 to 5: 10\.mp4 \(9\), 11\.mp4 \(9\), 12\.mp4 \(9\), 13\.mp4 \(9\), "
            r"14\.mp4 \(9\) and 2 more",
        ),
    ],
)
def test_load_dataset__counts_and_names_wrong_rows(tmp_path: Path, labels: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset(own_manifest(tmp_path, labels=labels))


def test_load_dataset__allows_the_rounding_of_published_ranges(tmp_path: Path) -> None:
    assert (
        load_dataset(own_manifest(tmp_path, labels=LABELS.replace("4.0", "4.00009"))).videos[2].mos == 4.00009
    )
    with pytest.raises(DatasetError, match="instead of"):
        load_dataset(own_manifest(tmp_path, labels=LABELS.replace("4.0", "4.0002")))


def test_load_dataset__refuses_an_unknown_content(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"'11\.mp4' has no content; the \[content\] pattern does not match it"
    ):
        load_dataset(own_manifest(tmp_path, MANIFEST.replace("'^(\\d)'", "'^(x)'")))


# --- which label file


def test_load_dataset__without_a_label_file_names_paths_and_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "looked for KoNViD_1k_mos.csv, KoNViD_1k_attributes.csv, KoNViD-1kinfo.mat, KONVID_1K_metadata.csv"
    )
    step = "Put videos and label file under VQAFEAT_DATA/konvid, or name .* --root DIR, .* --labels FILE"
    with pytest.raises(
        DatasetError,
        match=f"'konvid' needs a label file, but no folder is given and VQAFEAT_DATA is not set; {names}. "
        f"{step}",
    ):
        load_dataset("konvid")
    monkeypatch.setenv("VQAFEAT_DATA", str(tmp_path))
    assert default_root("konvid") == tmp_path / "konvid"
    with pytest.raises(
        DatasetError, match=f"but the folder '{tmp_path}/konvid' does not exist; {names}. {step}"
    ):
        load_dataset("konvid")
    (tmp_path / "konvid").mkdir()
    with pytest.raises(
        DatasetError,
        match=f"but there is none in '{tmp_path}/konvid' or '{tmp_path}/konvid/labels'; {names}. {step}",
    ):
        load_dataset("konvid")
    with pytest.raises(DatasetError, match=f"there is none in '{tmp_path}' or"):
        load_dataset("konvid", labels=tmp_path)


def test_load_dataset__names_of_label_files_are_case_exact(tmp_path: Path) -> None:
    path = own_manifest(tmp_path)
    (tmp_path / "mos.csv").rename(tmp_path / "MOS.csv")
    with pytest.raises(DatasetError, match=r"looked for mos\.csv, old\.csv"):
        load_dataset(path)


def test_load_dataset__refuses_label_files_that_are_absent_or_unknown(tmp_path: Path) -> None:
    path = own_manifest(tmp_path)
    with pytest.raises(
        DatasetError,
        match=r"'mine': the label file '.*none\.csv' does not exist; give the path of a file with --labels",
    ):
        load_dataset(path, labels=tmp_path / "none.csv")
    (tmp_path / "strange.txt").write_text(LABELS)
    with pytest.raises(
        DatasetError,
        match=r"'mine' does not know the label file 'strange\.txt'; known are mos\.csv, old\.csv, or a CSV "
        r"with",
    ):
        load_dataset(path, labels=tmp_path / "strange.txt")
    with pytest.raises(DatasetError, match="'mine': labels is empty; name a label file"):
        load_dataset(path, labels=[])


def test_load_dataset__takes_a_part_of_a_known_data_set_as_an_own_csv(tmp_path: Path) -> None:
    path = own_manifest(tmp_path)
    dataset = load_dataset(path, labels=Path(own_csv(tmp_path, "video,mos\n21_x.mp4,2\n", "part.csv")))
    assert [(video.name, video.content) for video in dataset.videos] == [("21.mp4", "2")]
    with pytest.raises(DatasetError, match="1 of 1 labels are outside 1 to 5"):
        load_dataset(path, labels=Path(own_csv(tmp_path, "video,mos\n21_x.mp4,50\n", "part.csv")))


def test_load_dataset__takes_text_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = own_manifest(tmp_path)
    own_csv(tmp_path, "video,mos\na.mp4,1\n", "konvid.csv")
    for name in (path, Path(path), "mine.toml", Path("konvid.csv"), "konvid.csv"):
        dataset = load_dataset(str(name))
        assert load_dataset(name) == load_dataset(name, root=tmp_path) == dataset
        assert load_dataset(name, str(tmp_path)) == dataset
    labels = tmp_path / "mos.csv"
    for value in (labels, str(labels), [labels], [str(labels)], tmp_path, str(tmp_path)):
        assert load_dataset(path, labels=value) == load_dataset(path)
    (tmp_path / "clips").mkdir()
    for folder in (Path("clips"), tmp_path / "clips", f"{tmp_path}/clips", "clips/"):
        with pytest.raises(DatasetError, match=r"there are no videos in .*; .* labels is given by its \.csv"):
            load_dataset(folder)


def test_load_dataset__takes_joined_lists_whole_or_by_name(tmp_path: Path) -> None:
    lists = """
[[labels]]
file = "a.txt"
reader = "path-duration-fps-mos"
join = "both"
split = "train"
videos = 1
[[labels]]
file = "b.txt"
reader = "path-duration-fps-mos"
join = "both"
split = "test"
videos = 1
"""
    path = own_manifest(tmp_path, MANIFEST.partition("[[labels]]")[0] + lists)
    (tmp_path / "a.txt").write_text("11.mp4, -1, -1, 2\n")
    with pytest.raises(
        DatasetError, match=r"Only parts of a list exist: .*a\.txt; name them with --labels to use them"
    ):
        load_dataset(path)
    assert [video.split for video in load_dataset(path, labels=tmp_path / "a.txt").videos] == ["train"]
    (tmp_path / "b.txt").write_text("12.mp4, -1, -1, 3\n")
    dataset = load_dataset(path)
    assert [(video.name, video.split) for video in dataset.videos] == [
        ("11.mp4", "train"),
        ("12.mp4", "test"),
    ]
    (tmp_path / "b.txt").write_text("11.mp4, -1, -1, 3\n")
    with pytest.raises(
        DatasetError,
        match=r"data set 'mine' of 2 videos: 'a\.txt \+ b\.txt' names 1 of them more than once: 11\.mp4",
    ):
        load_dataset(path)


def test_load_dataset__distinguishes_unknown_names_from_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    with pytest.raises(UnknownNameError, match=r"For the videos in this folder.* write '\./clips'"):
        load_dataset("clips")
    with pytest.raises(
        UnknownNameError,
        match=r"unknown data set 'konvd': did you mean konvid\?.* For your own, give the path of a \.csv",
    ):
        load_dataset("konvd")
    with pytest.raises(UnknownNameError, match=r"unknown data set 'zzz': known are: cvd2014, demo"):
        load_dataset("zzz")
    with pytest.raises(DatasetError, match=r"there are no videos in .*; .* labels is given by its \.csv"):
        load_dataset(str(tmp_path))


def test_load_dataset__says_how_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    with pytest.raises(UnknownNameError, match=r"'clips': known are.* without labels, write '\./clips'\."):
        load_dataset("clips")


# --- a user's CSV


def test_own_csv__is_a_data_set(tmp_path: Path) -> None:
    dataset = load_dataset(
        own_csv(tmp_path, "video,mos,content,split\n./a.mp4,1,x,train\nsub\\b.mp4,3.5,,\n")
    )
    assert dataset.videos == (Video("a.mp4", 1.0, "x", "train"), Video("sub/b.mp4", 3.5, "sub/b.mp4"))
    assert (dataset.name, dataset.score_name, dataset.mos_range, dataset.label_list) == (
        "set",
        "MOS",
        (1.0, 3.5),
        "set.csv",
    )


@pytest.mark.parametrize("stem", ["mos", "labels", "Scores"])
def test_own_csv__of_a_generic_name_is_named_after_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
) -> None:
    folder = tmp_path / "holiday"
    folder.mkdir()
    path = own_csv(folder, "video,mos\na.mp4,1\n", f"{stem}.csv")
    assert load_dataset(path).name == "holiday"
    monkeypatch.chdir(folder)
    assert load_dataset(f"{stem}.csv").name == "holiday"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,1\na.mp4,2\n", r"names 1 of them more than once: a\.mp4; keep one row per video"),
        ("a.mp4,nan\n", r"1 of 1 rows are wrong: video 'a\.mp4' has the label nan"),
        ("a.mp4,inf\n", r"1 of 1 rows are wrong: video 'a\.mp4' has the label inf"),
        ("C:\\a.mp4,1\n", r"1 of 1 rows are wrong: video name 'C:/a\.mp4' has to be a relative POSIX path"),
        ("/,1\n", r"video name '\.' has to be a relative"),
        ("a.mp4,1\nx/../a.mp4,2\n", r"names 1 of them more than once: a\.mp4; keep one row per video"),
        ("/x/a.mp4,1\n//x/./a.mp4,2\n", r"names 1 of them more than once: a\.mp4; keep one row per video"),
        ("x//a.mp4,1\n", r"'x//a\.mp4' has to be a relative"),
        ("", r"holds no rows"),
    ],
)
def test_own_csv__refuses_wrong_rows(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_dataset(own_csv(tmp_path, f"video,mos\n{rows}"))


def test_own_csv__refuses_unknown_splits_extra_labels_and_absent_files(tmp_path: Path) -> None:
    path = own_csv(tmp_path, "video,mos,split\na.mp4,1,dev\n")
    with pytest.raises(
        DatasetError,
        match=r"1 of 1 rows are wrong: video 'a\.mp4' has the split 'dev'; allowed are train, validation",
    ):
        load_dataset(path)
    with pytest.raises(DatasetError, match=r"is a CSV that holds the labels itself; drop --labels"):
        load_dataset(path, labels=Path(path))
    with pytest.raises(
        DatasetError, match=r"data set '.*none\.csv' does not exist; give the path of a CSV with the columns"
    ):
        load_dataset(str(tmp_path / "none.csv"))


def names_in(folder: Path, *listed: str) -> list[str]:
    rows = "".join(f"{name},{number}\n" for number, name in enumerate(listed))
    dataset = load_dataset(own_csv(folder, f"video,mos\n{rows}"))
    for video, name in zip(dataset.videos, listed, strict=True):
        assert (video.listed_path is None) == (video.name == name)
    return [video.name for video in dataset.videos]


def test_own_csv__names_listed_paths_below_the_root_or_the_shared_folder(tmp_path: Path) -> None:
    root = tmp_path / "lists"
    root.mkdir()
    assert names_in(root, f"{root}/x/a.mp4", "b:1.mp4", "y/../c.mp4") == ["x/a.mp4", "b:1.mp4", "c.mp4"]
    assert names_in(root, "/d/a/1.mp4", "/d/b/1.mp4", "/d/b/x/2.mp4") == ["a/1.mp4", "b/1.mp4", "b/x/2.mp4"]
    assert names_in(root, "../set/1.mp4", "..\\set\\2.mp4") == ["1.mp4", "2.mp4"]
    assert names_in(root, "//d/a/1.mp4", "../../../../../../../../../../../etc/1.mp4") == [
        "d/a/1.mp4",
        "etc/1.mp4",
    ]
    assert names_in(root, f"{tmp_path}/liste/1.mp4") == ["1.mp4"]


def test_own_csv__a_listed_path_never_takes_the_name_of_another_video(tmp_path: Path) -> None:
    assert names_in(tmp_path, "1.mp4", "/d/a/1.mp4") == ["1.mp4", "a/1.mp4"]
    assert names_in(tmp_path, "1.mp4", "a/1.mp4", "/d/a/1.mp4") == ["1.mp4", "a/1.mp4", "d/a/1.mp4"]
    assert names_in(tmp_path, f"{tmp_path}/1.mp4", "/d/a/1.mp4") == ["1.mp4", "a/1.mp4"]
    with pytest.raises(DatasetError, match=r"names 1 of them more than once: d/1\.mp4"):
        names_in(tmp_path, "1.mp4", "d/1.mp4", "/d/1.mp4")


def test_own_csv__labels_of_a_manifest_refuse_listed_paths(tmp_path: Path) -> None:
    manifest = own_manifest(
        tmp_path, MANIFEST.partition("[files]")[0] + MANIFEST[MANIFEST.index("[[labels]]") :]
    )
    for name in ("/d/11.mp4", "../11.mp4"):
        labels = own_csv(tmp_path, f"video,mos\n{name},2\n", "part.csv")
        with pytest.raises(DatasetError, match=rf"video name '{name}' has to be a relative POSIX path"):
            load_dataset(manifest, labels=Path(labels))


# --- the dataclasses


def test_video__and_raw_geometry_refuse_wrong_values() -> None:
    with pytest.raises(
        DatasetError, match=r"video name '/a\.mp4' has to be a relative POSIX path such as 'a/1\.mp4'"
    ):
        Video("/a.mp4", 1.0, "c")
    with pytest.raises(DatasetError, match=r"video name 'a\\b' has to be a relative"):
        Video("a\\b", 1.0, "c")
    with pytest.raises(DatasetError, match=r"video name ' ' has to be a relative"):
        Video(" ", 1.0, "c")
    with pytest.raises(DatasetError, match=r"video 'a' has the label nan; labels are finite numbers"):
        Video("a", float("nan"), "c")
    with pytest.raises(DatasetError, match=r"video 'a' has an empty content"):
        Video("a", 1.0, "")
    with pytest.raises(
        DatasetError,
        match=r"video 'a' has the split 'dev'; allowed are train, validation, test, test-1080p or none",
    ):
        Video("a", 1.0, "c", "dev")
    with pytest.raises(DatasetError, match=r"frame_rate_hz nan must be a positive number"):
        RawGeometry(2, 2, "yuv420p", float("nan"))
    with pytest.raises(DatasetError, match=r"pixel_format is empty; name one of FFmpeg's"):
        RawGeometry(2, 2, "", 30.0)


def test_dataset__refuses_wrong_values() -> None:
    dataset = made("a", "b", "c")
    with pytest.raises(DatasetError, match="data set 'made' has no videos"):
        replace(dataset, videos=())
    with pytest.raises(DatasetError, match="'list' names 1 of them more than once: a; keep one row"):
        replace(dataset, videos=(*dataset.videos, dataset.videos[0]))
    with pytest.raises(DatasetError, match=r"1 of 3 labels are outside 0 to 1: c \(2\)"):
        replace(dataset, mos_range=(0.0, 1.0))
    for bad in (np.zeros((3, 2), dtype=np.int64), np.arange(4)[:, None], np.arange(3)):
        with pytest.raises(DatasetError, match="do not permute 3 rows; each column must hold 0 to 2 once"):
            replace(dataset, stored_permutations=bad)


def test_dataset_repr__is_one_line() -> None:
    assert repr(made("a", "b")) == "made: 2 videos, MOS 0 to 100"
    difference = replace(made("a"), score_name="DMOS", mos_range=(-6.5, 93.38))
    assert repr(difference) == "made: 1 videos, DMOS -6.5 to 93.38"


def test_subset__keeps_the_order_of_permutations() -> None:
    permutations = np.array([[3, 0], [1, 3], [0, 2], [2, 1]])
    dataset = made("a", "b", "c", "d", stored_permutations=permutations)
    smaller = dataset.subset([3, 0, 1])
    assert [video.name for video in smaller.videos] == ["d", "a", "b"]
    assert smaller.stored_permutations is not None
    for run in range(2):
        names = [dataset.videos[row].name for row in permutations[:, run] if row != 2]
        assert [smaller.videos[row].name for row in smaller.stored_permutations[:, run]] == names
    assert smaller.digest == with_digest(smaller).digest != with_digest(dataset).digest


def test_with_digest__depends_on_what_defines_the_data_set_alone(tmp_path: Path) -> None:
    dataset = load_dataset(own_manifest(tmp_path))
    assert dataset.digest == with_digest(dataset).digest == load_dataset(own_manifest(tmp_path)).digest
    assert len(dataset.digest) == 64
    located = locate_videos(dataset, touch(tmp_path, "11.mp4", "12.mp4", "21.mp4")).dataset
    assert with_digest(located).digest == dataset.digest
    first = dataset.videos[0]
    changes = [
        replace(dataset, videos=(replace(first, mos=1.6), *dataset.videos[1:])),
        replace(dataset, videos=(replace(first, content="9"), *dataset.videos[1:])),
        replace(dataset, videos=(replace(first, split="train"), *dataset.videos[1:])),
        replace(dataset, videos=dataset.videos[::-1]),
        replace(dataset, raw=RawGeometry(2, 2, "yuv420p", 30.0)),
        replace(dataset, label_list="other.csv"),
        replace(dataset, stored_permutations=np.array([[0], [1], [2]])),
    ]
    assert len({dataset.digest, *(with_digest(changed).digest for changed in changes)}) == 8


# --- finding files


def located_at(dataset: Dataset, root: Path) -> list[str]:
    return [
        str(video.path.relative_to(root))
        for video in locate_videos(dataset, root).dataset.videos
        if video.path is not None
    ]


def test_locate_videos__finds_by_path_folder_basename_and_key(tmp_path: Path) -> None:
    root = touch(
        tmp_path,
        "x/a.mp4",
        "clips/y/b.mp4",
        "deep/down/c.mp4",
        "other/d.mkv",
        "notes.txt",
        ".hidden/a.mp4",
        "clips/x/zz.mp4",
    )
    rules = FileRules(folders=("clips",))
    assert located_at(made("x/a.mp4", "y/b.mp4", "c.mp4", "d.mp4", files=rules), root) == [
        "x/a.mp4",
        "clips/y/b.mp4",
        "deep/down/c.mp4",
        "other/d.mkv",
    ]


def test_locate_videos__prefers_the_exact_path(tmp_path: Path) -> None:
    root = touch(tmp_path, "a.mp4", "copy/a.mp4", "clips/b.mp4", "copy/b.mp4")
    assert located_at(made("a.mp4", "b.mp4", files=FileRules(folders=("clips",))), root) == [
        "a.mp4",
        "clips/b.mp4",
    ]


def test_locate_videos__finds_names_without_an_ending_and_with_dots(tmp_path: Path) -> None:
    root = touch(tmp_path, "clip.v1.mp4", "clip.v2.avi", "odd.xyz")
    assert located_at(made("clip.v1", "clip.v2", "odd.xyz"), root) == [
        "clip.v1.mp4",
        "clip.v2.avi",
        "odd.xyz",
    ]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_locate_videos__unicode_forms_of_a_name_are_one(
    tmp_path: Path, stored: Literal["NFC", "NFD"], listed: Literal["NFC", "NFD"]
) -> None:
    path = normalize(stored, "Größe/é.mp4")
    root = touch(tmp_path, path)
    assert located_at(made(normalize(listed, "Größe/é.mp4")), root) == [path]
    assert located_at(made(normalize(listed, "é.mp4")), root) == [path]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["NFC", "NFD"])
def test_locate_videos__finds_listed_paths_anywhere(
    tmp_path: Path, stored: Literal["NFC", "NFD"], listed: Literal["NFC", "NFD"]
) -> None:
    path = normalize(stored, "Größe/é.mp4")
    disk = touch(tmp_path / "disk", path, "a:b.mp4", "b/.x/1.odd", "c/1.odd")
    root = touch(tmp_path / "lists", "near.mp4")
    names = [f"../disk/{normalize(listed, path)}", f"{disk}/a:b.mp4", f"{disk}/b/.x/1.odd", f"{disk}/c/1.odd"]
    rows = "".join(f"{name},1\n" for name in [*names, "near.mp4"])
    dataset = load_dataset(own_csv(root, f"video,mos\n{rows}"))
    located = locate_videos(dataset, root).dataset.videos
    assert [video.name for video in located[1:]] == ["a:b.mp4", "b/.x/1.odd", "c/1.odd", "near.mp4"]
    paths = [video.path for video in located]
    assert all(isinstance(path, Path) and path.is_file() for path in paths)
    assert paths[1:] == [disk / "a:b.mp4", disk / "b/.x/1.odd", disk / "c/1.odd", root / "near.mp4"]


def test_locate_videos__needs_no_root_for_listed_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = touch(tmp_path / "disk", "a.mp4", "b.mp4")
    (tmp_path / "lists").mkdir()
    dataset = load_dataset(own_csv(tmp_path / "lists", f"video,mos\n{disk}/a.mp4,1\n../disk/b.mp4,2\n"))
    monkeypatch.setattr(os, "scandir", None)  # no folder is searched
    located = locate_videos(dataset, tmp_path / "nowhere").dataset
    assert [video.name for video in located.videos] == ["a.mp4", "b.mp4"]


def test_locate_videos__opens_what_the_system_has_at_a_path_after_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "real/videos/a.mp4", "real/lists/x.txt", "videos/a.mp4")
    (tmp_path / "lists").symlink_to(tmp_path / "real" / "lists", target_is_directory=True)
    dataset = load_dataset(own_csv(tmp_path / "lists", "video,mos\n../videos/a.mp4,1\n"))
    (video,) = locate_videos(dataset, tmp_path / "lists").dataset.videos
    assert (video.name, isinstance(video.path, Path)) == ("a.mp4", True)
    assert video.path.samefile(tmp_path / "real" / "videos" / "a.mp4")  # type: ignore[union-attr]


def test_locate_videos__searches_for_files_that_left_their_listed_path(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "x/a.mp4", "b.mp4")
    dataset = load_dataset(own_csv(root, "video,mos\n/gone/x/a.mp4,1\n/gone/y/b.mp4,2\n"))
    assert located_at(dataset, root) == ["x/a.mp4", "b.mp4"]
    (root / "b.mp4").unlink()
    message = (
        r"1 of 2 videos are missing at their listed paths and below '.*' \(1 video files there\): /gone/y/b"
    )
    with pytest.raises(DatasetError, match=message):
        locate_videos(dataset, root)
    assert locate_videos(dataset, root, skip_missing=True).missing == ("y/b.mp4",)


def test_locate_videos__gives_a_listed_file_to_one_video_alone(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "x/a.mp4")
    dataset = load_dataset(own_csv(root, f"video,mos\n{root}/x/a.mp4,1\na.mp4,2\n"))
    with pytest.raises(
        DatasetError, match=r"1 files below .* fit several videos: .*x/a\.mp4 \(x/a\.mp4, a\.mp4\)"
    ):
        locate_videos(dataset, root)


def test_locate_videos__reports_a_listed_path_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    dataset = load_dataset(own_csv(tmp_path, "video,mos\n/d/a.mp4,1\n"))
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(
        DatasetError, match=r"'/d/a\.mp4' cannot be read \(Permission denied\); correct its perm"
    ):
        locate_videos(dataset, tmp_path)


def test_locate_videos__takes_names_with_a_colon(tmp_path: Path) -> None:
    root = touch(tmp_path, "a:b.mp4", "x/clip:1.mp4")
    assert located_at(made("a:b.mp4", "clip:1.mp4"), root) == ["a:b.mp4", "x/clip:1.mp4"]


def test_locate_videos__finds_files_of_another_release_by_the_pattern(tmp_path: Path) -> None:
    root = touch(
        tmp_path,
        "KoNViD_1k_videos/3339962845_original_centercrop_960x540_8s.mp4",
        "KoNViD_1k_videos/8171831850.mp4",
    )
    dataset = made("3339962845.mp4", "8171831850.mp4", files=load_manifest("konvid").files)
    assert located_at(dataset, root) == [
        "KoNViD_1k_videos/3339962845_original_centercrop_960x540_8s.mp4",
        "KoNViD_1k_videos/8171831850.mp4",
    ]
    root = touch(
        tmp_path / "ugc", "h264/Gaming_720P-25aa_crf_10_ss_00_t_20.0.mp4", "Gaming/720P/Gaming_720P-25ba.mkv"
    )
    assert located_at(
        made("Gaming_720P-25aa.mkv", "Gaming_720P-25ba.mkv", files=load_manifest("youtube-ugc").files), root
    ) == ["h264/Gaming_720P-25aa_crf_10_ss_00_t_20.0.mp4", "Gaming/720P/Gaming_720P-25ba.mkv"]


def test_locate_videos__missing_videos_are_an_error_or_left_out(tmp_path: Path) -> None:
    root = touch(tmp_path, "b.mp4")
    dataset = made("a.mp4", "b.mp4", "c.mp4")
    missing = r"2 of 3 videos are missing below '.*' \(1 video files there\): a\.mp4, c\.mp4"
    message = f"{missing}; name another folder, .*--skip-missing"
    with pytest.raises(DatasetError, match=message):
        locate_videos(dataset, root)
    located = locate_videos(dataset, root, skip_missing=True)
    assert located.missing == ("a.mp4", "c.mp4")
    assert [(video.name, video.path) for video in located.dataset.videos] == [("b.mp4", root / "b.mp4")]
    with pytest.raises(DatasetError, match="1 of 1 videos are missing"):
        locate_videos(made("z.mp4"), root, skip_missing=True)
    with pytest.raises(
        DatasetError, match=r"the folder of videos '.*nowhere' does not exist; name it with --root DIR"
    ):
        locate_videos(dataset, root / "nowhere")


def test_locate_videos__refuses_ambiguous_files_even_when_skipping(tmp_path: Path) -> None:
    root = touch(tmp_path, "x/a.mp4", "y/a.mp4", "b.mkv", "b.avi", "c.mp4")
    for skip_missing in (False, True):
        with pytest.raises(
            DatasetError,
            match=r"2 videos fit several files below .*: a\.mp4 \(x/a\.mp4, y/a\.mp4\), b\.mp4 \(b\.avi, "
            r"b\.mkv\); keep one",
        ):
            locate_videos(made("a.mp4", "b.mp4", "c.mp4"), root, skip_missing)


def test_locate_videos__never_gives_one_file_to_several_videos(tmp_path: Path) -> None:
    root = touch(tmp_path, "1.mp4", "clips/2.mp4")
    with pytest.raises(DatasetError, match=r"2 of 2 videos are missing"):
        locate_videos(made("a/1.mp4", "b/1.mp4"), root)
    with pytest.raises(
        DatasetError,
        match=r"1 files below '.*' fit several videos: clips/2\.mp4 \(2\.mp4, clips/2\.mp4\); write the "
        r"relative path",
    ):
        locate_videos(made("2.mp4", "clips/2.mp4", files=FileRules(folders=("clips",))), root)


def test_locate_videos__exact_paths_only_takes_no_file_of_another_folder(tmp_path: Path) -> None:
    root = touch(tmp_path, "LSVQ/ia-batch1/722.mp4")
    rules = load_manifest("lsvq").files
    assert located_at(made("ia-batch1/722.mp4", files=rules), root) == ["LSVQ/ia-batch1/722.mp4"]
    with pytest.raises(DatasetError, match="1 of 1 videos are missing"):
        locate_videos(made("yfcc-batch1/722.mp4", files=rules), root)


def test_locate_videos__follows_linked_folders_once(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "a.mp4")
    linked = touch(tmp_path / "disk", "b.mp4")
    try:
        (root / "link").symlink_to(linked, target_is_directory=True)
        (linked / "back").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("this file system has no symbolic links")
    assert located_at(made("a.mp4", "b.mp4"), root) == ["a.mp4", "link/b.mp4"]


def test_located__refuses_videos_without_a_path() -> None:
    with pytest.raises(DatasetError, match="2 videos have no path: a, b; locate them first"):
        Located(made("a", "b"))


def test_locate_videos__does_not_search_stores_and_hidden_folders(tmp_path: Path) -> None:
    root = touch(tmp_path, "videos/a.mp4", "features/made.zarr/a.mp4", ".trash/a.mp4", "videos/._b.mp4")
    assert located_at(made("a.mp4"), root) == ["videos/a.mp4"]


def test_locate_videos__reports_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DatasetError, match=r"the folder '.*' cannot be read \(Permission denied\); correct its permissions"
    ):
        locate_videos(made("a.mp4"), tmp_path)


def test_raw_geometry__parse_reads_one_word() -> None:
    assert RawGeometry.parse("1920x1080:yuvj420p@29.97") == RawGeometry(1920, 1080, "yuvj420p", 29.97)
    for text in ("1920x1080", "1920x1080:yuv420p", "x:yuv420p@30", "1920x1080:yuv420p@fast"):
        with pytest.raises(DatasetError, match="not WIDTHxHEIGHT:FORMAT@RATE, such as 1920x1080:yuvj420p@30"):
            RawGeometry.parse(text)
