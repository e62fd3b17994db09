"""One video through the networks: against torchvision's own transforms on whole-clip tensors, in any batch, alone or in company."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from tests.clips import noise_frames, write_clip
from vqafeat.errors import ArgumentError, UnknownNameError, VideoError
from vqafeat.extraction.backbones import BACKBONES
from vqafeat.extraction.extractors import backbone_names, build_extractors, feature_set_name
from vqafeat.extraction.pipeline import Resources, extract_video
from vqafeat.extraction.video import VideoReader
from vqafeat.extraction.weights import load_network

RANDOM = {"resnet18": "random", "squeezenet1_0": "random:3"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", noise_frames(7, 96, 64))


def test_rows_equal_the_released_recipe_on_whole_tensors(clip: Path) -> None:
    found = extract_video(clip, build_extractors(["resnet18"], RANDOM, "float32")).features["resnet18"]
    with VideoReader(clip) as reader:
        tensors = [functional.to_tensor(frame.rgb) for frame in reader]
    frames = torch.stack([functional.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) for tensor in tensors])
    backbone = BACKBONES.get("resnet18")
    network = backbone.tapped(load_network(backbone, "random").network, ("layer4",))
    with torch.inference_mode():
        maps = network(frames)["layer4"]
    expected = torch.cat([maps.mean((2, 3)), torch.std(maps.flatten(2), dim=2, unbiased=True)], 1)
    np.testing.assert_allclose(found.values, expected.numpy(), rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(found.frame, np.arange(7))


@pytest.mark.parametrize("batch_frames", [1, 3, 4, 7, 50])
def test_rows_do_not_depend_on_the_batch(clip: Path, batch_frames: int) -> None:
    extractors = build_extractors(["resnet18"], RANDOM, "float32")
    expected = extract_video(clip, extractors).features["resnet18"].values
    found = extract_video(clip, extractors, resources=Resources(workers=0, batch_frames=batch_frames)).features["resnet18"].values
    np.testing.assert_array_equal(found, expected)


def test_networks_in_one_pass_give_what_each_gives_alone(clip: Path) -> None:
    together = extract_video(clip, build_extractors(["resnet18@full", "squeezenet1_0"], RANDOM)).features
    assert set(together) == {"resnet18", "squeezenet1_0"}
    for name, features in together.items():
        alone = extract_video(clip, build_extractors([name], RANDOM)).features[name]
        np.testing.assert_array_equal(features.values, alone.values)
        assert features.values.dtype == np.float16


def test_each_frame_is_told_of_and_has_its_time_and_source(clip: Path) -> None:
    told: list[int] = []
    found = extract_video(clip, build_extractors(["squeezenet1_0"], RANDOM), on_frames=told.append)
    assert sum(told) == 7
    np.testing.assert_allclose(found.table.seconds, np.arange(7) / 25, atol=1e-3)
    assert found.table.source["bytes"] == clip.stat().st_size
    assert (found.table.source["width"], found.table.source["codec"]) == (96, "h264")


def test_the_identity_follows_what_the_rows_depend_on() -> None:
    extractor = build_extractors(["resnet18"], RANDOM)[0]
    identity = extractor.identity
    assert (identity.network, identity.channels, identity.view, identity.weights) == ("resnet18", 1024, "full", "random, seed 0")
    other = build_extractors(["resnet18"], {"resnet18": "random:1"}, "float32")[0].identity
    assert {name.split(":")[0] for name in identity.differences(other).split("; ")} == {"weights_sha256", "precision"}


def test_rows_beyond_float16_are_refused_with_the_next_step(clip: Path) -> None:
    extractor = build_extractors(["resnet18"], RANDOM)[0]
    with torch.no_grad():
        for parameter in extractor.loaded.network.parameters():
            parameter.mul_(3)
    with pytest.raises(VideoError, match="not finite as float16; store them with --dtype float32") as caught:
        extract_video(clip, [extractor])
    assert caught.value.kind == "not-finite"


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(
        UnknownNameError,
        match="unknown view or choice of frames '@ful' in 'resnet18@ful'; there are: @full, @short540, @crops768, @every, @uniform128",
    ):
        build_extractors(["resnet18@ful"], RANDOM)
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet19': did you mean"):
        build_extractors(["resnet19"], RANDOM)
    with pytest.raises(ArgumentError, match="dtype 'float64' is not one of float16, float32"):
        build_extractors(["resnet18"], RANDOM, "float64")
    with pytest.raises(ArgumentError, match="batch is 0 frames"):
        Resources(batch_frames=0)
    assert feature_set_name("resnet18@full") == "resnet18"
    assert backbone_names(["resnet50@full", "resnet18", "resnet50"]) == ["resnet50", "resnet18"]
