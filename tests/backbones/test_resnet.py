"""ResNets against torchvision's whole networks, and quality-aware weights in every published layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models as tv
from safetensors.torch import save_file
from torch import Tensor

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.weights import load_network, strip_prefixes
from vqafeat.errors import WeightsError

STAGES = ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize(
    ("name", "stages", "last"), [("resnet18", 1920, 1024), ("resnet34", 1920, 1024), ("resnet50", 7680, 4096)]
)
def test_variant__widths_equal_the_papers(name: str, stages: int, last: int) -> None:
    for backbone in (BACKBONES.get(name), *([] if name == "resnet18" else [BACKBONES.get(f"iqa-{name}")])):
        assert 2 * sum(backbone.channels[tap] for tap in backbone.variant("stages").taps) == stages
        assert 2 * sum(backbone.channels[tap] for tap in backbone.variant("").taps) == last


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_with_feature_layers__gives_the_stages_inside_the_whole_network(name: str) -> None:
    whole = stirred(getattr(tv, name)())
    seen: dict[str, Tensor] = {}
    for stage in STAGES:
        whole.get_submodule(stage).register_forward_hook(
            lambda module, inputs, output, stage=stage: seen.update({stage: output.clone()})
        )
    frames = torch.rand(2, 3, 70, 50)
    backbone = BACKBONES.get(name)
    network = backbone.build()
    network.load_state_dict(whole.state_dict())
    with torch.inference_mode():
        whole(frames)
        result = backbone.with_feature_layers(network.eval(), STAGES)(frames)
        torch.testing.assert_close(dict(result), seen)
        torch.testing.assert_close(
            backbone.with_feature_layers(network, ("layer4",))(frames)["layer4"], seen["layer4"]
        )


State = dict[str, Tensor]


def released(state: State, features: int) -> dict[str, Any]:
    """A checkpoint as TrainModel.py of UNIQUE and of Li et al. saves it: DataParallel(BaseCNN), and what was
    measured meanwhile.
    """
    parallel = {f"module.backbone.{key}": value for key, value in state.items()}
    return {
        "epoch": 8,
        "state_dict": {
            **parallel,
            "module.fc.weight": torch.ones(2, features),
            "module.fc.bias": torch.ones(2),
        },
        "optimizer": {
            "state": {0: {"step": 3, "exp_avg": torch.zeros(2)}},
            "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}],
        },
        "train_loss": [0.3],
        "test_results_srcc": {"bid": [np.float64(0.8)], "clive": [0]},
    }


@pytest.mark.parametrize(("name", "features"), [("resnet34", 512), ("resnet50", 2048)])
def test_load_network__reads_every_layout_of_an_iqa_resnet_alike(
    tmp_path: Path, name: str, features: int
) -> None:
    state = stirred(getattr(tv, name)()).state_dict()
    own = {f"backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    own |= {"fc.weight": torch.zeros(2, features), "fc.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "torchvision.pth")
    torch.save(released(state, features), tmp_path / "DataParallel-00008.pt")
    save_file(own, tmp_path / "pretrained.safetensors")
    loaded = [load_network(BACKBONES.get(f"iqa-{name}"), str(path)) for path in sorted(tmp_path.iterdir())]
    plain = load_network(BACKBONES.get(name), str(tmp_path / "torchvision.pth"))
    assert {network.weights_sha256 for network in loaded} == {plain.weights_sha256}
    assert [network.weights for network in loaded] == [
        "file DataParallel-00008.pt",
        "file pretrained.safetensors",
        "file torchvision.pth",
    ]
    for network in loaded:
        kept = network.network.state_dict()
        assert all(torch.equal(kept[key], value) for key, value in state.items() if not key.startswith("fc."))


def test_load_network__refuses_the_other_network_by_its_first_keys(tmp_path: Path) -> None:
    torch.save(released(tv.resnet34().state_dict(), 512), tmp_path / "unique.pt")
    message = (
        r"unique.pt' do not fit 'iqa-resnet50': 85 keys missing \(first: layer1.0.conv3.weight, "
        r"layer1.0.bn3.weight, layer1.0.bn3.bias\); "
        r"\d+ shapes differ \(first: layer1.0.conv1.weight \(64, 64, 3, 3\) for \(64, 64, 1, 1\)"
    )
    with pytest.raises(WeightsError, match=message):
        load_network(BACKBONES.get("iqa-resnet50"), str(tmp_path / "unique.pt"))
    with pytest.raises(
        WeightsError, match=r"do not fit 'resnet34': .*keys too many \(first: backbone.conv1.weight"
    ):
        load_network(BACKBONES.get("resnet34"), str(tmp_path / "unique.pt"))


def test_strip_prefixes__never_gives_two_tensors_one_name() -> None:
    backbone = BACKBONES.get("iqa-resnet34")
    one, two, head = torch.zeros(1), torch.ones(1), torch.ones(3)
    both = {"conv1.weight": one, "backbone.conv1.weight": two}
    assert strip_prefixes(both, backbone) == both
    assert strip_prefixes(
        {"module.backbone.conv1.weight": two, "module.fc.weight": head, "module.backbone.fc.weight": head},
        backbone,
    ) == {"conv1.weight": two}
    assert strip_prefixes({"module.module.bn1.bias": one}, backbone) == {"bn1.bias": one}
    assert strip_prefixes({"fc.weight": head}, backbone) == {}


def test_load_network__iqa_resnet34_has_no_published_weights() -> None:
    message = (
        r"'iqa-resnet34' has no published weights that could be fetched \(UNIQUE's file is linked from "
        r"github.com/zwx8981/UNIQUE, "
        r"vqafeat pretrain makes one\); "
        r"name a file with --weights iqa-resnet34=FILE, or take untrained ones with --weights "
        r"iqa-resnet34=random"
    )
    with pytest.raises(WeightsError, match=message):
        load_network(BACKBONES.get("iqa-resnet34"), "imagenet")
