"""A data set into a store: skipped, resumed, replaced, failed, killed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import crashing_decoder
from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import NAMES, SQUEEZENET, RecordedProgress, extract_random, run, tree
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import Network
from vqafeat.datasets import RawGeometry, load_dataset
from vqafeat.errors import ArgumentError, DatasetError, IdentityError, StoreError
from vqafeat.extraction.extract import extract, extract_features
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import read_failure_log
from vqafeat.store import FeatureStore, verify_store
from vqafeat.store.zarr_io import failure_log_path, write_array
from vqafeat.video import pool

pytestmark = pytest.mark.usefixtures("networks_drawn_once")

VIDEOS = 12  # enough that some are left when a busy machine sees the second one stored


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        write_clip(folder / name, noise_frames(5, 64, 48, seed))
    return folder


def test_extract__a_second_run_decodes_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(videos, tmp_path / "v.zarr")
    assert (first.extracted, first.skipped, first.frames, first.failures) == (3, 0, 15, ())
    monkeypatch.setattr("vqafeat.extraction.pipeline.Pipeline._begin", None)
    again = run(videos, tmp_path / "v.zarr")
    assert (again.extracted, again.skipped, again.frames) == (0, 3, 0)
    assert list(verify_store(FeatureStore.open(tmp_path / "v.zarr"))) == []


def test_extract__repeats_a_replaced_file_and_not_a_touched_one(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "v.zarr")
    before = FeatureStore.open(tmp_path / "v.zarr").read("squeezenet1_0", "a.mp4").values.copy()
    os.utime(videos / "a.mp4", (1, 1))
    assert run(videos, tmp_path / "v.zarr").extracted == 0
    write_clip(videos / "a.mp4", noise_frames(6, 64, 48, seed=9))
    summary = run(videos, tmp_path / "v.zarr")
    assert (summary.extracted, summary.frames) == (1, 6)
    after = FeatureStore.open(tmp_path / "v.zarr").read("squeezenet1_0", "a.mp4").values
    assert after.shape != before.shape


def test_extract__adds_a_network_without_touching_the_others(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "v.zarr")
    before = tree(tmp_path / "v.zarr")
    assert run(videos, tmp_path / "v.zarr", ("squeezenet1_0", "resnet18")).extracted == 3
    after = tree(tmp_path / "v.zarr")
    assert {name: after[name] for name in before} == before
    run(videos, tmp_path / "together.zarr", ("resnet18", "squeezenet1_0"))
    assert tree(tmp_path / "together.zarr") == after


def test_extract__logs_a_bad_video_and_continues(videos: Path, tmp_path: Path) -> None:
    (videos / "b.mp4").write_bytes(b"no video")
    summary = run(videos, tmp_path / "v.zarr")
    assert (summary.extracted, len(summary.failures)) == (2, 1)
    failure_log = tmp_path / "v.failures.jsonl"
    line = json.loads(failure_log.read_text())
    assert (line["video"], line["kind"], line["path"]) == ("b.mp4", "cannot-open", str(videos / "b.mp4"))
    assert FeatureStore.open(tmp_path / "v.zarr").complete_videos("squeezenet1_0") == ["a.mp4", "c.mp4"]
    write_clip(videos / "b.mp4", noise_frames(5, 64, 48, 1))
    assert run(videos, tmp_path / "v.zarr").extracted == 1
    assert read_failure_log(failure_log) == []


def test_extract__never_stores_a_broken_video_as_whole(tmp_path: Path) -> None:
    whole = write_clip(
        tmp_path / "whole.mp4",
        noise_frames(60),
        options={"g": "5"},
        container_options={"movflags": "faststart"},
    ).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    dataset = csv_dataset(tmp_path, ["cut.mp4"])
    store = FeatureStore.create(tmp_path / "v.zarr", dataset)
    summary = extract_random(dataset, store)
    assert summary.failures[0].kind == "breaks-midway"
    assert store.complete_videos("squeezenet1_0") == []
    assert not (store.path / "frames").exists()


def test_extract__repeats_raw_video_read_by_another_geometry(tmp_path: Path) -> None:
    (tmp_path / "a.yuv").write_bytes(bytes(range(256)) * 36 * 2)
    sizes = []
    for pixel_format, side in (("yuvj420p", 64), ("yuv420p", 64), ("yuv420p", 32)):
        dataset = replace(csv_dataset(tmp_path, ["a.yuv"]), raw=RawGeometry(side, 48, pixel_format, 25.0))
        summary = extract_random(dataset, tmp_path / "v.zarr")
        sizes.append((summary.extracted, summary.frames))
    assert sizes == [(1, 4), (1, 4), (1, 8)]
    again = extract_random(dataset, tmp_path / "v.zarr")
    assert again.skipped == 1


def test_extract__skips_videos_that_are_too_small_or_gone(tmp_path: Path) -> None:
    for name, side in (("a.mp4", 16), ("b.mp4", 48), ("c.mp4", 48)):
        write_clip(tmp_path / name, noise_frames(3, side, side))
    dataset = csv_dataset(tmp_path, NAMES)
    (tmp_path / "b.mp4").unlink()
    summary = extract_random(dataset, tmp_path / "v.zarr")
    failures = sorted((failure.video, failure.kind, failure.message) for failure in summary.failures)
    assert [failure[:2] for failure in failures] == [("a.mp4", "too-small"), ("b.mp4", "cannot-open")]
    assert "takes no side below 21 samples" in failures[0][2]
    assert summary.extracted == 1


def test_extract__a_network_that_refuses_costs_only_itself(videos: Path, tmp_path: Path) -> None:
    write_clip(videos / "b.mp4", noise_frames(3, 16, 16))
    pair, log = ("squeezenet1_0", "resnet18"), tmp_path / "v.failures.jsonl"
    summary = run(videos, tmp_path / "v.zarr", pair)
    assert (summary.extracted, summary.frames) == (2, 13)
    (failure,) = summary.failures
    assert (failure.video, failure.kind, failure.feature_sets) == ("b.mp4", "too-small", ("squeezenet1_0",))
    assert "'squeezenet1_0' takes no side below 21 samples" in failure.message
    assert read_failure_log(log) == [failure]
    store = FeatureStore.open(tmp_path / "v.zarr")
    assert store.complete_videos("resnet18") == NAMES
    assert store.complete_videos("squeezenet1_0") == ["a.mp4", "c.mp4"]
    alone = FeatureStore.open(tmp_path / "v.zarr").read("resnet18", "b.mp4")
    run(videos, tmp_path / "alone.zarr", ("resnet18",))
    expected = FeatureStore.open(tmp_path / "alone.zarr").read("resnet18", "b.mp4")
    np.testing.assert_array_equal(alone.values, expected.values)
    again = run(videos, tmp_path / "v.zarr", pair)
    assert (again.extracted, again.skipped, again.failures) == (0, 2, (failure,))
    assert run(videos, tmp_path / "v.zarr", ("resnet18",)).skipped == 3
    assert read_failure_log(log) == [failure]


def test_extract__a_network_without_memory_costs_only_itself(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Network.rows

    def rows(self: Network, parts: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.backbone.name == "squeezenet1_0":
            raise torch.OutOfMemoryError("no room")
        return original(self, parts)

    monkeypatch.setattr(Network, "rows", rows)
    summary = run(videos, tmp_path / "v.zarr", ("squeezenet1_0", "resnet18"))
    assert {(failure.kind, failure.feature_sets) for failure in summary.failures} == {
        ("out-of-memory", ("squeezenet1_0",))
    }
    store = FeatureStore.open(tmp_path / "v.zarr")
    assert (store.complete_videos("resnet18"), store.complete_videos("squeezenet1_0")) == (NAMES, [])


def test_extract__names_every_feature_set_if_all_networks_refuse(videos: Path, tmp_path: Path) -> None:
    write_clip(videos / "b.mp4", noise_frames(3, 16, 16))
    pair = ("squeezenet1_0", "squeezenet1_0@crops768")
    (failure,) = run(videos, tmp_path / "v.zarr", pair).failures
    assert failure.feature_sets == pair
    (failure,) = run(videos, tmp_path / "v.zarr", pair[:1]).failures
    assert failure.feature_sets == pair[:1]
    logged = [item.feature_sets for item in read_failure_log(tmp_path / "v.failures.jsonl")]
    assert logged == [pair[1:], pair[:1]]


def test_read_failure_log__ignores_a_half_written_line(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "v.failures.jsonl").write_text(
        '{"video": "x.mp4", "path": "", "kind": "missing", "message": "m"}\n{"video": "y.m'
    )
    assert run(videos, tmp_path / "v.zarr").extracted == 3
    assert [failure.video for failure in read_failure_log(tmp_path / "v.failures.jsonl")] == ["x.mp4"]


def test_extract__notes_missing_videos(videos: Path, tmp_path: Path) -> None:
    whole = csv_dataset(videos, NAMES)
    weights, path = {"squeezenet1_0": "random"}, tmp_path / "videos.zarr"
    summary = extract_features(whole.subset([0, 2]), SQUEEZENET, tmp_path, weights=weights, whole=whole)
    assert [(failure.video, failure.kind) for failure in summary.failures] == [("b.mp4", "missing")]
    assert [failure.video for failure in read_failure_log(failure_log_path(path))] == ["b.mp4"]
    assert [video.name for video in FeatureStore.open(path).dataset.videos] == NAMES


def test_extract__refuses_another_identity_before_decoding(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(videos, tmp_path / "v.zarr")
    monkeypatch.setattr("vqafeat.extraction.pipeline.Pipeline._begin", None)
    dataset = csv_dataset(videos, NAMES)
    with pytest.raises(IdentityError, match="weights_sha256"):
        extract_random(dataset, tmp_path / "v.zarr", weights={"squeezenet1_0": "random:1"})


def test_extract__refuses_videos_without_a_path(videos: Path, tmp_path: Path) -> None:
    csv_dataset(videos, NAMES)
    dataset = replace(load_dataset(str(videos / "scores.csv")), root=None)
    with pytest.raises(
        DatasetError, match=r"3 videos of 'videos' have no path \(first: a.mp4, b.mp4, c.mp4\)"
    ):
        extract_random(dataset, tmp_path / "v.zarr")


def test_extract__locates_videos_and_makes_the_store(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "one" / "videos.zarr", ("squeezenet1_0", "resnet18@center112"))
    weights: dict[str, str | Path] = {"squeezenet1_0": "random", "resnet18": Path("random:0")}
    dataset, names = load_dataset(str(videos / "scores.csv")), ["squeezenet1_0", "resnet18@center112"]
    assert (
        extract_features(dataset, names, str(tmp_path / "two"), weights=weights, devices=["cpu"]).extracted
        == 3
    )
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    built = build_extractors(names, dict.fromkeys(weights, "random"))
    assert extract_features(dataset, built, tmp_path / "two").skipped == 3


def test_extract__takes_videos_by_absolute_and_parent_paths(videos: Path, tmp_path: Path) -> None:
    for folder, name in (("one", "a.mp4"), ("two", "b.mp4")):
        (tmp_path / folder).mkdir()
        (videos / name).rename(tmp_path / folder / "clip:1.mp4")
    labels = videos / "scores.csv"
    labels.write_text(f"video,mos\n{tmp_path}/one/clip:1.mp4,1\n../two/clip:1.mp4,2\nc.mp4,3\n")
    weights, names = {"squeezenet1_0": "random"}, ["one/clip:1.mp4", "two/clip:1.mp4", "c.mp4"]
    summary = extract_features(load_dataset(labels), SQUEEZENET, tmp_path / "features", weights=weights)
    assert (summary.extracted, summary.failures) == (3, ())
    store = FeatureStore.open(tmp_path / "features" / "videos.zarr")
    assert store.complete_videos("squeezenet1_0") == names
    assert {path.name for path in (store.path / "frames").iterdir() if path.is_dir()} == {
        "one%2Fclip%3A1.mp4",
        "two%2Fclip%3A1.mp4",
        "c.mp4",
    }


def test_extract__refuses_wrong_arguments(videos: Path, tmp_path: Path) -> None:
    dataset, built = csv_dataset(videos, NAMES), build_extractors(["resnet18"], {"resnet18": "random"})
    cases: list[tuple[Any, dict[str, Any], str]] = [
        ("resnet18", {}, r"feature_sets is the text 'resnet18'; give a list, such as \['resnet18'\]"),
        (["resnet18"], {"devices": "cpu"}, "devices is the text 'cpu'; give a list"),
        (["resnet18"], {"devices": []}, "devices is empty; name at least one"),
        ([], {}, r"feature_sets is \[\]; give names, or extractors on one device"),
        (built, {"devices": ["cpu", "cpu"]}, r"feature_sets is \['resnet18'\]; give names"),
        (["resnet18"], {"weights": {"resnet": "random"}}, "weights are given for 'resnet'; .* are resnet18"),
        (["resnet18"], {"weights": "a.pth"}, r"weights is the text 'a.pth'; .* as \{'resnet18': 'a.pth'\}"),
        (["resnet18"], {"dtype": "float64"}, "dtype 'float64' is not one of float16, float32"),
    ]
    for feature_sets, options, message in cases:
        with pytest.raises(ArgumentError, match=message):
            extract_features(dataset, feature_sets, tmp_path, **options)
    path: Any = "./clips"
    with pytest.raises(ArgumentError, match=r"dataset is the text './clips'; .* load_dataset\('./clips'\)"):
        extract(path, ["resnet18"], tmp_path)
    assert not list(tmp_path.glob("*.zarr"))


def test_extract__reports_progress_video_by_video(videos: Path, tmp_path: Path) -> None:
    dataset, progress = csv_dataset(videos, NAMES), RecordedProgress()
    extract_random(dataset, tmp_path / "v.zarr", progress=progress)
    assert progress.names == NAMES
    assert [event for event in progress.events if isinstance(event, int)] == [1, 2, 3]


KILLED = """
import sys
from pathlib import Path
from tests.helpers.extractions import run
run(Path(sys.argv[1]), Path(sys.argv[2]), names=sys.argv[3:])
"""


@pytest.mark.faults
@pytest.mark.parametrize("after_videos", [0, 2])
def test_extract__a_killed_run_resumes_to_the_same_store(tmp_path: Path, after_videos: int) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    names = [f"{index}.mp4" for index in range(5)]
    for seed, name in enumerate(names):
        write_clip(videos / name, noise_frames(40, 64, 48, seed))
    run(videos, tmp_path / "whole.zarr", names=names)
    store = tmp_path / "killed.zarr"
    command = [sys.executable, "-c", KILLED, str(videos), str(store), *names]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        while (
            process.poll() is None
            and len(list(store.glob("features/squeezenet1_0/*.mp4"))) < after_videos + 1
        ):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert run(videos, store, names=names).extracted >= 4 - after_videos
    assert tree(store) == tree(tmp_path / "whole.zarr")
    assert np.isfinite(FeatureStore.open(store).read("squeezenet1_0", "4.mp4").values).all()


@pytest.mark.parametrize(
    ("fault", "kind"), [("crash", "decoder-crashed"), ("hang", "timeout"), ("bug", "decoder-error")]
)
def test_extract__every_codec_fault_ends_in_the_failure_log(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str
) -> None:
    monkeypatch.setattr(pool, "_START", crashing_decoder.START)
    (videos / "b.mp4").rename(videos / f"{fault}.mp4")
    dataset = csv_dataset(videos, ["a.mp4", f"{fault}.mp4", "c.mp4"])
    store = FeatureStore.create(tmp_path / "v.zarr", dataset)
    summary = extract_random(dataset, store, resources=Resources(timeout_seconds=2))
    assert [(failure.video, failure.kind) for failure in summary.failures] == [(f"{fault}.mp4", kind)]
    assert read_failure_log(failure_log_path(store.path)) == list(summary.failures)
    assert store.complete_videos("squeezenet1_0") == ["a.mp4", "c.mp4"]


def test_extract__a_full_disk_leaves_a_valid_store(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def write_until_full(*arguments: object) -> None:
        if len(written) == 3:  # frames, values and indices of the first video
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(write_array(*arguments))  # type: ignore[arg-type, func-returns-value]

    monkeypatch.setattr("vqafeat.store.layout.write_array", write_until_full)
    with pytest.raises(
        StoreError, match=r"'.*v.zarr' cannot be written to \(No space left on device\); make room"
    ):
        run(videos, tmp_path / "v.zarr")
    store = FeatureStore.open(tmp_path / "v.zarr")
    assert (list(verify_store(store)), len(store.complete_videos("squeezenet1_0"))) == ([], 1)
    monkeypatch.undo()
    assert run(videos, tmp_path / "v.zarr").extracted == 2
    run(videos, tmp_path / "whole.zarr")
    assert tree(tmp_path / "v.zarr") == tree(tmp_path / "whole.zarr")


@pytest.mark.faults
def test_extract_command__resumes_after_an_interrupt(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    names = [f"{index}.mp4" for index in range(VIDEOS)]
    for seed, name in enumerate(names):
        write_clip(videos / name, noise_frames(40, 64, 48, seed))
    csv_dataset(videos, names)
    store = tmp_path / "features" / "videos.zarr"
    options = ["--backbone", "squeezenet1_0", "--weights", "random", "--store", str(store.parent)]
    command = [
        sys.executable,
        "-c",
        # what a shell starts in the background ignores the signal, and so would all that it starts
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vqafeat_cli.main "
        "import main; main()",
        "extract",
        "--dataset",
        str(videos / "scores.csv"),
        *options,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list(store.glob("features/squeezenet1_0/*.mp4"))) < 2:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
    assert process.returncode == 130
    assert message.strip() == "Interrupted; finished work is kept, and the same command resumes from there."
    opened = FeatureStore.open(store)
    done = opened.complete_videos("squeezenet1_0")
    assert 1 <= len(done) < VIDEOS
    assert list(verify_store(opened)) == []
    assert len(list(store.glob("features/squeezenet1_0/*.mp4"))) == len(done)
    assert run(videos, store, names=names).extracted == VIDEOS - len(done)


def test_extract__refuses_a_second_writer(videos: Path, tmp_path: Path) -> None:
    dataset = csv_dataset(videos, NAMES)
    store = FeatureStore.create(tmp_path / "v.zarr", dataset)
    with store.exclusive(), pytest.raises(StoreError, match="another process is writing to"):
        extract_random(dataset, FeatureStore.open(store.path, writable=True))
