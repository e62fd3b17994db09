"""The splits of one fit, one after another or spread over processes, with the same results either way."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqafeat.cluster import ClusterOptions
from vqafeat.errors import ArgumentError, TrainingError
from vqafeat.heads import Head, build_head
from vqafeat.io import write_bytes
from vqafeat.losses import MIXINGS, LabelScaling
from vqafeat.splits import Split
from vqafeat.system import process_context
from vqafeat.training.batching import Batcher
from vqafeat.training.config import Recipe
from vqafeat.training.data import FeatureDataset, FeatureReader, SharedFeatures, load_sequences
from vqafeat.training.frame_sampling import WHOLE_VIDEOS, FrameInput, FrameSampler
from vqafeat.training.loop import predict, trainer_of
from vqafeat.training.results import STATE, weights_path, write_weights
from vqafeat.training.trainer import Checkpoint, EpochRecord, SplitTask, TrainingResult


@dataclass(frozen=True)
class SplitGroup:
    """Splits that train together, by their numbers."""

    number: int
    splits: dict[int, Split]


@dataclass(frozen=True)
class SplitResult:
    """What one split leaves beside its weights file.

    Attributes:
        scores: part → scores of its videos on the data set's scale, in the order of the split.
        kept_epoch: counted from 1; 0 where the head is not trained in epochs.
        kept_because: in words.
        curve: one record an epoch.
    """

    scores: dict[str, tuple[float, ...]]
    kept_epoch: int
    kept_because: str
    curve: tuple[EpochRecord, ...]


class GroupCheckpoint:
    """The files of a group below a run folder: states between epochs, and outcomes once it is done.

    Args:
        out: the run folder.
        number: of the group.
    """

    def __init__(self, out: Path, number: int) -> None:
        self._done = out / STATE / f"group-{number:02d}.json"
        self._between = out / STATE / f"group-{number:02d}.pt"
        self.checkpoint = Checkpoint(self._between)

    def outcomes(self) -> list[SplitResult] | None:
        """Return the outcomes of a group that is done, or None."""
        if not self._done.is_file():
            return None
        return [
            SplitResult(
                scores={part: tuple(scores) for part, scores in own["scores"].items()},
                kept_epoch=own["kept_epoch"],
                kept_because=own["kept_because"],
                curve=tuple(EpochRecord(*record) for record in own["curve"]),
            )
            for own in json.loads(self._done.read_bytes())
        ]

    def finish(self, outcomes: list[SplitResult]) -> None:
        """Keep the outcomes; the states between epochs are of no more use."""
        # NaN stays NaN here, since nobody else reads it
        told = [{**asdict(own), "curve": [astuple(record) for record in own.curve]} for own in outcomes]
        write_bytes(self._done, json.dumps(told).encode())
        self._between.unlink(missing_ok=True)


Progress = Callable[[int, EpochRecord], None]

SPLITS_PER_GROUP = 5  # most of what is to be gained, at five batches' memory; fixed, since the company moves results by rounding
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class FitJob:
    """What all splits of a fit share; small, so that it can be sent to another process.

    Attributes:
        source: the feature store, which another process opens again.
        feature_sets: one name, or several joined by `+`.
        rows: the videos in use, as positions in the data set; splits count within them.
        head: name of the head.
        options: all of its options.
        recipe: how it is trained.
        lines: split by split, data set by data set: how a head's output becomes a score.
        seed: of the whole fit.
        devices: as PyTorch names them; the groups of splits take turns.
        out: the run folder, where weights go.
        frame_input: the frames that are taken.
    """

    source: FeatureReader
    feature_sets: str
    rows: tuple[int, ...]
    head: str
    options: dict[str, Any]
    recipe: Recipe
    lines: tuple[tuple[LabelScaling, ...], ...]
    seed: int
    devices: tuple[str, ...]
    out: Path
    frame_input: FrameInput = WHOLE_VIDEOS


def split_seed(seed: int, number: int) -> int:
    """Return the seed of one split of a fit; it depends on nothing else."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def fit_splits(
    sequences: FeatureDataset,
    splits: Sequence[Split],
    plan: FitJob,
    jobs: int,
    progress: Progress | None = None,
) -> list[SplitResult]:
    """Train a head on each split and write its weights; what a stopped fit in the same folder finished is not
    done again.

    Splits train in groups of a fixed number, each on one CPU thread, so that the results do not depend on
    `jobs`.

    Args:
        sequences: the features; other processes share them where they are held in memory.
        splits: rows count within `sequences`.
        plan: what the splits share.
        jobs: processes.
        progress: called with the split's number and each epoch's record, in this process.

    Raises:
        TrainingError: a fit went astray, or a process was killed.
    """
    groups = groups_of(sequences, splits, plan)
    jobs = min(jobs, len(groups))
    if jobs > 1:
        return _run_in_pool(sequences, groups, plan, jobs, progress)
    with one_thread():
        return [outcome for group in groups for outcome in fit_group(sequences, group, plan, progress)]


