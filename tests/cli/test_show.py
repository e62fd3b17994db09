"""`vqafeat show` on runs, stores, packed stores and tables, as text and as JSON."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.command_line import Run
from tests.helpers.datasets import bare_dataset
from tests.helpers.recorded_runs import scores_of, write_run
from tests.helpers.stores import identity
from tests.helpers.tables import OWN_TABLE, make_store
from vqafeat.paper_tables import table_names
from vqafeat.store import FeatureStore
from vqafeat.store.types import VideoFeatures


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("konvid", "live-vqc"):
        make_store(tmp_path / "features", name)
    return tmp_path / "features"


@pytest.mark.usefixtures("stores")
def test_show__stores_as_json_are_a_list(run: Run) -> None:
    both = json.loads(run("show", "features", "--json").out)
    assert [store["dataset"] for store in both] == ["konvid", "live-vqc"]
    (first,) = json.loads(run("show", "features/konvid.zarr", "--digest", "--json").out)
    assert (first["store"], first["videos"], first["labels"]) == (
        "features/konvid.zarr",
        48,
        "MOS 0.8 to 3.3",
    )
    assert {**first, "content": None} == both[0]
    assert first["feature_sets"]["resnet18"]["complete_videos"] == 48
    assert first["feature_sets"]["resnet18"]["identity"]["network"]
    assert run("pack", "features/konvid.zarr").code == 0
    (packed,) = json.loads(run("show", "features/konvid.zarr", "--digest", "--json").out)
    assert (first["layout"], packed["layout"]) == ("plain", "packed")
    assert packed == {**first, "layout": "packed"}
    assert f"  content: {packed['content']}" in run("show", "features/konvid.zarr", "--digest").out


@pytest.mark.usefixtures("stores")
def test_show__a_video_as_json_has_its_file_frames_and_rows(run: Run) -> None:
    videos = json.loads(run("show", "features", "--video", "clip3.mp4", "--json").out)
    assert [Path(video["store"]).stem for video in videos] == ["konvid", "live-vqc"]
    assert (videos[0]["video"], videos[0]["content"], videos[0]["part"]) == ("clip3.mp4", "scene 0", None)
    assert videos[0]["file"]["sha256"] == f"{3:064}"
    stored = videos[0]["feature_sets"]["resnet18"]
    assert stored["rows"] == videos[0]["frames"]["count"]
    shape = "{rows} rows of {channels} channels, {dtype}".format_map(stored)
    assert shape in run("show", "features", "--video", "clip3.mp4").out


def test_show__a_video_without_a_file_and_without_features(run: Run, tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "small.zarr", bare_dataset(["a", "b"]))
    store.add_feature_set("tiny", identity())
    values = VideoFeatures(np.ones((2, 6), np.float32), np.arange(2, dtype=np.int32))
    store.write_features("tiny", "a", values, "")
    imported, absent = (
        json.loads(run("show", store.path, "--video", name, "--json").out)[0] for name in "ab"
    )
    assert (imported["file"], imported["frames"]) == (absent["file"], absent["frames"]) == (None, None)
    assert (imported["feature_sets"]["tiny"]["rows"], absent["feature_sets"]) == (2, {"tiny": None})
    _, _, file, features = run("show", store.path, "--video", "b").out.splitlines()
    assert re.fullmatch(r" +file +not known: its features were imported, or are not extracted yet", file)
    assert re.fullmatch(r" +tiny +not stored", features)


def test_show__a_run_as_json_is_the_row_of_runs_and_its_config(run: Run, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", scores_of(0.5, 1), recipe={"name": "own", "loss": "l1"})
    shown, (row,) = (
        json.loads(run(*words, "--json").out) for words in (("show", folder), ("runs", tmp_path))
    )
    assert {key: shown[key] for key in row} == row
    assert shown["config"]["feature_sets"] == row["features"]
    text = run("show", folder).out
    assert all(words in text for words in (shown["digest"], f"SROCC  {row['srocc']:16.3f}", "  Recipe\n"))
    (folder / "metrics.json").unlink()
    unfinished = json.loads(run("show", folder, "--json").out)
    assert (unfinished["finished"], unfinished["srocc"], unfinished["n"]) == (False, None, 0)


def test_show__a_paper_table_by_its_name(run: Run) -> None:
    text = run("show", "fontanel-1").out
    assert text.startswith("Table 1 of Fontanel et al., WACVW 2023: temporal modules and pooling\n")
    assert "  no-time   0.659 ± 0.049  0.482 ± 0.042  0.680 ± 0.071\n" in text
    assert "`vqafeat table fontanel-1` measures them" in text
    values = json.loads(run("show", "fontanel-1", "--json").out)
    assert (values["cells"][0]["published"], values["cells"][0]["measured"]) == (0.659, None)
    assert values["commands"] == ["vqafeat extract --dataset live-apv --backbone resnet50"]


@pytest.mark.parametrize("name", table_names())
def test_show__every_table(run: Run, name: str) -> None:
    ended = run("show", name)
    assert (ended.code, ended.out.count("\n") > 3) == (0, True), ended.err


@pytest.mark.usefixtures("stores")
def test_show__a_table_of_your_own_and_the_file_of_a_filled_one(run: Run) -> None:
    Path("own.toml").write_text(OWN_TABLE)
    published = run("show", "own.toml").out
    assert "  no-time      5\n" in published
    assert run("table", "own.toml", "--jobs", 1, "--json", "--out", "tables").code == 0
    written = json.loads(Path("tables/own.json").read_text())
    assert json.loads(run("show", "tables/own.json", "--json").out) == written
    assert set(json.loads(run("show", "own.toml", "--json").out)) == set(written)
    lines = run("show", "tables/own.json").out.splitlines()
    assert lines[0] == "Table 1 of ours: own"
    assert lines[2].split(maxsplit=1) == ["no-time", written["cells"][0]["shown"]]
    assert f"  {written['lines'][-1]}" in lines


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (
            "li-99",
            "'li-99' does not exist; give a run folder, a feature store or a folder of stores, a table",
        ),
        ("empty", "'empty' holds nothing to show; give a run folder, a feature store or a folder of stores"),
        ("li-4.md", "'li-4.md' holds nothing to show; give a run folder"),
        ("other.json", "'other.json' is not a table; write it with `vqafeat table NAME --json --out FOLDER`"),
        ("nothing.zarr", "'nothing.zarr' does not exist (stores in this folder: none); give"),
    ],
)
def test_show__says_what_it_takes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("li-4.md").touch()
    Path("other.json").write_text("{}")
    ended = run("show", argument)
    assert (ended.code, words in ended.err) == (1, True), ended.err


def test_show__digest_and_video_are_for_stores(run: Run) -> None:
    ended = run("show", "li-4", "--digest")
    assert (ended.code, "'li-4' is a table; --digest and --video are for stores" in ended.err) == (2, True)
