"""The fast pathway alone against the whole SlowFast network."""

from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.published import UrlWeights
from vqafeat.backbones.weights import load_network, load_state, published_state
from vqafeat.errors import WeightsError

BACKBONE = BACKBONES.get("slowfast-fast")


@pytest.fixture(scope="module")
def fast() -> nn.Module:
    return load_network(BACKBONE, "random").network


@pytest.fixture(scope="module")
def whole(fast: nn.Module) -> nn.Module:
    # after the backbone was built, which imports the library without its warnings
    from pytorchvideo.models.slowfast import create_slowfast

    return stirred(create_slowfast())


def test_slowfast_fast__equals_the_fast_pathway_of_the_whole_network(
    fast: nn.Module, whole: nn.Module
) -> None:
    load_state(fast, whole.state_dict(), BACKBONE, "memory")
    torch.manual_seed(1)
    clip = torch.randn(1, 3, 32, 64, 64)
    pathways: list[Tensor] = [clip[:, :, ::4], clip]
    with torch.inference_mode():
        for block in whole.get_submodule("blocks")[:5]:
            pathways = block(pathways)
        result = BACKBONE.with_feature_layers(fast, ("res5",))(clip)
    assert result["res5"].shape == (1, 256, 32, 2, 2)
    assert pathways[0].shape[1] == 2048
    torch.testing.assert_close(result["res5"], pathways[1], rtol=1e-5, atol=1e-5)


def test_load_state__keys_are_those_of_the_published_file_alone(fast: nn.Module, whole: nn.Module) -> None:
    published = whole.state_dict()
    assert fast.state_dict().keys() == {key for key in published if "multipathway_blocks.1." in key}
    assert "blocks.0.multipathway_blocks.1.conv.weight" in fast.state_dict()
    with pytest.raises(WeightsError, match=r"1 keys too many \(first: blocks.0.neck.weight\)"):
        load_state(fast, {**published, "blocks.0.neck.weight": torch.ones(1)}, BACKBONE, "memory")
    load_state(fast, {f"module.{key}": value for key, value in published.items()}, BACKBONE, "memory")


def test_variant__has_both_normalisations() -> None:
    assert BACKBONE.variant("").mean == (0.485, 0.456, 0.406)
    assert (BACKBONE.variant("kinetics").mean, BACKBONE.variant("kinetics").std) == (
        (0.45,) * 3,
        (0.225,) * 3,
    )


def test_url_weights__are_fetched_once_and_unwrapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save({"model_state": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "net.pyth")
    source = UrlWeights("a net", (tmp_path / "net.pyth").as_uri())
    for _ in range(2):
        assert published_state(replace(BACKBONE, published=source))["a"].tolist() == [1, 1]
        (tmp_path / "net.pyth").unlink(missing_ok=True)


def test_url_weights__name_the_next_step_where_they_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, *arguments: object, **options: object) -> object:
        raise URLError(f"no route to {url}")

    cached = tmp_path / "hub" / "checkpoints" / "SLOWFAST_8x8_R50.pyth"
    cached.parent.mkdir(parents=True)
    cached.write_text("<html>sign in</html>")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        WeightsError,
        match=r"were fetched, but not as a file of weights; delete it in .*--weights slowfast-fast=FILE",
    ):
        published_state(BACKBONE)
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    cached.unlink()
    message = (
        r"Kinetics-400 SLOWFAST_8x8_R50 of 'slowfast-fast' cannot be fetched .*--weights slowfast-fast=FILE.*"
        r"slowfast-fast=random"
    )
    with pytest.raises(WeightsError, match=message):
        published_state(BACKBONE)
