"""The demo data set: the same bytes from the same seed, decoded as versions.csv claims."""

import csv
import json
import shutil
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from vqafeat.datasets import load_manifest
from vqafeat.demo import DEMO_NAME, SCORE_RANGE, make_demo
from vqafeat.demo.camera import Pictures, plan_camera
from vqafeat.demo.distortions import KINDS, NEAR_LOSSLESS_CRF
from vqafeat.demo.video_set import DemoSettings, plan_versions, write_h264
from vqafeat.errors import ArgumentError, DatasetError

SECONDS = 0.5
FRAMES = 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo") / "set", contents=1, seconds=SECONDS).parent


@pytest.fixture
def own_copy(demo: Path, tmp_path: Path) -> Path:
    return shutil.copytree(demo, tmp_path / "set")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def decoded_luma(path: Path) -> NDArray[np.float64]:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray()[: frame.height] for frame in container.decode(video=0)]).astype(
            np.float64
        )


def test_make_demo__the_same_seed_gives_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "again", contents=1, seconds=SECONDS)
    assert contents_of(tmp_path / "again") == contents_of(demo)


def test_make_demo__another_seed_gives_another_set(demo: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "other", seed=1, contents=1, seconds=SECONDS)
    ours, theirs = contents_of(demo), contents_of(tmp_path / "other")
    assert list(ours) == list(theirs)
    assert all(ours[name] != theirs[name] for name in ours if name.endswith(".mp4"))


def test_make_demo__labels_are_an_own_data_set(demo: Path) -> None:
    labels = rows(demo / "labels.csv")
    assert list(labels[0]) == ["video", "mos", "content"]
    assert [row["video"] for row in labels] == [
        f"videos/c01_{kind}{repeat}.mp4"
        for kind in KINDS
        for repeat in ([""] if kind == "pristine" else ["", "-2"])
    ]
    assert {row["content"] for row in labels} == {"c01"}
    assert all(SCORE_RANGE[0] <= float(row["mos"]) <= SCORE_RANGE[1] for row in labels)
    manifest = load_manifest(DEMO_NAME)
    assert (manifest.score_name, manifest.mos_range) == ("proxy score", SCORE_RANGE)


def test_make_demo__videos_decode_to_what_versions_csv_claims(demo: Path) -> None:
    for row in rows(demo / "versions.csv"):
        with av.open(demo / row["video"]) as container:
            assert container.streams.video[0].average_rate == int(row["frame_rate_hz"])
        luma = decoded_luma(demo / row["video"])
        assert luma.shape == (int(row["frames"]), 144, 256) == (FRAMES, 144, 256)
        change = np.abs(np.diff(luma, axis=0)).mean((1, 2))
        assert (np.flatnonzero(change < 1.0) + 1).tolist() == [
            int(frame) for frame in row["repeated_frames"].split()
        ], row["video"]
        assert float(row["proxy_score_before_noise"]) == KINDS[row["kind"]].score(int(row["severity"]))


def test_make_demo__finds_a_finished_set(own_copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own_copy.rglob("*")}
    assert make_demo(own_copy, contents=1, seconds=SECONDS) == own_copy / "labels.csv"
    assert {path: path.stat().st_mtime_ns for path in own_copy.rglob("*")} == before


def test_make_demo__completes_an_interrupted_set(
    own_copy: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def failing(path: Path, *rest: object) -> None:
        if len(written) == 3:
            path.with_name(path.name + ".part").write_bytes(b"half a video")
            raise KeyboardInterrupt
        written.append(path.name)
        write_h264(path, *rest)  # type: ignore[arg-type]

    root = tmp_path / "interrupted"
    monkeypatch.setattr("vqafeat.demo.video_set.write_h264", failing)
    with pytest.raises(KeyboardInterrupt):
        make_demo(root, contents=1, seconds=SECONDS)
    assert not (root / "labels.csv").exists()
    kept = {name: (root / "videos" / name).stat().st_mtime_ns for name in written}
    monkeypatch.setattr("vqafeat.demo.video_set.write_h264", write_h264)
    make_demo(root, contents=1, seconds=SECONDS)
    assert contents_of(root) == contents_of(demo)
    assert {name: (root / "videos" / name).stat().st_mtime_ns for name in written} == kept


def test_make_demo__makes_missing_and_changed_videos_again(own_copy: Path, demo: Path) -> None:
    (own_copy / "videos/c01_judder.mp4").unlink()
    (own_copy / "videos/c01_flicker.mp4").write_bytes(b"not a video")
    untouched = (own_copy / "videos/c01_pristine.mp4").stat().st_mtime_ns
    make_demo(own_copy, contents=1, seconds=SECONDS)
    assert contents_of(own_copy) == contents_of(demo)
    assert (own_copy / "videos/c01_pristine.mp4").stat().st_mtime_ns == untouched


def test_make_demo__writes_lost_labels_again_and_no_video(own_copy: Path, demo: Path) -> None:
    (own_copy / "labels.csv").unlink()
    before = {path: path.stat().st_mtime_ns for path in (own_copy / "videos").iterdir()}
    make_demo(own_copy, contents=1, seconds=SECONDS)
    assert contents_of(own_copy) == contents_of(demo)
    assert {path: path.stat().st_mtime_ns for path in (own_copy / "videos").iterdir()} == before


def test_make_demo__does_not_overwrite_a_set_of_other_settings(own_copy: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"holds a demo with .*'seed': 0.*, not .*'seed': 1.*; delete the folder or choose another one",
    ):
        make_demo(own_copy, seed=1, contents=1, seconds=SECONDS)


def test_make_demo__does_not_overwrite_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("video,mos\n", encoding="utf-8")
    with pytest.raises(
        DatasetError, match=r"holds labels.csv but no demo.json, so it is not a demo; choose an empty folder"
    ):
        make_demo(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"settings": {}, "sha256": 3})])
