"""The embedded data set in the place of all others."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.datasets import bare_dataset
from tests.helpers.tables import VIDEOS, make_store
from vqafeat.errors import StoreError
from vqafeat.heads import HEADS
from vqafeat.paper_tables import table_names
from vqafeat.paper_tables.figures import plot_table
from vqafeat.paper_tables.load import load_table
from vqafeat.paper_tables.run import run_table
from vqafeat.paper_tables.sources import DemoStores, FeatureStores, FitCache
from vqafeat.paper_tables.table import RequiredFeatures, TableFit
from vqafeat.store import FeatureStore

# one of each kind of cell; the slow test takes them all
QUICK = ["a2inet-figure-1b", "a2inet-figure-4", "li-figure-3", "li-figure-7a", "fontanel-figure-4"]
QUICK += ["li-7", "li-12", "fang-7"]


def small_stores(stores: Path) -> DemoStores:
    return DemoStores(FeatureStore.open(stores / "demo.zarr"))


def test_missing__counts_the_videos_that_lack_features(tmp_path: Path) -> None:
    store = FeatureStore.open(make_store(tmp_path, "konvid").path, writable=True)
    need = RequiredFeatures("konvid", "resnet18")
    assert FeatureStores(tmp_path).missing(need) == ""
    store.forget("clip3.mp4")
    words = f"konvid has features resnet18 of 47 of {VIDEOS} videos; --skip-missing uses these"
    assert FeatureStores(tmp_path).missing(need) == words
    assert FeatureStores(tmp_path, skip_missing=True).missing(need) == ""
    for video in store.complete_videos("resnet18"):
        store.forget(video)
    none = f"konvid has features resnet18 of 0 of {VIDEOS} videos"
    assert FeatureStores(tmp_path).missing(need) == none
    assert FeatureStores(tmp_path, skip_missing=True).missing(need) == none


def test_demo_stores__refuse_a_store_without_features(tmp_path: Path) -> None:
    empty = FeatureStore.create(tmp_path / "demo.zarr", bare_dataset(["a"], "demo"))
    with pytest.raises(StoreError, match=r"demo\.zarr' holds no features; run `vqafeat demo` first"):
        DemoStores(empty)


def test_demo_stores__several_data_sets_share_the_contents(stores: Path) -> None:
    parts = [source.dataset for source in small_stores(stores).sources(["cvd2014", "konvid", "lsvq"])]
    contents = [{video.content for video in part.videos} for part in parts]
    assert [len(own) for own in contents] == [4, 4, 4]
    assert len(set.union(*contents)) == 12
    assert sum(len(part.videos) for part in parts) == VIDEOS
    assert len({part.digest for part in parts}) == len({part.name for part in parts}) == 3
    assert {video.split for video in parts[0].videos} == {"train", "test", "test-1080p"}
    by_part = {(video.content, video.split) for video in parts[0].videos}
    assert len(by_part) == 4, "a content is in one official part"
    with pytest.raises(
        StoreError, match="'demo' has 12 contents, too few for 5 data sets; each needs at least 3"
    ):
        small_stores(stores).sources(["a", "b", "c", "d", "e"])


def test_adapt__makes_a_request_small(stores: Path) -> None:
    actual = small_stores(stores).adapt(
        TableFit(
            "iqa-resnet50+slowfast-fast", "a2inet", recipe="vsfa", protocol="stored", datasets=("konvid",)
        )
    )
    assert (actual.features, actual.protocol, actual.splits) == ("resnet18+resnet18-again", "content", 2)
    assert (actual.overrides, actual.options) == ({"epochs": 2}, {"width": 32})
    plain = small_stores(stores).adapt(TableFit("resnet50", "svr", splits=1, datasets=("konvid",)))
    assert (plain.features, plain.splits, plain.overrides) == ("resnet18", 1, {})
    assert set(HEADS) >= {"a2inet", "svr"}


def filled(name: str, stores: Path, runs: Path) -> None:
    result = run_table(load_table(name), FitCache(small_stores(stores), runs))
    assert not result.failures
    requested = [actual for actual in result.cells if not actual.cell.quoted]
    assert all(actual.measured is not None for actual in requested)
    # p of a paired test over two splits is not defined
    assert all(np.isfinite(actual.value) for actual in requested if actual.cell.measure != "p")
    assert "are not results: every data set is 'demo'" in result.words
    assert not result.missing
    written = plot_table(result, runs / "plots")
    assert bool(written) == bool(result.table.plot)
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", QUICK)
def test_run_table__fills_tables_of_several_kinds(name: str, stores: Path, tmp_path: Path) -> None:
    filled(name, stores, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", table_names())
def test_run_table__fills_every_table(name: str, stores: Path, tmp_path: Path) -> None:
    filled(name, stores, tmp_path)
