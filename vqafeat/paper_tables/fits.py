"""The fits of a table: found where they are finished, else trained."""

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
    """Trains the fits of cells; a finished one is found by its configuration and not repeated.

    Attributes:
        runs: folder of the run folders.
        jobs: number of processes; results do not depend on it.
        images: image set → its folder or label file.
        weights: network that processes images → weights file.
        fast_copy: (store, feature sets joined by +) → a reader of the same that is faster.
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
        """Return the run of a fit; an error is raised again for each cell of the same fit.

        Args:
            others: data sets that the cell uses in addition, for which a stand-in needs contents too.
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
        store = joined(self.sources(request, others)[: len(request.datasets)])
        return fit(
            store,
            replace(config, skip_missing=self.skip_missing or config.skip_missing),
            self.runs / config.folder_name(store.dataset.name),
            jobs=min(self.jobs, config.splits),
            device=self.device,
            reuse=True,
            progress=self.progress,
        )

    def sources(self, request: TableFit, others: Sequence[str] = ()) -> list[FeatureReader]:
        """Return the stores of a fit's data sets, and of other data sets that a cell uses in addition."""
        features, datasets = self.stores.adapt(request).features, (*request.datasets, *others)
        return [self.fast_copy(source, features) for source in self.stores.sources(datasets)]


def joined(sources: Sequence[FeatureReader]) -> FeatureReader:
    """Return several stores as one."""
    return sources[0] if len(sources) == 1 else JointStore(sources)
