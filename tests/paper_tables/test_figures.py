"""The papers' figures: what their panels hold, read from Matplotlib's own axes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.helpers.tables import MakeTable
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.evaluation.model import load_model
from vqafeat.paper_tables import figures
from vqafeat.paper_tables.cells.networks import TimingCell
from vqafeat.paper_tables.load import load_table
from vqafeat.paper_tables.run import TableResult, run_table
from vqafeat.paper_tables.sources import FeatureStores, FitCache
from vqafeat.paper_tables.table import CellResult, Measured, TableFit, Task
from vqafeat.store import FeatureStore
from vqafeat.training.results import Summary
from vqafeat.training.run import Run

pytestmark = pytest.mark.usefixtures("networks_drawn_once")
ONE = Measured(Summary.of([0.5]))


@pytest.fixture
def new_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return a list to which each figure is added that the test draws."""
    all_figures: list[Figure] = []

    def figure(**options: Any) -> Figure:
        all_figures.append(Figure(**options))
        return all_figures[-1]

    monkeypatch.setattr(figures, "Figure", figure)
    return all_figures


def filled(name: str) -> TableResult:
    """Return a table with a made-up number in each cell."""
    table = load_table(name)
    numbers: Iterator[float] = iter(np.linspace(1, 2, len(table.cells)))
    cells = [CellResult(cell, Measured(Summary.of([next(numbers)]))) for cell in table.cells]
    return TableResult(table, tuple(cells))


def test_plot_table__operations_and_seconds_have_their_own_panels(
    new_figures: list[Figure], tmp_path: Path
) -> None:
    figures.plot_table(filled("a2inet-figure-6"), tmp_path)
    operations, seconds = new_figures[0].axes
    assert (operations.get_ylabel(), seconds.get_ylabel()) == ("GFLOPs", "seconds")
    assert operations.get_yscale() == seconds.get_yscale() == "log"
    assert not operations.get_shared_y_axes().joined(operations, seconds)
    for axes in (operations, seconds):
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "540p",
            "720p",
            "1080p",
            "1440p",
            "2160p",
        ]
    # the text states four times of HVS-5M, and no operations
    times = [np.asarray(line.get_ydata())[:4].tolist() for line in seconds.lines]
    assert [134.54, 224.08, 388.82, 687.7] in times


def test_plot_table__panels_of_one_measure_share_their_axis(
    new_figures: list[Figure], tmp_path: Path
) -> None:
    figures.plot_table(filled("fang-figure-3"), tmp_path)
    axes = new_figures[0].axes
    assert [panel.get_title() for panel in axes] == ["Frame-Level", "Cube-Level", "Sample-16"]
    low, high = axes[0].get_ylim()
    for panel in axes:
        assert panel.get_ylim() == (low, high)
        assert len(panel.lines) == 6  # OS, SO and SS, measured and published
        assert all(low < value < high for line in panel.lines for value in np.asarray(line.get_ydata()))


