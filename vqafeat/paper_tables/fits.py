"""Where the fits of a table are made, or found where they were made before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vqafeat.errors import VqafeatError
from vqafeat.paper_tables.sources import FeatureStores
from vqafeat.paper_tables.table import TableFit
from vqafeat.training.data import FeatureReader
from vqafeat.training.fit import fit
from vqafeat.training.joint_store import JointStore
from vqafeat.training.loop import Progress
from vqafeat.training.run import Run


@dataclass(frozen=True)
class FitCache:
    """Makes the fits that cells ask for; one that is finished is found by its configuration and not repeated.

    Attributes:
        shelf: where features come from.
        runs: folder of the run folders.
        jobs: processes; results do not depend on it.
        device: where heads train.
        skip_missing: leave out videos without complete features.
        images: where images lie, by the name of their set; folders or label files.
        weights: of the networks that see them.
        near: makes of a store one that is read quickly, for the feature sets that are named, joined by +.
        progress: called with a split's number and each epoch's record.
    """

    stores: FeatureStores
    runs: Path
    jobs: int = 1
    device: str = "cpu"
    skip_missing: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    near: Callable[[FeatureReader, str], FeatureReader] = lambda source, features: source
    progress: Progress | None = None
    _done: dict[str, "Run | VqafeatError"] = field(default_factory=dict, repr=False, compare=False)

    def fit(self, request: TableFit, beside: Sequence[str] = ()) -> Run:
        """Return the run that is asked for, whose data sets are used together with those `beside`; each is
        asked of the disk once.

        Raises:
            VqafeatError: the fit cannot be made, now or when it was asked for before.
        """
        key = repr((request, len(beside) if self.stores.stands_in else 0))
        if key not in self._done:
            try:
                self._done[key] = self._fitted(request, beside)
            except VqafeatError as error:
                self._done[key] = error
        found = self._done[key]
        if isinstance(found, VqafeatError):
            raise found
        return found

    def _fitted(self, request: TableFit, beside: Sequence[str]) -> Run:
        config = self.stores.adapt(request).config
        stores = self._near((*request.datasets, *beside), config.features)[: len(request.datasets)]
        store = self._joined(stores)
        return fit(
            store,
            replace(config, skip_missing=self.skip_missing or config.skip_missing),
            self.runs / config.folder_name(store.dataset.name),
            jobs=min(self.jobs, config.splits),
            device=self.device,
            reuse=True,
            progress=self.progress,
        )

    def datasets(self, request: TableFit) -> list[FeatureReader]:
        """Return the stores that the request is fitted on, one a data set."""
        return self._near(request.datasets, self.stores.adapt(request).features)

    def source(self, request: TableFit) -> FeatureReader:
        """Return them as one."""
        return self._joined(self.datasets(request))

    def beside(self, request: TableFit, names: Sequence[str]) -> list[FeatureReader]:
        """Return the stores of other data sets that are used together with the request's."""
        return self._near((*request.datasets, *names), self.stores.adapt(request).features)[
            len(request.datasets) :
        ]

    def _near(self, datasets: Sequence[str], features: str) -> list[FeatureReader]:
        return [self.near(source, features) for source in self.stores.sources(datasets)]

    @staticmethod
    def _joined(sources: Sequence[FeatureReader]) -> FeatureReader:
        return sources[0] if len(sources) == 1 else JointStore(sources)
