"""CORAL distances, against their formula, on stores and on images."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.datasets import bare_dataset
from tests.helpers.image_sets import MakeSet
from vqafeat.backbones.base import gap_gsp
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.errors import ArgumentError, DatasetError, IdentityError, StoreError
from vqafeat.pretraining.coral import (
    DomainFeatures,
    coral_distance,
    image_features,
    image_paths,
    mean_features,
    sample_evenly,
)
from vqafeat.pretraining.images import read_image
from vqafeat.store import FeatureStore
from vqafeat.store.types import FeatureSetIdentity, FrameTable, VideoFeatures

RANDOM = np.random.default_rng(0)
FIRST, SECOND = RANDOM.normal(size=(30, 6)), RANDOM.normal(3, 2, size=(40, 6))


def test_coral_distance__equals_its_formula() -> None:
    covariances = [(x - x.mean(0)).T @ (x - x.mean(0)) / (len(x) - 1) for x in (FIRST, SECOND)]
    first, second = DomainFeatures("a", FIRST), DomainFeatures("b", SECOND)
    assert coral_distance(first, second) == pytest.approx(
        np.linalg.norm(covariances[0] - covariances[1], "fro") ** 2 / (4 * 6**2), rel=1e-12
    )
    assert coral_distance(first, first) == 0
    moved = DomainFeatures("moved", FIRST + 7)
    assert coral_distance(first, moved) == pytest.approx(0, abs=1e-24)  # means do not count


def test_coral_distance__refuses_features_that_cannot_be_compared() -> None:
    with pytest.raises(
        ArgumentError, match="features of 6 and 5 channels cannot be compared; take them from one network"
    ):
        coral_distance(DomainFeatures("a", FIRST), DomainFeatures("b", SECOND[:, :5]))
    with pytest.raises(IdentityError, match=r"features of 'a' and 'b' are of different weights \(11…? ?"):
        coral_distance(DomainFeatures("a", FIRST, "11"), DomainFeatures("b", SECOND, "22"))
    assert coral_distance(DomainFeatures("a", FIRST, "11"), DomainFeatures("b", SECOND)) > 0
    with pytest.raises(
        ArgumentError, match=r"'a' has features of shape \(1, 6\); a covariance takes at least two samples"
    ):
        DomainFeatures("a", FIRST[:1])
    with pytest.raises(ArgumentError, match=r"'a' has 1 sample\(s\) with features that are not finite"):
        DomainFeatures("a", np.where(np.arange(30)[:, None] == 4, np.nan, FIRST))


def test_video_features__a_video_counts_with_its_mean(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "small.zarr", bare_dataset(["a", "b", "c"]))
    store.add_feature_set("tiny", FeatureSetIdentity("tiny", "ab", (), "", "", "", "", "", "", 4))
    rows = {
        name: RANDOM.normal(size=(5 + number, 4)).astype(np.float32) for number, name in enumerate(["a", "b"])
    }
    for name, values in rows.items():
        store.write_frames(name, FrameTable(np.arange(len(values)) / 25, {"sha256": name}))
        store.write_features(
            "tiny", name, VideoFeatures(values, np.arange(len(values), dtype=np.int32)), name
        )
    actual = mean_features(FeatureStore.open(store.path), "tiny")
    assert (actual.name, actual.weights_sha256) == ("small", "ab")
    np.testing.assert_allclose(actual.values, np.stack([rows["a"].mean(0), rows["b"].mean(0)]), rtol=1e-6)
    with pytest.raises(StoreError, match=r"feature set 'other' is not in .*small.zarr' \(there: tiny\)"):
        mean_features(FeatureStore.open(store.path), "other")


def test_image_features__equal_a_frame_in_the_extraction(make_set: MakeSet) -> None:
    name, paths = image_paths(f"mine={make_set(4)}")
    (extractor,) = build_extractors(["tiny"], {"tiny": "random:2"})
    actual = image_features(name, paths, extractor, torch.device("cpu"))
    assert (actual.name, actual.values.shape, actual.weights_sha256) == (
        "mine",
        (4, 32),
        extractor.loaded.weights_sha256,
    )
    variant = extractor.variant
    for path, row in zip(paths, actual.values, strict=True):
        frame = torch.from_numpy(np.array(read_image(path))).permute(2, 0, 1)[None] / 255
        scaled = (frame - torch.tensor(variant.mean).view(3, 1, 1)) / torch.tensor(variant.std).view(3, 1, 1)
        network = extractor.loaded.network
        expected = gap_gsp(network.layer4(network.conv1(scaled)))  # type: ignore[operator]
        np.testing.assert_allclose(row, expected[0].numpy(), rtol=1e-4, atol=1e-5)
    (clips,) = build_extractors(["slowfast-fast"], {"slowfast-fast": "random"})
    with pytest.raises(
        ArgumentError, match=r"--features slowfast-fast: 'slowfast-fast' processes clips of video"
    ):
        image_features(name, paths, clips, torch.device("cpu"))


def test_image_features__refuse_an_image_below_the_network_s_size(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "low.png")
    (extractor,) = build_extractors(["squeezenet1_0"], {"squeezenet1_0": "random"})
    with pytest.raises(
        ArgumentError, match=r"low\.png' is 40x20; 'squeezenet1_0' needs sides of at least 21\."
    ):
        image_features("mine", [tmp_path / "low.png"], extractor, torch.device("cpu"))


def test_image_paths__takes_any_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.JPG"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert image_paths(f"imagenet={tmp_path}") == (
        "imagenet",
        [tmp_path / "b.png", tmp_path / "deep" / "a.JPG"],
    )
    (tmp_path / "none").mkdir()
    with pytest.raises(
        DatasetError, match="holds no images that Pillow knows by their ending; give the folder of 'x'"
    ):
        image_paths(f"x={tmp_path / 'none'}")


def test_sample_evenly__takes_as_many_of_each_category() -> None:
    # 22 946 of ImageNet's 1000 categories with 1300 images: 946 of them give 23 images, the others 22
    categories = [Path(f"n{category:04}") for category in range(1000)]
    images = [category / f"{number}.JPEG" for category in categories for number in range(30)]
    sample = sample_evenly(images, 22_946, seed=0)
    assert len(set(sample)) == 22_946
    counts = Counter(image.parent for image in sample)
    assert Counter(counts.values()) == {23: 946, 22: 54}
    assert sample == sample_evenly(images, 22_946, seed=0) != sample_evenly(images, 22_946, seed=1)
    numbers = Counter(image.name for image in sample)
    assert max(numbers.values()) - min(numbers.values()) < 150  # images of a category are equally likely
    few = [Path("a/1"), *(Path(f"b/{number}") for number in range(9))]
    assert Counter(image.parent.name for image in sample_evenly(few, 5, seed=0)) == {"a": 1, "b": 4}
    assert sample_evenly(few, 99, seed=0) == sorted(few)


def test_image_paths__samples_folders_without_labels_alone(make_set: MakeSet) -> None:
    folder = make_set(6, "a").parent
    assert len(image_paths(f"imagenet={folder}", sample=4)[1]) == 4
    assert len(image_paths(f"a={folder / 'images.csv'}", sample=4)[1]) == 6
