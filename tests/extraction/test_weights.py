"""Loading weights: every backbone's keys, and every way in which a file can be wrong."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file

from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError
from vqafeat.extraction.backbones import BACKBONES
from vqafeat.extraction.weights import load_network, parse_weights, published_state
from vqafeat.state_dicts import read_state_dict

SMALL = BACKBONES.get("squeezenet1_0")


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_backbone_has_the_width_it_states_and_loads_its_own_weights(tmp_path: Path, name: str) -> None:
    backbone = BACKBONES.get(name)
    torch.manual_seed(5)
    state = backbone.build().state_dict()
    torch.save(state, tmp_path / "net.pth")
    loaded = load_network(backbone, str(tmp_path / "net.pth"))
    with torch.inference_mode():
        maps = loaded.network(torch.zeros(1, 3, 64, 64))
    assert maps.shape[1] == backbone.channels
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    own = loaded.network.state_dict().values()
    kept = [value for key, value in state.items() if not key.startswith(backbone.classifier)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(own, kept, strict=True))


def test_resnets_are_cut_where_the_released_code_cuts_them() -> None:
    backbone = BACKBONES.get("resnet18")
    torch.manual_seed(0)
    whole = backbone.build().eval()
    frames = torch.rand(2, 3, 70, 50)
    seen = []
    whole.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        whole(frames)
        torch.testing.assert_close(backbone.tapped(whole)(frames), seen[0])


def test_random_weights_follow_their_seed_alone() -> None:
    torch.manual_seed(1)
    first = load_network(SMALL, "random:7")
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    again = load_network(SMALL, "random:7")
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.weights_sha256 == again.weights_sha256 != load_network(SMALL, "random").weights_sha256
    assert load_network(SMALL, "random").weights == "random, seed 0"


def test_the_digest_is_of_the_tensors_and_not_of_the_file(tmp_path: Path) -> None:
    state = SMALL.build().state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    torch.save({key: value for key, value in state.items() if not key.startswith("classifier.")}, tmp_path / "c.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "d.pth")
    digests = {load_network(SMALL, str(tmp_path / name)).weights_sha256 for name in ("a.pth", "b.safetensors", "c.pt", "d.pth")}
    assert len(digests) == 1
    assert load_network(SMALL, str(tmp_path / "b.safetensors")).weights == "file b.safetensors"


def test_a_real_imagenet_network_loads(shared_data: Path) -> None:
    loaded = load_network(SMALL, str(shared_data / "weights" / "squeezenet1_0.pth"))
    assert len(loaded.weights_sha256) == 64


class NeedsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": NeedsCode()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="needs code to load"):
        read_state_dict(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


def test_wrong_files_are_named_with_their_first_keys(tmp_path: Path) -> None:
    state = SMALL.build().state_dict()
    missing = {key: value for key, value in state.items() if key != "features.0.weight"}
    for name, content, message in (
        ("missing.pth", missing, r"1 keys missing \(first: features.0.weight\)"),
        ("foreign.pth", {**state, "neck.weight": torch.ones(1)}, r"1 keys too many \(first: neck.weight\)"),
        ("shape.pth", {**state, "features.0.bias": torch.ones(5)}, r"1 shapes differ \(first: features.0.bias \(5,\) for \(96,\)\)"),
        ("empty.pth", {}, "holds no state dict"),
        ("list.pth", [1, 2], "holds no state dict"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=message):
            load_network(SMALL, str(tmp_path / name))
    for name, content in (("text.pth", "no weights"), ("text.safetensors", "no weights"), ("hello.pth", "hello world"), ("empty.pt", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(WeightsError, match=r"needs code|cannot be read"):
            read_state_dict(tmp_path / name)
    with pytest.raises(WeightsError, match=r"does not exist; name a .pth, .pt or .safetensors file .*random:SEED"):
        load_network(SMALL, "imagnet")


def test_published_weights_that_cannot_be_fetched_name_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(url: str, *arguments: object, **options: object) -> object:
        raise URLError(f"no route to {url}")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"IMAGENET1K_V1 of 'resnet50' cannot be fetched .*--weights resnet50=FILE.*resnet50=random"):
        published_state(BACKBONES.get("resnet50"))


def test_the_weights_option_is_for_one_or_for_all() -> None:
    assert parse_weights((), ["a", "b"]) == {}
    assert parse_weights(("random", "b=f=1.pth"), ["a", "b"]) == {"a": "random", "b": "f=1.pth"}
    with pytest.raises(ArgumentError, match=r"--weights c=random names 'c', which is not among the backbones asked for \(a, b\)"):
        parse_weights(("c=random",), ["a", "b"])
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet5'"):
        BACKBONES.get("resnet5")
