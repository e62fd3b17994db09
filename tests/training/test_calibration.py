"""Calibration: scores stay on the label scale, in a head's order, fitted on validation videos alone; old runs
get theirs when read.
"""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.fits import SPLITS, small_fit
from tests.helpers.stores import MakeStore, tiny_features
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.evaluation.model import Model
from vqafeat.splits import Split
from vqafeat.training.predictions import Calibration, _left_out_scores, fit_calibration
from vqafeat.training.run import Run

RANGE = (1.0, 5.0)


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestFitCalibration:
    def test_fit_calibration__shrinks_the_least_squares_line_on_another_scale(self) -> None:
        rng = np.random.default_rng(0)
        mos = rng.uniform(1.5, 4.5, 12)
        outputs = 20 * mos - 7 + rng.normal(scale=15, size=12)
        fitted = fit_calibration(outputs, mos, RANGE, "validation")
        slope = np.polyfit(outputs, mos, 1)[0] * 12 / 17
        # the share of outputs that are tens of points off is a few thousandths
        assert slope < fitted.slope < slope + 0.005
        assert fitted.scores(outputs.mean()) == pytest.approx(mos.mean(), abs=0.2)
        assert (fitted.part, fitted.videos, fitted.note) == ("validation", 12, "")

    def test_fit_calibration__hardly_changes_outputs_on_the_label_scale(self) -> None:
        rng = np.random.default_rng(1)
        mos = rng.uniform(1.5, 4.5, 12)
        outputs = mos + rng.normal(scale=0.1, size=12)
        fitted = fit_calibration(outputs, mos, RANGE, "validation")
        np.testing.assert_allclose(fitted.scores(outputs), outputs, atol=0.05)

    def test_fit_calibration__minimises_the_left_out_error(self) -> None:
        rng = np.random.default_rng(2)
        mos = rng.uniform(1.5, 4.5, 15)
        outputs = 0.6 * mos + 1.6 + rng.normal(scale=0.4, size=15)

        def line(rows: np.ndarray) -> tuple[float, float]:
            slope = np.polyfit(outputs[rows], mos[rows], 1)[0] * len(rows) / (len(rows) + 5)
            return slope, mos[rows].mean() - slope * outputs[rows].mean()

        left_out = []
        for row in range(15):
            slope, offset = line(np.delete(np.arange(15), row))
            left_out.append(slope * outputs[row] + offset)
        shares = np.linspace(0, 1, 2001)
        errors = [np.sum((share * outputs + (1 - share) * np.array(left_out) - mos) ** 2) for share in shares]
        share = shares[np.argmin(errors)]
        assert 0.05 < share < 0.95
        slope, offset = line(np.arange(15))
        fitted = fit_calibration(outputs, mos, RANGE, "validation")
        assert (fitted.slope, fitted.offset) == pytest.approx(
            (share + (1 - share) * slope, (1 - share) * offset), abs=1e-3
        )

    def test_left_out_scores__equal_lines_fitted_without_each_video(self) -> None:
        rng = np.random.default_rng(3)
        outputs = rng.normal(1e6, 3, 9)
        outputs[1:] = np.where(rng.random(8) < 0.5, outputs[1:], outputs[1])
        mos = rng.uniform(1, 5, 9)
        expected = []
        for row in range(9):
            x, y = np.delete(outputs, row), np.delete(mos, row)
            slope = max(np.polyfit(x - x.mean(), y, 1)[0] * 8 / 13, 0.1 * y.std() / x.std())
            expected.append(y.mean() + slope * (outputs[row] - x.mean()))
        np.testing.assert_allclose(_left_out_scores(outputs, mos), expected, rtol=1e-6)
        # without the only different output, the others say nothing but their mean label
        fitted = _left_out_scores(np.array([5.0, 2.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0]))
        assert fitted[0] == pytest.approx(3.0)

    def test_fit_calibration__few_videos_do_not_undo_a_head_on_the_label_scale(self) -> None:
        outputs, mos = np.array([2.0, 3.0, 4.0]), np.array([2.6, 2.5, 3.6])
        prior, free = (fit_calibration(outputs, mos, RANGE, "validation", scaled) for scaled in (True, False))
        assert free.slope + 0.05 < prior.slope < 1
        far = fit_calibration(1000 * outputs, mos, RANGE, "validation", scaled=True)
        assert far.slope < 1e-3

    def test_calibration__scores_never_leave_the_label_range(self) -> None:
        fitted = fit_calibration([2.0, 3.0, 4.0], [2.0, 3.0, 4.0], RANGE, "validation")
        assert fitted.scores([-1e9, 1e9]).tolist() == [1.0, 5.0]

    def test_fit_calibration__keeps_the_order_of_falling_outputs_with_a_note(self) -> None:
        fitted = fit_calibration([3.0, 2.0, 1.0], [2.0, 3.0, 4.0], RANGE, "validation")
        assert fitted.slope >= 0.1
        assert fitted.note == "the head's scores run against the labels of its 3 validation videos"

    @pytest.mark.parametrize("outputs", [[2.0, 2.0, 2.0], [np.nan, 7.0, np.nan]])
    def test_fit_calibration__maps_equal_outputs_to_the_mean_label(self, outputs: list[float]) -> None:
        fitted = fit_calibration(outputs, [2.0, 3.0, 4.0], RANGE, "train")
        assert fitted.scores([-5.0, 5.0]).tolist() == [3.0, 3.0]
        assert re.match(r"the head gives its \d training video\(s\) the same score, so", fitted.note)

    @pytest.mark.parametrize(
        ("outputs", "mos", "why"),
        [([2.0] * 3, [1.0, 2.0, 3.0], "same score"), ([1.0, 2.0, 3.0], [2.0] * 3, "same label")],
    )
    def test_fit_calibration__without_a_line_keeps_outputs_on_the_label_scale(
        self, outputs: list[float], mos: list[float], why: str
    ) -> None:
        fitted = fit_calibration(outputs, mos, RANGE, "validation", scaled=True)
        assert fitted.scores([0.0, 2.5, 9.0]).tolist() == [1.0, 2.5, 5.0]
        assert why in fitted.note
        assert "so the head's output is taken as it is" in fitted.note

    def test_fit_calibration__without_videos_gives_the_middle_of_the_range(self) -> None:
        assert fit_calibration([], [], RANGE, "train").scores(9.0) == 3.0


