"""timm as a source of backbones, against timm's own feature networks; weights are random."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.command_line import Run
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.base import gap_gsp
from vqafeat.backbones.feature_set import FeatureSetName, build_extractors
from vqafeat.backbones.network import shared_networks
from vqafeat.backbones.weights import load_network, published_state
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.store import open_store

timm = pytest.importorskip("timm", reason="timm is absent: pip install 'vqafeat[timm]'")
CONVNEXT, VIT = "timm/test_convnext.r160_in1k", "timm/test_vit.r160_in1k"
FRAMES = torch.randint(0, 256, (2, 3, 75, 94), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def rows_of(names: list[str], weights: str) -> dict[str, torch.Tensor]:
    extractors = build_extractors(
        names, dict.fromkeys({FeatureSetName.parse(name).network for name in names}, weights)
    )
    (network,) = shared_networks(extractors, torch.device("cpu"))
    return network.frame_rows(FRAMES)


def timm_rows(name: str, state: dict[str, Any], **options: Any) -> list[torch.Tensor]:
    """Rows of timm's own feature network, with the mean and the deviation that it states."""
    model = name.removeprefix("timm/")
    overlay = {"state_dict": state, "hf_hub_id": None}
    network = timm.create_model(
        model, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay, **options
    )
    config = timm.get_pretrained_cfg(model)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (config.mean, config.std))
    with torch.inference_mode():
        return [gap_gsp(maps) for maps in network.eval()((FRAMES.float() / 255 - mean) / std)]


@pytest.mark.parametrize(
    ("name", "options", "variant"),
    [(CONVNEXT, {}, "2"), (VIT, {"dynamic_img_size": True, "dynamic_img_pad": True}, "5")],
)
def test_timm_backbone__rows_are_those_of_timm(
    name: str, options: dict[str, Any], variant: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    state = timm.create_model(name.removeprefix("timm/")).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    names = [name, f"{name}:stages", f"{name}:{variant}"]
    rows = rows_of(names, str(tmp_path / "model.safetensors"))
    stages = timm_rows(name, state, **options)
    (one,) = timm_rows(name, state, out_indices=[int(variant)], **options)
    for key, expected in zip(names, (stages[-1], torch.cat(stages, 1), one), strict=True):
        torch.testing.assert_close(rows[key], expected, rtol=1e-4, atol=1e-5)


def test_timm_backbone__identity_names_model_tag_and_digest(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = timm.create_model("test_convnext").state_dict()
    torch.save(state, tmp_path / "a.pth")
    state["head.fc.bias"] += 1
    torch.save({key: value for key, value in state.items() if key != "head.norm.bias"}, tmp_path / "b.pth")
    identities = [
        build_extractors([f"{CONVNEXT}:stages"], {CONVNEXT: str(tmp_path / file)})[0].identity
        for file in ("a.pth", "b.pth")
    ]
    assert identities[0].network == CONVNEXT
    assert identities[0].taps == ("stages.0", "stages.1", "stages.2", "stages.3")
    assert (
        identities[0].weights_sha256 == identities[1].weights_sha256
    )  # no feature depends on the classifier
    random = build_extractors([CONVNEXT], {CONVNEXT: "random"})[0].identity
    assert random.weights_sha256 != identities[0].weights_sha256
    assert "mean (0.5, 0.5, 0.5)" in build_extractors([VIT], {VIT: "random"})[0].identity.normalisation


def test_timm_backbone__pads_frames_and_reorders_the_maps_of_swin() -> None:
    model = "swin_tiny_patch4_window7_224.ms_in1k"
    backbone = BACKBONES.get(f"timm/{model}")
    whole = load_network(backbone, "random").network
    maps = backbone.with_feature_layers(whole, ("layers.0",)).eval()
    timms = timm.create_model(model, features_only=True, out_indices=[0], dynamic_img_size=True).eval()
    timms.load_state_dict(maps.maps.state_dict())
    frames = torch.rand(1, 3, 33, 50)
    with torch.inference_mode():
        expected = timms(torch.nn.functional.pad(frames, (0, 2, 0, 3)))[0].permute(0, 3, 1, 2)
        torch.testing.assert_close(maps(frames)["layers.0"], expected)
    assert expected.shape == (1, 96, 9, 13)


def test_timm_backbone__published_weights_come_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    create, requested = timm.create_model, []

    def fetched(model: str, pretrained: bool = False, **options: Any) -> Any:
        requested.append((model, pretrained))
        return create(model, **options)

    monkeypatch.setattr(timm, "create_model", fetched)
    loaded = load_network(BACKBONES.get(CONVNEXT), "imagenet")
    assert loaded.weights == f"published ({CONVNEXT})"
    assert requested[-1] == ("test_convnext.r160_in1k", True)

    def unreachable(model: str, **options: Any) -> Any:
        raise FileNotFoundError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        WeightsError, match=r"cannot be fetched \(no route to the hub\); name a file with --w"
    ):
        published_state(BACKBONES.get(CONVNEXT))


def test_timm_backbone__refuses_names_and_models_that_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"timm has no model 'convnexd'; search with .*'\*convne\*'"):
        BACKBONES.get("timm/convnexd.x")
    with pytest.raises(
        UnknownNameError, match=r"'timm/test_vit' does not name weights .* timm/test_vit.r160"
    ):
        BACKBONES.get("timm/test_vit")
    with pytest.raises(
        ArgumentError, match=r"no feature maps of frames of any size \(.*choose another model"
    ):
        BACKBONES.get("timm/beit_base_patch16_224.in22k_ft_in22k_in1k")
    with pytest.raises(UnknownNameError, match=r"unknown variant 'timm/test_vit.r160_in1k:99'"):
        FeatureSetName.parse(f"{VIT}:99")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WeightsError, match=r"is built by timm, which cannot be imported .*vqafeat\[timm\]"):
        BACKBONES.get("timm/test_vit2.r160_in1k")


def test_extract__stores_features_of_a_timm_model(tmp_path: Path, run: Run) -> None:
    for number in range(2):
        write_clip(tmp_path / f"{number}.mp4", noise_frames(3, 64, 48))
    (tmp_path / "scores.csv").write_text("video,mos\n0.mp4,1\n1.mp4,2\n")
    data, weights = ("--dataset", tmp_path / "scores.csv"), ("--weights", f"{CONVNEXT}=random")
    ended = run(
        "extract", *data, "--backbone", f"{CONVNEXT}:stages", *weights, "--store", tmp_path, "--workers", 0
    )
    assert ended.code == 0, ended.err
    store = open_store(next(tmp_path.glob("*.zarr")))
    assert store.identity(f"{CONVNEXT}:stages").network == CONVNEXT
    frames, _ = store.features(f"{CONVNEXT}:stages")[0]
    assert frames.shape == (3, 2 * sum(BACKBONES.get(CONVNEXT).channels.values()))


def test_list__timm_models_by_pattern(run: Run) -> None:
    listed = run("list", "backbones", "--timm", "test_convnext*")
    assert (listed.code, "timm/test_convnext.r160_in1k" in listed.out) == (0, True)
    assert "trained at 160x160; apache-2.0; timm/test_convnext.r160_in1k" in listed.out
    assert run("list", "backbones", "--timm", "test_vit").out.startswith(VIT)
    nothing = run("list", "backbones", "--timm", "nothing")
    assert (nothing.code, "--timm is 'nothing', which no model of timm matches; try" in nothing.err) == (
        1,
        True,
    )
    wrong = run("list", "views", "--timm", "x")
    assert (wrong.code, "--timm lists backbones, but the list is 'views'; leave it out" in wrong.err) == (
        1,
        True,
    )
