"""A Ray of two cores on this machine, for all tests of the engine; they are skipped where Ray is not installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def two_cores() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install vqafeat[ray]")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # without it Ray warns of a change to come
    # workers have to find the tests' own modules
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=80 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield ray
    ray.shutdown()
