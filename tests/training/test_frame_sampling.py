"""Each rule of sampling against a loop over frames; draws that depend on seed, stage, epoch and name, and on
nothing else.
"""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.stores import tiny_features, tiny_sequences
from vqafeat.errors import ArgumentError, StoreError, UnknownNameError
from vqafeat.store import FeatureStore
from vqafeat.store.features import FeatureDataset, load_features
from vqafeat.store.types import VideoFeatures, uniform_frames
from vqafeat.training import ORDERS, SAMPLINGS
from vqafeat.training.batching import Batcher
from vqafeat.training.frame_sampling import (
    WHOLE_VIDEOS,
    FrameInput,
    FrameSampler,
    VideoRows,
    indices_in_testing,
    sampling_named,
)

FLOAT_NOISE = 1e-9


def video(count: int, seconds: list[float] | None = None) -> VideoRows:
    return VideoRows("clip.mp4", count, lambda: None if seconds is None else np.array(seconds))


def rows_of(sampling: str, count: int, seconds: list[float] | None = None) -> list[int]:
    rows = sampling_named(sampling).rows(video(count, seconds))
    assert rows is not None
    return rows.tolist()


@pytest.mark.parametrize("name", ["all", "sample-0", "rate-own"])
def test_all__takes_every_row_and_needs_no_times(name: str) -> None:
    assert sampling_named(name).rows(video(5)) is None
    assert sampling_named(name).draw(video(5), np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("count", "size"), [(48, 16), (49, 16), (50, 4), (7, 4), (4, 4), (3, 4), (1, 16), (240, 8)]
)
def test_sample__takes_one_frame_of_each_cube(count: int, size: int) -> None:
    cubes = []
    for first in range(0, count, size):
        whole = list(range(first, min(first + size, count)))
        cubes.append(whole if len(whole) == size else list(range(count))[-size:])
    seen: list[set[int]] = [set() for _ in cubes]
    generator = np.random.default_rng(1)
    for _ in range(600):
        frame_indices = sampling_named(f"sample-{size}").draw(video(count), generator)
        assert frame_indices is not None
        sampled = frame_indices.tolist()
        assert sampled == sorted(sampled)
        assert len(sampled) == len(cubes)
        # where the last two cubes overlap, the last one may have given the earlier row
        in_order = all(row in cube for row, cube in zip(sampled, cubes, strict=True))
        other_way = [*sampled[:-2], *reversed(sampled[-2:])]
        assert in_order or all(row in cube for row, cube in zip(other_way, cubes, strict=True))
        for row, rows_seen in zip(sampled if in_order else other_way, seen, strict=True):
            rows_seen.add(row)
    if count % size == 0:
        assert [sorted(rows_seen) for rows_seen in seen] == cubes


def test_sample__rows_of_a_cube_are_equally_likely() -> None:
    generator = np.random.default_rng(2)
    sampled = Counter(int(sampling_named("sample-4").draw(video(7), generator)[1]) for _ in range(4000))  # type: ignore[index]
    # the first cube is rows 0 to 3, the second one rows 3 to 6
    assert set(sampled) == {3, 4, 5, 6}
    assert all(abs(count - 1000) < 150 for count in sampled.values())


@pytest.mark.parametrize(("count", "step"), [(10, 3), (9, 3), (1, 5), (6, 1)])
def test_stride__takes_every_nth_row(count: int, step: int) -> None:
    assert rows_of(f"stride-{step}", count) == [row for row in range(count) if row % step == 0]


@pytest.mark.parametrize(("count", "number"), [(240, 128), (10, 3), (3, 10), (5, 5), (300, 1)])
def test_uniform__is_the_rule_of_extraction(count: int, number: int) -> None:
    assert rows_of(f"uniform-{number}", count) == uniform_frames(count, number)
    assert len(rows_of(f"uniform-{number}", count)) == min(count, number)


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(20), Fraction(10), Fraction(5), Fraction(30), Fraction(40)]
)
@pytest.mark.parametrize("own", [Fraction(30), Fraction(25), Fraction(30000, 1001)])
def test_rate__takes_the_nearest_frame_of_a_steady_video(rate: Fraction, own: Fraction) -> None:
    times = [1 + number / own for number in range(240)]
    expected, tick = [], Fraction(0)
    while tick < times[-1] - times[0] + 1 / own / 2:
        expected.append(min(range(240), key=lambda row: (abs(times[row] - times[0] - tick), row)))
        tick += 1 / rate
    assert rows_of(f"rate-{rate}", 240, [float(time) for time in times]) == expected
    if own == 30:
        assert len(expected) == 8 * rate


