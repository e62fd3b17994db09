"""Splits against the released permutations, recorded test parts and sets made by hand; leaks by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vqafeat.datasets import Dataset, Video, load_dataset
from vqafeat.errors import ArgumentError, DatasetError, UnknownNameError
from vqafeat.splits import (
    SPLIT_PROTOCOLS,
    Rounding,
    Split,
    content_split,
    leak_notes,
    leakage,
    leakage_of_files,
    make_split,
    official_split,
    parse_ratio,
    shared_contents,
    stored_split,
    video_split,
)

NAMES = [f"v{number:03d}.mp4" for number in range(100)]


def made(
    contents: list[str], splits: list[str] | None = None, permutations: np.ndarray | None = None
) -> Dataset:
    parts = splits or [None] * len(contents)
    videos = tuple(
        Video(f"v{row:03d}", 1.0 + row, content, part)
        for row, (content, part) in enumerate(zip(contents, parts, strict=True))
    )
    return Dataset(
        "made", "Made", "MOS", (0.0, 1000.0), videos, "list", "d" * 64, stored_permutations=permutations
    )


# --- Split and ratio


def test_split__refuses_wrong_values() -> None:
    assert Split((0, 1), (), (2,)).sizes == (2, 0, 1)
    with pytest.raises(
        DatasetError, match="split of 0/1/1 rows: training and test part need at least one row"
    ):
        Split((), (0,), (1,))
    with pytest.raises(DatasetError, match="split of 1/1/0 rows"):
        Split((0,), (1,), ())
    with pytest.raises(
        DatasetError, match="names only 2 different ones; training, validation and test must be disjoint"
    ):
        Split((0,), (1,), (0,))
    with pytest.raises(DatasetError, match="names row -1; rows are counted from 0"):
        Split((-1,), (), (0,))


def test_ratio__parses_and_refuses() -> None:
    assert parse_ratio("60/20/20") == (60, 20, 20)
    assert parse_ratio("80/20") == (80, 0, 20)
    for text in ("80", "a/b", "60/20/10/10", "-80/180", "0.8/0.2"):
        with pytest.raises(ArgumentError, match="must be train/validation/test or train/test in percent"):
            parse_ratio(text)
    for text in ("60/20/30", "100/0", "0/50/50"):
        with pytest.raises(ArgumentError, match="in percent of 100"):
            parse_ratio(text)


@pytest.mark.parametrize(
    ("count", "rounding", "sizes"),
    # The released expressions, evaluated by hand in double precision: 1 - 0.2 - 0.2 is 0.6000000000000001.
    [
        (1200, "ceil", (721, 239, 240)),
        (1200, "int", (720, 240, 240)),
        (234, "ceil", (141, 47, 46)),
        (234, "int", (140, 47, 47)),
    ],
)
def test_cuts__equal_the_released_code(count: int, rounding: Rounding, sizes: tuple[int, int, int]) -> None:
    permutations = np.random.default_rng(0).permutation(count)[:, None]
    assert stored_split(permutations, 0, "60/20/20", rounding).sizes == sizes


@pytest.mark.parametrize("ratio", ["60/20/20", "80/20", "40/30/30", "70/15/15", "55/15/30", "34/33/33"])
def test_cuts__int_is_of_the_exact_shares(ratio: str) -> None:
    train, validation, _ = parse_ratio(ratio)
    for count in range(4, 400):
        sizes = stored_split(np.arange(count)[:, None], 0, ratio).sizes
        first, second = Fraction(train * count, 100), Fraction((train + validation) * count, 100)
        assert (sizes[0], sizes[0] + sizes[1]) == (int(first), int(second))


# --- stored


def test_stored_split__takes_the_column_and_refuses_absent_runs() -> None:
    permutations = np.array([[4, 0], [3, 1], [2, 2], [1, 3], [0, 4]])
    assert stored_split(permutations, 0) == Split((2, 3, 4), (1,), (0,))
    assert stored_split(permutations, 1) == Split((0, 1, 2), (3,), (4,))
    assert stored_split(permutations, 1, "80/20") == Split((0, 1, 2, 3), (), (4,))
    with pytest.raises(ArgumentError, match="run 2 is not among the 2 stored permutations; use 0 to 1"):
        stored_split(permutations, 2)
    with pytest.raises(
        DatasetError,
        match=r"has no stored permutations in its label list 'list'; extract with the released one, "
        r"--labels",
    ):
        make_split(made(["a", "b"]), "stored")


@pytest.mark.parametrize(
    ("letter", "name", "file"),
    [
        ("C", "cvd2014", "CVD2014info.mat"),
        ("K", "konvid", "KoNViD-1kinfo.mat"),
        ("L", "live-qualcomm", "LIVE-Qualcomminfo.mat"),
        ("N", "live-vqc", "LIVE-VQCinfo.mat"),
        ("Y", "youtube-ugc", "YouTube-UGCinfo.mat"),
    ],
)
def test_stored_split__gives_the_recorded_test_labels_of_li_et_al(
    shared_data: Path, letter: str, name: str, file: str
) -> None:
    dataset = load_dataset(name, labels=shared_data / "labels" / file)
    mos = np.array([video.mos for video in dataset.videos])
    with np.load(shared_data / "recorded" / "li2022_predictions.npz") as recorded:
        for run in range(20):
            split = make_split(dataset, "stored", run)
            np.testing.assert_allclose(
                mos[list(split.test)], recorded[f"{letter}/{run:02d}/sq"].ravel(), rtol=1e-6
            )
            assert sum(split.sizes) == len(mos)


def test_make_split__stored_cuts_konvid_as_vsfa(shared_data: Path) -> None:
    dataset = load_dataset("konvid", labels=shared_data / "labels" / "KoNViD-1kinfo.mat")
    assert make_split(dataset, "stored", rounding="ceil").sizes == (721, 239, 240)
    assert make_split(dataset, "stored", rounding="int").sizes == (720, 240, 240)


# --- seeded


def as_names(split: Split, names: list[str]) -> list[set[str]]:
    return [{names[row] for row in part} for part in (split.train, split.validation, split.test)]


def test_video_split__follows_seed_and_names_and_not_the_order_of_rows() -> None:
    split = video_split(NAMES, seed=3)
    assert split.sizes == (60, 20, 20)
    assert split == video_split(NAMES, seed=3)
    assert split != video_split(NAMES, seed=4)
    shuffled = [NAMES[row] for row in np.random.default_rng(9).permutation(100)]
    assert as_names(video_split(shuffled, seed=3), shuffled) == as_names(split, NAMES)
    assert video_split(NAMES, seed=3, ratio="80/20").sizes == (80, 0, 20)


def test_video_split__is_the_numpy_permutation_of_the_sorted_names() -> None:
    sampled = np.random.default_rng(3).permutation(100)
    assert video_split(NAMES, seed=3) == Split(
        *(tuple(sorted(part.tolist())) for part in np.split(sampled, [60, 80]))
    )


def test_content_split__keeps_contents_whole_and_counts_contents() -> None:
    contents = [f"c{row % 45:02d}" for row in range(315)]
    split = content_split(contents, seed=1)
    assert split.sizes == (27 * 7, 9 * 7, 9 * 7)
    parts = as_names(split, contents)
    assert [len(part) for part in parts] == [27, 9, 9]
    assert len(parts[0] | parts[1] | parts[2]) == 45
    assert shared_contents(split, contents) == ()
    order = np.random.default_rng(5).permutation(315)
    shuffled = [contents[row] for row in order]
    assert as_names(content_split(shuffled, seed=1), shuffled) == parts
    assert content_split(contents, seed=1) != content_split(contents, seed=2)


def test_content_split__equals_video_split_where_contents_are_videos() -> None:
    assert content_split(NAMES, seed=7) == video_split(NAMES, seed=7)


def test_content_split__refuses_too_few_contents() -> None:
    assert content_split(["a", "a", "b", "c"], seed=0).sizes != (0, 0, 0)
    with pytest.raises(
        DatasetError, match=r"2 contents cannot be divided 60/20/20 by content \(1/0/1\); use --ratio 80/20"
    ):
        content_split(["a", "b", "a"], seed=0)
    with pytest.raises(
        DatasetError, match=r"1 contents cannot be divided 80/20 by content \(0/0/1\); use --protocol video"
    ):
        content_split(["a", "a"], seed=0, ratio="80/20")


def test_shared_contents__are_named() -> None:
    assert shared_contents(Split((0, 1), (2,), (3, 4)), ["a", "b", "c", "b", "c"]) == ("b",)


def test_make_split__video_level_splits_leak_content_and_grouped_do_not(shared_data: Path) -> None:
    dataset = load_dataset("cvd2014", labels=shared_data / "labels" / "CVD2014info.mat")
    contents = [video.content for video in dataset.videos]
    assert len(shared_contents(make_split(dataset, "stored"), contents)) == 5
    split = make_split(dataset, "content", 1)
    assert shared_contents(split, contents) == ()
    assert [len({contents[row] for row in part}) for part in (split.train, split.validation, split.test)] == [
        3,
        1,
        1,
    ]


# --- official


def test_official_split__takes_validation_from_training() -> None:
    splits = ["train"] * 10 + ["test"] * 3 + ["test-1080p"] * 2 + [None]
    names = [f"n{row}" for row in range(16)]
    assert official_split(splits, names, seed=0) == Split(tuple(range(10)), (), (10, 11, 12))
    assert official_split(splits, names, seed=0, test_part="test-1080p").test == (13, 14)
    split = official_split(splits, names, seed=0, validation_share=0.25)
    assert split.sizes == (7, 3, 3)
    assert split == official_split(splits, names, seed=0, validation_share=0.25)
    assert set(split.train) | set(split.validation) == set(range(10))
    assert official_split(
        ["train", "validation", "test"], ["a", "b", "c"], seed=0, validation_share=0.5
    ) == Split((0,), (1,), (2,))


def test_official_split__rounds_the_exact_share_up() -> None:
    splits, names = ["train"] * 100 + ["test"] * 3, [f"n{row:03d}" for row in range(103)]
    for percent in range(1, 97):
        for count in (25, 50, 100):
            split = official_split(splits[-count - 3 :], names, 0, validation_share=percent / 100)
            assert len(split.validation) == -(-percent * count // 100)


def test_official_split__refuses_absent_parts() -> None:
    with pytest.raises(
        DatasetError, match=r"no video is in the official part train or test \(parts: none\); extract with"
    ):
        official_split([None, None], ["a", "b"], seed=0)
    with pytest.raises(DatasetError, match=r"official part test-1080p \(parts: train \(1\), test \(1\)\)"):
        official_split(["train", "test"], ["a", "b"], seed=0, test_part="test-1080p")
    with pytest.raises(ArgumentError, match=r"validation_share 1\.0 must be at least 0 and below 1"):
        official_split(["train", "test"], ["a", "b"], seed=0, validation_share=1.0)


# --- protocols


def test_split_protocols__each_splits_a_set_that_has_everything() -> None:
    permutations = np.stack([np.random.default_rng(run).permutation(20) for run in range(3)], axis=1)
    dataset = made([f"c{row // 2}" for row in range(20)], ["train"] * 14 + ["test"] * 6, permutations)
    for protocol in SPLIT_PROTOCOLS:
        split = make_split(dataset, protocol, 2)
        assert split.train
        assert split.test
        assert split == make_split(dataset, protocol, 2)
    assert make_split(dataset, "video", 2, seed=5) == video_split(
        [video.name for video in dataset.videos], seed=7
    )
    with pytest.raises(UnknownNameError, match="unknown split protocol 'contents': did you mean content"):
        make_split(dataset, "contents")


def test_make_split__refuses_a_wrong_ratio() -> None:
    with pytest.raises(ArgumentError, match="ratio '80' must be"):
        make_split(made(["a", "b"]), "video", ratio="80")


CONTENTS = ["a", "a", "b", "b", "b", "c", "d", "d"]


def test_leakage__counts_videos_and_contents_seen_in_training() -> None:
    # a is in training and test, b in validation and test, c in test alone
    report = leakage([Split((0, 6), (2,), (1, 3, 4, 5, 7))], CONTENTS)
    assert report["splits"] == [{"test_videos": 5, "seen_videos": 2, "test_contents": 4, "seen_contents": 2}]


def test_leakage__note_names_the_worst_split() -> None:
    splits = [Split((0,), (), (1, 2)), Split((0,), (), (1,)), Split((0,), (), (2, 3))]
    report = leakage(splits, CONTENTS)
    assert report["note"].startswith(
        "content leaks in 2 of 3 splits: up to 1 of 1 test videos (1 of 1 contents) were seen in training"
    )
    assert report["splits"][2] == {"test_videos": 2, "seen_videos": 0, "test_contents": 1, "seen_contents": 0}


def test_leakage__video_splits_leak_and_content_splits_do_not() -> None:
    contents = [f"c{row % 45}" for row in range(315)]
    assert leakage([content_split(contents, seed) for seed in range(5)], contents)["note"] == ""
    sampled = leakage([video_split([f"v{row}" for row in range(315)], 0)], contents)
    assert sampled["splits"][0]["seen_contents"] == sampled["splits"][0]["test_contents"]
    assert "1 of 1 splits: up to 63 of 63 test videos" in sampled["note"]


def test_leakage_of_files__byte_identical_videos_have_one_content() -> None:
    names = [f"v{row}" for row in range(8)]
    files = {"v0": "x", "v1": "x", "v2": "y", "v4": "y", "v5": "z", "v6": "x"}
    # v1 and v6 are copies of v0, v4 is one of v2; the file of v3 and v7 is not known
    contents = ["a", "b", "c", "d", "e", "f", "g", "h"]
    splits = [Split((0, 1, 2), (4,), (5, 6)), Split((6,), (), (0, 3, 7)), Split((0, 1, 6), (), (3, 7))]
    report = leakage_of_files(splits, contents, names, files)
    assert report["identical"]["pairs"] == [["v0", "v6"], ["v2", "v4"]]
    assert [leak["seen_videos"] for leak in report["splits"]] == [1, 1, 0]
    assert report["note"].startswith("content leaks in 2 of 3 splits: up to 1 of 2 test videos")
    assert leak_notes(report) == [report["note"], report["identical"]["note"]]
    assert ": v0 = v6, v2 = v4; the metrics are too good" in report["identical"]["note"]


def test_leakage_of_files__merges_the_contents_of_copies() -> None:
    # v1 is a copy of v0, and v4 of v3; so a, b and c show one scene, and d another
    names, contents = ["v0", "v1", "v2", "v3", "v4", "v5"], ["a", "b", "b", "b", "c", "d"]
    digests = dict(zip(names, ["x", "x", "", "y", "y", "z"], strict=True))
    for split, seen in (
        (Split((0, 1), (), (2, 5)), 1),
        (Split((0,), (), (4, 5)), 1),
        (Split((5,), (), (0, 4)), 0),
    ):
        (leak,) = leakage_of_files([split], contents, names, digests)["splits"]
        assert leak["seen_videos"] == leak["seen_contents"] == seen


def test_leakage_of_files__names_few_pairs_and_counts_all() -> None:
    names = [f"v{row}" for row in range(12)]
    files = {name: str(row % 6) for row, name in enumerate(names)}
    report = leakage_of_files([Split(tuple(range(6)), (), tuple(range(6, 12)))], names, names, files)
    assert report["identical"]["note"].startswith("6 pair(s) of byte-identical videos")
    assert "v0 = v6, v1 = v7, v2 = v8 and 3 more; " in report["identical"]["note"]


def test_leakage_of_files__is_leakage_without_copies_in_several_parts() -> None:
    names, split = [f"v{row}" for row in range(8)], Split((0, 6), (2,), (1, 3, 4, 5, 7))
    for files in ({}, {name: name for name in names}, {"v3": "x", "v4": "x"}):
        assert leakage_of_files([split], CONTENTS, names, files) == leakage([split], CONTENTS)
    assert leak_notes({}) == leak_notes(leakage([content_split(CONTENTS, 0)], CONTENTS)) == []
