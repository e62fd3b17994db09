"""The splits of a fit, one after another or in several processes, with the same results either way."""

import os
import pickle
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import TrainingError
from vqafeat.heads import HEADS
from vqafeat.heads.base import Head, build_head
from vqafeat.losses.base import MIXINGS
from vqafeat.registry import install_plugins, pickled_plugins
from vqafeat.splits import PARTS
from vqafeat.store.features import FeatureDataset, FeatureReader, SharedFeatures, load_features
from vqafeat.system import exit_with_parent, main_module_hidden, process_context
from vqafeat.training.batching import Batcher, chunks
from vqafeat.training.checkpoint import Checkpoint, EpochRecord, SplitResult, TrainingResult
from vqafeat.training.config import FitConfig
from vqafeat.training.frame_sampling import FrameSampler
from vqafeat.training.loop import TRAINERS
from vqafeat.training.progress import Progress
from vqafeat.training.results import weights_path, write_weights
from vqafeat.training.stacked_heads import can_be_stacked
from vqafeat.training.trainer import SplitTask, predict

# on a GPU, where a step of one split is bound by launches; its frames of a step are in memory at once
SPLITS_PER_GROUP = 10
# split and record, from workers
Records = SimpleQueue[tuple[int, EpochRecord]]


@dataclass(frozen=True)
class FitJob:
    """What all splits of a fit share; small, so that it can be sent to another process."""

    store: FeatureReader
    config: FitConfig  # with all options of the head and the names of the features
    rows: tuple[int, ...]  # positions in the data set of the videos in use; splits count within them
    devices: tuple[str, ...]  # on which the groups of splits take turns
    out: Path
    plugins: bytes = field(default_factory=pickled_plugins, repr=False)


@dataclass(frozen=True)
class SplitGroup:
    """Splits that train together."""

    number: int
    tasks: tuple[SplitTask, ...]

    def checkpoint(self, out: Path) -> Checkpoint:
        """Return the files that these splits resume from, in a run folder."""
        return Checkpoint(out, [task.number for task in self.tasks])


def split_seed(seed: int, number: int) -> int:
    """Return the seed of one split of a fit; it depends on nothing else."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def run_fit(
    data: FeatureDataset,
    tasks: Sequence[SplitTask],
    job: FitJob,
    jobs: int,
    cluster: ClusterOptions | None,
    progress: Progress,
) -> list[SplitResult]:
    """Train a head on each split and write its weights, unless a stopped fit in the same folder did so.

    Each split trains on one CPU thread, so that the results do not depend on `jobs`.
    """
    if cluster is not None:
        from vqafeat.training.ray_backend import fit_on_ray

        return fit_on_ray(data, tasks, job, cluster, progress)
    groups = groups_of(data, tasks, job, len(job.devices))
    jobs = min(jobs, len(groups))
    if jobs > 1:
        return _run_in_pool(data, groups, job, jobs, progress)
    with one_thread():
        return [result for group in groups for result in fit_group(data, group, job, progress)]


def groups_of(data: FeatureDataset, tasks: Sequence[SplitTask], job: FitJob, places: int) -> list[SplitGroup]:
    """Return the splits in groups that train together, at most `places` at a time, each on its own GPU.

    On a CPU, where training together gains nothing, each is a group.
    """
    together = job.devices[0] != "cpu" and can_be_stacked(build_head_on_meta(job.config, data.channels))
    size = min(SPLITS_PER_GROUP, ceil(len(tasks) / places)) if together else 1
    return [SplitGroup(number, tuple(own)) for number, own in enumerate(chunks(tasks, size))]


def build_head_on_meta(config: FitConfig, channels: int) -> Head:
    """Return the head without memory for its weights, which shows whether its options are allowed."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build_head(config.head, channels, config.options)


