"""Blending two runs: κ by a plain search over the recorded scores, the metrics by SciPy, and what does not
fit together.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.helpers.fits import SPLITS, small_fit
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.evaluation.compare import KAPPAS, ensemble
from vqafeat.io import write_csv
from vqafeat.splits import Split
from vqafeat.store import FeatureStore

MakeStore = Callable[..., FeatureStore]
WITH_VALIDATION = [SPLITS[0], Split(tuple(range(8, 18)), tuple(range(8)), (18, 19))]


def rows_of(folder: Path, split: int, part: str) -> tuple[np.ndarray, np.ndarray]:
    with (folder / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["part"]) == (str(split), part)]
    return np.array([float(row["prediction"]) for row in rows]), np.array([float(row["mos"]) for row in rows])


def two_runs(make_store: MakeStore, tmp_path: Path) -> tuple[Path, Path]:
    one = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).folder
    options = {"reduced": 4, "layers": 1, "feed_forward": 5}
    return one, small_fit(
        make_store(), tmp_path / "two", head="transformer", options=options, splits=WITH_VALIDATION
    ).folder


def test_kappa_is_the_best_on_validation_and_measured_on_test(make_store: MakeStore, tmp_path: Path) -> None:
    one, two = two_runs(make_store, tmp_path)
    found = ensemble(one, two)
    for split in range(2):
        (first, mos), (second, _) = rows_of(one, split, "validation"), rows_of(two, split, "validation")
        sroccs = {kappa: spearmanr(kappa * first + (1 - kappa) * second, mos).statistic for kappa in KAPPAS}
        best = max(sroccs.values())
        assert sroccs[found.kappas[split]] == pytest.approx(best, abs=1e-12)
        assert all(
            abs(found.kappas[split] - 0.5) <= abs(kappa - 0.5)
            for kappa, value in sroccs.items()
            if value > best - 1e-12
        )
        (first, mos), (second, _) = rows_of(one, split, "test"), rows_of(two, split, "test")
        blended = found.kappas[split] * first + (1 - found.kappas[split]) * second
        assert found.summary.srocc.values[split] == pytest.approx(
            spearmanr(blended, mos).statistic, abs=1e-12
        )
        assert found.summary.rmse.values[split] == pytest.approx(
            np.sqrt(np.mean((blended - mos) ** 2)), abs=1e-12
        )
    assert found.chosen == "highest SROCC on each split's validation part"


def test_a_given_kappa_of_1_is_the_first_run(make_store: MakeStore, tmp_path: Path) -> None:
    one, two = two_runs(make_store, tmp_path)
    found = ensemble(one, two, kappa=1.0, mapping="none")
    np.testing.assert_allclose(
        [row.prediction for row in found.predictions if row.split == 0], rows_of(one, 0, "test")[0]
    )
    assert (found.kappas, found.chosen) == ((1.0, 1.0), "given")
    with pytest.raises(ArgumentError, match=r"kappa is 1.5; it has to be between 0 and 1"):
        ensemble(one, two, kappa=1.5)


def test_of_equally_good_kappas_the_one_closest_to_a_half(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).folder
    assert ensemble(run, run).kappas == (0.5, 0.5)


def test_runs_that_do_not_fit_together_are_told(make_store: MakeStore, tmp_path: Path) -> None:
    one, _ = two_runs(make_store, tmp_path)
    other = small_fit(make_store(), tmp_path / "other", splits=SPLITS).folder
    with pytest.raises(
        ArgumentError,
        match=r"split 1 has other train videos in '.*other' than in '.*one'; fit both with the same splits",
    ):
        ensemble(one, other)
    with pytest.raises(
        ArgumentError,
        match=r"split 1 has 0 validation video\(s\), too few to choose kappa on; .* or give --kappa",
    ):
        ensemble(other, other)
    fewer = small_fit(make_store(), tmp_path / "fewer", splits=SPLITS[:1]).folder
    with pytest.raises(
        ArgumentError, match=r"'.*one' has 2 splits, '.*fewer' 1; fit both with the same splits"
    ):
        ensemble(one, fewer)
    foreign = small_fit(make_store(name="foreign"), tmp_path / "foreign", splits=WITH_VALIDATION).folder
    with pytest.raises(
        ArgumentError,
        match=r"dataset of '.*one' is 'tiny', of '.*foreign' 'foreign'; blend runs on one data set and",
    ):
        ensemble(one, foreign)
    with pytest.raises(WeightsError, match=r"is no run folder"):
        ensemble(one, tmp_path / "nothing")


def test_constant_scores_and_imported_heads_are_no_choice(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "one", splits=WITH_VALIDATION).folder
    with (run / "predictions.csv").open(newline="") as file:
        rows = [{**row, "prediction": "1.0"} for row in csv.DictReader(file)]
    write_csv(run / "predictions.csv", list(rows[0]), [list(row.values()) for row in rows])
    with pytest.raises(
        ArgumentError,
        match=r"the validation scores of split 0 are constant in both runs, so no kappa is best",
    ):
        ensemble(run, run)
    (run / "predictions.csv").unlink()
    with pytest.raises(
        WeightsError, match=r"has no predictions on splits of its own \(an imported head has none\)"
    ):
        ensemble(run, run)
