"""Excel workbooks (.xlsx): BID and SPAQ ship their labels as one.

A workbook is a zip of XML; its first sheet is read with the standard library, so that two label files cost no dependency.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

from vqafeat.errors import DatasetError
from vqafeat.labels.table import Table

_LARGEST_PART_BYTES = 64 << 20  # SPAQ's sheet has 3 MB; what unpacks to more is no label file
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_SHARED = "xl/sharedStrings.xml"
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"


def read_workbook(path: Path) -> Table:
    """Return the first sheet of a workbook: its first row names the columns, blank rows are passed over, cells are text.

    Raises:
        DatasetError: it cannot be read, is no workbook (the older .xls among them), or has no rows.
    """
    try:
        _refuse_old(path)
        with ZipFile(path) as workbook:
            shared = [_text(item) for item in _part(workbook, _SHARED, path)] if _SHARED in workbook.namelist() else []
            sheet = _part(workbook, _first_sheet(workbook, path), path)
            rows = [(number, cells) for number, cells in _rows(sheet, shared) if any(cells)]
    except OSError as error:
        raise DatasetError(f"label file '{path}' cannot be read ({error.strerror or error}).") from error
    except (BadZipFile, KeyError, LookupError, ValueError, ElementTree.ParseError) as error:
        raise DatasetError(f"label file '{path}' is no Excel workbook ({error}); give the .xlsx as the data set ships it.") from error
    if not rows:
        raise DatasetError(f"label file '{path}': the first sheet is empty; its first row must name the columns.")
    width = max(len(cells) for _, cells in rows)
    padded = [(number, (*cells, *("",) * (width - len(cells)))) for number, cells in rows]
    return Table(padded[0][1], tuple(padded[1:]))


def _refuse_old(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_OLD_WORKBOOK)) == _OLD_WORKBOOK:
            raise DatasetError(
                f"label file '{path}' is an .xls of Excel 97; open it and save it as .xlsx, or give the set as a CSV of your own."
            )


def _part(workbook: ZipFile, name: str, path: Path) -> ElementTree.Element:
    if workbook.getinfo(name).file_size > _LARGEST_PART_BYTES:
        raise DatasetError(f"label file '{path}': '{name}' unpacks to more than {_LARGEST_PART_BYTES >> 20} MiB; it is no label file.")
    content = workbook.read(name)
    if b"<!DOCTYPE" in content:  # Excel writes none, and entities in one can grow without bound
        raise DatasetError(f"label file '{path}': '{name}' declares a document type; save the workbook again with Excel or LibreOffice.")
    return ElementTree.fromstring(content)


def _first_sheet(workbook: ZipFile, path: Path) -> str:
    sheet = _part(workbook, "xl/workbook.xml", path).find(f"{_MAIN}sheets/{_MAIN}sheet")
    if sheet is None:
        raise ValueError("it has no sheets")
    targets = {item.get("Id"): item.get("Target", "") for item in _part(workbook, "xl/_rels/workbook.xml.rels", path)}
    target = targets[sheet.get(_RELATED)]
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _rows(sheet: ElementTree.Element, shared: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for position, row in enumerate(sheet.iter(f"{_MAIN}row"), start=1):
        cells: list[str] = []
        for cell in row.iter(f"{_MAIN}c"):
            column = _column(cell.get("r", ""), len(cells))
            cells += [""] * (column - len(cells))  # empty cells are left out of the file
            cells.append(_value(cell, shared))
        yield int(row.get("r", position)), tuple(cells)


def _column(reference: str, following: int) -> int:
    """Return the column, counted from 0, of a cell such as "AB12"; one without a reference follows the one before."""
    letters = re.match("[A-Z]+", reference)
    if letters is None:
        return following
    number = 0
    for letter in letters.group():
        number = 26 * number + ord(letter) - ord("A") + 1
    if number > 1 << 14:
        raise ValueError(f"there is no column {letters.group()}")
    return number - 1


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    kind, value = cell.get("t", "n"), cell.findtext(f"{_MAIN}v", "")
    if kind == "s":
        return shared[int(value)].strip()
    inline = cell.find(f"{_MAIN}is")
    return (value if inline is None else _text(inline)).strip()


def _text(item: ElementTree.Element) -> str:
    """Return the text of a string, whose runs may be formatted; what is spoken beside it (phonetic text) is not part of it."""
    runs = [item, *item.findall(f"{_MAIN}r")]
    return "".join(run.findtext(f"{_MAIN}t", "") for run in runs)
