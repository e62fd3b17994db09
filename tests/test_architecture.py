"""The floors of the house: data walks one way, and a module imports only from the rows above its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vqafeat"
FLOORS = [
    ["errors", "json_text", "csv_text"],
    ["registry", "small_files"],
    ["places"],
    ["labels", "state_dicts", "devices", "memory", "processes", "remote_files", "cluster"],
    ["manifest"],
    ["splits", "metrics", "statistics", "features"],
    ["store", "demo"],
    ["extraction"],
    ["modeling"],
    ["pretraining"],
    ["studies"],
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
SCORES_NEW_VIDEOS = "modeling/scoring.py"


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


MODULES = sorted(
    path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_the_floors_above(module: str) -> None:
    own = module.split("/", maxsplit=1)[0].removesuffix(".py")
    assert own in FLOOR_OF, f"{own} has no floor; give it one here and in the design"
    names = imported(PACKAGE / module)
    assert not any(name.split(".")[0] == "vqafeat_cli" for name in names)
    parts = {name.split(".")[1] for name in names if name.startswith("vqafeat.")}
    assert not {part for part in parts - {own} if FLOOR_OF[part] >= FLOOR_OF[own]}
    if own == "modeling" and module != SCORES_NEW_VIDEOS:
        assert "extraction" not in parts


@pytest.mark.parametrize("module", MODULES)
def test_modules_stay_readable(module: str) -> None:
    lines = (PACKAGE / module).read_text().splitlines()
    assert len(lines) <= 330, "a module this long is two modules"


def test_a_decoding_process_starts_without_torch() -> None:
    """It would cost each of them seconds of its start and hundreds of megabytes."""
    code = "import sys, vqafeat.extraction.decoding.worker; print(*sorted({'torch', 'scipy', 'zarr', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
