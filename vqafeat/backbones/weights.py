"""A network's weights: published ones, seeded random ones, or a file; never a pickle that runs code."""

import pickle
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol, runtime_checkable
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vqafeat.backbones.base import Backbone, WeightsSource
from vqafeat.errors import ArgumentError, WeightsError

_WRAPPERS = ("state_dict", "model_state")  # training scripts; pytorchvideo


class _Number:
    """Takes the place of a NumPy number that a training script saved beside the weights; nobody looks at
    it.
    """

    def __init__(self, *arguments: object) -> None:
        """Take what NumPy would be given."""

    def __setstate__(self, state: object) -> None:
        """Take what NumPy would be given."""


# UNIQUE's and Li et al.'s files hold correlations as NumPy numbers, which torch refuses as code
_NUMPY_NUMBERS: list[Any] = [
    type(name, (_Number,), {"__module__": module})
    for module, name in (
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
    )
]


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a .safetensors, .pth or .pt file without running any code.

    Raises:
        WeightsError: the file is missing, is no such file, or needs code to load.
    """
    if not path.is_file():
        raise WeightsError(
            f"weights file '{path}' does not exist; name a .pth, .pt or .safetensors file "
            "(for a network, imagenet, random and random:SEED are allowed too)."
        )
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _load_without_code(path)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file '{path}' is a pickle that needs code to load, which could do anything on this "
            f"machine; "
            "save its state dict alone with torch.save(model.state_dict(), FILE) or as .safetensors."
        ) from error
    except (
        SafetensorError,
        RuntimeError,
        EOFError,
        ValueError,
        OSError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise WeightsError(
            f"weights file '{path}' cannot be read ({error}); expected a state dict saved by torch.save or "
            f"safetensors."
        ) from error
    return unwrap_state_dict(state, f"weights file '{path}'")


def _load_without_code(path: Path) -> object:
    with torch.serialization.safe_globals(_NUMPY_NUMBERS):
        return torch.load(path, map_location="cpu", weights_only=True)


def unwrap_state_dict(saved: object, source: str) -> Mapping[str, Tensor]:
    """Return the tensors that were saved alone, under `state_dict` as training scripts do, or under
    `model_state` as pytorchvideo does.

    Args:
        source: where they come from, in words, for the message.

    Raises:
        WeightsError: there are none, or something else lies among them.
    """
    if isinstance(saved, dict):
        saved = next((saved[key] for key in _WRAPPERS if isinstance(saved.get(key), dict)), saved)
    if (
        not isinstance(saved, dict)
        or not saved
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in saved.items())
    ):
        raise WeightsError(
            f"{source} holds no state dict (names with tensors); save model.state_dict() alone."
        )
    return saved


_CONNECT_SECONDS = 20.0


@runtime_checkable
class Renaming(Protocol):
    """A source of published weights whose files name the tensors otherwise than the network does."""

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors under the network's names, which those that carry them already keep."""


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to compute feature maps.

    Attributes:
        backbone: what it is.
        network: the whole network, in eval mode; `backbone.tapped` keeps of it what a feature set needs.
        weights: where they came from, in words.
        weights_sha256: digest of every tensor that features of any variant depend on, whatever file held
            them.
    """

    backbone: Backbone
    network: nn.Module
    weights: str
    weights_sha256: str


def load_network(backbone: Backbone, weights: str) -> LoadedNetwork:
    """Build a network with weights: `imagenet` (the published ones), `random`, `random:SEED`, or a file
    (.pth, .pt, .safetensors).

    Raises:
        WeightsError: the weights cannot be had, do not fit, or need code to load.
    """
    seed = re.fullmatch(r"random(?::(\d+))?", weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed.group(1) or 0) if seed else 0)
        network = backbone.build()
    if seed:
        described = f"random, seed {int(seed.group(1) or 0)}"
    elif weights == "imagenet":
        load_state(network, published_state(backbone), backbone, f"published weights of {backbone.name}")
        described = f"published ({_published(backbone).name})"
    else:
        load_state(network, read_state_dict(Path(weights)), backbone, f"'{weights}'")
        described = f"file {Path(weights).name}"
    network.eval().requires_grad_(False)
    return LoadedNetwork(backbone, network, described, state_digest(_used(network.state_dict(), backbone)))


def published_state(backbone: Backbone) -> Mapping[str, Tensor]:
    """Return the published weights, fetched once into torch's cache and checked against the hash in their
    file's name.

    Raises:
        WeightsError: there are none, they cannot be fetched, their hash is another, or they need code to
            load.
    """
    published = _published(backbone)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        return published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except UnpicklingError as error:
        raise WeightsError(
            f"published weights {published.name} of '{backbone.name}' were fetched, but not as a file of "
            f"weights; "
            f"delete it in '{torch.hub.get_dir()}' and try again, or name a file with --weights "
            f"{backbone.name}=FILE."
        ) from error
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"published weights {published.name} of '{backbone.name}' cannot be fetched ({error}); "
            f"name a file with --weights {backbone.name}=FILE, or take untrained ones with --weights "
            f"{backbone.name}=random."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _published(backbone: Backbone) -> WeightsSource:
    if backbone.published is None:
        raise WeightsError(
            f"'{backbone.name}' has no published weights that could be "
            f"fetched{f' ({backbone.files})' if backbone.files else ''}; "
            f"name a file with --weights {backbone.name}=FILE, or take untrained ones with --weights "
            f"{backbone.name}=random."
        )
    return backbone.published


def _used(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not re.match(backbone.unused, key)}


def strip_prefixes(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors of a file that features depend on, under the network's own names.

    A prefix goes only when every used tensor carries it, so that no two can end under one name. What is
    unused is dropped before and after each prefix: in UNIQUE's files `module.fc.` is the quality head,
    `module.backbone.fc.` the classifier that it replaced.
    """
    used = _used(state, backbone)
    prefixes = ("module.", *backbone.prefixes)
    while prefix := next(
        (prefix for prefix in prefixes if used and all(key.startswith(prefix) for key in used)), None
    ):
        used = _used({key.removeprefix(prefix): value for key, value in used.items()}, backbone)
    return (
        _used(backbone.published.renamed(used), backbone)
        if isinstance(backbone.published, Renaming)
        else used
    )


