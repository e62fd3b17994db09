"""Loading weights: every backbone's keys, and every way in which a file can be wrong."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.published import UrlWeights
from vqafeat.backbones.weights import (
    load_network,
    parse_weights,
    published_state,
    read_state_dict,
    remembered_weights,
)
from vqafeat.errors import ArgumentError, UnknownNameError, WeightsError

SMALL = BACKBONES.get("squeezenet1_0")


def test_load_network__gives_the_whole_network_with_the_tensors_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = SMALL.build().state_dict()
    torch.save(state, tmp_path / "net.pth")
    loaded = load_network(SMALL, str(tmp_path / "net.pth"))
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    own = loaded.network.state_dict()
    assert own.keys() == state.keys()
    assert all(
        torch.equal(own[key], value) for key, value in state.items() if not key.startswith("classifier.")
    )


def test_with_feature_layers__cuts_as_the_released_resnets() -> None:
    backbone = BACKBONES.get("resnet18")
    loaded = load_network(backbone, "random")
    frames = torch.rand(2, 3, 70, 50)
    released = torch.nn.Sequential(*list(loaded.network.children())[:-2])
    with torch.inference_mode():
        torch.testing.assert_close(
            backbone.with_feature_layers(loaded.network, ("layer4",))(frames)["layer4"], released(frames)
        )


def test_load_network__random_weights_follow_their_seed_alone() -> None:
    torch.manual_seed(1)
    first = load_network(SMALL, "random:7")
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    again = load_network(SMALL, "random:7")
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.weights_sha256 == again.weights_sha256 != load_network(SMALL, "random").weights_sha256
    assert load_network(SMALL, "random").weights == "random, seed 0"


def test_load_network__digest_is_of_the_tensors_and_not_of_the_file(tmp_path: Path) -> None:
    state = SMALL.build().state_dict()
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "b.safetensors")
    torch.save(
        {key: value for key, value in state.items() if not key.startswith("classifier.")}, tmp_path / "c.pt"
    )
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "d.pth")
    torch.save({"model_state": state, "epoch": 3}, tmp_path / "e.pyth")
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "f.pth")
    torch.save({**state, "classifier.1.weight": torch.ones(7, 512, 1, 1)}, tmp_path / "g.pth")
    assert len({load_network(SMALL, str(path)).weights_sha256 for path in sorted(tmp_path.iterdir())}) == 1
    state["features.3.squeeze.bias"][2] += 1e-3
    torch.save(state, tmp_path / "other.pth")
    assert (
        len({load_network(SMALL, str(tmp_path / name)).weights_sha256 for name in ("a.pth", "other.pth")})
        == 2
    )
    assert load_network(SMALL, str(tmp_path / "b.safetensors")).weights == "file b.safetensors"


def test_load_network__loads_a_real_imagenet_network(shared_data: Path) -> None:
    loaded = load_network(SMALL, str(shared_data / "weights" / "squeezenet1_0.pth"))
    assert len(loaded.weights_sha256) == 64


def test_read_state_dict__ignores_numpy_numbers_next_to_the_weights(tmp_path: Path) -> None:
    measured = {"srcc": [np.float64(0.8)], "epoch": np.int64(3), "plcc": np.float32(0.5)}
    torch.save({"state_dict": {"a": torch.ones(2)}, **measured}, tmp_path / "new.pt")
    assert read_state_dict(tmp_path / "new.pt")["a"].tolist() == [1, 1]
    # before version 2, NumPy's module had no underscore in its name; a legacy file, so that its bytes can be
    # exchanged
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, **measured},
        tmp_path / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    new = (tmp_path / "old.pt").read_bytes()
    assert b"numpy._core.multiarray" in new
    (tmp_path / "old.pt").write_bytes(new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_state_dict(tmp_path / "old.pt")["a"].tolist() == [1, 1]
    torch.save({"a": np.ones(3)}, tmp_path / "array.pt")
    with pytest.raises(WeightsError, match="needs code to load"):
        read_state_dict(tmp_path / "array.pt")


class NeedsCode:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_read_state_dict__refuses_a_pickle_that_needs_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": NeedsCode()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="needs code to load"):
        read_state_dict(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


def test_load_network__names_the_first_wrong_keys_of_a_file(tmp_path: Path) -> None:
    state = SMALL.build().state_dict()
    missing = {key: value for key, value in state.items() if key != "features.0.weight"}
    for name, content, message in (
        ("missing.pth", missing, r"1 keys missing \(first: features.0.weight\)"),
        ("foreign.pth", {**state, "neck.weight": torch.ones(1)}, r"1 keys too many \(first: neck.weight\)"),
        (
            "shape.pth",
            {**state, "features.0.bias": torch.ones(5)},
            r"1 shapes differ \(first: features.0.bias \(5,\) for \(96,\)\)",
        ),
        ("empty.pth", {}, "holds no state dict"),
        ("list.pth", [1, 2], "holds no state dict"),
        ("numbers.pth", {0: torch.ones(1)}, "holds no state dict"),
    ):
        torch.save(content, tmp_path / name)
        with pytest.raises(WeightsError, match=message):
            load_network(SMALL, str(tmp_path / name))
    for name, content in (
        ("text.pth", "no weights"),
        ("text.safetensors", "no weights"),
        ("hello.pth", "hello world"),
        ("empty.pt", ""),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(WeightsError, match=r"' is no weights file; give one|cannot be read"):
            read_state_dict(tmp_path / name)
    with pytest.raises(
        WeightsError, match=r"does not exist; name a .pth, .pt or .safetensors file .*random:SEED"
    ):
        load_network(SMALL, "imagnet")
    with pytest.raises(WeightsError, match="does not exist"):
        load_network(SMALL, "random:99999999999999999999")


def test_published_state__is_loaded_without_code_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state, options = SMALL.build().state_dict(), {}

    def fetched(url: str, **given: object) -> object:
        options.update(given)
        return state

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetched)
    assert load_network(SMALL, "imagenet").weights == "published (IMAGENET1K_V1)"
    assert options == {"progress": False, "check_hash": True, "weights_only": True}


def test_published_state__names_the_next_step_where_it_cannot_be_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(url: str, *arguments: object, **options: object) -> object:
        raise URLError(f"no route to {url}")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        WeightsError,
        match=r"IMAGENET1K_V1 of 'resnet50' cannot be fetched .*--weights resnet50=FILE.*resnet50=random",
    ):
        published_state(BACKBONES.get("resnet50"))


def test_parse_weights__for_one_or_for_all() -> None:
    assert parse_weights((), ["a", "b"]) == {}
    assert parse_weights(("random", "b=f=1.pth"), ["a", "b"]) == {"a": "random", "b": "f=1.pth"}
    with pytest.raises(
        ArgumentError,
        match=r"--weights c=random names 'c', which is not among the requested backbones \(a, b\)",
    ):
        parse_weights(("c=random",), ["a", "b"])
    with pytest.raises(UnknownNameError, match="unknown backbone 'resnet5'"):
        BACKBONES.get("resnet5")


def test_published_state__is_a_file_that_was_named_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VQAFEAT_OFFLINE", "1")
    torch.save(SMALL.build().state_dict(), tmp_path / "net.pth")
    digest = sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    source = UrlWeights("mine", f"https://nowhere.invalid/net-{digest[:8]}.pth")
    published = replace(SMALL, published=source)
    with pytest.raises(
        WeightsError, match=r"mine of 'squeezenet1_0' are not in the cache, and --offline fetc"
    ):
        load_network(published, "imagenet")
    named = load_network(SMALL, str(tmp_path / "net.pth"))
    again = load_network(published, "imagenet")
    assert (again.weights, again.weights_sha256) == ("published (mine)", named.weights_sha256)
    assert remembered_weights(named.weights_sha256) == tmp_path / "net.pth"
    torch.save(SMALL.build().state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="not in the cache"):
        load_network(published, "imagenet")
    (tmp_path / "net.pth").unlink()
    assert remembered_weights(named.weights_sha256) is None
