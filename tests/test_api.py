"""The public interface: the lines of the guide, in scripts, `python -c` and plug-in packages."""

import ensurepip
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import vqafeat as vf
from tests.helpers.command_line import Run
from tests.helpers.stores import MakeStore
from vqafeat.heads import HEADS
from vqafeat.store import FeatureStore

ROOT = Path(__file__).parents[1]
HEAD = """
import torch
import vqafeat as vf
from torch.nn.utils.rnn import pad_sequence

@vf.register_head("one-layer")
class OneLayer(vf.Head):
    '''One layer on each frame, and the mean over frames.'''

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = torch.nn.Linear(channels, 1)

    def raw_frame_scores(self, frames, lengths):
        scores = self.score(frames)[:, 0]
        return pad_sequence(list(torch.split(scores, lengths.tolist())), batch_first=True)
"""
FIT = """
store = vf.open_store({store!r})
config = vf.FitConfig(features="tiny", head="one-layer", splits=6, overrides={{"epochs": 1}})
run = vf.fit(store, config, out={out!r}, jobs=2)
print(run)
"""


def run_python(*arguments: str, python: str = sys.executable) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")])}
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import__does_not_import_torch() -> None:
    assert run_python("-c", "import sys, vqafeat; dir(vqafeat); print('torch' in sys.modules)") == "False\n"


def test_all__names_what_there_is() -> None:
    for name in vf.__all__:
        assert getattr(vf, name).__doc__, name
    assert set(vf._MODULES) <= set(vf.__all__)
    assert set(vf.__all__) <= set(dir(vf))
    with pytest.raises(AttributeError, match="module 'vqafeat' has no attribute 'nothing'"):
        _ = vf.nothing  # type: ignore[attr-defined]


def python_blocks(page: str, changes: dict[str, str]) -> str:
    """Return the Python code that a page of the documentation shows, with changes: text → other text."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL))
    for shown, instead in changes.items():
        assert shown in code
        code = code.replace(shown, instead)
    return code


# the smallest data set that can be split, in place of the tutorial's
SMALLEST = {"contents=4": "contents=3", "# 28 videos": "# 21 videos"}
# the first page names a data set that is not at hand; the tutorial's data set and random weights replace it
AT_HAND = {
    '"konvid", root="/data/konvid"': '"demo/labels.csv"',
    '["resnet50"]': '["resnet18"], weights={"resnet18": "random"}',
    'features="resnet50", head="sub-gru"': 'features="resnet18", splits=2, overrides={"epochs": 2}',
    '"clip.mp4")': '"demo/" + store.dataset.videos[0].name, weights={"resnet18": "random"})',
}


def test_pages__their_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial, then the block that reads its store without vqafeat, then the first page."""
    monkeypatch.chdir(tmp_path)
    pages = [("api.md", SMALLEST), ("reference/format.md", {}), ("index.md", AT_HAND)]
    code = [python_blocks(page, changes) for page, changes in pages]
    (tmp_path / "guide.py").write_text("\n".join(code))
    printed = run_python("guide.py").splitlines()
    assert any("resnet18 (1024)" in line for line in printed)
    assert any(line.endswith(" 1024) [0 1 2]") for line in printed), "rows of a video, read by zarr alone"
    assert 0 <= float(printed[-1]) <= 100, "the score of a clip"


@pytest.mark.parametrize("way", ["script", "-c"])
def test_fit__trains_a_registered_head_in_two_processes(
    make_store: MakeStore, tmp_path: Path, way: str
) -> None:
    """A script needs no main guard: worker processes do not import it."""
    code = HEAD + FIT.format(store=str(make_store().path), out=str(tmp_path / "run"))
    (tmp_path / "script.py").write_text(code)
    printed = run_python("-c", code) if way == "-c" else run_python(str(tmp_path / "script.py"))
    assert "one-layer" in printed
    assert (tmp_path / "run" / "metrics.json").is_file()


def command(store: FeatureStore, out: Path) -> list[str]:
    """Return the arguments that fit the head `one-layer` in two processes."""
    fit = ["fit", "--store", store.path.parent, "--dataset", "tiny", "--features", "tiny", "--out", out]
    rest = ["--head", "one-layer", "--splits", "6", "--epochs", "1", "--jobs", "2"]
    return [*map(str, fit), *rest]


def test_fit__trains_the_head_of_a_plugin_in_two_processes(
    make_store: MakeStore, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("_entries", "_added"):
        monkeypatch.setattr(HEADS, table, dict(getattr(HEADS, table)))
    (tmp_path / "plugin.py").write_text(HEAD)
    ended = run("--plugin", tmp_path / "plugin.py", *command(make_store(), tmp_path / "run"))
    assert (ended.code, "one-layer" in ended.out) == (0, True), ended.err
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_installed_plugin__is_found_by_commands_and_workers(make_store: MakeStore, tmp_path: Path) -> None:
    python = environment_with_plugin(tmp_path / "environment")
    main = ("-c", "from vqafeat_cli.main import main; main()")
    listed = run_python(*main, "list", "heads", python=python)
    assert "one-layer" in listed
    assert "One layer on each frame, and the mean over frames." in listed
    run_python(*main, *command(make_store(), tmp_path / "run"), python=python)
    assert (tmp_path / "run" / "metrics.json").is_file()


def environment_with_plugin(folder: Path) -> str:
    """Return the interpreter of a new environment in which a plug-in package is installed."""
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    wheel = folder / "vqafeat_one_layer-1.0-py3-none-any.whl"
    info = "vqafeat_one_layer-1.0.dist-info"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("vqafeat_one_layer.py", HEAD)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: vqafeat-one-layer\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[vqafeat.plugins]\none-layer = vqafeat_one_layer\n")
        archive.writestr(f"{info}/RECORD", "")
    # pip runs from the wheel that Python carries: an environment with pip takes five seconds to make
    (pip,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    install = [python, f"{pip}/pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
