"""The page of a report without a browser: its data, its safety, its refusals."""

import json
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import Run
from tests.helpers.report_runs import ENDING, NASTY, fitted_run, names, recorded_run, scores_in
from vqafeat.errors import ArgumentError, DatasetError, WeightsError
from vqafeat.evaluation.compare import compare_runs
from vqafeat.evaluation.model import Model
from vqafeat.io import json_text
from vqafeat.metrics import DEFAULT_MAPPING, fit_logistic
from vqafeat.paper_tables.format import as_dict
from vqafeat.paper_tables.run import run_table
from vqafeat.paper_tables.sources import FeatureStores, FitCache
from vqafeat.paper_tables.table import PaperTable
from vqafeat.report import build_report, charts, rendered, write_report
from vqafeat.report.build import NOT_TESTED, VideoFolder, report_run, worst_videos
from vqafeat.report.content import (
    FrameCurve,
    Report,
    ReportCell,
    ReportComparison,
    ReportRun,
    ReportTable,
    ReportVideo,
    TrainingCurve,
)
from vqafeat.report.page import json_in_html
from vqafeat.store import FeatureStore, store_key
from vqafeat.store.features import load_features
from vqafeat.store.types import FrameTable
from vqafeat.training.predictions import Prediction


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return fitted_run(tmp_path_factory.mktemp("fitted"))


def data_in(page: str) -> Any:
    actual = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert actual is not None
    return json.loads(actual.group(1))


# --- what the page says


