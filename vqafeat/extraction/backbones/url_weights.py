"""Published weights that are one file at an address."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vqafeat.state_dicts import unwrapped


@dataclass(frozen=True)
class UrlWeights:
    """A file of weights whose publisher states no checksum: the digest in a feature set's identity records what was loaded.

    Attributes:
        name: the weights' full name.
        url: where the file is fetched from, once, into torch's cache.
    """

    name: str
    url: str

    def get_state_dict(self, *, progress: bool, check_hash: bool, weights_only: bool) -> Mapping[str, Tensor]:
        """Return the tensors; a hash is checked only where the file's name carries one."""
        saved = torch.hub.load_state_dict_from_url(
            self.url, map_location="cpu", progress=progress, check_hash=check_hash, weights_only=weights_only
        )
        return unwrapped(saved, f"'{self.url}'")