def fit_group(
    data: FeatureDataset,
    group: SplitGroup,
    job: FitJob,
    progress: Progress,
    checkpoint: Checkpoint | None = None,
) -> list[SplitResult]:
    """Train a head on each split of a group, write the kept weights, and score all parts.

    Where the memory of a GPU is too small for all of them together, each half trains by itself.
    """
    checkpoint = checkpoint or group.checkpoint(job.out)
    results = checkpoint.results()
    for number in (task.number for task in group.tasks if task.number in results):
        for record in results[number].curve:
            progress(number, record)
    device = job.devices[group.number % len(job.devices)]
    if tasks := [task for task in group.tasks if task.number not in results]:
        train, halves = TRAINERS[HEADS.get(job.config.head).trainer], list[list[SplitTask]]()
        try:
            trained = train(data, tasks, job.config, device, checkpoint, progress)
            for task, result in zip(tasks, trained, strict=True):
                results[task.number] = _scored(data, task, job, result, device)
                checkpoint.finish(task.number, results[task.number])
        except KeyboardInterrupt:
            checkpoint.save()
            raise
        except torch.OutOfMemoryError as error:
            if len(tasks) == 1:
                problem = f"the memory of {device} is too small to train one split"
                raise TrainingError(f"{problem}; lower --batch-size, or train on --device cpu.") from error
            halves = [tasks[: len(tasks) // 2], tasks[len(tasks) // 2 :]]
        # not above, where the traceback still holds the memory
        for half in halves:
            torch.cuda.empty_cache()
            fit_group(data, replace(group, tasks=tuple(half)), job, progress, checkpoint)
            results = checkpoint.results()
    return [results[task.number] for task in group.tasks]


def _scored(
    data: FeatureDataset, task: SplitTask, job: FitJob, result: TrainingResult, device: str
) -> SplitResult:
    """Write the weights of a split and score its parts; a test score is the mean over draws."""
    config = job.config
    write_weights(weights_path(job.out, task.number), result.weights)
    head = build_head(config.head, data.channels, config.options)
    head.resize_buffers(result.weights)
    head.load_state_dict(result.weights)
    head.to(device)
    batcher, sampler = Batcher(data, device), FrameSampler(config.frame_input, data)
    groups = torch.from_numpy(MIXINGS[config.resolved_recipe.multi_dataset](data.dataset_of))

    def scores(part: str) -> tuple[float, ...]:
        rows = getattr(task.split, part)
        draws = sampler.testing(config.seed) if part == "test" else (sampler.validation(task.seed),)
        outputs = np.mean([predict(head, batcher.taking(draw), rows, groups) for draw in draws], axis=0)
        pairs = zip(data.dataset_of[list(rows)], outputs, strict=True)
        return tuple(float(task.label_scalings[own].inverse_transform(output)) for own, output in pairs)

    parts = {part: scores(part) for part in PARTS}
    return SplitResult(parts, result.kept_epoch, result.kept_because, result.curve)


def _run_in_pool(
    data: FeatureDataset, groups: Sequence[SplitGroup], job: FitJob, jobs: int, progress: Progress
) -> list[SplitResult]:
    context = process_context([__name__, "vqafeat.store"])
    records: Records = context.SimpleQueue()
    theirs, ours = context.Pipe(duplex=False)
    arguments = (records, theirs, dict(os.environ), pickle.dumps(job), data.shared)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=arguments)
    try:
        with main_module_hidden():  # processes start here
            futures = [pool.submit(_worker_main, group) for group in groups]
        _report_progress(futures, records, progress)
        pool.shutdown()
        return [result for future in futures for result in future.result()]
    except BrokenProcessPool as error:
        problem = "a process of the fit was killed from outside, often for want of memory"
        raise TrainingError(f"{problem}; try again with fewer --jobs than {jobs}.") from error
    finally:
        ours.close()  # after an error or Ctrl-C, workers save their states and end at once
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _report_progress(
    futures: Sequence["Future[list[SplitResult]]"], records: Records, progress: Progress
) -> None:
    """Report the records of workers until all futures are done; raise the error of one that failed."""
    open_futures = set(futures)
    while open_futures:
        done, open_futures = wait(open_futures, timeout=0.2, return_when=FIRST_COMPLETED)
        while not records.empty():
            progress(*records.get())
        for future in done:
            future.result()


# what a worker process keeps for all groups
_worker = SimpleNamespace(checkpoint=None)


def _start_worker(
    records: Records,
    parent: Connection,
    environment: dict[str, str],
    pickled_job: bytes,
    features: SharedFeatures | None,
) -> None:
    """Prepare a worker; the fork server has an older environment, and the job opens its store when loaded."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process gets it too, and ends this one
    exit_with_parent(parent, lambda: _worker.checkpoint and _worker.checkpoint.save())
    vars(_worker).update(records=records, job=pickle.loads(pickled_job), features=features)


@cache
def _data() -> FeatureDataset:
    return worker_data(_worker.job, _worker.features)


def _worker_main(group: SplitGroup) -> list[SplitResult]:
    job, records, _worker.checkpoint = _worker.job, _worker.records, group.checkpoint(_worker.job.out)
    return fit_group(_data(), group, job, lambda *record: records.put(record), _worker.checkpoint)


def worker_data(job: FitJob, features: SharedFeatures | None) -> FeatureDataset:
    """Install the plug-ins of the fit's main process, and return its data, with the shared features."""
    install_plugins(job.plugins)
    data = load_features(job.store, job.config.features, job.rows)
    return data if features is None else replace(data, features=features)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread, so that sums do not depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