def test_make_demo__reports_a_damaged_marker(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"demo.json' is not the marker of a demo .*; delete the folder"):
        make_demo(tmp_path)


def test_make_demo__refuses_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="demo: seed: -1 must be greater than or equal to 0"):
        make_demo(tmp_path, seed=-1)
    with pytest.raises(ArgumentError, match="contents: 13 must be less than or equal to 12"):
        make_demo(tmp_path, contents=13)
    with pytest.raises(ArgumentError, match="contents: 0 must be greater than or equal to 1"):
        make_demo(tmp_path, contents=0)
    with pytest.raises(ArgumentError, match="severities: 6 must be less than or equal to 5"):
        make_demo(tmp_path, severities=6)
    with pytest.raises(ArgumentError, match=r"seconds: nan must be less than or equal to 10"):
        make_demo(tmp_path, seconds=float("nan"))
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"root is '.*file', which is a file; name a folder"):
        make_demo(tmp_path / "file")


def test_plan_versions__are_twelve_contents_in_thirteen_versions() -> None:
    versions = plan_versions(DemoSettings())
    assert len(versions) == len({version.video for version in versions}) == 156
    assert Counter(version.content for version in versions) == dict.fromkeys(range(12), 13)
    assert Counter(len(version.shown) for version in versions) == {48: 52, 50: 52, 60: 52}
    for kind in KINDS:
        own = [version for version in versions if version.kind == kind]
        for first in (0, 5):
            severities = sorted(version.severity for version in own if first <= version.content < first + 5)
            assert severities == ([0] * 5 if kind == "pristine" else [1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
        assert all(
            len({version.severity for version in own if version.content == content}) == len(own) // 12
            for content in range(12)
        )


def test_plan_versions__one_severity_a_kind_gives_the_first_versions() -> None:
    few, many = plan_versions(DemoSettings(severities=1)), plan_versions(DemoSettings())
    assert len(few) == 84
    assert [(v.video, v.proxy_score) for v in few] == [
        (v.video, v.proxy_score) for v in many if v.repeat == 0
    ]


def test_plan_versions__labels_stay_near_the_documented_function() -> None:
    versions = plan_versions(DemoSettings())
    noise = np.array(
        [version.proxy_score - KINDS[version.kind].score(version.severity) for version in versions]
    )
    assert 1 < noise.std() < 3
    assert abs(noise.mean()) < 1
    assert len({version.proxy_score for version in versions}) > 140


def test_plan_versions__first_contents_do_not_depend_on_how_many_follow() -> None:
    few, many = plan_versions(DemoSettings(contents=2)), plan_versions(DemoSettings(contents=12))
    assert [(v.video, v.severity, v.proxy_score) for v in few] == [
        (v.video, v.severity, v.proxy_score) for v in many[:26]
    ]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return plan_camera(0, 0).render(np.arange(FRAMES) / 24)


@pytest.mark.parametrize("rate_hz", [24, 25, 30])
def test_write_h264__frames_and_rate_are_those_requested(
    tmp_path: Path, pictures: Pictures, rate_hz: int
) -> None:
    write_h264(tmp_path / "clip.mp4", pictures, rate_hz, NEAR_LOSSLESS_CRF)
    with av.open(tmp_path / "clip.mp4") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(rate_hz)
        assert (stream.frames, stream.codec_context.name, stream.pix_fmt) == (FRAMES, "h264", "yuv420p")
        frames = list(container.decode(stream))
        assert [frame.time for frame in frames] == pytest.approx(
            [number / rate_hz for number in range(FRAMES)]
        )
        assert (frames[0].color_range, frames[0].colorspace) == (ColorRange.MPEG, Colorspace.SMPTE170M)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_write_h264__near_lossless_is_near_lossless(tmp_path: Path, pictures: Pictures) -> None:
    write_h264(tmp_path / "clip.mp4", pictures, 24, NEAR_LOSSLESS_CRF)
    with av.open(tmp_path / "clip.mp4") as container:
        decoded = np.stack([frame.to_ndarray() for frame in container.decode(video=0)])
    luma = decoded[:, : pictures.luma.shape[1]].astype(np.float64)
    error = np.mean((luma - pictures.luma) ** 2)
    assert 10 * np.log10(255**2 / error) > 46


def test_write_h264__files_shrink_and_pictures_worsen_with_severity(
    tmp_path: Path, pictures: Pictures
) -> None:
    sizes, errors = [], []
    for severity in range(6):
        path = tmp_path / f"{severity}.mp4"
        write_h264(path, pictures, 24, KINDS["compression"].crf(severity))
        sizes.append(path.stat().st_size)
        with av.open(path) as container:
            luma = np.stack(
                [frame.to_ndarray()[: pictures.luma.shape[1]] for frame in container.decode(video=0)]
            )
        errors.append(float(np.mean((luma.astype(np.float64) - pictures.luma) ** 2)))
    assert all(milder > harsher for milder, harsher in pairwise(sizes))
    assert all(milder < harsher for milder, harsher in pairwise(errors))
