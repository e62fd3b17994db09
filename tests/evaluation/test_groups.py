"""The metrics of groups of videos: SciPy on the rows of each group, the borders of Li et al. on the published
sizes, and refusals.
"""

import csv
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.helpers.fits import small_fit
from tests.helpers.stores import MakeStore, identity, tiny_dataset, tiny_features
from vqafeat.datasets import Dataset, Video
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.evaluation.evaluate import Evaluation, Prediction, evaluate, summarise
from vqafeat.evaluation.groups import Groups, evaluate_groups, group_videos
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures

# Lists and sizes that were published: KoNViD-1k, LIVE-VQC, YouTube-UGC
SIZES = ("KONVID_1K_metadata.csv", "LIVE_VQC_metadata.csv", "YOUTUBE_UGC_metadata.csv")


class Sized:
    """A store that knows sizes alone."""

    path = Path("sized")

    def __init__(self, dataset: Dataset, sizes: dict[str, tuple[int, int]]) -> None:
        self.dataset, self.sizes = dataset, sizes

    def source(self, video: str) -> dict[str, Any] | None:
        width, height = self.sizes[video]
        return {"sha256": "0", "width": width, "height": height}


def dataset_of(names: list[str], name: str = "tiny", parts: list[str | None] | None = None) -> Dataset:
    split = parts or [None] * len(names)
    videos = tuple(
        Video(item, 1.0 + row % 5, item, part)
        for row, (item, part) in enumerate(zip(names, split, strict=True))
    )
    return Dataset(name, name, "MOS", (1.0, 5.0), videos, "list", "d1")


def evaluation_of(dataset: Dataset, tests: list[list[str]], mapping: str = "none") -> Evaluation:
    rng, mos = np.random.default_rng(3), {video.name: video.mos for video in dataset.videos}
    rows = tuple(
        Prediction(number, "test", name, name, mos[name], mos[name] + float(rng.normal()))
        for number, test in enumerate(tests)
        for name in test
    )
    return Evaluation("by hand", summarise(rows, len(tests), mapping, []), rows, mapping)


def groups_by(
    name: str, dataset: Dataset, sizes: dict[str, tuple[int, int]] | None = None, **more: Any
) -> Groups:
    source: Any = Sized(dataset, sizes or {})
    return group_videos(name, source, [video.name for video in dataset.videos], **more)


def test_evaluate_groups__measures_each_group_head_by_head() -> None:
    names = [f"v{row}" for row in range(12)]
    dataset = dataset_of(names)
    sizes = {name: (1920, 1080) if row % 2 else (1280, 720) for row, name in enumerate(names)}
    evaluation = evaluation_of(dataset, [names[:10], names[2:]])
    result = evaluate_groups(evaluation, Sized(dataset, sizes), "resolution")  # type: ignore[arg-type]
    assert [(group.name, group.videos, group.summary.n) for group in result.groups] == [
        ("1080p", 6, (5, 5)),
        ("720p", 6, (5, 5)),
    ]
    for group, parity in zip(result.groups, (1, 0), strict=True):
        for head in range(2):
            rows = [
                row
                for row in evaluation.predictions
                if row.split == head and int(row.video[1:]) % 2 == parity
            ]
            predicted, mos = np.array([row.prediction for row in rows]), np.array([row.mos for row in rows])
            assert group.summary.srocc.values[head] == pytest.approx(spearmanr(predicted, mos).statistic)
            assert group.summary.rmse.values[head] == pytest.approx(np.sqrt(np.mean((predicted - mos) ** 2)))
        assert group.summary.srocc.mean == pytest.approx(np.mean(group.summary.srocc.values))


def test_evaluate_groups__of_another_label_scale_have_no_rmse_either(
    make_store: MakeStore, tmp_path: Path
) -> None:
    run, other = small_fit(make_store(), tmp_path / "run"), make_store(name="other")
    for mapping in ("none", "logistic-increasing"):  # too few videos for the latter
        evaluation = evaluate(run.path, other, mapping=mapping)
        groups = evaluate_groups(evaluation, other, "quality", quality_threshold=2.0).groups
        assert [(group.name, group.videos > 3) for group in groups] == [("low", True), ("high", True)]
        for summary in (
            *(group.summary for group in groups),
            evaluate(run.path, other, mapping="none").summary,
        ):
            for measure in ("rmse", "rmse_plain", "rmse_calibrated"):
                assert np.isnan(getattr(summary, measure).values).all()
            assert np.isfinite(summary.srocc.values).all()