@pytest.mark.parametrize("rate", [25, 12.5, 5, 60, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_rate__takes_the_nearest_frame_of_an_unsteady_video(rate: float, seed: int) -> None:
    steps = np.random.default_rng(seed).uniform(0.005, 0.12, 90)
    times = np.concatenate([[0.7], 0.7 + np.cumsum(steps)]).tolist()
    rows, ticks = rows_of(f"rate-{rate:g}", 91, times), 0
    while ticks / rate < times[-1] - times[0] + np.median(steps) / 2 - FLOAT_NOISE:
        away = [abs(time - (times[0] + ticks / rate)) for time in times]
        assert away[rows[ticks]] <= min(away) + 2e-6
        ticks += 1
    assert len(rows) == ticks
    assert rows == sorted(rows)


@pytest.mark.parametrize("count", [2, 3, 8, 18, 43, 48])
def test_rate__rows_do_not_depend_on_when_the_video_starts(count: int) -> None:
    for own, rate in product((24, 25, 30, Fraction(30000, 1001)), (10, 20, 50, 60)):
        starts = (0.0, 0.04, 1 / 3, 1234.567)
        rows = [rows_of(f"rate-{rate}", count, [start + n / own for n in range(count)]) for start in starts]
        assert len(rows[0]) == max(ceil((count - Fraction(1, 2)) / own * rate), 1)
        assert rows == rows[:1] * 4


def test_rate__of_the_video_itself_keeps_all_frames_of_rounded_times() -> None:
    # Matroska rounds to milliseconds
    for own in (24, 25, 30, 50, 60):
        times = [round(number / own, 3) for number in range(300)]
        assert rows_of(f"rate-{own}", 300, times) == list(range(300))


def test_rate__of_very_short_videos() -> None:
    assert rows_of("rate-5", 1, [3.0]) == [0]
    assert rows_of("rate-10", 2, [0.0, 0.1]) == [0, 1]


def test_rate__refuses_videos_without_usable_times() -> None:
    with pytest.raises(
        StoreError,
        match=r"sampling is 'rate-25', but the times of the frames of 'clip.mp4' are not known, as of "
        r"imported .*`vqafeat extract`, or .*stride-2",
    ):
        rows_of("rate-25", 3)
    with pytest.raises(
        StoreError,
        match=r"sampling is 'rate-25', but the times of .* of 'clip.mp4' go back behind row 1; correct",
    ):
        rows_of("rate-25", 3, [0.0, 0.2, 0.1])
    with pytest.raises(StoreError, match=r"the times of the frames of 'clip.mp4' are all 0; correct"):
        rows_of("rate-25", 3, [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "wrong",
    [
        "every",
        "sample",
        "sample-",
        "sample-x",
        "stride-0",
        "uniform--3",
        "rate-",
        "all-3",
        "sample-4 ",
        "rate-1e3",
    ],
)
def test_sampling_named__refuses_unknown_samplings(wrong: str) -> None:
    with pytest.raises(
        ArgumentError,
        match=rf"sampling is '{wrong}'; it has to be all, sample-K, stride-N, uniform-N, rate-R, .*example "
        rf"sample-16",
    ):
        FrameInput(sampling=wrong)
    assert list(SAMPLINGS) == ["all", "sample-K", "stride-N", "uniform-N", "rate-R"]


def test_frame_input__refuses_wrong_values() -> None:
    assert list(ORDERS) == ["OO", "OS", "SO", "SS"]
    with pytest.raises(UnknownNameError, match=r"unknown order 'SX'"):
        FrameInput("SX")
    with pytest.raises(ArgumentError, match=r"sampling is 'rate-0'; it has to be .* with numbers above 0"):
        FrameInput(sampling="rate-0")
    with pytest.raises(ArgumentError, match=r"draws is 0; it has to be at least 1"):
        FrameInput("OS", draws=0)
    for order, sampling in (("OO", "all"), ("SO", "rate-5"), ("OO", "uniform-8")):
        with pytest.raises(
            ArgumentError,
            match=rf"draws is 3, but nothing is drawn in testing with order '{order}'.* set draws to 1",
        ):
            FrameInput(order, sampling, 3)
    assert FrameInput("OO", "sample-4", 3).words == (
        "order OO (trained and tested on frames in their original order), sampling sample-4, mean of 3 draws"
    )


def test_frame_input__survives_json() -> None:
    frame_input = FrameInput("SO", "sample-16", 2)
    assert frame_input.as_dict() == {
        "order": "SO",
        "sampling": "sample-16",
        "draws": 2,
        "order_reading": "first letter: training and validation, second letter: testing; O: original, S: "
        "shuffled",
    }


def test_tested_otherwise__changes_the_testing_side_alone() -> None:
    assert FrameInput("SO", "all").tested_otherwise({"order": "SS", "draws": 4}) == FrameInput("SS", "all", 4)
    assert FrameInput("OS", "all").tested_otherwise({}) == FrameInput("OS", "all")
    with pytest.raises(
        ArgumentError,
        match=r"order is 'SS', but the run was trained in order 'OS', .* use OO or OS, or fit again with "
        r"--order SS",
    ):
        FrameInput("OS").tested_otherwise({"order": "SS"})


# --- draws of the videos of a fit


def sampled(frame_indices: Callable[[int], Any], row: int) -> list[int]:
    rows = frame_indices(row)
    assert rows is not None
    return list(rows.tolist())


def test_frame_sampler__does_not_touch_whole_videos_in_order() -> None:
    draws = FrameSampler(WHOLE_VIDEOS, tiny_sequences(4))
    for frame_indices in (draws.training(3, 1), draws.validation(3), *draws.testing(3)):
        assert [frame_indices(row) for row in range(4)] == [None] * 4


def test_frame_sampler__shuffles_by_a_new_permutation_each_epoch() -> None:
    sequences = tiny_sequences(12)
    draws = FrameSampler(FrameInput("SS"), sequences)
    for row, length in enumerate(sequences.lengths):
        epochs = [sampled(draws.training(3, epoch), row) for epoch in range(1, 4)]
        assert all(sorted(order) == list(range(length)) for order in epochs)
        assert epochs == [
            sampled(FrameSampler(FrameInput("SS"), tiny_sequences(12)).training(3, epoch), row)
            for epoch in range(1, 4)
        ]
    long = int(np.argmax(sequences.lengths))
    orders = [
        *(sampled(draws.training(seed, epoch), long) for seed in (3, 4) for epoch in (1, 2, 3)),
        sampled(draws.validation(3), long),
        *(
            sampled(frame_indices, long)
            for frame_indices in FrameSampler(FrameInput("SS", draws=3), sequences).testing(3)
        ),
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_frame_sampler__every_permutation_is_as_likely() -> None:
    sequences = FeatureDataset(("a",), ("a",), np.zeros(1), (np.zeros((3, 1), np.float32),))
    frame_indices = [FrameSampler(FrameInput("SO"), sequences).training(0, epoch) for epoch in range(3000)]
    rows_seen = Counter(tuple(sampled(pick, 0)) for pick in frame_indices)
    assert len(rows_seen) == 6
    assert all(abs(count - 500) < 100 for count in rows_seen.values())


def test_frame_sampler__depends_on_the_video_and_not_on_its_row() -> None:
    whole = tiny_sequences(12)
    order = [7, 2, 11]
    part = FeatureDataset(
        tuple(whole.names[row] for row in order),
        tuple(whole.contents[row] for row in order),
        whole.mos[order],
        tuple(whole.features[row] for row in order),
    )
    frame_input = FrameInput("SS", "sample-4", 2)
    for index, row in enumerate(order):
        for many, few in (
            (FrameSampler(frame_input, whole).training(3, 5), FrameSampler(frame_input, part).training(3, 5)),
            *zip(
                FrameSampler(frame_input, whole).testing(3),
                FrameSampler(frame_input, part).testing(3),
                strict=True,
            ),
        ):
            assert sampled(many, row) == sampled(few, index)


def test_frame_sampler__samples_before_it_shuffles() -> None:
    sequences = tiny_sequences(12)
    long = int(np.argmax(sequences.lengths))
    shuffled = sampled(FrameSampler(FrameInput("SO", "stride-3"), sequences).training(1, 1), long)
    assert sorted(shuffled) == list(range(0, sequences.lengths[long], 3))
    assert shuffled != sorted(shuffled)
    taken = sampled(FrameSampler(FrameInput("SO", "sample-4"), sequences).training(1, 1), long)
    assert len(taken) == -(-sequences.lengths[long] // 4)
    assert FrameSampler(FrameInput("SS", "stride-3"), sequences).candidate_indices(long).tolist() == sorted(
        shuffled
    )  # type: ignore[union-attr]
    assert FrameSampler(FrameInput("SS", "sample-4"), sequences).candidate_indices(long) is None


def test_indices_in_testing__do_not_depend_on_folders() -> None:
    frame_input = FrameInput("OS", "sample-4", 2)
    stored = [
        rows.tolist()
        for rows in indices_in_testing(frame_input, VideoRows("set/a/clip.mp4", 30, lambda: None), 5)
        if rows is not None
    ]
    alone = [
        rows.tolist()
        for rows in indices_in_testing(frame_input, VideoRows("clip.mp4", 30, lambda: None), 5)
        if rows is not None
    ]
    assert stored == alone
    assert len(stored) == 2
    assert stored[0] != stored[1]


def test_batcher__takes_the_selected_rows() -> None:
    batcher = Batcher(tiny_sequences(5))
    whole = batcher.batch([3, 0]).frames.clone()
    frame_indices = {3: np.array([2, 0, 2]), 0: None}
    batch = batcher.taking(lambda row: frame_indices[row]).batch([3, 0])
    frames = [*(tiny_features(3)[row] for row in (2, 0, 2)), *tiny_features(0)]
    assert torch.equal(batch.frames, torch.tensor(np.array(frames, dtype=np.float32)))
    assert batch.lengths.tolist() == [3, len(tiny_features(0))]
    assert torch.equal(batcher.batch([3, 0]).frames, whole)


# --- times in a store


def test_seconds__are_those_of_the_frames_behind_the_rows(timed_store: FeatureStore) -> None:
    sequences = load_features(timed_store, "tiny+sparse")
    for row, name in enumerate(sequences.names):
        times = timed_store.seconds(name)
        assert times is not None
        rows_seen = sequences.seconds(row)
        assert rows_seen is not None
        assert rows_seen.tolist() == times[::2].tolist()
    rows = FrameSampler(FrameInput(sampling="rate-10"), sequences).candidate_indices(0)
    assert rows is not None
    times = timed_store.seconds(sequences.names[0])[::2]  # type: ignore[index]
    assert rows.tolist()[:3] == [int(np.argmin(abs(times - (times[0] + tick / 10)))) for tick in range(3)]


def test_seconds__imported_features_have_none(make_store: Callable[..., FeatureStore]) -> None:
    sequences = load_features(make_store(3), "tiny")
    assert sequences.seconds(0) is None
    with pytest.raises(StoreError, match=r"'clip,0.mp4' are not known"):
        FrameSampler(FrameInput(sampling="rate-5"), sequences).check()
    FrameSampler(FrameInput("SS", "sample-4"), sequences).check()


def test_seconds__refuse_rows_behind_the_last_time(timed_store: FeatureStore, tmp_path: Path) -> None:
    name = timed_store.dataset.videos[0].name
    length = len(tiny_features(0))
    writable = FeatureStore.open(timed_store.path, writable=True)
    late = np.arange(1, length + 1, dtype=np.int32)
    writable.write_features("tiny", name, VideoFeatures(tiny_features(0), late), "")
    with pytest.raises(
        StoreError,
        match=rf"features of 'clip,0.mp4' reach frame {length}, its frame times {length - 1}; extract",
    ):
        load_features(timed_store, "tiny").seconds(0)
