"""Where the numbers of a table come from: feature stores, or the demo's store in their place, and fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from vqafeat.backbones import BACKBONES
from vqafeat.backbones.feature_set import backbone_names
from vqafeat.datasets import Dataset, Video
from vqafeat.datasets.dataset import with_digest
from vqafeat.errors import StoreError, VqafeatError
from vqafeat.heads.base import head_options
from vqafeat.paper_tables.table import RequiredFeatures, TableFit
from vqafeat.remote import StorePath
from vqafeat.store import FeatureStore, store_path
from vqafeat.store.features import FUSION_SIGN, FeatureReader
from vqafeat.store.types import FeatureSetIdentity, VideoFeatures
from vqafeat.training.config import is_gradient_based
from vqafeat.training.fit import fit
from vqafeat.training.joint_store import JointStore
from vqafeat.training.progress import Progress
from vqafeat.training.run import Run


class FeatureStores:
    """The feature stores of a folder; `only` are the data sets that may be used, empty for all."""

    stands_in = False  # whether the demo data set takes the place of the table's data sets
    words = ""  # what a reader of the table has to know about the data

    def __init__(self, folder: StorePath, only: Sequence[str] = (), skip_missing: bool = False) -> None:
        self._folder, self._only, self._skip_missing = folder, tuple(only), skip_missing
        self._open = cache(lambda dataset: FeatureStore.open(store_path(self._folder, dataset)))
        self._complete = cache(lambda need: len(self._open(need.dataset).complete_videos(need.feature_set)))

    def missing(self, need: RequiredFeatures) -> str:
        """Return why features cannot be used, or an empty text."""
        dataset, name = need.dataset, need.feature_set
        if self._only and dataset not in self._only:
            return f"{dataset} is not among --dataset {', '.join(self._only)}"
        if not (store_path(self._folder, dataset) / "zarr.json").is_file():
            return f"no store of {dataset} in '{self._folder}'"
        store = self._open(dataset)
        if name not in store.feature_sets():
            return f"{dataset} has no features {name}"
        complete, videos = self._complete(need), len(store.dataset.videos)
        if complete == videos or (self._skip_missing and complete):
            return ""
        hint = "; --skip-missing uses these" if complete else ""
        return f"{dataset} has features {name} of {complete} of {videos} videos{hint}"

    def sources(self, datasets: Sequence[str]) -> list[FeatureReader]:
        """Return the stores of data sets that are used together."""
        return [self._open(dataset) for dataset in datasets]

    def adapt(self, request: TableFit) -> TableFit:
        """Return the fit with values that suit these stores."""
        return request


def commands_for(needs: Sequence[RequiredFeatures], folder: StorePath) -> list[str]:
    """Return a command for each data set that extracts its feature sets."""
    by_dataset: dict[str, list[str]] = {}
    for need in dict.fromkeys(needs):
        by_dataset.setdefault(need.dataset, []).append(need.feature_set)
    store = "" if folder == Path("features") else f" --store {folder}"
    commands = []
    for dataset, names in by_dataset.items():
        files = [name for name in backbone_names(names) if BACKBONES.get(name).published is None]
        options = [f" --backbone {name}" for name in names] + [f" --weights {name}=FILE" for name in files]
        commands.append(f"vqafeat extract --dataset {dataset}{''.join(options)}{store}")
    return commands


_SPLITS, _EPOCHS, _WIDTH = 2, 2, 32
_FEWEST_CONTENTS = 3
AGAIN = "-again"


class DemoShare:
    """A `FeatureReader` of one of `parts` shares of a store's contents, with official parts.

    Its feature set takes the place of all others, and has a second name for fusion.
    """

    def __init__(self, store: FeatureStore, feature_set: str, part: int = 0, parts: int = 1) -> None:
        whole = store.dataset
        contents = sorted({video.content for video in whole.videos})
        own = contents[part::parts]
        if len(own) < _FEWEST_CONTENTS:
            problem = f"'{whole.name}' has {len(contents)} contents, too few for {parts} data sets"
            raise StoreError(f"{problem}; each needs at least {_FEWEST_CONTENTS}.")
        self.store, self.feature_set = store, feature_set
        self.path, self.seconds, self.source = store.path, store.seconds, store.source
        self.dataset = _with_parts(whole, own, "" if parts == 1 else f"-{part + 1}of{parts}")
        self.datasets = (self.dataset,)
        self.member_numbers = np.zeros(len(self.dataset.videos), dtype=np.intp)

    def feature_sets(self) -> list[str]:
        """Return both names of the feature set."""
        return [self.feature_set, self.feature_set + AGAIN]

    def identity(self, feature_set: str) -> FeatureSetIdentity:
        """Return what the numbers of the feature set depend on."""
        return self.store.identity(feature_set.removesuffix(AGAIN))

    def complete_videos(self, feature_set: str) -> list[str]:
        """Return the videos whose features are stored completely."""
        names = {video.name for video in self.dataset.videos}
        return [name for name in self.store.complete_videos(feature_set.removesuffix(AGAIN)) if name in names]

    def read(self, feature_set: str, video: str, checked: bool = False) -> VideoFeatures:
        """Return the features of a video."""
        return self.store.read(feature_set.removesuffix(AGAIN), video, checked)


def _with_parts(whole: Dataset, contents: Sequence[str], suffix: str) -> Dataset:
    """Return the videos of some contents; a fifth of these is the part test, another fifth test-1080p."""
    fifth = max(1, len(contents) // 5)
    part_of = dict.fromkeys(contents, "train")
    part_of |= dict.fromkeys(contents[-2 * fifth : -fifth], "test")
    part_of |= dict.fromkeys(contents[-fifth:], "test-1080p")
    kept = [video for video in whole.videos if video.content in part_of]
    videos = tuple(Video(video.name, video.mos, video.content, part_of[video.content]) for video in kept)
    name = whole.name + suffix
    return with_digest(replace(whole, name=name, videos=videos, stored_permutations=None))


class DemoStores(FeatureStores):
    """One small store, such as the demo's, in place of all data sets and feature sets."""

    stands_in = True

    def __init__(self, store: FeatureStore) -> None:
        names = store.feature_sets()
        if not names:
            raise StoreError(f"'{store.path}' holds no features; run `vqafeat demo` first.")
        self._store, self._feature_set = store, names[0]
        self.words = (
            f"These numbers test the code and are not results: every data set is '{store.dataset_name}' "
            f"(several divide its contents), and all features are {names[0]}. There are {_SPLITS} splits by "
            f"content and {_EPOCHS} epochs, and a2inet is {_WIDTH} wide. A group of videos, except by "
            "quality, is every second video. Videos take the place of images."
        )

    def missing(self, need: RequiredFeatures) -> str:
        """Return an empty text."""
        return ""

    def sources(self, datasets: Sequence[str]) -> list[FeatureReader]:
        """Return one share of the contents for each data set."""
        parts = len(datasets)
        return [DemoShare(self._store, self._feature_set, part, parts) for part in range(parts)]

    def adapt(self, request: TableFit) -> TableFit:
        """Return the fit with the one feature set, few splits and few epochs."""
        name, two_branches = self._feature_set, "first_channels" in head_options(request.head)
        return request.changed(
            {
                "features": f"{name}{FUSION_SIGN}{name}{AGAIN}" if two_branches else name,
                "protocol": "official" if request.protocol == "official" else "content",
                "splits": min(_SPLITS, request.splits),
                "options": {"width": _WIDTH} if two_branches else {},
                "overrides": {"epochs": _EPOCHS} if is_gradient_based(request.head) else {},
            }
        )