def test_evaluate_groups__fewer_than_three_videos_are_a_note(tmp_path: Path) -> None:
    names = [f"v{row}" for row in range(8)]
    (tmp_path / "g.csv").write_text(
        "video,group\n" + "".join(f"v{row},{'rare' if row < 3 else 'common'}\n" for row in range(7)) + "v7,\n"
    )
    dataset = dataset_of(names)
    evaluation = evaluation_of(dataset, [names, names[1:]], "logistic")
    rare, common = evaluate_groups(evaluation, Sized(dataset, {}), str(tmp_path / "g.csv")).groups  # type: ignore[arg-type]
    assert (rare.name, rare.videos, rare.summary.n) == ("rare", 3, (3, 2))
    assert isnan(rare.summary.srocc.values[1])
    assert rare.summary.srocc.mean == rare.summary.srocc.values[0]
    assert rare.summary.notes == (
        "split 0: 3 videos are too few for the mapping 'logistic', which needs 4",
        "split 1: not measured, as fewer than 3 of the videos are in the test part",
    )
    assert (common.summary.n, common.videos) == ((4, 4), 4)
    assert evaluate_groups(evaluation, Sized(dataset, {}), str(tmp_path / "g.csv")).ungrouped == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "li", "short"),
    [
        ((1920, 1080), "1080p", "<=1080p"),
        ((1080, 1920), "other", "<=1080p"),
        ((1280, 720), "720p", "<=720p"),
        ((960, 540), "other", "<=720p"),
        ((854, 480), "other", "<=480p"),
        ((720, 480), "<=480p", "<=480p"),
        ((480, 640), "other", "<=480p"),
        ((320, 240), "<=480p", "<=480p"),
        ((3840, 2160), "other", ">1080p"),
    ],
)
def test_groups_by__resolution_and_short_side_have_the_stated_borders(
    size: tuple[int, int], li: str, short: str
) -> None:
    dataset = dataset_of(["v"])
    assert groups_by("resolution", dataset, {"v": size}).of == {"v": li}
    assert groups_by("short-side", dataset, {"v": size}).of == {"v": short}


def test_groups_by__resolution_classes_equal_table_7(shared_data: Path) -> None:
    sizes: dict[str, tuple[int, int]] = {}
    for file in SIZES:
        with (shared_data / "labels" / file).open(newline="") as lines:
            sizes |= {
                f"{file}-{row}": (int(float(cells["width"])), int(float(cells["height"])))
                for row, cells in enumerate(csv.DictReader(lines))
            }
    kinds = list(groups_by("resolution", dataset_of(list(sizes)), sizes).of.values())
    # the paper leaves 57 grey videos of YouTube-UGC out, which these lists hold and do not name
    surplus = [kinds.count("1080p") - 427, kinds.count("720p") - 566, kinds.count("<=480p") - 448]
    assert len(kinds) == 427 + 566 + 448 + kinds.count("other") + sum(surplus)
    assert min(surplus) >= 0
    assert sum(surplus) <= 57


def test_groups_by__class_comes_from_the_names_of_youtube_ugc(shared_data: Path) -> None:
    with (shared_data / "labels" / "YOUTUBE_UGC_metadata.csv").open(newline="") as lines:
        listed = {f"{row['vid']}.mkv": row["category"] for row in csv.DictReader(lines)}
    assert groups_by("class", dataset_of(list(listed), "youtube-ugc")).of == listed
    with pytest.raises(
        ArgumentError,
        match=r"1 of the 2 measured videos lack a content class in their name \(first: 17.mkv\); give the "
        r"path",
    ):
        groups_by("class", dataset_of(["Animation_1080P-05f8.mkv", "17.mkv"], "youtube-ugc"))
    for name in ("konvid", "mine"):
        with pytest.raises(
            ArgumentError,
            match=rf"by is 'class', but names in '{name}' do not contain .* \(those of youtube-ugc do\); "
            rf"give the",
        ):
            groups_by("class", dataset_of(["v"], name))


