"""One video through the networks: against torchvision's own transforms on whole-clip tensors, in any batch,
alone or in company.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.extractions import extract_video
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import FeatureExtractor, FeatureSetName, backbone_names, build_extractors
from vqafeat.backbones.views import crop_corners
from vqafeat.backbones.weights import load_network
from vqafeat.errors import ArgumentError, UnknownNameError, VideoError
from vqafeat.extraction import pipeline
from vqafeat.extraction.memory_budget import used_bytes
from vqafeat.extraction.pipeline import Pipeline, Resources, VideoTask
from vqafeat.store.features import fuse
from vqafeat.store.types import VideoFeatures, uniform_frames
from vqafeat.video import reader
from vqafeat.video.reader import VideoReader

pytestmark = pytest.mark.usefixtures("networks_drawn_once")

Rows = dict[str, dict[str, VideoFeatures]]

RANDOM = {"resnet18": "random", "squeezenet1_0": "random:3"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", noise_frames(7, 96, 64))


def test_extract_video__rows_equal_the_released_recipe(clip: Path) -> None:
    result = extract_video(clip, build_extractors(["resnet18"], RANDOM, "float32")).features["resnet18"]
    with VideoReader(clip) as reader:
        tensors = [functional.to_tensor(frame.rgb) for frame in reader]
    frames = torch.stack(
        [functional.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) for tensor in tensors]
    )
    backbone = BACKBONES.get("resnet18")
    network = backbone.with_feature_layers(load_network(backbone, "random").network, ("layer4",))
    with torch.inference_mode():
        maps = network(frames)["layer4"]
    expected = torch.cat([maps.mean((2, 3)), torch.std(maps.flatten(2), dim=2, unbiased=True)], 1)
    np.testing.assert_allclose(result.values, expected.numpy(), rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(result.frame, np.arange(7))


@pytest.mark.parametrize("batch_frames", [1, 3, 4, 7, 50])
def test_extract_video__rows_do_not_depend_on_the_batch(clip: Path, batch_frames: int) -> None:
    extractors = build_extractors(["resnet18"], RANDOM, "float32")
    expected = extract_video(clip, extractors).features["resnet18"].values
    result = (
        extract_video(clip, extractors, resources=Resources(workers=0, batch_frames=batch_frames))
        .features["resnet18"]
        .values
    )
    np.testing.assert_array_equal(result, expected)


def test_extract_video__networks_in_one_pass_equal_each_alone(clip: Path) -> None:
    together = extract_video(clip, build_extractors(["resnet18@full", "squeezenet1_0"], RANDOM)).features
    assert set(together) == {"resnet18", "squeezenet1_0"}
    for name, features in together.items():
        alone = extract_video(clip, build_extractors([name], RANDOM)).features[name]
        np.testing.assert_array_equal(features.values, alone.values)
        assert features.values.dtype == np.float16


def test_extract_video__reports_each_frame_with_time_and_source(clip: Path) -> None:
    counts: list[int] = []
    result = extract_video(clip, build_extractors(["squeezenet1_0"], RANDOM), on_frames=counts.append)
    assert sum(counts) == 7
    np.testing.assert_allclose(result.table.seconds, np.arange(7) / 25, atol=1e-3)
    assert result.table.source["bytes"] == clip.stat().st_size
    assert (result.table.source["width"], result.table.source["codec"]) == (96, "h264")


def test_identity__follows_what_the_rows_depend_on() -> None:
    extractor = build_extractors(["resnet18"], RANDOM)[0]
    identity = extractor.identity
    assert (identity.network, identity.channels, identity.view, identity.weights) == (
        "resnet18",
        1024,
        "full",
        "random, seed 0",
    )
    other = build_extractors(["resnet18"], {"resnet18": "random:1"}, "float32")[0].identity
    assert {name.split(":")[0] for name in identity.differences(other).split("; ")} == {
        "weights_sha256",
        "precision",
    }


def test_extract_video__refuses_rows_beyond_float16_with_the_next_step(clip: Path) -> None:
    extractor = build_extractors(["resnet18"], RANDOM)[0]
    with torch.no_grad():
        for parameter in extractor.loaded.network.parameters():
            parameter.mul_(3)
    with pytest.raises(VideoError, match="not finite as float16; store them with --dtype float32") as caught:
        extract_video(clip, [extractor])
    assert caught.value.kind == "not-finite"


def test_extract_video__refuses_only_the_rows_that_are_not_finite(clip: Path) -> None:
    broken, whole = build_extractors(["resnet18", "squeezenet1_0"], RANDOM)
    with torch.no_grad():
        for parameter in broken.loaded.network.parameters():
            parameter.mul_(3)
    task = VideoTask(clip.name, clip, None, ("resnet18", "squeezenet1_0"))
    with Pipeline([broken, whole], Resources(workers=0)) as pipeline:
        (result,) = pipeline.results([task])
        assert list(result.extracted().features) == ["squeezenet1_0"]
    assert list(result.refused) == ["resnet18"]
    assert "features 'resnet18' of" in str(result.refusal)


MIXED = [
    "resnet18",
    "resnet18:stages",
    "slowfast-fast",
    "squeezenet1_0@crops768",
    "resnet18@short540@uniform128",
    "slowfast-fast:kinetics",
]
MIXED_WEIGHTS = {**RANDOM, "slowfast-fast": "random"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    sizes = [(70, 64, 48), (5, 64, 48), (133, 64, 48), (9, 48, 64)]
    return [
        write_clip(folder / f"{index}.mp4", noise_frames(*size, seed=index))
        for index, size in enumerate(sizes)
    ]


@pytest.fixture(scope="module")
def alone(clips: list[Path]) -> Rows:
    extractors = build_extractors(MIXED[:4], MIXED_WEIGHTS, "float32")
    return {path.name: extract_video(path, extractors).features for path in clips}


def tasks_of(paths: list[Path], extractors: list[FeatureExtractor]) -> list[VideoTask]:
    return [
        VideoTask(path.name, path, None, tuple(extractor.feature_set for extractor in extractors))
        for path in paths
    ]


def rows_by_video(paths: list[Path], extractors: list[FeatureExtractor], resources: Resources) -> Rows:
    with Pipeline(extractors, resources) as pipeline:
        return {
            result.task.name: result.extracted().features
            for result in pipeline.results(tasks_of(paths, extractors))
        }


def assert_equal(result: dict[str, VideoFeatures], expected: dict[str, VideoFeatures]) -> None:
    for name, features in result.items():
        np.testing.assert_array_equal(features.values, expected[name].values)
        np.testing.assert_array_equal(features.frame, expected[name].frame)


def test_extract_video__all_kinds_of_networks_in_one_pass_equal_each_alone(clips: list[Path]) -> None:
    together = extract_video(clips[1], build_extractors(MIXED, MIXED_WEIGHTS, "float32"))
    assert list(together.features) == [str(FeatureSetName.parse(name)) for name in MIXED]
    for name in MIXED:
        alone = extract_video(clips[1], build_extractors([name], MIXED_WEIGHTS, "float32"))
        assert_equal(alone.features, together.features)
    frames = {name: len(features.frame) for name, features in together.features.items()}
    assert frames["resnet18"] == frames["resnet18@short540@uniform128"] == 5
    assert frames["slowfast-fast"] == 32
    stages, last = together.features["resnet18:stages"].values, together.features["resnet18"].values
    np.testing.assert_array_equal(stages[:, -1024:], last)


@pytest.mark.parametrize("workers", [1, 3])
def test_pipeline__rows_ignore_the_decoder_and_the_other_videos(
    clips: list[Path], alone: Rows, workers: int
) -> None:
    result = rows_by_video(
        clips, build_extractors(MIXED[:4], MIXED_WEIGHTS, "float32"), Resources(workers=workers)
    )
    assert set(result) == set(alone)
    for name, features in alone.items():
        assert_equal(result[name], features)


def test_pipeline__decodes_in_threads_where_the_gpu_decodes(
    clips: list[Path], alone: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "HWAccel", lambda *_, **options: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(pipeline, "DecodePool", None)
    resources = Resources(workers=2)
    object.__setattr__(resources, "hardware_decoder", True)  # which is refused without a GPU
    result = rows_by_video(clips, build_extractors(MIXED[:4], MIXED_WEIGHTS, "float32"), resources)
    assert result.keys() == alone.keys()
    for name, features in result.items():
        assert_equal(features, alone[name])


def test_pipeline__batches_across_videos_give_each_video_its_rows(
    clips: list[Path], alone: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a CPU every frame is computed alone; batches are a GPU's way, taken here to see that rows find their
    # video
    extractors = build_extractors(["resnet18"], RANDOM, "float32")
    monkeypatch.setattr(Pipeline, "_batch_size", lambda pipeline, network, height, width: 16)
    result = rows_by_video(clips, extractors, Resources(workers=2))
    for name, features in alone.items():
        np.testing.assert_allclose(
            result[name]["resnet18"].values, features["resnet18"].values, rtol=1e-4, atol=1e-5
        )


def test_slowfast_fast__sees_the_frames_of_the_released_rule(clips: list[Path]) -> None:
    result = extract_video(clips[2], build_extractors(["slowfast-fast"], MIXED_WEIGHTS, "float32")).features[
        "slowfast-fast"
    ]
    block = [*range(0, 61, 2), 63]
    last = [69 + index for index in block if 69 + index >= 128]
    assert result.frame.tolist() == [*block, *(64 + index for index in block), *last]
    with VideoReader(clips[2]) as reader:
        rgb = torch.stack([functional.to_tensor(frame.rgb) for frame in reader])
    normal = (
        functional.normalize(rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).movedim(0, 1).unsqueeze(0)
    )
    backbone = BACKBONES.get("slowfast-fast")
    network = backbone.with_feature_layers(
        load_network(backbone, "random").network, backbone.variant("").taps
    )
    with torch.inference_mode():
        (maps,) = network(normal[:, :, [64 + index for index in block]]).values()
    expected = torch.cat([maps[0].mean((2, 3)), maps[0].flatten(2).std(2)]).T
    np.testing.assert_allclose(result.values[32:64], expected.numpy(), rtol=2e-4, atol=2e-5)


def test_uniform128__takes_the_clips_around_its_frames(clips: list[Path]) -> None:
    names = ["slowfast-fast", "slowfast-fast@uniform128", "resnet18@uniform128"]
    for path in clips[1:3]:
        every, around, spatial = extract_video(
            path, build_extractors(names, MIXED_WEIGHTS, "float32")
        ).features.values()
        assert around.frame.tolist() == spatial.frame.tolist()
        nearest = [np.abs(every.frame - frame).argmin() for frame in around.frame.tolist()]
        assert max(abs(every.frame[nearest] - around.frame)) <= 1
        # a row of the last clip differs from that of an earlier clip for the same frame
        own = [row for row in range(len(nearest)) if around.frame[row] < 128]
        np.testing.assert_array_equal(around.values[own], every.values[[nearest[row] for row in own]])
    assert fuse([spatial, around], "a").values.shape == (128, 1024 + 512)


def test_stride2__takes_one_of_every_two_frames(clips: list[Path]) -> None:
    names = ["slowfast-fast@stride2", "resnet18@stride2", "resnet18"]
    extractors = build_extractors(names, MIXED_WEIGHTS, "float32")
    motion, spatial, every = extract_video(clips[2], extractors).features.values()
    assert motion.frame.tolist() == spatial.frame.tolist() == list(range(0, 133, 2))
    np.testing.assert_array_equal(spatial.values, every.values[::2])
    with VideoReader(clips[2]) as reader:
        rgb = torch.stack([functional.to_tensor(frame.rgb) for frame in reader])
    normal = functional.normalize(rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[70:133:2]
    network = BACKBONES.get("slowfast-fast").with_feature_layers(extractors[0].loaded.network, ("res5",))
    with torch.inference_mode():
        (maps,) = network(normal.movedim(0, 1).unsqueeze(0)).values()
    expected = torch.cat([maps[0].mean((2, 3)), maps[0].flatten(2).std(2)]).T
    np.testing.assert_allclose(motion.values[-3:], expected.numpy()[-3:], rtol=2e-4, atol=2e-5)


def test_crops768__are_averaged(clips: list[Path], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "large.mp4", noise_frames(1, 1000, 800))
    extractors = build_extractors(["squeezenet1_0", "squeezenet1_0@crops768"], RANDOM, "float32")
    result = extract_video(path, extractors).features["squeezenet1_0@crops768"].values
    with VideoReader(path) as reader:
        (rgb,) = [frame.rgb.copy() for frame in reader]
    alone = []
    for index, (top, left) in enumerate(crop_corners(800, 1000)):
        crop = write_clip(
            tmp_path / f"{index}.mkv",
            rgb[None, top : top + 768, left : left + 768],
            codec="ffv1",
            pixel_format="bgr0",
        )
        alone.append(extract_video(crop, extractors[:1]).features["squeezenet1_0"].values)
    assert len(alone) == 4
    np.testing.assert_allclose(result, np.mean(alone, 0), rtol=1e-4, atol=1e-5)


def test_uniform128__is_right_where_the_container_miscounts(
    clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    extractors = build_extractors(["squeezenet1_0@uniform128", "resnet18"], RANDOM)
    expected = extract_video(clips[2], extractors).features
    assert expected["squeezenet1_0@uniform128"].frame.tolist() == uniform_frames(133, 128)
    calls: list[int] = []
    monkeypatch.setattr("vqafeat.video.chunks.count_packets", lambda path, raw: calls.append(1) or 200)
    assert_equal(extract_video(clips[2], extractors).features, expected)
    assert calls == [1]


def test_pipeline__refuses_a_video_too_large_for_its_clips_and_continues(
    clips: list[Path], tmp_path: Path
) -> None:
    large = write_clip(tmp_path / "large.mp4", noise_frames(3, 640, 480))
    extractors = build_extractors(["slowfast-fast"], MIXED_WEIGHTS)
    with Pipeline(extractors, Resources(workers=1, memory_bytes=used_bytes() + (220 << 20))) as pipeline:
        ends = {}
        for result in pipeline.results(tasks_of([large, clips[1]], extractors)):
            try:
                ends[result.task.name] = len(result.extracted().features["slowfast-fast"].values)
            except VideoError as error:
                ends[result.task.name] = error.kind
    assert ends == {"large.mp4": "over-memory", "1.mp4": 32}
    with_other = build_extractors(["slowfast-fast", "squeezenet1_0@crops768"], MIXED_WEIGHTS)
    with Pipeline(with_other, Resources(workers=0, memory_bytes=used_bytes() + (120 << 20))) as pipeline:
        (result,) = pipeline.results(tasks_of([large], with_other))
    assert list(result.extracted().features) == ["squeezenet1_0@crops768"]
    assert {name: error.kind for name, error in result.refused.items()} == {"slowfast-fast": "over-memory"}


def test_build_extractors__names_wrong_arguments() -> None:
    with pytest.raises(
        UnknownNameError,
        match="unknown view or choice of frames '@ful' in 'resnet18@ful'; known are: @full, @short540, "
        "@crops768, @center112, @every, @stride2, @uniform128",
    ):
        build_extractors(["resnet18@ful"], RANDOM)
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet19': did you mean"):
        build_extractors(["resnet19"], RANDOM)
    with pytest.raises(ArgumentError, match="dtype 'float64' is not one of float16, float32"):
        build_extractors(["resnet18"], RANDOM, "float64")
    with pytest.raises(ArgumentError, match="batch is 0 frames"):
        Resources(batch_frames=0)
    with pytest.raises(ArgumentError, match="timeout is 0 seconds; it has to be positive"):
        Resources(workers=0, timeout_seconds=0)
    assert str(FeatureSetName.parse("resnet18@full")) == "resnet18"
    assert backbone_names(["resnet50@full", "resnet18", "resnet50"]) == ["resnet50", "resnet18"]