def load_state(network: nn.Module, state: Mapping[str, Tensor], backbone: Backbone, source: str) -> None:
    """Load a state dict whose every used key and shape fits; what no feature depends on may be absent or of
    another size.

    Raises:
        WeightsError: keys or shapes differ; the first few are named.
    """
    own, given = _used(network.state_dict(), backbone), strip_prefixes(state, backbone)
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    foreign = [key for key in given if key not in own]
    reshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} (first: {', '.join(keys[:3])})"
        for what, keys in (("keys missing", missing), ("keys too many", foreign), ("shapes differ", reshaped))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"weights {source} do not fit '{backbone.name}': {'; '.join(problems)}; give the weights of "
            f"exactly this network."
        )
    network.load_state_dict(given, strict=False)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the names and values of all parameters and statistics, in the order of their
    names.
    """
    digest = sha256()
    for key in sorted(state):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode())
            digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def parse_weights(options: Sequence[str], backbones: Sequence[str]) -> dict[str, str]:
    """Return the weights of each backbone that the options `NAME=WEIGHTS` or, for all, `WEIGHTS` name.

    Raises:
        ArgumentError: an option names a backbone that is not asked for.
    """
    chosen: dict[str, str] = {}
    for option in options:
        name, separator, weights = option.partition("=")
        if not separator:
            chosen = dict.fromkeys(backbones, option)
        elif name in backbones:
            chosen[name] = weights
        else:
            raise ArgumentError(
                f"--weights {option} names '{name}', which is not among the backbones asked for "
                f"({', '.join(backbones)})."
            )
    return chosen
