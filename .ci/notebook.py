"""Run the notebook of the documentation, and compare what it prints with what is stored in it:
`python .ci/notebook.py NOTEBOOK.ipynb`; `--write` stores the new outputs instead. `make notebook` calls it.
"""

import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
TOLERANCE = 0.1  # absolute and relative: other processors round differently, and training enlarges that
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with new outputs, run in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_RUNTIME_DIR"] = folder
        os.environ["OMP_NUM_THREADS"] = "1"  # on small frames a second thread costs more than it saves
        os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm misses a package of widgets
        study = Path(folder) / "study"
        study.mkdir()
        client = NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            resources={"metadata": {"path": study}},
            record_timing=False,
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}),  # opens no port
        )
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def printed(cell: nbformat.NotebookNode) -> str:
    """Return the text outputs of a cell, and the type of each other one."""
    texts = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        pictures = [kind for kind in data if kind.startswith("image/")]
        texts.append(" ".join(pictures) or output.get("text") or data.get("text/plain", output.output_type))
    return "\n".join(texts)


def same(one: str, two: str) -> bool:
    """Return whether two texts have the same words, and numbers that agree within the tolerance."""
    if NUMBER.split(one) != NUMBER.split(two):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(two), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs)


def main(path: Path, write: bool) -> str:
    """Return the message with which the script fails, or an empty one."""
    start = time.monotonic()
    try:
        notebook = executed(path)
    except CellExecutionError as error:
        return f"{path}: a cell fails.\n{error}"
    seconds = f"{time.monotonic() - start:.0f} seconds"
    if write:
        nbformat.write(notebook, path)
        print(f"{path}: written, {seconds}")
        return ""
    stored = nbformat.read(path, as_version=4)
    for number, (old, new) in enumerate(zip(stored.cells, notebook.cells, strict=True), 1):
        if not same(printed(old), printed(new)):
            texts = f"stored:\n{printed(old)}\nnow:\n{printed(new)}"
            return f"{path}: cell {number} prints something else; `make notebook-write` stores it.\n{texts}"
    print(f"{path}: the same numbers, {seconds}")
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--write" in sys.argv[2:]) or 0)
