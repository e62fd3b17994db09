"""CORAL distances against NumPy's covariance; subsets of videos against the sizes that the paper prints."""

import csv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tests.helpers.datasets import bare_dataset
from tests.helpers.image_sets import MakeSet
from tests.helpers.tables import MakeTable
from vqafeat.backbones.feature_set import FeatureExtractor, build_extractors
from vqafeat.datasets import Dataset, load_dataset, load_manifest
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.evaluation.model import Model
from vqafeat.paper_tables.cells.runs import SubsetCell
from vqafeat.paper_tables.figures import plot_table
from vqafeat.paper_tables.format import cell_text
from vqafeat.paper_tables.load import load_table
from vqafeat.paper_tables.run import TableResult, check, run_table
from vqafeat.paper_tables.sources import DemoStores, FeatureStores, FitCache
from vqafeat.paper_tables.table import PaperTable, TableFit, Task
from vqafeat.pretraining.coral import image_features, image_paths
from vqafeat.store import FeatureStore
from vqafeat.store.types import FrameTable, VideoFeatures

pytestmark = pytest.mark.usefixtures("tiny_backbone")
VIDEO_SETS = ["konvid", "live-vqc"]


def stored(folder: Path, name: str, extractor: FeatureExtractor) -> np.ndarray:
    """Make a store of random rows and return the (video, channel) means."""
    random, means = np.random.default_rng(len(name)), []
    videos = [f"{number}.mp4" for number in range(6)]
    store = FeatureStore.create(folder / f"{name}.zarr", bare_dataset(videos, name))
    store.add_feature_set("tiny", extractor.identity)
    for video in videos:
        values = random.normal(size=(4, extractor.identity.channels)).astype(np.float16)
        store.write_frames(video, FrameTable(np.arange(4) / 25, {"sha256": video}))
        store.write_features("tiny", video, VideoFeatures(values, np.arange(4, dtype=np.int32)), video)
        means.append(values.astype(np.float64).mean(0))
    return np.stack(means)


def study_of_distances(make_table: MakeTable, printed: str) -> PaperTable:
    columns = [
        {"name": "one set to videos", "coral": {"images": ["koniq"]}},
        {"name": "two sets to videos", "coral": {"images": ["koniq", "spaq"]}},
    ]
    run = {"datasets": VIDEO_SETS, "features": "tiny", "kind": "coral", "measure": "distance"}
    rows = [{"name": "tiny", "published": printed}]
    return make_table(rows, columns, run=run, plot="bars", digits=2, tolerance={"distance": 1e-5})


def test_run_table__coral_distance_takes_images_and_videos_together(
    make_table: MakeTable, make_set: MakeSet, tmp_path: Path
) -> None:
    (extractor,) = build_extractors(["tiny"], {"tiny": "random:3"})
    videos = np.concatenate([stored(tmp_path, name, extractor) for name in VIDEO_SETS])
    sets = {name: make_set(images, name).parent for name, images in (("koniq", 7), ("spaq", 5))}
    given = {name: str(folder / "images.csv") for name, folder in sets.items()}
    own = [
        image_features("", image_paths(f"{name}={path}")[1], extractor, torch.device("cpu")).values
        for name, path in given.items()
    ]

    def distance(images: np.ndarray) -> float:
        difference = np.cov(images, rowvar=False) - np.cov(videos, rowvar=False)
        return float(np.linalg.norm(difference) ** 2 / (4 * images.shape[1] ** 2))

    def filled(images: dict[str, str], weights: str) -> TableResult:
        table = study_of_distances(make_table, f"1e-6 {distance(np.concatenate(own)) + 2e-5:.6e}")
        return run_table(
            table, FitCache(FeatureStores(tmp_path), tmp_path, images=images, weights={"tiny": weights})
        )

    result = filled(given, "random:3")
    assert [actual.value for actual in result.cells] == pytest.approx(
        [distance(own[0]), distance(np.concatenate(own))], rel=1e-6
    )
    assert (
        "koniq + spaq to konvid + live-vqc: 12 and 12 samples of 32 channels"
        in result.cells[1].measured.notes
    )  # type: ignore[union-attr]
    assert "−2.00e-05" in cell_text(result.cells[1], 2)
    assert len(check(result)[1]) == 2
    assert plot_table(result, tmp_path / "plots")[0].read_bytes().startswith(b"\x89PNG")
    lacking = filled({"koniq": given["koniq"]}, "random:3")
    assert lacking.reasons == ("no images of spaq; name them with --images spaq=FOLDER",)
    assert np.isfinite(lacking.cells[0].value)
    other = filled(given, "random:4")
    assert len(other.failures) == 2
    assert all("are of different weights" in failure for failure in other.failures)


def test_table_of__a_coral_distance_names_its_images(make_table: MakeTable) -> None:
    run = {"datasets": "konvid", "features": "resnet50", "kind": "coral", "measure": "distance"}
    with pytest.raises(DatasetError, match=r"\[coral\]: missing key 'images'; add it"):
        make_table([{"name": "a"}], [{"name": "b"}], run=run)


