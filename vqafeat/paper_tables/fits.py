"""Where the fits of a table are made, or found where they were made before."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vqafeat.errors import VqafeatError
from vqafeat.paper_tables.sources import FeatureStores
from vqafeat.paper_tables.table import TableFit
from vqafeat.store.features import FeatureReader
from vqafeat.training.fit import fit
from vqafeat.training.joint_store import JointStore
from vqafeat.training.loop import Progress
from vqafeat.training.run import Run


@dataclass(frozen=True)
class FitCache:
    """Makes the fits of cells; one that is finished is found by its configuration and not repeated.

    Attributes:
        stores: where features come from.
        runs: folder of the run folders.
        jobs: processes; results do not depend on it.
        device: where heads train.
        skip_missing: leave out videos without complete features.
        images: folder or label file by the name of an image set.
        weights: file by the name of a network that sees images.
        fast_copy: (store, feature sets joined by +) → a reader that is faster.
        progress: called with a split's number and each epoch's record.
    """

    stores: FeatureStores
    runs: Path
    jobs: int = 1
    device: str = "cpu"
    skip_missing: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    fast_copy: Callable[[FeatureReader, str], FeatureReader] = lambda source, features: source
    progress: Progress | None = None
    _done: dict[str, "Run | VqafeatError"] = field(default_factory=dict, repr=False, compare=False)

    def fit(self, request: TableFit, others: Sequence[str] = ()) -> Run:
        """Return the run of a fit whose data sets are used together with others; each is read from the disk
        once. An error is raised again by each cell of the same fit.
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
        store = _joined(self._sources(request, others)[: len(request.datasets)])
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
        """Return the stores of a fit, one a data set."""
        return self._sources(request)

    def source(self, request: TableFit) -> FeatureReader:
        """Return the stores of a fit as one."""
        return _joined(self._sources(request))

    def others(self, request: TableFit, names: Sequence[str]) -> list[FeatureReader]:
        """Return the stores of other data sets that are used together with the fit's."""
        return self._sources(request, names)[len(request.datasets) :]

    def _sources(self, request: TableFit, others: Sequence[str] = ()) -> list[FeatureReader]:
        features = self.stores.adapt(request).features
        return [
            self.fast_copy(source, features) for source in self.stores.sources((*request.datasets, *others))
        ]


def _joined(sources: Sequence[FeatureReader]) -> FeatureReader:
    return sources[0] if len(sources) == 1 else JointStore(sources)
