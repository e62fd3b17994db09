"""The page of a report without a browser: its data, its safety, its refusals."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Run, run  # noqa: F401
from tests.clips import noise_frames, write_clip
from tests.studies.report_runs import ENDING, NASTY, fitted_run, names, recorded_run, scores_in
from vqafeat.errors import ArgumentError, DatasetError, WeightsError
from vqafeat.json_text import json_text
from vqafeat.metrics import fit_logistic
from vqafeat.modeling.sequences import load_sequences
from vqafeat.modeling.trained import TrainedModel
from vqafeat.store import FeatureStore
from vqafeat.studies.bench import Bench
from vqafeat.studies.cells import as_dict
from vqafeat.studies.report import build_report, rendered, write_report
from vqafeat.studies.report.page import FittedCurve, FrameCurve, Report, ReportVideo, ScoreTable, TrainingCurve
from vqafeat.studies.report.pictures import plot_training
from vqafeat.studies.report.rendering import json_in_html
from vqafeat.studies.report.tables import ReportCell, ReportTable
from vqafeat.studies.report.videos import VideoFolder
from vqafeat.studies.running import run_study
from vqafeat.studies.shelves import StoreShelf
from vqafeat.studies.study import Study


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return fitted_run(tmp_path_factory.mktemp("fitted"))


def data_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


# --- what the page says -----------------------------------------------------------------------------------------------------------------


def test_scores_and_metrics_are_the_runs_own(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    page = data_in(rendered(build_report([folder], tmp_path)))
    (told,) = page["runs"]
    scores, videos = told["scores"], told["videos"]
    rows = zip(scores["split"], scores["part"], scores["video"], scores["score"], strict=True)
    found = [(str(s), page["parts"][p], videos["name"][v], videos["content"][v], repr(videos["mos"][v]), repr(x)) for s, p, v, x in rows]
    assert found == [tuple(row.values()) for row in scores_in(folder)]
    kept = json.loads((folder / "metrics.json").read_text())
    assert told["summary"] == {key: kept[key] for key in told["summary"]}
    assert told["training"][1]["kept_epoch"] == 19
    assert told["training"][1]["series"]["loss"][:2] == [2.1, 1.1]
    facts = {(group["group"], name): value for group in told["facts"] for name, value in group["rows"]}
    assert facts["Run", "seed"] == "0"
    assert len(facts["Run", "digest of the configuration"]) == 64


def test_errors_are_read_after_the_logistic_of_the_test_part(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    (told,) = build_report([folder], tmp_path).runs
    own = [row for row, (split, part) in enumerate(zip(told.scores.split, told.scores.part, strict=True)) if (split, part) == (1, "test")]
    scores = [told.scores.score[row] for row in own]
    mos = [told.videos[told.scores.video[row]].mos for row in own]
    fit = fit_logistic(scores, mos)
    assert next(curve.tau for curve in told.fitted if curve.split == 1) == fit.tau
    np.testing.assert_allclose([told.scores.error[row] for row in own], fit.mapped(scores) - mos, rtol=1e-12)
    rmse = told.summary.rmse.values[1]
    assert np.sqrt(np.mean([told.scores.error[row] ** 2 for row in own])) == pytest.approx(rmse, rel=1e-9)


def test_without_a_mapping_errors_are_differences(tmp_path: Path) -> None:
    (told,) = build_report([recorded_run(tmp_path / "a", mapping="none")], tmp_path).runs
    assert told.scores.error[0] == told.scores.score[0] - told.videos[told.scores.video[0]].mos
    assert told.fitted[0].tau, "the scatter has its logistic all the same"


def test_videos_of_several_data_sets_have_their_own_names(tmp_path: Path) -> None:
    (told,) = build_report([recorded_run(tmp_path / "a", datasets=("konvid", "cvd2014"))], tmp_path).runs
    assert {(video.dataset, video.name[:1], video.content[:5]) for video in told.videos} == {
        ("konvid", "v", "scene"),
        ("cvd2014", "v", "scene"),
    }
    assert {curve.dataset for curve in told.fitted} == {"konvid", "cvd2014"}
    assert list(told.summary.datasets) == ["konvid", "cvd2014"]


def test_curves_are_of_the_heads_that_tested_the_video(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    folder, store_folder = fitted
    (told,) = build_report([folder], tmp_path, store=store_folder, curves=3).runs
    assert len(told.frames) == 3
    curve = told.frames[0]
    video = told.videos[curve.video]
    worst = max((row for row, part in enumerate(told.scores.part) if part == "test"), key=lambda row: abs(told.scores.error[row]))
    assert told.scores.video[worst] == curve.video
    store = FeatureStore.open(store_folder / "tiny.zarr")
    number = names().index(video.name)
    expected = TrainedModel.load(folder).frame_scores(load_sequences(store, "tiny").features[number], curve.splits[0])
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-5)
    seconds = store.seconds(video.name)
    assert seconds is not None
    np.testing.assert_allclose(curve.seconds, seconds - seconds[0], atol=1e-4)


def test_a_store_without_the_run_is_a_note(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    (told,) = build_report([folder], tmp_path, store=tmp_path).runs
    assert told.frames == ()
    assert "no scores of frames for 'tiny'" in told.notes[0]


def test_rows_without_a_score_are_left_out_and_told(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    path = folder / "predictions.csv"
    lines = path.read_text().splitlines()
    place = next(row for row, line in enumerate(lines) if ",train," in line)
    lines[place] = lines[place].rsplit(",", 1)[0] + ","
    path.write_text("\n".join(lines) + "\n")
    (told,) = build_report([folder], tmp_path).runs
    assert told.notes == ("1 of 120 rows without a score left out",)


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name / "run", noise=noise) for name, noise in (("a", 0.3), ("b", 0.9))]
    first, second = (rendered(build_report(folders, tmp_path)) for _ in range(2))
    assert first == second
    assert [one["name"] for one in data_in(first)["runs"]] == [str(folder) for folder in folders], (
        "two folders of one name keep their paths"
    )


# --- safety -----------------------------------------------------------------------------------------------------------------------------


def test_names_cannot_leave_their_place(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    page = rendered(build_report([fitted[0]], tmp_path, title="<b>&\"'</title>"))
    assert NASTY not in page
    assert ENDING not in page
    assert page.count("</script>") == 2
    assert "<title>&lt;b&gt;&amp;&quot;&#x27;&lt;/title&gt;</title>" in page
    (told,) = data_in(page)["runs"]
    assert {NASTY, ENDING} < set(told["videos"]["name"])


def test_json_in_html_escapes_what_html_and_scripts_read() -> None:
    values = {"<": "</script><!--", "amp": "&lt;", "lines": "\u2028\u2029", "nan": float("nan"), "broken": "\udc80"}
    text = json_in_html(values)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert text.isascii()
    assert json.loads(text) == {**values, "nan": None}


def test_the_policy_lets_in_the_pages_own_parts_alone(tmp_path: Path) -> None:
    page = rendered(build_report([recorded_run(tmp_path / "a")], tmp_path))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside is not None
        assert f"{directive} 'sha256-{b64encode(sha256(inside.group(1).encode()).digest()).decode()}';" in policy.group(1)
    assert policy.group(1).startswith("default-src 'none';")
    assert "unsafe" not in policy.group(1)
    assert "innerHTML" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


# --- files of videos --------------------------------------------------------------------------------------------------------------------


def test_files_are_found_by_path_basename_and_canonical_name(tmp_path: Path) -> None:
    root = tmp_path / "my videos"
    for name in ("night/clip #1.mp4", "tiny/a.mp4", "one/twice.mp4", "two/twice.mp4", "deep/only.webm", NASTY):
        write_clip_at(root / name)
    folder = VideoFolder(root, tmp_path / "pages")
    assert folder.address("tiny", "night/clip #1.mp4") == "../my%20videos/night/clip%20%231.mp4"
    assert folder.address("tiny", "a.mp4") == "../my%20videos/tiny/a.mp4"
    assert folder.address("tiny", "twice.mp4") == "", "two files fit"
    assert folder.address("tiny", "only") == "../my%20videos/deep/only.webm"
    assert folder.address("tiny", NASTY) == "../my%20videos/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E.mp4"
    assert folder.address("tiny", "javascript:alert(1)") == ""


def write_clip_at(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


# --- refusals ---------------------------------------------------------------------------------------------------------------------------


def test_refusals(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    with pytest.raises(ArgumentError, match="runs are none; name at least one run folder"):
        build_report([], tmp_path)
    with pytest.raises(ArgumentError, match="each of them once"):
        build_report([folder, tmp_path / "b" / ".." / "a"], tmp_path)
    with pytest.raises(ArgumentError, match="curves is -1; it has to be 0 or more"):
        build_report([folder], tmp_path, curves=-1)
    with pytest.raises(ArgumentError, match=r"store is '.*nothing', which is no folder; name the folder of the feature stores"):
        build_report([folder], tmp_path, store=tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"videos is '.*nothing', which is no folder"):
        build_report([folder], tmp_path, videos=tmp_path / "nothing")
    with pytest.raises(DatasetError, match="holds no video file"):
        build_report([folder], tmp_path, videos=folder)


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is no run folder, or its fit did not finish"):
        build_report([tmp_path], tmp_path)
    folder = recorded_run(tmp_path / "a")
    kept = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text('{"srocc": {"values": []}}')
    with pytest.raises(WeightsError, match=r"metrics.json' is damaged \(KeyError"):
        build_report([folder], tmp_path)
    (folder / "metrics.json").write_text(kept)
    (folder / "curve.csv").write_text("split,epoch,loss\n0,1,high\n")
    with pytest.raises(WeightsError, match=r"curve.csv' is damaged \(ValueError"):
        build_report([folder], tmp_path)
    (folder / "metrics.json").unlink()
    with pytest.raises(WeightsError, match="its fit did not finish"):
        build_report([folder], tmp_path)


def test_a_run_without_test_scores_has_nothing_to_report(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    path = folder / "predictions.csv"
    lines = [line.rsplit(",", 1)[0] + "," if ",test," in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(WeightsError, match="holds no score of a test video, so there is nothing to report"):
        build_report([folder], tmp_path)


def test_parts_of_a_page_check_themselves() -> None:
    with pytest.raises(ArgumentError, match="columns of a score table have the lengths"):
        ScoreTable((0, 1), ("test",), (0,), (1.0,), (0.0,))
    with pytest.raises(ArgumentError, match="part of a score table is 'exam'; allowed are train, validation, test"):
        ScoreTable((0,), ("exam",), (0,), (1.0,), (0.0,))
    with pytest.raises(ArgumentError, match="is not finite; leave such rows out"):
        ScoreTable((0,), ("test",), (0,), (float("nan"),), (0.0,))
    with pytest.raises(ArgumentError, match="it needs a name and a finite label"):
        ReportVideo("a", "tiny", "a", float("nan"))
    with pytest.raises(ArgumentError, match="give four parameters, or none and a note"):
        FittedCurve("tiny", 0, ())
    with pytest.raises(ArgumentError, match="has 1 values for 2 epochs"):
        TrainingCurve(0, 0, (1, 2), {"loss": (1.0,)})
    with pytest.raises(ArgumentError, match="1 times for 2 scores"):
        FrameCurve(0, (0,), (0.0,), (1.0, 2.0))
    with pytest.raises(ArgumentError, match="runs of a report are none"):
        Report("title", ())


def test_the_command_writes_and_does_not_replace(run: Run, tmp_path: Path) -> None:  # noqa: F811
    folder, out = recorded_run(tmp_path / "a"), tmp_path / "pages" / "report.html"
    write_clip(tmp_path / "v0003.mp4", noise_frames(2))
    ended = run("report", folder, "--out", out, "--videos", tmp_path, "--title", "A study")
    assert (ended.code, ended.out) == (0, f"{out}\n"), ended.err
    assert "a: files of 1 of 40 videos" in ended.err
    told = data_in(out.read_text(encoding="utf-8"))
    assert (told["title"], told["runs"][0]["videos"]["address"][3]) == ("A study", "../v0003.mp4")
    ended = run("report", folder, "--out", out)
    assert (ended.code, "which exists; pass --overwrite to replace it" in ended.err) == (1, True)
    assert run("report", folder, "--out", out, "--overwrite").code == 0
    ended = run("report", folder, "--out", tmp_path)
    assert (ended.code, "which is a folder; name a file in it" in ended.err) == (1, True)
    ended = run("report", tmp_path / "none", "--out", tmp_path / "x.html")
    assert (ended.code, "is no run folder" in ended.err) == (1, True)


def test_writing_makes_the_folder(tmp_path: Path) -> None:
    page = build_report([recorded_run(tmp_path / "a")], tmp_path)
    assert write_report(page, tmp_path / "deep" / "page.html").read_text(encoding="utf-8") == rendered(page)


# --- tables and plots -------------------------------------------------------------------------------------------------------------------


def written_table(stores: Path, folder: Path, make_study: Callable[..., Study]) -> Path:
    """Fill a small table from a store, its second row only quoted, and write it as the command does."""
    rows = [
        {"name": "ours", "group": "<b>", "head": "no-time", "published": "0.5"},
        {"name": NASTY, "quoted": True, "published": "0.25"},
    ]
    result = run_study(make_study(rows, caption="A choice."), Bench(StoreShelf(stores), folder / "runs"))
    path = folder / "tiny-0.json"
    path.write_text(json_text(as_dict(result, stores)))
    return path


def test_a_table_comes_with_its_runs(make_study: Callable[..., Study], stores: Path, tmp_path: Path) -> None:
    other = recorded_run(tmp_path / "other")
    path = written_table(stores, tmp_path, make_study)
    page = data_in(rendered(build_report([other], tmp_path, tables=[path])))
    assert [one["name"] for one in page["runs"]] == ["other", "konvid-resnet18-no-time"]
    (table,) = page["tables"]
    assert (page["title"], table["columns"], table["notes"][0]) == ("tiny-0", ["SROCC"], "A choice.")
    ours, theirs = (row["cells"][0] for row in table["rows"])
    measured = page["runs"][1]["summary"]["srocc"]["mean"]
    assert (ours["value"], ours["runs"]) == (measured, [1])
    assert ours["text"] == f"{measured:.3f} (0.5, {measured - 0.5:+.3f})".replace("-", "−")
    assert (theirs["text"], theirs["value"], theirs["runs"]) == ("0.25 †", 0.25, [])
    assert [row["name"] for row in table["rows"]] == ["<b>, ours", NASTY]
    (tmp_path / "runs").rename(tmp_path / "gone")
    alone = data_in(rendered(build_report([], tmp_path, tables=[path])))
    assert (alone["runs"], alone["tables"][0]["rows"][0]["cells"][0]["runs"]) == ([], [])


def test_what_is_no_table_is_refused(run: Run, tmp_path: Path) -> None:  # noqa: F811
    ended = run("report", "li-14", "--out", tmp_path / "page.html")
    assert ended.code == 1
    assert "'li-14' names a table; write it with `vqafeat table li-14 --json --out tables`, then name tables/li-14.json." in ended.err
    for text, words in (
        ("{", r"table '.*' cannot be read \(Expecting"),
        ("[]", "holds no table; write it with"),
        ('{"cells": []}', "holds no table"),
        ('{"cells": [{"row": 1}]}', "is no whole table"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DatasetError, match=words):
            build_report([], tmp_path, tables=[tmp_path / "bad.json"])
    with pytest.raises(DatasetError, match=r"table '.*none.json' cannot be read"):
        build_report([], tmp_path, tables=[tmp_path / "none.json"])
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(257 * 2**20)
    with pytest.raises(DatasetError, match="has 257 MiB; label files, manifests and tables of at most 256 MiB are read"):
        build_report([], tmp_path, tables=[tmp_path / "huge.json"])
    with pytest.raises(DatasetError, match="table 'a' has rows of more or fewer than its 2 columns"):
        ReportTable("a", "", (), ("x", "y"), (("row", (ReportCell("1", 1.0),)),))


def test_plots_of_runs(run: Run, tmp_path: Path) -> None:  # noqa: F811
    folder = recorded_run(tmp_path / "two", datasets=("konvid", "cvd2014"))
    ended = run("report", folder, "--out", tmp_path / "page.html", "--plots", tmp_path / "plots")
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["two-cvd2014-scores.png", "two-konvid-scores.png", "two-training.png"]
    assert f"two: wrote {tmp_path / 'plots' / 'two-training.png'}" in ended.err
    with pytest.raises(ArgumentError, match="'svr' was not trained in epochs, so there are no training curves"):
        plot_training((), "svr", tmp_path / "none.png")
