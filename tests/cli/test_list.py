"""`vqafeat list` answers at once: it imports no PyTorch."""

import subprocess
import sys

import pytest
from vqafeat_cli.list import LISTS

from tests.helpers.command_line import Run


@pytest.mark.parametrize("what", list(LISTS))
def test_list__imports_no_torch(what: str) -> None:
    code = (
        "import sys\nfrom vqafeat_cli.main import main\ntry:\n    main(['list', sys.argv[1]])\nfinally:\n"
        "    heavy = {'timm', 'torch', 'torchvision', 'zarr'} & set(sys.modules)\n    assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, what], check=True, capture_output=True, text=True)
    assert done.stdout


def test_list__alone_lists_the_lists(run: Run) -> None:
    lines = run("list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(LISTS)
    assert "li-released, li-paper, demo" in lines[list(LISTS).index("pretraining-recipes")]
