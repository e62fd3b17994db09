"""Where a table's features come from: the stores of a folder."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import backbone_names
from vqafeat.errors import ArgumentError, UnknownNameError
from vqafeat.remote import Place
from vqafeat.store import FeatureStore, store_path
from vqafeat.studies.requests import Need, RunRequest
from vqafeat.training.data import FeatureSource


class Shelf(Protocol):
    """What a bench takes features from."""

    @property
    def words(self) -> str:
        """What a reader of the table has to know of the data; empty where it is the paper's own."""

    @property
    def stands_in(self) -> bool:
        """Whether the data are others than the table asks for."""

    def lacks(self, need: Need) -> str:
        """Say why a need is not met, or return an empty text."""

    def sources(self, datasets: Sequence[str]) -> list[FeatureSource]:
        """Return the stores of data sets that are used together."""

    def adapted(self, request: RunRequest) -> RunRequest:
        """Return the request as it can be run here."""


class StoreShelf:
    """The stores below a folder.

    Args:
        folder: of the stores.
        only: data sets that may be used; all, where none is named.
        skip_missing: do with the videos that are complete.
    """

    words = ""
    stands_in = False

    def __init__(self, folder: Place, only: Sequence[str] = (), skip_missing: bool = False) -> None:
        self._folder, self._only, self._skip_missing = folder, tuple(only), skip_missing
        self._open = cache(lambda dataset: FeatureStore.open(store_path(self._folder, dataset)))
        self._complete = cache(lambda need: len(self._open(need.dataset).complete_videos(need.feature_set)))

    def lacks(self, need: Need) -> str:
        """Say why a need is not met, or return an empty text."""
        if self._only and need.dataset not in self._only:
            return f"{need.dataset} is not among --dataset {', '.join(self._only)}"
        if not (store_path(self._folder, need.dataset) / "zarr.json").is_file():
            return f"no store of {need.dataset} in '{self._folder}'"
        if need.feature_set not in self._open(need.dataset).feature_sets():
            return f"{need.dataset} has no features {need.feature_set}"
        found, videos = self._complete(need), len(self._open(need.dataset).dataset.videos)
        if found < videos and not (self._skip_missing and found):
            return f"{need.dataset} has features {need.feature_set} of {found} of {videos} videos; --skip-missing does with these"
        return ""

    def sources(self, datasets: Sequence[str]) -> list[FeatureSource]:
        """Return the stores of data sets that are used together."""
        return [self._open(dataset) for dataset in datasets]

    def adapted(self, request: RunRequest) -> RunRequest:
        """Return the request as it is."""
        return request


def commands_for(needs: Sequence[Need], folder: Place) -> list[str]:
    """Return the commands that make feature sets, one a data set, weights that only come as files named."""
    wanted: dict[str, list[str]] = {}
    for need in dict.fromkeys(needs):
        wanted.setdefault(need.dataset, []).append(need.feature_set)
    stored = "" if folder == Path("features") else f" --store {folder}"
    return [
        f"vqafeat extract --dataset {dataset}{''.join(f' --backbone {name}' for name in names)}{_weights(names)}{stored}"
        for dataset, names in wanted.items()
    ]


def _weights(feature_sets: Sequence[str]) -> str:
    return "".join(f" --weights {name}=FILE" for name in backbone_names(feature_sets) if BACKBONES.get(name).published is None)


def check_feature_sets(request: RunRequest) -> None:
    """Refuse feature sets that no network here makes.

    Raises:
        UnknownNameError: there is no such network.
        ArgumentError: a fit names no data set or no features.
    """
    if not request.datasets or not request.features:
        raise ArgumentError("datasets and features are not both named; a cell that is run needs both, and one that is not: quoted = true.")
    for name in backbone_names(request.features.split("+")):
        if name not in BACKBONES:
            raise UnknownNameError(f"features '{request.features}': there is no network '{name}'; `vqafeat list backbones` names them.")
