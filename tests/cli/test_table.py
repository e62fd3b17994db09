"""`vqafeat table`, as users see it."""

import csv
import json
import re
from io import StringIO
from pathlib import Path

import pytest
from vqafeat_cli.main import main

from tests.helpers.command_line import Run
from tests.helpers.tables import OWN_TABLE, make_store
from vqafeat.paper_tables import table_names


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a folder with a store of konvid."""
    make_store(tmp_path / "features", "konvid")
    (tmp_path / "own.toml").write_text(OWN_TABLE)
    return tmp_path / "features"


def test_table__without_data_says_what_to_do(run: Run, tmp_path: Path) -> None:
    ended = run("table", "fontanel-1", "--store", tmp_path / "none")
    assert (ended.code, "fontanel-1: no cell was measured" in ended.err) == (3, True)
    assert "### Table 1 of Fontanel et al." in ended.out
    assert f"vqafeat extract --dataset live-apv --backbone resnet50 --store {tmp_path / 'none'}" in ended.out
    result = json.loads(run("table", "fontanel-1", "li-5", "--store", tmp_path / "none", "--json").out)
    assert [item["name"] for item in result] == ["fontanel-1", "li-5"]
    assert result[0]["cells"][0]["published"] == 0.659


def test_table__is_measured_next_to_published_and_checked(run: Run, store: Path, tmp_path: Path) -> None:
    given = ("table", tmp_path / "own.toml", "--store", store, "--runs", tmp_path / "runs", "--jobs", 1)
    result = json.loads(run(*given, "--json").out)["cells"][0]
    kept = json.loads((tmp_path / "runs" / "konvid-resnet18-no-time" / "metrics.json").read_text())
    assert result["measured"] == kept["srocc"]["mean"]
    assert result["difference"] == pytest.approx(result["measured"] - 5)
    ended = run(*given, "--check")
    assert ended.code == 3
    assert "own: 1 cells checked, 1 beyond the tolerance" in ended.err
    run(*given, "--format", "csv", "--out", tmp_path / "tables")
    rows = list(csv.DictReader(StringIO((tmp_path / "tables" / "own.csv").read_text())))
    assert float(rows[0]["measured"]) == result["measured"]
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_table__of_all_names_what_is_missing_and_runs_no_network(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqafeat.paper_tables.table_names", lambda: ["a2inet-figure-6", "fontanel-1"])
    # what `measured` calls first
    monkeypatch.setattr("vqafeat.paper_tables.cells.networks.device_named", pytest.fail)
    ended = run("table", "--all", "--store", tmp_path / "none")
    assert (ended.code, "no cell of any table was measured" in ended.err) == (3, True)
    assert "the costs of networks are not measured with --all; name the table, or add --costs" in ended.out
    assert "vqafeat extract --dataset live-apv" in ended.out
    with pytest.raises(pytest.fail.Exception, match="cpu"):
        main(["table", "--all", "--costs", "--store", str(tmp_path / "none")])


def test_table__counts_the_cells_that_it_measures(
    run: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqafeat_cli.console._LEAST_SECONDS", 0.0)
    own = (tmp_path / "own.toml").read_text()
    (tmp_path / "other.toml").write_text(own.replace('"konvid"', '"cvd2014"'))
    tables = (tmp_path / "own.toml", tmp_path / "other.toml", tmp_path / "own.toml")
    ended = run("table", *tables, "--store", store, "--runs", tmp_path / "runs", "--jobs", 1)
    numbers = [line.split("]")[0].split(",")[0] for line in ended.err.splitlines() if line.startswith("[")]
    assert numbers == ["[1/2", "[2/2"]
    assert re.search(r"\[2/2, ETA \d+:\d\d:\d\d\] ", ended.err)
    assert (ended.code, "other: no cell was measured" in ended.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name one table or more"),
        (["li-3", "--all"], 2, "name one table or more"),
        (["li-3", "--dataset", "demo", "--check"], 2, "leave one out"),
        (["li-3", "--dataset", "demo", "--dataset", "konvid"], 2, "leave out konvid"),
        (
            ["li-3", "--published-predictions", "x.npz", "--recipe", "li"],
            2,
            "leave out --recipe and --protocol",
        ),
        (["li-3", "--protocol", "vide"], 1, "unknown split protocol 'vide': did you mean video"),
        (["li-31"], 1, "unknown table 'li-31': did you mean li-3"),
        (["li-3", "--format", "pdf"], 1, "unknown format of a table 'pdf'"),
        (["li-5", "--published-predictions", "x.npz"], 1, "has no [recorded] part"),
    ],
)
def test_table__refuses_wrong_usage(run: Run, arguments: list[str], code: int, words: str) -> None:
    ended = run("table", *arguments)
    assert (ended.code, words in ended.err) == (code, True)


def test_list__tables_are_all_make_targets(run: Run) -> None:
    lines = run("list", "tables").out.splitlines()
    assert [line.split()[0] for line in lines] == table_names()
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "vqafeat/paper_tables/tables/*.toml" in makefile


def test_table__runs_as_printed_with_another_recipe_and_protocol(run: Run, tmp_path: Path) -> None:
    given = ("table", "li-14", "--store", tmp_path / "none", "--recipe", "li", "--protocol", "video")
    assert (
        "Run with recipe li in place of li-released. Run with protocol video in place of stored."
        in run(*given).out
    )


def test_table__names_the_plots_that_it_writes(run: Run, store: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f'plot = "bars"\n{OWN_TABLE}')
    folders = ("--runs", tmp_path / "runs", "--plots", tmp_path / "plots")
    ended = run("table", tmp_path / "own.toml", "--store", store, *folders, "--jobs", 1)
    assert (ended.code, f"wrote {tmp_path / 'plots' / 'own.png'}\n" in ended.err) == (0, True), ended.err
    assert (tmp_path / "plots" / "own.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("table", "images", "words"),
    [
        ("li-figure-3", "koniq=", "--images koniq=: the tables take"),
        ("li-figure-3", "coco=.", "--images coco=.: the tables take bid, clive, imagenet, koniq, spaq, as"),
        ("li-14", "koniq=.", "--images koniq=.: the tables take no images, as NAME=FOLDER."),
    ],
)
def test_table__refuses_images_that_it_does_not_take(
    run: Run, tmp_path: Path, table: str, images: str, words: str
) -> None:
    ended = run("table", table, "--store", tmp_path, "--images", images)
    assert (ended.code, words in ended.err) == (2, True), ended.err
