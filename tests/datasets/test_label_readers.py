"""Label readers and workbooks, each on a small file in the layout of the data set."""

import math
import zlib
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers.workbooks import write_old_workbook, write_workbook
from vqafeat.datasets import label_readers
from vqafeat.datasets.label_readers import (
    LABEL_READERS,
    LabelRow,
    Mat5Options,
    NoOptions,
    TableOptions,
    read_workbook,
)
from vqafeat.datasets.own_table import OwnOptions
from vqafeat.errors import DatasetError, UnknownNameError

NAMES = ["A001.mp4", "A002.mp4", "B010.mp4"]
# One-based, as MATLAB writes it: column = run.
INDEX = np.array([[3, 1], [1, 3], [2, 2]], dtype=np.float64)


def write_info_mat(path: Path, names: list[str], scores: list[float], index: np.ndarray) -> Path:
    """Write what h5py sees of an *info.mat: a cell of references to UTF-16 code units, a row of scores, and
    the permutations.
    """
    with h5py.File(path, "w") as file:
        cells = file.create_group("#refs#")
        references = []
        for number, name in enumerate(names):
            cell = cells.create_dataset(
                str(number), data=np.array([[ord(letter)] for letter in name], dtype=np.uint16)
            )
            references.append(cell.ref)
        file.create_dataset("video_names", data=np.array([references], dtype=h5py.ref_dtype))
        file.create_dataset("scores", data=np.array([scores]))
        file.create_dataset("index", data=index)
    return path


def read(reader: str, path: Path, options: object = NoOptions()) -> tuple[LabelRow, ...]:
    return LABEL_READERS.get(reader).read(path, options).rows


def test_label_readers__are_registered_by_name() -> None:
    assert set(LABEL_READERS) == {"path-duration-fps-mos", "info-mat", "mat5", "table", "own"}
    with pytest.raises(UnknownNameError, match="unknown label reader 'info_mat': did you mean info-mat"):
        LABEL_READERS.get("info_mat")


# --- info-mat


@pytest.mark.parametrize("index", [INDEX, INDEX.T], ids=["as-released", "transposed"])
def test_info_mat__gives_names_scores_and_zero_based_permutations(tmp_path: Path, index: np.ndarray) -> None:
    path = write_info_mat(tmp_path / "x.mat", NAMES, [1.5, 2.5, 3.5], index)
    read_rows = LABEL_READERS.get("info-mat").read(path, NoOptions())
    assert [(row.raw_name, row.mos) for row in read_rows.rows] == list(
        zip(NAMES, [1.5, 2.5, 3.5], strict=True)
    )
    assert read_rows.permutations is not None
    np.testing.assert_array_equal(read_rows.permutations, INDEX - 1)
    assert read_rows.permutations.dtype == np.int64


def test_info_mat__refuses_other_files(tmp_path: Path) -> None:
    text = tmp_path / "text.mat"
    text.write_text("no HDF5")
    with pytest.raises(
        DatasetError, match=r"is not a MATLAB 7\.3 \(HDF5\) file; give the released \*info\.mat as it is"
    ):
        read("info-mat", text)
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["scores"] = [1.0]
    with pytest.raises(DatasetError, match=r"has no variable video_names and index \(it has scores\)"):
        read("info-mat", tmp_path / "other.mat")
    path = write_info_mat(tmp_path / "short.mat", NAMES, [1.0, 2.0], INDEX)
    with pytest.raises(DatasetError, match="has 3 names but 2 labels; the file is damaged"):
        read("info-mat", path)
    path = write_info_mat(tmp_path / "twice.mat", NAMES, [1.0, 2.0, 3.0], np.ones((3, 2)))
    with pytest.raises(DatasetError, match=r"index of shape \(3, 2\) holds no permutations of 1 to 3"):
        read("info-mat", path)


# --- mat5


def test_mat5__reads_cells_as_in_live_vqc(tmp_path: Path) -> None:
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = NAMES
    savemat(tmp_path / "data.mat", {"video_list": cells, "mos": np.array([[80.2], [57.3], [12.0]])})
    rows = read("mat5", tmp_path / "data.mat", Mat5Options("video_list", "mos"))
    assert [(row.raw_name, row.mos) for row in rows] == list(zip(NAMES, [80.2, 57.3, 12.0], strict=True))