def groups_of(sequences: FeatureDataset, splits: Sequence[Split], plan: FitJob) -> list[SplitGroup]:
    """Return the splits in groups that train together, of a number that follows from the head alone."""
    size = (
        SPLITS_PER_GROUP if build_head_on_meta(plan, sequences.channels).core.supports_batched_training else 1
    )
    numbered = list(enumerate(splits))
    return [
        SplitGroup(start // size, dict(numbered[start : start + size]))
        for start in range(0, len(numbered), size)
    ]


def build_head_on_meta(plan: FitJob, channels: int) -> Head:
    """Return the plan's head without memory behind it, which tells what it is and whether its options are
    allowed.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build_head(plan.head, channels, plan.options)


def fit_group(
    sequences: FeatureDataset, group: SplitGroup, plan: FitJob, progress: Progress | None
) -> list[SplitResult]:
    """Train the heads of several splits together, write the kept weights, and score all parts: the test part
    as in testing.
    """
    state = GroupCheckpoint(plan.out, group.number)
    if (done := state.outcomes()) is not None:
        return done
    numbers, device = list(group.splits), plan.devices[group.number % len(plan.devices)]
    assignments = [
        SplitTask(group.splits[number], split_seed(plan.seed, number), plan.lines[number])
        for number in numbers
    ]
    train = trainer_of(plan.head).train
    loop = train(
        sequences,
        assignments,
        plan.head,
        plan.options,
        plan.recipe,
        device,
        plan.frame_input,
        state.checkpoint,
    )
    while True:
        try:
            place, record = next(loop)
        except StopIteration as end:
            results: list[TrainingResult] = end.value
            break
        if progress is not None:
            progress(numbers[place], record)
    outcomes = [
        _outcome(sequences, group.splits[number], plan, number, result, device)
        for number, result in zip(numbers, results, strict=True)
    ]
    state.finish(outcomes)
    return outcomes


def _outcome(
    sequences: FeatureDataset, split: Split, plan: FitJob, number: int, result: TrainingResult, device: str
) -> SplitResult:
    write_weights(weights_path(plan.out, number), result.weights)
    head = build_head(plan.head, sequences.channels, plan.options)
    head.resize_buffers(result.weights)
    head.load_state_dict(result.weights)
    head.to(device)
    batcher, groups = (
        Batcher(sequences, device),
        torch.from_numpy(MIXINGS.get(plan.recipe.mixing)(sequences.dataset_of)).to(device),
    )
    draws = FrameSampler(plan.frame_input, sequences)
    as_validated, as_tested = (draws.validation(split_seed(plan.seed, number)),), draws.testing(plan.seed)
    parts = {
        "train": (split.train, as_validated),
        "validation": (split.validation, as_validated),
        "test": (split.test, as_tested),
    }
    scores = {}
    for part, (rows, drawn) in parts.items():
        outputs = np.mean(
            [predict(head, batcher.taking(frame_indices), rows, groups) for frame_indices in drawn], axis=0
        )
        on_scale = [
            result.lines[sequences.dataset_of[row]].scores(output)
            for row, output in zip(rows, outputs, strict=True)
        ]
        scores[part] = tuple(float(score) for score in on_scale)
    return SplitResult(scores, result.kept_epoch, result.kept_because, result.curve)


def _run_in_pool(
    sequences: FeatureDataset,
    groups: Sequence[SplitGroup],
    plan: FitJob,
    jobs: int,
    progress: Progress | None,
) -> list[SplitResult]:
    context = process_context([__name__, "vqafeat.store"])
    news: SimpleQueue[tuple[int, EpochRecord]] = context.SimpleQueue()
    try:
        with _pool(jobs, context, news, plan, sequences) as pool:
            futures = [pool.submit(_worker_main, group) for group in groups]
            for number, record in _drain_progress(futures, news):
                if progress is not None:
                    progress(number, record)
            return [outcome for future in futures for outcome in future.result()]
    except BrokenProcessPool as error:
        raise TrainingError(
            f"a process of the fit was killed from outside, often for want of memory; try again with fewer "
            f"--jobs than {jobs}."
        ) from error


@contextmanager
def _pool(
    jobs: int,
    context: BaseContext,
    news: "SimpleQueue[tuple[int, EpochRecord]]",
    plan: FitJob,
    sequences: FeatureDataset,
) -> Iterator[ProcessPoolExecutor]:
    """Lend a pool of workers; if anything goes wrong they end at once, whatever they are at, since nobody
    reads their news any more.
    """
    theirs, ours = context.Pipe(duplex=False)
    features = sequences.features if isinstance(sequences.features, SharedFeatures) else None
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_worker, initargs=(news, theirs, plan, features)
    )
    try:
        yield pool
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _drain_progress(
    futures: Sequence["Future[list[SplitResult]]"], news: "SimpleQueue[tuple[int, EpochRecord]]"
) -> Iterator[tuple[int, EpochRecord]]:
    open_futures = set(futures)
    while open_futures:
        done, open_futures = wait(open_futures, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        while not news.empty():
            yield news.get()
        for future in futures:
            if future in done:
                future.result()


@dataclass(frozen=True, eq=False)
class _WorkerState:
    """What a worker has at hand for all groups."""

    news: "SimpleQueue[tuple[int, EpochRecord]]"
    plan: FitJob
    features: SharedFeatures | None

    @cached_property
    def sequences(self) -> FeatureDataset:
        stored = load_sequences(self.plan.source, self.plan.feature_sets, self.plan.rows)
        return stored if self.features is None else replace(stored, features=self.features)


_desk: _WorkerState | None = None


def _start_worker(
    news: "SimpleQueue[tuple[int, EpochRecord]]",
    parent: Connection,
    plan: FitJob,
    features: SharedFeatures | None,
) -> None:
    global _desk  # noqa: PLW0603 – a process pool gives its workers nothing else to keep things in
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    _desk = _WorkerState(news, plan, features)


def _exit_with_parent(parent: Connection) -> None:
    """End this process as soon as the parent closes its end of the pipe, or is gone itself."""
    parent.poll(None)
    os._exit(1)


def _worker_main(group: SplitGroup) -> list[SplitResult]:
    assert _desk is not None
    news = _desk.news
    return fit_group(
        _desk.sequences, group, _desk.plan, lambda split_number, record: news.put((split_number, record))
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of the processor, so that sums do not depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class Fit:
    """The splits of one fit, as they are handed to a backend.

    Attributes:
        sequences: the features.
        splits: rows count within `sequences`.
        plan: what the splits share.
        jobs: processes of this machine.
        cluster: the Ray cluster whose machines train; None trains on this machine.

    Raises:
        ArgumentError: there is no split, or no process.
    """

    sequences: FeatureDataset
    splits: Sequence[Split]
    plan: FitJob
    jobs: int
    cluster: ClusterOptions | None = None

    def __post_init__(self) -> None:
        if not self.splits or self.jobs < 1:
            raise ArgumentError(
                f"a fit has {len(self.splits)} splits and {self.jobs} jobs; it takes at least 1 of each."
            )


def run_fit(work: Fit, progress: Progress | None) -> list[SplitResult]:
    """Train all splits; raises as `fit_splits` and `fit_on_ray` do."""
    if work.cluster is not None:
        from vqafeat.training.ray_backend import fit_on_ray

        return fit_on_ray(work, work.cluster, progress)
    return fit_splits(work.sequences, work.splits, work.plan, work.jobs, progress)
