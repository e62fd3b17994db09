"""Small Excel workbooks, written as the format's specification has them."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape
from zipfile import ZipFile

Cell = str | float | None
_NAMESPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def write_workbook(path: Path, rows: Sequence[Sequence[Cell]], sheet: str = "worksheets/sheet1.xml") -> Path:
    """Write rows to the first of two sheets: text as shared strings, numbers as they are, None as no cell at
    all.
    """
    strings: list[str] = []
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(
            _cell(value, f"{_letters(column)}{number}", strings)
            for column, value in enumerate(row)
            if value is not None
        )
        lines.append(f'<row r="{number}">{cells}</row>')
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as file:
        file.writestr(
            "xl/workbook.xml",
            f'<workbook {_NAMESPACE} xmlns:r="{_RELATIONS}"><sheets><sheet name="a" sheetId="1" r:id="rId7"/>'
            '<sheet name="b" sheetId="2" r:id="rId1"/></sheets></workbook>',
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="rId1" Target="worksheets/other.xml"/><Relationship Id="rId7" '
            f'Target="{sheet}"/></Relationships>',
        )
        shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in strings)
        file.writestr("xl/sharedStrings.xml", f"<sst {_NAMESPACE}>{shared}</sst>")
        file.writestr("xl/worksheets/other.xml", f"<worksheet {_NAMESPACE}><sheetData/></worksheet>")
        file.writestr(
            f"xl/{sheet.removeprefix('/xl/')}",
            f"<worksheet {_NAMESPACE}><sheetData>{''.join(lines)}</sheetData></worksheet>",
        )
    return path


def _cell(value: str | float, reference: str, strings: list[str]) -> str:
    if isinstance(value, str):
        strings.append(value)
        return f'<c r="{reference}" t="s"><v>{len(strings) - 1}</v></c>'
    return f'<c r="{reference}"><v>{value!r}</v></c>'


def _letters(column: int) -> str:
    return (chr(ord("A") + column // 26 - 1) if column >= 26 else "") + chr(ord("A") + column % 26)
