"""The floors of the package: a module imports only from the rows above its own."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vqafeat"
FLOORS = [
    ["errors"],
    ["registry", "io", "schema", "system"],
    ["remote", "cluster", "metrics", "statistics"],
    ["datasets"],
    ["store"],
    ["splits", "heads", "video"],
    ["losses", "backbones"],
    ["training", "extraction"],
    ["evaluation", "demo"],
    ["plots", "pretraining"],
    ["paper_tables"],
    ["report"],
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
COMMAND_LINE = PACKAGE.parent / "cli" / "vqafeat_cli"
LONGEST_FUNCTION, LONGEST_BODY, SMALLEST_FILE = 70, 40, 60
LONGEST_TEST_NAME = 70
PLUG_INS = {"backbones", "vqafeat_cli"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


MODULES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" or path.parent != PACKAGE
)


@pytest.mark.parametrize("module", MODULES)
def test_modules__import_only_from_the_floors_above(module: str) -> None:
    own = module.split("/", maxsplit=1)[0].removesuffix(".py")
    assert own in FLOOR_OF, f"{own} has no floor; give it one here and in the design"
    names = imported(PACKAGE / module)
    assert not any(name.split(".")[0] == "vqafeat_cli" for name in names)
    parts = {name.split(".")[1] for name in names if name.startswith("vqafeat.")}
    assert not {part for part in parts - {own} if FLOOR_OF[part] >= FLOOR_OF[own]}
    if own in {"heads", "losses", "training"}:
        assert not parts & {"video", "backbones", "extraction"}, "stage 2 never opens a video"


SOURCES = sorted([*PACKAGE.rglob("*.py"), *COMMAND_LINE.rglob("*.py")])


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, lines, and lines of the body without its docstring, of each function and method."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            first = (
                node.body[1 if ast.get_docstring(node) else 0].lineno
                if len(node.body) > 1
                else node.body[0].lineno
            )
            yield node.name, node.end_lineno - node.lineno + 1, node.end_lineno - first + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE.parent).as_posix())
def test_functions__are_short(path: Path) -> None:
    long = {name for name, whole, body in functions(path) if whole > LONGEST_FUNCTION or body > LONGEST_BODY}
    assert long == set(), "divide a long function"


def test_small_files__are_plug_ins_or_commands() -> None:
    small = {
        path.name
        for path in SOURCES
        if path.name != "__init__.py"
        and len(path.read_text().splitlines()) < SMALLEST_FILE
        and not PLUG_INS.intersection(path.parts)
    }
    assert small == set(), "a file this small is a part of another one"


def test_decoding_process__starts_without_torch() -> None:
    """It would cost each of them seconds of its start and hundreds of megabytes."""
    heavy = "{'torch', 'scipy', 'zarr', 'pandas'}"
    code = f"import sys, vqafeat.video.pool; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_extraction__starts_without_the_statistics_of_training() -> None:
    """`scipy.stats` alone costs more than half a second of each start."""
    code = "import sys, vqafeat.extraction.extract, vqafeat_cli.stores; print('scipy.stats' in sys.modules)"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(COMMAND_LINE.parent)]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "False\n"


TESTS = Path(__file__).parent


def test_test_modules__share_code_by_helpers_alone() -> None:
    """A module of tests can be moved or run by itself: what several need is in tests/helpers."""
    shared = {
        f"{path.relative_to(TESTS)}: {name}"
        for path in TESTS.rglob("*.py")
        for name in imported(path)
        if name.startswith("tests.") and not name.startswith(("tests.helpers", "tests.bench"))
    }
    assert shared == set()


def test_test_folders__are_packages() -> None:
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    assert {folder.name for folder in folders if not (folder / "__init__.py").exists()} == set()


def test_tests__are_named_after_what_they_test() -> None:
    names = [
        name for path in TESTS.rglob("test_*.py") for name, *_ in functions(path) if name.startswith("test_")
    ]
    named = re.compile(r"test_[a-z0-9]+(_[a-z0-9]+)*__[a-z0-9]+(_[a-z0-9]+)*")
    assert [name for name in names if not named.fullmatch(name) or len(name) > LONGEST_TEST_NAME] == []
