"""CORAL cells of a table against NumPy's covariance of features computed one by one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.datasets import bare_dataset
from tests.helpers.image_sets import MakeSet
from tests.helpers.tables import MakeTable
from vqafeat.backbones.feature_set import FeatureExtractor, build_extractors
from vqafeat.errors import DatasetError
from vqafeat.paper_tables.figures import plot_table
from vqafeat.paper_tables.format import cell_text
from vqafeat.paper_tables.run import TableResult, check, run_table
from vqafeat.paper_tables.sources import FeatureStores, FitCache
from vqafeat.paper_tables.table import PaperTable
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
