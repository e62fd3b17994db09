"""Tables filled from a tiny store, held against numbers computed from the runs' own predictions."""

import csv
import json
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_rel

from tests.helpers.tables import MakeTable
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.metrics import Metrics
from vqafeat.paper_tables.cells.runs import average
from vqafeat.paper_tables.format import cell_text, notes
from vqafeat.paper_tables.run import TableResult, check, recorded_result, run_table
from vqafeat.paper_tables.sources import FeatureStores, FitCache, commands_for
from vqafeat.paper_tables.table import Cell, CellResult, Measured, PaperTable
from vqafeat.training.results import MetricsSummary, Summary


def sroccs(run: Path, part: str = "test") -> list[float]:
    """Return SciPy's SROCC of each split, from the predictions that a run folder keeps."""
    with (run / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == part]
    own = [
        [row for row in rows if int(row["split"]) == split]
        for split in sorted({int(row["split"]) for row in rows})
    ]
    return [
        float(
            spearmanr([float(row["mos"]) for row in one], [float(row["prediction"]) for row in one]).statistic
        )
        for one in own
    ]


def filled(table: PaperTable, stores: Path, runs: Path, *only: str) -> TableResult:
    return run_table(table, FitCache(FeatureStores(stores, only), runs))


def value(result: TableResult, row: int, column: int = 0) -> float:
    return result.row(row)[column].value


