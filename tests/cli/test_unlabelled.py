"""Videos without labels on the command line: extracted, shown, refused by fit, and labelled afterwards."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import WEIGHTS, Run
from tests.helpers.web import serve_folder
from vqafeat.store import FeatureStore, pack_store

EXTRACT = ("--backbone", "squeezenet1_0", *WEIGHTS)
DONE = "3 videos extracted (18 frames decoded), 0 already done, 0 failed."
AGAIN = "0 videos extracted (0 frames decoded), 3 already done, 0 failed."


@pytest.fixture
def clips(here: Path) -> Path:
    for number, name in enumerate(("a.mp4", "b.mp4", "night/c.mp4")):
        (here / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(here / "clips" / name, noise_frames(6, 64, 48, seed=number))
    return here / "clips"


def test_extract__takes_a_folder_a_glob_and_a_list(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("extract", "clips/", *EXTRACT).out == f"features/clips.zarr: {DONE}\n"
    assert run("extract", "--dataset", "clips/", *EXTRACT).out == f"features/clips.zarr: {AGAIN}\n"
    assert run("extract", "clips/**/*.mp4", *EXTRACT).out == f"features/clips.zarr: {AGAIN}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("clips/a.mp4\nclips/b.mp4\n\nclips/night/c.mp4\n"))
    assert run("extract", "-", *EXTRACT, "--name", "listed").out == f"features/listed.zarr: {DONE}\n"
    assert "clips.zarr: clips, 3 videos, no labels\n" in run("show", "features").out
    assert "MOS unknown of" in run("show", "features/clips.zarr", "--video", "night/c.mp4").out
    store = FeatureStore.open("features/clips.zarr")
    assert [features.shape for features, _ in store.features()] == [(6, 1024)] * 3
    pack_store(store.path, Path("packed/clips.zarr"))
    assert not FeatureStore.open("packed/clips.zarr").dataset.labelled


def test_extract__refuses_items_without_a_video(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    ended = run("extract", "-", *EXTRACT)
    assert ended.code == 2
    assert "- reads the names of videos from stdin, which is empty; list some there" in ended.err
    ended = run("extract", "clips/", "clip/*.mp4", *EXTRACT)
    assert ended.code == 1
    assert "there are no videos in clip/*.mp4; leave it out or name others" in ended.err
    assert not Path("features").exists()


def test_fit__says_that_labels_are_missing_and_takes_them_later(run: Run, clips: Path) -> None:
    assert run("extract", "clips/", *EXTRACT).code == 0
    fit = ("fit", "--head", "no-time", "--dataset", "clips/", "--splits", 1, "--epochs", 1, "--jobs", 1)
    ended = run(*fit)
    assert ended.code == 1
    assert "the 3 videos of 'clips' have no labels, from which heads learn; write them to a CSV" in ended.err
    (clips / "clips.csv").write_text("Name;Score;std\na.mp4;3,5;1\nb.mp4;2;1\nnight/c.mp4;1;1\n")
    labelled = run("extract", "--dataset", "clips/clips.csv", *EXTRACT)
    assert labelled.out == f"features/clips.zarr: {AGAIN}\n"
    assert (
        "clips.csv: video is the column 'Name', mos is the column 'Score'; columns are separated by "
        "semicolons; not used: std.\n" in labelled.err
    )
    assert [video.mos for video in FeatureStore.open("features/clips.zarr").dataset.videos] == [3.5, 2, 1]
    assert "have no labels" not in run(*fit).err
    ended = run("extract", "clips/", *EXTRACT)
    assert (ended.code, "has labels, which would be lost; name that data set with" in ended.err) == (1, True)


def test_extract__fetches_videos_from_the_web(
    run: Run, clips: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    with serve_folder(clips) as address:
        urls = [f"{address}/a.mp4?signature=HIDDEN", f"{address}/night/c.mp4", f"{address}/none.mp4"]
        refused = run("extract", *urls, *EXTRACT)
        assert (refused.code, "none.mp4' cannot be fetched (HTTP Error 404" in refused.err) == (1, True)
        assert run("extract", *urls[:2], *EXTRACT, "--name", "web").code == 0
        again = run("extract", *urls[:2], *EXTRACT, "--name", "web")
        (clips / "a.mp4").write_bytes(b"no video")
        broken = run("extract", *urls[:2], *EXTRACT, "--name", "web")
    assert "2 already done, 0 failed" in again.out
    assert (broken.code, "1 already done, 1 failed" in broken.out) == (3, True)
    assert "HIDDEN" not in broken.err + Path("features/web.failures.jsonl").read_text()
    assert not list((here / "cache").rglob("*.mp4"))
    assert run("extract", clips / "night", *EXTRACT, "--name", "local").code == 0
    web, local = (FeatureStore.open(f"features/{name}.zarr") for name in ("web", "local"))
    stored = web.read("squeezenet1_0", "night/c.mp4").values
    assert (stored == local.read("squeezenet1_0", "c.mp4").values).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name either videos, or a data set with --dataset"),
        (("clips", "--dataset", "konvid"), "name either videos, or a data set with --dataset"),
        (("clips", "--root", "x"), "--root, --labels and --skip-missing are for known data sets and CSVs"),
        (("--dataset", "konvid", "--name", "x"), "--name is for videos without labels; leave it out"),
    ],
)
def test_extract__refuses_options_that_do_not_fit_videos(
    run: Run, clips: Path, arguments: tuple[str, ...], message: str
) -> None:
    ended = run("extract", *arguments, *EXTRACT)
    assert (ended.code, message in ended.err) == (2, True)


def test_evaluate__needs_labels(run: Run, here: Path, data: Path) -> None:
    assert run("extract", "--dataset", data / "mine.csv", *EXTRACT).code == 0
    assert (
        run("fit", "--head", "no-time", "--splits", 1, "--epochs", 1, "--jobs", 1, "--out", "run").code == 0
    )
    assert run("extract", data, *EXTRACT, "--name", "other").code == 0
    ended = run("evaluate", "run", "--dataset", "other")
    assert (ended.code, "the 20 videos of 'other' have no labels" in ended.err) == (1, True)
    assert run("extract", data / "v1.mp4", *EXTRACT, "--name", "mine").code == 1


def test_export__writes_the_files_of_each_video(run: Run, clips: Path) -> None:
    run("extract", "clips/", *EXTRACT)
    ended = run("export", "features/clips.zarr", "--format", "npy", "--out", "files")
    assert ended.out == "wrote files: 3 videos, 1024 channels\n"
    assert np.load("files/night/c.mp4.npy").shape == (6, 1024)
    ended = run("export", "features/clips.zarr", "--format", "npy", "--out", "files")
    assert (ended.code, ended.err) == (
        1,
        "Error: --out 'files' exists already; name another path, or delete it.\n",
    )
    shutil.rmtree("features/clips.zarr/features/squeezenet1_0/b.mp4")
    ended = run("export", "features/clips.zarr", "--format", "npy", "--out", "rest", "--skip-missing")
    left_out = "left out: 1 of 3 videos have no complete features (first: b.mp4).\n"
    assert (ended.code, ended.out, ended.err) == (3, "wrote rest: 2 videos, 1024 channels\n", left_out)
