"""The outputs of named layers of a network."""

from typing import cast

from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor


def tapped_outputs(network: nn.Module, taps: tuple[str, ...]) -> nn.Module:
    """Return a network that computes a mapping of the layers `taps` to their outputs, and nothing beyond them."""
    return cast(nn.Module, create_feature_extractor(network, list(taps), suppress_diff_warning=True))
