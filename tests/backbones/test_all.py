"""What every registered network has to keep to."""

import pytest
import torch
from torch import Tensor, fx, nn

from vqafeat.backbones import BACKBONES, Backbone, Variant
from vqafeat.backbones.weights import LoadedNetwork, load_network, load_state
from vqafeat.errors import ArgumentError, UnknownNameError


@pytest.fixture(scope="module", params=BACKBONES.names())
def loaded(request: pytest.FixtureRequest) -> LoadedNetwork:
    return load_network(BACKBONES.get(request.param), "random:1")


def seen_by(backbone: Backbone, height: int, width: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 3, *([backbone.clips.inputs] if backbone.clips else []), height, width)


def maps(loaded: LoadedNetwork, variant: str, seen: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        return loaded.backbone.with_feature_layers(loaded.network, loaded.backbone.variant(variant).taps)(
            seen
        )


def test_backbones__every_variant_gives_the_maps_that_it_states(loaded: LoadedNetwork) -> None:
    backbone = loaded.backbone
    for name, variant in backbone.variants.items():
        found = maps(loaded, name, seen_by(backbone, 40, 52))
        assert tuple(found) == variant.taps
        for tap, values in found.items():
            assert values.shape[:2] == (1, backbone.channels[tap])
            assert values.shape[2:-2] == (() if backbone.clips is None else (backbone.clips.steps,))
            assert values.isfinite().all()


def test_backbones__smallest_side_is_the_smallest(loaded: LoadedNetwork) -> None:
    side = loaded.backbone.smallest_side
    for height, width in ((side, side), (side, side + 40), (side + 40, side)):
        found = maps(loaded, "", seen_by(loaded.backbone, height, width))
        assert all(values.numel() and values.isfinite().all() for values in found.values())
    if side > 1:
        with pytest.raises(RuntimeError):
            maps(loaded, "", seen_by(loaded.backbone, side - 1, side - 1))


def test_load_state__ignores_the_tensors_called_unused(loaded: LoadedNetwork) -> None:
    backbone = loaded.backbone
    other = load_network(backbone, "random:2")
    assert other.weights_sha256 != loaded.weights_sha256
    for key, value in other.network.state_dict().items():
        if key.startswith(("fc.", "classifier.", "heads.", "head.")):
            value.fill_(torch.nan)
    load_state(other.network, loaded.network.state_dict(), backbone, "memory")
    for name in backbone.variants:
        seen = seen_by(backbone, 32, 48)
        torch.testing.assert_close(maps(other, name, seen), maps(loaded, name, seen), rtol=0, atol=0)


def test_load_network__is_in_eval_mode_and_traceable_where_fused(loaded: LoadedNetwork) -> None:
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    for variant in loaded.backbone.variants.values():
        with_feature_layers = loaded.backbone.with_feature_layers(loaded.network, variant.taps)
        if any(
            isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in with_feature_layers.modules()
        ):
            fx.symbolic_trace(with_feature_layers)


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
        Backbone(
            "odd", nn.Identity, lambda network, taps: network, {"a": 1}, {"": Variant(("b",))}, "x", None
        )
