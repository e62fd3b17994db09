"""Videos without labels: what is named becomes a data set, wherever the files are."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.s3 import LoopbackS3
from tests.helpers.web import serve_folder
from vqafeat.datasets import Dataset, Video, load_dataset, load_videos
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.remote import WebFile, parse_path
from vqafeat.video.files import file_fingerprint


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a.MKV", "night/c.mp4", "night/deep/d.mp4", ".hidden/e.mp4", "notes.txt"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(name.encode())
    return tmp_path / "clips"


@pytest.fixture
def web(clips: Path) -> Iterator[str]:
    with serve_folder(clips) as address:
        yield address


def names(dataset: Dataset) -> list[str]:
    return [video.name for video in dataset.videos]


@pytest.mark.parametrize("item", ["clips", "clips/", "../{}/clips", Path("clips")])
def test_load_videos__takes_a_folder_with_all_below_it(clips: Path, item: str | Path) -> None:
    item = item.format(clips.parent.name) if isinstance(item, str) else item
    dataset = load_videos([item])
    assert (dataset.name, names(dataset)) == ("clips", ["a.MKV", "b.mp4", "night/c.mp4", "night/deep/d.mp4"])
    assert dataset.videos[2].path == clips / "night/c.mp4"
    assert not dataset.labelled
    assert math.isnan(dataset.videos[0].mos)
    assert repr(dataset) == "clips: 4 videos, no labels"
    assert dataset.digest == load_dataset(Path("clips")).digest == load_dataset("clips/").digest


def test_load_videos__names_files_below_the_folder_that_they_share(clips: Path) -> None:
    assert names(load_videos(["clips/**/*.mp4"])) == ["b.mp4", "night/c.mp4", "night/deep/d.mp4"]
    assert names(load_videos(["clips/*"])) == ["a.MKV", "b.mp4", "night/c.mp4", "night/deep/d.mp4"]
    assert names(load_dataset("clips/n*/*.mp4")) == ["night/c.mp4"]
    listed = load_videos(["clips/night/deep/d.mp4", clips / "b.mp4", "clips/b.mp4"], "mine")
    assert (listed.name, names(listed)) == ("mine", ["night/deep/d.mp4", "b.mp4"])
    (clips / "[1].mp4").touch()
    assert names(load_videos(["clips/[1].mp4"])) == ["[1].mp4"]


def test_load_videos__steps_over_links_that_lead_nowhere(clips: Path) -> None:
    for name, target in (("x", "x"), ("p.mp4", "q.mp4"), ("q.mp4", "p.mp4"), ("lost.mp4", "nothing.mp4")):
        (clips / name).symlink_to(target)
    everything = ["a.MKV", "b.mp4", "night/c.mp4", "night/deep/d.mp4"]
    assert names(load_videos(["clips"])) == names(load_videos(["clips/*"])) == everything
    with pytest.raises(DatasetError, match=r"'clips/p\.mp4' is not a video, a folder or an address"):
        load_videos(["clips/p.mp4"])


def test_load_videos__refuses_names_that_are_not_utf8(clips: Path) -> None:
    (clips / "b.mp4").rename(clips / "caf\udce9.mp4")
    with pytest.raises(DatasetError, match=r"of the video 'caf\\udce9\.mp4' is not UTF-8; rename its file"):
        load_videos(["clips"])
    folder = (clips / "night").rename(clips / "nuit\udce9")
    with pytest.raises(DatasetError, match=r"of the data set 'nuit\\udce9' is not UTF-8; name it with --na"):
        load_videos([folder])
    assert load_videos([folder], "night").name == "night"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("konvid", r"'konvid' is not a video, a folder or an address; .* name a known data set with --dat"),
        ("clips/mos.csv", r"'clips/mos\.csv' is a list or a manifest, not a video; name it with --dataset"),
        ("clips/*.avi", r"there are no videos in clips/\*\.avi"),
        (
            "http://127.0.0.1:9/a.mp4",
            r"the video 'http://127\.0\.0\.1:9/a\.mp4' cannot be fetched \(.*refused",
        ),
    ],
)
def test_load_videos__refuses_what_is_no_video(clips: Path, item: str, message: str) -> None:
    for items in ([item], ["clips", item]):
        with pytest.raises(DatasetError, match=message):
            load_videos(items)
    with pytest.raises(DatasetError, match="there are no videos in an empty list"):
        load_videos([])


def test_load_dataset__of_a_folder_of_videos_has_no_label_files(clips: Path) -> None:
    with pytest.raises(DatasetError, match=r"is a folder of videos, so no labels apply; for videos with"):
        load_dataset("clips/", labels="mos.csv")


def test_load_videos__fetches_files_from_the_web(clips: Path, web: str, tmp_path: Path) -> None:
    dataset = load_videos([f"{web}/b.mp4?signature=HIDDEN", "clips/night/c.mp4", f"{web}/a.MKV"], "both")
    host, local = web.removeprefix("http://"), str(clips).lstrip("/")
    assert names(dataset) == [f"{host}/b.mp4", f"{local}/night/c.mp4", f"{host}/a.MKV"]
    file = dataset.videos[0].path
    assert isinstance(file, WebFile)
    assert (str(file), file.name, file.suffix) == (f"{web}/b.mp4", "b.mp4", ".mp4")
    assert "HIDDEN" not in f"{dataset}{file}"
    file.fetch(tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == b"b.mp4"
    assert file.is_copied_to(tmp_path / "copy.mp4")
    remote, original = file_fingerprint(file, None), file_fingerprint(clips / "b.mp4", None)
    assert (remote["sha256"], remote["bytes"]) == (original["sha256"], original["bytes"])
    assert remote["mtime_ns"] == original["mtime_ns"] // 10**9 * 10**9


def test_load_videos__refuses_addresses_without_size_or_with_a_user(clips: Path, web: str) -> None:
    (clips / "no-size").mkdir()
    (clips / "no-size/c.mp4").touch()
    with pytest.raises(DatasetError, match=r"the server does not state the size of 'http.*/no-size/c\.mp4'"):
        load_videos([f"{web}/no-size/c.mp4"])
    with pytest.raises(
        DatasetError, match=r"/none\.mp4' cannot be fetched \(HTTP Error 404: File not found\)"
    ):
        load_videos([f"{web}/none.mp4?HIDDEN"])
    with pytest.raises(
        ArgumentError, match=r"the address of a video holds a user name, which may be secret; drop it"
    ):
        load_videos(["https://me:HIDDEN@host/a.mp4"])


def test_load_videos__refuses_addresses_that_no_server_can_answer() -> None:
    for url in ("http://127.0.0.1:1/caf\u00e9.mp4", "http://[::1/a.mp4"):
        with pytest.raises(DatasetError, match=r"^'http.*\.mp4' is not a URL \(.*\); percent-encode it\.$"):
            load_videos([url])


def test_load_videos__takes_a_file_whose_server_states_a_wrong_time(clips: Path, web: str) -> None:
    (clips / "no-time").mkdir()
    (clips / "no-time/c.mp4").write_bytes(b"c")
    assert names(load_videos([f"{web}/no-time/c.mp4"])) == ["c.mp4"]


def test_load_videos__refuses_two_files_of_one_name(clips: Path, web: str) -> None:
    with pytest.raises(
        DatasetError, match=r"b\.mp4' and 'http.*b\.mp4' have the same name \(the query .* does not count\)"
    ):
        load_videos([f"{web}/b.mp4?id=1", f"{web}/b.mp4?id=2"])
    assert names(load_videos([f"{web}/b.mp4?id=1", f"{web}/b.mp4?id=1", clips / "b.mp4"], "both"))


def test_load_videos__takes_prefixes_and_objects_of_s3(clips: Path, s3: LoopbackS3) -> None:
    root = parse_path("s3://bucket/set", [f"endpoint_url={s3.url}"])
    for name in ("a.mp4", "b/c.mp4", "d.txt"):
        (root / name).write_bytes(name.encode())
    assert names(load_videos([root])) == ["a.mp4", "b/c.mp4"]
    dataset = load_videos([root / "b/c.mp4", root / "a.mp4"])
    assert (dataset.name, names(dataset)) == ("set", ["b/c.mp4", "a.mp4"])
    assert [video.path for video in load_videos([root]).videos] == [
        dataset.videos[1].path,
        dataset.videos[0].path,
    ]
    with pytest.raises(DatasetError, match=r"the video 's3://bucket/set/none\.mp4' does not exist"):
        load_videos([root / "none.mp4"])


def test_dataset__has_labels_for_all_videos_or_for_none() -> None:
    rows = (Video("a", math.nan, "a", labelled=False), Video("b", 1.0, "b"))
    with pytest.raises(DatasetError, match=r"1 of its 2 videos have no label: a; give all labels, or none"):
        Dataset("d", "d", "MOS", (1, 1), rows, "list.csv", "")