@dataclass(frozen=True)
class FitCache:
    """Trains the fits of cells, and reuses finished ones with the same configuration."""

    stores: FeatureStores
    runs: Path  # folder of the run folders
    jobs: int = 1
    device: str = "cpu"
    skip_missing: bool = False
    images: Mapping[str, str] = field(default_factory=dict)  # image set → its folder or label file
    weights: Mapping[str, str] = field(default_factory=dict)  # network that processes images → weights file
    # (store, feature sets joined by +) → a faster reader of the same features
    fast_copy: Callable[[FeatureReader, str], FeatureReader] = lambda source, features: source
    progress: Progress | None = None  # called with a split's number and each epoch's record
    costs: bool = True  # whether networks may be run to measure their time and operations
    _done: dict[str, "Run | VqafeatError"] = field(default_factory=dict, repr=False, compare=False)

    def fit(self, request: TableFit, others: Sequence[str] = ()) -> Run:
        """Return the run of a fit; an error is raised again for each cell of the same fit.

        `others` are data sets that the cell uses in addition; the demo data set is divided among all.
        """
        key = repr((request, len(others) if self.stores.stands_in else 0))
        if key not in self._done:
            try:
                self._done[key] = self._fit(request, others)
            except VqafeatError as error:
                self._done[key] = error
        run = self._done[key]
        if isinstance(run, VqafeatError):
            raise run
        return run

    def _fit(self, request: TableFit, others: Sequence[str]) -> Run:
        config = self.stores.adapt(request).config
        store = self.joined(request, others)
        out, jobs = self.runs / config.folder_name(store.dataset.name), min(self.jobs, config.splits)
        config = replace(config, skip_missing=self.skip_missing or config.skip_missing)
        return fit(store, config, out, jobs=jobs, device=self.device, reuse=True, progress=self.progress)

    def sources(self, request: TableFit, others: Sequence[str] = ()) -> list[FeatureReader]:
        """Return the stores of a fit's data sets, then those of `others`."""
        features, datasets = self.stores.adapt(request).features, (*request.datasets, *others)
        return [self.fast_copy(source, features) for source in self.stores.sources(datasets)]

    def joined(self, request: TableFit, others: Sequence[str] = ()) -> FeatureReader:
        """Return the stores of a fit's data sets as one."""
        sources = self.sources(request, others)[: len(request.datasets)]
        return sources[0] if len(sources) == 1 else JointStore(sources)
