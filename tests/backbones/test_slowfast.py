"""The fast pathway alone against the whole SlowFast network."""

import pickle
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.networks import stirred
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.published import UrlWeights
from vqafeat.backbones.slowfast import pytorchvideo_name
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


# the same tensors in pytorchvideo, in PySlowFast, and in Caffe2 as in the comments of its c2_model_loading.py
NAMES = """
blocks.0.multipathway_blocks.1.conv.weight                          s1.pathway1_stem.conv.weight               t_conv1_w
blocks.0.multipathway_blocks.1.norm.running_var                     s1.pathway1_stem.bn.running_var            t_res_conv1_bn_riv
blocks.0.multipathway_blocks.0.norm.bias                            s1.pathway0_stem.bn.bias                   res_conv1_bn_b
blocks.1.multipathway_blocks.1.res_blocks.0.branch1_conv.weight     s2.pathway1_res0.branch1.weight            t_res2_0_branch1_w
blocks.1.multipathway_blocks.1.res_blocks.0.branch1_norm.weight     s2.pathway1_res0.branch1_bn.weight         t_res2_0_branch1_bn_s
blocks.3.multipathway_blocks.1.res_blocks.5.branch2.conv_b.weight   s4.pathway1_res5.branch2.b.weight          t_res4_5_branch2b_w
blocks.3.multipathway_blocks.0.res_blocks.4.branch2.norm_c.bias     s4.pathway0_res4.branch2.c_bn.bias         res4_4_branch2c_bn_b
blocks.4.multipathway_blocks.1.res_blocks.2.branch2.norm_a.running_mean s5.pathway1_res2.branch2.a_bn.running_mean t_res5_2_branch2a_bn_rm
"""  # noqa: E501


def pyslowfast_name(name: str) -> str:
    """Return PySlowFast's name of a tensor of pytorchvideo, step by step."""
    stage, path, layer = re.match(r"blocks\.(\d)\.multipathway_blocks\.(\d)\.(.*)", name).groups()  # type: ignore[union-attr]
    layer = re.sub(r"branch2\.(conv|norm)_(.)", r"branch2.\2_\1", layer).replace("_conv.", ".")
    layer = re.sub(r"res_blocks\.(\d)\.", r"res\1.", layer).replace("norm", "bn")
    return f"s{int(stage) + 1}.pathway{path}_" + (layer if layer.startswith("res") else f"stem.{layer}")


def caffe2_name(name: str) -> str:
    """Return the Caffe2 name of a tensor of PySlowFast; see `get_name_convert_func`, read backwards."""
    for pattern, replacement in (
        (r"^s1\.pathway1_stem\.conv", "t_conv1"),
        (r"^s1\.pathway1_stem\.bn", "t_res_conv1_bn"),
        (r"^s(\d)\.pathway1_res(\d)\.branch", r"t_res\1_\2_branch"),
        (r"branch2\.", "branch2"),
        (r"bn\.weight$", "bn_s"),
        (r"\.weight$", "_w"),
        (r"\.bias$", "_b"),
        (r"\.running_mean$", "_rm"),
        (r"\.running_var$", "_riv"),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def test_pytorchvideo_name__is_that_of_both_publishers() -> None:
    for line in NAMES.strip().splitlines():
        name, *others = line.split()
        assert [pytorchvideo_name(other) for other in (name, *others)] == [name] * 3
        assert pyslowfast_name(name) == others[0]


def test_load_network__reads_files_of_pyslowfast(fast: nn.Module, whole: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in whole.state_dict().items() if "multipathway_blocks.1." in key}
    torch.save(state, tmp_path / "ours.pyth")
    others = {"head.projection.weight": torch.ones(4, 5), "s1_fuse.conv_f2s.weight": torch.ones(2)}
    slow = {"s3.pathway0_res1.branch2.a.weight": torch.ones(3)}
    named = {pyslowfast_name(key): value for key, value in state.items()}
    torch.save({"model_state": {**named, **others, **slow}, "epoch": 196}, tmp_path / "theirs.pyth")
    digests = [
        load_network(BACKBONE, str(tmp_path / f"{name}.pyth")).weights_sha256 for name in ("ours", "theirs")
    ]
    assert digests[0] == digests[1]


def test_read_state_dict__names_the_converter_of_caffe2_files(whole: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in whole.state_dict().items() if "multipathway_blocks.1." in key}
    blobs = {
        caffe2_name(pyslowfast_name(key)): value.numpy()
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "t_res2_0_branch1_bn_s" in blobs
    unused = (
        "lr",
        "model_iter",
        "pred_w",
        "t_pool1_subsample_bn_rm",
        "t_conv1_w_momentum",
        "res2_0_branch2a_w",
    )
    blobs |= dict.fromkeys(unused, np.ones(2, np.float32))
    path = tmp_path / "SLOWFAST_8x8_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    with pytest.raises(
        WeightsError, match=r"needs code to load.* if you trust it, convert it with python -c"
    ) as caught:
        load_network(BACKBONE, str(path))
    command = str(caught.value).partition("convert it with python ")[2].removesuffix(".")
    subprocess.run([sys.executable, *shlex.split(command)], check=True)
    (tmp_path / "cut.pkl").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"cut.pkl' cannot be read .*; if you trust it, convert it with"):
        load_network(BACKBONE, str(tmp_path / "cut.pkl"))
    torch.save(state, tmp_path / "ours.pyth")
    digests = [
        load_network(BACKBONE, str(file)).weights_sha256 for file in (f"{path}.pt", tmp_path / "ours.pyth")
    ]
    assert digests[0] == digests[1]


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
