"""Options of a cluster, and messages if it cannot be used."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vqafeat.cluster import ClusterOptions, connected, enter, reason, workers_that_fit
from vqafeat.errors import ArgumentError, ClusterError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "ray-workers is 0; it has to be at least 1"),
        ({"cpus_per_worker": -1.0}, "cpus-per-worker is -1; Ray takes whole numbers, or fractions of one"),
        ({"gpus_per_worker": 1.5}, "gpus-per-worker is 1.5; Ray takes whole numbers, or fractions of one"),
        ({"cpus_per_worker": 0.0}, "cpus-per-worker and gpus-per-worker are both 0"),
        ({"retries": -1}, "retries is -1; it has to be at least 0"),
        ({"startup_timeout_seconds": 0.0}, "startup-timeout is 0 seconds; it has to be positive"),
    ],
)
def test_cluster_options__refuse_wrong_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ClusterOptions(**options)


def test_connected__without_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(
            ClusterError, match=r"backend 'ray' needs Ray, .* install it with `pip install 'vqafeat\[ray\]'`"
        ),
        connected(ClusterOptions()),
    ):
        pass


def test_connected__reports_a_cluster_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: Any) -> None:
        assert options["address"] == "192.0.2.1:6379"
        raise ConnectionError("Could not find any running Ray instance.\nThis goes on.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=refuse))
    unreachable = "no Ray cluster can be reached at address '192.0.2.1:6379'"
    expected = f"{unreachable}: Could not find any running Ray instance. Start one with `ray start"
    with pytest.raises(ClusterError, match=expected), connected(ClusterOptions(address="192.0.2.1:6379")):
        pass


def test_connected__keeps_what_ray_prints_out_of_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with connected(ClusterOptions()):
        print("(raylet) a worker died")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "(raylet) a worker died\n")


def test_workers_that_fit__are_as_many_as_each_machine_holds() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 7.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 64.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert workers_that_fit(nodes, ClusterOptions(cpus_per_worker=4)) == 4 + 1 + 16
    assert workers_that_fit(nodes, ClusterOptions(cpus_per_worker=4, gpus_per_worker=1)) == 2 + 1
    assert workers_that_fit(nodes, ClusterOptions(cpus_per_worker=0, gpus_per_worker=0.5)) == 4 + 2
    assert workers_that_fit(nodes, ClusterOptions(workers=50)) == 50
    machines = r"\(machines: 16 CPU, 2 GPU; 7 CPU, 1 GPU; 64 CPU, 0 GPU\)"
    expected = rf"no machine of the cluster holds a worker with 1 CPU and 4 GPU {machines}"
    with pytest.raises(ClusterError, match=expected):
        workers_that_fit(nodes, ClusterOptions(gpus_per_worker=4))


def test_enter__names_a_machine_without_the_shared_folder(tmp_path: Any) -> None:
    with pytest.raises(
        ClusterError,
        match=r"of the cluster cannot enter '.*absent' \(No such file or directory\); all machines have to "
        r"share",
    ):
        enter(tmp_path / "absent")


def test_reason__shortens_a_long_error() -> None:
    assert reason(
        RuntimeError(
            "The actor died.\n\n  File x\n\x1b[36mModuleNotFoundError\x1b[39m: No module named 'vqafeat'"
        )
    ) == ("The actor died … ModuleNotFoundError: No module named 'vqafeat'")
    assert reason(RuntimeError("It died.\nSome more.")) == "It died"
    assert reason(RuntimeError()) == "RuntimeError"
