"""`vqafeat list` answers at once: it imports no PyTorch."""

import subprocess
import sys

import pytest
from vqafeat_cli.list import LISTS


@pytest.mark.parametrize("what", list(LISTS))
def test_list__imports_no_torch(what: str) -> None:
    code = (
        "import sys\nfrom vqafeat_cli.main import main\ntry:\n    main(['list', sys.argv[1]])\nfinally:\n"
        "    heavy = {'timm', 'torch', 'torchvision', 'zarr'} & set(sys.modules)\n    assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, what], check=True, capture_output=True, text=True)
    assert done.stdout
