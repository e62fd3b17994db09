"""`--backend` on the command line: what is refused, and Ray's absence."""

import sys
from pathlib import Path

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import Run


@pytest.fixture
def extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "a.mp4", noise_frames(4))
    (tmp_path / "mine.csv").write_text("video,mos\na.mp4,1.5\n")
    return ["extract", "--dataset", "mine.csv", "--backbone", "squeezenet1_0", "--weights", "random"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--retries", "3"),
            "--retries is for a cluster, but the backend is 'local'; add --backend ray, or leave it out.",
        ),
        (("--startup-timeout", "3"), "--startup-timeout is for a cluster, but the backend is 'local'"),
        (("--patience", "3"), "--startup-timeout is for a cluster"),  # the former spelling
        (
            ("--backend", "ray", "--device", "cpu"),
            "device is 'cpu', which is for one machine, but the backend is 'ray'",
        ),
        (("--backend", "ray", "--ray-workers", "0"), "ray-workers is 0; it has to be at least 1"),
    ],
)
def test_extract__refuses_options_of_the_other_backend(
    run: Run, extract: list[str], options: tuple[str, ...], message: str
) -> None:
    ended = run(*extract, *options)
    assert (ended.code, message in ended.err) == (1, True), ended.err


def test_extract__refuses_an_unknown_backend_and_takes_the_former_spelling(
    run: Run, extract: list[str]
) -> None:
    ended = run(*extract, "--backend", "spark")
    assert (ended.code, "'spark' is not one of 'local', 'ray'" in ended.err) == (2, True), ended.err
    ended = run(*extract, "--engine=ray", "--device", "cpu")
    assert (ended.code, "the backend is 'ray'" in ended.err) == (1, True), ended.err


def test_fit__jobs_are_for_one_machine(run: Run) -> None:
    ended = run("fit", "--backend", "ray", "--jobs", 2)
    assert (ended.code, "jobs is '2', which is for one machine, but the backend is 'ray'" in ended.err) == (
        1,
        True,
    )
    ended = run("fit", "--cpus-per-worker", 2)
    assert (ended.code, "--cpus-per-worker is for a cluster, but the backend is 'local'" in ended.err) == (
        1,
        True,
    )


def test_extract__without_ray_names_the_extra_and_loses_nothing(
    run: Run, extract: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = run(*extract, "--backend", "ray")
    assert (ended.code, "install it with `pip install 'vqafeat[ray]'`" in ended.err) == (1, True)
    assert run(*extract).code == 0
    done = run(*extract, "--backend", "ray")
    assert (done.code, "1 already done" in done.out) == (0, True)
