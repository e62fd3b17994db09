"""The formats of a table, read back by readers of their own."""

import csv
import re
from html.parser import HTMLParser
from io import StringIO
from math import inf, nan
from pathlib import Path

import pytest

from tests.helpers.tables import MakeTable
from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.format import RENDERERS
from vqafeat.paper_tables.load import load_table
from vqafeat.paper_tables.run import TableResult
from vqafeat.paper_tables.table import CellResult, Measured, RequiredFeatures, number
from vqafeat.training.results import Summary

NAMES = ["=1+1|<b>", "50% & $x_1^2~{#}\\"]


@pytest.fixture
def result(make_table: MakeTable) -> TableResult:
    """Return a filled table of odd names: a measured row and a quoted one."""
    table = make_table(
        [
            {"group": "g", "name": NAMES[0], "statistic": "mean-std", "published": "0.500±0.100 -0.2*"},
            {"group": "g", "name": NAMES[1], "quoted": True, "published": "0.9 -"},
        ],
        columns=[{"name": "S", "measure": "srocc"}, {"name": "K", "measure": "krocc"}],
        groups=[{"name": "<all>"}],
    )
    cells = [CellResult(cell) for cell in table.cells]
    cells[0] = CellResult(
        table.cells[0], Measured(Summary(0.4, 0.05, 0.4, (0.35, 0.45)), 48, (Path("runs/a"),))
    )
    return TableResult(table, tuple(cells))


def test_markdown__has_one_cell_a_column(result: TableResult) -> None:
    lines = RENDERERS["md"](result, Path("features")).splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {4}
    assert [cell.strip() for cell in rows[2]] == [
        "g",
        r"=1+1\|&lt;b&gt;",
        "0.400 ± 0.050 (0.500 ± 0.100, −0.100)",
        r"– (−0.2\*)",
    ]
    assert [cell.strip() for cell in rows[3]][2:] == ["0.9 †", "–"]
    assert "- Measured: 1 of 2 cells." in lines
    assert any("the paper took it from elsewhere" in line for line in lines)


def test_latex__escapes_every_special_character(result: TableResult) -> None:
    text = RENDERERS["latex"](result, Path("features"))
    assert r"50\% \& \$x\_1\textasciicircum{}2\textasciitilde{}\{\#\}\textbackslash{}" in text
    assert r"0.400 $\pm$ 0.050 (0.500 $\pm$ 0.100, $-$0.100)" in text
    assert r"\multicolumn{2}{c}{\textless{}all\textgreater{}}" in text
    body = text[text.index(r"\toprule") :].splitlines()
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body if line.endswith(r"\\")] == [2, 3, 3, 3]
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", table_names())
def test_latex__of_shipped_tables_has_signs_that_latex_knows(name: str) -> None:
    table = load_table(name)
    result = TableResult(table, tuple(map(CellResult, table.cells)))
    text = RENDERERS["latex"](result, Path("features"))
    assert not re.findall(r"[^\x00-\xff]", text)  # of others, LaTeX says that they are not set up


def test_latex__a_command_keeps_its_hyphens(make_table: MakeTable) -> None:
    table = make_table([{"name": "a"}])
    need = RequiredFeatures("konvid", "resnet50")
    result = TableResult(table, tuple(CellResult(cell, missing=(need,)) for cell in table.cells))
    assert "extract -{}-dataset konvid -{}-backbone resnet50" in RENDERERS["latex"](result, Path("features"))


@pytest.mark.parametrize("name", ["[a]", "*a"])
def test_latex__a_row_is_no_option_of_the_row_before(make_table: MakeTable, name: str) -> None:
    table = make_table([{"name": "b"}, {"name": name}])
    result = TableResult(table, tuple(map(CellResult, table.cells)))
    assert f"\n{{{name[0]}}}{name[1:]} & " in RENDERERS["latex"](result, Path("features"))


def test_csv__has_a_line_a_cell_and_no_formulas(result: TableResult) -> None:
    rows = list(csv.DictReader(StringIO(RENDERERS["csv"](result, Path("features")))))
    assert len(rows) == 4
    assert (rows[0]["row"], float(rows[0]["measured"]), float(rows[0]["std"]), rows[0]["runs"]) == (
        f"'{NAMES[0]}",
        0.4,
        0.05,
        "runs/a",
    )
    assert (float(rows[1]["published"]), rows[1]["measured"], rows[1]["quoted"]) == (-0.2, "", "False")
    assert (rows[2]["row"], rows[2]["quoted"]) == (NAMES[1], "True")


class Reader(HTMLParser):
    """Collects tags and the text of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html__names_rows_and_columns_and_holds_no_foreign_tags(result: TableResult) -> None:
    reader = Reader()
    reader.feed(RENDERERS["html"](result, Path("features")))
    assert "b" not in [tag for tag, _ in reader.tags]
    assert NAMES[0] in reader.texts
    assert NAMES[1] in reader.texts
    scopes = [attributes.get("scope") for tag, attributes in reader.tags if tag == "th"]
    assert scopes == ["colgroup", "col", "col", "row", "row", "row", "row"]
    assert ("th", {"scope": "colgroup", "colspan": "2"}) in reader.tags


@pytest.mark.parametrize(
    ("value", "text"), [(nan, "–"), (inf, "–"), (-0.5, "−0.500"), (0.0, "0.000"), (-2e-5, "−2.00e-05")]
)
def test_number__has_a_dash_for_what_is_not_finite(value: float, text: str) -> None:
    assert number(value, 3) == text
