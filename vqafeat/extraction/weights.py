"""A network's weights: published ones, seeded random ones, or a file; never a pickle that runs code."""

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.extraction.backbones import Backbone
from vqafeat.state_dicts import read_state_dict

_CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class LoadedNetwork:
    """A network ready to compute feature maps.

    Attributes:
        backbone: what it is.
        network: (batch, 3, H, W) normalised → (batch, channel, H', W'), in eval mode.
        weights: where they came from, in words.
        weights_sha256: digest of every tensor that the features depend on, whatever file held them.
    """

    backbone: Backbone
    network: nn.Module
    weights: str
    weights_sha256: str


def load_network(backbone: Backbone, weights: str) -> LoadedNetwork:
    """Build a network with the weights `imagenet`, `random`, `random:SEED`, or those of a file (.pth, .pt, .safetensors).

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
        described = f"imagenet ({backbone.published.name})"
    else:
        load_state(network, read_state_dict(Path(weights)), backbone, f"'{weights}'")
        described = f"file {Path(weights).name}"
    tapped = backbone.tapped(network).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return LoadedNetwork(backbone, tapped, described, state_digest(tapped.state_dict()))


def published_state(backbone: Backbone) -> Mapping[str, Tensor]:
    """Return the published ImageNet weights, fetched once into torch's cache and checked against their hash.

    Raises:
        WeightsError: they cannot be fetched, or their hash is another.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        return backbone.published.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"published weights {backbone.published.name} of '{backbone.name}' cannot be fetched ({error}); "
            f"name a file with --weights {backbone.name}=FILE, or take untrained ones with --weights {backbone.name}=random."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def load_state(network: nn.Module, state: Mapping[str, Tensor], backbone: Backbone, source: str) -> None:
    """Load a state dict whose every key and shape fits; the classifier's may be absent or of another size.

    Raises:
        WeightsError: keys or shapes differ; the first few are named.
    """
    own = {key: value for key, value in network.state_dict().items() if not key.startswith(backbone.classifier)}
    given = {key: value for key, value in state.items() if not key.startswith(backbone.classifier)}
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    foreign = [key for key in given if key not in own]
    reshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(own[key].shape)}" for key in own if key in given and given[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what} (first: {', '.join(keys[:3])})"
        for what, keys in (("keys missing", missing), ("keys too many", foreign), ("shapes differ", reshaped))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"weights {source} do not fit '{backbone.name}': {'; '.join(problems)}; give the weights of exactly this network."
        )
    network.load_state_dict(given, strict=False)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the names and values of all parameters and statistics, in the order of their names."""
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
            raise ArgumentError(f"--weights {option} names '{name}', which is not among the backbones asked for ({', '.join(backbones)}).")
    return chosen