class _Labels(FeatureStores):
    """Real label lists without features; the sizes of frames are those of the benchmark's metadata."""

    def __init__(self, folder: Path, ugc: str) -> None:
        super().__init__(folder)
        self.lists = {"konvid": "KoNViD-1kinfo.mat", "live-vqc": "LIVE-VQCinfo.mat", "youtube-ugc": ugc}
        self.folder = folder
        self.dataset, self.size = cache(self._dataset), cache(self._size)

    def sources(self, datasets: Sequence[str]) -> list[Any]:
        return [SimpleNamespace(dataset=self.dataset(name), source=self.size(name)) for name in datasets]

    def _dataset(self, name: str) -> Dataset:
        return load_dataset(
            name,
            self.folder,
            self.lists[name] if self.lists[name] == "1323" else self.folder / self.lists[name],
        )

    def _size(self, name: str) -> Callable[[str], dict[str, int]]:
        file = {"konvid": "KONVID_1K", "live-vqc": "LIVE_VQC", "youtube-ugc": "YOUTUBE_UGC"}[name]
        canonical = load_manifest(name).files.canonical
        with (self.folder / f"{file}_metadata.csv").open() as lines:
            rows = {canonical(next(iter(row.values()))): row for row in csv.DictReader(lines)}
        return lambda video: {side: int(float(rows[video][side])) for side in ("width", "height")}


@pytest.mark.parametrize(
    ("ugc", "sizes"),
    [
        (
            "1323",
            {
                "1080p": 427,
                "720p": 566,
                "<=480p": 448,
                "Animation": 82,
                "Gaming": 161,
                "low": 1558,
                "high": 1550,
            },
        ),
        (
            "YouTube-UGCinfo.mat",
            {
                "1080p": 366,
                "720p": 539,
                "<=480p": 399,
                "Animation": 68,
                "Gaming": 135,
                "low": 1469,
                "high": 1458,
            },
        ),
    ],
)
def test_subset_cell__groups_have_the_sizes_of_the_paper(
    shared_data: Path, ugc: str, sizes: dict[str, int]
) -> None:
    fits = FitCache(_Labels(shared_data / "labels", ugc), shared_data)
    actual = {}
    for name in ("li-7", "li-8", "li-9"):
        for cell in load_table(name).cells:
            if cell.request and cell.kind == "subset":
                actual[cell.options.name] = len(cell.options.group(Task(cell.request, cell.measure, fits)))
    assert actual == sizes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 0.5}, "threshold is 0.5; it has to be above 1 and at most 5, or median"),
        ({"threshold": 3, "by": "resolution"}, "threshold is 3.0; leave it out, or group by quality"),
        ({"calibration": "videval"}, "calibration: 'videval' must be 'range' or 'inlsa'"),
    ],
)
def test_subset_cell__refuses_wrong_options(
    make_table: MakeTable, options: dict[str, Any], words: str
) -> None:
    row = {"name": "a", "kind": "subset", "subset": {"by": "quality", "name": "low", **options}}
    with pytest.raises(DatasetError, match=words):
        make_table([row])


def test_subset_cell__calibrates_known_data_sets_alone(tmp_path: Path) -> None:
    cell = SubsetCell("quality", "low", calibration="inlsa")
    task = Task(
        TableFit("resnet50", datasets=("konvid", "lsvq")),
        "srocc",
        FitCache(FeatureStores(tmp_path), tmp_path),
    )
    with pytest.raises(
        ArgumentError, match="calibration is inlsa, which has no line for lsvq; it is known for"
    ):
        cell.lines(task)


@pytest.mark.parametrize(
    ("threshold", "least_high"), [(None, 3.0), (2.0, 2.0)], ids=["middle of the range", "threshold"]
)
def test_subset_cell__divides_quality_at_the_middle_or_a_threshold(
    stores: Path, tmp_path: Path, threshold: float | None, least_high: float
) -> None:
    fits = FitCache(FeatureStores(stores), tmp_path)
    task = Task(TableFit("resnet18", datasets=("konvid",)), "srocc", fits)
    low, high = (SubsetCell("quality", name, threshold=threshold).group(task) for name in ("low", "high"))
    # the range of the labels, 0.8 to 3.3, becomes 1 to 5
    scaled = {
        video.name: 1 + 4 * (video.mos - 0.8) / 2.5
        for video in FeatureStore.open(stores / "konvid.zarr").dataset.videos
    }
    assert low == {name for name, label in scaled.items() if label < least_high}
    assert high == set(scaled) - low
    assert low
    assert high


@pytest.mark.parametrize(
    ("datasets", "member", "known"),
    [("konvid", "konvid", "konvid"), (VIDEO_SETS, "lsvq", "konvid, live-vqc")],
    ids=["one data set", "another data set"],
)
def test_fit_cell__refuses_a_member_that_is_none(
    make_table: MakeTable, stores: Path, tmp_path: Path, datasets: Any, member: str, known: str
) -> None:
    table = make_table([{"name": "a", "datasets": datasets, "fit": {"member": member}}])
    (failure,) = run_table(table, FitCache(FeatureStores(stores), tmp_path)).failures
    assert f"member is '{member}'; name one of several data sets, here {known}." in failure
    assert not list(tmp_path.iterdir()), "nothing was trained"


def test_part_cell__measures_the_videos_of_another_official_part(
    make_table: MakeTable, stores: Path, tmp_path: Path
) -> None:
    part = {"kind": "part", "part": {"name": "test-1080p"}}
    table = make_table([{"name": "a", "head": "no-time", **part}], run={"protocol": "official", "splits": 1})
    demo = DemoStores(FeatureStore.open(stores / "demo.zarr"))
    result = run_table(table, FitCache(demo, tmp_path))
    measured = result.cells[0].measured
    assert measured is not None, result.failures
    (source,) = demo.sources(["konvid"])
    videos = [video for video in source.dataset.videos if video.split == "test-1080p"]
    model = Model.load(measured.runs[0])
    scores = [model.score(source.read("resnet18", video.name).values) for video in videos]
    assert measured.videos == len(videos) == 8
    expected = spearmanr(scores, [video.mos for video in videos]).statistic
    assert measured.spread.values == pytest.approx((expected,))
