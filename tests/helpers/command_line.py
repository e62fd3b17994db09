"""Run the command line in this process and see what a user sees."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from vqafeat_cli.main import main

WEIGHTS = ("--weights", "squeezenet1_0=random")
VIDEO_COUNT = 20


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
        printed = capsys.readouterr()
        return Ended(int(left.value.code or 0), printed.out, printed.err)

    return call