def test_calibration__refuses_wrong_values() -> None:
    with pytest.raises(
        ArgumentError, match=r"calibration -1 · output \+ 0 between 1 and 5: the slope has to be at least 0"
    ):
        Calibration(-1, 0, 1, 5, "validation", 3)
    with pytest.raises(ArgumentError, match="range in order"):
        Calibration(1, 0, 5, 4, "validation", 3)


class TestRun:
    @pytest.fixture
    def run(self, make_store: MakeStore, tmp_path: Path) -> Path:
        return small_fit(make_store(), tmp_path / "run").path

    def test_fit__calibrates_on_the_validation_part_or_else_on_training(self, run: Path) -> None:
        (fitted,) = Run(run).calibrations or ((),)
        rows = Run(run).predictions
        for split, part in enumerate(("validation", "train")):
            own = [row for row in rows if (row.split, row.part) == (split, part)]
            expected = fit_calibration(
                [row.prediction for row in own], [row.mos for row in own], (-1.0, 5.0), part, scaled=True
            )
            assert fitted[split] == expected

    def test_fit__test_labels_do_not_change_the_calibration(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        store = make_store()
        first = small_fit(store, tmp_path / "first", splits=SPLITS[:1])
        moved = {
            video.name: video.mos + 2 * (number >= 15) for number, video in enumerate(store.dataset.videos)
        }
        rows = table_of(first.path)
        for row in rows:
            row["mos"] = str(moved[row["video"]])
        second = tmp_path / "second"
        shutil.copytree(first.path, second)
        (second / "calibration.json").unlink()
        with (second / "predictions.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        assert Run(second).calibrations == Run(first.path).calibrations

    def test_predictions__hold_the_output_of_the_head_and_its_score(self, run: Path) -> None:
        (calibrations,) = Run(run).calibrations or ((),)
        for row in table_of(run):
            assert float(row["score"]) == pytest.approx(
                float(calibrations[int(row["split"])].scores(float(row["prediction"])))
            )
            assert -1 <= float(row["score"]) <= 5

    def test_model__scores_as_the_run_did(self, run: Path) -> None:
        rows = {(row.split, row.video): row for row in Run(run).predictions if row.part == "test"}
        calibrated, plain = Model.load(run), Model.load(run, calibrated=False)
        row = rows[0, "clip,17.mp4"]
        assert calibrated.score(tiny_features(17), 0) == pytest.approx(row.score, abs=1e-5)
        assert plain.score(tiny_features(17), 0) == pytest.approx(row.prediction, abs=1e-5)
        assert calibrated.scale == "MOS of tiny, -1 to 5, calibrated on validation or training videos"
        assert plain.scale == "MOS of tiny, -1 to 5, not calibrated"

    def test_evaluate__gives_the_same_scores_and_error(self, run: Path, make_store: MakeStore) -> None:
        fitted = evaluate(run, make_store())
        expected = {(row.split, row.video): row.score for row in Run(run).predictions if row.part == "test"}
        assert {(row.split, row.video): row.score for row in fitted.predictions} == pytest.approx(
            expected, abs=1e-5
        )
        errors = [
            [row.score - row.mos for row in fitted.predictions if row.split == split] for split in range(2)
        ]
        assert fitted.summary.rmse_calibrated.values == pytest.approx(
            [np.sqrt(np.mean(np.square(own))) for own in errors]
        )

    def test_calibrations__fits_them_from_the_predictions_of_old_runs(self, run: Path) -> None:
        expected, summary = Run(run).calibrations, Run(run).metrics
        (run / "calibration.json").unlink()
        table = [line.rsplit(",", 1)[0] for line in (run / "predictions.csv").read_text().splitlines()]
        (run / "predictions.csv").write_text("\n".join(table) + "\n")
        metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
        old = {
            key: value
            for key, value in metrics.items()
            if not key.endswith(("_plain", "_calibrated")) and key != "few_videos"
        }
        (run / "metrics.json").write_text(json.dumps(old))
        assert Run(run).calibrations == expected
        assert Run(run).metrics.as_dict() == summary.as_dict()

    def test_fit__an_overwritten_run_leaves_nothing_behind(self, run: Path, make_store: MakeStore) -> None:
        before = (run / "training-features.safetensors").read_bytes()
        few = Split((0, 2, 4), (), tuple(range(10, 20)))
        small_fit(make_store(), run, splits=[few], overwrite=True)
        assert not (run / "training-features.safetensors").exists()
        assert before

    def test_calibrations__refuses_a_damaged_file(self, run: Path) -> None:
        (run / "calibration.json").write_text(json.dumps({"tiny": [{"slope": 1}]}))
        with pytest.raises(
            WeightsError, match=r"calibration\.json' is damaged, run `vqafeat fit` again: tiny"
        ):
            Model.load(run)


def test_fit__brings_back_a_head_far_off_the_label_scale(make_store: MakeStore, tmp_path: Path) -> None:
    # without a loss on the labels' scale the outputs are anywhere
    run = small_fit(
        make_store(),
        tmp_path / "run",
        overrides={"loss": "plcc", "epochs": 3, "learning_rate": 0.5, "batch_size": 4},
    )
    tested = [row for row in run.predictions if row.part == "test"]
    assert any(not -1 <= row.prediction <= 5 for row in tested)
    assert all(-1 <= row.score <= 5 for row in tested)
    assert run.metrics.rmse_calibrated.mean < run.metrics.rmse_plain.mean


@pytest.mark.parametrize("head", ["sub-gru", "svr", "mdtvsfa", "no-time"])
def test_calibrations__runs_of_version_1_keep_their_figures(shared_data: Path, head: str) -> None:
    folder = shared_data / "v1" / "runs" / head
    if not folder.is_dir():
        pytest.skip(f"runs of version 1 are absent: {folder}")
    summary = Run(folder).metrics
    recorded = json.loads((shared_data / "v1" / f"eval-{head}.json").read_text())
    for name in ("srocc", "krocc", "plcc", "rmse"):
        assert getattr(summary, name).mean == pytest.approx(recorded[name], rel=1e-6)
    low, high = Run(folder).config.datasets[0].mos_range
    rows = Run(folder).predictions
    assert all(low <= row.score <= high for row in rows)
    assert summary.rmse_calibrated.mean <= summary.rmse_plain.mean


def test_fit__refuses_equal_labels(make_store: MakeStore, tmp_path: Path) -> None:
    from vqafeat.datasets import Dataset, Video
    from vqafeat.errors import TrainingError

    store = make_store()
    videos = tuple(Video(video.name, 3.0, video.content) for video in store.dataset.videos)
    equal = Dataset(**{**vars(store.dataset), "videos": videos})

    class Equal:
        dataset, members = equal, (equal,)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    with pytest.raises(
        TrainingError,
        match="all 10 labels of the training part are 3, so there is nothing to learn; look at the label "
        "list",
    ):
        small_fit(Equal(), tmp_path / "run", splits=[Split(tuple(range(10)), (), (10, 11, 12))])  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_read_calibrations__needs_one_for_each_split(tmp_path: Path, make_store: MakeStore) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    path = run.path / "calibration.json"
    lines = json.loads(path.read_text())["tiny"]
    for damaged in ({"tiny": lines[:-1]}, {"other": lines}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(WeightsError, match=rf"it needs {len(lines)} calibration\(s\) of each of tiny"):
            _ = Run(run.path).calibrations
