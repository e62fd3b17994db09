"""Excel workbooks: the first sheet as text, and what is refused."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.helpers.workbooks import write_workbook
from vqafeat.datasets import label_readers
from vqafeat.datasets.label_readers import read_workbook
from vqafeat.errors import DatasetError


@pytest.mark.parametrize(
    "sheet", ["worksheets/sheet3.xml", "/xl/worksheets/sheet3.xml"], ids=["relative", "absolute"]
)
def test_the_first_sheet_is_read_with_its_gaps(tmp_path: Path, sheet: str) -> None:
    wide = ["x"] * 27
    path = write_workbook(
        tmp_path / "a.xlsx", [["name", "a < b", None, "c"], [None, 4.25, "ä"], [], wide], sheet
    )
    table = read_workbook(path)
    assert table.header == ("name", "a < b", "", "c", *[""] * 23)
    assert table.rows[0] == (2, ("", "4.25", "ä", *[""] * 24))
    assert table.rows[1] == (4, tuple(wide))


def test_formatted_and_inline_text_is_text(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", [["h"]])
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    parts = {
        "xl/sharedStrings.xml": f"<sst {space}><si><r><t>one "
        f"</t></r><r><t>word</t></r><rPh><t>spoken</t></rPh></si></sst>",
        "xl/worksheets/sheet1.xml": f'<worksheet {space}><sheetData><row><c t="s"><v>0</v></c><c '
        f't="inlineStr"><is><t>two</t></is></c>'
        '<c t="str"><f>A1</f><v>three</v></c></row></sheetData></worksheet>',
    }
    with ZipFile(path) as old:
        kept = {name: old.read(name) for name in old.namelist()}
    with ZipFile(path, "w") as new:
        for name, content in {**kept, **parts}.items():
            new.writestr(name, content)
    assert read_workbook(path).header == ("one word", "two", "three")


def test_what_is_no_workbook_is_refused_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    with pytest.raises(DatasetError, match=r"old.xls' is an .xls of Excel 97; open it and save it as .xlsx"):
        read_workbook(tmp_path / "old.xls")
    (tmp_path / "text.xlsx").write_text("a,b")
    with pytest.raises(
        DatasetError, match=r"text.xlsx' is no Excel workbook .*give the .xlsx as the data set ships it"
    ):
        read_workbook(tmp_path / "text.xlsx")
    with pytest.raises(DatasetError, match=r"none.xlsx' cannot be read \(No such file"):
        read_workbook(tmp_path / "none.xlsx")
    with ZipFile(tmp_path / "zip.xlsx", "w") as other:
        other.writestr("a.txt", "hello")
    with pytest.raises(DatasetError, match=r"zip.xlsx' is no Excel workbook"):
        read_workbook(tmp_path / "zip.xlsx")
    with pytest.raises(DatasetError, match="the first sheet is empty"):
        read_workbook(write_workbook(tmp_path / "empty.xlsx", [[]]))
    path = write_workbook(tmp_path / "a.xlsx", [["h"]])
    monkeypatch.setattr(label_readers, "_LARGEST_PART_BYTES", 10)
    with pytest.raises(DatasetError, match="unpacks to more than 0 MiB; it is no label file"):
        read_workbook(path)


def test_a_document_type_is_refused_before_its_entities_grow(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with ZipFile(path, "w") as file:
        file.writestr("xl/workbook.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(DatasetError, match=r"'xl/workbook.xml' declares a document type"):
        read_workbook(path)
