"""Run the command line in this process and see what a user sees."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from vqafeat_cli.main import main

from tests.helpers.clips import noise_frames, write_clip

WEIGHTS = ("--weights", "squeezenet1_0=random")
COUNT = 20


@dataclass(frozen=True)
class Ended:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        found = capsys.readouterr()
        return Ended(int(left.value.code or 0), found.out, found.err)

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for index in range(COUNT):
        frames = noise_frames(6, 64, 48, seed=index) // (1 + index % 4)
        write_clip(folder / f"v{index}.mp4", frames)
    rows = "".join(f"v{index}.mp4,{4 - index % 4 + index / 200},{index // 2}\n" for index in range(COUNT))
    (folder / "mine.csv").write_text("video,mos,content\n" + rows)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
