"""A network's weights: published, random with a seed, or from a file; never a pickle that runs code."""

import pickle
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vqafeat.backbones.base import Backbone
from vqafeat.errors import ArgumentError, WeightsError
from vqafeat.io import file_sha256, write_bytes
from vqafeat.remote import cache_folder, is_offline

_WRAPPERS = ("state_dict", "model_state")  # training scripts; pytorchvideo
_CONNECT_SECONDS = 20.0
_CONVERTER = (  # of Caffe2 files, as those of PySlowFast's model zoo
    'if you trust it, convert it with python -c "import pickle, torch; '
    "blobs = pickle.load(open('{path}', 'rb'), encoding='latin1')['blobs']; "
    "torch.save({{name: torch.tensor(blob) for name, blob in blobs.items()}}, '{path}.pt')\""
)
_UNREADABLE = (RuntimeError, EOFError, ValueError, OSError, LookupError, TypeError, AttributeError)


class _IgnoredNumber:
    """Stands for a NumPy number that a training script saved next to the weights."""

    def __init__(self, *arguments: object) -> None: ...
    def __setstate__(self, state: object) -> None: ...


# UNIQUE's and Li et al.'s files hold correlations as NumPy numbers, which torch refuses as code
_NUMPY_TYPES = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_NUMPY_NUMBERS: list[Any] = [
    type(name.rpartition(".")[2], (_IgnoredNumber,), {"__module__": name.rpartition(".")[0]})
    for name in _NUMPY_TYPES
]