def test_run_table__fits_differences_and_paired_tests(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    against = {"against": {"head": "no-time"}}
    table = make_table(
        [
            {"name": "fit", "head": "avg-gru", "statistic": "median", "published": "0.5"},
            {"name": "less", "head": "avg-gru", "kind": "difference", "difference": against},
        ]
    )
    result = filled(table, stores, tmp_path)
    gru, plain = (sroccs(tmp_path / f"konvid-resnet18-{head}") for head in ("avg-gru", "no-time"))
    assert value(result, 0) == pytest.approx(np.median(gru))
    assert result.cells[0].difference == pytest.approx(np.median(gru) - 0.5)
    assert value(result, 1) == pytest.approx(np.mean(gru) - np.mean(plain))
    gain = {
        "name": "gain",
        "head": "no-time",
        "kind": "improvement",
        "improvement": {"against": {"head": "avg-gru"}},
    }
    gained = make_table([gain], [{"name": "gain", "measure": "gain"}])
    expected = 100 * (np.median(gru) - np.median(plain)) / np.median(plain)
    assert value(filled(gained, stores, tmp_path), 0) == pytest.approx(expected)
    paired = make_table(
        [{"name": "p", "head": "avg-gru", "kind": "paired", "paired": against}],
        [{"name": "p", "measure": "p"}],
    )
    folders = sorted(tmp_path.iterdir())
    assert value(filled(paired, stores, tmp_path), 0) == pytest.approx(ttest_rel(gru, plain).pvalue)
    assert sorted(tmp_path.iterdir()) == folders, "runs that were finished are found"


def test_run_table__averages_over_data_sets_and_marks_what_is_missing(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    groups = [{"name": name, "datasets": name} for name in ("konvid", "live-vqc")]
    rows = [
        {"name": "ours", "head": "no-time"},
        {"name": "theirs", "quoted": True, "published": "0.1 0.2 0.15"},
    ]
    table = make_table(rows, groups=[*groups, {"name": "all", "kind": "weighted"}])
    result = filled(table, stores, tmp_path)
    means = [np.mean(sroccs(tmp_path / f"{name}-resnet18-no-time")) for name in ("konvid", "live-vqc")]
    assert value(result, 0, 2) == pytest.approx(np.mean(means))  # both have 48 videos
    assert np.isnan(value(result, 1))
    lacking = filled(table, stores, tmp_path, "konvid")
    assert np.isfinite(value(lacking, 0))
    assert np.isnan(value(lacking, 0, 1))
    assert np.isnan(value(lacking, 0, 2))
    assert lacking.reasons == ("live-vqc is not among --dataset konvid",)


def test_commands_for__make_what_is_missing(make_table: MakeTable, stores: Path, tmp_path: Path) -> None:
    rows = [
        {"name": "a", "features": "iqa-resnet50+slowfast-fast"},
        {"name": "b", "features": "resnet50"},
        {"name": "c", "datasets": "cvd2014"},
        {"name": "d", "kind": "cross", "cross": {"test": "lsvq"}},
    ]
    result = filled(make_table(rows), stores, tmp_path)
    assert not result.measured
    shown, made = notes(result), commands_for(result.missing, stores)
    command = (
        "--backbone iqa-resnet50 --backbone slowfast-fast --backbone resnet50 --weights iqa-resnet50=FILE"
    )
    assert f"vqafeat extract --dataset konvid {command} --store {stores}" in made
    assert f"vqafeat extract --dataset cvd2014 --backbone resnet18 --store {stores}" in made
    assert f"Missing: no store of lsvq in '{stores}'." in shown
    assert "Missing: konvid has no features resnet50." in shown
    assert not list(tmp_path.iterdir())


def test_run_table__tests_across_data_sets(make_table: MakeTable, stores: Path, tmp_path: Path) -> None:
    from vqafeat.evaluation.model import Model
    from vqafeat.store import FeatureStore

    table = make_table(
        [{"name": "x", "head": "no-time", "kind": "cross", "cross": {"test": "live-vqc"}}], run={"splits": 1}
    )
    actual = value(filled(table, stores, tmp_path), 0)
    store, model = (
        FeatureStore.open(stores / "live-vqc.zarr"),
        Model.load(tmp_path / "konvid-resnet18-no-time"),
    )
    scores = [model.score(store.read("resnet18", video.name).values) for video in store.dataset.videos]
    assert actual == pytest.approx(spearmanr(scores, [video.mos for video in store.dataset.videos]).statistic)


def test_run_table__groups_of_videos_over_data_sets(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    run = {
        "datasets": ["konvid", "live-vqc"],
        "head": "mdtvsfa",
        "recipe": "li-released",
        "overrides": {"epochs": 2},
        "splits": 1,
    }
    rows = [
        {"name": "720p", "kind": "subset", "subset": {"by": "resolution", "name": "720p"}},
        {
            "name": "within",
            "kind": "subset",
            "subset": {"by": "resolution", "name": "720p", "within": ["konvid"]},
        },
        {"name": "1080p", "kind": "subset", "subset": {"by": "resolution", "name": "1080p"}},
        {"name": "member", "fit": {"member": "konvid"}},
    ]
    result = filled(make_table(rows, run=run), stores, tmp_path)
    # every video is 1280x720 and both data sets have one range, so that the group is the whole test part
    assert value(result, 0) == pytest.approx(sroccs(tmp_path / "konvid+live-vqc-resnet18-mdtvsfa")[0])
    assert value(result, 1) == pytest.approx(value(result, 3))
    assert np.isnan(value(result, 2))
    assert "1 of 1 splits have no value" in " ".join(notes(result))
    data = "on konvid (48 videos of made), live-vqc (48 videos of made)."
    assert f"Measured: 3 of 4 cells, {data}" in notes(result)


def test_run_table__subsets_calibrate_labels_and_scores(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    subset = {"by": "resolution", "name": "720p", "calibration": "inlsa"}
    row = {"name": "all", "kind": "subset", "subset": subset}
    run = {"datasets": ["konvid", "live-vqc"], "head": "mdtvsfa", "recipe": "li-released", "splits": 1}
    columns = [{"name": measure, "measure": measure} for measure in ("srocc", "rmse_calibrated")]
    result = filled(make_table([row], columns, run=run), stores, tmp_path)
    actual = value(result, 0)
    with (tmp_path / "konvid+live-vqc-resnet18-mdtvsfa" / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]

    def calibrated(row: dict[str, str], key: str) -> float:
        y = float(row[key])
        if row["video"].startswith("konvid/"):
            return 5 - 4 * (-0.0993 + 1.1241 * (5 - y) / 4)
        return 5 - 4 * (0.0253 + 0.7132 * (100 - y) / 100)

    mos, scores = ([calibrated(row, key) for row in rows] for key in ("mos", "prediction"))
    assert actual == pytest.approx(spearmanr(mos, scores).statistic)
    shown = [calibrated(row, "score") for row in rows]
    assert value(result, 0, 1) == pytest.approx(np.sqrt(np.mean(np.subtract(shown, mos) ** 2)))
    assert actual != pytest.approx(sroccs(tmp_path / "konvid+live-vqc-resnet18-mdtvsfa")[0])


def test_run_table__a_cell_that_fails_does_not_stop_the_others(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    two = [{"name": "S", "measure": "srocc"}, {"name": "K", "measure": "krocc"}]
    result = filled(
        make_table([{"name": "a", "protocol": "stored"}, {"name": "b", "head": "no-time"}], two),
        stores,
        tmp_path,
    )
    assert len(result.failures) == 1
    assert result.failures[0].startswith("a: S and 1 more: data set 'konvid' has no stored permutations")
    assert np.isfinite(value(result, 1))


def test_check__compares_differences_with_the_tolerance(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    measured = value(filled(make_table([{"name": "a", "head": "no-time"}]), stores, tmp_path), 0)
    near, far = f"{measured - 0.02:.3f}", f"{measured - 0.2:.3f}"
    rows = [
        {"name": name, "head": "no-time", "published": text} for name, text in (("near", near), ("far", far))
    ]
    result = filled(make_table(rows, tolerance={"srocc": 0.1}), stores, tmp_path)
    compared, beyond = check(result)
    assert (compared, len(beyond)) == (2, 1)
    assert beyond[0].startswith("far: SROCC: ")
    assert "difference +0.200 beyond 0.1" in beyond[0]
    assert check(filled(make_table(rows, tolerance={"srocc": 0.3}), stores, tmp_path)) == (2, [])
    assert check(filled(make_table(rows), stores, tmp_path)) == (0, []), "nothing has a tolerance"
    assert cell_text(result.cells[0], 3).endswith(f"({near.replace('-', '−')}, +0.020)")
    assert cell_text(result.cells[0], 1).endswith(", 0.0)")


def test_average__weighs_each_cell_by_its_measured_videos() -> None:
    def summary(srocc: float, tested: int) -> MetricsSummary:
        return MetricsSummary.of([Metrics(srocc, 0.5, 0.5, 1.0, 0.5, 1.0, tested)] * 10)

    cell = Cell(0, 0, "fit", None, "srocc", "mean", None, None)
    peers = [
        CellResult(cell, Measured.of(summary(0.9853, 30), "srocc")),
        CellResult(cell, Measured.of(summary(0.5970, 20), "srocc")),
    ]
    assert round(average(peers).spread.mean, 4) == 0.8300
    # Table V of Li et al. with its own counts, 7.4k and 3.5k
    printed = [
        CellResult(cell, Measured(Summary.of([one]), of)) for one, of in ((0.8518, 7400), (0.7718, 3500))
    ]
    assert round(average(printed).spread.mean, 4) == 0.8261
    mapped = [
        CellResult(cell, Measured(Summary.of([0.9]), count, plain=Summary.of([plain])))
        for count, plain in ((30, 0.8), (20, 0.7))
    ]
    plain = average(mapped).plain
    assert plain is not None
    assert plain.mean == pytest.approx(0.76)


@pytest.mark.parametrize(("measured", "of"), [([], 0), ([0.5], 2)])
def test_average__refuses_cells_that_are_not_measured(measured: list[float], of: int) -> None:
    cell = Cell(0, 0, "fit", None, "srocc", "mean", None, None)
    peers = [CellResult(cell, Measured(Summary.of([value]), 20)) for value in measured]
    peers += [CellResult(cell)] * (of - len(peers))
    with pytest.raises(
        ArgumentError, match=f"^{len(measured)} of {of} cells to average are measured; run the others"
    ):
        average(peers)


def test_run_table__plcc_without_a_mapping_is_next_to_the_mapped_one(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    table = make_table(
        [{"name": "fit", "head": "avg-gru", "mapping": "logistic"}],
        [{"name": "P", "measure": "plcc"}, {"name": "S", "measure": "srocc"}],
    )
    result = filled(table, stores, tmp_path)
    plcc, srocc = result.cells
    (run,) = {path for actual in result.cells if actual.measured for path in actual.measured.runs}
    plain = json.loads((run / "metrics.json").read_text())["plcc_plain"]["mean"]
    assert plcc.plain_value == pytest.approx(plain)
    # two test videos per split are few
    assert cell_text(plcc, 3).endswith(f"‡ [{plain:.3f}]")
    assert any("‡ measured on fewer than 20 test videos per split" in line for line in notes(result))
    assert "[" not in cell_text(srocc, 3)
    assert any("[without a mapping]" in line for line in notes(result))


def test_plain_value__is_not_shown_where_no_mapping_was_fitted() -> None:
    cell = Cell(0, 0, "fit", None, "plcc", "mean", None, None)
    # one split without a value, and a single split, whose standard deviation is not defined
    for values in ([0.5, float("nan"), 0.7], [0.5]):
        spread, plain = (Summary.of([float(str(value)) for value in values]) for _ in range(2))
        assert isnan(CellResult(cell, Measured(spread, plain=plain)).plain_value)
    assert CellResult(cell, Measured(spread, plain=Summary.of([0.4]))).plain_value == 0.4


def test_check__tables_of_p_values_have_a_tolerance() -> None:
    from vqafeat.paper_tables.load import load_table

    for name, cells in (("fang-6", 36), ("fang-7", 12)):
        table = load_table(name)
        for shift, beyond in ((0.0, 0), (0.6, cells)):
            measured = [
                Measured(Summary.of([cell.published.value + shift])) for cell in table.cells if cell.published
            ]
            result = TableResult(table, tuple(map(CellResult, table.cells, measured)))
            assert (check(result)[0], len(check(result)[1])) == (cells, beyond)


# --- recorded predictions


def recorded_study(make_table: MakeTable, **more: Any) -> PaperTable:
    groups = [
        {"name": "k", "datasets": "konvid"},
        {"name": "n", "datasets": "live-vqc"},
        {"name": "all", "kind": "weighted"},
    ]
    rows = [
        {"name": "ours", "published": "0.5 0.5 0.5"},
        {"name": "theirs", "quoted": True, "published": "0.1 0.1 0.1"},
    ]
    recorded = {"row": "ours", "databases": {"konvid": "K", "live-vqc": "N"}, "splits": 2, **more}
    return make_table(rows, groups=groups, recorded=recorded)


def test_recorded_result__fills_its_row(make_table: MakeTable, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {}
    for key, videos in (("K", 20), ("N", 10)):
        for split in range(2):
            mos = rng.uniform(1, 5, videos)
            relative = mos + rng.normal(0, 1, videos)
            values |= {
                f"{key}/{split:02d}/sq": mos,
                f"{key}/{split:02d}/rq": relative,
                f"{key}/{split:02d}/mq": 2 * relative,
            }
    np.savez(tmp_path / "some.npz", **values)
    result = recorded_result(recorded_study(make_table), tmp_path / "some.npz")
    means = [
        np.mean([spearmanr(values[f"{key}/0{i}/sq"], values[f"{key}/0{i}/rq"]).statistic for i in range(2)])
        for key in "KN"
    ]
    assert [actual.value for actual in result.row(0)] == pytest.approx(
        [*means, np.average(means, weights=[20, 10])]
    )
    assert all(actual.measured is None for actual in result.row(1))
    assert "nothing was trained" in result.words
    assert all(isfinite(actual.difference) for actual in result.row(0))

    unlike = recorded_study(make_table, unlike={"live-vqc": "10 videos are recorded, 12 printed"})
    result = recorded_result(unlike, tmp_path / "some.npz")
    assert [isfinite(actual.difference) for actual in result.row(0)] == [
        True,
        False,
        False,
    ]  # nor is the average with it compared
    assert "live-vqc: 10 videos are recorded, 12 printed, so its difference is not stated" in result.words
    with pytest.raises(
        DatasetError, match="unlike names 'cvd2014', which is not recorded; name one of konvid, live-vqc"
    ):
        recorded_study(make_table, unlike={"cvd2014": "others"})


def test_recorded_result__leaves_out_data_sets_that_are_not_recorded(
    make_table: MakeTable, tmp_path: Path
) -> None:
    mos = np.arange(8.0)
    np.savez(tmp_path / "some.npz", **{f"K/0{i}/{key}": mos for i in range(2) for key in ("sq", "rq", "mq")})
    result = recorded_result(recorded_study(make_table, databases={"konvid": "K"}), tmp_path / "some.npz")
    assert value(result, 0) == pytest.approx(1)
    assert [actual.measured is None for actual in result.row(0)] == [False, True, True]


def test_recorded__names_a_row_of_its_table(make_table: MakeTable) -> None:
    with pytest.raises(
        DatasetError, match=r"table 'tiny-0' has no row 'mine'; name one of its rows in \[recorded\]"
    ):
        recorded_study(make_table, row="mine")


def test_recorded_result__refuses_predictions_that_do_not_fit(make_table: MakeTable, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "short.npz", **{"K/00/sq": np.arange(3.0)})
    table = recorded_study(make_table)
    with pytest.raises(DatasetError, match=r"is not a file of recorded predictions .*; give the \.npz"):
        recorded_result(table, tmp_path / "bad.npz")
    with pytest.raises(DatasetError, match=r"lacks K/00/rq"):
        recorded_result(table, tmp_path / "short.npz")
    with pytest.raises(ArgumentError, match=r"'tiny-0' has no \[recorded\] part"):
        recorded_result(make_table([{"name": "a"}]), tmp_path / "short.npz")


@pytest.mark.parametrize(
    ("name", "columns"), [("li-3", (0, 1, 2, 3)), ("li-4", (0, 1, 2, 3)), ("li-13", (0, 2, 4, 6))]
)
def test_recorded_result__of_the_authors_gives_the_printed_values(
    shared_data: Path, name: str, columns: tuple[int, ...]
) -> None:
    from vqafeat.paper_tables.load import load_table

    result = recorded_result(load_table(name), shared_data / "recorded" / "li2022_predictions.npz")
    row = next(actual.cell.row for actual in result.measured)
    assert all(cell_text(result.row(row)[column], 4).endswith(", 0.0000)") for column in columns)
    assert all("SRCC" not in words for words in check(result)[1])
    sroccs = [
        actual for actual in result.measured if actual.cell.measure == "srocc" and isfinite(actual.difference)
    ]
    assert len(sroccs) == {"li-3": 3, "li-4": 2, "li-13": 4}[name]
    assert all(cell_text(actual, 4).endswith(", 0.0000)") for actual in sroccs)