def test_plot_table__refuses_a_figure_without_a_value(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table([{"name": "a"}], plot="bars")
    with pytest.raises(
        ArgumentError,
        match="'tiny-0' has no measured or published values to plot; extract its features first, or leave "
        "out --plots",
    ):
        figures.plot_table(TableResult(table, tuple(map(CellResult, table.cells))), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_plot_table__says_so_where_nothing_was_measured(
    make_table: MakeTable, new_figures: list[Figure], tmp_path: Path
) -> None:
    table = make_table([{"name": "a", "published": "0.5"}], plot="curves")
    cells = [CellResult(cell, measured) for cell in table.cells for measured in (None, ONE)]
    for cell in cells:
        figures.plot_table(TableResult(table, (cell,)), tmp_path)
    assert [figure.get_supxlabel() for figure in new_figures] == ["nothing was measured", ""]


def test_timing_cell__the_last_clip_costs_as_much_as_the_others(tmp_path: Path) -> None:
    # blocks of 64 frames as in `CNNfeatures_Motion.py`: 467 frames are 8 blocks, 300 are 5, 64 are one
    fits, request = FitCache(FeatureStores(tmp_path), tmp_path), TableFit(features="slowfast-fast")
    cost = {
        frames: TimingCell(height=64, frames=frames).measured(Task(request, "gflops", fits)).spread.mean
        for frames in (64, 65, 300, 467)
    }
    assert {frames: value / cost[64] for frames, value in cost.items()} == {64: 1, 65: 2, 300: 5, 467: 8}


@pytest.mark.parametrize(("kind", "height"), [("S+S", 540), ("S+S", 1080), ("S+M", 720), ("S+M", 1080)])
def test_timing_cell__partial_input_costs_no_more_than_whole_frames(
    kind: str, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a sixth of each side keeps the ratios; at 540p, four crops of 540x768 alone are more than a frame
    monkeypatch.setattr("vqafeat.backbones.views.SHORT_SIDE", 540 // 6)
    monkeypatch.setattr("vqafeat.backbones.views.CROP_SIDE", 768 // 6)
    table = load_table("a2inet-figure-6")
    features = {table.rows[cell.row].name: cell.request.features for cell in table.cells if cell.request}
    fits = FitCache(FeatureStores(tmp_path), tmp_path)
    partial, whole = (
        TimingCell(height=height // 6)
        .measured(Task(TableFit(features=features[f"{mode}({kind})"]), "gflops", fits))
        .spread.mean
        for mode in ("PR", "FR")
    )
    assert 0.1 < partial / whole <= 1


def test_timing_cell__repeats_are_timed_one_by_one(tmp_path: Path) -> None:
    fits, request = FitCache(FeatureStores(tmp_path), tmp_path), TableFit(features="resnet18")
    measured = TimingCell(height=64, frames=4, repeats=10).measured(Task(request, "seconds", fits))
    assert len(measured.spread.values) == 10
    assert min(measured.spread.values) > 0
    for name in ("li-figure-7", "li-figure-7a", "a2inet-figure-6"):
        repeats = {
            cell.options.repeats
            for cell in load_table(name).cells
            if cell.measure == "seconds" and cell.options
        }
        assert repeats == {10}, name


def test_ensemble_cell__shows_the_ratio_of_each_split(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    second = {"second": {"head": "avg-gru"}}
    rows = [
        {"name": "blend", "kind": "ensemble", "ensemble": second},
        {"name": "ratio", "kind": "ensemble", "ensemble": second, "shows": "kappa", "published": "0.5"},
    ]
    table = make_table(rows, run={"head": "no-time"}, statistic="median")
    result = run_table(table, FitCache(FeatureStores(stores), tmp_path))
    blend, ratio = (cell.measured for cell in result.cells)
    assert blend is not None
    assert ratio is not None
    listed = ", ".join(f"{kappa:.2f}" for kappa in ratio.spread.values)
    assert any(note.startswith(f"kappa {listed} (") for note in blend.notes)
    assert result.cells[1].value == np.median(ratio.spread.values)


def test_curve_cell__holds_entropy_and_score_of_each_frame(
    make_table: MakeTable, stores: Path, tmp_path: Path, new_figures: list[Figure]
) -> None:
    rows = [{"name": "entropy", "measure": "entropy"}, {"name": "score", "measure": "score"}]
    columns = [
        {"name": "best", "curve": {"mos": "highest"}},
        {"name": "2", "curve": {"mos": "lowest", "rank": 2}},
    ]
    table = make_table(rows, columns, run={"kind": "curve", "splits": 1}, plot="curves")
    result = run_table(table, FitCache(FeatureStores(stores), tmp_path))
    store = FeatureStore.open(stores / "konvid.zarr")
    run = result.cells[2].measured.runs[0]  # type: ignore[union-attr]
    mos = {video.name: video.mos for video in store.dataset.videos}
    model = load_model(run)
    test = sorted({row.video for row in Run(run).predictions if row.part == "test"}, key=mos.__getitem__)
    for column, name in enumerate((test[-1], test[1])):
        values = store.read("resnet18", name).values
        means = np.abs(values[:, : values.shape[1] // 2].astype(float))
        shares = means / means.sum(1, keepdims=True)
        expected = -(shares * np.log2(shares)).sum(1), model.frame_scores(values, 0, pooled=False)
        for row in (0, 1):
            measured = result.row(row)[column].measured
            assert measured is not None
            np.testing.assert_allclose(measured.spread.values, expected[row], rtol=1e-6)
            assert f"'{name}' with {mos[name]:g}" in measured.notes[0]
    figures.plot_table(result, tmp_path)
    assert [len(axes.lines) for axes in new_figures[0].axes] == [2, 2]
    assert [axes.get_ylabel() for axes in new_figures[0].axes] == ["entropy (bits)", "score"]
    far = make_table(rows[:1], [{"name": "a", "curve": {"mos": "lowest", "rank": 99}}], run={"kind": "curve"})
    failed = run_table(far, FitCache(FeatureStores(stores), tmp_path)).failures
    assert "rank is 99; the test part has" in failed[0]
    with pytest.raises(DatasetError, match=r"\[curve\]: mos: 'best' must be 'highest' or 'lowest'"):
        make_table(rows[:1], [{"name": "a", "curve": {"mos": "best"}}], run={"kind": "curve"})
