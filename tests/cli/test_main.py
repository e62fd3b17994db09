"""Exit codes, help texts, and how soon they come."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from vqafeat_cli.main import cli, main

from tests.helpers.command_line import Run
from vqafeat import __version__


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    names: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        names += commands(command, (*prefix, name)) if isinstance(command, click.Group) else [(*prefix, name)]
    return names


@pytest.mark.parametrize("command", commands(cli), ids=" ".join)
def test_help__every_command_and_option_has_an_example(run: Run, command: tuple[str, ...]) -> None:
    ended = run(*command, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert f"vqafeat {' '.join(command)} " in ended.out
    target: click.Command = cli
    for name in command:
        assert isinstance(target, click.Group)
        target = target.commands[name]
    assert [
        option.name for option in target.params if isinstance(option, click.Option) and not option.help
    ] == []


def test_help__of_fit_shows_all_options_in_titled_groups(run: Run) -> None:
    output = run("fit", "--help").out
    titles = (
        "Data",
        "Head",
        "Frames",
        "Loss [default: from the recipe]",
        "Training [default: from the recipe]",
    )
    assert [output.count(f"\n{title}:\n") for title in (*titles, "Computing and output")] == [1] * 6
    assert "Options:" not in output


def test_help__does_not_wait_for_heavy_imports() -> None:
    heavy = (
        "[name for name in ('torch', 'zarr', 'numpy', 'av', 'matplotlib', 'scipy') if name in sys.modules]"
    )
    code = "import sys\nfrom vqafeat_cli.main import main\ntry:\n    main(['fit', '--help'])\nfinally:\n"
    code += f"    assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_main__prints_what_the_locale_lacks_as_escapes() -> None:
    command = [sys.executable, "-c", "from vqafeat_cli.main import main; main(['list', 'backbones'])"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    printed = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
    assert rb"GAP \u2016 GSP" in printed


def test_version__is_printed(run: Run) -> None:
    assert run("--version").out.strip() == run("-V").out.strip() == f"vqafeat, version {__version__}"


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("vqafeat fit --head sub", ["sub-gru", "sub-lstm"]),
        ("vqafeat fit --dataset kon", ["konvid"]),
        ("vqafeat evaluate --dataset my", ["myown"]),  # in the store
        ("vqafeat compare runs/a", ["runs/a"]),
        ("vqafeat compare runs/a runs/", ["runs/a", "runs/b"]),
        ("vqafeat table fang-figure", ["fang-figure-3", "fang-figure-4"]),
        ("vqafeat list los", ["losses"]),
    ],
)
def test_completion__of_heads_data_sets_runs_and_tables(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, completions: list[str]
) -> None:
    for run_folder in ("runs/a", "runs/b", "runs/no-run", "features/myown.zarr"):
        (tmp_path / run_folder).mkdir(parents=True)
    for run_folder in ("runs/a", "runs/b"):
        (tmp_path / run_folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_VQAFEAT_COMPLETE", "bash_complete")
    assert run().out.split() == [f"plain,{name}" for name in completions]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "run", "clip.mp4"], "'clip.mp4' does not exist; name a video or a folder"),
        (["compare", "run", "other"], "'run' does not exist and is no run folder; give the folder that"),
        (["show", "features"], "'features' does not exist; give a run folder, a feature store or"),
        (["table", "own.toml"], "table 'own.toml' does not exist; give the path of a .toml file"),
        (["--plugin", "own.py", "list"], "plug-in 'own.py' does not exist; give a Python file"),
        (["extract", "--dataset", "own.csv", "--backbone", "resnet18"], "data set 'own.csv' does not exist"),
    ],
)
def test_main__says_which_file_does_not_exist(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*arguments)
    assert (ended.code, words in ended.err) == (1, True)


def test_main__names_the_folder_that_cannot_be_written_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ("table", "fontanel-1", "--store", tmp_path / "none", "--out", tmp_path / "file")
    ended = run(*arguments)
    assert ended.err.splitlines()[-1] == (
        f"Error: '{tmp_path / 'file'}' cannot be read or written to (File exists); make room or make it "
        "accessible and run the same command again, or name another path."
    )
    assert ended.code == 1


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("datasets", "cvd2014 demo konvid live-apv live-qualcomm live-vqc lsvq youtube-ugc"),
        ("losses", "l1 plcc srcc rank-mdtvsfa rank"),
        ("samplings", "all sample-K stride-N uniform-N rate-R"),
        ("orders", "OO OS SO SS"),
        ("groupings", "resolution short-side class quality part"),
    ],
)
def test_list__prints_all_names_in_order(run: Run, what: str, names: str) -> None:
    assert [line.split()[0] for line in run("list", what).out.splitlines()] == names.split()


@pytest.mark.parametrize(
    ("what", "some"),
    [
        ("backbones", "resnet18 resnet50 squeezenet1_0"),
        ("heads", "no-time avg-gru sub-gru sub-lstm"),
        ("recipes", "vsfa default mdtvsfa li-released fang a2inet"),
    ],
)
def test_list__prints_these_names_among_others(run: Run, what: str, some: str) -> None:
    assert set(some.split()) <= {line.split()[0] for line in run("list", what).out.splitlines()}


def test_main__an_expected_error_is_one_sentence_with_exit_code_1(run: Run, tmp_path: object) -> None:
    ended = run("fit", "--store", tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: the store ")
    assert "make one with `vqafeat extract" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments", [["fit", "--splits", "0"], ["extract"], ["nonsense"], ["extract", "--dtype", "int8"]]
)
def test_main__wrong_usage_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "Usage:" in ended.err


def test_main__an_interrupt_is_exit_code_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules["vqafeat_cli.list"].LISTS, "datasets", interrupted)
    ended = run("list", "datasets")
    assert ended.code == 130
    assert "the same command resumes from there" in ended.err


def test_main__a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(sys.modules["vqafeat_cli.list"].LISTS, "datasets", broken)
    with pytest.raises(ZeroDivisionError):
        main(["list", "datasets"])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate none --videos test", "'none'"),
        ("report none --videos folder", "videos is 'folder', which is not a folder"),
        ("table li-5 --recorded=x.npz", "leave out --published-predictions"),
        ("predict none . --scale-of konvid", "'.'"),
        ("import head none.pt --out x --score-scale -1", "largest_label is -1.0"),
        ("import head none.pt --out x --largest-label -1", "largest_label is -1.0"),
    ],
)
def test_main__takes_former_spellings_of_options(run: Run, arguments: str, words: str) -> None:
    ended = run(*arguments.split())
    assert (ended.code, words in ended.err) == (1, True), ended.err
