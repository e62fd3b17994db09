"""Both stages as users type them, on tiny clips and a small random network."""

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import VIDEO_COUNT, WEIGHTS, Run
from vqafeat.evaluation.predict import Scorer
from vqafeat.store import FeatureStore

pytestmark = pytest.mark.usefixtures("networks_drawn_once")


def made_once(kept: Path, make: Callable[[], str]) -> str:
    """Call `make`, which writes features and runs here and returns a text; later, copy what it wrote."""
    text = kept / "text"
    if not text.exists():
        printed = make()
        kept.mkdir()
        for folder in filter(Path.is_dir, map(Path, ("features", "runs"))):
            shutil.copytree(folder, kept / folder)
        text.write_text(printed)
    else:
        shutil.copytree(kept, ".", dirs_exist_ok=True, ignore=shutil.ignore_patterns("text"))
    return text.read_text()


def extracted(run: Run, data: Path) -> None:
    def make() -> str:
        ended = run("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
        assert ended.code == 0, ended.err
        return ended.out

    made_once(data.with_suffix(".features"), make)


def fitted(run: Run, data: Path) -> None:
    def make() -> str:
        extracted(run, data)
        ended = run("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 1)
        assert ended.code == 0, ended.err
        return ended.out

    made_once(data.with_suffix(".fitted"), make)


AVG_GRU = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 3, "--jobs", 1)


@pytest.fixture
def avg_gru(run: Run, here: Path, data: Path) -> Path:
    """Return the run folder of the command `AVG_GRU`, in the working directory."""

    def make() -> str:
        extracted(run, data)
        ended = run(*AVG_GRU)
        assert ended.code == 0, ended.err
        return ended.out

    made_once(data.with_suffix(".avg-gru"), make)
    return here / "runs" / "mine-squeezenet1_0-avg-gru"


@pytest.mark.usefixtures("decoding_processes")
def test_extract__twice_then_show_and_verify(run: Run, here: Path, data: Path) -> None:
    first = run("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    assert first.code == 0
    assert (
        first.out.strip()
        == "features/mine.zarr: 20 videos extracted (120 frames decoded), 0 already done, 0 failed."
    )
    again = run("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS, "--json")
    assert json.loads(again.out) == {
        "extracted": 0,
        "skipped": 20,
        "failed": 0,
        "frames": 0,
        "store": "features/mine.zarr",
    }
    shown = run("show", "features").out
    assert "mine, 20 videos, MOS 1.015 to 4.08 from mine.csv" in shown
    assert "squeezenet1_0: 20 videos complete" in shown
    assert "random, seed 0" in shown
    checked = run("verify", "features/mine.zarr")
    assert (checked.code, checked.out) == (0, "")
    chunk = (
        here / "features" / "mine.zarr" / "features" / "squeezenet1_0" / "v3.mp4" / "values" / "c" / "0" / "0"
    )
    chunk.write_bytes(b"\x00" + chunk.read_bytes()[1:])
    damaged = run("verify", "features/mine.zarr")
    assert damaged.code == 3
    assert "features/squeezenet1_0/v3.mp4/values: cannot be read" in damaged.out


def test_pack__keeps_the_content_and_what_is_fitted_from_it(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    fit = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 1, "--json")
    assert run(*fit, "--out", "runs/plain").code == 0
    digest = [line for line in run("show", "features", "--digest").out.splitlines() if "content" in line]
    packed = run("pack", "features/mine.zarr")
    assert packed.code == 0
    assert packed.out.startswith("features/mine.zarr: packed, 20 complete entries, content ")
    shown = run("show", "features", "--digest").out
    assert "  layout: packed" in shown
    assert "squeezenet1_0: 20 videos complete" in shown
    assert digest == [line for line in shown.splitlines() if "content" in line]
    assert run("verify", "features").code == 0
    fits = [json.loads(run(*fit, "--out", f"runs/{name}").out) for name in ("plain", "packed")]
    assert [values.pop("run") for values in fits] == ["runs/plain", "runs/packed"]
    assert fits[0] == fits[1]
    assert run("evaluate", "runs/plain", "--json").out == run("evaluate", "runs/packed", "--json").out
    assert run("report", "runs/packed", "--store", "features", "--out", "page.html").code == 0


def test_extract__refuses_a_packed_store_until_it_is_unpacked(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    assert run("pack", "features/mine.zarr").code == 0
    again = ("extract", "--dataset", data / "mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    refused = run(*again)
    assert refused.code == 1
    assert "is packed; `vqafeat unpack features/mine.zarr` makes it writable" in refused.err
    assert run("pack", "features/mine.zarr").out.startswith("features/mine.zarr: already packed")
    assert run("unpack", "features/mine.zarr").out.startswith(
        "features/mine.zarr: unpacked, 20 complete entries"
    )
    assert "0 videos extracted" in run(*again).out


def test_pack__names_what_it_leaves_out(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    (here / "features/mine.zarr/features/squeezenet1_0/v3.mp4/zarr.json").unlink()
    refused = run("pack", "features/mine.zarr", "--out", "packed/mine.zarr")
    assert refused.code == 1
    assert "1 entries of 'features/mine.zarr' are not whole" in refused.err
    done = run(
        "pack", "features/mine.zarr", "--out", "packed/mine.zarr", "--skip-missing", "--shard-size", "1M"
    )
    assert (done.code, "19 complete entries" in done.out) == (3, True)
    assert "left out: squeezenet1_0/v3.mp4: not complete" in done.err


def test_extract__a_failed_video_is_exit_code_3_and_names_the_log(run: Run, here: Path) -> None:
    write_clip(here / "good.mp4", noise_frames(3))
    (here / "bad.mp4").write_bytes(b"")
    (here / "own.csv").write_text("video,mos\ngood.mp4,1\nbad.mp4,2\n")
    ended = run("extract", "--dataset", "own.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    assert ended.code == 3
    assert "1 videos extracted (3 frames decoded), 0 already done, 1 failed." in ended.out
    assert "cannot-open: 'bad.mp4' cannot be opened" in ended.err
    assert "the failure log is features/own.failures.jsonl" in ended.err
    (here / "own.csv").write_text("video,mos\ngood.mp4,1\nlost.mp4,2\n")
    refused = run("extract", "--dataset", "own.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    assert (refused.code, "--skip-missing" in refused.err) == (1, True)
    skipped = run(
        "extract", "--dataset", "own.csv", "--backbone", "squeezenet1_0", *WEIGHTS, "--skip-missing"
    )
    assert skipped.code == 3
    assert "missing: 'lost.mp4' was not found" in skipped.err
    labelled = FeatureStore.open(here / "features" / "own.zarr").dataset.videos
    assert [video.name for video in labelled] == ["good.mp4", "lost.mp4"]


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        ("lost.mp4,1\nalso.mp4,2\n", WEIGHTS, "2 of 2 videos are missing"),
        ("good.mp4,1\nlost.mp4,2\n", ("--weights", "none.pth"), "weights file 'none.pth' does not exist"),
    ],
)
def test_extract__skip_missing_makes_no_store_if_it_is_refused(
    run: Run, here: Path, rows: str, weights: tuple[str, ...], message: str
) -> None:
    write_clip(here / "good.mp4", noise_frames(3))
    (here / "own.csv").write_text(f"video,mos\n{rows}")
    command = ("extract", "--dataset", "own.csv", "--backbone", "squeezenet1_0", "--skip-missing")
    refused = run(*command, *weights)
    assert (refused.code, message in refused.err) == (1, True)
    assert not (here / "features").exists()


def test_extract__a_known_data_set_without_videos_names_the_next_step(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VQAFEAT_DATA", raising=False)
    ended = run("extract", "--dataset", "konvid", "--backbone", "resnet50")
    assert ended.code == 1
    assert "Put videos and label file under VQAFEAT_DATA/konvid" in ended.err
    monkeypatch.setenv("VQAFEAT_DATA", str(here))
    ended = run("extract", "--dataset", "konvid", "--backbone", "resnet50")
    assert (ended.code, "does not exist" in ended.err) == (1, True)


def test_fit__prints_splits_figures_and_their_few_videos(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    ended = run(*AVG_GRU)
    assert ended.code == 0, ended.err
    assert (
        "avg-gru on squeezenet1_0 of mine: 2 splits, content, 60/20/20, seed 0; no content shared"
        in ended.out
    )
    assert "RMSE, calibrated" in ended.out
    # four test videos per split are few, and each figure says so where it stands
    assert re.search(r"  SROCC .* \*\n", ended.out)
    assert (
        "  * measured on only 4 test videos per split: with fewer than 20, one video moves a figure visibly"
        in ended.out
    )
    assert "note: 2 of 2 splits: 4 videos are too few for the mapping 'logistic-increasing'" in ended.out


def test_fit__writes_the_run_folder(avg_gru: Path) -> None:
    assert json.loads((avg_gru / "config.json").read_text())["recipe"]["start_at_mean"] is True
    assert {path.name for path in avg_gru.iterdir()} == {
        "calibration.json",
        "config.json",
        "splits.json",
        "predictions.csv",
        "metrics.json",
        "curve.csv",
        "training-features.safetensors",
        "weights",
    }


def test_fit__finds_a_finished_run_and_refuses_another_in_its_folder(run: Run, avg_gru: Path) -> None:
    result = run(*AVG_GRU)
    assert "run folder: runs/mine-squeezenet1_0-avg-gru (its splits were finished before)" in result.out
    refused = run(*AVG_GRU, "--epochs", 2, "--out", avg_gru)
    assert (refused.code, "holds a finished run of another configuration" in refused.err) == (1, True)


def test_evaluate__equals_the_figures_of_the_fit(run: Run, avg_gru: Path) -> None:
    result = json.loads(run(*AVG_GRU, "--overwrite", "--json").out)
    assert set(result) >= {"srocc", "krocc", "plcc", "rmse", "n"}
    measured = json.loads(run("evaluate", avg_gru, "--json").out)
    assert set(measured) >= {"srocc", "krocc", "plcc", "rmse", "n"}
    assert measured["srocc"] == pytest.approx(result["srocc"], abs=1e-9)
    for name in ("plcc_plain", "rmse_plain", "rmse_calibrated"):
        assert measured[name] == pytest.approx(result[name], abs=1e-5)
    assert (result["few_videos"], measured["few_videos"]) == (True, True)
    for name in ("medians", "stds"):
        assert measured[name] == pytest.approx(result[name], abs=1e-5)
    assert "the test parts of the run's 2 splits" in run("evaluate", avg_gru).out


def test_evaluate__takes_the_data_set_of_the_run_of_several(run: Run, avg_gru: Path) -> None:
    shutil.copytree("features/mine.zarr", "features/another.zarr")
    ended = run("evaluate", avg_gru)
    assert (ended.code, "the test parts of the run's 2 splits" in ended.out) == (0, True), ended.err
    Path("features/mine.zarr").rename("features/third.zarr")
    ended = run("evaluate", avg_gru)
    words = "holds several data sets (another, third); name one with --dataset."
    assert (ended.code, words in ended.err) == (1, True), ended.err


def test_json__of_commands_has_the_same_keys_and_shapes(run: Run, avg_gru: Path) -> None:
    other = json.loads(run(*AVG_GRU, "--seed", 1, "--epochs", 1, "--json").out)["run"]
    assert other == "runs/mine-squeezenet1_0-avg-gru-epochs=1-seed=1"
    shutil.copytree(avg_gru, "elsewhere/again")
    evaluated = json.loads(run("evaluate", avg_gru, "--json").out)
    (compared, _) = json.loads(run("compare", avg_gru, "elsewhere/again", "--json").out)["runs"].values()
    fitted = json.loads(run(*AVG_GRU, "--json").out)
    listed = next(row for row in json.loads(run("runs", "--json").out) if row["run"] == fitted["run"])
    blended = json.loads(run("ensemble", avg_gru, "elsewhere/again", "--kappa", 0.5, "--json").out)
    assert {"srocc", "rmse_calibrated", "medians", "stds", "values", "n", "heads", "notes"} < set(evaluated)
    for values in (fitted, compared, listed, blended):
        for key, value in evaluated.items():
            assert values[key] is None or type(values[key]) is type(value), key
            if isinstance(value, dict):
                assert set(values[key]) == set(value), key
        assert (values["n"], values["heads"]) == (evaluated["n"], evaluated["heads"])
    assert {**compared, **fitted} == fitted


def test_evaluate__writes_the_predictions_and_their_scatter(run: Run, avg_gru: Path, here: Path) -> None:
    assert run("evaluate", avg_gru, "--out", here / "measured").code == 0
    with (here / "measured" / "predictions.csv").open(newline="") as file:
        measured = list(csv.DictReader(file))
    with (avg_gru / "predictions.csv").open(newline="") as file:
        fitted = {(row["split"], row["video"]): row for row in csv.DictReader(file) if row["part"] == "test"}
    assert len(measured) == len(fitted)
    for row in measured:
        expected = fitted[row["split"], row["video"]]
        assert float(row["prediction"]) == pytest.approx(float(expected["prediction"]), abs=1e-6)
    assert (here / "measured" / "predictions.png").read_bytes().startswith(b"\x89PNG")
    (here / "file").touch()
    lost = run("evaluate", avg_gru, "--out", here / "file", "--json")
    assert (lost.code, "srocc" in json.loads(lost.out)) == (1, True)


def test_show__a_run_with_its_figures_epochs_and_calibration(run: Run, avg_gru: Path) -> None:
    result, shown = json.loads(run(*AVG_GRU, "--json").out), run("show", avg_gru).out
    assert f"{avg_gru}: avg-gru on squeezenet1_0 of mine (vqafeat fit)" in shown
    assert (
        "metrics             over 2 splits, from the test parts in predictions.csv; PLCC and RMSE after "
        "mapping 'logistic-increasing'" in shown
    )
    assert f"  SROCC            {result['srocc']:6.3f}" in shown
    assert "RMSE, calibrated" in shown
    assert all(f"split {split}: epoch " in shown for split in range(2))
    assert "learning_rate" in shown
    assert re.search(r"  scores +mine: calibrated on validation videos, 4 per split", shown)
    assert json.loads((avg_gru / "config.json").read_text())["splits_digest"] in shown
    assert run("show", avg_gru, "--digest").code == 2


def test_show__a_run_that_did_not_finish(run: Run, avg_gru: Path) -> None:
    (avg_gru / "metrics.json").unlink()
    assert (
        "metrics.json is missing: the fit did not finish; the same command resumes it"
        in run("show", avg_gru).out
    )


def test_show__says_where_a_video_and_its_rows_came_from(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    shown = run("show", "features", "--video", "v1.mp4").out
    assert f"sha256 {hashlib.sha256((data / 'v1.mp4').read_bytes()).hexdigest()}" in shown
    assert "MOS 3.005 of mine.csv, content 0" in shown
    assert re.search(
        r"squeezenet1_0 +\d+ rows of 1024 channels, float16; .*weights_sha256 [0-9a-f]{64}.*; by vqafeat "
        r"extract",
        shown,
    )
    assert (
        run("show", "features", "--video", "v1.mp4", "--digest").code,
        run("show", "features", "--digest").code,
    ) == (2, 0)
    ended = run("show", "features", "--video", "none.mp4")
    assert (
        ended.code,
        "has no video 'none.mp4'; give a name as the label list writes it, such as 'v0.mp4'" in ended.err,
    ) == (1, True)


@pytest.mark.filterwarnings("default")
def test_fit__warns_of_copies_in_a_csv_of_absolute_and_parent_paths(run: Run, here: Path, data: Path) -> None:
    (here / "lists").mkdir()
    (here / "more").mkdir()
    shutil.copy(data / "v0.mp4", here / "more" / "copy.mp4")
    parts = ["train"] * 4 + ["validation"] * 3 + ["test"]
    rows = [f"{data}/v{row}.mp4,{row}.5,{part}" for row, part in enumerate(parts)]
    (here / "lists" / "own.csv").write_text("\n".join(["video,mos,split", *rows, "../more/copy.mp4,0,test"]))
    ended = run("extract", "--dataset", here / "lists" / "own.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    assert (ended.code, "9 videos extracted" in ended.out) == (0, True), ended.err
    ended = run(
        "fit", "--head", "no-time", "--protocol", "official", "--splits", 1, "--epochs", 2, "--jobs", 1
    )
    assert ended.code == 0, ended.err
    (warning,) = [line for line in ended.err.splitlines() if line.startswith("Warning: ")]
    assert re.match(
        r"Warning: 1 pair\(s\) of byte-identical .*: \S+v0\.mp4 = \S+more/copy\.mp4; the metrics", warning
    )
    assert f"note: {warning.removeprefix('Warning: ')}" in ended.out


def test_fit__takes_losses_and_select_and_notes_what_flatters(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    fit = ("fit", "--head", "no-time", "--splits", 2, "--epochs", 2, "--jobs", 1, "--no-start-at-mean")
    mixed = ("--loss", "plcc+srcc", "--soft-rank", "kl", "--soft-rank-strength", 0.1, "--loss-weight", 0.5)
    ended = run(*fit, *mixed, "--protocol", "video", "--select", "test")
    assert ended.code == 0, ended.err
    assert "note: content leaks in 2 of 2 splits: up to " in ended.out
    assert "note: epochs were chosen by the SROCC of the test part" in ended.out
    folder = here / "runs" / "mine-squeezenet1_0-no-time"
    recipe = json.loads((folder / "config.json").read_text())["recipe"]
    assert [recipe[key] for key in ("loss", "soft_rank", "soft_rank_strength", "loss_weight", "select")] == [
        "plcc+srcc",
        "kl",
        0.1,
        0.5,
        "test",
    ]
    assert recipe["start_at_mean"] is False
    assert "note: epochs were chosen by the SROCC of the test part" in run("evaluate", folder).out
    result = json.loads(run("evaluate", folder, "--json").out)
    assert any("select=test" in note for note in result["notes"])
    refused = run(*fit, "--soft-rank-strength", 0.1, "--overwrite")
    assert (refused.code, "the loss 'l1' with the schedule 'none' does not read it" in refused.err) == (
        1,
        True,
    )


def test_predict__new_videos_equal_those_from_the_store(run: Run, here: Path, data: Path) -> None:
    fitted(run, data)
    folder = here / "runs" / "mine-squeezenet1_0-avg-gru"
    with (folder / "predictions.csv").open() as file:
        rows = {(row["split"], row["video"]): row for row in csv.DictReader(file)}
    stored, outputs = (
        {key: float(row[name]) for key, row in rows.items()} for name in ("score", "prediction")
    )
    for split in ("0", "1"):
        scored = json.loads(run("predict", folder, data / "v2.mp4", "--split", split, "--json").out)
        assert scored[0]["score"] == pytest.approx(stored[split, "v2.mp4"], abs=1e-5)
    mean = json.loads(run("predict", folder, data / "v2.mp4", "--json").out)[0]
    assert mean["score"] == pytest.approx((stored["0", "v2.mp4"] + stored["1", "v2.mp4"]) / 2, abs=1e-5)
    assert mean["scale"] == "MOS of mine, 1.015 to 4.08, calibrated on validation videos"
    assert mean["heads"] == pytest.approx({split: stored[split, "v2.mp4"] for split in ("0", "1")}, abs=1e-5)
    assert (mean["low"], mean["high"]) == pytest.approx(
        (min(mean["heads"].values()), max(mean["heads"].values()))
    )
    assert mean["std"] == pytest.approx(np.std(list(mean["heads"].values()), ddof=1))
    uncalibrated = json.loads(run("predict", folder, data / "v2.mp4", "--uncalibrated", "--json").out)[0]
    assert uncalibrated["heads"] == pytest.approx(
        {split: outputs[split, "v2.mp4"] for split in ("0", "1")}, abs=1e-5
    )
    assert (uncalibrated["scale"], uncalibrated["calibrated"]) == (
        "MOS of mine, 1.015 to 4.08, not calibrated",
        False,
    )


def test_predict__says_which_heads_saw_a_video_and_uses_the_others(run: Run, here: Path, data: Path) -> None:
    fitted(run, data)
    folder = here / "runs" / "mine-squeezenet1_0-avg-gru"
    splits = json.loads((folder / "splits.json").read_text())["splits"]
    seen = {
        video: [number for number, split in enumerate(splits) if video not in split["test"]]
        for video in (f"v{n}.mp4" for n in range(20))
    }
    once = next(video for video, numbers in seen.items() if len(numbers) == 1)
    (here / "renamed.mp4").write_bytes((data / once).read_bytes())
    ended = run("predict", folder, here / "renamed.mp4")
    assert (
        f"renamed.mp4: it is the training or validation video '{once}': 1 of 2 heads were fitted on it; "
        f"--held-out takes the other 1" in ended.err
    )
    assert re.search(r"renamed\.mp4  [\d.]+ ± [\d.]+, [\d.]+ to [\d.]+ over 2 heads", ended.out)
    held_out = json.loads(run("predict", folder, here / "renamed.mp4", "--held-out", "--json").out)[0]
    assert list(held_out["heads"]) == [str(1 - seen[once][0])]
    assert not any("validation video '" in warning for warning in held_out["warnings"])
    twice = next(video for video, numbers in seen.items() if len(numbers) == 2)
    refused = run("predict", folder, data / twice, "--held-out")
    assert refused.code == 3
    assert "seen-in-training" in refused.err
    assert "every head was fitted on this video; leave out --held-out to score it" in refused.err


def test_predict__writes_curves_and_skips_bad_videos(run: Run, here: Path, data: Path) -> None:
    fitted(run, data)
    videos = here / "new"
    videos.mkdir()
    write_clip(videos / "a $1$.mp4", noise_frames(4))
    (videos / "b.mp4").write_bytes(b"no video")
    ended = run("predict", "runs/mine-squeezenet1_0-avg-gru", videos, "--per-frame", "--out", "curves")
    assert ended.code == 3
    assert "cannot-open: 'new/b.mp4'" in ended.err.replace(str(here) + "/", "")
    assert "over 2 heads  (MOS of mine, 1.015 to 4.08, calibrated on validation videos)" in ended.out
    with (here / "curves" / "a $1$.mp4.frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert all(1.015 <= float(row["score"]) <= 4.08 for row in rows)
    uncalibrated = run(
        "predict",
        "runs/mine-squeezenet1_0-avg-gru",
        videos / "a $1$.mp4",
        "--uncalibrated",
        "--per-frame",
        "--out",
        "own",
    )
    with (here / "own" / "a $1$.mp4.frames.csv").open() as file:
        mean = sum(float(row["score"]) for row in csv.DictReader(file)) / 4
    assert f"{mean:.4g} ±" in uncalibrated.out
    assert (here / "curves" / "a $1$.mp4.frames.png").read_bytes().startswith(b"\x89PNG")
    empty = run("predict", "runs/mine-squeezenet1_0-avg-gru", here / "curves")
    assert (empty.code, "is not a video or a folder with videos" in empty.err) == (1, True)
    (videos / "below" / ".hidden").mkdir(parents=True)
    for name in ("below/b.MP4", "below/.hidden/c.mp4"):
        shutil.copyfile(data / "v2.mp4", videos / name)
    ended = run("predict", "runs/mine-squeezenet1_0-avg-gru", videos)
    assert [line.split("  ")[0] for line in ended.out.splitlines()] == [
        str(videos / name) for name in ("a $1$.mp4", "below/b.MP4")
    ]
    other = run("predict", "runs/mine-squeezenet1_0-avg-gru", data / "v1.mp4", "--weights", "random:5")
    assert (other.code, "weights_sha256" in other.err) == (1, True)


def test_predict__json_and_csv_have_failures_and_curves(run: Run, avg_gru: Path, data: Path) -> None:
    Path("bad").mkdir()
    Path("bad/v1.mp4").write_bytes(b"no video")
    predict = ("predict", avg_gru, "bad/v1.mp4", data / "v1.mp4", "--csv", "tables/scores.csv", "--json")
    ended = run(*predict, "--per-frame", "--out", "curves")
    assert ended.code == 3
    failed, scored = json.loads(ended.out)
    assert list(failed) == list(scored)
    assert (failed["video"], failed["score"], failed["curve"]) == ("bad/v1.mp4", None, None)
    assert (failed["kind"], failed["error"].startswith("'bad/v1.mp4'")) == ("cannot-open", True)
    assert (scored["video"], scored["error"], scored["kind"]) == (str(data / "v1.mp4"), None, None)
    assert scored["curve"] == "curves/002-v1.mp4.frames.csv"
    assert Path(scored["curve"]).is_file()
    with Path("tables/scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "score", "std", "low", "high", "curve", "kind", "error"]
    assert (rows[0]["video"], rows[0]["score"]) == ("bad/v1.mp4", "")
    assert rows[0]["error"].lstrip("'") == failed["error"].lstrip("'")
    assert [float(rows[1][name]) for name in ("score", "low")] == [scored["score"], scored["low"]]
    assert (rows[1]["curve"], rows[1]["error"]) == (scored["curve"], "")
    plain = json.loads(run("predict", avg_gru, data / "v1.mp4", "--json").out)
    assert plain[0]["curve"] is None
    refused = run("predict", avg_gru, data / "v1.mp4", "--csv", "tables")
    assert (refused.code, "File 'tables' is a directory" in refused.err) == (2, True)


def test_predict__prints_json_if_the_csv_cannot_be_written(run: Run, avg_gru: Path, data: Path) -> None:
    Path("file").touch()
    ended = run("predict", avg_gru, data / "v1.mp4", "--csv", "file/scores.csv", "--json")
    assert (ended.code, "'file' cannot be read or written to" in ended.err) == (1, True)
    assert json.loads(ended.out)[0]["score"] is not None


def test_predict__writes_names_that_are_not_utf8(run: Run, avg_gru: Path, data: Path) -> None:
    shutil.copyfile(data / "v1.mp4", "caf\udce9.mp4")
    predict = ("predict", avg_gru, "caf\udce9.mp4", "--csv", "scores.csv")
    ended = run(*predict, "--per-frame", "--out", "curves")
    assert (ended.code, ended.out.startswith(r"caf\udce9.mp4  ")) == (0, True)
    assert Path("scores.csv").read_text(encoding="utf-8").splitlines()[1].startswith(r"caf\udce9.mp4,")
    assert Path("curves/caf\udce9.mp4.frames.png").is_file()


def test_predict__keeps_the_scores_before_an_interrupt(
    run: Run, avg_gru: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Scorer.score_all

    def interrupted(*arguments: Any) -> Iterator[Any]:
        yield next(original(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(Scorer, "score_all", interrupted)
    ended = run("predict", avg_gru, data / "v1.mp4", data / "v2.mp4", "--csv", "scores.csv", "--json")
    assert ended.code == 130
    (scored,) = json.loads(ended.out)
    with Path("scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["video"] == scored["video"] == str(data / "v1.mp4")
    assert float(row["score"]) == scored["score"]


def curve_of(path: Path) -> list[tuple[int, float, float]]:
    with path.open() as file:
        return [
            (int(row["frame"]), float(row["seconds"]), float(row["score"])) for row in csv.DictReader(file)
        ]


def test_fit__sampled_and_shuffled_frames_up_to_the_prediction(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    fit = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 1)
    ended = run(*fit, "--order", "OS", "--sampling", "sample-2", "--draws", 3, "--out", "runs/os")
    assert ended.code == 0, ended.err
    assert (
        "  frames: order OS (trained on frames in their original order, tested on shuffled ones), sampling "
        "sample-2, " in ended.out
    )
    metrics = json.loads((here / "runs" / "os" / "metrics.json").read_text())
    assert json.loads(run("evaluate", "runs/os", "--json").out)["srocc"] == pytest.approx(
        metrics["srocc"]["mean"], abs=1e-9
    )
    whole = run("evaluate", "runs/os", "--order", "OO", "--sampling", "all", "--draws", 1)
    assert "note: tested on other frames than in the fit: order OO" in whole.out
    refused = run("evaluate", "runs/os", "--order", "SS")
    assert (refused.code, "use OO or OS, or fit again with --order SS" in refused.err) == (1, True)
    with (here / "runs" / "os" / "predictions.csv").open() as file:
        tested = [row for row in csv.DictReader(file) if row["part"] == "test"]
    for row in tested[:2]:
        command = (
            "predict",
            "runs/os",
            data / row["video"],
            "--split",
            row["split"],
            "--per-frame",
            "--out",
            "curves",
            "--json",
        )
        score = json.loads(run(*command).out)[0]["score"]
        assert score == pytest.approx(float(row["score"]), abs=1e-5)
        curve = curve_of(here / "curves" / f"{row['video']}.frames.csv")
        assert [frame // 2 for frame, _, _ in curve] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert [frame for frame, _, _ in curve] == sorted(frame for frame, _, _ in curve)
        assert all(seconds == pytest.approx(frame / 25, abs=1e-6) for frame, seconds, _ in curve)
        assert sum(value for _, _, value in curve) / 9 == pytest.approx(score, abs=1e-6)


def test_times__that_are_no_times_are_said_and_refused(run: Run, here: Path, data: Path) -> None:
    shutil.copytree(data, "videos")
    still = {"codec": "ffv1", "pixel_format": "bgr0", "seconds": [0.0] * 6}
    write_clip(here / "videos" / "still.mkv", noise_frames(6), **still)
    with (here / "videos" / "mine.csv").open("a") as file:
        file.write("still.mkv,2.5,still\n")
    ended = run("extract", "--dataset", "videos/mine.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
    note = "the times of the frames of 1 video(s) cannot be used (first: those of 'still.mkv' are all 0)"
    assert (ended.code, f"warning: {note}; --sampling rate-R and --per-frame refuse" in ended.err) == (
        0,
        True,
    )
    assert (
        "times: the frame times of 1 video(s) cannot be used (first: those of 'still.mkv' are all 0)"
        in run("show", "features").out
    )
    shown = run("show", "features/mine.zarr", "--video", "still.mkv").out
    assert "6, 0.000 to 0.200 seconds; cannot be used: they are all 0" in shown
    fit = ("fit", "--head", "avg-gru", "--splits", 2, "--epochs", 2, "--jobs", 1)
    refused = run(*fit, "--sampling", "rate-10")
    assert (refused.code, "the frames of 'still.mkv' are not known, as of imported" in refused.err) == (
        1,
        True,
    )
    assert run(*fit).code == 0
    predict = ("predict", "runs/mine-squeezenet1_0-avg-gru", "videos/still.mkv", "videos/v1.mp4")
    assert run(*predict).code == 0
    curves = run(*predict, "--per-frame", "--out", "curves")
    assert curves.code == 3
    assert "bad-times: the times of the frames of 'videos/still.mkv' are all 0; leave out" in curves.err
    assert sorted(path.name for path in (here / "curves").iterdir()) == [
        "v1.mp4.frames.csv",
        "v1.mp4.frames.png",
    ]


def test_fit__a_frame_rate_up_to_the_prediction(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    ended = run(
        "fit",
        "--head",
        "no-time",
        "--splits",
        1,
        "--epochs",
        1,
        "--jobs",
        1,
        "--sampling",
        "rate-10",
        "--out",
        "runs/slow",
    )
    assert ended.code == 0, ended.err
    assert run("predict", "runs/slow", data / "v2.mp4", "--per-frame", "--out", "curves").code == 0
    # six frames, 0.04 s apart: the ticks at 0, 0.1 and 0.2 s; 0.08 and 0.12 s are as near to the second one
    assert [row[:2] for row in curve_of(here / "curves" / "v2.mp4.frames.csv")] == [
        (0, 0.0),
        (2, 0.08),
        (5, 0.2),
    ]
    wrong = run("fit", "--sampling", "sample-x", "--out", "runs/wrong")
    assert (wrong.code, "sampling is 'sample-x'; it has to be all, sample-K," in wrong.err) == (1, True)
    pointless = run("fit", "--draws", 2, "--out", "runs/wrong")
    assert (pointless.code, "draws is 2, but nothing is drawn in testing" in pointless.err) == (1, True)


def test_predict__reads_raw_video_by_the_given_geometry(run: Run, here: Path, data: Path) -> None:
    fitted(run, data)
    for folder in ("one", "two"):
        (here / folder).mkdir()
        (here / folder / "clip.yuv").write_bytes(bytes(range(256)) * 18 * 2)
    run_folder = "runs/mine-squeezenet1_0-avg-gru"
    refused = run("predict", run_folder, "one/clip.yuv")
    assert (refused.code, "with --raw" in refused.err) == (3, True)
    assert (
        "is not WIDTHxHEIGHT:FORMAT@RATE" in run("predict", run_folder, "one/clip.yuv", "--raw", "64x48").err
    )
    ended = run(
        "predict",
        run_folder,
        "one/clip.yuv",
        "two/clip.yuv",
        "--raw",
        "64x48:yuv420p@10",
        "--per-frame",
        "--out",
        "curves",
    )
    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert sorted(path.name for path in (here / "curves").glob("*.csv")) == [
        "001-clip.yuv.frames.csv",
        "002-clip.yuv.frames.csv",
    ]


EVALUATE_OFFICIAL = ("evaluate", "runs/official-squeezenet1_0-no-time", "--store", "features/official.zarr")


@pytest.fixture
def official(run: Run, here: Path, data: Path) -> str:
    """Fit a set with official parts, and return what the command printed."""
    parts = ["train"] * 10 + ["test"] * 5 + ["test-1080p"] * 5
    rows = "".join(f"v{index}.mp4,{4 - index % 4 + index / 200},{part}\n" for index, part in enumerate(parts))
    for index in range(VIDEO_COUNT):
        (here / f"v{index}.mp4").symlink_to(data / f"v{index}.mp4")
    (here / "official.csv").write_text("video,mos,split\n" + rows)
    fit = ("fit", "--head", "no-time", "--protocol", "official", "--splits", 1, "--epochs", 1, "--jobs", 1)
    official = ("--test-part", "test-1080p", "--validation-share", 0.3, "--store", "features/official.zarr")

    def make() -> str:
        extract = ("extract", "--dataset", "official.csv", "--backbone", "squeezenet1_0", *WEIGHTS)
        assert run(*extract).code == 0
        ended = run(*fit, *official)
        assert ended.code == 0, ended.err
        return ended.out

    return made_once(data.with_suffix(".official"), make)


def test_fit__names_the_official_part_that_it_tests_on(official: str) -> None:
    assert "official, tested on 'test-1080p', 0.3 of training for validation" in official
    assert "on 5 test videos per split" in official


@pytest.mark.usefixtures("official")
def test_evaluate__another_official_part(run: Run) -> None:
    other = run(*EVALUATE_OFFICIAL, "--part", "test", "--by", "resolution")
    assert other.code == 0, other.err
    assert "on all 5 videos of the official part 'test' of 'official'; mean over 1 heads" in other.out
    # the clips are 64x48
    assert [line.split()[:3] for line in other.out.splitlines() if line.startswith("  <=480p")] == [
        ["<=480p", "5", "*"]
    ]
    refused = run(*EVALUATE_OFFICIAL, "--part", "train")
    assert (
        refused.code,
        "10 of the 10 videos of the part 'train' were in the training or validation" in refused.err,
    ) == (1, True)


@pytest.mark.usefixtures("official")
def test_evaluate__by_groups_of_a_file(run: Run, here: Path) -> None:
    (here / "groups.csv").write_text(
        "video,group\n" + "".join(f"v{row},{row % 2}\n".replace(",", ".mp4,") for row in range(15, 20))
    )
    result = json.loads(run(*EVALUATE_OFFICIAL, "--by", "groups.csv", "--json").out)
    assert {name: group["n"] for name, group in result["groups"].items()} == {"1": 3, "0": 2}
    assert result["groups"]["0"]["srocc"] is None
    assert "fewer than 3 of the videos" in result["groups"]["0"]["notes"][0]
    assert (result["by"], result["ungrouped"], result["n"], result["medians"]["srocc"]) == (
        "groups.csv",
        0,
        5,
        result["srocc"],
    )


@pytest.mark.usefixtures("official")
def test_evaluate__counts_the_videos_in_no_group(run: Run, here: Path) -> None:
    (here / "groups.csv").write_text("video,group\nv15.mp4,1\nv16.mp4,1\nv17.mp4,1\nv18.mp4,\nv19.mp4,\n")
    ended = run(*EVALUATE_OFFICIAL, "--by", "groups.csv")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "  note: 2 measured videos are in no group")


@pytest.mark.usefixtures("official")
def test_evaluate__by_quality_and_unknown_groupings(run: Run) -> None:
    low = run(*EVALUATE_OFFICIAL, "--by", "quality", "--quality-threshold", 3)
    assert "by quality: low is MOS below 3, high is the rest; mean ± std (median) over the heads" in low.out
    assert run(*EVALUATE_OFFICIAL, "--quality-threshold", 3).code == 2
    assert "unknown grouping 'clas': did you mean class?" in run(*EVALUATE_OFFICIAL, "--by", "clas").err


def test_fit__features_of_a_manifest_need_no_label_files(run: Run, here: Path, data: Path) -> None:
    (here / "own.toml").write_text(
        'title = "Own"\nscore_name = "MOS"\nmos_range = [0.0, 5.0]\n\n[[labels]]\nfile = "mine.csv"\nreader '
        '= "own"\n'
    )
    assert (
        run("extract", "--dataset", "own.toml", "--root", data, "--backbone", "squeezenet1_0", *WEIGHTS).code
        == 0
    )
    ended = run(
        "fit", "--dataset", "own.toml", "--head", "no-time", "--splits", 1, "--epochs", 1, "--jobs", 1
    )
    assert ended.code == 0, ended.err


def test_show__and_verify_report_folders_without_a_store(run: Run, here: Path, data: Path) -> None:
    ended = run("show", here)
    assert (ended.code, "holds nothing to show; give a run folder, a feature store" in ended.err) == (1, True)
    extracted(run, data)
    assert run("verify", "features").code == 0
    (here / "features" / "aaa.zarr").mkdir()
    (here / "features" / "aaa.zarr" / "zarr.json").write_text("{")
    ended = run("verify", "features")
    assert (ended.code, "mine.zarr: 20 complete entries" in ended.err) == (3, True)
    assert "features/aaa.zarr" in ended.out
    assert run("verify", "features/aaa.zarr").code == 1
    assert "'nothing' does not exist (stores in this folder: none)" in run("verify", "nothing").err


def test_import__released_files_give_their_known_figures(run: Run, here: Path, shared_data: Path) -> None:
    assert run("import", "vsfa", shared_data / "konvid58", "--dataset", "konvid58").out.startswith(
        "features/konvid58.zarr: 58 videos imported"
    )
    assert run("import", "head", shared_data / "heads" / "VSFA.pt", "--out", "runs/vsfa").code == 0
    shown = run("show", "runs/vsfa")
    assert (shown.code, "sub-gru on" in shown.out, "SROCC" in shown.out) == (
        0,
        True,
        False,
    )  # nothing was measured
    result = json.loads(run("evaluate", "runs/vsfa", "--dataset", "konvid58", "--json").out)
    assert round(result["srocc"], 3) == 0.861
    assert result["n"] == 58
    labels = ("--labels", shared_data / "labels" / "CVD2014info.mat", "--dataset", "cvd2014")
    matrix = run("import", "mat", shared_data / "features" / "CVD2014_ResNet-50_feature.mat", *labels)
    assert "234 videos imported as 'resnet50', 4096 channels" in matrix.out


def test_fit__requests_a_name_among_several_stores(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    assert (
        run("extract", "--dataset", data / "mine.csv", "--backbone", "resnet18", "--weights", "random").code
        == 0
    )
    assert "name one, or several joined by +, as features (--features)" in run("fit").err
    (here / "features" / "other.zarr").mkdir()
    assert "several data sets (mine, other); name one with --dataset" in run("fit").err
    assert "make them with `vqafeat extract --dataset konvid" in run("fit", "--dataset", "konvid").err


def test_ensemble__blends_two_runs(run: Run, here: Path, data: Path) -> None:
    extracted(run, data)
    fit = ("--splits", 2, "--seed", 3)
    assert run("fit", "--head", "no-time", "--epochs", 2, "--jobs", 1, *fit).code == 0
    ended = run("fit", "--head", "svr", "--jobs", 1, *fit)
    assert ended.code == 0, ended.err
    runs = ("runs/mine-squeezenet1_0-no-time", "runs/mine-squeezenet1_0-svr")
    result = json.loads(run("ensemble", *runs, "--json").out)
    assert set(result) >= {"srocc", "krocc", "plcc", "rmse", "n", "kappas"}
    assert len(result["kappas"]) == 2
    output = run("ensemble", *runs, "--kappa", 0.25).out
    assert "kappa 0.25, 0.25 (given)" in output
    assert "on 4 test videos per split" in output
    scored = json.loads(run("predict", runs[1], data / "v2.mp4", "--split", 0, "--json").out)
    with (here / runs[1] / "predictions.csv").open() as file:
        stored = [row for row in csv.DictReader(file) if (row["split"], row["video"]) == ("0", "v2.mp4")]
    assert scored[0]["score"] == pytest.approx(float(stored[0]["score"]), abs=1e-6)
    assert "does not use epochs" in run("fit", "--head", "svr", "--epochs", 2, *fit, "--overwrite").err
    assert "a branch for each of two feature sets" in run("fit", "--head", "a2inet", *fit).err
