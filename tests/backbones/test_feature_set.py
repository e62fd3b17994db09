"""Names of feature sets, and what their identity tells."""

from pathlib import Path

import pytest
import torch
from torch import nn

from vqafeat.backbones import BACKBONES, Backbone, Variant
from vqafeat.backbones.feature_set import FeatureSetName, backbone_names, build_extractors
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError

RANDOM = {"resnet18": "random", "slowfast-fast": "random"}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("resnet18@full", "resnet18"),
        ("resnet18@every@full", "resnet18"),
        ("resnet18:stages@uniform128@short540", "resnet18:stages@short540@uniform128"),
        ("slowfast-fast:kinetics", "slowfast-fast:kinetics"),
        ("iqa-resnet34:stages@crops768", "iqa-resnet34:stages@crops768"),
        ("slowfast-fast@uniform128@short540", "slowfast-fast@short540@uniform128"),
    ],
)
def test_feature_set_name__is_the_same_for_every_spelling(typed: str, name: str) -> None:
    assert str(FeatureSetName.parse(typed)) == name
    assert FeatureSetName.parse(name) == FeatureSetName.parse(typed)


def test_feature_set_name__refuses_with_what_is_allowed() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown view or choice of frames '@ful' in 'resnet18@ful'; known are: @full, @short540",
    ):
        FeatureSetName.parse("resnet18@ful")
    with pytest.raises(
        UnknownNameError, match=r"unknown variant 'resnet18:stage'; there are: resnet18:stages"
    ):
        FeatureSetName.parse("resnet18:stage")
    with pytest.raises(UnknownNameError, match=r"unknown variant 'vit-b16:stages'; there are: none"):
        FeatureSetName.parse("vit-b16:stages")
    with pytest.raises(ArgumentError, match="names two kinds of view, '@full' and '@short540'; it takes one"):
        FeatureSetName.parse("resnet18@full@short540")
    with pytest.raises(ArgumentError, match="precision 'fp8' is not one of fp32, fp16, bf16"):
        build_extractors(["resnet18"], RANDOM, precision="fp8")


class _Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 2, 1), nn.Linear(2, 5)


TINY = Backbone(
    "tiny",
    _Classifier,
    channels={"conv": 2},
    variants={"": Variant(("conv",)), "old": Variant(("conv",), std=(1.0, 1.0, 1.0))},
    unused=r"fc\.",
    classes={"old": (400,), "": (700, 1039)},
)


def test_build_extractors__weights_decide_the_normalisation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES._entries, "tiny", TINY)
    state = {key: value for key, value in _Classifier().state_dict().items() if not key.startswith("fc.")}
    for classes in (400, 700, 51):
        # Hara's files are of parallel training
        full = {**state, "fc.weight": torch.ones(classes, 2), "fc.bias": torch.ones(classes)}
        torch.save({"state_dict": {f"module.{k}": v for k, v in full.items()}}, tmp_path / f"{classes}.pth")
    torch.save(state, tmp_path / "bare.pth")

    def variant(name: str, file: str) -> Variant:
        (extractor,) = build_extractors([name], {"tiny": str(tmp_path / file)})
        assert str(extractor.variant.std) in extractor.identity.normalisation
        return extractor.variant

    assert variant("tiny", "400.pth") == variant("tiny:old", "400.pth") == TINY.variants["old"]
    assert variant("tiny", "700.pth") == TINY.variants[""]
    with pytest.raises(
        WeightsError, match=r"'tiny:old' does not fit the weights file 700.pth, .* trained as 'tiny'; extract"
    ):
        variant("tiny:old", "700.pth")
    for name, file in (("tiny", "51.pth"), ("tiny:old", "bare.pth")):
        with pytest.warns(
            RuntimeWarning, match=f"{file} do not show whether .* as 'tiny:old', 'tiny'; '{name}' is assumed"
        ):
            assert variant(name, file) == TINY.variant(FeatureSetName.parse(name).variant)
    build_extractors(["tiny:old"], {"tiny": "random"})


def test_r3d101__has_the_normalisations_of_both_releases() -> None:
    backbone = BACKBONES.get("r3d101")
    old = backbone.variant("hara2018")
    rgb = torch.arange(256.0)
    for channel, mean in enumerate((114.7748, 107.7354, 99.4750)):
        torch.testing.assert_close(
            (rgb / 255 - old.mean[channel]) / old.std[channel], rgb - mean, rtol=0, atol=1e-4
        )
    assert backbone.variant("").mean == (0.4345, 0.4051, 0.3775)
    assert backbone.classes == {"hara2018": (400,), "": (700, 1039)}


def test_backbone_names__are_unique() -> None:
    assert backbone_names(["resnet18:stages@short540", "a.mat", "resnet18"]) == ["resnet18", "a.mat"]


def test_identity__differs_with_each_choice() -> None:
    names = [
        "resnet18",
        "resnet18:stages",
        "resnet18@short540",
        "resnet18@uniform128",
        "slowfast-fast",
        "slowfast-fast:kinetics",
        "slowfast-fast@uniform128",
        "slowfast-fast@stride2",
    ]
    plain, stages, short, uniform, fast, kinetics, around, plain_stride = (
        extractor.identity for extractor in build_extractors(names, RANDOM)
    )

    def differing(other: object) -> set[str]:
        return {part.split(":")[0] for part in plain.differences(other).split("; ")}  # type: ignore[arg-type]

    assert (plain.channels, stages.channels, fast.channels) == (1024, 1920, 512)
    assert differing(stages) == {"taps", "channels"}
    assert differing(short) == {"view"}
    assert differing(uniform) == {"frame_rule"}
    assert plain.frame_rule == "every frame"
    assert (
        fast.frame_rule == "blocks of 64 frames, 32 of them seen, 32 rows; the last block ends with the video"
    )
    assert {part.split(":")[0] for part in fast.differences(kinetics).split("; ")} == {"normalisation"}
    assert around.frame_rule == f"{fast.frame_rule}; 128 frames at equal intervals"
    assert plain_stride.frame_rule == (
        "blocks of 32 frames, 32 of them seen, 32 rows; the last block ends with the video; "
        "every second frame"
    )
    half = build_extractors(["resnet18"], RANDOM, precision="bf16")[0].identity
    assert half.precision == "computed in bfloat16, stored in float16"
    assert "8-bit 4:2:0 by its integer formula" in plain.decoder