def test_build_report__scores_and_metrics_are_those_of_the_run(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    report = build_report([folder], tmp_path)
    page = data_in(rendered(report))
    (shown,) = page["runs"]
    scores, videos = shown["scores"], shown["videos"]
    rows = zip(
        scores["split"], scores["part"], scores["video"], scores["output"], scores["score"], strict=True
    )
    actual = [
        (
            str(split),
            page["parts"][part],
            videos["name"][video],
            videos["content"][video],
            *map(repr, (videos["mos"][video], *numbers)),
        )
        for split, part, video, *numbers in rows
    ]
    assert actual == [tuple(row.values()) for row in scores_in(folder)]
    kept = json.loads((folder / "metrics.json").read_text())
    (run,) = report.runs
    summary = json.loads(json_text(run.summary.as_dict()))
    assert summary == {key: kept[key] for key in summary}
    assert {"plcc_plain", "rmse_plain", "rmse_calibrated", "few_videos"} < set(summary)
    assert run.training[1].kept_epoch == 19
    assert run.training[1].series["loss"][:2] == (2.1, 1.1)
    assert run.facts["Run"]["seed"] == 0
    assert len(run.facts["Run"]["digest of the configuration"]) == 64


def test_rendered__says_what_decided_a_run(tmp_path: Path) -> None:
    page = rendered(build_report([recorded_run(tmp_path / "a")], tmp_path))
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert (facts["seed"], facts["labels"], facts["range"]) == ("0", "MOS", "0 to 5")
    assert len(facts["digest of the configuration"]) == 64


@pytest.mark.parametrize(
    ("mapping", "videos"),
    [("logistic", 40), ("logistic-increasing", 40), ("logistic-increasing", 200), ("none", 40)],
)
def test_build_report__error_is_calibrated_score_minus_label(
    tmp_path: Path, mapping: str, videos: int
) -> None:
    (shown,) = build_report([recorded_run(tmp_path / "a", mapping=mapping, videos=videos)], tmp_path).runs
    assert [row.mos for row in shown.scores] == [shown.videos[row.video].mos for row in shown.scores]
    own = [row.score - row.mos for row in shown.scores if (row.split, row.part) == (1, "test")]
    assert np.sqrt(np.mean(np.square(own))) == pytest.approx(
        shown.summary.rmse_calibrated.values[1], rel=1e-12
    )


@pytest.mark.parametrize("mapping", ["logistic", "none"])
def test_build_report__fits_increasing_logistics_to_calibrated_scores(tmp_path: Path, mapping: str) -> None:
    (shown,) = build_report([recorded_run(tmp_path / "a", mapping=mapping, videos=200)], tmp_path).runs
    own = [row for row in shown.scores if (row.split, row.part) == (1, "test")]
    scores, mos = [row.score for row in own], [row.mos for row in own]
    assert shown.fitted["tiny", 1] == fit_logistic(scores, mos, DEFAULT_MAPPING)


def test_build_report__gives_the_reason_where_no_logistic_is_fitted(tmp_path: Path) -> None:
    (shown,) = build_report([recorded_run(tmp_path / "a", mapping="logistic-increasing")], tmp_path).runs
    every, *splits = shown.fitted.values()
    assert list(shown.fitted) == [("tiny", split) for split in (-1, 0, 1, 2)]
    assert (every.converged, every.note) == (True, "")
    assert not any(fit.converged for fit in splits)
    assert all(
        "videos are too few for the mapping 'logistic-increasing', which needs 20" in fit.note
        for fit in splits
    )


def test_build_report__one_test_score_is_too_few_for_a_logistic(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a", videos=200, splits=2)
    path = folder / "predictions.csv"
    lines = path.read_text().splitlines()
    for position in [row for row, line in enumerate(lines) if line.startswith("1,test,")][1:]:
        lines[position] = lines[position].rsplit(",", 2)[0] + ",,"
    path.write_text("\n".join(lines) + "\n")
    (shown,) = build_report([folder], tmp_path).runs
    first, second = (shown.fitted["tiny", split] for split in range(2))
    assert (first.note, first.converged) == ("", True)
    assert (second.note, second.converged) == ("1 test video(s) are too few for a logistic", False)


def test_build_report__without_curve_csv_has_no_training_curves(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    (folder / "curve.csv").unlink()
    assert build_report([folder], tmp_path).runs[0].training == ()


def test_build_report__notes_what_the_calibration_warns_of(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    path = folder / "calibration.json"
    values = json.loads(path.read_text())
    values["tiny"][1]["note"] = "the head's scores run against the labels of its 8 validation videos"
    path.write_text(json.dumps(values))
    (shown,) = build_report([folder], tmp_path).runs
    assert shown.notes == ("split 1: the head's scores run against the labels of its 8 validation videos",)
    assert shown.calibrated_on == ("validation",)


@pytest.mark.parametrize("name", ["sub-gru", "svr", "mdtvsfa", "no-time"])
def test_build_report__opens_runs_of_an_earlier_version(shared_data: Path, tmp_path: Path, name: str) -> None:
    old = shared_data / "v1"
    if not (old / "runs" / name).is_dir():
        pytest.skip(f"runs of an earlier version are absent: {old / 'runs' / name}")
    report = build_report([old / "runs" / name], tmp_path, store=old / "store", curves=3)
    (run,), (shown,) = report.runs, data_in(rendered(report))["runs"]
    scores, labels = shown["scores"], shown["videos"]["mos"]
    assert len(scores["score"]) == len(scores_in(old / "runs" / name))
    assert [labels[video] for video in scores["video"]] == [row.mos for row in run.scores]
    low, high = run.config.datasets[0].mos_range
    assert all(low <= score <= high for score in scores["score"])
    assert len(shown["frames"]) == 3, run.notes
    summary = run.summary
    assert np.isfinite([summary.plcc_plain.mean, summary.rmse_plain.mean, summary.rmse_calibrated.mean]).all()
    assert summary.few_videos[:24] == "measured on only 7 test "


def test_build_report__names_videos_of_several_data_sets(tmp_path: Path) -> None:
    (shown,) = build_report([recorded_run(tmp_path / "a", datasets=("konvid", "cvd2014"))], tmp_path).runs
    assert {(video.dataset, video.name[:1], video.content[:5]) for video in shown.videos.values()} == {
        ("konvid", "v", "scene"),
        ("cvd2014", "v", "scene"),
    }
    assert {dataset for dataset, _ in shown.fitted} == {"konvid", "cvd2014"}
    assert list(shown.summary.datasets) == ["konvid", "cvd2014"]


def test_build_report__curves_are_of_the_heads_that_tested_the_video(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, store_folder = fitted
    (shown,) = build_report([folder], tmp_path, store=store_folder, curves=3).runs
    assert len(shown.frames) == 3
    name, curve = next(iter(shown.frames.items()))
    video = shown.videos[name]
    tested = (row for row in shown.scores if row.part == "test")
    assert max(tested, key=lambda row: abs(row.score - row.mos)).video == name
    store = FeatureStore.open(store_folder / "tiny.zarr")
    number = names().index(video.name)
    expected = Model.load(folder).frame_scores(load_features(store, "tiny").features[number], curve.splits[0])
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-5)
    seconds = store.seconds(video.name)
    assert seconds is not None
    np.testing.assert_allclose(curve.seconds, seconds - seconds[0], atol=1e-4)


def test_build_report__the_mean_of_a_frame_curve_is_the_score_of_the_video(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    (shown,) = build_report([fitted[0]], tmp_path, store=fitted[1]).runs
    assert len(shown.frames) == 8
    for name, curve in shown.frames.items():
        own = [row.score for row in shown.scores if (row.video, row.part) == (name, "test")]
        assert np.mean(curve.scores) == pytest.approx(np.mean(own), rel=1e-5)


def test_build_report__shares_curves_among_data_sets(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a", datasets=("konvid", "cvd2014"))
    (shown,) = build_report([folder], tmp_path, store=tmp_path, curves=1).runs
    assert [note[:32] for note in shown.notes] == ["no scores of frames for 'konvid'"], (
        "the one curve would be of the first data set"
    )
    tested = worst_videos(shown)
    assert {shown.no_frames[video][:32] for video in tested if shown.videos[video].dataset == "cvd2014"} == {
        "With --curves 1, `vqafeat report"
    }
    assert {shown.no_frames[video][:32] for video in tested if shown.videos[video].dataset == "konvid"} == {
        "No scores of frames for 'konvid'"
    }


# --- why a video has no curve


def reasons_of(shown: ReportRun) -> dict[str, str]:
    """Return the reasons of the videos without a curve, by name."""
    return {shown.videos[video].name: reason for video, reason in shown.no_frames.items()}


def changed_run(folder: Path, fitted: Path, **identity: str) -> Path:
    """Copy a run, with another identity of its features."""
    shutil.copytree(fitted, folder)
    config = json.loads((folder / "config.json").read_text())
    config["identities"]["tiny"] |= identity
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_build_report__without_a_store_names_the_option(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    (shown,) = build_report([fitted[0]], tmp_path).runs
    tested = {shown.videos[row.video].name for row in shown.scores if row.part == "test"}
    assert shown.frames == {}
    assert {reasons_of(shown)[name] for name in tested} == {
        "Give --store FOLDER to `vqafeat report` to see the score of each frame."
    }


def test_build_report__a_video_without_a_curve_has_a_reason(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    (shown,) = build_report([fitted[0]], tmp_path, store=fitted[1], curves=3).runs
    tested = [shown.videos[video].name for video in worst_videos(shown)]
    assert [shown.videos[video].name for video in shown.frames] == tested[:3]
    reasons = reasons_of(shown)
    assert set(reasons) == {*names()} - {*tested[:3]}
    assert all(
        reasons[name].startswith("With --curves 3, `vqafeat report` scores the frames of at most 3 test")
        for name in tested[3:]
    )
    assert {reasons[name] for name in set(names()) - set(tested)} == {NOT_TESTED}
    (shown,) = build_report([fitted[0]], tmp_path, store=fitted[1], curves=0).runs
    assert all(reasons_of(shown)[name].startswith("With --curves 0") for name in tested)


def test_build_report__a_video_without_whole_features_has_a_reason(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(fitted[1], tmp_path / "features")
    FeatureStore.open(tmp_path / "features" / "tiny.zarr", writable=True).forget("night/clip 3.mp4")
    (shown,) = build_report([fitted[0]], tmp_path, store=tmp_path / "features").runs
    assert len(shown.frames) == 7
    actual = reasons_of(shown)["night/clip 3.mp4"]
    assert actual.startswith("No score of each frame: '")
    assert actual.endswith(
        "tiny.zarr' has no complete features 'tiny' of this video; run `vqafeat extract` again."
    )


def test_build_report__a_video_whose_times_are_no_times_has_a_reason(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(fitted[1], tmp_path / "features")
    store = FeatureStore.open(tmp_path / "features" / "tiny.zarr", writable=True)
    name, number = "night/clip 3.mp4", 3
    rows = store.read("tiny", name)
    store.forget(name)
    store.write_frames(name, FrameTable(np.zeros(len(rows.frame)), {"sha256": f"{number:064}"}))
    store.write_features("tiny", name, rows, f"{number:064}")
    (shown,) = build_report([fitted[0]], tmp_path, store=tmp_path / "features").runs
    assert len(shown.frames) == 7
    why = "the times of the frames are all 0; correct the file's time stamps and extract it again."
    assert reasons_of(shown)[name] == f"No score of each frame: {why}"
    assert f"no scores of frames for videos without usable times of their frames: {name}" in shown.notes


def test_build_report__one_damaged_video_leaves_the_curves_of_the_others(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(fitted[1], tmp_path / "features")
    values = (
        tmp_path / "features" / "tiny.zarr" / "features" / "tiny" / store_key("night/clip 3.mp4") / "values"
    )
    (chunk,) = (path for path in values.rglob("*") if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:-8])
    (shown,) = build_report([fitted[0]], tmp_path, store=tmp_path / "features").runs
    assert len(shown.frames) == 7
    assert reasons_of(shown)["night/clip 3.mp4"].startswith("No score of each frame: ")


def test_build_report__a_missing_store_is_a_note_and_a_reason(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    (shown,) = build_report([fitted[0]], tmp_path, store=tmp_path).runs
    assert shown.frames == {}
    (note,) = (note for note in shown.notes if "no scores of frames for 'tiny': " in note)
    assert "does not exist (stores in this folder: " in note
    assert reasons_of(shown)[names()[0]] == f"N{note[1:]}"
    assert reasons_of(shown)[names()[5]] == NOT_TESTED


def test_build_report__a_store_of_another_identity_is_a_note_and_a_reason(
    fitted: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = changed_run(tmp_path / "changed", fitted[0], view="half")
    (shown,) = build_report([folder], tmp_path, store=fitted[1]).runs
    assert shown.frames == {}
    assert any(
        "no scores of frames for 'tiny': features 'tiny' were computed differently from those of the training"
        in note
        for note in shown.notes
    )
    assert (
        "features 'tiny' were computed differently from those of the training"
        in reasons_of(shown)[names()[0]]
    )


def test_report_run__each_video_needs_a_curve_or_a_reason(fitted: tuple[Path, Path]) -> None:
    shown = report_run(fitted[0], "a")
    first, *others = shown.no_frames
    with pytest.raises(
        ArgumentError, match="run 'a' has 12 videos; give each a frame curve, or a reason why it has none"
    ):
        replace(shown, no_frames=dict.fromkeys(others, "a reason"))
    with pytest.raises(ArgumentError, match="give each a frame curve, or a reason"):
        replace(shown, frames={first: FrameCurve((0,), (), (1.0,))})


# --- notes


def test_build_report__leaves_out_and_reports_rows_without_a_score(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    path = folder / "predictions.csv"
    lines = path.read_text().splitlines()
    position = next(row for row, line in enumerate(lines) if ",train," in line)
    lines[position] = lines[position].rsplit(",", 2)[0] + ",,"
    path.write_text("\n".join(lines) + "\n")
    (shown,) = build_report([folder], tmp_path).runs
    assert shown.notes == ("1 of 120 rows without a score left out",)


def test_rendered__the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name / "run", noise=noise) for name, noise in (("a", 0.3), ("b", 0.9))]
    first, second = (rendered(build_report(folders, tmp_path)) for _ in range(2))
    assert first == second
    assert [one["name"] for one in data_in(first)["runs"]] == ["a/run", "b/run"], (
        "two folders of one name keep as much of their paths as differs"
    )


# --- comparison, question and dates


def test_build_report__compares_runs_with_the_best_one(tmp_path: Path) -> None:
    noises = {"a": 1.5, "b": 0.4, "c": 0.5}
    folders = [recorded_run(tmp_path / name, noise=noise, splits=5) for name, noise in noises.items()]
    (comparison,) = build_report(folders, tmp_path).comparisons
    assert list(comparison.pairs) == [1, 2, 0]
    expected = compare_runs(folders)
    names = {frozenset((pair.first, pair.second)): pair for pair in expected.pairs}
    for index in (0, 2):
        pair, same = comparison.pairs[index], names[frozenset(("b", "abc"[index]))]
        assert pair is not None
        assert (pair.first, pair.second) == ("abc"[index], "b")
        assert pair.test.p == pytest.approx(same.test.p)
        assert pair.p_holm == pytest.approx(same.p_holm), "corrected for all three pairs"
        assert pair.interval.difference < 0
        assert sorted(map(abs, (pair.interval.low, pair.interval.high))) == pytest.approx(
            sorted(map(abs, (same.interval.low, same.interval.high)))
        )


def test_build_report__compares_runs_of_one_name_and_names_the_rest(tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name / "run") for name in "ab"]
    report = build_report([*folders, recorded_run(tmp_path / "c", videos=30)], tmp_path)
    (comparison,) = report.comparisons
    (pair,) = filter(None, comparison.pairs.values())
    assert {pair.first, pair.second} == {"a/run", "b/run"}
    assert re.search(r"tested on the same videos:\s+c\.", rendered(report))


def test_build_report__does_not_compare_runs_without_srocc(tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name) for name in "ab"]
    for folder in folders:
        values = json.loads((folder / "metrics.json").read_text())
        values["srocc"]["values"] = [None, None, None]
        (folder / "metrics.json").write_text(json.dumps(values))
    page = rendered(build_report(folders, tmp_path))
    assert "Runs on tiny are not compared: their SROCC is not defined." in page


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ([{"head": "svr"}, {}], "Which head predicts the MOS of tiny best: svr or no-time?"),
        (
            [{"feature_sets": name} for name in ("x", "y", "x+y")],
            "Which features predict the MOS of tiny best: x, y or x+y?",
        ),
        (
            [{"recipe": {"loss": name}} for name in ("l1", "plcc")],
            "Which loss predicts the MOS of tiny best: l1 or plcc?",
        ),
        ([{"head": "svr"}, {"feature_sets": "y"}], "How well do 2 runs predict the MOS of tiny?"),
        (
            [{"datasets": ("konvid", "cvd2014")}, {"head": "svr"}],
            "How well do 2 runs predict the MOS of konvid, cvd2014 and tiny?",
        ),
    ],
)
def test_build_report__the_title_is_the_question(
    tmp_path: Path, changes: list[dict[str, Any]], title: str
) -> None:
    folders = [recorded_run(tmp_path / str(number), **own) for number, own in enumerate(changes)]
    assert build_report(folders, tmp_path).title == title


def test_rendered__shows_the_dates(tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name) for name in "ab"]
    for day, folder in enumerate(folders, 3):
        moment = datetime(2024, 5, day, 12).timestamp()
        os.utime(folder / "metrics.json", (moment, moment))
    report = build_report(folders, tmp_path)
    assert [run.finished for run in report.runs] == ["2024-05-03", "2024-05-04"]
    page = rendered(replace(report, made="2024-06-01"))
    assert "finished on 2024-05-03 to 2024-05-04 · page of 2024-06-01" in page


def test_rendered__has_each_note_once(tmp_path: Path) -> None:
    report = build_report([recorded_run(tmp_path / name) for name in "abc"], tmp_path)
    notes = (
        ("split 0: 9 are too few", "all"),
        ("split 1: 8 are too few",),
        ("2 of 3 splits: it falls", "all"),
    )
    runs = tuple(replace(run, notes=own) for run, own in zip(report.runs, notes, strict=True))
    page = rendered(replace(report, runs=runs))
    lines = re.findall("<li>([^<]*)</li>", page.partition('id="metrics-notes"')[2].partition("</ul>")[0])
    assert "a (split 0, n = 9); b (split 1, n = 8): n are too few" in lines
    assert "a, c: all" in lines
    assert "c (2 of 3 splits): it falls" in lines
    assert "made for a test" in lines


def test_rendered__says_that_a_run_has_no_mapping(tmp_path: Path) -> None:
    runs = [recorded_run(tmp_path / name, mapping=name) for name in ("none", "logistic")]
    page = rendered(build_report(runs, tmp_path))
    assert "<li>none: PLCC and RMSE are those without a mapping</li>" in page
    assert page.count("without a mapping</li>") == 1


def test_rendered__writes_options_in_words(tmp_path: Path) -> None:
    options = [{"width": 32, "deep": True}, {}]
    runs = [
        recorded_run(tmp_path / name, recipe={"loss": "l1", "head_options": own})
        for name, own in zip("ab", options, strict=True)
    ]
    cells = r'Recipe: head options</td>\s*<td class="words long">(.*?)</td><td class="words long">(.*?)</td>'
    (texts,) = re.findall(cells, rendered(build_report(runs, tmp_path)))
    assert texts == ("width 32, deep yes", "–")


# --- safety


def test_rendered__names_cannot_leave_their_place(fitted: tuple[Path, Path], tmp_path: Path) -> None:
    page = rendered(build_report([fitted[0]], tmp_path, title="<b>&\"'</title>"))
    assert NASTY not in page
    assert ENDING not in page
    assert page.count("</script>") == 2
    assert "<title>&lt;b&gt;&amp;&#34;&#39;&lt;/title&gt;</title>" in page
    (shown,) = data_in(page)["runs"]
    assert {NASTY, ENDING} < set(shown["videos"]["name"])


def test_json_in_html__escapes_what_html_and_scripts_read() -> None:
    values = {
        "<": "</script><!--",
        "amp": "&lt;",
        "lines": "\u2028\u2029",
        "nan": float("nan"),
        "broken": "\udc80",
    }
    text = json_in_html(values)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert text.isascii()
    assert json.loads(text) == {**values, "nan": None}


def test_rendered__policy_allows_the_parts_of_the_page_alone(tmp_path: Path) -> None:
    page = rendered(build_report([recorded_run(tmp_path / "a")], tmp_path))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside is not None
        assert (
            f"{directive} 'sha256-{b64encode(sha256(inside.group(1).encode()).digest()).decode()}';"
            in policy.group(1)
        )
    assert policy.group(1).startswith("default-src 'none';")
    assert "unsafe" not in policy.group(1)
    assert "innerHTML" not in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


# --- files of videos


def test_video_folder__finds_files_by_path_basename_and_canonical_name(tmp_path: Path) -> None:
    root = tmp_path / "my videos"
    for name in (
        "night/clip #1.mp4",
        "tiny/a.mp4",
        "one/twice.mp4",
        "two/twice.mp4",
        "deep/only.webm",
        NASTY,
    ):
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


# --- refusals


def test_build_report__refuses_wrong_arguments(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    with pytest.raises(ArgumentError, match="runs are none; name at least one run folder"):
        build_report([], tmp_path)
    with pytest.raises(ArgumentError, match="and each only once"):
        build_report([folder, tmp_path / "b" / ".." / "a"], tmp_path)
    with pytest.raises(ArgumentError, match="curves is -1; it has to be 0 or more"):
        build_report([folder], tmp_path, curves=-1)
    with pytest.raises(
        ArgumentError,
        match=r"store is '.*nothing', which is not a folder; name the folder of the feature stores",
    ):
        build_report([folder], tmp_path, store=tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"videos is '.*nothing', which is not a folder"):
        build_report([folder], tmp_path, videos=tmp_path / "nothing")
    with pytest.raises(DatasetError, match="has no video files"):
        build_report([folder], tmp_path, videos=folder)


def test_build_report__refuses_what_is_no_finished_run(tmp_path: Path) -> None:
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


def test_build_report__refuses_a_run_without_test_scores(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    path = folder / "predictions.csv"
    lines = [
        line.rsplit(",", 2)[0] + ",," if ",test," in line else line for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(WeightsError, match="has no score of a test video, so there is nothing to report"):
        build_report([folder], tmp_path)


def test_report__parts_refuse_wrong_values(fitted: tuple[Path, Path]) -> None:
    shown = report_run(fitted[0], "a")
    with pytest.raises(ArgumentError, match=r"has a score of nan for 'night/clip 8.mp4'; give finite scores"):
        replace(shown, scores=(Prediction(0, "test", "night/clip 8.mp4", "", 1.0, 1.0),))
    with pytest.raises(ArgumentError, match=r"has a score of 1.0 for 'other'; give finite scores of its vid"):
        replace(shown, scores=(Prediction(0, "test", "other", "", 1.0, 1.0, 1.0),))
    with pytest.raises(ArgumentError, match="it needs a name and a finite label"):
        ReportVideo("a", "tiny", "a", float("nan"))
    with pytest.raises(ArgumentError, match="has 1 values for 2 epochs"):
        TrainingCurve(0, 0, (1, 2), {"loss": (1.0,)})
    with pytest.raises(ArgumentError, match="1 times for 2 scores"):
        FrameCurve((0,), (0.0,), (1.0, 2.0))
    with pytest.raises(ArgumentError, match=r"pairs of 'tiny' compare runs \[\]; give one for each run but"):
        ReportComparison("tiny", 3, {0: None, 1: None})
    with pytest.raises(ArgumentError, match="runs of a report are none"):
        Report("title", ())
    with pytest.raises(ArgumentError, match="runs of a report are a, a; give at least one, and different"):
        Report("title", (shown, shown))
    with pytest.raises(DatasetError, match="table 'a' has rows of more or fewer than its 2 columns"):
        ReportTable("a", "", (), ("x", "y"), (("row", (ReportCell("1", 1.0),)),))


def test_report_command__prints_the_notes_of_a_run(run: Run, tmp_path: Path) -> None:
    ended = run("report", recorded_run(tmp_path / "a"), "--store", tmp_path, "--out", tmp_path / "page.html")
    assert (ended.code, "a: no scores of frames for 'tiny': " in ended.err) == (0, True), ended.err


def test_report_command__writes_and_does_not_replace(run: Run, tmp_path: Path) -> None:
    folder, out = recorded_run(tmp_path / "a"), tmp_path / "pages" / "report.html"
    write_clip(tmp_path / "v0003.mp4", noise_frames(2))
    ended = run("report", folder, "--out", out, "--videos", tmp_path, "--title", "A study")
    assert (ended.code, ended.out) == (0, f"{out}\n"), ended.err
    assert "a: files of 1 of 40 videos" in ended.err
    page = out.read_text(encoding="utf-8")
    assert "<title>A study</title>" in page
    assert data_in(page)["runs"][0]["videos"]["address"][3] == "../v0003.mp4"
    ended = run("report", folder, "--out", out)
    assert (ended.code, "which exists; pass --overwrite to replace it" in ended.err) == (1, True)
    assert run("report", folder, "--out", out, "--overwrite").code == 0
    ended = run("report", folder, "--out", tmp_path)
    assert (ended.code, "which is a folder; name a file" in ended.err) == (1, True)
    ended = run("report", tmp_path / "none", "--out", tmp_path / "x.html")
    assert (ended.code, "is no run folder" in ended.err) == (1, True)


def test_write_report__makes_the_folder(tmp_path: Path) -> None:
    page = build_report([recorded_run(tmp_path / "a")], tmp_path)
    assert write_report(page, tmp_path / "deep" / "page.html").read_text(encoding="utf-8") == rendered(page)


# --- tables and plots


def written_table(stores: Path, folder: Path, make_table: Callable[..., PaperTable]) -> Path:
    """Fill a small table from a store, its second row only quoted, and write it as the command does."""
    rows = [
        {"name": "ours", "group": "<b>", "head": "no-time", "published": "0.5"},
        {"name": NASTY, "quoted": True, "published": "0.25"},
    ]
    result = run_table(
        make_table(rows, caption="A choice."), FitCache(FeatureStores(stores), folder / "runs")
    )
    path = folder / "tiny-0.json"
    path.write_text(json_text(as_dict(result, stores)))
    return path


def test_build_report__a_table_comes_with_its_runs(
    make_table: Callable[..., PaperTable], stores: Path, tmp_path: Path
) -> None:
    other = recorded_run(tmp_path / "other")
    path = written_table(stores, tmp_path, make_table)
    report = build_report([other], tmp_path, tables=[path])
    assert [run.name for run in report.runs] == ["other", "konvid-resnet18-no-time"]
    (table,) = report.tables
    assert (report.title, table.columns, table.notes[0]) == ("tiny-0", ("SROCC",), "A choice.")
    ours, theirs = (cells[0] for _, cells in table.rows)
    measured = report.runs[1].summary.srocc.mean
    assert (ours.value, ours.runs) == (measured, (1,))
    assert ours.text == f"{measured:.3f}‡ (0.5, {measured - 0.5:+.3f})".replace("-", "−")
    assert (theirs.text, theirs.value, theirs.runs) == ("0.25 †", 0.25, ())
    assert [name for name, _ in table.rows] == ["<b>, ours", NASTY]
    (tmp_path / "runs").rename(tmp_path / "gone")
    alone = build_report([], tmp_path, tables=[path])
    assert (alone.runs, alone.tables[0].rows[0][1][0].runs) == ((), ())
    assert data_in(rendered(alone))["runs"] == []


def test_report_command__refuses_what_is_no_table(run: Run, tmp_path: Path) -> None:
    ended = run("report", "li-14", "--out", tmp_path / "page.html")
    assert ended.code == 1
    assert (
        "'li-14' is the name of a table; write it with `vqafeat table li-14 --json --out tables`, then name "
        "tables/li-14.json." in ended.err
    )
    for text, words in (
        ("{", r"table '.*' cannot be read \(Expecting"),
        ("[]", "is not a table; write it with"),
        ('{"cells": []}', "is not a table"),
        ('{"cells": [{"row": 1}]}', "is not a whole table"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DatasetError, match=words):
            build_report([], tmp_path, tables=[tmp_path / "bad.json"])
    with pytest.raises(DatasetError, match=r"table '.*none.json' cannot be read"):
        build_report([], tmp_path, tables=[tmp_path / "none.json"])
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(257 * 2**20)
    with pytest.raises(
        DatasetError, match="has 257 MiB; label files, manifests and tables of at most 256 MiB are read"
    ):
        build_report([], tmp_path, tables=[tmp_path / "huge.json"])
    cell = {"row_group": "", "column_group": "", "measured": 1, "shown": "1", "runs": []}
    cells = [cell | dict(zip(("row", "column"), cell_name, strict=True)) for cell_name in ("ax", "ay", "bx")]
    header = dict.fromkeys(("label", "paper", "title", "lines"), "")
    (tmp_path / "uneven.json").write_text(json.dumps({"name": "a", "cells": cells, **header}))
    with pytest.raises(DatasetError, match="table 'a' has rows of more or fewer than its 2 columns"):
        build_report([], tmp_path, tables=[tmp_path / "uneven.json"])


def test_plot_run__is_of_calibrated_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[list[float], list[float]]] = []
    monkeypatch.setattr(
        charts, "plot_scores", lambda scores, labels, *rest: written.append((scores, labels)) or rest[-1]
    )
    folder = recorded_run(tmp_path / "a")
    charts.plot_run(report_run(folder, "a"), tmp_path)
    tested = [row for row in scores_in(folder) if row["part"] == "test"]
    ((scores, labels),) = written
    assert sorted(zip(scores, labels, strict=True)) == sorted(
        (float(row["score"]), float(row["mos"])) for row in tested
    )


def test_report_command__plots_runs(run: Run, tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "two", datasets=("konvid", "cvd2014"))
    ended = run("report", folder, "--out", tmp_path / "page.html", "--plots", tmp_path / "plots")
    written = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert written == ["two-cvd2014-scores.png", "two-konvid-scores.png", "two-training.png"]
    assert f"two: wrote {tmp_path / 'plots' / 'two-training.png'}" in ended.err
    with pytest.raises(
        ArgumentError, match="'svr' was not trained in epochs, so there are no training curves"
    ):
        charts.plot_training((), "svr", tmp_path / "none.png")