def test_groups_by__quality_is_divided_in_the_middle_or_at_a_label() -> None:
    dataset = dataset_of([f"v{row}" for row in range(5)])  # labels 1, 2, 3, 4, 5 on 1 to 5
    middle = groups_by("quality", dataset)
    assert [middle.of[f"v{row}"] for row in range(5)] == ["low", "low", "high", "high", "high"]
    assert middle.words == "low is MOS below 3, high is the rest"
    given = groups_by("quality", dataset, quality_threshold=3.5536)
    assert [given.of[f"v{row}"] for row in range(5)] == ["low", "low", "low", "high", "high"]
    with pytest.raises(
        ArgumentError,
        match=r"quality_threshold is 50; it has to be above 1 and at most 5, the range of 'tiny'",
    ):
        groups_by("quality", dataset, quality_threshold=50)


def test_groups_by__names_what_videos_lack(make_store: MakeStore) -> None:
    dataset = dataset_of(["a", "b"], parts=["test", None])
    with pytest.raises(ArgumentError, match=r"1 of the 2 measured videos lack an official part \(first: b\)"):
        groups_by("part", dataset)
    store = make_store()
    evaluation = evaluation_of(store.dataset, [[video.name for video in store.dataset.videos]])
    with pytest.raises(
        ArgumentError,
        match=r"20 of the 20 measured videos lack a stored size of frames \(first: clip,0.mp4\); extract "
        r"instead of importing, or give the path of a CSV",
    ):
        evaluate_groups(evaluation, store, "resolution")


def test_evaluate_groups__refuses_wrong_groupings_and_files(tmp_path: Path) -> None:
    dataset = dataset_of([f"v{row}" for row in range(4)])
    evaluation, source = evaluation_of(dataset, [[f"v{row}" for row in range(4)]]), Sized(dataset, {})
    path = tmp_path / "g.csv"

    def refused(kind: type[Exception], message: str, by: str = str(path), **more: Any) -> None:
        with pytest.raises(kind, match=message):
            evaluate_groups(evaluation, source, by, **more)  # type: ignore[arg-type]

    refused(UnknownNameError, r"unknown grouping 'resolutoin': did you mean resolution\?", "resolutoin")
    refused(
        ArgumentError,
        r"by is '.*g.csv', which does not exist; give the path of a CSV, or one of resolution, short-side",
    )
    path.mkdir()
    refused(ArgumentError, r"by is '.*g.csv', which is not a file; give the path of a CSV, or one of res")
    path.rmdir()
    refused(
        ArgumentError,
        r"quality_threshold is 3, but the groups are by 'part'; leave it out, or group by quality",
        "part",
        quality_threshold=3.0,
    )
    path.write_text("video,class\nv0,a\n")
    refused(ArgumentError, r"'.*g.csv' has the columns video,class; groups are a CSV with video,group")
    path.write_text("video,group\nv0,a\nv0,b\n")
    refused(
        ArgumentError,
        r"'.*g.csv' has more than one row for 1 video\(s\) \(first: v0\); keep one row per video",
    )
    path.write_text("video,group\nv0,a\nv1,a\nv2,b\n")
    refused(
        ArgumentError,
        r"1 of the 4 measured videos lack a row in '.*g.csv' \(first: v3\); add them, with an empty group "
        r"if they belong",
    )
    with pytest.raises(ArgumentError, match=r"of names the groups b, which are not in order \(a\); add them"):
        Groups("words", ("a",), {"v": "b"})


@pytest.fixture
def parted_store(tmp_path: Path) -> FeatureStore:
    return make_parted_store(tmp_path)


def make_parted_store(tmp_path: Path, copies: tuple[int, ...] = ()) -> FeatureStore:
    """Return a store of 20 videos in three official parts, with the sizes of their frames; two and two show
    one scene. The files of `copies` are the same one.
    """
    whole = tiny_dataset(20)
    parts = ["train"] * 9 + ["test"] * 5 + ["test-1080p"] * 6
    dataset = replace(
        whole,
        videos=tuple(replace(video, split=part) for video, part in zip(whole.videos, parts, strict=True)),
    )
    store = FeatureStore.create(tmp_path / "parted.zarr", dataset)
    store.add_feature_set("tiny", identity())
    for number, video in enumerate(dataset.videos):
        values = tiny_features(number)
        size = (
            {"width": 1920, "height": 1080}
            if parts[number] == "test-1080p"
            else {"width": 1280, "height": 720}
        )
        digest = "copied" if number in copies else f"{number:064}"
        store.write_frames(video.name, FrameTable(np.arange(len(values)) / 25, {"sha256": digest, **size}))
        store.write_features(
            "tiny", video.name, VideoFeatures(values, np.arange(len(values), dtype=np.int32)), digest
        )
    return FeatureStore.open(store.path)


