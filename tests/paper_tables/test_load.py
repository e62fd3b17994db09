"""Tables as TOML: what is refused, and what the shipped ones hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.tables import MakeTable
from vqafeat.errors import ArgumentError, DatasetError, UnknownNameError
from vqafeat.metrics import DEFAULT_MAPPING
from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.load import load_table
from vqafeat.paper_tables.table import Cell, Published, TableFit

SHIPPED = [
    *(f"fontanel-{number}" for number in ("1", "2", "3", "figure-4")),
    *(f"fang-{number}" for number in ("2", "3", "4", "5", "6", "7", "figure-3", "figure-4")),
    *(f"li-{number}" for number in (*range(3, 16), "figure-3", "figure-7", "figure-7a")),
    *(f"a2inet-{number}" for number in ("2", "3", "4", "5", "6", "7", "figure-1b", "figure-4", "figure-6")),
]


def value(name: str, row: str, column: str) -> Published:
    """Return a published value by the words of its row and column."""
    table = load_table(name)
    actual = [
        cell
        for cell in table.cells
        if (table.rows[cell.row].words, table.columns[cell.column].words) == (row, column)
    ]
    assert len(actual) == 1
    assert actual[0].published is not None
    return actual[0].published


def test_table_names__are_complete_and_in_order() -> None:
    assert sorted(table_names()) == sorted(SHIPPED)
    assert table_names()[:3] == ["a2inet-2", "a2inet-3", "a2inet-4"]
    assert [name for name in table_names() if name.startswith("li-")][-4:] == [
        "li-15",
        "li-figure-3",
        "li-figure-7",
        "li-figure-7a",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_load_table__every_shipped_table_says_what_it_needs(name: str) -> None:
    table = load_table(name)
    assert table.caption
    assert table.tolerance or not any(cell.published and not cell.quoted for cell in table.cells)
    for cell in table.cells:
        assert cell.quoted or cell.kind in ("weighted", "timing") or (cell.request and cell.request.needs)


# read off the papers by eye
PRINTED = [
    ("fontanel-1", "avg-GRU", "LCC", 0.769, 0.060),
    ("fontanel-2", "ResNet-101", "KROCC", 0.611, 0.074),
    ("fontanel-figure-4", "5 fps", "SROCC", 0.773, None),
    ("fang-2", "LIVE-VQC, SS", "RMSE", 11.212, 0.507),
    ("fang-3", "LIVE-Qualcomm, SO", "PLCC", 0.569, 0.106),
    ("fang-4", "CVD2014, OS", "KROCC", 0.688, 0.041),
    ("fang-5", "KoNViD-1k, sample-8", "SROCC", 0.781, 0.027),
    ("fang-6", "Cube-Level, SO", "CVD2014", 0.5931, None),
    ("fang-7", "sample-16", "CVD2014", 0.0005, None),
    ("li-6", "LIVE-VQC, SRCC", "Proposed-LS", 0.7896, None),
    ("li-8", "Proposed", "animation, PLCC", 0.7185, None),
    ("li-9", "VIDEVAL", "high quality, SRCC", 0.5546, None),
    ("li-10", "TLVQM", "CVD2014 → LIVE-Qualcomm", 0.38, None),
    ("li-11", "Proposed", "YouTube-UGC → KoNViD-1k, SRCC", 0.7825, None),
    ("li-12", "PVQ(w)", "LIVE-VQC, PLCC", 0.807, None),
    ("li-13", "M-Feature", "LIVE-VQC, SRCC", 0.7245, None),
    ("li-14", "SRCC Loss", "LIVE-Qualcomm, PLCC", 0.8120, None),
    ("li-15", "GRU+Transformer", "LIVE-Qualcomm, SRCC", 0.8529, None),
    ("li-15", "GRU+Transformer, κ", "LIVE-Qualcomm, SRCC", 0.65, None),
    ("a2inet-figure-4", "PR(S+M)", "SRCC", 0.8789, None),
    ("a2inet-3", "Proposed PR(S+M)", "LSVQ 1080p, SRCC", 0.7741, None),
    ("a2inet-4", "SQ+MS", "LIVE-VQC, PLCC", 0.8546, None),
    ("a2inet-5", "CAGI", "KoNViD-1k, CNN+Swin", 0.8645, None),
    ("a2inet-5", "Concat+MLP, improvement", "KoNViD-1k, CNN+CNN", -0.28, None),
    ("a2inet-5", "CAGI, improvement", "LIVE-VQC, ViT+ViT", 7.29, None),
    ("a2inet-6", "FGIN, Q→S", "LIVE-VQC, S+M", 0.8794, None),
    ("a2inet-7", "Proposed (S+M), FE, GI", "KoNViD-1k, SRCC", 0.8751, None),
]


@pytest.mark.parametrize(("name", "row", "column", "number", "std"), PRINTED)
def test_load_table__published_values_equal_the_papers(
    name: str, row: str, column: str, number: float, std: float | None
) -> None:
    actual = value(name, row, column)
    assert actual.value == number
    assert actual.std == std if std is not None else np.isnan(actual.std)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("li-3", (234, 208)),
        ("li-4", (1200, 585, 1323)),
        ("li-5", (7400, 3500)),
        ("li-13", (234, 1200, 208, 585, 1323)),
        ("li-14", (234, 1200, 208, 585, 1323)),
        ("li-15", (234, 1200, 208, 585, 1323)),
        ("a2inet-2", (208, 234, 585, 1142, 1200)),
    ],
)
def test_load_table__published_averages_follow_from_the_published_values(
    name: str, weights: tuple[int, ...]
) -> None:
    table = load_table(name)
    for number, heading in enumerate(table.rows):
        values = [
            cell.published.value if cell.published else np.nan for cell in table.cells if cell.row == number
        ]
        if not np.isnan(values).any():
            for measure in (0, 1):
                *own, average = values[measure::2]
                near = 1.01e-4 if name in ("li-5", "li-13", "li-14", "li-15") else 4e-3
                assert np.average(own, weights=weights) == pytest.approx(average, abs=near), heading.name


def test_load_table__a_ratio_has_cells_where_the_paper_prints_it() -> None:
    cells = load_table("li-15").cells[36:]
    printed = [cell.published.value if cell.published else None for cell in cells]
    assert printed == [0.67, None, 0.55, None, 0.65, None, 0.49, None, 0.41, None, None, None]
    assert [cell.measure for cell in cells if not cell.quoted] == ["kappa"] * 5
    assert [cell.quoted for cell in cells] == [value is None for value in printed]


def test_load_table__printed_distances_can_fail_their_tolerance() -> None:
    table = load_table("li-figure-3")
    printed = [cell.published.value for cell in table.cells if cell.published]
    assert printed == [1.65e-5, 9.85e-6, 7.54e-5, 1.29e-6]
    assert table.tolerance["distance"] < min(printed)
    assert [cell.options.sample for cell in table.cells] == [22_946, None, 22_946, None]


def cells_of(name: str, row: str) -> list[Cell]:
    table = load_table(name)
    return [cell for cell in table.cells if table.rows[cell.row].words == row]


def printed(cell: Cell) -> str:
    return repr(cell.published)


def test_load_table__a2inet_measures_one_model_for_one_printed_number() -> None:
    # 0.8193 0.8031 … and 0.8207 0.7986 … are printed as SQ+SS and SQ+MS, Concat, and FE
    for sets, model, column in (("SQ+SS", "S+S", "CNN+CNN"), ("SQ+MS", "S+M", "CNN+Fast")):
        fused, extracted = cells_of("a2inet-4", sets), cells_of("a2inet-7", f"Proposed ({model}), FE")
        # as text: from Python 3.13 on, values with NaN are never equal
        assert list(map(printed, fused)) == list(map(printed, extracted))
        assert [cell.request for cell in fused] == [cell.request for cell in extracted]
        columns = load_table("a2inet-5").columns
        joined = [cell for cell in cells_of("a2inet-5", "Concat") if columns[cell.column].name == column]
        # LIVE-VQC and KoNViD-1k, SRCC
        assert list(map(printed, joined)) == list(map(printed, fused[3::2]))
        assert [cell.request for cell in joined] == [cell.request for cell in fused[3::2]]


@pytest.mark.parametrize("row", ["Concat+MLP", "CAGI"])
def test_load_table__a2inet_improvements_follow_from_the_medians(row: str) -> None:
    plain, better, gains = (cells_of("a2inet-5", name) for name in ("Concat", row, f"{row}, improvement"))
    assert len(plain) == 16
    for first, second, gain in zip(plain, better, gains, strict=True):
        assert first.published
        assert second.published
        assert gain.published
        assert gain.request
        percent = 100 * (second.published.value / first.published.value - 1)
        # the paper cuts some of them: 2.0174 is printed as 2.01
        assert gain.published.value == pytest.approx(percent, abs=0.0075)
        assert gain.options.requests(gain.request) == (first.request, second.request)


def test_published__parses_numbers_as_papers_print_them() -> None:
    assert Published.parse("-") is Published.parse("--") is None
    assert Published.parse("0.804±0.060") == Published(0.804, 0.060, "0.804 ± 0.060")
    starred, about, negative = (Published.parse(text) for text in ("0.687*", "~0.8", "-1.2e-5"))
    assert starred is not None
    assert (starred.value, starred.collected) == (0.687, True)
    assert about is not None
    assert (about.value, about.approximate, about.text) == (0.8, True, "≈ 0.8")
    assert negative is not None
    assert (negative.value, negative.text) == (-1.2e-5, "−1.2e-5")
    with pytest.raises(DatasetError, match=r"published is '0,8'; write a number such as 0\.804"):
        Published.parse("0,8")


def test_table_of__joins_settings_of_run_row_group_and_column(make_table: MakeTable) -> None:
    table = make_table(
        [{"name": "a", "head": "avg-gru", "overrides": {"epochs": 3}}],
        columns=[{"name": "K", "measure": "krocc", "head": "no-time"}],
        groups=[{"name": "g", "datasets": "live-vqc"}, {"name": "h", "datasets": ["konvid", "live-vqc"]}],
    )
    first, second = (cell.request for cell in table.cells)
    assert first is not None
    assert second is not None
    assert (first.head, first.datasets, second.datasets) == ("no-time", ("live-vqc",), ("konvid", "live-vqc"))
    assert dict(first.overrides) == {"epochs": 3, "learning_rate": 0.01}
    assert [column.words for column in table.columns] == ["g, K", "h, K"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"haed": "no-time"}, r"table 'tiny-0\.toml', \[\[rows\]\] a: unknown key 'haed': did you mean head"),
        ({"head": "no-tim"}, r"row 'a', column 'SROCC': unknown head 'no-tim': did you mean no-time"),
        ({"published": "0.1 0.2"}, r"published has 2 values for 1 columns; write one per column, - for none"),
        ({"published": 0.1}, r"published is 0\.1; it has to be a text with one value per column"),
        ({"published": "x"}, r"row 'a': published is 'x'; write a number"),
        ({"kind": "fitt"}, r"unknown type of cell 'fitt': did you mean fit"),
        ({"features": "resnet19"}, r"unknown backbone 'resnet19': did you mean resnet1"),
        ({"features": ""}, r"datasets or features is missing; name both, or set quoted = true for a cell"),
        ({"datasets": ["a", "a"]}, r"name each data set once"),
        ({"splits": 0}, r"splits is 0; it has to be at least 1"),
        ({"statistic": "mode"}, r"statistic: 'mode' must be 'mean', 'mean-std' or 'median'"),
        ({"quoted": "yes"}, r"quoted: 'yes' must be a valid boolean"),
        (
            {"kind": "paired", "paired": {"against": {"order": "SS"}}},
            r"measure is 'srocc'; kind 'paired' has p",
        ),
        (
            {"kind": "paired", "measure": "p", "paired": {"against": {"order": "SS"}, "of": "sroc"}},
            r"\[paired\]: of is 'sroc'; it has to be one of srocc, krocc, plcc, rmse, plcc_plain, rmse_plain",
        ),
        ({"kind": "difference"}, r"\[difference\]: missing key 'against'; add it"),
        ({"kind": "difference", "difference": {"against": {}}}, r"\[difference\]: against is empty"),
        ({"kind": "difference", "difference": {"against": {"hed": "x"}}}, r"unknown key 'hed'"),
        ({"kind": "difference", "difference": {"against": {"head": {}}}}, r"head: {} must be a valid string"),
        ({"kind": "cross"}, r"\[cross\]: missing key 'test'; add it"),
        ({"kind": "cross", "cross": {"test": ""}}, r"\[cross\]: test is empty"),
        ({"kind": "part", "part": {"name": "tset"}}, r"\[part\]: name: 'tset' must be 'train', 'val"),
        ({"kind": "ensemble"}, r"\[ensemble\]: missing key 'second'; add it"),
        ({"kind": "subset", "subset": {"by": "quality"}}, r"\[subset\]: missing key 'name'; add it"),
        ({"overrides": {"epochs": "many"}}, r"epochs is 'many'"),
    ],
)
def test_table_of__refuses_wrong_rows(make_table: MakeTable, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        make_table([{"name": "a", **row}])


def test_table_of__refuses_an_unknown_plot(make_table: MakeTable) -> None:
    with pytest.raises(
        DatasetError, match=r"unknown plot 'pie': known are: lines-over-columns, lines-over-rows, scatter"
    ):
        make_table([{"name": "a"}], plot="pie")


def test_load_table__refuses_unknown_names_and_reads_own_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown table 'li-41': did you mean .*li-14"):
        load_table("li-41")
    with pytest.raises(DatasetError, match=r"does not exist; give the path of a \.toml file"):
        load_table(str(tmp_path / "no.toml"))
    (tmp_path / "own.toml").write_text("title = ")
    with pytest.raises(DatasetError, match="is not valid TOML"):
        load_table(str(tmp_path / "own.toml"))
    (tmp_path / "own.toml").write_text(
        'title = "t"\npaper = "p"\nlabel = "l"\ncolumns = [{ name = "c" }]\nrows = []\n'
    )
    with pytest.raises(DatasetError, match=r"table 'own\.toml': rows is empty; name at least one"):
        load_table(str(tmp_path / "own.toml"))


@pytest.mark.parametrize("name", table_names())
def test_load_table__tables_of_papers_name_the_mapping_of_the_paper(name: str) -> None:
    mapped = [
        cell.request.mapping
        for cell in load_table(name).cells
        if cell.request and cell.measure in ("plcc", "rmse")
    ]
    assert DEFAULT_MAPPING not in mapped


def test_load_table__takes_another_recipe_and_protocol() -> None:
    table = load_table("li-6", recipe="li", protocol="video")
    fits = [cell.request for cell in table.cells[:3] if cell.request]
    # the columns with a recipe of their own keep it
    assert [one.recipe for one in fits[:2]] == [one.recipe for one in first_fits("li-6")[:2]]
    assert (fits[2].recipe, {one.protocol for one in fits}) == ("li", {"video"})
    assert table.caption.endswith(
        " Run with recipe li in place of li-released. Run with protocol video in place of stored."
    )
    assert repr(load_table("li-6", recipe=None)) == repr(load_table("li-6"))
    with pytest.raises(DatasetError, match="unknown recipe 'lii': did you mean li"):
        load_table("li-3", recipe="lii")
    with pytest.raises(
        ArgumentError, match=r"'li-figure-7.toml' has no recipe in \[run\]; leave out --recipe"
    ):
        load_table("li-figure-7", recipe="li")


def first_fits(name: str) -> list[TableFit]:
    return [cell.request for cell in load_table(name).cells[:3] if cell.request]


def test_load_table__captions_name_lists_sizes_and_conflicts() -> None:
    for number in ("4", "7", "8", "9", "11", "13", "14", "15"):
        assert "1142" in load_table(f"li-{number}").caption, number
        assert "1323" in load_table(f"li-{number}").caption, number
    for name, words in {
        "li-7": "366, 539 and 399 videos, and 427, 566 and 448 as printed",
        "li-8": "68 videos (82 in the list of 1323), where 81 are printed, and gaming 135 (161)",
        "li-9": "1469 videos are low and 1458 high, and 1558 and 1550 as printed",
        "fang-4": 'the "training configuration of Frame-Level" for sample-16, whose batch is 128',
        "fang-5": "drawn anew in each epoch",
    }.items():
        assert words in load_table(name).caption
