"""Names of feature sets, and what their identity tells."""

import pytest

from vqafeat.backbones.feature_set import FeatureSetName, backbone_names, build_extractors
from vqafeat.errors import ArgumentError, UnknownNameError

RANDOM = {"resnet18": "random", "slowfast-fast": "random"}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("resnet18@full", "resnet18"),
        ("resnet18@every@full", "resnet18"),
        ("resnet18:stages@uniform128@short540", "resnet18:stages@short540@uniform128"),
        ("slowfast-fast:kinetics", "slowfast-fast:kinetics"),
        ("iqa-resnet34:stages@crops768", "iqa-resnet34:stages@crops768"),
    ],
)
def test_feature_set_name__is_the_same_for_every_spelling(typed: str, name: str) -> None:
    assert str(FeatureSetName.parse(typed)) == name
    assert FeatureSetName.parse(name) == FeatureSetName.parse(typed)


def test_feature_set_name__refuses_with_what_is_allowed() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown view or choice of frames '@ful' in 'resnet18@ful'; there are: @full, @short540",
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
    with pytest.raises(
        ArgumentError,
        match="'slowfast-fast' sees blocks of consecutive frames, so '@uniform128' does not apply; leave it "
        "out",
    ):
        FeatureSetName.parse("slowfast-fast@uniform128")
    with pytest.raises(ArgumentError, match="precision 'fp8' is not one of fp32, fp16, bf16"):
        build_extractors(["resnet18"], RANDOM, precision="fp8")


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
    ]
    plain, stages, short, uniform, fast, kinetics = (
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
    half = build_extractors(["resnet18"], RANDOM, precision="bf16")[0].identity
    assert half.precision == "computed in bfloat16, stored in float16"
    assert "8-bit 4:2:0 by its integer formula" in plain.decoder