OFFICIAL = [Split(tuple(range(6)), (6, 7, 8), tuple(range(9, 14)))]


def test_evaluate__measures_the_other_official_part_with_the_same_head(
    parted_store: FeatureStore, tmp_path: Path
) -> None:
    run = small_fit(parted_store, tmp_path / "run", splits=OFFICIAL)
    # the same fit, tested on the other part: a fit of its own says what to expect
    other = small_fit(
        parted_store, tmp_path / "other", splits=[Split(tuple(range(6)), (6, 7, 8), tuple(range(14, 20)))]
    )
    result = evaluate(run.path, parted_store, part="test-1080p")
    assert result.measured_on == "all 6 videos of the official part 'test-1080p' of 'tiny'"
    expected = {row.video: row.prediction for row in other.predictions if row.part == "test"}
    assert {row.video: row.prediction for row in result.predictions} == pytest.approx(expected, abs=1e-5)
    assert result.summary.srocc.values == pytest.approx(other.metrics.srocc.values)
    same = evaluate(run.path, parted_store, part="test")
    assert [row.video for row in same.predictions] == [
        row.video for row in evaluate(run.path, parted_store).predictions
    ]
    by_size = evaluate_groups(result, parted_store, "resolution").groups
    assert [(group.name, group.videos) for group in by_size] == [("1080p", 6)]
    assert [group.name for group in evaluate_groups(result, parted_store, "part").groups] == ["test-1080p"]


def test_evaluate__refuses_videos_on_which_a_head_was_fitted(
    parted_store: FeatureStore, make_store: MakeStore, tmp_path: Path
) -> None:
    run = small_fit(parted_store, tmp_path / "run", splits=OFFICIAL).path
    with pytest.raises(
        ArgumentError,
        match=r"9 of the 9 videos of the part 'train' were in the training or validation part of the run's "
        r"head 0 \(first: clip,0.mp4\)",
    ):
        evaluate(run, parted_store, part="train")
    mixed = small_fit(
        parted_store, tmp_path / "mixed", splits=[*OFFICIAL, Split((0, 15), (16, 17, 18), (10, 19))]
    ).path
    with pytest.raises(
        ArgumentError,
        match=r"4 of the 6 videos of the part 'test-1080p' were in .* head 1 \(first: clip,15.mp4\)",
    ):
        evaluate(mixed, parted_store, part="test-1080p")
    with pytest.raises(
        ArgumentError,
        match=r"no video of 'tiny' is in the official part 'test-4k'; its label list has train 9, test 5, "
        r"test-1080p 6",
    ):
        evaluate(run, parted_store, part="test-4k")
    with pytest.raises(
        ArgumentError,
        match=r"no video of 'other' is in the official part 'test'; its label list has no parts",
    ):
        evaluate(run, make_store(name="other"), part="test")


def test_evaluate__notes_what_flatters_a_measured_part(parted_store: FeatureStore, tmp_path: Path) -> None:
    # clip 9 is tested and shows the scene of clip 8
    leaking = small_fit(parted_store, tmp_path / "leaking", splits=[Split((0, 1, 8), (), (14, 15, 16))]).path
    (note,) = evaluate(leaking, parted_store, part="test").summary.notes
    assert note.startswith("content leaks in 1 of 1 splits: up to 1 of 5 test videos (1 of 3 contents)")
    assert evaluate(leaking, parted_store, part="test-1080p").summary.notes == ()
    overrides = {"epochs": 2, "select": "test"}
    selected = small_fit(parted_store, tmp_path / "selected", splits=OFFICIAL, overrides=overrides).path
    assert any("select=test" in note for note in evaluate(selected, parted_store, part="test").summary.notes)
    assert evaluate(selected, parted_store, part="test-1080p").summary.notes == ()


def test_evaluate__notes_copies_of_training_videos_in_a_part(tmp_path: Path) -> None:
    store = make_parted_store(tmp_path, copies=(0, 12))
    run = small_fit(store, tmp_path / "run", splits=[Split((0, 1), (), (14, 15, 16))]).path
    content, copies = evaluate(run, store, part="test").summary.notes
    assert "up to 2 of 5 test videos" in content  # clip 13 shows the scene of clip 12
    assert copies.startswith(
        "1 pair(s) of byte-identical videos are in training and in another part of a split"
    )
    assert "clip,0.mp4 = clip,12.mp4" in copies
    assert evaluate(run, store, part="test-1080p").summary.notes == ()