def test_mat5__reads_structures_as_in_live_qualcomm(tmp_path: Path) -> None:
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = NAMES
    savemat(
        tmp_path / "q.mat",
        {
            "qualcommVideoData": {"vidNames": cells, "distortionType": [1, 1, 2]},
            "qualcommSubjectiveData": {
                "unBiasedMOS": np.array([[1.0], [2.0], [3.0]]),
                "biasedMOS": [0, 0, 0],
            },
        },
    )
    options = Mat5Options("qualcommVideoData.vidNames", "qualcommSubjectiveData.unBiasedMOS")
    assert [(row.raw_name, row.mos) for row in read("mat5", tmp_path / "q.mat", options)] == list(
        zip(NAMES, [1.0, 2.0, 3.0], strict=True)
    )
    with pytest.raises(
        DatasetError,
        match=r"no variable 'qualcommVideoData\.names' \('names' is not among: vidNames, distortionType\)",
    ):
        read(
            "mat5",
            tmp_path / "q.mat",
            Mat5Options("qualcommVideoData.names", "qualcommSubjectiveData.unBiasedMOS"),
        )
    with pytest.raises(
        DatasetError,
        match=r"no variable 'mos' \('mos' is not among: qualcommVideoData, qualcommSubjectiveData\)",
    ):
        read("mat5", tmp_path / "q.mat", Mat5Options("qualcommVideoData.vidNames", "mos"))


def test_mat5__refuses_the_newer_format_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "text.mat").write_text("no MATLAB file at all, but long enough for its header " * 4)
    write_info_mat(tmp_path / "new.mat", NAMES, [1.0, 2.0, 3.0], INDEX)
    for name in ("text.mat", "new.mat"):
        with pytest.raises(DatasetError, match=r"is not a MATLAB file of version 7\.2 or older"):
            read("mat5", tmp_path / name, Mat5Options("video_list", "mos"))


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_mat5__refuses_a_file_that_is_cut_short(tmp_path: Path, compressed: bool, share: float) -> None:
    savemat(
        tmp_path / "x.mat",
        {"mos": np.random.default_rng(0).random(100), "video_list": NAMES},
        do_compression=compressed,
    )
    whole = (tmp_path / "x.mat").read_bytes()
    (tmp_path / "x.mat").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(
        DatasetError,
        match=r"x\.mat' (is not a MATLAB file of version 7\.2 or older|has no variable 'video_list')",
    ):
        read("mat5", tmp_path / "x.mat", Mat5Options("video_list", "mos"))


@pytest.mark.parametrize("error", [UnboundLocalError, IndexError, zlib.error, OSError])
def test_mat5__refuses_a_file_on_which_the_parser_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def falls(*arguments: object, **options: object) -> None:
        raise error("deep inside")

    savemat(tmp_path / "x.mat", {"mos": np.arange(3.0)})
    monkeypatch.setattr("scipy.io.loadmat", falls)
    with pytest.raises(
        DatasetError,
        match=rf"x\.mat' is not a MATLAB file .* or is damaged \({error.__name__}: deep inside\)",
    ):
        read("mat5", tmp_path / "x.mat", Mat5Options("names", "mos"))


def test_mat5__does_not_call_damaged_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"gone\.mat' cannot be read \(No such file or directory\); give the path of"
    ):
        read("mat5", tmp_path / "gone.mat", Mat5Options("names", "mos"))


# --- table


def test_table__reads_semicolons_decimal_commas_and_blank_rows(tmp_path: Path) -> None:
    path = tmp_path / "Realignment_MOS.csv"
    path.write_text(
        "Content;File_name;Realignment "
        "MOS;SD;;;;\nCity;Test01_City_D01;58,32;1,2;;;;\nCity;Test01_City_D02;-6,50;0,9;;;;\n;;;;;;;\n"
    )
    options = TableOptions(video=("File_name",), mos=("Realignment MOS",), delimiter=";", decimal=",")
    assert [(row.raw_name, row.mos) for row in read("table", path, options)] == [
        ("Test01_City_D01", 58.32),
        ("Test01_City_D02", -6.5),
    ]


def test_table__takes_the_first_column_maps_parts_and_drops_empty_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels_train_test.csv"
    path.write_text(
        "\ufeffname,height,mos,frame_number,is_test\na/1,1,50.5,240,False\na/2,1,60,1,False\na/3,1,,240.0,True\n"
    )
    options = TableOptions(
        video=("video", "name"),
        mos=("MOS", "mos"),
        split_column=("is_test",),
        split_values={"True": "test", "False": "train"},
        at_least={"frame_number": 2.0},
    )
    first, second = read("table", path, options)
    assert first == LabelRow("a/1", 50.5, None, "train")
    assert (second.raw_name, second.split, math.isnan(second.mos)) == ("a/3", "test", True)


