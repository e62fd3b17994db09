"""A Ray cluster: what is asked of it, joining it, and how many workers fit. Ray is imported only where it is
used.
"""

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqafeat.errors import ArgumentError, ClusterError, VqafeatError


@dataclass(frozen=True)
class ClusterOptions:
    """What is asked of a cluster.

    Attributes:
        address: of the cluster, as Ray reads it; None for RAY_ADDRESS, else the one that runs on this
            machine, else a new one here.
        workers: how many; None for as many as fit on the machines that are there.
        cpus_per_worker: cores that each reserves; fractions share one.
        gpus_per_worker: GPUs that each reserves; fractions share one, 0 computes on processors.
        retries: how often the work of a worker that died is tried again.
        startup_timeout_seconds: how long to wait while no worker can start, which an autoscaler may need to add
            machines.

    Raises:
        ArgumentError: a number is not allowed.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    retries: int = 2
    startup_timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ArgumentError(
                f"ray-workers is {self.workers}; it has to be at least 1, or left out for as many as fit."
            )
        for name, value in (
            ("cpus-per-worker", self.cpus_per_worker),
            ("gpus-per-worker", self.gpus_per_worker),
        ):
            if value < 0 or (value > 1 and value != int(value)):
                raise ArgumentError(
                    f"{name} is {value:g}; Ray takes whole numbers, or fractions of one from 0 to 1."
                )
        if self.cpus_per_worker == 0 and self.gpus_per_worker == 0:
            raise ArgumentError(
                "cpus-per-worker and gpus-per-worker are both 0; a worker has to reserve something, such as "
                "--cpus-per-worker 1."
            )
        if self.retries < 0:
            raise ArgumentError(f"retries is {self.retries}; it has to be at least 0.")
        if not self.startup_timeout_seconds > 0:
            raise ArgumentError(
                f"startup-timeout is {self.startup_timeout_seconds:g} seconds; it has to be positive."
            )

    @property
    def device_name(self) -> str:
        """Where a worker computes: on the one kind of GPU that Ray shows it, or on the processor."""
        return "cuda" if self.gpus_per_worker else "cpu"

    @property
    def reserved(self) -> dict[str, float]:
        """What one worker reserves, by Ray's names of resources."""
        return {
            name: amount
            for name, amount in (("CPU", self.cpus_per_worker), ("GPU", self.gpus_per_worker))
            if amount
        }


def ray_module() -> Any:
    """Return the module `ray`.

    Raises:
        ClusterError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"engine 'ray' needs Ray, which cannot be imported here ({error}); install it with `pip install "
            f"vqafeat[ray]`."
        ) from error
    return ray


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Join the cluster, or start one on this machine, and lend Ray's module; a connection that was there
    before is used and left alone.

    Raises:
        ClusterError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = ray_module()
    # Ray tells of workers that died on standard output, where results go
    with redirect_stdout(sys.stderr):
        if ray.is_initialized():
            yield ray
            return
        _join(ray, options)
        try:
            yield ray
        finally:
            ray.shutdown()


def _join(ray: Any, options: ClusterOptions) -> None:
    try:
        ray.init(address=options.address, namespace="vqafeat", log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises bare ones too, as when a machine is too busy to start it in time
        where = f"at address '{options.address}'" if options.address else "on this machine"
        raise ClusterError(
            f"no Ray cluster can be reached {where}: {reason(error)}. Start one with `ray start --head`, "
            f"name it with "
            "--address HOST:6379, or leave --address out for a new one on this machine."
        ) from error


def result_of(ray: Any, reference: Any) -> Any:
    """Return what a worker answered; an expected error of the worker is one of this process, without Ray's
    pages around it.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, VqafeatError):
            raise error.cause from None
        raise


def enter(folder: Path) -> None:
    """Make the folder that the driver works in that of this worker, so that relative paths mean the same
    files.

    Raises:
        ClusterError: this machine does not have it.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise ClusterError(
            f"machine '{socket.gethostname()}' of the cluster cannot enter '{folder}' ({error.strerror}); "
            f"all machines have to share the "
            "file system of videos, stores, weights and runs."
        ) from error


def workers_that_fit(nodes: Sequence[Mapping[str, Any]], options: ClusterOptions) -> int:
    """Return how many workers to ask for: the number that was given, else as many as the machines hold.

    Args:
        nodes: as `ray.nodes()` tells them.

    Raises:
        ClusterError: no machine holds a single one.
    """
    if options.workers is not None:
        return options.workers
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    fitting = sum(
        min(int(has.get(name, 0) / amount) for name, amount in options.reserved.items()) for has in alive
    )
    if fitting == 0:
        there = "; ".join(f"{has.get('CPU', 0):g} CPU, {has.get('GPU', 0):g} GPU" for has in alive) or "none"
        raise ClusterError(
            f"no machine of the cluster holds a worker with {described(options.reserved)} (machines: "
            f"{there}); lower --cpus-per-worker or "
            "--gpus-per-worker, or give --ray-workers N where an autoscaler is to add machines."
        )
    return fitting


def described(reserved: Mapping[str, float]) -> str:
    """Return what a worker reserves, in words."""
    return " and ".join(f"{amount:g} {name}" for name, amount in reserved.items())


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, and the last one where that names the cause; Ray's go on
    for pages between.
    """
    plain = re.sub(r"\x1b\[\d+m", "", str(error))
    lines = [line.strip().rstrip(".") for line in plain.splitlines() if line.strip()] or [
        type(error).__name__
    ]
    named = re.fullmatch(r"[\w.]*(Error|Exception)\b.*", lines[-1])
    return f"{lines[0]} … {lines[-1]}" if named and len(lines) > 1 else lines[0]
