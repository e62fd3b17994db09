"""What all tests share: where the real data lies, and one thread a test so that results do not depend on the machine's cores."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, so that child processes inherit it

import pytest

SHARED_DATA = Path(os.environ.get("VQAFEAT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is absent: {SHARED_DATA} (set VQAFEAT_SHARED_DATA)")
    return SHARED_DATA
