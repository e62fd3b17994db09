"""Small Excel workbooks, written as the format's specification has them."""

import struct
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
        file.writestr("[Content_Types].xml", _content_types(sheet))
        file.writestr(
            "xl/workbook.xml",
            f'<workbook {_NAMESPACE} xmlns:r="{_RELATIONS}"><sheets><sheet name="a" sheetId="1" r:id="rId7"/>'
            '<sheet name="b" sheetId="2" r:id="rId1"/></sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="{name}" Type="{_RELATIONS}/worksheet" Target="{target}"/>'
            for name, target in (("rId1", "worksheets/other.xml"), ("rId7", sheet))
        )
        namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{namespace}">{links}</Relationships>'
        )
        shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in strings)
        file.writestr("xl/sharedStrings.xml", f"<sst {_NAMESPACE}>{shared}</sst>")
        file.writestr("xl/worksheets/other.xml", f"<worksheet {_NAMESPACE}><sheetData/></worksheet>")
        file.writestr(
            f"xl/{sheet.removeprefix('/xl/')}",
            f"<worksheet {_NAMESPACE}><sheetData>{''.join(lines)}</sheetData></worksheet>",
        )
    return path


def _content_types(sheet: str) -> str:
    main = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "/xl/workbook.xml": "sheet.main",
        "/xl/sharedStrings.xml": "sharedStrings",
        "/xl/worksheets/other.xml": "worksheet",
        f"/xl/{sheet.removeprefix('/xl/')}": "worksheet",
    }
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{main}.{kind}+xml"/>' for name, kind in parts.items()
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/content-types"
    return f'<Types xmlns="{namespace}">{overrides}</Types>'


def _cell(value: str | float, reference: str, strings: list[str]) -> str:
    if isinstance(value, str):
        strings.append(value)
        return f'<c r="{reference}" t="s"><v>{len(strings) - 1}</v></c>'
    return f'<c r="{reference}"><v>{value!r}</v></c>'


def _letters(column: int) -> str:
    return (chr(ord("A") + column // 26 - 1) if column >= 26 else "") + chr(ord("A") + column % 26)


_SECTOR_BYTES = 512
_LAST_SECTOR, _FAT_SECTOR, _FREE_SECTOR = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def write_old_workbook(
    path: Path, rows: Sequence[Sequence[Cell]], error: tuple[int, int] | None = None
) -> Path:
    """Write rows to the only sheet of an .xls ([MS-XLS], BIFF8); the cell `error` (row, column) is #N/A."""
    cells = b"".join(
        _record(0x0204, struct.pack("<3HHB", row, column, 0, len(value), 1), value.encode("utf-16-le"))
        if isinstance(value, str)
        else _record(0x0203, struct.pack("<3Hd", row, column, 0, value))
        for row, line in enumerate(rows)
        for column, value in enumerate(line)
        if value is not None
    )
    if error is not None:
        cells += _record(0x0205, struct.pack("<3H2B", *error, 0, 0x2A, 1))
    begin = struct.pack("<2H2H2L", 0x0600, 0x0005, 0, 0, 0, 0)
    end = _record(0x000A)
    sheet_at = len(_record(0x0809, begin)) + len(_record(0x0085, bytes(6 + 2 + 1))) + len(end)
    sheet = _record(0x0085, struct.pack("<L2B2B", sheet_at, 0, 0, 1, 0), b"a")
    stream = _record(0x0809, begin) + sheet + end
    stream += _record(0x0809, struct.pack("<2H2H2L", 0x0600, 0x0010, 0, 0, 0, 0)) + cells + end
    path.write_bytes(_compound_file("Workbook", stream))
    return path


def _record(kind: int, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack("<2H", kind, len(data)) + data


def _compound_file(name: str, stream: bytes) -> bytes:
    """Return a file of [MS-CFB] with one stream: header, FAT, directory, and the stream from sector 2 on."""
    sectors = max(8, -(-len(stream) // _SECTOR_BYTES))  # a stream below 4096 bytes would be stored elsewhere
    fat = [_FAT_SECTOR, _LAST_SECTOR, *range(3, 2 + sectors), _LAST_SECTOR]
    fat += [_FREE_SECTOR] * (_SECTOR_BYTES // 4 - len(fat))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<5H6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<9L", 0, 1, 1, 0, 4096, _LAST_SECTOR, 0, _LAST_SECTOR, 0)
    header += struct.pack("<109L", 0, *[_FREE_SECTOR] * 108)
    directory = _entry("Root Entry", 5, 1, _LAST_SECTOR, 0)
    directory += _entry(name, 2, _FREE_SECTOR, 2, sectors * _SECTOR_BYTES)
    content = struct.pack("<128L", *fat) + directory.ljust(_SECTOR_BYTES, b"\0")
    return header + content + stream.ljust(sectors * _SECTOR_BYTES, b"\0")


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    text = name.encode("utf-16-le")
    links = struct.pack("<3L", _FREE_SECTOR, _FREE_SECTOR, child)
    head = text.ljust(64, b"\0") + struct.pack("<H2B", len(text) + 2, kind, 1) + links
    return head + bytes(16 + 4 + 16) + struct.pack("<LQ", start, size)
