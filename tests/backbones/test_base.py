"""What every backbone keeps to, frames of clips against Li et al.'s loop, and pooling in float64."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from vqafeat.backbones import BACKBONES, Backbone, Variant
from vqafeat.backbones.base import ClipRule, gap_gsp
from vqafeat.backbones.weights import LoadedNetwork, load_network, load_state
from vqafeat.errors import ArgumentError, UnknownNameError

MOTION = ClipRule(window=64, inputs=32, steps=32)
CUBES = ClipRule(window=16, inputs=16, steps=1)
Seen = list[tuple[list[int], list[tuple[int, int]]]]


def streamed(rule: ClipRule, frames: int) -> Seen:
    """All blocks of a video: the frames that the network sees, and its rows, as the pipeline asks for
    them.
    """
    length = min(frames, rule.window)
    already_covered = (frames - 1) // rule.window * rule.window
    blocks = [(first, first) for first in range(0, already_covered, rule.window)] + [
        (frames - length, already_covered)
    ]
    return [
        ([first + at for at in rule.input_indices(length)], rule.rows(first, length, before))
        for first, before in blocks
    ]


def released(frames: int) -> Seen:
    """The loop of CNNfeatures_Motion.py, with frame numbers in place of frames."""
    video = torch.arange(frames)
    if frames <= 64:
        seen = video[torch.linspace(0, frames - 1, 32).long()].tolist()
        return [(seen, list(enumerate(seen)))]
    blocks: Seen = []
    start, end, count = 0, 64, 0
    while end < frames:
        seen = video[start:end][torch.linspace(0, 63, 32).long()].tolist()
        blocks.append((seen, list(enumerate(seen))))
        start, end, count = start + 64, end + 64, count + 1
    seen = video[frames - 64 :][torch.linspace(0, 63, 32).long()].tolist()
    blocks.append((seen, [(step, frame) for step, frame in enumerate(seen) if frame >= 64 * count]))
    return blocks


def test_clip_rule__motion_blocks_equal_the_released_code() -> None:
    assert BACKBONES.get("slowfast-fast").clips == MOTION
    for frames in range(1, 301):
        assert streamed(MOTION, frames) == released(frames), frames
    assert MOTION.input_indices(64) == [*range(0, 61, 2), 63]


def test_clip_rule__rows_are_in_order_and_cover_the_video() -> None:
    for rule in (MOTION, CUBES, ClipRule(64, 32, 16)):
        for frames in range(rule.window, 301):
            shown = [frame for _, rows in streamed(rule, frames) for _, frame in rows]
            assert shown == sorted(set(shown)), (rule, frames)
            assert all(later - earlier <= rule.window // rule.steps + 1 for earlier, later in pairwise(shown))


def test_clip_rule__cubes_are_whole_and_the_last_ends_with_the_video() -> None:
    assert BACKBONES.get("r3d101").clips == CUBES
    for frames in range(16, 301):
        cubes = [seen for seen, _ in streamed(CUBES, frames)]
        starts = list(range(0, frames - 15, 16))
        if frames % 16:
            starts.append(frames - 16)
        assert cubes == [list(range(start, start + 16)) for start in starts], frames
        assert [rows for _, rows in streamed(CUBES, frames)] == [[(0, start + 8)] for start in starts]


def test_clip_rule__plain_stride_takes_one_of_every_two_frames() -> None:
    # "we simply sample one out of every two frames" (section III-C): no frame 63 after frame 60
    rule = MOTION.strided(2)
    assert (rule.window, rule.stride, MOTION.strided(1)) == (32, 2, MOTION)
    for frames in range(64, 301):
        kept = (frames + 1) // 2
        assert [frame for _, rows in streamed(rule, kept) for _, frame in rows] == [*range(0, frames, 2)]


def test_clip_rule__resamples_short_videos_to_a_whole_cube() -> None:
    for frames in range(1, 16):
        ((seen, rows),) = streamed(CUBES, frames)
        assert (len(seen), seen[0], seen[-1], len(rows)) == (16, 0, frames - 1, 1)
        assert set(seen) == set(range(frames))
        assert rows == [(0, seen[8])]


def test_clip_rule__keeps_a_row_whose_last_frame_is_new() -> None:
    rule = ClipRule(window=64, inputs=32, steps=16)
    assert BACKBONES.get("swin3d-t").clips == rule
    assert rule.rows(0, 64, 0)[:2] == [(0, 2), (1, 6)]
    last = rule.rows(first=6, length=64, already_covered=64)
    assert last == [(14, 6 + 58), (15, 6 + 63)]


def test_clip_rule__refuses_impossible_rules() -> None:
    for window, inputs, steps in ((16, 32, 32), (16, 1, 1), (16, 16, 3), (16, 16, 0)):
        with pytest.raises(
            ArgumentError, match=rf"a clip of {window} frames cannot give {steps} steps from {inputs} inputs"
        ):
            ClipRule(window, inputs, steps)
    assert str(MOTION) == "blocks of 64 frames, 32 of them seen, 32 rows; the last block ends with the video"


def test_gap_gsp__equals_mean_and_unbiased_deviation_in_float64() -> None:
    maps = torch.randn(3, 5, 7, 4, generator=torch.Generator().manual_seed(0)) * 3 + 10
    for layout in (maps, maps.to(memory_format=torch.channels_last)):
        flat = maps.double().numpy().reshape(3, 5, -1)
        expected = np.concatenate([flat.mean(2), flat.std(2, ddof=1)], 1)
        np.testing.assert_allclose(gap_gsp(layout).numpy(), expected, rtol=2e-6)
        assert gap_gsp(layout).dtype == torch.float32


def test_gap_gsp__of_a_single_position_has_deviation_zero() -> None:
    pooled = gap_gsp(torch.tensor([[[[2.0]], [[-3.0]]]]))
    torch.testing.assert_close(pooled, torch.tensor([[2.0, -3.0, 0.0, 0.0]]))


def test_gap_gsp__pools_half_precision_in_float32() -> None:
    maps = torch.full((1, 1, 100, 100), 60000.0, dtype=torch.float16)
    torch.testing.assert_close(gap_gsp(maps), torch.tensor([[float(maps[0, 0, 0, 0]), 0.0]]))


@pytest.fixture(scope="module", params=list(BACKBONES))
def loaded(request: pytest.FixtureRequest) -> Iterator[LoadedNetwork]:
    yield load_network(BACKBONES.get(request.param), "random:1")
    layers.cache_clear()


def seen_by(backbone: Backbone, height: int, width: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 3, *([backbone.clips.inputs] if backbone.clips else []), height, width)


@cache
def layers(name: str, network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    return BACKBONES.get(name).with_feature_layers(network, taps)


def maps(loaded: LoadedNetwork, taps: tuple[str, ...], seen: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        result: dict[str, Tensor] = layers(loaded.backbone.name, loaded.network, taps)(seen)
    return result


def test_backbones__every_variant_gives_the_maps_that_it_states(loaded: LoadedNetwork) -> None:
    backbone = loaded.backbone
    for variant in backbone.variants.values():
        result = maps(loaded, variant.taps, seen_by(backbone, 40, 52))
        assert tuple(result) == variant.taps
        for tap, values in result.items():
            assert values.shape[:2] == (1, backbone.channels[tap])
            assert values.shape[2:-2] == (() if backbone.clips is None else (backbone.clips.steps,))
            assert values.isfinite().all()


def test_backbones__smallest_side_is_the_smallest(loaded: LoadedNetwork) -> None:
    side, taps = loaded.backbone.smallest_side, loaded.backbone.variant("").taps
    for height, width in ((side, side), (side, side + 40), (side + 40, side)):
        result = maps(loaded, taps, seen_by(loaded.backbone, height, width))
        assert all(values.numel() and values.isfinite().all() for values in result.values())
    if side > 1:
        with pytest.raises(RuntimeError):
            maps(loaded, taps, seen_by(loaded.backbone, side - 1, side - 1))


def test_load_state__ignores_the_tensors_called_unused(loaded: LoadedNetwork) -> None:
    backbone = loaded.backbone
    other = load_network(backbone, "random:2")
    assert other.weights_sha256 != loaded.weights_sha256
    for key, value in other.network.state_dict().items():
        if key.startswith(("fc.", "classifier.", "heads.", "head.")):
            value.fill_(torch.nan)
    load_state(other.network, loaded.network.state_dict(), backbone, "memory")
    taps = tuple(dict.fromkeys(tap for variant in backbone.variants.values() for tap in variant.taps))
    seen = seen_by(backbone, 32, 48)
    torch.testing.assert_close(maps(other, taps, seen), maps(loaded, taps, seen), rtol=0, atol=0)


def test_load_network__is_in_eval_mode_and_traceable_where_fused(loaded: LoadedNetwork) -> None:
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    for variant in loaded.backbone.variants.values():
        network = layers(loaded.backbone.name, loaded.network, variant.taps)
        if any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in network.modules()):
            fx.symbolic_trace(network)


def test_variant__is_found_by_name_or_refused() -> None:
    backbone = BACKBONES.get("resnet18")
    assert backbone.variant("stages").taps == ("layer1", "layer2", "layer3", "layer4")
    with pytest.raises(
        UnknownNameError, match=r"unknown variant 'resnet18:stage'; there are: resnet18:stages"
    ):
        backbone.variant("stage")
    with pytest.raises(UnknownNameError, match=r"unknown variant 'vit-b16:stages'; there are: none"):
        BACKBONES.get("vit-b16").variant("stages")
    with pytest.raises(
        ArgumentError, match=r"'odd' needs a variant '' and channels for every tap \(missing: \['b'\]\)"
    ):
        Backbone("odd", nn.Identity, channels={"a": 1}, variants={"": Variant(("b",))}, unused="x")
