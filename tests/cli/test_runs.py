"""`vqafeat runs` on fitted, unfinished and damaged runs."""

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Run
from tests.helpers.fits import small_fit
from tests.helpers.stores import MakeStore


@pytest.fixture
def folder(make_store: MakeStore, tmp_path: Path) -> Path:
    store = make_store()
    for name, head in (("one", "sub-gru"), ("deeper/two", "sub-lstm"), ("stopped", "avg-gru")):
        small_fit(store, tmp_path / "runs" / name, head=head)
    (tmp_path / "runs" / "stopped" / "metrics.json").unlink()
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    return tmp_path / "runs"


def test_runs__lists_the_best_first_and_names_what_is_damaged(folder: Path, run: Run) -> None:
    result = run("runs", folder, "--json")
    rows = json.loads(result.out)
    metrics = [json.loads((folder / name / "metrics.json").read_text()) for name in ("one", "deeper/two")]
    sroccs = sorted((own["srocc"]["mean"] for own in metrics), reverse=True)
    assert [row["srocc"] for row in rows] == [*sroccs, None]
    assert {row["head"] for row in rows[:2]} == {"sub-gru", "sub-lstm"}
    assert (rows[2]["head"], rows[2]["finished"]) == ("avg-gru", False)
    assert f"note: '{folder / 'broken'}' is left out: " in result.err
    head, *lines = run("runs", folder).out.splitlines()
    assert head.split() == ["run", "head", "features", "loss", "dataset", "SROCC", "std", "date"]
    assert [line.split()[5] for line in lines] == [*(f"{value:.3f}" for value in sroccs), "–"]


@pytest.mark.parametrize(
    ("options", "heads"),
    [
        (("--head", "sub-lstm"), ["sub-lstm"]),
        (("--dataset", "nothing"), []),
        (("--sort", "head"), ["avg-gru", "sub-gru", "sub-lstm"]),
    ],
)
def test_runs__filters_and_sorts(folder: Path, run: Run, options: tuple[str, ...], heads: list[str]) -> None:
    rows = json.loads(run("runs", folder, "--json", *options).out)
    assert [row["head"] for row in rows] == heads


def test_runs__names_a_folder_that_does_not_exist(tmp_path: Path, run: Run) -> None:
    result = run("runs", tmp_path / "no")
    assert (result.code, result.out) == (1, "")
    assert f"'{tmp_path / 'no'}' does not exist; name the folder of runs" in result.err
    (tmp_path / "file").touch()
    assert "file' is no folder; name the folder of runs" in run("runs", tmp_path / "file").err
