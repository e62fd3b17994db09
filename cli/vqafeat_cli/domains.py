"""The domains that `coral` compares: stores, image sets, folders of images."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from vqafeat.backbones.feature_set import Extractor, build_extractors
from vqafeat.pretraining.coral import DomainFeatures, image_features, image_paths, store_features
from vqafeat.remote import Place
from vqafeat_cli.pretraining_report import check_progress


class DomainReader:
    """Reads domains by the words they are named with; images are computed once for each feature set.

    Args:
        places: of the domains that are stores.
        weights: by backbone, for images; stores have their features.
        device: where images are computed.
    """

    def __init__(self, places: Mapping[str, Place], weights: dict[str, str], device: torch.device) -> None:
        self._places, self._weights, self._device = places, weights, device
        self._extractor = cache(self._loaded)

    def features(self, domain: str, feature_set: str) -> DomainFeatures:
        """Return the features of a domain."""
        path = Path(domain)
        if "=" not in domain or path.is_dir():
            return store_features(self._places[domain], feature_set)
        name, paths = image_paths(domain)
        extractor = self._extractor(feature_set)
        with check_progress(len(paths), f"features of {name}") as on_image:
            return image_features(name, paths, extractor, self._device, on_image)

    def _loaded(self, feature_set: str) -> Extractor:
        (extractor,) = build_extractors([feature_set], self._weights)
        return extractor
