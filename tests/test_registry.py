"""Registries, plug-in files, and what reaches other processes."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.registry import (
    _REGISTRIES,
    Registry,
    load_installed_plugins,
    load_plugin,
    named,
    pickled_plugins,
)


@pytest.fixture
def colours() -> Registry[object]:
    return Registry("colour", {"path": ("pathlib:Path", "a path")})


@pytest.fixture(autouse=True)
def forget_colours() -> object:
    yield
    _REGISTRIES.pop("colour", None)


def test_get__imports_a_builtin_entry_when_it_is_used(colours: Registry[object]) -> None:
    assert colours.get("path") is Path
    assert colours.summaries() == {"path": "a path"}


def test_get__names_the_nearest(colours: Registry[object]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown colour 'pat': did you mean path\?"):
        colours.get("pat")
    with pytest.raises(UnknownNameError, match=r"unknown colour 'zzz': known are: a, b\."):
        named("colour", "zzz", {"a": 1, "b": 2})


def test_add__refuses_a_name_twice_but_takes_a_definition_again(colours: Registry[object]) -> None:
    def make(value: int) -> type:
        class Red:
            shade = value

        return Red

    colours.add("red", make(1))
    colours.add("red", make(2))
    assert colours.get("red").shade == 2  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match="colour 'red' is already registered; choose another name"):
        colours.add("red", object())


def test_load_plugin__registers_what_a_file_defines(colours: Registry[object], tmp_path: Path) -> None:
    plugin = tmp_path / "blue.py"
    plugin.write_text(
        "from vqafeat.registry import _REGISTRIES\n\n\n"
        "@_REGISTRIES['colour'].register('blue')\nclass Blue:\n    name = 'blue from a file'\n"
    )
    load_plugin(str(plugin))
    assert colours.get("blue").name == "blue from a file"  # type: ignore[attr-defined]


def test_plugin_source__follows_the_code_of_a_plugin(colours: Registry[object], tmp_path: Path) -> None:
    digests = []
    for value in (1, 20, 1):
        (tmp_path / "green.py").write_text(
            "from vqafeat.registry import _REGISTRIES\n\n\n"
            f"@_REGISTRIES['colour'].register('green')\ndef green():\n    return {value}\n"
        )
        load_plugin(tmp_path / "green.py")
        digests.append(colours.plugin_source("green"))
    assert digests[0] == digests[2] != digests[1]
    assert colours.plugin_source("path") == ""


def test_plugin_source__of_a_class_without_a_file_is_of_its_methods(colours: Registry[object]) -> None:
    class Pink:
        def shade(self) -> int:
            return 3

    colours.add("pink", Pink)
    whole = colours.plugin_source("pink")
    Pink.__module__ = "__main__.cell"  # as in a notebook: no file of the module is known
    assert len(whole) == len(colours.plugin_source("pink")) == 64
    assert colours.plugin_source("pink") != whole
    exec("class Unknown:\n    def shade(self):\n        return 3", made := {})
    colours.add("unknown", made["Unknown"])
    assert colours.plugin_source("unknown") == ""


def test_load_plugin__refuses_what_is_no_plugin(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError, match=r"plug-in '.*none\.py' does not exist; give a Python file \(\.py\) that exists"
    ):
        load_plugin(tmp_path / "none.py")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ArgumentError, match=r"the plug-in '.*broken\.py' fails: ZeroDivisionError"):
        load_plugin(tmp_path / "broken.py")


def test_load_installed_plugins__names_the_package_that_fails(
    colours: Registry[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("grey", "vqafeat_no_such_module:grey", "vqafeat.plugins")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: {point.group: [point]}[group])
    load_installed_plugins.cache_clear()
    message = (
        r"the installed plug-in 'grey' \(vqafeat_no_such_module:grey\) fails: ModuleNotFoundError: "
        r"No module named 'vqafeat_no_such_module'\. Update or uninstall its package\."
    )
    for _ in range(2):  # a failure is not forgotten
        with pytest.raises(ArgumentError, match=message):
            colours.get("grey")


def test_pickled_plugins__reach_a_process_that_cannot_import_them(tmp_path: Path) -> None:
    """The other process has neither the file nor the main script, as a worker of a cluster has not."""
    plugin = tmp_path / "green.py"
    plugin.write_text(
        "from vqafeat.heads import HEADS\nfrom vqafeat.heads.base import Head\n\n\n"
        "@HEADS.register('green')\nclass Green(Head):\n    '''A green head.'''\n"
    )
    code = (
        "import sys; from pathlib import Path; from vqafeat.registry import load_plugin, pickled_plugins\n"
        "from vqafeat.heads import HEADS\nfrom vqafeat.heads.base import Head\n"
        f"load_plugin(Path({str(plugin)!r}))\n"
        "@HEADS.register('notebook')\nclass Notebook(Head):\n    '''Defined in the main module.'''\n"
        "sys.stdout.buffer.write(pickled_plugins())"
    )
    pickled = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    plugin.unlink()
    code = (
        "import sys; from vqafeat.registry import install_plugins; install_plugins(sys.stdin.buffer.read())\n"
        "from vqafeat.heads import HEADS; print(HEADS.get('green').__doc__, HEADS.get('notebook').__doc__)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "A green head. Defined in the main module."


def test_pickled_plugins__leave_builtin_entries_out() -> None:
    import pickle

    import vqafeat.heads  # noqa: F401

    assert pickle.loads(pickled_plugins()) == {}