def test_table__names_wrong_columns_lines_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    options = TableOptions(video=("vid",), mos=("MOSFull", "MOS full"))
    path.write_text("vid,MOS\na,1\n")
    with pytest.raises(
        DatasetError, match=r"has no column MOSFull or MOS full \(it has vid, MOS\); it is another list"
    ):
        read("table", path, options)
    path.write_text("vid,MOSFull\na,1\nb,good\nc,1\nd,bad\n")
    with pytest.raises(
        DatasetError, match=r"2 labels are not numbers: line 3 'good', line 5 'bad'; correct these rows"
    ):
        read("table", path, options)
    path.write_text("vid,MOSFull\na,1,2\n")
    with pytest.raises(
        DatasetError, match=r"1 rows have more cells than columns: lines 2; quote cells that hold ','"
    ):
        read("table", path, options)
    path.write_text("vid,MOSFull,vid\na,1,2\n")
    with pytest.raises(DatasetError, match="has more than one column vid; name each column once"):
        read("table", path, options)
    path.write_text("\n\n")
    with pytest.raises(DatasetError, match="is empty; its first line must name the columns"):
        read("table", path, options)
    path.write_text('vid,MOSFull\n"a,1\n')
    with pytest.raises(DatasetError, match="is not a CSV"):
        read("table", path, options)
    path.write_bytes("vid,MOSFull\nü,1\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"is not UTF-8 text .* save it as UTF-8 CSV"):
        read("table", path, options)
    with pytest.raises(DatasetError, match="cannot be read"):
        read("table", tmp_path / "absent.csv", options)
    with pytest.raises(DatasetError, match=r"delimiter ';;' and decimal '\.' must be one character each"):
        TableOptions(video=("a",), mos=("b",), delimiter=";;")


# --- own


def test_own__reads_its_four_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('split,mos,video,content\ntrain,3.5,"a, b.mp4",x\n,2,c.mp4,\n')
    rows = (LabelRow("a, b.mp4", 3.5, "x", "train"), LabelRow("c.mp4", 2.0, None, None))
    assert read("own", path, OwnOptions()) == read("own", path, OwnOptions(tmp_path)) == rows


ROWS = (LabelRow("a.mp4", 3.5), LabelRow("b.mp4", 2.0))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Video,MOS\na.mp4,3.5\nb.mp4,2\n", "video is the column 'Video', mos is the column 'MOS'."),
        (
            "flickr_id,std,Score,rater\na.mp4,0.1,3.5,x\nb.mp4,,2,\n",
            "video is the column 'flickr_id', mos is the column 'Score'; not used: std, rater.",
        ),
        (
            "File Name;Mean Opinion Score\na.mp4;3,5\nb.mp4;2\n",
            "video is the column 'File Name', mos is the column 'Mean Opinion Score'; "
            "columns are separated by semicolons.",
        ),
        (
            "# of 2026\n\nname\tmos\na.mp4\t3.5\n#b.mp4\t1\nb.mp4\t2\n",
            "video is the column 'name', mos is the column 'mos'; columns are separated by tabs; "
            "2 comment lines skipped.",
        ),
        (
            ",name,video,mos\n0,x,a.mp4,3.5\n1,y,b.mp4,2\n",
            "video is the column 'video', mos is the column 'mos'; not used: name.",
        ),
        ("video,mos\r\na.mp4,3.5\r\nb.mp4,2\r\n", ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_own__reads_tables_as_people_have_them(tmp_path: Path, text: str, note: str, encoding: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode(encoding))
    result = LABEL_READERS.get("own").read(path, OwnOptions())
    assert (result.rows, result.note) == (ROWS, note and f"own.csv: {note}")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("video,content", r"has the columns video,content, but none for mos; mos may be called mos, mean"),
        (
            "a,b",
            r"has the columns a,b, but none for video and mos; video may be called video, .*; mos may be",
        ),
        ("video,moss", r"has the columns video,moss, but none for mos; mos may be called mos"),
        ("video,mos,MOS", r"several of its columns may be the mos: mos, MOS; keep one"),
        ("video,mos,fps,fps", r"has more than one column fps; name each column once"),
    ],
)
def test_own__refuses_other_columns(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"{header}\na.mp4,1\n")
    with pytest.raises(DatasetError, match=message):
        read("own", path, OwnOptions())


