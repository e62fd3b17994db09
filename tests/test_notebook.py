"""The notebook of the documentation, and the script that runs it: `make notebook`."""

import json
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "notebook.py"
NOTEBOOK = ROOT / "docs" / "first_study.ipynb"
MOST_BYTES = 1_000_000


def notebook() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(NOTEBOOK.read_text())
    return content


def test_notebook__is_stored_with_the_outputs_of_one_run() -> None:
    code = [cell for cell in notebook()["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result", "display_data"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs), "no warnings"
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert "SROCC" in str(outputs)


def test_notebook__is_small_and_names_no_machine() -> None:
    content = NOTEBOOK.read_text()
    assert len(content) < MOST_BYTES
    assert not re.search(r"(/tmp|/home|/root|/work|/Users)\b", content)
    assert all(not cell["metadata"] for cell in notebook()["cells"])
    assert set(notebook()["metadata"]) == {"kernelspec", "language_info"}


def test_notebook__links_lead_somewhere() -> None:
    text = "\n".join(
        "".join(cell["source"]) for cell in notebook()["cells"] if cell["cell_type"] == "markdown"
    )
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


def test_site__shows_text_code_outputs_and_plots_of_a_notebook() -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is in the group dev")
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    code = {"cell_type": "code", "source": ["a = 1\n", "a"]}
    stream = {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}
    picture = {"output_type": "display_data", "data": {"image/png": "iVBO\n", "text/plain": ["<Figure>"]}}
    text = {"cell_type": "markdown", "source": ["# Title\n", "text"]}
    page = hooks["notebook_markdown"]({"cells": [text, {**code, "outputs": [stream, picture]}]})
    assert page == (
        "# Title\ntext\n\n```python\na = 1\na\n```\n\n```{ .text .output }\n1\n2\n```\n\n"
        '<img class="plot" alt="plot" src="data:image/png;base64,iVBO">'
    )


needs_nbclient = pytest.mark.skipif(
    not (find_spec("nbclient") and find_spec("ipykernel")),
    reason="nbclient and ipykernel are in the group dev",
)


def run_notebook(path: Path, source: str, printed: str, *options: str) -> subprocess.CompletedProcess[str]:
    output = {"output_type": "stream", "name": "stdout", "text": printed}
    cell = {"cell_type": "code", "id": "a", "source": source, "outputs": [output], "execution_count": 7}
    content = {"cells": [{**cell, "metadata": {}}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))
    command = [sys.executable, str(SCRIPT), str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_nbclient
@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("print('SROCC', 0.74)", 0, "the same numbers"),
        ("print('SROCC', 0.95)", 1, "cell 1 prints something else; `make notebook-write` stores it"),
        ("print('PLCC', 0.71)", 1, "stored:\nSROCC 0.71\n\nnow:\nPLCC 0.71\n"),
        ("1 / 0", 1, "a cell fails.\n"),
    ],
)
def test_notebook_script__compares_what_cells_print(
    tmp_path: Path, source: str, code: int, words: str
) -> None:
    ended = run_notebook(tmp_path / "a.ipynb", source, "SROCC 0.71\n")
    assert (ended.returncode, words in ended.stdout + ended.stderr) == (code, True), ended.stderr


@needs_nbclient
def test_notebook_script__stores_outputs_without_times(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    ended = run_notebook(path, "import os; print(os.listdir())", "", "--write")
    assert ended.returncode == 0, ended.stderr
    cell = json.loads(path.read_text())["cells"][0]
    assert (cell["execution_count"], cell["metadata"]) == (1, {})
    assert cell["outputs"] == [{"name": "stdout", "output_type": "stream", "text": ["[]\n"]}]
