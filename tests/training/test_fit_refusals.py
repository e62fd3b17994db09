"""What must not go wrong at size or midway: descriptors, errors beside long fits, finished runs, options that
a head has not.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.fits import FAST, SPLITS, files_of, small_fit
from tests.helpers.stores import tiny_features
from vqafeat.errors import ArgumentError, StoreError, TrainingError
from vqafeat.evaluation.evaluate import evaluate
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.training.batching import Batcher
from vqafeat.training.data import load_sequences

MakeStore = Callable[..., FeatureStore]


def test_more_videos_than_file_descriptors_are_fitted(make_store: MakeStore) -> None:
    store = make_store(60)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 12, hard))
    try:
        sequences = load_sequences(store, "tiny")
        batches = list(Batcher(sequences).batches([range(60)]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    expected = np.concatenate([tiny_features(number) for number in range(60)]).astype(np.float32)
    np.testing.assert_array_equal(batches[0].frames.numpy(), expected)
    assert sequences.lengths == tuple(len(tiny_features(number)) for number in range(60))


def test_an_error_ends_a_fit_beside_one_that_goes_on_long(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    chunk = store.path / "features" / "tiny" / "clip,19.mp4" / "values" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    poisoned = np.frombuffer(whole[:-4], dtype=np.float16).copy()
    poisoned[:] = np.nan
    long = Split(tuple(range(10)), tuple(range(10, 15)), (15, 16))
    failing = Split((17, 18, 19), (), (15, 16))
    start = time.monotonic()
    chunk.write_bytes(poisoned.tobytes() + whole[-4:])
    try:
        with pytest.raises(TrainingError, match=r"clip,19.mp4"):
            small_fit(
                store,
                tmp_path / "run",
                splits=[long, failing],
                overrides={**FAST["overrides"], "epochs": 100_000},
                jobs=2,
            )
    finally:
        chunk.write_bytes(whole)
    assert time.monotonic() - start < 90


def test_an_overwrite_that_cannot_start_leaves_the_finished_run(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    before = files_of(run.folder)
    too_small = Split(tuple(range(10)), (10, 11), (15, 16))
    with pytest.raises(TrainingError, match="the validation part has 2 video"):
        small_fit(make_store(), run.folder, splits=[SPLITS[0], too_small], overwrite=True)
    assert files_of(run.folder) == before


def test_options_that_a_head_or_a_machine_has_not_are_refused(make_store: MakeStore, tmp_path: Path) -> None:
    options = {"head": "no-time", "options": {"reduced": 4}}
    with pytest.raises(ArgumentError, match="pooling"):
        small_fit(
            make_store(), tmp_path / "run", **options, overrides={**FAST["overrides"], "pooling": "paper"}
        )
    for device in ("meta", "mps", "xpu", "cuda:-1"):
        with pytest.raises(
            ArgumentError, match=f"device is '{device}'; it has to be 'cpu', 'cuda' or 'cuda:NUMBER'"
        ):
            small_fit(make_store(), tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_measuring_where_training_videos_lie_is_noted(make_store: MakeStore, tmp_path: Path) -> None:
    run = small_fit(make_store(), tmp_path / "run")
    notes = evaluate(run.folder, make_store(name="other", digest="d2")).summary.notes
    assert any("20" in note and "training" in note for note in notes)
    with pytest.raises(StoreError):
        evaluate(run.folder, make_store(name="empty", missing=tuple(range(20))), skip_missing=True)
