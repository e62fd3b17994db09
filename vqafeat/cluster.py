"""Ray clusters: options, connecting, and how many workers fit; Ray is imported only where it is used."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, ClusterError, VqafeatError


@dataclass(frozen=True)
class ClusterOptions:
    """Options of a Ray cluster."""

    address: str | None = None  # None for RAY_ADDRESS, else the cluster on this machine, else a new one here
    workers: int | None = None  # None for as many as fit on the machines of the cluster
    # cpus_per_worker, gpus_per_worker: what each worker reserves; with 0.5, two share one
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    retries: int = 2  # how often the work of a worker that died is repeated
    # how long no worker may start; an autoscaler takes time to add machines
    startup_timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        cpus, gpus, problem = self.cpus_per_worker, self.gpus_per_worker, ""
        if self.workers is not None and self.workers < 1:
            problem = f"ray-workers is {self.workers}; it has to be at least 1, or left out for all that fit"
        for name, value in (("cpus-per-worker", cpus), ("gpus-per-worker", gpus)):
            if value < 0 or (value > 1 and value != int(value)):
                problem = f"{name} is {value:g}; Ray takes whole numbers, or fractions of one from 0 to 1"
        if cpus == 0 and gpus == 0:
            problem = "cpus-per-worker and gpus-per-worker are both 0; a worker has to reserve one of them"
        if self.retries < 0:
            problem = f"retries is {self.retries}; it has to be at least 0"
        if not self.startup_timeout_seconds > 0:
            problem = f"startup-timeout is {self.startup_timeout_seconds:g} seconds; it has to be positive"
        if problem:
            raise ArgumentError(f"{problem}.")

    @property
    def device_name(self) -> str:
        """Device of a worker: its reserved GPUs, or the CPU."""
        return "cuda" if self.gpus_per_worker else "cpu"

    @property
    def reserved(self) -> dict[str, float]:
        """Ray's name of a resource → amount that one worker reserves."""
        amounts = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        return {name: amount for name, amount in amounts.items() if amount}


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Connect to the cluster, or start one here, and yield Ray's module; an existing connection is kept."""
    try:
        import ray
    except ImportError as error:
        problem = f"backend 'ray' needs Ray, which cannot be imported here ({error})"
        raise ClusterError(f"{problem}; install it with `pip install 'vqafeat[ray]'`.") from error
    # Ray prints messages about workers that died to stdout, which is for results
    with redirect_stdout(sys.stderr):
        if ray.is_initialized():
            yield ray
            return
        try:
            ray.init(address=options.address, namespace="vqafeat", log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray also raises plain ones, for example if the machine is too busy
            where = f"at address '{options.address}'" if options.address else "on this machine"
            raise ClusterError(
                f"no Ray cluster can be reached {where}: {reason(error)}. Start one with `ray start --head`, "
                "name it with --address HOST:6379, or leave --address out for a new one on this machine."
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def result_of(ray: Any, reference: Any) -> Any:
    """Return a worker's result; an expected error is raised without Ray's long text around it."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, VqafeatError):
            raise error.cause from None
        raise


def enter(folder: Path) -> None:
    """Change to the driver's working folder, so that relative paths mean the same files in this worker."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise ClusterError(
            f"machine '{os.uname().nodename}' of the cluster cannot enter '{folder}' ({error.strerror}); "
            "all machines have to share the file system of videos, stores, weights and runs."
        ) from error


def workers_that_fit(nodes: Sequence[Mapping[str, Any]], options: ClusterOptions) -> int:
    """Return the number of workers in the options, else as many as the machines of `ray.nodes()` hold."""
    if options.workers is not None:
        return options.workers
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    reserved = options.reserved.items()
    fitting = sum(min(int(has.get(name, 0) / amount) for name, amount in reserved) for has in machines)
    if fitting == 0:
        present = [f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU" for has in machines]
        raise ClusterError(
            f"no machine of the cluster holds a worker with {described(options.reserved)} (machines: "
            f"{'; '.join(present) or 'none'}); lower --cpus-per-worker or --gpus-per-worker, or give "
            "--ray-workers N if an autoscaler should add machines."
        )
    return fitting


def described(reserved: Mapping[str, float]) -> str:
    """Return what a worker reserves, in words."""
    return " and ".join(f"{amount:g} {name}" for name, amount in reserved.items())


def reason(error: BaseException) -> str:
    """Return the first line of one of Ray's long errors, and the last one if it names the cause."""
    plain = re.sub(r"\x1b\[\d+m", "", str(error))
    lines = [line.strip().rstrip(".") for line in plain.splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    named = re.fullmatch(r"[\w.]*(Error|Exception)\b.*", lines[-1])
    return f"{lines[0]} … {lines[-1]}" if named and len(lines) > 1 else lines[0]