def test_own__refuses_labels_and_text_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("video;mos\na.mp4;1.234,5\n")
    with pytest.raises(DatasetError, match=r"1 labels are not numbers: line 2 '1\.234,5'"):
        read("own", path, OwnOptions())
    path.write_bytes("video,mos\n".encode("utf-16") + b"\x00")
    with pytest.raises(DatasetError, match=r"it is not UTF-16 text \(.*save it as UTF-8 CSV"):
        read("own", path, OwnOptions())


# --- path-duration-fps-mos


def test_path_duration_fps_mos__keeps_commas_and_names_short_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("yfcc-batch1/747.mp4, -1, -1, 67.75\na, b/1.mp4,10.0,30,50.9\n\n")
    assert [(row.raw_name, row.mos) for row in read("path-duration-fps-mos", path)] == [
        ("yfcc-batch1/747.mp4", 67.75),
        ("a, b/1.mp4", 50.9),
    ]
    path.write_text("a.mp4, 1, 2, 3\nb.mp4 3\n")
    with pytest.raises(
        DatasetError, match="1 lines are not 'path, duration, fps, MOS': lines 2; correct them"
    ):
        read("path-duration-fps-mos", path)


@pytest.mark.parametrize(
    "sheet", ["worksheets/sheet3.xml", "/xl/worksheets/sheet3.xml"], ids=["relative", "absolute"]
)
def test_read_workbook__reads_the_first_sheet_with_its_gaps(tmp_path: Path, sheet: str) -> None:
    wide = ["x"] * 27
    path = write_workbook(
        tmp_path / "a.xlsx", [["name", "a < b", None, "c"], [None, 4.25, "ä"], [], wide], sheet
    )
    table = read_workbook(path)
    assert table.header == ("name", "a < b", "", "c", *[""] * 23)
    assert table.rows[0] == (2, ("", "4.25", "ä", *[""] * 24))
    assert table.rows[1] == (4, tuple(wide))


def test_read_workbook__reads_an_old_workbook_without_printing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["name", "MOS", None], ["ä.jpg", 4.25, None], [], [7.0, 3.0, "x"]]
    table = read_workbook(write_old_workbook(tmp_path / "a.xls", rows, error=(3, 1)))
    assert table.header == ("name", "MOS", "")
    assert table.rows == ((2, ("ä.jpg", "4.25", "")), (4, ("7", "#N/A", "x")))
    assert capsys.readouterr().out == ""


def test_read_workbook__takes_formatted_and_inline_text_for_text(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "a.xlsx", [["h"]])
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    parts = {
        "xl/sharedStrings.xml": f"<sst {space}><si><r><t>one "
        f'</t></r><r><t>word</t></r><rPh sb="0" eb="3"><t>spoken</t></rPh></si></sst>',
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


def test_read_workbook__refuses_other_files_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    with pytest.raises(DatasetError, match=r"old.xls': it is not an Excel workbook"):
        read_workbook(tmp_path / "old.xls")
    (tmp_path / "text.xlsx").write_text("a,b")
    with pytest.raises(
        DatasetError,
        match=r"text.xlsx': it is not an Excel workbook .*give the workbook as the data set ships",
    ):
        read_workbook(tmp_path / "text.xlsx")
    with pytest.raises(DatasetError, match=r"none.xlsx': it cannot be read \(No such file"):
        read_workbook(tmp_path / "none.xlsx")
    with ZipFile(tmp_path / "zip.xlsx", "w") as other:
        other.writestr("a.txt", "hello")
    with pytest.raises(DatasetError, match=r"zip.xlsx': it is not an Excel workbook"):
        read_workbook(tmp_path / "zip.xlsx")
    with pytest.raises(DatasetError, match="the first sheet is empty"):
        read_workbook(write_workbook(tmp_path / "empty.xlsx", [[]]))
    path = write_workbook(tmp_path / "a.xlsx", [["h"]])
    monkeypatch.setattr(label_readers, "_LARGEST_PART_BYTES", 10)
    with pytest.raises(DatasetError, match="unpacks to more than 0 MiB; it is not a label file"):
        read_workbook(path)


def test_read_workbook__refuses_a_document_type_before_its_entities_grow(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with ZipFile(path, "w") as file:
        file.writestr("xl/workbook.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(DatasetError, match=r"'xl/workbook.xml' declares a document type"):
        read_workbook(path)
