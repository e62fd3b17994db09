"""A Ray cluster of two cores on this machine; tests that need it are skipped where Ray is absent."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one machine with two cores; tests may add machines. It checks them every half second."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install vqafeat[ray]")
    utils = pytest.importorskip("ray.cluster_utils", reason="this Ray has no clusters of one machine")
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # without it Ray warns of a change to come
    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
    head = {
        "num_cpus": 2,
        "include_dashboard": False,
        "object_store_memory": 80 << 20,
        "_system_config": quick,
    }
    made = utils.Cluster(initialize_head=True, head_node_args=head)
    # workers have to find the tests' own modules
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR", runtime_env=environment)
    yield made
    ray.shutdown()
    made.shutdown()
