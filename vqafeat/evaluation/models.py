"""Published models by name: where their files come from, and what their scores mean."""

from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from vqafeat.errors import ArgumentError, DatasetError, WeightsError
from vqafeat.io import file_sha256, read_toml, write_bytes
from vqafeat.remote import cache_folder, is_offline, translate_cache_errors
from vqafeat.schema import NonEmpty, Texts, parse

if TYPE_CHECKING:
    from vqafeat.heads.base import Head
    from vqafeat.training.run_config import RunConfig

_FILE = Path(__file__).with_suffix(".toml")
_CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class PublishedModel:
    """A released head."""

    title: str
    file: str  # its name where it is released
    home: str  # where its authors release it
    licence: str
    paper: str
    features: str  # the feature sets on which it was trained
    datasets: NonEmpty[Texts]  # of its training; by default, scores are on the label scale of the first
    figures: str = ""  # what its authors report; empty if that is not known here
    url: str = ""  # of the file; a model without it and the digest is loaded from a file
    sha256: str = ""

    def __post_init__(self) -> None:
        if bool(self.url) != bool(self.sha256):
            raise DatasetError(f"'{self.file}' needs both url and sha256, or neither of them.")

    @property
    def described(self) -> str:
        """The model in one line."""
        from vqafeat.datasets import load_manifest

        manifest = load_manifest(self.datasets[0])
        low, high = manifest.mos_range
        scale = f"{manifest.score_name} of {manifest.name}, {low:g} to {high:g}"
        access = "fetched on first use" if self.url else f"by file only: {self.file} of {self.home}"
        figures = self.figures or "its authors' figures are not recorded here"
        parts = (self.title, f"on {self.features}", scale, figures, self.licence, access, self.paper)
        return "; ".join(parts)


MODELS = parse(dict[str, PublishedModel], read_toml(_FILE, "models"), f"'{_FILE}'")


def read_published(name: str | Path, scale_of: str | None = None) -> "tuple[RunConfig, Head]":
    """Return the configuration and the head of a published model, given its name or its file.

    It scores on the label scale of the data set `scale_of`, by default the model's first.
    """
    from vqafeat.datasets import load_manifest
    from vqafeat.evaluation.import_head import read_released

    model = MODELS.get(str(name)) or _model_in(Path(name))
    path = _fetched(str(name), model) if str(name) in MODELS else Path(name)
    dataset = load_manifest(scale_of if scale_of in model.datasets else model.datasets[0])
    return read_released(path, dataset, feature_sets=model.features)


def _model_in(path: Path) -> PublishedModel:
    """Return the model that a file holds, known by its SHA-256, or by its name where no digest is known."""
    digest = file_sha256(path)
    for model in MODELS.values():
        if model.sha256 == digest or (not model.sha256 and model.file == path.name):
            return model
    raise ArgumentError(
        f"'{path}' is not the file of a published model (`vqafeat list models`), so its scale is not known; "
        "import a head with `vqafeat import head`, or score videos with `vqafeat score`."
    )


def _fetched(name: str, model: PublishedModel) -> Path:
    """Return a model's file in the cache, fetched where it is missing and checked by its digest."""
    if not model.url:
        from_file = f"get {model.file} from {model.home} and give its path in place of the name"
        raise ArgumentError(f"the model '{name}' is loaded by file only; {from_file}.")
    folder = cache_folder("models")
    path = folder / f"{model.sha256[:16]}-{model.file}"
    if path.is_file() and file_sha256(path) == model.sha256:
        return path
    by_path = f"or give the path of {model.file} in place of the name"
    if is_offline():
        problem = f"the model '{name}' is not in the cache '{folder}', and --offline fetches nothing"
        raise WeightsError(f"{problem}; run the command once without --offline, {by_path}.")
    try:
        with urlopen(model.url, timeout=_CONNECT_SECONDS) as response:
            content: bytes = response.read()
    except (OSError, HTTPException) as error:
        problem = f"the model '{name}' cannot be fetched from {model.url} ({error})"
        raise WeightsError(f"{problem}; try again, {by_path}.") from error
    if (digest := sha256(content).hexdigest()) != model.sha256:
        problem = f"{model.url} has another file: its SHA-256 is {digest}, but '{name}' has {model.sha256}"
        raise WeightsError(f"{problem}. It is not used; {by_path.removeprefix('or ')}.")
    with translate_cache_errors(folder):
        write_bytes(path, content)
    return path
