"""The splits of one fit, one after another or spread over processes, with the same results either way."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqafeat.errors import TrainingError
from vqafeat.modeling.heads import HEADS, build_head
from vqafeat.modeling.recipes import Recipe
from vqafeat.modeling.run_files import weights_path, write_weights
from vqafeat.modeling.sampling import WHOLE_VIDEOS, FrameInput, RowDraws
from vqafeat.modeling.sequences import Batcher, FeatureSource, Sequences, load_sequences
from vqafeat.modeling.trainers import trainer_of
from vqafeat.modeling.training import Assignment, EpochRecord, TrainingResult, predict
from vqafeat.processes import process_context
from vqafeat.splits import Split

Progress = Callable[[int, EpochRecord], None]

TRAINED_TOGETHER = 5  # most of what is to be gained, at five batches' memory; fixed, since the company moves results by rounding
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Plan:
    """What all splits of a fit share; small, so that it can be sent to another process.

    Attributes:
        open_store: opens a feature store at a path.
        store_path: where it lies; each process maps its files, so features are never copied between processes.
        feature_sets: one name, or several joined by `+`.
        rows: the videos in use, as positions in the data set; splits count within them.
        head: name of the head.
        options: all of its options.
        recipe: how it is trained.
        label_factors: one a split: head's output × this = score.
        seed: of the whole fit.
        device: as PyTorch names it.
        out: the run folder, where weights go.
        frame_input: the frames that are taken.
    """

    open_store: Callable[[Path], FeatureSource]
    store_path: Path
    feature_sets: str
    rows: tuple[int, ...]
    head: str
    options: dict[str, Any]
    recipe: Recipe
    label_factors: tuple[float, ...]
    seed: int
    device: str
    out: Path
    frame_input: FrameInput = WHOLE_VIDEOS


@dataclass(frozen=True)
class SplitOutcome:
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


def split_seed(seed: int, number: int) -> int:
    """Return the seed of one split of a fit; it depends on nothing else."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def fit_splits(
    sequences: Sequences, splits: Sequence[Split], plan: Plan, jobs: int, progress: Progress | None = None
) -> list[SplitOutcome]:
    """Train a head on each split and write its weights.

    Splits train in groups of a fixed number, each on one CPU thread, so that the results do not depend on `jobs`.

    Args:
        sequences: the features, used where `jobs` is 1.
        splits: rows count within `sequences`.
        plan: what the splits share.
        jobs: processes.
        progress: called with the split's number and each epoch's record, in this process.

    Raises:
        TrainingError: a fit went astray, or a process was killed.
    """
    groups = _groups(splits, TRAINED_TOGETHER if HEADS.get(plan.head).shares_time else 1)
    jobs = min(jobs, len(groups))
    if jobs > 1:
        return _spread(groups, plan, jobs, progress)
    with _one_thread():
        return [outcome for group in groups for outcome in fit_group(sequences, group, plan, progress)]


def _groups(splits: Sequence[Split], size: int) -> list[dict[int, Split]]:
    """Return the splits by their numbers, in groups that are trained together."""
    numbered = list(enumerate(splits))
    return [dict(numbered[start : start + size]) for start in range(0, len(numbered), size)]


def fit_group(sequences: Sequences, group: Mapping[int, Split], plan: Plan, progress: Progress | None) -> list[SplitOutcome]:
    """Train the heads of several splits together, write the kept weights, and score all parts: the test part as in testing."""
    assignments = [Assignment(split, split_seed(plan.seed, number), plan.label_factors[number]) for number, split in group.items()]
    numbers = list(group)
    loop = trainer_of(plan.head).train(sequences, assignments, plan.head, plan.options, plan.recipe, plan.device, plan.frame_input)
    while True:
        try:
            place, record = next(loop)
        except StopIteration as end:
            results: list[TrainingResult] = end.value
            break
        if progress is not None:
            progress(numbers[place], record)
    return [_outcome(sequences, group[number], plan, number, result) for number, result in zip(numbers, results, strict=True)]


def _outcome(sequences: Sequences, split: Split, plan: Plan, number: int, result: TrainingResult) -> SplitOutcome:
    write_weights(weights_path(plan.out, number), result.weights)
    head = build_head(plan.head, sequences.channels, plan.options)
    head.make_room(result.weights)
    head.load_state_dict(result.weights)
    head.to(plan.device)
    batcher = Batcher(sequences, plan.device)
    draws = RowDraws(plan.frame_input, sequences)
    as_validated, as_tested = (draws.validation(split_seed(plan.seed, number)),), draws.testing(plan.seed)
    parts = {"train": (split.train, as_validated), "validation": (split.validation, as_validated), "test": (split.test, as_tested)}
    scores = {
        part: tuple((np.mean([predict(head, batcher.taking(picks), rows) for picks in drawn], axis=0) * result.label_factor).tolist())
        for part, (rows, drawn) in parts.items()
    }
    return SplitOutcome(scores, result.kept_epoch, result.kept_because, result.curve)


def _spread(groups: Sequence[Mapping[int, Split]], plan: Plan, jobs: int, progress: Progress | None) -> list[SplitOutcome]:
    context = process_context([__name__, "vqafeat.store"])
    news: SimpleQueue[tuple[int, EpochRecord]] = context.SimpleQueue()
    try:
        with _pool(jobs, context, news) as pool:
            futures = [pool.submit(_work, group, plan) for group in groups]
            for number, record in _news_until_done(futures, news):
                if progress is not None:
                    progress(number, record)
            return [outcome for future in futures for outcome in future.result()]
    except BrokenProcessPool as error:
        raise TrainingError(
            f"a process of the fit was killed from outside, often for want of memory; try again with fewer --jobs than {jobs}."
        ) from error


@contextmanager
def _pool(jobs: int, context: BaseContext, news: "SimpleQueue[tuple[int, EpochRecord]]") -> Iterator[ProcessPoolExecutor]:
    """Lend a pool of workers; if anything goes wrong they end at once, whatever they are at, since nobody reads their news any more."""
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(news, theirs))
    try:
        yield pool
        pool.shutdown()
    finally:
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _news_until_done(
    futures: Sequence["Future[list[SplitOutcome]]"], news: "SimpleQueue[tuple[int, EpochRecord]]"
) -> Iterator[tuple[int, EpochRecord]]:
    open_futures = set(futures)
    while open_futures:
        done, open_futures = wait(open_futures, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        while not news.empty():
            yield news.get()
        for future in futures:
            if future in done:
                future.result()


_worker_news: "SimpleQueue[tuple[int, EpochRecord]] | None" = None


def _start_worker(news: "SimpleQueue[tuple[int, EpochRecord]]", parent: Connection) -> None:
    global _worker_news  # noqa: PLW0603 – a process pool gives its workers nothing else to keep things in
    torch.set_num_threads(1)
    _worker_news = news
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """End this process as soon as the parent closes its end of the pipe, or is gone itself."""
    parent.poll(None)
    os._exit(1)


def _work(group: Mapping[int, Split], plan: Plan) -> list[SplitOutcome]:
    assert _worker_news is not None
    news = _worker_news
    sequences = _opened(plan.open_store, plan.store_path, plan.feature_sets, plan.rows)
    return fit_group(sequences, group, plan, lambda split_number, record: news.put((split_number, record)))


@cache
def _opened(open_store: Callable[[Path], FeatureSource], path: Path, feature_sets: str, rows: tuple[int, ...]) -> Sequences:
    return load_sequences(open_store(path), feature_sets, rows)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