def read_state_dict(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a .safetensors, .pth or .pt file without running any code."""
    if not path.is_file():
        allowed = "a .pth, .pt or .safetensors file (for a network also imagenet, random or random:SEED)"
        raise WeightsError(f"weights file '{path}' does not exist; name {allowed}.")
    convert = _CONVERTER.format(path=path) if path.suffix == ".pkl" else ""
    try:
        if path.suffix == ".safetensors":
            saved: object = load_file(path)
        else:
            with torch.serialization.safe_globals(_NUMPY_NUMBERS):
                saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            start = file.read(2)
        if not (convert or start == b"PK" or start[:1] == b"\x80"):  # of a zip file, of a pickle
            raise WeightsError(f"'{path}' is no weights file; give one saved by torch.save.") from error
        problem = f"weights file '{path}' is a pickle that needs code to load, which could do anything"
        next_step = "save its state dict alone with torch.save(model.state_dict(), FILE) or as .safetensors"
        raise WeightsError(f"{problem} on this machine; {convert or next_step}.") from error
    except (SafetensorError, *_UNREADABLE) as error:
        problem = f"weights file '{path}' cannot be read ({error})"
        next_step = "give a state dict saved by torch.save or safetensors"
        raise WeightsError(f"{problem}; {convert or next_step}.") from error
    return unwrap_state_dict(saved, f"weights file '{path}'")


def unwrap_state_dict(saved: object, source: str) -> Mapping[str, Tensor]:
    """Return the tensors of a state dict, or of one under a key that training scripts use."""
    if isinstance(saved, dict):
        saved = next((saved[key] for key in _WRAPPERS if isinstance(saved.get(key), dict)), saved)
        if saved and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in saved.items()):
            return saved
    raise WeightsError(f"{source} holds no state dict (names with tensors); save model.state_dict() alone.")


@dataclass(frozen=True)
class LoadedNetwork:
    """A backbone with weights."""

    backbone: Backbone
    network: nn.Module  # the whole network, in eval mode
    weights: str  # their source, in words
    weights_sha256: str  # of all tensors that features of any variant depend on, not of a file
    trained_variant: str | None = None  # by whose normalisation they were trained; None if unknown


def load_network(backbone: Backbone, weights: str) -> LoadedNetwork:
    """Build a network with weights: `imagenet` (published), `random`, `random:SEED`, or a file."""
    random = re.fullmatch(r"random(?::(\d{1,18}))?", weights)
    seed = int(random.group(1) or 0) if random else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = backbone.build()
    trained = None
    if random:
        described = f"random, seed {seed}"
    elif weights == "imagenet":
        load_state(network, published_state(backbone), backbone, f"published weights of {backbone.name}")
        assert backbone.published is not None
        described = f"published ({backbone.published.name})"
    else:
        state = read_state_dict(Path(weights))
        load_state(network, state, backbone, f"'{weights}'")
        classes = next((len(value) for key, value in state.items() if key.endswith("fc.weight")), 0)
        trained = next((name for name, counts in backbone.classes.items() if classes in counts), None)
        described = f"file {Path(weights).name}"
    network.eval().requires_grad_(False)
    digest = state_digest(_used(network.state_dict(), backbone))
    if described.startswith("file "):
        _remember(Path(weights), digest)
    return LoadedNetwork(backbone, network, described, digest, trained)


def _remember(path: Path, digest: str) -> None:
    """Note in the cache where a file of weights is, under the digest of its tensors and that of the file."""
    # without a note, the file has to be named again
    with suppress(OSError):
        note, where = cache_folder("weights") / digest, str(path.absolute())
        if note.is_file() and note.read_text() == where:
            return  # reading a large file for its digest once is enough
        for name in (file_sha256(path), digest):
            write_bytes(note.with_name(name), where.encode())


def remembered_weights(digest: str) -> Path | None:
    """Return the file of weights that was named before and has this digest, or a digest that starts so."""
    notes = sorted(cache_folder("weights").glob(f"{digest}*")) if digest else []
    files = (Path(note.read_text()) for note in notes)
    return next((path for path in files if path.is_file()), None)


def published_state(backbone: Backbone) -> Mapping[str, Tensor]:
    """Return the published weights, fetched once into torch's cache and checked against their hash."""
    published, name = backbone.published, backbone.name
    other = f"name a file with --weights {name}=FILE, or take untrained ones with --weights {name}=random"
    if published is None:
        files = f" ({backbone.files})" if backbone.files else ""
        raise WeightsError(f"'{name}' has no published weights that could be fetched{files}; {other}.")
    what = f"published weights {published.name} of '{name}'"
    # weights of other sources are checked by them, and nothing is fetched from an installed package
    url = str(getattr(published, "url", ""))
    if url and not (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).is_file():
        stated = re.search(r"-([0-9a-f]{8,})\.", Path(url).name)
        begins = stated.group(1) if stated else ""
        file = remembered_weights(begins)
        if file is not None and file_sha256(file).startswith(begins):
            return read_state_dict(file)
        if is_offline():
            raise WeightsError(f"{what} are not in the cache, and --offline fetches nothing; {other}.")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        saved = published.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except pickle.UnpicklingError as error:
        again = f"delete it in '{torch.hub.get_dir()}' and try again, or give --weights {name}=FILE"
        raise WeightsError(f"{what} were fetched, but not as a file of weights; {again}.") from error
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(f"{what} cannot be fetched ({error}); {other}.") from error
    finally:
        socket.setdefaulttimeout(before)
    return unwrap_state_dict(saved, f"the file of {what}")


def _used(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not re.match(backbone.unused, key)}


def strip_prefixes(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors of a file that features depend on, under the network's names.

    A prefix is removed only if every used tensor has it, so that no two get one name. Unused tensors are
    dropped before and after each prefix: in UNIQUE's files `module.fc.` is the quality head, and
    `module.backbone.fc.` the classifier that it replaced.
    """
    used = _used(state, backbone)
    prefixes = ("module.", *backbone.prefixes)
    while prefix := next(
        (item for item in prefixes if used and all(key.startswith(item) for key in used)), ""
    ):
        used = _used({key.removeprefix(prefix): value for key, value in used.items()}, backbone)
    return _used({backbone.rename(key): value for key, value in used.items()}, backbone)


def load_state(network: nn.Module, state: Mapping[str, Tensor], backbone: Backbone, source: str) -> None:
    """Load a state dict whose used keys and shapes fit; what no feature depends on may differ."""
    own, given = _used(network.state_dict(), backbone), strip_prefixes(state, backbone)
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    foreign = [key for key in given if key not in own]
    reshaped = [
        f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    kinds = (("keys missing", missing), ("keys too many", foreign), ("shapes differ", reshaped))
    problems = [f"{len(keys)} {kind} (first: {', '.join(keys[:3])})" for kind, keys in kinds if keys]
    if problems:
        problem = f"weights {source} do not fit '{backbone.name}': {'; '.join(problems)}"
        raise WeightsError(f"{problem}; give the weights of exactly this network.")
    network.load_state_dict(given, strict=False)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names and values of all parameters and statistics, sorted by name."""
    digest = sha256()
    for key in sorted(state):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode())
            digest.update(state[key].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def parse_weights(options: Sequence[str], backbones: Sequence[str]) -> dict[str, str]:
    """Return the weights by backbone in options `NAME=WEIGHTS` or, for all backbones, `WEIGHTS`."""
    parsed: dict[str, str] = {}
    for option in options:
        name, separator, weights = option.partition("=")
        if not separator:
            parsed = dict.fromkeys(backbones, option)
        elif name in backbones:
            parsed[name] = weights
        else:
            requested = f"the requested backbones ({', '.join(backbones)})"
            raise ArgumentError(f"--weights {option} names '{name}', which is not among {requested}.")
    return parsed
